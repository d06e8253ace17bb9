#include "tools/llmc/ProductBench.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "runtime/executor/schedule.h"
#include "runtime/io/weight_format.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"

namespace llmc {
namespace {

using llmrt::AnonymousMemory;
using llmrt::Result;
using llmrt::Status;

/// Calls of a pass at most: enough for the experts of small models to be in no cache.
constexpr uint64_t kMostCalls = 64;
/// Of a pass of many rows: some 20 ms of two cores.
constexpr double kManyRowsFlops = 4e9;

/// The operand that is multiplied, and the layout of its planes.
struct Weight {
  const llmrt::WeightFormat* format = nullptr;
  int64_t panels = 0, cols = 0, experts = 1;

  uint64_t bytes() const {
    llmrt::PlaneExtent planes[llmrt::WeightFormat::kMaxPlanes];
    if (!llmrt::layOutPlanes(*format, /*in_panels=*/true, static_cast<uint64_t>(panels), cols,
                             static_cast<uint64_t>(experts), planes))
      return 0;
    const llmrt::PlaneExtent& last = planes[format->num_planes - 1];
    // What may be read past the end (kernel_abi.h), and the next one's alignment.
    return llmrt::alignUp(last.offset_bytes + last.bytes + 64);
  }
};

bool isProductWeight(const llm::KernelOperand& operand) {
  return operand.space == llm::Space::weights && operand.layout == llm::Layout::panels;
}

Weight weightOf(llm::KernelOp kernel) {
  Weight weight;
  llm::KernelOpInterface op = kernel.getComputeOp();
  for (const llm::KernelOperand& operand : op.getKernelOperands()) {
    if (!isProductWeight(operand)) continue;
    std::vector<int64_t> rows;
    for (mlir::FlatSymbolRefAttr symbol : operand.symbols) {
      const llm::Matrix matrix = llm::matrixOf(op, symbol);
      rows.push_back(matrix.rows);
      weight.cols = matrix.cols;
      weight.format = &llm::weightFormatOf(matrix.type);
      weight.experts = std::max<int64_t>(llm::lookupWeight(op, symbol).getNumExperts(), 1);
    }
    weight.panels = llmrt::panelCount(rows, llmrt::sameCase<llmrt::PanelOrder>(operand.order),
                                      operand.headRows);
  }
  return weight;
}

/// Bytes of an operand that is no weight of the product: of rows at the positions of their numbers,
/// in one sequence whose blocks are all block 0.
uint64_t bytesOf(const llm::KernelOperand& operand, llm::KernelOp kernel, int64_t rows,
                 int64_t rowStride) {
  llm::KernelOpInterface op = kernel.getComputeOp();
  switch (operand.space) {
    case llm::Space::arena:
      return static_cast<uint64_t>(rows * rowStride * 4);
    case llm::Space::weights: {
      int64_t floats = 0;
      for (mlir::FlatSymbolRefAttr symbol : operand.symbols) {
        const llm::Matrix matrix = llm::matrixOf(op, symbol);
        floats += (matrix.rows + 15) / 16 * 16 * matrix.cols *
                  std::max<int64_t>(llm::lookupWeight(op, symbol).getNumExperts(), 1);
      }
      return static_cast<uint64_t>(floats * 4);
    }
    case llm::Space::rope:
      return static_cast<uint64_t>(rows * llm::rotaryDim(op, operand.symbols.front()) * 4);
    case llm::Space::keys:
    case llm::Space::values: {
      llm::KvCacheType kv = llm::kvTypeOf(op, operand.symbols.front());
      const int64_t width = std::max(kv.getHeadDim(), kv.getValueDim()) + 15;
      return static_cast<uint64_t>(kv.getNumKvHeads() * width * LLMC_KV_BLOCK_TOKENS * 4);
    }
    case llm::Space::input:
    case llm::Space::block_table:
      return static_cast<uint64_t>(rows * 4);
    case llm::Space::recurrent:
    case llm::Space::slots:
    case llm::Space::kept:
      break;  // no product with weights has them
  }
  return 64;
}

/// Floats from one row of a tensor of the kernel to the next: of its inputs, then its results.
int64_t rowStrideOf(llm::KernelOp kernel, mlir::Value value) {
  llm::KernelOpInterface op = kernel.getComputeOp();
  llvm::ArrayRef<int64_t> strides = kernel.getRowStrides();
  for (mlir::Value v : llvm::concat<mlir::Value>(op->getOperands(), op->getResults())) {
    if (!mlir::isa<mlir::RankedTensorType>(v.getType())) continue;
    if (v == value) return strides.front();
    strides = strides.drop_front();
  }
  return 0;
}

}  // namespace

uint64_t ProductBench::weightBytes(llm::KernelOp kernel) { return weightOf(kernel).bytes(); }

Result<ProductBench> ProductBench::create(llm::KernelOp kernel, int64_t rows,
                                          std::span<uint8_t> weights, llmrt::ThreadTeam& team) {
  ProductBench bench(team);
  llm::KernelOpInterface op = kernel.getComputeOp();
  const llm::Cost cost = op.getCost();
  const llm::Tiling tiling = op.getTiling(kernel.getKind());
  const auto operands = op.getKernelOperands();
  bench.step_ = {.num_rows = rows,
                 .num_logits_rows = rows,
                 .num_sequences = 1,
                 .blocks_per_seq = (rows + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS};

  // A pass reads all of `weights`, in calls that each read what the rows need of one weight. Many
  // rows are multiplied for so long that one call, of some tiles, is enough: the next pass goes on
  // with the next weight.
  const Weight weight = weightOf(kernel);
  const uint64_t bytes = weight.bytes();
  const int64_t chosen = std::min(rows * cost.expertsPerRow, cost.numExperts);
  const double readBytes =
      static_cast<double>(cost.weightBytes) + static_cast<double>(chosen * cost.expertBytes);
  const double flops = static_cast<double>(rows) * static_cast<double>(cost.flopsPerRow);
  const auto copies = std::max<uint64_t>(weights.size() / bytes, 1);
  const auto wanted = static_cast<uint64_t>(static_cast<double>(weights.size()) / readBytes) + 1;
  const uint64_t calls = std::clamp<uint64_t>(wanted, copies, std::max(copies, kMostCalls));
  llmrt::BoundPhase phase;
  phase.tiles = tiling.tiles;
  phase.is_experts = cost.numExperts > 0;
  phase.row_tile_bytes = (cost.weightBytes + cost.expertBytes * cost.expertsPerRow) /
                         std::max<int64_t>(tiling.tiles, 1);
  phase.axis = llmrt::schema::Axis::row;
  bench.tiles_ = tiling.tiles;
  bench.least_ = phase.leastTiles(bench.step_);
  bench.many_ = kernel.getKind() == llm::StepKind::prefill;
  if (bench.many_ && flops > kManyRowsFlops) {
    const int64_t enough =
        static_cast<int64_t>(static_cast<double>(tiling.tiles) * (kManyRowsFlops / flops)) + 1;
    bench.tiles_ = std::min(tiling.tiles, std::max(enough, int64_t{4} * team.size()));
  }
  const double share = static_cast<double>(bench.tiles_) / static_cast<double>(tiling.tiles);
  bench.bytes_ = readBytes * share * (bench.many_ ? 1 : static_cast<double>(calls));
  bench.flops_ = flops * share * (bench.many_ ? 1 : static_cast<double>(calls));

  const auto strideOf = [&](const llm::KernelOperand& operand) {
    return operand.space == llm::Space::arena ? rowStrideOf(kernel, operand.value) : 0;
  };
  uint64_t all = 0, routeBytes = 0;
  for (const llm::KernelOperand& operand : operands) {
    if (isProductWeight(operand)) continue;
    const uint64_t size = llmrt::alignUp(bytesOf(operand, kernel, rows, strideOf(operand)) + 64);
    if (operand.name == "route") routeBytes = size;
    all += size;
  }
  LLMRT_ASSIGN_OR_RETURN(bench.memory_, AnonymousMemory::allocate(all + routeBytes * calls,
                                                                  "activations to measure with"));
  uint8_t* next = bench.memory_.data();
  uint8_t* const routes = next + all;
  std::vector<void*> pointers;
  size_t weightAt = 0, routeAt = operands.size();
  for (size_t i = 0; i < operands.size(); ++i) {
    const llm::KernelOperand& operand = operands[i];
    pointers.push_back(next);
    if (isProductWeight(operand)) {
      weightAt = i;
      continue;
    }
    const int64_t stride = strideOf(operand);
    const uint64_t size = bytesOf(operand, kernel, rows, stride);
    if (operand.name == "route") {
      routeAt = i;
      // Each call has other experts: the chosen, then their shares.
      const int64_t topK = cost.expertsPerRow;
      for (uint64_t call = 0; call < calls; ++call) {
        auto* route = reinterpret_cast<float*>(routes + call * routeBytes);
        for (int64_t i = 0; i < rows * topK; ++i) {
          float* row = route + i / topK * stride;
          row[i % topK] =
              static_cast<float>((static_cast<int64_t>(call) * topK + i) % cost.numExperts);
          row[topK + i % topK] = 1;
        }
      }
    } else if (operand.space == llm::Space::input &&
               (operand.symbols.front().getValue() == "pos" ||
                operand.symbols.front().getValue() == "slot" ||
                operand.symbols.front().getValue() == "logits_rows")) {
      for (int64_t r = 0; r < rows; ++r)
        reinterpret_cast<int32_t*>(next)[r] = static_cast<int32_t>(r);
    } else if (operand.space == llm::Space::arena || operand.space == llm::Space::weights ||
               operand.space == llm::Space::rope) {
      std::fill_n(reinterpret_cast<float*>(next), size / 4, 0.5f);
    }
    next += llmrt::alignUp(size + 64);
  }
  for (uint64_t call = 0; call < calls; ++call) {
    pointers[weightAt] = weights.data() + call % copies * bytes;
    if (routeAt < operands.size()) pointers[routeAt] = routes + call * routeBytes;
    bench.calls_.push_back(pointers);
  }
  return bench;
}

Result<double> ProductBench::run(const KernelCode& code) {
  const uint64_t stride = llmrt::alignUp(code.scratchBytes + 64);
  if (const uint64_t needed = stride * static_cast<uint64_t>(team_->size());
      needed > scratch_.size()) {
    LLMRT_ASSIGN_OR_RETURN(scratch_, AnonymousMemory::allocate(needed, "scratch to measure with"));
    std::memset(scratch_.data(), 0, scratch_.size());
  }
  struct Pass {
    ProductBench& bench;
    const KernelCode& code;
    uint64_t stride;
    size_t first, last;
    std::atomic<int32_t> failed{0};
  };
  const size_t first = many_ ? next_++ % calls_.size() : 0;
  Pass pass{*this, code, stride, first, many_ ? first + 1 : calls_.size()};
  const auto start = std::chrono::steady_clock::now();
  team_->run(
      [](void* context, int worker) {
        Pass& p = *static_cast<Pass*>(context);
        void* const scratch = p.bench.scratch_.data() + static_cast<uint64_t>(worker) * p.stride;
        for (size_t call = p.first; call < p.last; ++call) {
          void* const* operands = p.bench.calls_[call].data();
          p.bench.shares_.forEach(
              p.bench.tiles_, p.bench.least_, worker, [&](int64_t begin, int64_t end) {
                if (const int32_t status =
                        p.code.run(&p.bench.step_, operands, begin, end, scratch))
                  p.failed = status;
              });
          p.bench.team_->barrier();
        }
      },
      &pass);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (pass.failed)
    return llmrt::internalError("a kernel refuses the step that it is measured with");
  return seconds;
}

}  // namespace llmc
