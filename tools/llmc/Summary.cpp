#include "tools/llmc/Summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "runtime/executor/cost.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/session/session.h"
#include "tools/llmc/InspectReport.h"
#include "tools/llmc/Units.h"
#include "tools/llmc/WeightTypes.h"

namespace llmc {

namespace schema = llmrt::schema;

namespace {

std::string contextText(int64_t max_seq_len, int64_t trained) {
  const std::string taken = fmt::format("{} tokens", max_seq_len);
  if (trained == 0) return taken;
  if (trained == max_seq_len) return taken + ", what the model was trained for";
  if (trained < max_seq_len)
    return fmt::format("{}, beyond the {} that the model was trained for", taken, trained);
  return fmt::format("{} of the {} that the model was trained for: --max-seq-len {} takes them all",
                     taken, trained, trained);
}

}  // namespace

llmrt::Result<MemoryBound> memoryBound(const schema::Plan& plan) {
  uint64_t scratch = 0;
  for (const schema::Target* t : *plan.targets())
    if (!t->cuda_launches()) scratch = std::max(scratch, t->scratch_bytes());
  llmrt::SessionOptions options;
  options.max_batch = plan.model()->max_batch();
  LLMRT_ASSIGN_OR_RETURN(const llmrt::SessionMemory session,
                         llmrt::Session::memory(plan, scratch, options));
  return MemoryBound{plan.weights_bytes(), session.kv_bytes, session.recurrent_bytes,
                     session.activation_bytes, session.rope_bytes};
}

llmrt::Status printSummary(const schema::Plan& plan, const SummaryFacts& facts) {
  const schema::Model& m = *plan.model();
  std::string kv;
  for (uint32_t i = 0; kv.empty() && plan.states() && i < plan.states()->size(); ++i)
    if (const schema::State& state = *plan.states()->Get(i); state.kind() == schema::StateKind::kv)
      kv = fmt::format("; KV cache {}", schema::EnumNameDType(state.dtype()));
  fmt::print("{}: {}, {} parameters; weights {}{}\n", llmrt::printableLine(m.name()->str()),
             llmrt::printableLine(m.architecture()->str()),
             countText(static_cast<double>(m.num_parameters())), weightTypesText(plan), kv);

  const int decode = llmrt::selectEntryPoint(plan, 1, 1);
  if (decode >= 0) {
    std::string ops;
    for (const schema::Section* section :
         *plan.entry_points()->Get(static_cast<uint32_t>(decode))->sections()) {
      if (!section->is_layers()) continue;
      for (const schema::Phase* phase : *section->phases())
        ops += (ops.empty() ? "" : ", ") + phase->op()->str();
      break;
    }
    fmt::print("  a layer    {}\n", ops);
    const int64_t context = std::min<int64_t>(m.max_seq_len(), kReportedContext);
    const llmrt::SequenceRows row{1, context - 1, 1};
    const llmrt::Cost cost = llmrt::stepCost(plan, {&row, 1});
    fmt::print("  a token    {} of weights + {} of KV cache at {} tokens\n",
               bytesText(cost.weight_bytes), bytesText(cost.kv_bytes), context);
  }
  fmt::print("  context    {}\n", contextText(m.max_seq_len(), m.trained_seq_len()));
  LLMRT_ASSIGN_OR_RETURN(const MemoryBound memory, memoryBound(plan));
  const auto text = [](uint64_t bytes) { return bytesText(static_cast<double>(bytes)); };
  const std::string recurrent =
      memory.recurrent > 0 ? fmt::format(", recurrent states {}", text(memory.recurrent)) : "";
  fmt::print(
      "  memory     {} at most: weights {}, KV cache {} ({} x {} tokens){}, activations {}, RoPE "
      "{}\n",
      text(memory.total()), text(memory.weights), text(memory.kv_cache), m.max_batch(),
      m.max_seq_len(), recurrent, text(memory.activations), text(memory.rope));
  std::string code;
  for (const schema::Target* t : *plan.targets())
    code += fmt::format("{}{} {}", code.empty() ? "" : ", ", t->name()->str(),
                        text(t->image()->size()));
  fmt::print("  kernels    {}, code for {}\n", plan.kernels()->size(), code);
  fmt::print("  wrote      {} ({}){}, {:.1f} s\n", llmrt::printableLine(facts.plan_path),
             text(facts.plan_bytes),
             facts.weights_path.empty()
                 ? std::string(", code only: llmc pack makes the weights")
                 : fmt::format(", {} ({})", llmrt::printableLine(facts.weights_path),
                               text(plan.weights_bytes())),
             facts.seconds);
  return {};
}

}  // namespace llmc
