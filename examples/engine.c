/* Continues several prompts at once. The engine runs on a thread of its own; this one reads what
 * comes of them, token by token.
 *
 *   engine PLAN PROMPT...
 *
 * A plan runs as many at once as llmc compile --max-batch says; the others wait for their turn.
 */
#include <llmrt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(llmrt_status status) {
  if (status == LLMRT_OK) return;
  fprintf(stderr, "engine: %s\n", llmrt_last_error());
  exit(1);
}

struct Text {
  uint64_t request;
  char* bytes;
  size_t size;
};

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: engine PLAN PROMPT...\n");
    return 2;
  }
  llmrt_plan* plan;
  llmrt_weights* weights;
  llmrt_engine* engine;
  check(llmrt_plan_open(argv[1], NULL, &plan));
  check(llmrt_weights_open(plan, NULL, &weights));
  check(llmrt_engine_create(plan, weights, NULL, &engine));

  llmrt_generate_options options;
  llmrt_generate_options_init(&options);
  options.max_tokens = 48;
  const int count = argc - 2;
  struct Text* texts = calloc((size_t)count, sizeof *texts);
  for (int i = 0; i < count; ++i) {
    const char* prompt = argv[i + 2];
    size_t tokens;
    check(llmrt_tokenize(plan, prompt, strlen(prompt), 1, NULL, 0, &tokens));
    int32_t* ids = malloc(tokens * sizeof *ids);
    check(llmrt_tokenize(plan, prompt, strlen(prompt), 1, ids, tokens, &tokens));
    check(llmrt_engine_submit(engine, ids, tokens, &options, NULL, &texts[i].request));
    free(ids);
  }

  for (int ended = 0; ended < count;) {
    llmrt_event event = {.struct_size = sizeof event};
    int32_t has_event;
    check(llmrt_engine_wait(engine, 1.0, &event, &has_event));
    if (!has_event) continue;
    struct Text* text = texts;
    while (text->request != event.request) ++text;
    text->bytes = realloc(text->bytes, text->size + event.text_bytes + 1);
    memcpy(text->bytes + text->size, event.text, event.text_bytes);
    text->size += event.text_bytes;
    if (event.kind == LLMRT_EVENT_TOKEN) continue;
    ++ended;
    if (event.kind == LLMRT_EVENT_FAILED) {
      fprintf(stderr, "engine: %s\n", event.error);
      return 1;
    }
    printf("%s%.*s\n[%lld tokens, the first after %.1f ms, all after %.1f ms]\n",
           argv[text - texts + 2], (int)text->size, text->bytes, (long long)event.tokens,
           1e3 * event.ttft_seconds, 1e3 * event.seconds);
  }

  for (int i = 0; i < count; ++i) free(texts[i].bytes);
  free(texts);
  llmrt_engine_destroy(engine);
  llmrt_weights_close(weights);
  llmrt_plan_close(plan);
  return 0;
}
