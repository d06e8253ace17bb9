#include "tools/llmbench/bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/core/cost.h"
#include "runtime/io/printable.h"
#include "runtime/measure/bandwidth.h"
#include "runtime/measure/compute_peak.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

using Clock = std::chrono::steady_clock;

// One quantity over all rounds.
struct Samples {
  std::vector<double> values;

  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const size_t n = sorted.size();
    return n == 0 ? 0 : n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
  double min() const {
    return values.empty() ? 0 : *std::min_element(values.begin(), values.end());
  }
  double max() const {
    return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  }
};

struct Rounds {
  Samples read_gb_s, peak_gflop_s, prefill_tok_s, prefill_gflop_s;
  Samples decode_tok_s, decode_gb_s, decode_gflop_s;  // tok/s: of all sequences
  double bytes_per_step = 0;
};

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
  double flops = 0;
  for (int64_t done = 0; done < count;) {
    const int64_t n = std::min(count - done, session.options().prefill_chunk);
    const int64_t logits_rows = done + n == count;
    const auto entry = static_cast<uint32_t>(selectEntryPoint(plan, n, logits_rows));
    flops += stepCost(plan, entry, n, done, logits_rows).flops;
    done += n;
  }
  rounds.prefill_tok_s.values.push_back(static_cast<double>(count) / seconds);
  rounds.prefill_gflop_s.values.push_back(flops / seconds / 1e9);
  return {};
}

// A step that takes one token to each of `batch` sequences of `pos` tokens.
Cost decodeCost(const schema::Plan& plan, int64_t batch, int64_t pos) {
  const auto entry = static_cast<uint32_t>(selectEntryPoint(plan, batch, batch));
  const Cost one = stepCost(plan, entry, 1, pos, 1);
  const auto n = static_cast<double>(batch);
  return {stepCost(plan, entry, batch, pos, batch).weight_bytes, n * one.kv_bytes, n * one.flops};
}

// Decodes `count` tokens of each sequence behind `depth` tokens. Filling a deep context takes far
// longer than decoding in it, so what the round before filled serves again.
Status measureDecode(Session& session, const BenchOptions& o, Rounds& rounds) {
  const schema::Plan& plan = session.plan().schema();
  const int64_t vocab_size = session.plan().vocabSize(), depth = o.depth, count = o.decode;
  for (int32_t seq = 0; seq < o.batch; ++seq) {
    if (session.kvLen(seq) < depth) {
      session.reset(seq);
      LLMRT_RETURN_IF_ERROR(session.prefill(seq, tokens(depth, vocab_size)));
    }
    session.truncate(seq, depth);
  }
  std::vector<StepToken> step(static_cast<size_t>(o.batch));
  const Clock::time_point start = Clock::now();
  if (o.batch == 1 && session.decodesAlone()) {
    // What a user of a device gets: the choice of each token is part of its time. Of several
    // sequences the logits come to the host, and who chooses there is not measured.
    LLMRT_ASSIGN_OR_RETURN(Sampler greedy, Sampler::create(vocab_size, {}));
    LLMRT_RETURN_IF_ERROR(session.decodeAlone(0, tokenAt(depth, vocab_size), count, greedy,
                                              [](int32_t) { return true; }));
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
  for (int64_t i = 0; i < count; ++i) all += decodeCost(plan, o.batch, depth + i);
  rounds.decode_tok_s.values.push_back(static_cast<double>(o.batch * count) / seconds);
  rounds.decode_gb_s.values.push_back(all.bytes() / seconds / 1e9);
  rounds.decode_gflop_s.values.push_back(all.flops / seconds / 1e9);
  rounds.bytes_per_step = all.bytes() / static_cast<double>(count);
  return {};
}

Status checkLengths(const Session& session, const BenchOptions& o) {
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

/// A plan that takes its turn in every round.
struct Entrant {
  LoadedModel model;
  Rounds rounds;

  std::string path() const { return model.plan->path(); }
  /// The flags it was compiled with.
  std::string flags() const {
    const flatbuffers::String* command = model.plan->schema().command();
    return command ? command->str() : "";
  }
  /// What was switched off in it.
  std::string disabledPasses() const {
    const std::string flag = "--disable-pass ", all = flags();
    const size_t at = all.find(flag);
    if (at == std::string::npos) return "nothing";
    const size_t begin = at + flag.size();
    return all.substr(begin, all.find(' ', begin) - begin);
  }
};

double ratio(const Samples& value, const Samples& limit) {
  return limit.median() > 0 ? value.median() / limit.median() : 0;
}

nlohmann::json ablationJson(const Entrant& other, const Rounds& first, const BenchOptions& o) {
  nlohmann::json json = {{"plan", other.path()}, {"disabled", other.disabledPasses()}};
  const Rounds& r = other.rounds;
  if (o.decode > 0) {
    json["decode_tok_s"] = r.decode_tok_s.median();
    json["decode_to_first"] = ratio(r.decode_tok_s, first.decode_tok_s);
  }
  if (o.prefill > 0) {
    json["prefill_tok_s"] = r.prefill_tok_s.median();
    json["prefill_to_first"] = ratio(r.prefill_tok_s, first.prefill_tok_s);
  }
  return json;
}

void printJson(const std::vector<Entrant>& entrants, const BenchOptions& o) {
  const Session& session = *entrants[0].model.session;
  const Rounds& r = entrants[0].rounds;
  const llmrt::Device* gpu = entrants[0].model.device.get();
  const std::string device = gpu ? gpu->name() : "cpu";
  nlohmann::json json = {{"model", session.plan().schema().model()->name()
                                       ? session.plan().schema().model()->name()->str()
                                       : ""},
                         {"plan", session.plan().path()},
                         {"target", session.plan().targetName()},
                         {"device", device},
                         {"threads", session.options().threads},
                         {"repeat", o.repeat}};
  nlohmann::json spread = nlohmann::json::object();
  const auto add = [&](const char* name, const Samples& samples) {
    json[name] = samples.median();
    spread[name] = {samples.min(), samples.max()};
  };
  if (o.decode > 0) {
    json["decode"] = o.decode;
    json["depth"] = o.depth;
    json["batch"] = o.batch;
    json["bytes_per_token"] = r.bytes_per_step / static_cast<double>(o.batch);
    add("decode_tok_s", r.decode_tok_s);
    add("decode_gb_s", r.decode_gb_s);
    add("decode_gflop_s", r.decode_gflop_s);
    if (!r.read_gb_s.values.empty()) {
      json["decode_ratio"] = ratio(r.decode_gb_s, r.read_gb_s);
      add("decode_limit_gb_s", r.read_gb_s);
    }
  }
  const bool has_peak = !r.peak_gflop_s.values.empty();
  if (o.decode > 0 && o.batch > 1 && has_peak) add("decode_limit_gflop_s", r.peak_gflop_s);
  if (o.prefill > 0) {
    json["prefill"] = o.prefill;
    add("prefill_tok_s", r.prefill_tok_s);
    add("prefill_gflop_s", r.prefill_gflop_s);
    if (has_peak) {
      json["prefill_ratio"] = ratio(r.prefill_gflop_s, r.peak_gflop_s);
      add("prefill_limit_gflop_s", r.peak_gflop_s);
    }
  }
  json["spread"] = spread;  // [least, most] of the rounds
  for (size_t i = 1; i < entrants.size(); ++i)
    json["ablation"].push_back(ablationJson(entrants[i], r, o));
  const std::string line = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  fmt::print("{}\n", line);
}

void printAblation(const std::vector<Entrant>& entrants, const BenchOptions& o) {
  const Rounds& first = entrants[0].rounds;
  fmt::print("  {:<34}{:>14}{:>14}\n", "without", o.decode > 0 ? "decode" : "",
             o.prefill > 0 ? "prefill" : "");
  const auto percent = [](const Samples& value, const Samples& whole) {
    return value.values.empty() ? std::string() : fmt::format("{:.1f}%", 100 * ratio(value, whole));
  };
  for (size_t i = 1; i < entrants.size(); ++i) {
    const Rounds& r = entrants[i].rounds;
    fmt::print("  {:<34}{:>14}{:>14}\n", entrants[i].disabledPasses(),
               percent(r.decode_tok_s, first.decode_tok_s),
               percent(r.prefill_tok_s, first.prefill_tok_s));
  }
}

void printTable(const std::vector<Entrant>& entrants, const BenchOptions& o) {
  const Session& session = *entrants[0].model.session;
  const Rounds& r = entrants[0].rounds;
  fmt::print("{}: {} at {} threads, median of {} rounds [least, most]\n",
             printableLine(session.plan().path()), session.plan().targetName(),
             session.options().threads, o.repeat);
  const auto row = [](const std::string& name, const Samples& s, const char* unit) {
    fmt::print("  {:<34}{:>10.2f} {:<8} [{:.2f}, {:.2f}]\n", name, s.median(), unit, s.min(),
               s.max());
  };
  // `value`, a limit of the same unit, and how much of it was reached.
  const auto limit = [&](const std::string& name, const Samples& value, const Samples& of,
                         const char* unit) {
    if (of.values.empty()) return;  // of a device, say
    row("  limit: " + name, of, unit);
    fmt::print("  {:<34}{:>9.1f}%\n", "  of the limit", 100 * ratio(value, of));
  };
  if (o.decode > 0) {
    const bool batched = o.batch > 1;
    row(fmt::format("decode {}{} tokens at depth {}",
                    batched ? fmt::format("{} x ", o.batch) : std::string(), o.decode, o.depth),
        r.decode_tok_s, "tok/s");
    row(fmt::format("  of {:.1f} MB {}", r.bytes_per_step / 1e6, batched ? "a step" : "each"),
        r.decode_gb_s, "GB/s");
    limit("memory read", r.decode_gb_s, r.read_gb_s, "GB/s");
    if (batched) {
      row("  computing", r.decode_gflop_s, "GFLOP/s");
      limit("multiply-adds", r.decode_gflop_s, r.peak_gflop_s, "GFLOP/s");
    }
  }
  if (o.prefill > 0) {
    row(fmt::format("prefill {} tokens", o.prefill), r.prefill_tok_s, "tok/s");
    row("  computing", r.prefill_gflop_s, "GFLOP/s");
    limit("multiply-adds", r.prefill_gflop_s, r.peak_gflop_s, "GFLOP/s");
  }
  if (entrants.size() > 1) printAblation(entrants, o);
}

}  // namespace

void BenchOptions::addTo(CLI::App& app) {
  model.addTo(app);
  app.add_option("--prefill", prefill, "Tokens of the prompt; 0: no prefill")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--decode", decode, "Tokens to decode, of each sequence; 0: no decode")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option(
         "--batch", batch,
         "Sequences that are decoded at once, a token of each in a step; not more than llmc "
         "compile --max-batch")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--depth", depth, "Tokens in each context before decoding")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--repeat", repeat, "Rounds")->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_option(
         "--ablate", ablate,
         "Comma-separated plans of the same model with something switched off (llmc compile "
         "--disable-pass): their speed as a share of PLAN's, in the same rounds")
      ->delimiter(',');
  app.add_flag("--json", json, "One line, a JSON object; spread: [least, most] of each figure");
  app.callback([this] {
    if (prefill == 0 && decode == 0)
      throw CLI::ValidationError("--prefill, --decode", "are both 0: there is nothing to measure");
    if (depth > 0 && decode == 0)
      throw CLI::ValidationError("--depth", "is of decoding: needs --decode");
    if (batch > 1 && decode == 0)
      throw CLI::ValidationError("--batch", "is of decoding: needs --decode");
    model.session.max_batch = batch;
  });
}

/// The limits of a GPU are not measured here: tests/gpu/run does it beside.
Result<int> bench(const BenchOptions& o) {
  std::vector<Entrant> entrants;
  std::vector<std::string> paths = {o.model.plan_path};
  paths.insert(paths.end(), o.ablate.begin(), o.ablate.end());
  for (const std::string& path : paths) {
    ModelOptions options = o.model;
    options.plan_path = path;
    LLMRT_ASSIGN_OR_RETURN(LoadedModel model, loadModel(options));
    LLMRT_RETURN_IF_ERROR(checkLengths(*model.session, o));
    entrants.push_back({std::move(model), {}});
  }
  const Plan& plan = *entrants[0].model.plan;
  const int threads = entrants[0].model.session->options().threads;
  LLMRT_ASSIGN_OR_RETURN(const BandwidthMeter meter, BandwidthMeter::create(threads));
  const bool bf16_weights = plan.schema().model()->dtype() == schema::DType::bf16;
  const bool terminal = isatty(STDERR_FILENO);
  for (int round = 0; round <= o.repeat; ++round) {
    if (terminal) fmt::print(stderr, "\rround {} / {}", round, o.repeat);
    for (Entrant& entrant : entrants) {
      Rounds& rounds = entrant.rounds;
      if (round == 1) rounds = {};  // the first one was the warm-up
      if (!entrant.model.device) {
        if (o.decode > 0) {
          LLMRT_ASSIGN_OR_RETURN(const double bandwidth, meter.measureBest());
          rounds.read_gb_s.values.push_back(bandwidth / 1e9);
        }
        if (o.prefill > 0 || o.batch > 1) {
          LLMRT_ASSIGN_OR_RETURN(const double peak,
                                 measureComputePeak(plan.targetName(), bf16_weights, threads));
          rounds.peak_gflop_s.values.push_back(peak / 1e9);
        }
      }
      if (o.decode > 0) LLMRT_RETURN_IF_ERROR(measureDecode(*entrant.model.session, o, rounds));
      if (o.prefill > 0)
        LLMRT_RETURN_IF_ERROR(measurePrefill(*entrant.model.session, o.prefill, rounds));
    }
  }
  if (terminal) fmt::print(stderr, "\r{:30}\r", "");
  o.json ? printJson(entrants, o) : printTable(entrants, o);
  return 0;
}

}  // namespace llmrt
