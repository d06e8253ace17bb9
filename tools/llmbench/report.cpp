#include "tools/llmbench/report.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "runtime/executor/device.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

std::string Entrant::disabledPasses() const {
  const flatbuffers::String* command = model.plan->schema().command();
  const std::string flag = "--disable-pass ", all = command ? command->str() : "";
  const size_t at = all.find(flag);
  if (at == std::string::npos) return "nothing";
  const size_t begin = at + flag.size();
  return all.substr(begin, all.find(' ', begin) - begin);
}

namespace {

double ratio(const Samples& value, const Samples& limit) {
  return limit.median() > 0 ? value.median() / limit.median() : 0;
}

/// What prefill is held against.
const Samples& prefillLimit(const Rounds& r) {
  return r.prefill_ceiling_gflop_s.values.empty() ? r.peak_gflop_s : r.prefill_ceiling_gflop_s;
}

nlohmann::json ablationJson(const Entrant& other, const Rounds& first, const BenchCase& c) {
  nlohmann::json json = {{"plan", other.path()}, {"disabled", other.disabledPasses()}};
  const Rounds& r = other.rounds;
  if (c.decode > 0) {
    json["decode_tok_s"] = r.decode_tok_s.median();
    json["decode_to_first"] = ratio(r.decode_tok_s, first.decode_tok_s);
  }
  if (c.prefill > 0) {
    json["prefill_tok_s"] = r.prefill_tok_s.median();
    json["prefill_to_first"] = ratio(r.prefill_tok_s, first.prefill_tok_s);
  }
  return json;
}

void printJson(const std::vector<Entrant>& entrants, const BenchCase& c, int repeat) {
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
                         {"repeat", repeat}};
  nlohmann::json spread = nlohmann::json::object();
  const auto add = [&](const char* name, const Samples& samples) {
    json[name] = samples.median();
    spread[name] = {samples.min(), samples.max()};
  };
  if (c.decode > 0) {
    json["decode"] = c.decode;
    json["depth"] = c.depth;
    json["batch"] = c.batch;
    json["bytes_per_token"] = r.bytes_per_step / static_cast<double>(c.batch);
    add("decode_tok_s", r.decode_tok_s);
    add("decode_gb_s", r.decode_gb_s);
    add("decode_gflop_s", r.decode_gflop_s);
    if (!r.read_gb_s.values.empty()) {
      json["decode_ratio"] = ratio(r.decode_gb_s, r.read_gb_s);
      add("decode_limit_gb_s", r.read_gb_s);
      json["decode_limit_cached_bytes"] = r.cached_bytes;  // 0: the limit is the memory's
    }
  }
  const bool has_peak = !r.peak_gflop_s.values.empty();
  if (c.decode > 0 && c.batch > 1 && has_peak) {
    add("decode_limit_gflop_s", r.peak_gflop_s);
    add("decode_limit_tok_s", r.decode_limit_tok_s);
    json["decode_limit_ratio"] = ratio(r.decode_tok_s, r.decode_limit_tok_s);
  }
  if (c.prefill > 0) {
    json["prefill"] = c.prefill;
    add("prefill_tok_s", r.prefill_tok_s);
    add("prefill_gflop_s", r.prefill_gflop_s);
    if (has_peak) {
      json["prefill_ratio"] = ratio(r.prefill_gflop_s, prefillLimit(r));
      add("prefill_limit_gflop_s", prefillLimit(r));
      if (&prefillLimit(r) != &r.peak_gflop_s) add("peak_gflop_s", r.peak_gflop_s);
    }
  }
  for (const auto& [format, samples] : r.inner_loop_gflop_s)
    add(("inner_loop_" + format + "_gflop_s").c_str(), samples);
  json["spread"] = spread;  // [least, most] of the rounds
  for (size_t i = 1; i < entrants.size(); ++i)
    json["ablation"].push_back(ablationJson(entrants[i], r, c));
  const std::string line = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  fmt::print("{}\n", line);
}

void printAblation(const std::vector<Entrant>& entrants, const BenchCase& c) {
  const Rounds& first = entrants[0].rounds;
  fmt::print("  {:<34}{:>14}{:>14}\n", "without", c.decode > 0 ? "decode" : "",
             c.prefill > 0 ? "prefill" : "");
  const auto percent = [](const Samples& value, const Samples& whole) {
    return value.values.empty() ? std::string() : fmt::format("{:.1f}%", 100 * ratio(value, whole));
  };
  for (size_t i = 1; i < entrants.size(); ++i) {
    const Rounds& r = entrants[i].rounds;
    fmt::print("  {:<34}{:>14}{:>14}\n", printableLine(entrants[i].disabledPasses()),
               percent(r.decode_tok_s, first.decode_tok_s),
               percent(r.prefill_tok_s, first.prefill_tok_s));
  }
}

void printTable(const std::vector<Entrant>& entrants, const BenchCase& c, int repeat) {
  const Session& session = *entrants[0].model.session;
  const Rounds& r = entrants[0].rounds;
  fmt::print("{}: {} at {} threads, median of {} rounds [least, most]\n",
             printableLine(session.plan().path()), session.plan().targetName(),
             session.options().threads, repeat);
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
  if (c.decode > 0) {
    const bool batched = c.batch > 1;
    row(fmt::format("decode {}{} tokens at depth {}",
                    batched ? fmt::format("{} x ", c.batch) : std::string(), c.decode, c.depth),
        r.decode_tok_s, "tok/s");
    row(fmt::format("  of {:.1f} MB {}", r.bytes_per_step / 1e6, batched ? "a step" : "each"),
        r.decode_gb_s, "GB/s");
    limit(r.cached_bytes ? fmt::format("read of {:.1f} MB in caches",
                                       1e-6 * static_cast<double>(r.cached_bytes))
                         : std::string("memory read"),
          r.decode_gb_s, r.read_gb_s, "GB/s");
    if (batched) {
      row("  computing", r.decode_gflop_s, "GFLOP/s");
      if (r.inner_loop_gflop_s.empty())
        limit("multiply-adds", r.decode_gflop_s, r.peak_gflop_s, "GFLOP/s");
      limit("the slower of both", r.decode_tok_s, r.decode_limit_tok_s, "tok/s");
    }
  }
  if (c.prefill > 0) {
    row(fmt::format("prefill {} tokens", c.prefill), r.prefill_tok_s, "tok/s");
    row("  computing", r.prefill_gflop_s, "GFLOP/s");
    const bool quants = &prefillLimit(r) != &r.peak_gflop_s;
    limit(quants ? "inner loops" : "multiply-adds", r.prefill_gflop_s, prefillLimit(r), "GFLOP/s");
  }
  if (!r.inner_loop_gflop_s.empty()) {
    row("multiply-adds of floats", r.peak_gflop_s, "GFLOP/s");
    for (const auto& [format, samples] : r.inner_loop_gflop_s)
      row("inner loop of " + format, samples, "GFLOP/s");
  }
  if (entrants.size() > 1) printAblation(entrants, c);
}

// A row per case: what is beside the point of a case is an empty cell.
void printMarkdown(const std::vector<Entrant>& entrants, const BenchCase& c, bool first) {
  const Session& session = *entrants[0].model.session;
  const Rounds& r = entrants[0].rounds;
  if (first) {
    fmt::print(
        "| plan | target | threads | batch | depth | decode tok/s | GB/s | of the read limit | "
        "prompt | prefill tok/s | GFLOP/s | of its limit |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  }
  const auto spread = [](const Samples& s) {
    return s.values.empty() ? std::string()
                            : fmt::format("{:.2f} [{:.2f}, {:.2f}]", s.median(), s.min(), s.max());
  };
  const auto share = [](const Samples& value, const Samples& limit) {
    return value.values.empty() || limit.values.empty()
               ? std::string()
               : fmt::format("{:.0f} %", 100 * ratio(value, limit));
  };
  const auto number = [](bool given, int64_t n) { return given ? fmt::to_string(n) : ""; };
  const bool decodes = c.decode > 0, prefills = c.prefill > 0;
  fmt::print("| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
             printableLine(session.plan().path()), session.plan().targetName(),
             session.options().threads, number(decodes, c.batch), number(decodes, c.depth),
             spread(r.decode_tok_s), spread(r.decode_gb_s), share(r.decode_gb_s, r.read_gb_s),
             number(prefills, c.prefill), spread(r.prefill_tok_s), spread(r.prefill_gflop_s),
             share(r.prefill_gflop_s, prefillLimit(r)));
}

}  // namespace

void printCase(BenchFormat format, const std::vector<Entrant>& entrants, const BenchCase& c,
               int repeat, bool first) {
  switch (format) {
    case BenchFormat::kTable:
      printTable(entrants, c, repeat);
      break;
    case BenchFormat::kMarkdown:
      printMarkdown(entrants, c, first);
      break;
    case BenchFormat::kJson:
      printJson(entrants, c, repeat);
      break;
  }
  std::fflush(stdout);
}

}  // namespace llmrt
