#include "passes/Liveness.h"

#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;

namespace llmc {

llvm::MapVector<StringAttr, Lifetime> computeLifetimes(llm::ScheduleOp schedule) {
  llvm::MapVector<StringAttr, Lifetime> lives;
  for (auto buffer : schedule.getBody().getOps<llm::BufferOp>()) lives[buffer.getSymNameAttr()];

  auto extend = [](Lifetime& life, int64_t begin, int64_t end) {
    life = life.end < life.begin ? Lifetime{begin, end}
                                 : Lifetime{std::min(life.begin, begin), std::max(life.end, end)};
  };
  int64_t position = 0;
  auto visit = [&](llm::PhaseOp phase, auto&& onUse) {
    for (Attribute attr : phase.getOperands()) {
      auto operand = cast<llm::OperandAttr>(attr);
      if (operand.getSpace() != llm::Space::arena || !operand.getSymbol()) continue;
      StringAttr name = operand.getSymbol().getAttr();
      extend(lives[name], position, position);
      onUse(name, operand.getAccess());
    }
    ++position;
  };
  for (Operation& op : schedule.getBody().front()) {
    if (auto phase = dyn_cast<llm::PhaseOp>(op)) {
      visit(phase, [](StringAttr, llm::Access) {});
    } else if (auto repeat = dyn_cast<llm::RepeatOp>(op)) {
      // What is read before it is written carries a value in from outside or from the layer before.
      const int64_t begin = position;
      llvm::SmallPtrSet<const void*, 8> written;
      SmallVector<StringAttr> carried;
      for (auto phase : repeat.getBody().getOps<llm::PhaseOp>()) {
        SmallVector<StringAttr> writes;
        visit(phase, [&](StringAttr name, llm::Access access) {
          if (access != llm::Access::write && !written.contains(name.getAsOpaquePointer()))
            carried.push_back(name);
          if (access != llm::Access::read) writes.push_back(name);
        });
        for (StringAttr name : writes) written.insert(name.getAsOpaquePointer());
      }
      for (StringAttr name : carried) extend(lives[name], begin, position - 1);
    }
  }
  for (FlatSymbolRefAttr output : {schedule.getLogitsAttr(), schedule.getHiddenAttr()}) {
    if (!output) continue;
    Lifetime& life = lives[output.getAttr()];
    extend(life, life.end < life.begin ? position : life.begin, position);
  }
  return lives;
}

}  // namespace llmc
