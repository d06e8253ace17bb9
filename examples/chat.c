/* A conversation, a line a turn. Needs a plan with a chat template.
 *
 *   chat PLAN [SYSTEM]
 */
#include <llmrt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(llmrt_status status) {
  if (status == LLMRT_OK) return;
  fprintf(stderr, "chat: %s\n", llmrt_last_error());
  exit(1);
}

static int32_t show(void* user, const char* text, size_t bytes) {
  (void)user;
  fwrite(text, 1, bytes, stdout);
  fflush(stdout);
  return 0;
}

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    fprintf(stderr, "usage: chat PLAN [SYSTEM]\n");
    return 2;
  }
  llmrt_plan* plan;
  llmrt_weights* weights;
  llmrt_session* session;
  llmrt_conversation* conversation;
  check(llmrt_plan_open(argv[1], NULL, &plan));
  check(llmrt_weights_open(plan, NULL, &weights));
  check(llmrt_session_create(plan, weights, NULL, &session));
  check(llmrt_conversation_create(session, argc == 3 ? argv[2] : NULL, &conversation));

  llmrt_generate_options options;
  llmrt_generate_options_init(&options);
  options.max_tokens = 128;
  options.on_text = show;
  char line[4096];
  while (printf("> "), fflush(stdout), fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = '\0';
    llmrt_answer answer = {.struct_size = sizeof answer};
    check(llmrt_conversation_answer(conversation, line, &options, &answer));
    printf("\n[%lld tokens, of %lld + %lld before them the first were in the cache]\n",
           (long long)answer.answer_tokens, (long long)answer.cached_tokens,
           (long long)answer.prompt_tokens);
  }
  printf("\n");

  llmrt_conversation_destroy(conversation);
  llmrt_session_destroy(session);
  llmrt_weights_close(weights);
  llmrt_plan_close(plan);
  return 0;
}
