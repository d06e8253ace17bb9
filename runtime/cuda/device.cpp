#include "runtime/cuda/device.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "runtime/cuda/session.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt::cuda {
namespace {

constexpr int kLeastCapability = 80;

bool parseNumber(const std::string& text, int* number) {
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, *number);
  return error == std::errc() && end == last;
}

std::string versionText(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

Result<std::unique_ptr<CudaDevice>> CudaDevice::open(const std::string& spec) {
  int ordinal = 0;
  LaunchOptions launching;
  const size_t comma = std::min(spec.find(','), spec.size());
  const std::string gpu = spec.substr(0, comma);
  if (gpu != "cuda" &&
      !(gpu.starts_with("cuda:") && parseNumber(gpu.substr(5), &ordinal) && ordinal >= 0))
    return invalidArgument(
        fmt::format("`device` {}: takes cpu, cuda or cuda:NUMBER", quotedName(spec)));
  for (size_t at = comma; at < spec.size();) {
    const size_t end = std::min(spec.find(',', at + 1), spec.size());
    const std::string option = spec.substr(at + 1, end - at - 1);
    int& carveout = launching.shared_carveout;
    if (option == "serial") {
      launching.programmatic = false;
    } else if (!option.starts_with("carveout=") || !parseNumber(option.substr(9), &carveout) ||
               carveout < -1 || carveout > 100) {
      return invalidArgument(
          fmt::format("`device` {}: after a GPU come ,serial and ,carveout=PERCENT (-1 to 100)",
                      quotedName(spec)));
    }
    at = end;
  }
  LLMRT_ASSIGN_OR_RETURN(const Driver* driver, Driver::load());
  const auto check = [&](CuResult result, const char* call) {
    return driver->check(result, fmt::format("`device` {}: {}", spec, call));
  };
  std::unique_ptr<CudaDevice> device(new CudaDevice(*driver));
  device->launching_ = launching;
  int count = 0, major = 0, minor = 0;
  LLMRT_RETURN_IF_ERROR(
      check(driver->driver_version(&device->driver_version_), "cuDriverGetVersion"));
  LLMRT_RETURN_IF_ERROR(check(driver->device_count(&count), "cuDeviceGetCount"));
  if (count == 0)
    return unsupported(fmt::format("`device` {}: the NVIDIA driver finds no GPU", spec));
  if (ordinal >= count)
    return invalidArgument(
        count == 1 ? fmt::format("`device` {}: this machine has 1 GPU, cuda:0", spec)
                   : fmt::format("`device` {}: this machine has {} GPUs, cuda:0 to cuda:{}", spec,
                                 count, count - 1));
  LLMRT_RETURN_IF_ERROR(check(driver->device_get(&device->device_, ordinal), "cuDeviceGet"));
  char name[256] = {};
  LLMRT_RETURN_IF_ERROR(
      check(driver->device_name(name, sizeof name - 1, device->device_), "cuDeviceGetName"));
  device->name_ = fmt::format("cuda:{} ({})", ordinal, name);
  LLMRT_RETURN_IF_ERROR(check(driver->device_attribute(&major, kCuAttributeMajor, device->device_),
                              "cuDeviceGetAttribute"));
  LLMRT_RETURN_IF_ERROR(check(driver->device_attribute(&minor, kCuAttributeMinor, device->device_),
                              "cuDeviceGetAttribute"));
  device->capability_ = major * 10 + minor;
  LLMRT_RETURN_IF_ERROR(check(driver->context_retain(&device->context_, device->device_),
                              "cuDevicePrimaryCtxRetain"));
  LLMRT_RETURN_IF_ERROR(device->use());
  return device;
}

CudaDevice::~CudaDevice() {
  if (context_) driver_.context_release(device_);
}

Status CudaDevice::use() const {
  return driver_.check(driver_.context_set(context_), name_ + ": cuCtxSetCurrent");
}

namespace {

struct TargetName {
  int arch = 0;  // 0: no CUDA target
  bool is_ptx = false;
  std::string suffix;
};

TargetName parseTarget(const std::string& target) {
  const size_t at = target.find('_');
  if (!target.starts_with("cuda:") || at == std::string::npos) return {};
  TargetName name;
  const char *begin = target.data() + at + 1, *end = target.data() + target.size();
  const auto [next, error] = std::from_chars(begin, end, name.arch);
  if (error != std::errc()) return {};
  name.is_ptx = target.compare(5, at - 5, "compute") == 0;
  name.suffix.assign(next, end);
  return name;
}

}  // namespace

int targetCapability(const std::string& target) { return parseTarget(target).arch; }

int targetRank(const std::string& target, int capability) {
  const auto [arch, is_ptx, suffix] = parseTarget(target);
  if (arch == 0) return 0;
  if (is_ptx) return suffix.empty() && arch <= capability ? 1 : 0;
  const bool same_family = arch / 10 == capability / 10;
  if (suffix == "a") return arch == capability ? 1000 : 0;
  if (suffix == "f") return same_family && arch <= capability ? 900 : 0;
  return suffix.empty() && same_family && arch <= capability ? 100 + arch % 10 : 0;
}

Result<uint32_t> CudaDevice::chooseTarget(const schema::Plan& plan) const {
  std::vector<std::string> held;
  int best = 0;
  uint32_t chosen = 0;
  for (uint32_t i = 0; i < plan.targets()->size(); ++i) {
    const std::string name = plan.targets()->Get(i)->name()->str();
    held.push_back(quotedName(name));
    const bool launches = plan.targets()->Get(i)->cuda_launches() != nullptr;
    const int rank = launches ? targetRank(name, capability_) : 0;
    if (rank > best) {
      best = rank;
      chosen = i;
    }
  }
  if (capability_ < kLeastCapability) {
    return unsupported(
        fmt::format("its code is for GPUs of compute capability 8.0 and later, {} has {}.{}", name_,
                    capability_ / 10, capability_ % 10));
  }
  if (best == 0) {
    return unsupported(
        fmt::format("holds code for {}, none of it runs on {} of compute capability {}.{}: compile "
                    "it with --target "
                    "cuda:sm_{}",
                    fmt::join(held, ", "), name_, capability_ / 10, capability_ % 10, capability_));
  }
  const schema::Target& target = *plan.targets()->Get(chosen);
  if (static_cast<int>(target.cuda_min_driver()) > driver_version_) {
    return unsupported(fmt::format(
        "its code for {} needs an NVIDIA driver for CUDA {}, this one is for CUDA {}: update it",
        quotedName(target.name()->string_view()), versionText(target.cuda_min_driver()),
        versionText(driver_version_)));
  }
  return chosen;
}

Result<Device::Room> CudaDevice::room(const Plan& plan, const ExecutorOptions& options) const {
  return CudaSession::room(*this, plan, options);
}

Result<std::unique_ptr<Executor>> CudaDevice::createExecutor(const Plan& plan,
                                                             const Weights& weights,
                                                             const ExecutorOptions& options) {
  return CudaSession::create(*this, plan, weights, options);
}

}  // namespace llmrt::cuda
