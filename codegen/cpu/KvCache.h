// The KV cache as kernels address it; layout in runtime/schema/plan.fbs: KvGroup.
#pragma once

#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Multiply.h"

namespace llmc::cpu {

/// Tokens in a block of the KV cache.
constexpr int64_t kBlock = LLMC_KV_BLOCK_TOKENS;

struct KvLayout {
  Storage storage;
  int64_t numKvHeads, headDim, headDimPadded, valueDim, valueDimPadded;

  explicit KvLayout(llm::KvCacheType type);
  int64_t keyBlockBytes() const;  // one head of one block
  int64_t valueBlockBytes() const;
  /// The block that holds position `pos` of sequence `seq`, times num_kv_heads.
  Value blockHead(KernelBuilder& k, Value seq, Value block) const;

  /// The keys of one head of the block at `base`: panels of 16 tokens along the head's elements.
  Panels keyPanels(Value base) const;
  /// Its values: panels of 16 elements along the block's tokens.
  Panels valuePanels(Value base) const;

  /// Elements (of keys) or tokens (of values) whose numbers lie side by side: 2 of bf16.
  int64_t interleaved() const { return storage == Storage::bf16 ? 2 : 1; }
};

/// Stores `lanes` keys (values) of elements [element, element + lanes) of KV head `head` at a row's
/// position. `element` is even where there are several.
void storeKeys(KernelBuilder& k, const KvLayout& kv, Value pool, const RowArgs& row, Value head,
               Value element, Value keys);
void storeValues(KernelBuilder& k, const KvLayout& kv, Value pool, const RowArgs& row, Value head,
                 Value element, Value values);

}  // namespace llmc::cpu
