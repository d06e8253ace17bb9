// An opened plan: a mapped, verified file and the machine code of one of its targets.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/executor/code_image.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/status.h"

namespace llmrt {

class Device;
namespace schema {
struct Plan;
struct Target;
}  // namespace schema

struct PlanOptions {
  std::string cpu_target;          // empty: the best that plan and machine share
  const Device* device = nullptr;  // not null: code for this device, which loads it itself
};

/// Immutable once opened; sessions of several threads may share it. Must outlive its weights and
/// sessions.
class Plan {
 public:
  /// Maps and verifies the file, chooses a target, checks the hash of its code, maps it and finds
  /// every kernel.
  static Result<std::unique_ptr<Plan>> open(const std::string& path,
                                            const PlanOptions& options = {});

  const std::string& path() const { return file_.path(); }
  uint64_t fileBytes() const { return file_.size(); }
  /// Verified: every index, offset and size in it holds.
  const schema::Plan& schema() const { return *schema_; }
  const schema::Target& target() const { return *target_; }
  std::string targetName() const;
  LlmcKernelFn kernel(uint32_t index) const { return kernels_[index]; }

  int64_t vocabSize() const;
  int64_t maxSeqLen() const;
  int64_t maxBatch() const;

 private:
  Plan() = default;
  Status chooseTarget(const std::string& wanted);
  Status checkCode() const;
  Status loadCode();

  MappedFile file_;
  const schema::Plan* schema_ = nullptr;
  const schema::Target* target_ = nullptr;
  CodeImage code_;
  std::vector<LlmcKernelFn> kernels_;
};

}  // namespace llmrt
