// The keys and values of a row's branch of a tree, as attention reads them.
//
// A row of a verify step attends to its sequence before the step, and to its ancestors in the step.
// The latter lie at their slots; sums over keys follow positions. So the blocks from the sequence's
// length on (two at most: kTreeMaxRows) are put together in scratch, as they would lie in the cache
// if the branch had been decoded alone, with zeros where there is no token.
#pragma once

#include "codegen/cpu/KvCache.h"

namespace llmc::cpu {

class TreeBranch {
 public:
  /// Reserves scratch.
  TreeBranch(KernelBuilder& k, const KvLayout& kv);

  /// Brings together what KV head `head` has of the branch that ends with `row`, of sequence `seq`.
  /// Blocks before `firstBlock` are not going to be read.
  void gather(Value row, Value seq, Value head, Value firstBlock);

  /// Block `block` of the branch gathered last: `cached`, where it ends before the step.
  KvBlock blockOr(Value block, const KvBlock& cached) const;

 private:
  Value lengthBefore(Value row);
  void copyPrefix(Value seq, Value head, Value block);
  void copyAncestors(Value row, Value pos, Value seq, Value head);
  KvBlock gathered(Value block) const;

  KernelBuilder& k_;
  const KvLayout kv_;
  KvBlock scratch_;
  // Of the branch gathered last: tokens before the step, and the block of the first one after them.
  Value length_, firstOwn_;
};

}  // namespace llmc::cpu
