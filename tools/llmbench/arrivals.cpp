#include "tools/llmbench/arrivals.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "runtime/engine/engine.h"
#include "runtime/io/printable.h"

namespace llmrt {
namespace {

using Json = nlohmann::json;

constexpr double kMostSeconds = 1e6;

Status readLine(const std::string& line, Arrival& arrival) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return invalidData("is no JSON object");
  for (const auto& [key, value] : json.items()) {
    if (key != "time" && key != "prompt" && key != "prefix" && key != "tokens")
      return invalidData("has the field " + quotedName(key) +
                         ": there are time, prompt, prefix, tokens");
    if (!value.is_number()) return invalidData(key + " is no number");
  }
  const auto count = [&](const char* key, int64_t& to) {
    if (!json.contains(key)) return Status();
    const double value = json[key].get<double>();
    if (!(value >= 0 && value <= 1e9) || value != std::floor(value))
      return invalidData(fmt::format("{} is {}: it must be a whole number", key, json[key].dump()));
    to = static_cast<int64_t>(value);
    return Status();
  };
  if (json.contains("time")) arrival.time = json["time"].get<double>();
  if (!(arrival.time >= 0 && arrival.time <= kMostSeconds))
    return invalidData("time is not between 0 and a million seconds");
  LLMRT_RETURN_IF_ERROR(count("prompt", arrival.prompt));
  LLMRT_RETURN_IF_ERROR(count("prefix", arrival.prefix));
  LLMRT_RETURN_IF_ERROR(count("tokens", arrival.tokens));
  if (arrival.prompt < 1 || arrival.tokens < 1)
    return invalidData("prompt and tokens must be 1 or more");
  if (arrival.prefix > arrival.prompt) return invalidData("prefix is longer than the prompt");
  return {};
}

/// Other ids for each request behind those that all share.
std::vector<int32_t> promptOf(const Arrival& a, int64_t number, int64_t vocab_size) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < a.prompt; ++i) {
    const uint64_t text = i < a.prefix ? 0 : static_cast<uint64_t>(number) + 1;
    const uint64_t mixed =
        (text * 1'000'003 + static_cast<uint64_t>(i)) * 0x9e3779b97f4a7c15u >> 33;
    ids.push_back(static_cast<int32_t>(mixed % static_cast<uint64_t>(vocab_size)));
  }
  return ids;
}

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(p / 100 * static_cast<double>(values.size())));
  return values[std::max<size_t>(rank, 1) - 1];
}

struct Replay {
  std::vector<double> ttft, per_token;  // seconds, of each request
  double seconds = 0;                   // from the first arrival to the last token
  uint64_t tokens = 0;
};

Status replay(Engine& engine, const std::vector<Arrival>& arrivals, Replay& replay) {
  const int64_t vocab_size = engine.session().plan().vocabSize();
  const EngineClock::time_point start = EngineClock::now();
  std::vector<Event> events;
  std::vector<double> late;  // of each request: from its arrival to its submission, behind a step
  size_t next = 0;
  for (size_t ended = 0; ended < arrivals.size();) {
    const auto timeOf = [&](size_t i) {
      return start + std::chrono::duration_cast<EngineClock::duration>(
                         std::chrono::duration<double>(arrivals[i].time));
    };
    for (; next < arrivals.size() && EngineClock::now() >= timeOf(next); ++next) {
      Request request;
      request.prompt = promptOf(arrivals[next], static_cast<int64_t>(next), vocab_size);
      request.max_tokens = arrivals[next].tokens;
      LLMRT_RETURN_IF_ERROR(engine.submit(std::move(request)).status());
      late.push_back(std::chrono::duration<double>(EngineClock::now() - timeOf(next)).count());
    }
    events.clear();
    if (!engine.step(events) && next < arrivals.size()) std::this_thread::sleep_until(timeOf(next));
    for (Event& e : events) {
      if (e.kind == Event::Kind::kFailed) return std::move(e.status);
      if (e.kind == Event::Kind::kToken) continue;
      ++ended;
      replay.tokens += static_cast<uint64_t>(e.stats.tokens);
      // Numbers are given out from 1 on.
      replay.ttft.push_back(late[e.request - 1] + e.stats.ttft_seconds);
      if (e.stats.tokens > 1)
        replay.per_token.push_back((e.stats.seconds - e.stats.ttft_seconds) /
                                   static_cast<double>(e.stats.tokens - 1));
    }
  }
  replay.seconds =
      std::chrono::duration<double>(EngineClock::now() - start).count() - arrivals[0].time;
  return {};
}

void print(const Replay& replay, const EngineStats& stats, const Session& session, bool json) {
  const double tok_s = static_cast<double>(replay.tokens) / replay.seconds;
  const auto quantiles = [](const std::vector<double>& values) {
    std::map<std::string, double> ms;
    for (const int p : {50, 95, 99}) ms[fmt::format("p{}", p)] = 1e3 * percentile(values, p);
    return ms;
  };
  if (json) {
    const Json out = {{"requests", stats.finished},
                      {"sequences", session.options().max_batch},
                      {"threads", session.options().threads},
                      {"seconds", replay.seconds},
                      {"tok_s", tok_s},
                      {"prompt_tokens", stats.prompt_tokens},
                      {"cached_tokens", stats.cached_tokens},
                      {"tokens", replay.tokens},
                      {"steps", stats.steps},
                      {"preemptions", stats.preemptions},
                      {"ttft_ms", quantiles(replay.ttft)},
                      {"per_token_ms", quantiles(replay.per_token)}};
    fmt::print("{}\n", out.dump());
    return;
  }
  fmt::print("{} requests in {:.1f} s, at most {} at once, {} threads\n", stats.finished,
             replay.seconds, session.options().max_batch, session.options().threads);
  fmt::print(
      "  {:.1f} tok/s: {} tokens in {} steps; prompts of {} tokens, {} of them cached; {} "
      "preemptions\n",
      tok_s, replay.tokens, stats.steps, stats.prompt_tokens, stats.cached_tokens,
      stats.preemptions);
  for (const auto& [name, values] :
       {std::pair{"first token", &replay.ttft}, {"per token", &replay.per_token}}) {
    auto ms = quantiles(*values);
    fmt::print("  {:<11}  p50 {:.1f} ms, p95 {:.1f} ms, p99 {:.1f} ms\n", name, ms["p50"],
               ms["p95"], ms["p99"]);
  }
}

}  // namespace

Result<std::vector<Arrival>> readArrivals(const std::string& path) {
  std::ifstream file(path);
  if (!file) return notFound(printableLine(path) + ": cannot be read");
  std::vector<Arrival> arrivals;
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (Status s = readLine(line, arrivals.emplace_back()); !s.ok())
      return std::move(s).withContext(fmt::format("{}: line {}", printableLine(path), number));
  }
  if (arrivals.empty()) return invalidData(printableLine(path) + ": has no requests");
  std::stable_sort(arrivals.begin(), arrivals.end(),
                   [](const Arrival& a, const Arrival& b) { return a.time < b.time; });
  return arrivals;
}

Result<int> replayArrivals(const ArrivalsOptions& o) {
  LLMRT_ASSIGN_OR_RETURN(const std::vector<Arrival> arrivals, readArrivals(o.trace));
  LLMRT_ASSIGN_OR_RETURN(LoadedModel model, loadModel(o.model));
  Session& session = *model.session;
  for (size_t i = 0; i < arrivals.size(); ++i) {
    const int64_t needed = arrivals[i].prompt + arrivals[i].tokens - 1;
    if (needed > session.options().max_seq_len)
      return invalidArgument(fmt::format("{}: request {} has {} tokens, the context holds {}",
                                         printableLine(o.trace), i + 1, needed,
                                         session.options().max_seq_len));
  }
  Engine engine(session, nullptr);
  Replay result;
  LLMRT_RETURN_IF_ERROR(replay(engine, arrivals, result));
  print(result, engine.stats(), session, o.json);
  return 0;
}

}  // namespace llmrt
