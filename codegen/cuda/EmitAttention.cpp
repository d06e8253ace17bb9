// Attention: launches of device/attention.cuh and flash.cuh.
#include <algorithm>

#include "codegen/cuda/KernelText.h"
#include "runtime/abi/cuda_abi.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

constexpr int64_t kChunkTokens = 256;   // Attention::kChunk
constexpr int64_t kMostHeadDim = 576;   // Attention's vectors fit in registers
constexpr int64_t kMostFlashDim = 256;  // FlashAttention's outputs fit in registers
/// As many blocks share a KV head's query heads (Attention::kParts) as leave each this many rounds.
constexpr int64_t kRoundsPerPart = 4;

/// FlashAttention::kSharedBytes.
int64_t flashBytes(int64_t padded) {
  const int64_t tile = LLMC_KV_BLOCK_TOKENS * (padded * 2 + 16);
  return padded > 128 ? 2 * tile + padded / 16 * 128 * 16 : 4 * tile;
}

}  // namespace

Functions emitAttention(llm::AttentionOp op, const KernelForm& form) {
  Functions result;
  auto kv = cast<llm::KvCacheType>(op.getKv().getType());
  const int64_t heads = width(op.getQ()) / kv.getHeadDim();
  const int64_t padded = ceilDiv(kv.getHeadDim(), 16) * 16,
                valuePadded = ceilDiv(kv.getValueDim(), 16) * 16;
  if (padded > kMostHeadDim)
    result.problem = fmt::format("attention with head_dim {}", kv.getHeadDim());
  const int64_t sinks = op.getSinksAttr() ? 3 : -1;
  const double cap = op.getSoftcap().convertToDouble();
  const std::string spec =
      fmt::format("Attention<{}, {}, {}, {}, {}", poolName(op.getKv().getType()), heads,
                  int64_t(op.getWindow()), form.strides[0], form.strides[1]);
  const std::string operands =
      fmt::format("args, {}, {}, {}, {}, {}", in(0), any(1), any(2), out(sinks < 0 ? 3 : 4),
                  number(op.getScale().convertToDouble()));
  const std::string more =
      sinks >= 0 || cap != 0 ? fmt::format(", {}, {}", number(cap), in(sinks)) : "";
  const int64_t group = heads / kv.getNumKvHeads();
  const int64_t together = std::min<int64_t>(group, padded > 256 ? 2 : 4);
  const int64_t rounds = ceilDiv(group, together), parts = ceilDiv(rounds, kRoundsPerPart);
  const std::string partsText = parts > 1 ? fmt::format(", {}", parts) : "";
  const int64_t blocks = kv.getNumKvHeads() * parts;
  if (!form.isDecode() && !kv.getElementType().isF32() && padded <= kMostFlashDim &&
      kv.getHeadDim() == kv.getValueDim() && group <= 64) {
    result.functions.push_back(
        {"_mma",
         fmt::format("static_assert(Flash{0}>::kSharedBytes == {1});\n  Flash{0}>::run({2}{3});",
                     spec, flashBytes(padded), operands, more),
         {.threads = 128,
          .blocks = kv.getNumKvHeads(),
          .rowsPerBlock = 64 / group,
          .dynamicSharedBytes = flashBytes(padded),
          .blocksPerProcessor = 1}});
    return result;
  }
  if (!form.isDecode()) {
    result.functions.push_back(
        {"",
         fmt::format("{}{}>::inTurn({}{});", spec, partsText, operands, more),
         {.threads = 256, .blocks = blocks, .rowsPerBlock = 1}});
    return result;
  }
  if (form.maxRows * blocks * 4 > LLMC_CUDA_COUNTER_BYTES)
    result.problem = fmt::format("attention with {} KV heads", kv.getNumKvHeads());
  auto model = op->getParentOfType<llm::ModelOp>();
  const int64_t chunks = ceilDiv(static_cast<int64_t>(model.getMaxSeqLen()), kChunkTokens);
  result.scratchBytes =
      form.maxRows * kv.getNumKvHeads() * chunks * rounds * together * (2 + valuePadded) * 4;
  // Where nothing is said, ptxas aims at four blocks, 64 registers, and spills those of narrow
  // latents on sm_120. Wide ones need all that two leave, and get it unasked.
  const bool narrowLatents = padded <= 256 && kv.getHeadDim() != kv.getValueDim();
  result.functions.push_back(
      {"",
       fmt::format("{}{}>::split({}, reinterpret_cast<u32*>(args.scratch), "
                   "reinterpret_cast<float*>(args.scratch + {}), {}{});",
                   spec, partsText, operands, int64_t{LLMC_CUDA_COUNTER_BYTES}, chunks, more),
       {.threads = 256,
        .blocks = blocks,
        .rowsPerBlock = 1,
        .tokensPerBlock = kChunkTokens,
        .blocksPerProcessor = narrowLatents ? 2 : 0}});
  return result;
}

}  // namespace llmc::cuda
