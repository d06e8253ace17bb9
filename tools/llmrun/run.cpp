#include "tools/llmrun/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "runtime/generate/generate.h"
#include "runtime/generate/perplexity.h"
#include "runtime/io/printable.h"
#include "runtime/text/utf8.h"
#include "tools/llmrun/chat.h"
#include "tools/llmrun/generation.h"
#include "tools/llmrun/input.h"
#include "tools/llmrun/interrupt.h"
#include "tools/llmrun/profile_report.h"

namespace llmrt {
namespace {

constexpr int64_t kDefaultMaxTokens = 256;

Result<std::vector<int32_t>> encode(const LoadedModel& model, const std::string& text,
                                    const std::string& what) {
  const size_t invalid = findInvalidUtf8(text);
  if (invalid != text.size()) {
    return invalidArgument(fmt::format("{}: is not UTF-8 at byte {}", what, invalid));
  }
  if (!model.tokenizer) {
    return unsupported(
        fmt::format("{}: has no tokenizer: give the prompt as --prompt-ids", model.plan->path()));
  }
  Result<std::vector<int32_t>> ids = model.tokenizer->encode(text);
  if (!ids.ok()) return std::move(ids).status().withContext(what);
  return ids;
}

Result<std::vector<int32_t>> promptIds(const LoadedModel& model, const PromptOptions& o) {
  std::vector<int32_t> ids;
  if (o.ids) {
    ids = *o.ids;
  } else if (o.text) {
    LLMRT_ASSIGN_OR_RETURN(ids, encode(model, *o.text, "--prompt"));
  } else {
    const std::string path = o.file.value_or("");
    LLMRT_ASSIGN_OR_RETURN(const std::string text, readInput(path));
    LLMRT_ASSIGN_OR_RETURN(ids, encode(model, text, path.empty() ? "stdin" : path));
  }
  if (ids.empty())
    return invalidArgument("the prompt is empty and the tokenizer adds no BOS: give some text");
  return ids;
}

// What comes on stderr stands on a line of its own, also where stdout reaches the same terminal
// later, through another program.
void beginLine() {
  std::fflush(stdout);
  if (isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO)) fmt::print(stderr, "\n");
}

Result<int> runPrompt(const LoadedModel& model, const PromptOptions& from,
                      const GenerationOptions& o, bool json) {
  LLMRT_ASSIGN_OR_RETURN(const std::vector<int32_t> prompt, promptIds(model, from));
  if (!model.tokenizer && !o.stops.empty()) {
    return unsupported(fmt::format("{}: has no tokenizer, which --stop needs", model.plan->path()));
  }
  GenerateOptions generate_options =
      generateOptions(model, o, defaultSamplerOptions(*model.plan), kDefaultMaxTokens);
  const bool terminal = isatty(STDOUT_FILENO);
  char last = '\n';
  if (!json) {
    generate_options.on_text = [&last, terminal](std::string_view text) {
      // A pipe gets the text as it is, a terminal nothing that it would obey.
      const std::string shown = terminal ? printableText(text) : std::string(text);
      std::fwrite(shown.data(), 1, shown.size(), stdout);
      std::fflush(stdout);
      if (!shown.empty()) last = shown.back();
    };
  }
  catchInterrupts(SecondInterrupt::kEndsProcess);
  Result<GenerateResult> generated =
      generate(*model.session, model.tokenizerOrNull(), prompt, generate_options);
  if (last != '\n') std::fputc('\n', stdout);
  if (!generated.ok()) return std::move(generated).status();
  const GenerateResult& result = *generated;
  if (json) {
    printJson(resultJson(prompt, result, o.top_logits > 0));
  } else if (!model.tokenizer) {
    fmt::print("{}\n", fmt::join(result.ids, ","));
  }
  if (!json && isatty(STDERR_FILENO)) {
    const Speeds s = speedsOf(result);
    beginLine();
    fmt::print(stderr,
               "[{} on {} threads of {}: first token {:.0f} ms; prompt {} tokens, {:.1f} tok/s; "
               "decode {:.1f} tok/s, {:.1f} GB/s; {}; {} tokens in {}]\n",
               printableLine(model.plan->path()), model.session->options().threads,
               model.plan->targetName(), result.ttft_seconds * 1e3, result.prompt_tokens,
               s.prefill_tok_s, s.decode_tok_s, s.decode_gb_s,
               finishReasonName(result.finish_reason), prompt.size() + result.ids.size(),
               contextText(*model.session));
  }
  return result.finish_reason == FinishReason::kCancelled ? kExitInterrupted : 0;
}

nlohmann::json perplexityJson(const Perplexity& p) {
  return {{"tokens", p.tokens}, {"nll_mean", p.nll_mean}, {"ppl", p.ppl}};
}

Result<int> runPerplexity(const LoadedModel& model, const std::string& path, const RunOptions& o) {
  LLMRT_ASSIGN_OR_RETURN(const std::string text, readInput(path));
  LLMRT_ASSIGN_OR_RETURN(std::vector<int32_t> ids, encode(model, text, path));
  const std::optional<int64_t> most = o.generation.max_tokens;
  if (most && *most < static_cast<int64_t>(ids.size())) ids.resize(static_cast<size_t>(*most));
  LoadedModel base;
  if (!o.against.empty()) {
    ModelOptions options = o.model;
    options.session.max_seq_len = model.session->options().max_seq_len;
    options.plan_path = o.against;
    options.weights_path.clear();
    LLMRT_ASSIGN_OR_RETURN(base, loadModel(options));
  }
  const bool terminal = isatty(STDERR_FILENO);
  const auto progress = [&](int64_t done) {
    if (terminal) fmt::print(stderr, "\r{} / {} tokens", done, ids.size());
  };
  catchInterrupts(SecondInterrupt::kEndsProcess);
  Result<Divergence> result = Divergence{};
  if (base.session) {
    result = measureDivergence(*model.session, *base.session, ids, &interrupted, progress);
  } else if (auto p = measurePerplexity(*model.session, ids, &interrupted, progress); p.ok()) {
    result->perplexity = *p;
  } else {
    result = std::move(p).status();
  }
  if (terminal) fmt::print(stderr, "\n");
  if (!result.ok() && result.status().code() == StatusCode::kCancelled) return kExitInterrupted;
  if (!result.ok()) return std::move(result).status().withContext(path);
  const Perplexity& p = result->perplexity;
  if (o.json) {
    nlohmann::json json = perplexityJson(p);
    if (base.session) {
      json["base"] = perplexityJson(result->base);
      json["kl_mean"] = result->kl_mean;
      json["kl_p99"] = result->kl_p99;
      json["same_top"] = result->same_top;
    }
    printJson(json);
    return 0;
  }
  fmt::print("tokens {}  nll_mean {:.6f}  ppl {:.4f}\n", p.tokens, p.nll_mean, p.ppl);
  if (base.session)
    fmt::print(
        "base            nll_mean {:.6f}  ppl {:.4f}\n"
        "KL divergence   mean {:.6f}  p99 {:.6f}; the same most probable token {:.2f} %\n",
        result->base.nll_mean, result->base.ppl, result->kl_mean, result->kl_p99,
        100 * result->same_top);
  return 0;
}

}  // namespace

Result<int> run(const RunOptions& o) {
  ModelOptions model_options = o.model;
  model_options.session.profile = o.profile;
  // Windows of a text are the same on any machine.
  constexpr int64_t kMostWindow = 4096;
  if (o.perplexity) model_options.most_context = kMostWindow;
  LLMRT_ASSIGN_OR_RETURN(const LoadedModel model, loadModel(model_options));
  if (o.profile) LLMRT_RETURN_IF_ERROR(warmUpProfile(*model.session));
  LLMRT_ASSIGN_OR_RETURN(const int status,
                         o.perplexity ? runPerplexity(model, *o.perplexity, o)
                         : o.is_chat  ? runChat(model, o.chat, o.prompt, o.generation, o.json)
                                      : runPrompt(model, o.prompt, o.generation, o.json));
  if (o.profile) {
    beginLine();
    LLMRT_RETURN_IF_ERROR(printProfile(*model.session, stderr));
  }
  return status;
}

}  // namespace llmrt
