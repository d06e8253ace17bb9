// llmc inspect PLAN
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "runtime/io/printable.h"
#include "runtime/measure/bandwidth.h"
#include "runtime/schema/plan_generated.h"
#include "tools/llmc/Commands.h"
#include "tools/llmc/InspectReport.h"
#include "tools/llmc/OpenPlan.h"

namespace llmc {
namespace {

struct Flags {
  std::string plan;
  bool ir = false, json = false;
  double bandwidth_gb_s = 0;
  int64_t kv_len = 0;
};

llmrt::Status inspect(const Flags& f) {
  LLMRT_ASSIGN_OR_RETURN(const OpenPlan open, openPlan(f.plan));
  const std::string ir = open.plan->ir() ? open.plan->ir()->str() : "";
  if (f.ir && !f.json) {
    const std::string shown = llmrt::printableLines(ir);
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    return {};
  }
  const int64_t max_seq_len = open.plan->model()->max_seq_len();
  if (f.kv_len > max_seq_len) {
    return llmrt::invalidArgument("--kv-len " + std::to_string(f.kv_len) +
                                  ": the plan holds at most " + std::to_string(max_seq_len) +
                                  " tokens");
  }
  double bandwidth = f.bandwidth_gb_s * 1e9;
  if (bandwidth == 0) {
    const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    LLMRT_ASSIGN_OR_RETURN(const llmrt::BandwidthMeter meter,
                           llmrt::BandwidthMeter::create(threads));
    LLMRT_ASSIGN_OR_RETURN(bandwidth, meter.measureBest());
  }
  LLMRT_ASSIGN_OR_RETURN(
      const InspectReport report,
      makeReport(*open.plan, f.kv_len ? f.kv_len : std::min(max_seq_len, kReportedContext),
                 bandwidth));
  std::string text;
  if (f.json) {
    nlohmann::ordered_json json = reportJson(*open.plan, report);
    if (f.ir) json["ir"] = ir;
    // A plan's texts need not be UTF-8: what is not becomes U+FFFD instead of an exception. ASCII
    // alone holds nothing that a terminal obeys.
    constexpr bool kAsciiOnly = true;
    text = json.dump(2, ' ', kAsciiOnly, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  } else {
    text = llmrt::printableLines(reportText(*open.plan, report));
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return {};
}

}  // namespace

void addInspectCommand(CLI::App& app, Command& chosen) {
  auto f = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand(
      "inspect",
      "Show a plan: facts, what each op of a decode step reads and computes, memory, kernels");
  sub->add_option("PLAN", f->plan, "The plan")->required();
  sub->add_flag("--ir", f->ir, "Print the fused IR instead; with --json, beside the rest");
  sub->add_flag("--json", f->json, "One JSON object");
  sub->add_option("--bandwidth", f->bandwidth_gb_s,
                  "GB/s to hold the ops against (default: measured now)")
      ->check(CLI::PositiveNumber);
  sub->add_option("--kv-len", f->kv_len,
                  "Tokens of context (default: the most the plan holds, but 4096 at most)")
      ->check(CLI::PositiveNumber);
  sub->callback([f, &chosen] { chosen = [f] { return inspect(*f); }; });
}

}  // namespace llmc
