/* A program in C11 that serves several requests through llmrt.h. Argument: a plan without weights
 * beside it. Exit status 0: all checks held. */
#include <stdio.h>
#include <string.h>

#include "runtime/include/llmrt.h"

static int failures = 0;

#define CHECK(condition)                                                                       \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, llmrt_last_error()); \
      ++failures;                                                                              \
    }                                                                                          \
  } while (0)

enum { kRequests = 5, kTokens = 8 };

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  llmrt_plan* plan = NULL;
  llmrt_weights* weights = NULL;
  CHECK(llmrt_plan_open(argv[1], NULL, &plan) == LLMRT_OK);
  CHECK(llmrt_weights_synthesize(plan, 1, 1, &weights) == LLMRT_OK);
  if (failures) return 1;

  llmrt_engine_options options;
  llmrt_engine_options_init(&options);
  options.threads = 1;
  options.kv_tokens = 1;
  llmrt_engine* engine = NULL;
  CHECK(llmrt_engine_create(plan, weights, NULL, NULL) == LLMRT_INVALID_ARGUMENT);
  options.max_seq_len = 100;
  CHECK(llmrt_engine_create(plan, weights, &options, &engine) == LLMRT_INVALID_ARGUMENT);
  CHECK(strstr(llmrt_last_error(), "kv_tokens 1") != NULL);
  options.kv_tokens = 0;
  CHECK(llmrt_engine_create(plan, weights, &options, &engine) == LLMRT_OK);
  if (!engine) return 1;

  /* What each gets alone. */
  int32_t prompts[kRequests][3], alone[kRequests][kTokens];
  llmrt_generate_options generate;
  llmrt_generate_options_init(&generate);
  generate.max_tokens = kTokens;
  generate.ignore_eos = 1;
  llmrt_session* session = NULL;
  CHECK(llmrt_session_create(plan, weights, NULL, &session) == LLMRT_OK);
  for (int i = 0; i < kRequests; ++i) {
    for (int k = 0; k < 3; ++k) prompts[i][k] = 2 + i * 3 + k;
    size_t count = 0;
    llmrt_reset(session, 0);
    CHECK(llmrt_generate(session, 0, prompts[i], 3, &generate, alone[i], kTokens, &count, NULL) ==
              LLMRT_OK &&
          count == kTokens);
  }

  uint64_t ids[kRequests];
  llmrt_request_options request;
  llmrt_request_options_init(&request);
  request.top_logits = 2;
  request.timeout_seconds = 1e300; /* any number is a time */
  for (int i = 0; i < kRequests; ++i)
    CHECK(llmrt_engine_submit(engine, prompts[i], 3, &generate, &request, &ids[i]) == LLMRT_OK);
  int tokens[kRequests] = {0}, ended = 0;
  while (ended < kRequests && !failures) {
    llmrt_event event;
    event.struct_size = sizeof event;
    int32_t has_event = 0;
    CHECK(llmrt_engine_wait(engine, 60, &event, &has_event) == LLMRT_OK && has_event);
    int i = 0;
    while (i < kRequests && ids[i] != event.request) ++i;
    if (i == kRequests || !has_event) return 1;
    if (event.kind == LLMRT_EVENT_TOKEN) {
      CHECK(tokens[i] < kTokens && event.token == alone[i][tokens[i]]);
      CHECK(event.num_top_logits == 2 && event.top_logits[0].token == event.token);
      ++tokens[i];
      continue;
    }
    CHECK(event.kind == LLMRT_EVENT_FINISHED && event.reason == LLMRT_FINISH_LENGTH);
    CHECK(event.tokens == kTokens && tokens[i] == kTokens && event.prompt_tokens == 3);
    CHECK(event.ttft_seconds > 0 && event.seconds >= event.ttft_seconds);
    ++ended;
  }

  /* Cancelled, unless it has ended by then: the toy model is quick. */
  generate.max_tokens = 90;
  uint64_t id = 0, num_submitted = kRequests;
  for (int cancelled = 0; !cancelled && !failures; ++num_submitted) {
    CHECK(num_submitted < 1000);
    CHECK(llmrt_engine_submit(engine, prompts[0], 3, &generate, NULL, &id) == LLMRT_OK);
    llmrt_engine_cancel(engine, id);
    llmrt_event event = {.kind = LLMRT_EVENT_TOKEN};
    for (int32_t has_event = 1; has_event && event.kind == LLMRT_EVENT_TOKEN;) {
      event.struct_size = sizeof event;
      CHECK(llmrt_engine_wait(engine, 60, &event, &has_event) == LLMRT_OK && has_event);
    }
    cancelled = event.reason == LLMRT_FINISH_CANCELLED;
    CHECK(event.kind == LLMRT_EVENT_FINISHED && (cancelled || event.reason == LLMRT_FINISH_LENGTH));
  }

  /* Refused, and nothing to wait for. */
  const int32_t long_prompt[101] = {0};
  CHECK(llmrt_engine_submit(engine, long_prompt, 101, NULL, NULL, &id) == LLMRT_INVALID_ARGUMENT);
  CHECK(strstr(llmrt_last_error(), "101 tokens, the context holds 100") != NULL);
  request.timeout_seconds = -1;
  CHECK(llmrt_engine_submit(engine, prompts[0], 3, NULL, &request, &id) == LLMRT_INVALID_ARGUMENT);
  llmrt_event none;
  none.struct_size = sizeof none;
  int32_t has_event = 1;
  CHECK(llmrt_engine_wait(engine, 0, &none, &has_event) == LLMRT_OK && !has_event);
  none.struct_size = 0;
  CHECK(llmrt_engine_wait(engine, 0, &none, &has_event) == LLMRT_INVALID_ARGUMENT);
  llmrt_engine_stats stats;
  stats.struct_size = sizeof stats;
  CHECK(llmrt_engine_get_stats(engine, &stats) == LLMRT_OK);
  CHECK(stats.submitted == num_submitted && stats.finished == num_submitted);
  CHECK(stats.running == 0);

  /* With work on its hands. */
  CHECK(llmrt_engine_submit(engine, prompts[0], 3, &generate, NULL, &id) == LLMRT_OK);
  llmrt_engine_destroy(engine);
  llmrt_engine_destroy(NULL);
  llmrt_session_destroy(session);
  llmrt_weights_close(weights);
  llmrt_plan_close(plan);
  return failures != 0;
}
