#include "codegen/cpu/TreeBranch.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// Positions of kTreeMaxRows rows, each one deeper than the last, lie in so many blocks at most.
constexpr int64_t kOwnBlocks = 2;
static_assert(llm::kTreeMaxRows <= kBlock);

/// Whole vectors that blocks consist of.
constexpr int64_t kCopyBytes = 32;

/// body(byte offset) over [begin, end) in steps of kCopyBytes.
void forCopies(KernelBuilder& k, Value begin, Value end, const std::function<void(Value)>& body) {
  k.loop(begin, end, kCopyBytes, body);
}
VectorType copied(KernelBuilder& k) { return k.vecI(kCopyBytes / 4, 32); }

}  // namespace

TreeBranch::TreeBranch(KernelBuilder& k, const KvLayout& kv)
    : k_(k),
      kv_(kv),
      scratch_{k.scratch(kOwnBlocks * kv.keyBlockBytes()),
               k.scratch(kOwnBlocks * kv.valueBlockBytes())} {}

void TreeBranch::gather(Value row, Value seq, Value head, Value firstBlock) {
  length_ = lengthBefore(row);
  firstOwn_ = k_.div(length_, kBlock);
  Value pos = k_.inputOf("pos", row);
  k_.loop(k_.max(firstBlock, firstOwn_), k_.add(k_.div(pos, kBlock), 1), 1,
          [&](Value block) { copyPrefix(seq, head, block); });
  copyAncestors(row, pos, seq, head);
}

/// The position of the branch's root.
Value TreeBranch::lengthBefore(Value row) {
  Value root = k_.loop(k_.ci(0), k_.ci(k_.shape().maxRows), 1, row, [&](Value, ValueRange state) {
    Value parent = k_.inputOf("parent", state[0]);
    Value isRoot = k_.cmp(arith::CmpIPredicate::slt, parent, k_.ci(0));
    return Values{k_.select(isRoot, state[0], parent)};
  })[0];
  return k_.inputOf("pos", root);
}

/// What a block has of the tokens before the step, and zeros after them: a weight of 0 times what
/// other branches have left there need not be 0. Of keys all is copied, as the scores of keys after
/// the row count for nothing.
void TreeBranch::copyPrefix(Value seq, Value head, Value block) {
  const KvBlock from = kv_.blockOf(k_, seq, block, head), to = gathered(block);
  forCopies(k_, k_.ci(0), k_.ci(kv_.keyBlockBytes()), [&](Value at) {
    k_.store(k_.load(copied(k_), k_.offset(from.keys, at), 4), k_.offset(to.keys, at), 4);
  });
  // A step that the prefix ends in the middle of is the root's, too: it is written over.
  const int64_t perStep = kv_.kPerStep(), bytes = kv_.valueBlockBytes();
  Value before = k_.max(k_.sub(length_, k_.mul(block, kBlock)), k_.ci(0));
  Value end = k_.mul(k_.ceilDiv(k_.min(before, k_.ci(kBlock)), perStep), bytes / kBlock * perStep);
  forCopies(k_, k_.ci(0), end, [&](Value at) {
    k_.store(k_.load(copied(k_), k_.offset(from.values, at), 4), k_.offset(to.values, at), 4);
  });
  Value zeros = arith::ConstantOp::create(k_.builder(), block.getLoc(),
                                          DenseElementsAttr::get(copied(k_), int32_t(0)));
  forCopies(k_, end, k_.ci(bytes), [&](Value at) { k_.store(zeros, k_.offset(to.values, at), 4); });
}

/// The tokens of the row and its ancestors, from their slots to their positions.
void TreeBranch::copyAncestors(Value row, Value pos, Value seq, Value head) {
  Value depth = k_.add(k_.sub(pos, length_), 1);
  k_.loop(k_.ci(0), depth, 1, row, [&](Value i, ValueRange state) {
    Value slot = k_.inputOf("slot", state[0]), at = k_.sub(pos, i);
    copyToken(k_, kv_, kv_.blockOf(k_, seq, k_.div(slot, kBlock), head), k_.rem(slot, kBlock),
              gathered(k_.div(at, kBlock)), k_.rem(at, kBlock));
    return Values{k_.inputOf("parent", state[0])};
  });
}

KvBlock TreeBranch::gathered(Value block) const {
  Value own = k_.sub(block, firstOwn_);
  return {k_.offset(scratch_.keys, k_.mul(own, kv_.keyBlockBytes())),
          k_.offset(scratch_.values, k_.mul(own, kv_.valueBlockBytes()))};
}

KvBlock TreeBranch::blockOr(Value block, const KvBlock& cached) const {
  Value isOwn = k_.cmp(arith::CmpIPredicate::sge, block, firstOwn_);
  const KvBlock own = gathered(block);
  return {k_.select(isOwn, own.keys, cached.keys), k_.select(isOwn, own.values, cached.values)};
}

}  // namespace llmc::cpu
