#include "tools/llmbench/bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "runtime/executor/cost.h"
#include "runtime/io/printable.h"
#include "runtime/measure/bandwidth.h"
#include "runtime/sampling/sampler.h"
#include "runtime/schema/plan_generated.h"
#include "tools/cli/command_line.h"
#include "tools/llmbench/arrivals.h"
#include "tools/llmbench/ceiling.h"
#include "tools/llmbench/report.h"

namespace llmrt {
namespace {

using Clock = std::chrono::steady_clock;

// Any ids do: time does not depend on them, except where equal ones would keep an embedding row in
// the cache.
int32_t tokenAt(int64_t i, int64_t vocab_size) {
  return static_cast<int32_t>(i * 7919 % vocab_size);
}

std::vector<int32_t> tokens(int64_t count, int64_t vocab_size) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(tokenAt(i, vocab_size));
  return out;
}

Status measurePrefill(Session& session, int64_t count, Rounds& rounds) {
  const schema::Plan& plan = session.plan().schema();
  const std::vector<int32_t> prompt = tokens(count, session.plan().vocabSize());
  session.reset(0);
  const Clock::time_point start = Clock::now();
  LLMRT_RETURN_IF_ERROR(session.prefill(0, prompt));
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double flops = prefillCost(plan, 0, count, session.options().prefill_chunk).flops;
  rounds.prefill_tok_s.values.push_back(static_cast<double>(count) / seconds);
  rounds.prefill_gflop_s.values.push_back(flops / seconds / 1e9);
  return {};
}

// Decodes `count` tokens of each sequence behind `depth` tokens. Filling a deep context takes far
// longer than decoding in it, so what the round before filled serves again, where the session still
// has it all: windows pass tokens, recurrent states do not go back.
Status measureDecode(Session& session, const BenchCase& o, Rounds& rounds) {
  const schema::Plan& plan = session.plan().schema();
  const int64_t vocab_size = session.plan().vocabSize(), depth = o.depth, count = o.decode;
  for (int32_t seq = 0; seq < o.batch; ++seq) {
    if (session.truncate(seq, depth) == depth) continue;
    session.reset(seq);
    LLMRT_RETURN_IF_ERROR(session.prefill(seq, tokens(depth, vocab_size)));
  }
  std::vector<StepToken> step(static_cast<size_t>(o.batch));
  const Clock::time_point start = Clock::now();
  if (o.batch == 1 && session.options().device) {
    // What a user of a device gets: the choice of each token is part of its time. Of several
    // sequences the logits come to the host, and who chooses there is not measured.
    LLMRT_ASSIGN_OR_RETURN(Sampler greedy, Sampler::create(vocab_size, {}));
    TokenChooser* const chooser = &greedy;
    const StepToken first{0, tokenAt(depth, vocab_size), true};
    LLMRT_RETURN_IF_ERROR(session.queue({&first, 1}, {&chooser, 1}));
    for (int64_t taken = 0, queued = 1; taken < count; ++taken) {
      for (; queued < count && session.canQueueNext(); ++queued)
        LLMRT_RETURN_IF_ERROR(session.queueNext());
      LLMRT_ASSIGN_OR_RETURN(const std::span<const int32_t> chosen, session.take());
      greedy.accept(chosen[0]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      for (int32_t seq = 0; seq < o.batch; ++seq) {
        step[static_cast<size_t>(seq)] = {seq, tokenAt(depth + i + seq, vocab_size), true};
      }
      LLMRT_RETURN_IF_ERROR(session.step(step));
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  Cost all;
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<SequenceRows> rows(static_cast<size_t>(o.batch), {1, depth + i, 1});
    all += stepCost(plan, rows);
  }
  rounds.decode_tok_s.values.push_back(static_cast<double>(o.batch * count) / seconds);
  rounds.decode_gb_s.values.push_back(all.bytes() / seconds / 1e9);
  rounds.decode_gflop_s.values.push_back(all.flops / seconds / 1e9);
  rounds.bytes_per_step = all.bytes() / static_cast<double>(count);
  return {};
}

Status checkBatch(const Plan& plan, int64_t batch) {
  if (batch <= plan.maxBatch()) return {};
  return invalidArgument(fmt::format(
      "--batch {}: {} was compiled for {} at once: llmc compile MODEL -o {} --max-batch {}", batch,
      plan.path(),
      plan.maxBatch() == 1 ? "1 sequence" : fmt::format("{} sequences", plan.maxBatch()),
      shellQuoted(plan.path()), batch));
}

Status checkLengths(const Session& session, const BenchCase& o) {
  const int64_t context = session.options().max_seq_len;
  if (o.prefill > context) {
    return invalidArgument(
        fmt::format("--prefill {}: the context holds {} tokens", o.prefill, context));
  }
  if (o.depth + o.decode > context) {
    return invalidArgument(fmt::format("--depth {} and --decode {}: the context holds {} tokens",
                                       o.depth, o.decode, context));
  }
  return {};
}

/// The cross product of what was given. Where there is nothing to decode, depth and batch make no
/// difference.
std::vector<BenchCase> casesOf(const BenchOptions& o) {
  std::vector<BenchCase> cases;
  for (const int32_t threads : o.threads)
    for (const int64_t batch : o.batch)
      for (const int64_t prefill : o.prefill)
        for (const int64_t decode : o.decode)
          for (const int64_t depth : o.depth) {
            const BenchCase c = decode > 0 ? BenchCase{prefill, decode, batch, depth, threads}
                                           : BenchCase{prefill, 0, 1, 0, threads};
            if (prefill + decode > 0 && std::find(cases.begin(), cases.end(), c) == cases.end())
              cases.push_back(c);
          }
  return cases;
}

/// Loads the plan and those of --ablate, and refuses cases that do not fit them.
Result<std::vector<Entrant>> loadEntrants(const BenchOptions& o,
                                          const std::vector<BenchCase>& cases) {
  std::vector<Entrant> entrants;
  std::vector<std::string> paths = {o.model.plan_path};
  paths.insert(paths.end(), o.ablate.begin(), o.ablate.end());
  for (const std::string& path : paths) {
    ModelOptions options = o.model;
    options.plan_path = path;
    options.session.threads = cases[0].threads;
    for (const BenchCase& c : cases) options.most_batch = std::max(options.most_batch, c.batch);
    LLMRT_ASSIGN_OR_RETURN(LoadedModel model, loadModel(options));
    for (const BenchCase& c : cases) {
      LLMRT_RETURN_IF_ERROR(checkBatch(*model.plan, c.batch));
      LLMRT_RETURN_IF_ERROR(checkLengths(*model.session, c));
    }
    entrants.push_back({std::move(model), {}});
  }
  return entrants;
}

/// The session that a case needs, where the case before it needed another.
Status prepare(Entrant& entrant, const BenchOptions& o, const BenchCase& c) {
  SessionOptions options = o.model.session;
  options.threads = c.threads;
  options.max_batch = c.batch;
  const SessionOptions& now = entrant.model.session->options();
  const int threads = c.threads > 0 ? c.threads : defaultThreads();
  if (now.threads == threads && now.max_batch == c.batch) return {};
  return replaceSession(entrant.model, options);
}

/// The limits of computing, of this round; its bandwidth is measured.
Status measureCeilings(Entrant& entrant, const BenchCase& c) {
  Rounds& rounds = entrant.rounds;
  const Session& session = *entrant.model.session;
  const schema::Plan& plan = session.plan().schema();
  const std::vector<SequenceRows> step(static_cast<size_t>(c.batch), {1, c.depth, 1});
  const FlopsByFormat of_step = c.batch > 1 ? stepFlops(plan, step) : FlopsByFormat();
  const FlopsByFormat of_prompt =
      c.prefill > 0 ? prefillFlops(plan, 0, c.prefill, session.options().prefill_chunk)
                    : FlopsByFormat();
  LLMRT_ASSIGN_OR_RETURN(const Ceilings ceilings, Ceilings::measure(session, {of_step, of_prompt}));
  rounds.peak_gflop_s.values.push_back(ceilings.peak() / 1e9);
  for (const auto& [format, flop_s] : ceilings.innerLoops())
    rounds.inner_loop_gflop_s[format].values.push_back(flop_s / 1e9);
  if (c.batch > 1) {
    const double reading = stepCost(plan, step).bytes() / rounds.read_gb_s.values.back() / 1e9;
    rounds.decode_limit_tok_s.values.push_back(static_cast<double>(c.batch) /
                                               std::max(reading, ceilings.seconds(of_step)));
  }
  if (c.prefill > 0 && !ceilings.innerLoops().empty()) {
    double flops = 0;
    for (const auto& [format, some] : of_prompt) flops += some;
    rounds.prefill_ceiling_gflop_s.values.push_back(flops / ceilings.seconds(of_prompt) / 1e9);
  }
  return {};
}

/// One round: the limits, then each plan. The limits of a GPU are not measured here: tests/gpu/run
/// does it beside.
Status measureRound(std::vector<Entrant>& entrants, const BandwidthMeter& meter,
                    const BenchCase& c) {
  for (Entrant& entrant : entrants) {
    Rounds& rounds = entrant.rounds;
    if (!entrant.model.device) {
      if (c.decode > 0) {
        LLMRT_ASSIGN_OR_RETURN(const double bandwidth, meter.measureBest());
        rounds.read_gb_s.values.push_back(bandwidth / 1e9);
      }
      if (c.prefill > 0 || c.batch > 1) LLMRT_RETURN_IF_ERROR(measureCeilings(entrant, c));
    }
    if (c.decode > 0) LLMRT_RETURN_IF_ERROR(measureDecode(*entrant.model.session, c, rounds));
    if (c.prefill > 0)
      LLMRT_RETURN_IF_ERROR(measurePrefill(*entrant.model.session, c.prefill, rounds));
  }
  return {};
}

/// What the first decode step of a case reads: a small model stays in the caches from one to the
/// next.
uint64_t bytesOfAStep(const Entrant& entrant, const BenchCase& c) {
  if (c.decode == 0) return UINT64_MAX;
  const std::vector<SequenceRows> rows(static_cast<size_t>(c.batch), {1, c.depth, 1});
  return static_cast<uint64_t>(stepCost(entrant.model.plan->schema(), rows).bytes());
}

template <typename T>
bool anyAbove(const std::vector<T>& values, T bound) {
  return std::any_of(values.begin(), values.end(), [&](T value) { return value > bound; });
}

}  // namespace

void BenchOptions::addTo(CLI::App& app) {
  model.addWithoutThreads(app);
  const auto list = [&](const char* names, auto& values, const char* text, const char* unless) {
    return app.add_option(names, values, text)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->default_str(unless);
  };
  list("-p,--prefill", prefill, "Tokens of the prompt; 0: no prefill", "512")
      ->check(CLI::NonNegativeNumber);
  list("-n,--decode", decode, "Tokens to decode, of each sequence; 0: no decode", "64")
      ->check(CLI::NonNegativeNumber);
  list("--batch", batch,
       "Sequences that are decoded at once, a token of each in a step; not more than llmc compile "
       "--max-batch",
       "1")
      ->check(CLI::PositiveNumber);
  list("-d,--depth", depth, "Tokens in each context before decoding", "0")
      ->check(CLI::NonNegativeNumber);
  list("-t,--threads", threads, "Threads; default: the CPUs of this process", "")
      ->check(CLI::Range(1, kMaxThreads));
  app.add_option("-r,--repeat", repeat, "Rounds")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option(
         "--ablate", ablate,
         "Comma-separated plans of the same model with something switched off (llmc compile "
         "--disable-pass): their speed as a share of PLAN's, in the same rounds")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option(
         "--arrivals", arrivals,
         "Replay a trace of requests through the engine in place of prefill and decode, --batch of "
         "them "
         "at once at most (default: as many as the plan runs). Lines of JSON: {\"time\": seconds, "
         "\"prompt\": tokens, \"prefix\": of these that all prompts share, \"tokens\": to "
         "generate}")
      ->check(CLI::ExistingFile);
  app.add_option(
         "--kv-tokens", model.session.kv_tokens,
         "With --arrivals: most tokens in the KV cache, of all requests (default: as many as they "
         "could have)")
      ->check(CLI::PositiveNumber)
      ->needs("--arrivals");
  app.add_option("-o,--output", output,
                 "table, md (a Markdown table, a row per case) or json (a line per case)")
      ->check(CLI::IsMember({"table", "md", "json"}));
  app.add_flag_callback(
      "--markdown", [this] { output = "md"; }, "The same as --output md");
  app.add_flag_callback(
      "--json", [this] { output = "json"; },
      "The same as --output json: a JSON object; spread: [least, most] of each figure");
  app.footer("Lists (-p 128,512 -t 1,2) are measured in every combination, the model loaded once.");
  app.callback([this, &app] {
    if (!arrivals.empty()) {
      for (const char* other : {"--prefill", "--decode", "--depth", "--repeat", "--ablate"})
        if (app.count(other) > 0) throw CLI::ExcludesError("--arrivals", other);
      if (batch.size() > 1 || threads.size() > 1)
        throw CLI::ValidationError("--arrivals", "takes one --batch and one --threads");
      if (app.count("--batch") == 0) batch = {0};
      return;
    }
    if (!anyAbove(prefill, int64_t{0}) && !anyAbove(decode, int64_t{0}))
      throw CLI::ValidationError("--prefill, --decode", "are both 0: there is nothing to measure");
    if (anyAbove(depth, int64_t{0}) && !anyAbove(decode, int64_t{0}))
      throw CLI::ValidationError("--depth", "is of decoding: needs --decode");
    if (anyAbove(batch, int64_t{1}) && !anyAbove(decode, int64_t{0}))
      throw CLI::ValidationError("--batch", "is of decoding: needs --decode");
  });
}

Result<int> bench(const BenchOptions& o) {
  if (!o.arrivals.empty()) {
    ArrivalsOptions arrivals{o.model, o.arrivals, o.output == "json"};
    arrivals.model.session.threads = o.threads[0];
    arrivals.model.session.max_batch = o.batch[0];
    return replayArrivals(arrivals);
  }
  const std::vector<BenchCase> cases = casesOf(o);
  const bool terminal = isatty(STDERR_FILENO);
  const auto progress = [&](const std::string& text) {
    if (terminal) fmt::print(stderr, "\r\033[K{}", text);
  };
  progress(fmt::format("loading {}", o.model.plan_path));
  Result<std::vector<Entrant>> loaded = loadEntrants(o, cases);
  progress("");
  if (!loaded.ok()) return std::move(loaded).status();
  std::vector<Entrant> entrants = *std::move(loaded);
  const BenchFormat format = o.output == "json" ? BenchFormat::kJson
                             : o.output == "md" ? BenchFormat::kMarkdown
                                                : BenchFormat::kTable;
  for (size_t i = 0; i < cases.size(); ++i) {
    const BenchCase& c = cases[i];
    for (Entrant& entrant : entrants) LLMRT_RETURN_IF_ERROR(prepare(entrant, o, c));
    LLMRT_ASSIGN_OR_RETURN(const BandwidthMeter meter,
                           BandwidthMeter::create(entrants[0].model.session->options().threads,
                                                  bytesOfAStep(entrants[0], c)));
    for (int round = 0; round <= o.repeat; ++round) {
      progress((cases.size() > 1 ? fmt::format("case {} / {}, ", i + 1, cases.size()) : "") +
               fmt::format("round {} / {}", round, o.repeat));
      // The first one is the warm-up.
      if (round <= 1)
        for (Entrant& entrant : entrants)
          entrant.rounds = {.cached_bytes = meter.ofMemory() ? 0 : meter.bufferBytes()};
      LLMRT_RETURN_IF_ERROR(measureRound(entrants, meter, c));
    }
    progress("");
    printCase(format, entrants, c, o.repeat, i == 0);
  }
  return 0;
}

}  // namespace llmrt
