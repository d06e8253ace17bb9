#include "runtime/executor/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "runtime/abi/kernel_abi.h"
#include "runtime/executor/cpu_features.h"
#include "runtime/executor/device.h"
#include "runtime/executor/plan_verify.h"
#include "runtime/io/model_file.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

Result<std::unique_ptr<Plan>> Plan::open(const std::string& path, const PlanOptions& options) {
  std::unique_ptr<Plan> plan(new Plan);
  LLMRT_ASSIGN_OR_RETURN(plan->file_, openModelFile(path));
  Result<const schema::Plan*> verified = verifyPlan(plan->file_.bytes());
  if (!verified.ok()) return std::move(verified).status().withContext(path);
  plan->schema_ = *verified;
  if (options.device) {
    Result<uint32_t> target = options.device->chooseTarget(*plan->schema_);
    if (!target.ok()) return std::move(target).status().withContext(path);
    plan->target_ = plan->schema_->targets()->Get(*target);
    if (Status s = plan->checkCode(); !s.ok()) return std::move(s).withContext(path);
    return plan;
  }
  if (Status s = plan->chooseTarget(options.cpu_target); !s.ok()) {
    return std::move(s).withContext(path);
  }
  if (Status s = plan->loadCode(); !s.ok()) return std::move(s).withContext(path);
  return plan;
}

Status Plan::chooseTarget(const std::string& wanted) {
  const std::vector<std::string> supported = supportedCpuTargets();
  std::vector<std::string> held, printable;
  for (const schema::Target* t : *schema_->targets()) {
    held.push_back(t->name()->str());
    printable.push_back(quotedName(held.back()));
  }

  std::vector<std::string> candidates = supported;
  if (!wanted.empty()) {
    const auto& known = knownCpuTargets();
    if (std::find(known.begin(), known.end(), wanted) == known.end()) {
      return invalidArgument(fmt::format("`cpu_target` {}: no such target, known are {}", wanted,
                                         fmt::join(known, ", ")));
    }
    candidates.clear();
    if (std::find(supported.begin(), supported.end(), wanted) != supported.end()) {
      candidates.push_back(wanted);
    }
  }
  for (const std::string& name : candidates) {
    const auto it = std::find(held.begin(), held.end(), name);
    if (it == held.end()) continue;
    target_ = schema_->targets()->Get(static_cast<uint32_t>(it - held.begin()));
    return {};
  }
  return unsupported(fmt::format(
      "holds code for {}, this machine runs {}{}: compile it with --target for this machine",
      fmt::join(printable, ", "),
      supported.empty() ? "none of the known targets" : fmt::to_string(fmt::join(supported, ", ")),
      wanted.empty() ? "" : fmt::format(" and `cpu_target` asks for {}", wanted)));
}

Status Plan::checkCode() const {
  const std::string name = targetName();
  if (!target_->image() || target_->image()->size() == 0) {
    return invalidData(fmt::format("is corrupt: no code for {}", name));
  }
  if (XXH3_64bits(target_->image()->data(), target_->image()->size()) != target_->image_hash()) {
    return invalidData(fmt::format("is corrupt: the hash of the code for {} differs", name));
  }
  return {};
}

Status Plan::loadCode() {
  const std::string name = targetName();
  if (target_->abi_version() != LLMC_KERNEL_ABI_VERSION) {
    return unsupported(fmt::format(
        "its code for {} has kernel ABI version {}, this runtime calls version {}: compile it "
        "again with llmc",
        name, target_->abi_version(), LLMC_KERNEL_ABI_VERSION));
  }
  LLMRT_RETURN_IF_ERROR(checkCode());
  const std::span<const uint8_t> image(target_->image()->data(), target_->image()->size());
  LLMRT_RETURN_IF_ERROR(enableCpuTarget(name));
  LLMRT_ASSIGN_OR_RETURN(code_, CodeImage::load(image));
  if (schema_->kernels()) {
    for (const schema::Kernel* kernel : *schema_->kernels()) {
      const LlmcKernelFn fn = code_.find(kernel->symbol()->str());
      if (!fn) {
        return invalidData(fmt::format("is corrupt: the code for {} has no kernel {}", name,
                                       quotedName(kernel->symbol()->string_view())));
      }
      kernels_.push_back(fn);
    }
  }
  return {};
}

std::string Plan::targetName() const { return target_->name()->str(); }
int64_t Plan::vocabSize() const { return schema_->model()->vocab_size(); }
int64_t Plan::maxSeqLen() const { return schema_->model()->max_seq_len(); }
int64_t Plan::maxBatch() const { return schema_->model()->max_batch(); }

}  // namespace llmrt
