/* Continues a prompt, and shows the text as it comes.
 *
 *   completion PLAN PROMPT
 */
#include <llmrt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(llmrt_status status) {
  if (status == LLMRT_OK) return;
  fprintf(stderr, "completion: %s\n", llmrt_last_error());
  exit(1);
}

static int32_t show(void* user, const char* text, size_t bytes) {
  (void)user;
  fwrite(text, 1, bytes, stdout);
  fflush(stdout);
  return 0; /* not 0 would end the text */
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: completion PLAN PROMPT\n");
    return 2;
  }
  llmrt_plan* plan;
  llmrt_weights* weights;
  llmrt_session* session;
  check(llmrt_plan_open(argv[1], NULL, &plan));
  check(llmrt_weights_open(plan, NULL, &weights));
  check(llmrt_session_create(plan, weights, NULL, &session));

  size_t count;
  check(llmrt_tokenize(plan, argv[2], strlen(argv[2]), 1, NULL, 0, &count));
  int32_t* prompt = malloc(count * sizeof *prompt);
  check(llmrt_tokenize(plan, argv[2], strlen(argv[2]), 1, prompt, count, &count));

  llmrt_generate_options options;
  llmrt_generate_options_init(&options);
  options.max_tokens = 64;
  options.on_text = show;
  check(llmrt_generate(session, 0, prompt, count, &options, NULL, 0, &count, NULL));
  printf("\n%zu tokens\n", count);

  free(prompt);
  llmrt_session_destroy(session);
  llmrt_weights_close(weights);
  llmrt_plan_close(plan);
  return 0;
}
