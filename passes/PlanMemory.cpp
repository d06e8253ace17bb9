// Lets buffers share bytes of the arena: greedy first fit over lifetimes.
#include "mlir/IR/Builders.h"
#include "passes/Liveness.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_PLANMEMORY
#include "passes/Passes.h.inc"

namespace {

struct Placed {
  llm::BufferOp op;
  Lifetime life;
  int64_t bytes;
  int64_t offset = -1;
};

int64_t bytesOf(llm::BufferOp buffer) { return llvm::alignTo(buffer.getBytes(), 64); }

/// Gives every buffer the lowest offset at which it meets no other living buffer; returns the bytes
/// of the arena.
int64_t place(SmallVectorImpl<Placed>& buffers) {
  // Large buffers first: small ones fit into the gaps they leave.
  SmallVector<Placed*> order;
  for (Placed& b : buffers) order.push_back(&b);
  llvm::stable_sort(order, [](Placed* a, Placed* b) { return a->bytes > b->bytes; });

  int64_t arenaBytes = 0;
  SmallVector<Placed*> placed;  // by offset
  for (Placed* buffer : order) {
    int64_t offset = 0;
    for (Placed* other : placed) {
      if (!other->life.overlaps(buffer->life)) continue;
      if (offset + buffer->bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    buffer->offset = offset;
    arenaBytes = std::max(arenaBytes, offset + buffer->bytes);
    placed.insert(llvm::upper_bound(placed, buffer,
                                    [](Placed* a, Placed* b) { return a->offset < b->offset; }),
                  buffer);
  }
  return arenaBytes;
}

struct PlanMemory : impl::PlanMemoryBase<PlanMemory> {
  void runOnOperation() override {
    for (auto schedule : getOperation().getBody().getOps<llm::ScheduleOp>()) {
      auto lives = computeLifetimes(schedule);
      SmallVector<Placed> buffers;
      int64_t sum = 0;
      for (auto op : schedule.getBody().getOps<llm::BufferOp>()) {
        buffers.push_back({op, lives[op.getSymNameAttr()], bytesOf(op)});
        sum += buffers.back().bytes;
      }
      const int64_t arenaBytes = place(buffers);
      for (Placed& b : buffers) b.op.setOffsetBytes(b.offset);
      schedule.setArenaBytes(arenaBytes);
      emitRemark(schedule.getLoc())
          << "memory plan of @" << schedule.getSymName() << ": " << arenaBytes << " bytes for "
          << static_cast<int64_t>(buffers.size()) << " buffers of " << sum << " bytes";
    }
  }
};

}  // namespace
}  // namespace llmc
