// Proves the schedules of a model by the check that runs on plans.
#include "passes/Passes.h"
#include "passes/ScheduleToPlan.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/schedule_check.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_CHECKSCHEDULE
#include "passes/Passes.h.inc"

namespace {

/// The layers of a packed weight; none when it is not per layer. Null sources are the verifier's
/// business.
llmrt::LayerRange layersOf(llm::PackedWeightOp packed) {
  if (packed.getSources().empty()) return {};
  llm::WeightOp source = llm::lookupWeight(packed, cast<FlatSymbolRefAttr>(packed.getSources()[0]));
  if (!source || !source.isPerLayer()) return {};
  return {static_cast<uint32_t>(source.getFirstLayer()),
          static_cast<uint32_t>(source.getTensorType().getDimSize(0))};
}

llmrt::ScheduleState stateOf(llm::StateOp op) {
  llmrt::ScheduleState state;
  using llmrt::schema::StateKind;
  state.kind = op.getKvType()          ? StateKind::kv
               : op.getRecurrentType() ? StateKind::recurrent
                                       : StateKind::kept;
  if (llm::KeptType kept = op.getKeptType()) state.rows = static_cast<uint32_t>(kept.getRows());
  state.mtp = op.getMtp();
  for (int64_t layer : op.getLayerNumbers()) state.layers.push_back(static_cast<uint32_t>(layer));
  return state;
}

llmrt::ScheduleContext contextOf(llm::ModelOp model) {
  llmrt::ScheduleContext context;
  context.num_layers = static_cast<uint32_t>(model.getNumLayers());
  context.vocab_size = static_cast<uint32_t>(model.getVocabSize());
  context.max_batch = static_cast<uint32_t>(model.getMaxBatch());
  for (Operation& op : model.getBody().front()) {
    context.num_kernels += isa<llm::KernelOp>(op);
    context.num_rope_tables += isa<llm::RopeTableOp>(op);
    if (auto packed = dyn_cast<llm::PackedWeightOp>(op))
      context.weights.push_back(layersOf(packed));
    if (auto state = dyn_cast<llm::StateOp>(op)) context.states.push_back(stateOf(state));
  }
  return context;
}

struct CheckSchedule : impl::CheckScheduleBase<CheckSchedule> {
  void runOnOperation() override {
    llm::ModelOp model = getOperation();
    const PlanIndex index(model);
    const llmrt::ScheduleContext context = contextOf(model);
    for (auto schedule : model.getBody().getOps<llm::ScheduleOp>()) {
      auto entry = toEntryPoint(schedule, index);
      if (failed(entry)) return signalPassFailure();
      if (llmrt::Status s = llmrt::checkSchedule(*entry, context); !s.ok()) {
        schedule.emitOpError("is not a schedule: ") << s.message();
        return signalPassFailure();
      }
    }
    markAllAnalysesPreserved();
  }
};

}  // namespace
}  // namespace llmc
