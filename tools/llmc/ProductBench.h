// Runs the kernel of a product with weights on memory that means nothing, to see how fast it is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/LLM.h"
#include "runtime/executor/code_image.h"
#include "runtime/executor/memory.h"
#include "runtime/executor/thread_team.h"
#include "runtime/executor/tile_shares.h"
#include "runtime/io/status.h"

namespace llmc {

/// Machine code of one kernel.
struct KernelCode {
  llmrt::CodeImage image;
  LlmcKernelFn run = nullptr;
  uint64_t scratchBytes = 0;
};

/// A kernel's operands, several times: what is read in one pass lies in no cache when the next
/// begins. A step's tiles are shared among threads as the runtime shares them.
class ProductBench {
 public:
  /// What the kernel's weights take, of all experts; 0: more than there can be.
  static uint64_t weightBytes(llm::KernelOp kernel);

  /// `rows` of a step. `weights`: at least weightBytes(), and must outlive the bench, as must
  /// `team`.
  static llmrt::Result<ProductBench> create(llm::KernelOp kernel, int64_t rows,
                                            std::span<uint8_t> weights, llmrt::ThreadTeam& team);

  /// Seconds of a pass. A kernel that refuses the step is our bug, and an error.
  llmrt::Result<double> run(const KernelCode& code);
  double bytesOfPass() const { return bytes_; }
  double flopsOfPass() const { return flops_; }

 private:
  explicit ProductBench(llmrt::ThreadTeam& team) : team_(&team), shares_(team.size()) {}
  llmrt::ThreadTeam* team_;
  llmrt::TileShares shares_;
  LlmcStep step_ = {};
  int64_t tiles_ = 0, least_ = 1;
  llmrt::AnonymousMemory memory_;  // operands but the weights
  llmrt::AnonymousMemory scratch_;
  std::vector<std::vector<void*>> calls_;  // operands of each call of a pass
  bool many_ = false;                      // a pass is one call
  size_t next_ = 0;                        // which
  double bytes_ = 0, flops_ = 0;
};

}  // namespace llmc
