// Attention: launches of device/attention.cuh and flash.cuh.
#include <algorithm>

#include "codegen/cuda/KernelText.h"
#include "runtime/abi/cuda_abi.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

constexpr int64_t kChunkTokens = 256;   // Attention::kChunk
constexpr int64_t kMostHeadDim = 576;   // Attention's vectors fit in registers
constexpr int64_t kMostFlashDim = 128;  // FlashAttention's queries and outputs fit in registers
constexpr int64_t kFlashQueries = 64;   // of a block
/// As many blocks share a KV head's query heads (Attention::kParts) as leave each this many rounds.
constexpr int64_t kRoundsPerPart = 4;

/// FlashAttention::kSharedBytes.
int64_t flashBytes(int64_t padded) { return 4 * LLMC_KV_BLOCK_TOKENS * (padded * 2 + 16); }
/// WideFlashAttention's.
int64_t wideFlashBytes(int64_t padded, int64_t stages) {
  const int64_t operand = kFlashQueries * 32, slice = LLMC_KV_BLOCK_TOKENS * (64 * 2 + 16);
  return (ceilDiv(padded, 64) * 4 + LLMC_KV_BLOCK_TOKENS / 16) * operand + kFlashQueries * 8 +
         stages * slice;
}

/// Attention of many rows on tensor cores. `spec`: the device's Attention without its last
/// parameters, `operands`: of a call.
void flashAttention(Functions& out, llm::KvCacheType kv, int64_t group, const std::string& spec,
                    const std::string& operands) {
  const int64_t padded = ceilDiv(kv.getHeadDim(), 16) * 16;
  const auto add = [&](const std::string& suffix, const std::string& flash, Launch launch) {
    launch.blocks = kv.getNumKvHeads() * ceilDiv(group, kFlashQueries);
    launch.rowsPerBlock = std::max<int64_t>(kFlashQueries / group, 1);
    out.functions.push_back(
        {suffix,
         fmt::format("static_assert({0}::kSharedBytes == {1});\n  {0}::run({2});", flash,
                     launch.dynamicSharedBytes, operands),
         launch});
  };
  if (padded <= kMostFlashDim && kv.getHeadDim() == kv.getValueDim()) {
    add("_mma", fmt::format("Flash{}>", spec),
        // Heads of 64 take 168 registers of three blocks, with a few fewer than they would like.
        {.threads = 128,
         .dynamicSharedBytes = flashBytes(padded),
         .blocksPerProcessor = padded <= 64 ? 3 : 1});
    return;
  }
  // Two stages beside the queries of latents are the 99 KB that every GPU has. Hopper's tensor
  // cores are done with a slice in some 400 clocks, hardly more than the L2 takes for one: there
  // more of them are on their way.
  for (const auto& [stages, where] :
       {std::pair(2, Launch::kWithoutWgmma), std::pair(6, Launch::kWithWgmma)})
    add(fmt::format("_mma{}", stages), fmt::format("WideFlash{}, {}>", spec, stages),
        {.threads = 256,
         .dynamicSharedBytes = wideFlashBytes(padded, stages),
         .where = where,
         .blocksPerProcessor = 1});
}

}  // namespace

Functions emit(llm::AttentionOp op, const KernelForm& form) {
  Functions result;
  const llm::KvCacheType kv = llm::kvTypeOf(op, op.getStateAttr());
  const auto window = static_cast<int64_t>(llm::lookupState(op, op.getStateAttr()).getWindow());
  const int64_t heads = llm::widthOf(op.getQ()) / kv.getHeadDim();
  const int64_t padded = ceilDiv(kv.getHeadDim(), 16) * 16,
                valuePadded = ceilDiv(kv.getValueDim(), 16) * 16;
  if (padded > kMostHeadDim)
    result.problem = fmt::format("attention with head_dim {}", kv.getHeadDim());
  const double cap = op.getSoftcap().convertToDouble();
  const std::string spec = fmt::format("Attention<{}, {}, {}, {}, {}", poolName(kv), heads, window,
                                       form.stride("q"), form.stride("y"));
  const std::string operands =
      fmt::format("args, {}, {}, {}, {}, {}, {}", form.in("q"), form.cacheRows(), form.any("keys"),
                  form.any("values"), form.out("y"), number(op.getScale().convertToDouble()));
  const std::string more =
      form.has("sinks") || cap != 0 ? fmt::format(", {}, {}", number(cap), form.in("sinks")) : "";
  const int64_t group = heads / kv.getNumKvHeads();
  const int64_t together = std::min<int64_t>(group, padded > 256 ? 2 : 4);
  const int64_t rounds = ceilDiv(group, together), parts = ceilDiv(rounds, kRoundsPerPart);
  const std::string partsText = parts > 1 ? fmt::format(", {}", parts) : "";
  const int64_t blocks = kv.getNumKvHeads() * parts;
  if (!form.fewRows() && !kv.getElementType().isF32()) {
    flashAttention(result, kv, group, spec, operands + more);
    return result;
  }
  if (!form.fewRows()) {
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
  // Two blocks, and so 128 registers a thread, half of them for keys or values on their way. Where
  // nothing is said, ptxas takes more (sm_80), or aims at four blocks and spills those of narrow
  // heads (sm_100a, sm_120).
  result.functions.push_back({"",
                              fmt::format("{}{}>::split({}, reinterpret_cast<u32*>(args.scratch), "
                                          "reinterpret_cast<float*>({}), {}{});",
                                          spec, partsText, operands, scratchAt(0), chunks, more),
                              {.threads = 256,
                               .blocks = blocks,
                               .rowsPerBlock = 1,
                               .tokensPerBlock = kChunkTokens,
                               .blocksPerProcessor = 2}});
  return result;
}

}  // namespace llmc::cuda
