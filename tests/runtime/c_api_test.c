/* A program in C11 that does through llmrt.h what a user would: open, tokenize, run, sample,
 * generate, fail. Arguments: a plan without weights beside it. Exit status 0: all checks held. */
#include <stdio.h>
#include <stdlib.h>
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

static int32_t argmax(const float* logits, int64_t n) {
  int32_t best = 0;
  for (int64_t i = 1; i < n; ++i)
    if (logits[i] > logits[best]) best = (int32_t)i;
  return best;
}

struct Text {
  char bytes[256];
  size_t size;
  int32_t calls_left;
};

static int32_t collect(void* user, const char* text, size_t bytes) {
  struct Text* out = user;
  if (out->size + bytes <= sizeof out->bytes) {
    memcpy(out->bytes + out->size, text, bytes);
    out->size += bytes;
  }
  return --out->calls_left <= 0;
}

/* The plan's template writes "u hello!" for a user's message and "a " for the head of an answer. */
static void check_chat(llmrt_plan* plan, llmrt_session* session, llmrt_generate_options* options) {
  const llmrt_chat_message messages[] = {{"system", "be kind"}, {"user", "hello"}};
  char text[64];
  size_t bytes = 0, count = 0;
  CHECK(llmrt_render_chat(plan, messages, 2, NULL, NULL, 0, &bytes) == LLMRT_OK && bytes == 20);
  CHECK(llmrt_render_chat(plan, messages, 2, NULL, text, sizeof text, &bytes) == LLMRT_OK);
  CHECK(bytes == 20 && memcmp(text, "s be kind!u hello!a ", 20) == 0);
  CHECK(llmrt_render_chat(plan, messages, 2, "{\"add_generation_prompt\": false}", text,
                          sizeof text, &bytes) == LLMRT_OK &&
        bytes == 18);
  CHECK(llmrt_render_chat(plan, NULL, 0, "{\"messages\": [{\"role\": \"user\", \"content\": 7}]}",
                          text, sizeof text, &bytes) == LLMRT_OK);
  CHECK(bytes == 6 && memcmp(text, "u 7!a ", 6) == 0);
  CHECK(llmrt_render_chat(plan, messages, 2, "[]", text, sizeof text, &bytes) ==
        LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_render_chat(plan, messages, 2, "{", text, sizeof text, &bytes) == LLMRT_INVALID_DATA);
  CHECK(strstr(llmrt_last_error(), "variables_json") != NULL && bytes == 6);
  const llmrt_chat_message wrong = {"user", "\xff"};
  CHECK(llmrt_render_chat(plan, &wrong, 1, NULL, text, sizeof text, &bytes) ==
        LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_render_chat(plan, NULL, 1, NULL, text, sizeof text, &bytes) ==
        LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_eos_ids(plan, NULL, 0, &count) == LLMRT_OK && count >= 1);

  llmrt_conversation* chat = NULL;
  CHECK(llmrt_conversation_create(session, "\xff", &chat) == LLMRT_INVALID_ARGUMENT && !chat);
  CHECK(llmrt_conversation_create(session, "be kind", &chat) == LLMRT_OK);
  if (!chat) return;
  struct Text out = {.size = 0, .calls_left = 1000};
  options->max_tokens = 5;
  options->user = &out;
  llmrt_answer first, second;
  first.struct_size = 0;
  CHECK(llmrt_conversation_answer(chat, "hello", options, &first) == LLMRT_INVALID_ARGUMENT);
  first.struct_size = second.struct_size = sizeof first;
  CHECK(llmrt_conversation_answer(chat, "hello", options, &first) == LLMRT_OK);
  CHECK(first.reason == LLMRT_FINISH_LENGTH && first.answer_tokens == 5);
  CHECK(first.cached_tokens == 0 && first.prompt_tokens == 20);
  CHECK(out.size == first.text_bytes && memcmp(out.bytes, first.text, out.size) == 0);
  /* The whole first turn is in the cache. */
  CHECK(llmrt_conversation_answer(chat, "more", options, &second) == LLMRT_OK);
  CHECK(second.cached_tokens >= first.prompt_tokens && second.prompt_tokens > 0);
  /* Cancelled: the part of the answer stays, and counts. */
  out.calls_left = 2;
  CHECK(llmrt_conversation_answer(chat, "and", options, &second) == LLMRT_OK);
  CHECK(second.reason == LLMRT_FINISH_CANCELLED && second.answer_tokens < 5);
  llmrt_conversation_reset(chat);
  out.size = 0, out.calls_left = 1000;
  CHECK(llmrt_conversation_answer(chat, "hello", options, &second) == LLMRT_OK);
  CHECK(second.cached_tokens == 19 && second.prompt_tokens == 1);
  CHECK(llmrt_conversation_answer(chat, "\xff", options, NULL) == LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_conversation_answer(NULL, "a", options, NULL) == LLMRT_INVALID_ARGUMENT);
  llmrt_conversation_destroy(chat);
  llmrt_conversation_destroy(NULL);
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  CHECK(llmrt_api_version() == LLMRT_API_VERSION);
  CHECK(strcmp(llmrt_last_error(), "") == 0);

  llmrt_plan* plan = NULL;
  CHECK(llmrt_plan_open("no/such/plan.fb", NULL, &plan) == LLMRT_NOT_FOUND);
  CHECK(strstr(llmrt_last_error(), "no/such/plan.fb") != NULL && plan == NULL);
  CHECK(llmrt_plan_open(argv[1], "z80", &plan) == LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_plan_open(NULL, NULL, &plan) == LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_plan_open(argv[1], NULL, &plan) == LLMRT_OK);
  if (!plan) return 1;

  llmrt_plan_info info;
  CHECK((info.struct_size = 0, llmrt_plan_get_info(plan, &info)) == LLMRT_INVALID_ARGUMENT);
  info.struct_size = sizeof info;
  CHECK(llmrt_plan_get_info(plan, &info) == LLMRT_OK);
  CHECK(info.vocab_size == 50 && info.max_seq_len == 200 && info.has_tokenizer &&
        strcmp(info.name, "example") == 0);

  int32_t prompt[16];
  size_t prompt_count = 0;
  CHECK(llmrt_tokenize(plan, "abc", 3, 1, NULL, 0, &prompt_count) == LLMRT_OK && prompt_count == 4);
  CHECK(llmrt_tokenize(plan, "abc", 3, 1, prompt, 16, &prompt_count) == LLMRT_OK);
  CHECK(prompt[0] == info.bos_token_id && prompt[1] == 2 && prompt[3] == 4);
  CHECK(llmrt_tokenize(plan, "\xff", 1, 1, prompt + 8, 8, &prompt_count) ==
            LLMRT_INVALID_ARGUMENT &&
        prompt_count == 4);
  char text[16];
  size_t bytes = 0;
  CHECK(llmrt_detokenize(plan, prompt, prompt_count, text, sizeof text, &bytes) == LLMRT_OK);
  CHECK(bytes == 3 && memcmp(text, "abc", 3) == 0);

  llmrt_weights* weights = NULL;
  CHECK(llmrt_weights_open(plan, NULL, &weights) == LLMRT_NOT_FOUND);
  CHECK(llmrt_weights_synthesize(plan, 1, 2, &weights) == LLMRT_OK);

  llmrt_session_options options;
  llmrt_session_options_init(&options);
  options.threads = 2;
  options.max_batch = 2;
  llmrt_session* session = NULL;
  options.max_seq_len = 1000;
  CHECK(llmrt_session_create(plan, weights, &options, &session) == LLMRT_INVALID_ARGUMENT);
  options.max_seq_len = 100;
  options.struct_size = 0;
  CHECK(llmrt_session_create(plan, weights, &options, &session) == LLMRT_INVALID_ARGUMENT);
  options.struct_size = sizeof options;
  CHECK(llmrt_session_create(plan, weights, &options, &session) == LLMRT_OK);
  if (!session) return 1;

  /* Greedy by hand, with a sampler, and by llmrt_generate: the same ids. */
  int32_t by_hand[8], generated[8];
  llmrt_sampler* sampler = NULL;
  CHECK(llmrt_sampler_create(plan, NULL, &sampler) == LLMRT_OK);
  CHECK(llmrt_logits(session, 0) == NULL);
  CHECK(llmrt_prefill(session, 1, prompt, prompt_count) == LLMRT_OK);
  for (int i = 0; i < 8; ++i) {
    const float* logits = llmrt_logits(session, 0);
    by_hand[i] = argmax(logits, info.vocab_size);
    CHECK(llmrt_sampler_sample(sampler, logits) == by_hand[i]);
    llmrt_sampler_accept(sampler, by_hand[i]);
    CHECK(llmrt_decode(session, 1, by_hand[i]) == LLMRT_OK);
  }
  CHECK(llmrt_kv_len(session, 1) == 12 && llmrt_kv_len(session, 0) == 0 &&
        llmrt_kv_len(session, 2) == -1);

  llmrt_generate_options generate;
  llmrt_generate_options_init(&generate);
  struct Text out = {.size = 0, .calls_left = 1000};
  generate.max_tokens = 8;
  generate.ignore_eos = 1;
  generate.on_text = collect;
  generate.user = &out;
  size_t count = 0;
  llmrt_finish_reason reason = LLMRT_FINISH_CANCELLED;
  CHECK(llmrt_generate(session, 0, prompt, prompt_count, &generate, generated, 8, &count,
                       &reason) == LLMRT_OK);
  CHECK(count == 8 && reason == LLMRT_FINISH_LENGTH &&
        memcmp(generated, by_hand, sizeof by_hand) == 0);
  char expected[64];
  CHECK(llmrt_detokenize(plan, generated, count, expected, sizeof expected, &bytes) == LLMRT_OK);
  CHECK(out.size == bytes && memcmp(out.bytes, expected, bytes) == 0);

  llmrt_reset(session, 0);
  out.calls_left = 2;
  CHECK(llmrt_generate(session, 0, prompt, prompt_count, &generate, NULL, 0, &count, &reason) ==
        LLMRT_OK);
  CHECK(reason == LLMRT_FINISH_CANCELLED && count < 8);

  llmrt_sampler_options sampling;
  llmrt_sampler_options_init(&sampling, plan);
  CHECK(sampling.temperature == 0.0f && sampling.top_p == 1.0f);
  sampling.top_p = 2.0f;
  generate.sampler = &sampling;
  CHECK(llmrt_generate(session, 0, prompt, prompt_count, &generate, NULL, 0, &count, &reason) ==
        LLMRT_INVALID_ARGUMENT);
  CHECK(strstr(llmrt_last_error(), "top_p") != NULL);

  /* A mixed step, and what is refused. */
  llmrt_reset(session, 0);
  llmrt_reset(session, 1);
  const llmrt_step_token step[] = {{0, 2, 0}, {0, 3, 1}, {1, 4, 1}};
  CHECK(llmrt_step(session, step, 3) == LLMRT_OK);
  CHECK(llmrt_logits(session, 1) != NULL && llmrt_logits(session, 2) == NULL);
  CHECK(llmrt_decode(session, 0, 50) == LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_decode(session, 9, 1) == LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_step(session, step, 1000) == LLMRT_INVALID_ARGUMENT);
  CHECK(llmrt_prefill(NULL, 0, prompt, 1) == LLMRT_INVALID_ARGUMENT);

  generate.sampler = NULL;
  check_chat(plan, session, &generate);

  llmrt_sampler_destroy(sampler);
  llmrt_session_destroy(session);
  llmrt_weights_close(weights);
  llmrt_plan_close(plan);
  llmrt_session_destroy(NULL);
  llmrt_plan_close(NULL);
  return failures != 0;
}
