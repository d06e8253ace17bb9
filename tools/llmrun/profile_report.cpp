#include "tools/llmrun/profile_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "runtime/executor/cost.h"
#include "runtime/measure/bandwidth.h"
#include "runtime/measure/compute_peak.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

namespace {

/// The ops of one entry point.
struct EntryProfile {
  std::span<const OpProfile> ops;
  double seconds = 0;  // of all of them
  double steps = 0;

  double perStep(double op_seconds) const { return op_seconds * 1e6 / steps; }  // us
  double share(double op_seconds) const { return 100 * op_seconds / seconds; }  // %
};

std::vector<EntryProfile> entryProfiles(std::span<const OpProfile> ops) {
  std::vector<EntryProfile> entries;
  for (size_t begin = 0, end = 0; begin < ops.size(); begin = end) {
    EntryProfile entry;
    for (; end < ops.size() && ops[end].entry_point == ops[begin].entry_point; ++end)
      entry.seconds += ops[end].seconds;
    entry.ops = ops.subspan(begin, end - begin);
    entry.steps = static_cast<double>(ops[begin].steps);
    entries.push_back(entry);
  }
  return entries;
}

/// Of a device: what its kernels took, one after the other; what their bytes and FLOPs came to.
void printDeviceProfile(const Session& session, std::FILE* out) {
  const std::vector<OpProfile> ops = session.profile()->ops();
  for (const EntryProfile& entry : entryProfiles(ops)) {
    fmt::print(out, "{}: {} steps, {:.3f} us each\n  {:<40}{:>12}{:>8}{:>10}{:>12}\n",
               entry.ops[0].entry_point, entry.ops[0].steps, entry.perStep(entry.seconds),
               "op, its kernels", "us/step", "share", "GB/s", "GFLOP/s");
    for (const OpProfile& op : entry.ops) {
      if (op.kernels.empty()) continue;
      fmt::print(out, "  {:<40}{:>12.3f}{:>7.1f}%{:>10.1f}{:>12.1f}\n", op.op,
                 entry.perStep(op.seconds), entry.share(op.seconds),
                 op.cost.bytes() / op.seconds / 1e9, op.cost.flops / op.seconds / 1e9);
      for (const KernelProfile& kernel : op.kernels)
        fmt::print(out, "    {:<38}{:>12.3f}{:>7.1f}%\n", kernel.symbol,
                   entry.perStep(kernel.seconds), entry.share(kernel.seconds));
    }
  }
}

int64_t chunkOf(const Session& session) {
  return std::min(session.options().prefill_chunk, session.options().max_seq_len);
}

// A chunk of a prompt in an empty context, all of token 0.
Status prefillChunk(Session& session) {
  session.reset(0);
  return session.prefill(0, std::vector<int32_t>(static_cast<size_t>(chunkOf(session)), 0));
}

// A short prompt runs through the code of decode steps.
Status completeProfile(Session& session, std::FILE* out) {
  const schema::Plan& plan = session.plan().schema();
  const auto entry = static_cast<uint32_t>(selectEntryPoint(plan, chunkOf(session), 1));
  const std::string name = plan.entry_points()->Get(entry)->name()->str();
  const std::vector<OpProfile> ops = session.profile()->ops();
  if (std::any_of(ops.begin(), ops.end(),
                  [&](const OpProfile& op) { return op.entry_point == name; }))
    return {};
  LLMRT_RETURN_IF_ERROR(prefillChunk(session));
  fmt::print(out, "({}: of a prompt of {} tokens made up for it, since the run had none)\n", name,
             chunkOf(session));
  return {};
}

}  // namespace

Status warmUpProfile(Session& session) {
  LLMRT_RETURN_IF_ERROR(prefillChunk(session));
  // Decoding behind it, or in an empty context where tokens cannot be taken back.
  (void)session.truncate(0, std::max<int64_t>(chunkOf(session) - 2, 0));
  for (int i = 0; i < 2 && session.kvLen(0) < chunkOf(session); ++i)
    LLMRT_RETURN_IF_ERROR(session.decode(0, 0));
  session.reset(0);
  session.clearProfile();
  return {};
}

Status printProfile(Session& session, std::FILE* out) {
  LLMRT_RETURN_IF_ERROR(completeProfile(session, out));
  if (session.options().device) {
    printDeviceProfile(session, out);
    return {};
  }
  const int threads = session.options().threads;
  LLMRT_ASSIGN_OR_RETURN(const BandwidthMeter meter, BandwidthMeter::create(threads));
  LLMRT_ASSIGN_OR_RETURN(const double bandwidth, meter.measureBest());
  const Plan& plan = session.plan();
  const bool bf16_weights = plan.schema().model()->dtype() == schema::DType::bf16;
  LLMRT_ASSIGN_OR_RETURN(const double peak,
                         measureComputePeak(plan.targetName(), bf16_weights, threads));
  fmt::print(out, "limits at {} threads: {:.1f} GB/s read, {:.0f} GFLOP/s\n", threads,
             bandwidth / 1e9, peak / 1e9);

  const std::vector<OpProfile> ops = session.profile()->ops();
  for (const EntryProfile& entry : entryProfiles(ops)) {
    fmt::print(out, "{}: {} steps, {:.1f} us each\n  {:<20}{:>12}{:>8}{:>10}{:>12}{:>12}{:>10}\n",
               entry.ops[0].entry_point, entry.ops[0].steps, entry.perStep(entry.seconds), "op",
               "us/step", "share", "GB/s", "GFLOP/s", "limit us", "of limit");
    for (const OpProfile& op : entry.ops) {
      const double limit = std::max(op.cost.bytes() / bandwidth, op.cost.flops / peak);
      fmt::print(out, "  {:<20}{:>12.1f}{:>7.1f}%{:>10.1f}{:>12.1f}{:>12.1f}{:>9.1f}%\n", op.op,
                 entry.perStep(op.seconds), entry.share(op.seconds),
                 op.cost.bytes() / op.seconds / 1e9, op.cost.flops / op.seconds / 1e9,
                 entry.perStep(limit), 100 * limit / op.seconds);
    }
  }
  return {};
}

}  // namespace llmrt
