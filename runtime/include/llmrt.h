/* llmrt: executes plans made by llmc. The stable C interface.
 *
 * Can: open a plan and its weights, run prompts and single tokens of several sequences, sample,
 * generate text, tokenize, hold a conversation, serve many requests at once. Cannot: compile. A plan
 * holds machine code: opening one is trusting it, like running a program.
 *
 * Conventions
 *  - Functions that can fail return llmrt_status, LLMRT_OK or an error; llmrt_last_error() then
 * gives one line that names the file, field or option and what to do. Outputs are untouched on
 * failure.
 *  - Handles are opaque. A plan outlives its weights, sessions and conversations, weights outlive
 * their sessions, a session outlives its conversations. close/destroy accept NULL.
 *  - A plan and weights may be used by several threads at once; a session or sampler by one at a
 * time. A session and its conversations count as one. An engine may be used by several.
 *  - Options structs begin with struct_size and are filled by their _init function, so that fields
 * can be appended: a program built against an older header keeps working.
 *  - No C++ exception leaves these functions; none of them exits or aborts.
 */
#ifndef LLMRT_H
#define LLMRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a function or struct field is added. */
#define LLMRT_API_VERSION 3

typedef enum llmrt_status {
  LLMRT_OK = 0,
  LLMRT_INVALID_ARGUMENT = 1, /* a value of the caller's */
  LLMRT_INVALID_DATA = 2,     /* a file that is broken, truncated or lies about itself */
  LLMRT_NOT_FOUND = 3,
  LLMRT_UNSUPPORTED = 4, /* valid, but not something this version or machine can do */
  LLMRT_OUT_OF_MEMORY = 5,
  LLMRT_IO = 6,
  LLMRT_CANCELLED = 7,
  LLMRT_INTERNAL = 8
} llmrt_status;

typedef struct llmrt_plan llmrt_plan;
typedef struct llmrt_weights llmrt_weights;
typedef struct llmrt_session llmrt_session;
typedef struct llmrt_sampler llmrt_sampler;

/* LLMRT_API_VERSION of the library. */
uint32_t llmrt_api_version(void);
/* The message of the calling thread's last failure, "" when there was none. Valid until its next
 * failure. */
const char* llmrt_last_error(void);

/* --- Plans
 * --------------------------------------------------------------------------------------------------------
 */

/* Maps and verifies a plan, and loads the code of the best target that plan and machine share.
 * cpu_target: that target and no other ("x86-64-v3"); NULL: the best. */
llmrt_status llmrt_plan_open(const char* path, const char* cpu_target, llmrt_plan** out);
void llmrt_plan_close(llmrt_plan* plan);

typedef struct llmrt_plan_info {
  size_t struct_size; /* set by the caller: sizeof(llmrt_plan_info) */
  int64_t vocab_size;
  int64_t max_seq_len; /* most tokens of a sequence */
  int64_t max_batch;   /* most sequences at once */
  int64_t num_layers;
  uint64_t weights_bytes;
  int32_t has_weights; /* 0: a code-only plan */
  int32_t has_tokenizer;
  int32_t bos_token_id; /* -1: none */
  const char* name;     /* of the model; these two live as long as the plan */
  const char* target;   /* whose code was loaded */
} llmrt_plan_info;
llmrt_status llmrt_plan_get_info(const llmrt_plan* plan, llmrt_plan_info* info);

/* --- Text
 * ---------------------------------------------------------------------------------------------------------
 */

/* Ids of `bytes` bytes of UTF-8 text, with BOS where the tokenizer adds it and add_bos is not 0.
 * Writes at most `capacity` ids to `ids` (may be NULL when that is 0) and the number of all to
 * *count. */
llmrt_status llmrt_tokenize(const llmrt_plan* plan, const char* text, size_t bytes, int32_t add_bos,
                            int32_t* ids, size_t capacity, size_t* count);
/* Text of ids, without special tokens: UTF-8 without a terminating zero. Capacity and count, in
 * bytes, as above. */
llmrt_status llmrt_detokenize(const llmrt_plan* plan, const int32_t* ids, size_t num_ids,
                              char* text, size_t capacity, size_t* count);

/* --- Weights
 * ------------------------------------------------------------------------------------------------------
 */

/* Maps a weights file. path NULL: the plan's name with .weights. */
llmrt_status llmrt_weights_open(const llmrt_plan* plan, const char* path, llmrt_weights** out);
/* Random weights in memory, the same for the same seed on any machine. threads 0: all CPUs. */
llmrt_status llmrt_weights_synthesize(const llmrt_plan* plan, uint64_t seed, int32_t threads,
                                      llmrt_weights** out);
void llmrt_weights_close(llmrt_weights* weights);

/* --- Sessions
 * -----------------------------------------------------------------------------------------------------
 */

typedef struct llmrt_session_options {
  size_t struct_size;
  int32_t threads;       /* 0: the CPUs this process may use */
  int64_t max_seq_len;   /* 0: the plan's, or as many as fit in nine tenths of the free memory */
  int64_t max_batch;     /* sequences at once, numbered from 0; 1 */
  int64_t prefill_chunk; /* most tokens of a prompt in one step; 0: as many as the plan allows */
} llmrt_session_options;
void llmrt_session_options_init(llmrt_session_options* options);

/* Allocates the KV cache and everything else that later calls use. options NULL: the defaults. */
llmrt_status llmrt_session_create(const llmrt_plan* plan, const llmrt_weights* weights,
                                  const llmrt_session_options* options, llmrt_session** out);
void llmrt_session_destroy(llmrt_session* session);

/* Appends tokens to sequence seq; the last one's logits are then llmrt_logits(). */
llmrt_status llmrt_prefill(llmrt_session* session, int32_t seq, const int32_t* tokens,
                           size_t count);
/* Appends one token. Allocates nothing. */
llmrt_status llmrt_decode(llmrt_session* session, int32_t seq, int32_t token);

typedef struct llmrt_step_token {
  int32_t seq;
  int32_t token;
  int32_t want_logits;
} llmrt_step_token;
/* Any mix of tokens of any sequences as one step; tokens of one sequence are adjacent, in order. */
llmrt_status llmrt_step(llmrt_session* session, const llmrt_step_token* tokens, size_t count);

/* Logits [vocab_size] of the i-th token of the last step that wanted them, NULL when there is none.
 * Valid until the session's next step. */
const float* llmrt_logits(const llmrt_session* session, size_t i);
/* Tokens of the sequence so far; -1 for a sequence the session does not have. */
int64_t llmrt_kv_len(const llmrt_session* session, int32_t seq);
/* Forgets a sequence's tokens. */
void llmrt_reset(llmrt_session* session, int32_t seq);

/* --- Sampling
 * -----------------------------------------------------------------------------------------------------
 */

typedef struct llmrt_sampler_options {
  size_t struct_size;
  float repetition_penalty; /* 1: off */
  float temperature;        /* 0: greedy */
  int32_t top_k;            /* 0: off */
  float top_p;              /* 1: off */
  float min_p;              /* 0: off */
  uint64_t seed; /* of random numbers, which depend on nothing else but a token's position */
} llmrt_sampler_options;
/* plan NULL: greedy; else what the model's generation config asks for. What that suppresses, bad
 * words and n-grams not to be repeated have no field here and always count. */
void llmrt_sampler_options_init(llmrt_sampler_options* options, const llmrt_plan* plan);

llmrt_status llmrt_sampler_create(const llmrt_plan* plan, const llmrt_sampler_options* options,
                                  llmrt_sampler** out);
void llmrt_sampler_destroy(llmrt_sampler* sampler);
/* Tells of the next token of the text, of the prompt or sampled: for the repetition penalty, and because the
 * random number of a token is that of the seed and of how many tokens came before it. */
void llmrt_sampler_accept(llmrt_sampler* sampler, int32_t token);
/* The next token. logits: [vocab_size]. */
int32_t llmrt_sampler_sample(llmrt_sampler* sampler, const float* logits);

/* --- Generation
 * ---------------------------------------------------------------------------------------------------
 */

/* Gets whole characters of the generated text as they become certain, not zero-terminated. Not 0
 * cancels. */
typedef int32_t (*llmrt_text_callback)(void* user, const char* text, size_t bytes);

typedef enum llmrt_finish_reason {
  LLMRT_FINISH_EOS = 0,      /* an end-of-sequence token */
  LLMRT_FINISH_STOP = 1,     /* a stop string */
  LLMRT_FINISH_LENGTH = 2,   /* max_tokens, or the context is full */
  LLMRT_FINISH_CANCELLED = 3, /* by the callback, or llmrt_engine_cancel() */
  LLMRT_FINISH_DEADLINE = 4   /* its time was over */
} llmrt_finish_reason;

typedef struct llmrt_generate_options {
  size_t struct_size;
  int64_t max_tokens;
  /* NULL: what the model's generation config asks for; a conversation where it asks for nothing is
   * sampled at a temperature of 0.7, with a seed of its own for each answer. */
  const llmrt_sampler_options* sampler;
  const char* const* stops; /* [num_stops], beside those of the generation config */
  size_t num_stops;
  int32_t ignore_eos;          /* and stops of the generation config */
  llmrt_text_callback on_text; /* may be NULL */
  void* user;
} llmrt_generate_options;
void llmrt_generate_options_init(llmrt_generate_options* options);

/* Appends a prompt to sequence seq and generates. Writes at most `capacity` of the generated ids to
 * `ids` (may be NULL when that is 0), the number of all to *count, and why it ended to *reason (may
 * be NULL). Where it fails behind the prompt, the sequence begins anew. */
llmrt_status llmrt_generate(llmrt_session* session, int32_t seq, const int32_t* prompt,
                            size_t prompt_count, const llmrt_generate_options* options,
                            int32_t* ids, size_t capacity, size_t* count,
                            llmrt_finish_reason* reason);

/* --- Chats
 * --------------------------------------------------------------------------------------------------------
 */

typedef struct llmrt_chat_message {
  const char* role;    /* "system", "user", "assistant", or what else the model's template knows */
  const char* content; /* UTF-8 */
} llmrt_chat_message;

/* What the plan's chat template makes of a conversation and the head of the next answer: UTF-8
 * without a terminating zero; capacity and count as above. The text has BOS and the special tokens
 * written out: its ids are llmrt_tokenize(..., add_bos = 0, ...), to be continued by
 * llmrt_generate(), or by llmrt_decode() until one of llmrt_eos_ids().
 * variables_json: a JSON object of more variables of the template (tools, enable_thinking,
 * add_generation_prompt: false, ...), which win over those made here; NULL: none. With "messages"
 * in it, no others are needed. With "tools" other than null in it, a template called tool_use is
 * used where the plan has one. What the template raises is LLMRT_INVALID_ARGUMENT. */
llmrt_status llmrt_render_chat(const llmrt_plan* plan, const llmrt_chat_message* messages,
                               size_t num_messages, const char* variables_json, char* text,
                               size_t capacity, size_t* count);

/* The ids that end an answer: those of the model's generation config, the tokenizer's, and the
 * special token that the chat template writes behind an answer. Capacity and count as above. */
llmrt_status llmrt_eos_ids(const llmrt_plan* plan, int32_t* ids, size_t capacity, size_t* count);

/* A conversation that uses sequence 0 of a session, whatever that held: tokens that a turn shares with what the session
 * still has of earlier texts are not run again. Several conversations may use one session in
 * turn. */
typedef struct llmrt_conversation llmrt_conversation;

/* system: what it begins with; NULL or "": no such message. LLMRT_UNSUPPORTED
 * where the plan has no tokenizer or no chat template. */
llmrt_status llmrt_conversation_create(llmrt_session* session, const char* system,
                                       llmrt_conversation** out);
void llmrt_conversation_destroy(llmrt_conversation* conversation);

typedef struct llmrt_answer {
  size_t struct_size; /* set by the caller: sizeof(llmrt_answer) */
  llmrt_finish_reason reason;
  int64_t cached_tokens; /* of the conversation: in the KV cache already */
  int64_t prompt_tokens; /* those that were run */
  int64_t answer_tokens;
  const char* text; /* valid until the conversation's next answer or its end; a reset keeps it */
  size_t text_bytes;
} llmrt_answer;
/* The model's answer to `user`, UTF-8; also in pieces through options->on_text, which may cancel
 * it. out may be NULL. What failed, or was cancelled before its first token, leaves the
 * conversation as it was; a part of an answer stays in it. */
llmrt_status llmrt_conversation_answer(llmrt_conversation* conversation, const char* user,
                                       const llmrt_generate_options* options, llmrt_answer* out);
/* Back to the system message. The KV cache stays as it is until the next answer. */
void llmrt_conversation_reset(llmrt_conversation* conversation);

/* --- Engines
 * ------------------------------------------------------------------------------------------------------
 */

/* Runs many requests at once, on a thread of its own: their tokens share its steps, prompts in
 * chunks beside those that decode. Each gets the tokens that it would get alone. Texts that begin
 * alike share what is in the KV cache of their beginning. */
typedef struct llmrt_engine llmrt_engine;

typedef struct llmrt_engine_options {
  size_t struct_size;
  int32_t threads;       /* 0: the CPUs this process may use */
  int64_t max_seq_len;   /* 0: the plan's, or kv_tokens where that is less; as kv_tokens 0 */
  int64_t max_batch;     /* requests that run at once; 0: the plan's. More wait */
  int64_t prefill_chunk; /* most tokens of prompts in one step; 0: as many as the plan allows */
  int64_t kv_tokens;     /* most tokens in the KV cache, of all requests; 0: max_batch * max_seq_len, or where
                          * max_seq_len is 0 as many as fit in nine tenths of the free memory */
  int64_t max_waiting;   /* more requests are refused; 0: any number waits */
} llmrt_engine_options;
void llmrt_engine_options_init(llmrt_engine_options* options);

/* options NULL: the defaults. The plan and the weights outlive the engine. */
llmrt_status llmrt_engine_create(const llmrt_plan* plan, const llmrt_weights* weights,
                                 const llmrt_engine_options* options, llmrt_engine** out);
/* Requests that run end without an event. */
void llmrt_engine_destroy(llmrt_engine* engine);

typedef struct llmrt_request_options {
  size_t struct_size;
  int32_t priority;       /* of a higher one runs first, and is preempted last; 0 */
  int32_t top_logits;     /* how many of the largest logits to tell of each token */
  double timeout_seconds; /* after which it ends, whatever it has; 0: never */
} llmrt_request_options;
void llmrt_request_options_init(llmrt_request_options* options);

/* A prompt to continue; its number to *request. Its first events may come before this returns. generate: as of llmrt_generate(), but on_text is
 * not called, events tell. Both options may be NULL. A prompt that the context does not hold is
 * refused, never cut. */
llmrt_status llmrt_engine_submit(llmrt_engine* engine, const int32_t* prompt, size_t prompt_count,
                                 const llmrt_generate_options* generate,
                                 const llmrt_request_options* options, uint64_t* request);
/* Asks for a request's end, after which comes its last event; nothing where it has ended. */
void llmrt_engine_cancel(llmrt_engine* engine, uint64_t request);

typedef enum llmrt_event_kind {
  LLMRT_EVENT_TOKEN = 0,    /* one more token, and what of the text is certain by now */
  LLMRT_EVENT_FINISHED = 1, /* the end: the rest of the text, and why */
  LLMRT_EVENT_FAILED = 2    /* the end: status and error */
} llmrt_event_kind;

typedef struct llmrt_logit {
  int32_t token;
  float logit;
} llmrt_logit;

typedef struct llmrt_event {
  size_t struct_size; /* set by the caller: sizeof(llmrt_event) */
  uint64_t request;
  llmrt_event_kind kind;
  int32_t token;    /* of LLMRT_EVENT_TOKEN, else -1 */
  const char* text; /* UTF-8 without a terminating zero */
  size_t text_bytes;
  const llmrt_logit* top_logits; /* largest first */
  size_t num_top_logits;
  llmrt_finish_reason reason;
  llmrt_status status;
  const char* error; /* one line, "" where nothing failed */
  /* Of the last event of a request: */
  int64_t prompt_tokens, cached_tokens; /* of the prompt's, those that were in the KV cache */
  int64_t tokens;                       /* generated */
  double ttft_seconds, seconds; /* from llmrt_engine_submit() to the first token, and to the end */
} llmrt_event;
/* The next event of any request, those of one in order: *has_event 1; 0 where none came within
 * timeout_seconds. What an event points to is valid until the next call, so one thread waits. */
llmrt_status llmrt_engine_wait(llmrt_engine* engine, double timeout_seconds, llmrt_event* event,
                               int32_t* has_event);

typedef struct llmrt_engine_stats {
  size_t struct_size; /* set by the caller: sizeof(llmrt_engine_stats) */
  int64_t running, waiting;
  uint64_t submitted, finished, failed;
  uint64_t steps, prompt_tokens, cached_tokens, tokens, preemptions;
} llmrt_engine_stats;
llmrt_status llmrt_engine_get_stats(const llmrt_engine* engine, llmrt_engine_stats* stats);

#ifdef __cplusplus
}
#endif

#endif /* LLMRT_H */
