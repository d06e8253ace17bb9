// The KV cache as kernels address it; layout in runtime/schema/plan.fbs: State.
#pragma once

#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Multiply.h"
#include "runtime/abi/kernel_abi.h"

namespace llmc::cpu {

/// Tokens in a block of the KV cache.
constexpr int64_t kBlock = LLMC_KV_BLOCK_TOKENS;

/// Pointers to the keys and the values of one KV head in a block.
struct KvBlock {
  Value keys, values;
};

struct KvLayout {
  Storage storage;
  int64_t numKvHeads, headDim, headDimPadded, valueDim, valueDimPadded;

  explicit KvLayout(llm::KvCacheType type);
  int64_t keyBlockBytes() const;  // one head of one block
  int64_t valueBlockBytes() const;
  /// Block `block` of sequence `seq`, as its number in the pool times num_kv_heads. Of the operand
  /// "block_table".
  Value blockHead(KernelBuilder& k, Value seq, Value block) const;
  /// What KV head `head` has in that block. Of the operands "keys" and "values", too.
  KvBlock blockOf(KernelBuilder& k, Value seq, Value block, Value head) const;

  /// The keys of one head of the block at `base`: panels of 16 tokens along the head's elements.
  Panels keyPanels(Value base) const;
  /// Its values: panels of 16 elements along the block's tokens.
  Panels valuePanels(Value base) const;

  /// Values of k that lie side by side, as in Panels: elements of keys, tokens of values.
  int64_t kPerStep() const { return storage == Storage::bf16 ? 2 : 1; }
};

/// How `target` multiplies heads of a cache. With dot products of pairs an odd head_dim is left to
/// FMAs, with AMX one that is not made of whole tiles.
Bf16Product cacheProduct(const CpuTarget& target, Storage storage, int64_t headDim);

/// Where a row's token lies in the cache: its sequence and its place there.
struct Place {
  Value seq, slot;
};
/// Of the operands "seq" and, in verify steps, "slot"; in others a token lies at its "pos".
Place placeOf(KernelBuilder& k, Value row);

/// Stores `lanes` keys (values) of elements [element, element + lanes) of KV head `head` to the
/// operand "keys" ("values"). `element` is even where there are several.
void storeKeys(KernelBuilder& k, const KvLayout& kv, const Place& place, Value head, Value element,
               Value keys);
void storeValues(KernelBuilder& k, const KvLayout& kv, const Place& place, Value head,
                 Value element, Value values);

/// Copies the keys and values of one token, by its number in its block.
void copyToken(KernelBuilder& k, const KvLayout& kv, const KvBlock& from, Value fromToken,
               const KvBlock& to, Value toToken);

}  // namespace llmc::cpu
