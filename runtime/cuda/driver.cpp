#include "runtime/cuda/driver.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <type_traits>

namespace llmrt::cuda {
namespace {

Result<const Driver*> loadOnce() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    return unsupported(
        "`device` cuda: this machine has no NVIDIA driver (libcuda.so.1 is not found): install it, "
        "or "
        "use `device` cpu");
  }
  static Driver driver;
  const char* missing = nullptr;
  const auto find = [&](auto& function, const char* name, bool optional = false) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (!function && !optional && !missing) missing = name;
  };
  find(driver.init, "cuInit");
  find(driver.driver_version, "cuDriverGetVersion");
  find(driver.device_count, "cuDeviceGetCount");
  find(driver.device_get, "cuDeviceGet");
  find(driver.device_name, "cuDeviceGetName");
  find(driver.device_attribute, "cuDeviceGetAttribute");
  find(driver.context_retain, "cuDevicePrimaryCtxRetain");
  find(driver.context_release, "cuDevicePrimaryCtxRelease_v2");
  find(driver.context_set, "cuCtxSetCurrent");
  find(driver.memory_info, "cuMemGetInfo_v2");
  find(driver.module_load, "cuModuleLoadData");
  find(driver.module_unload, "cuModuleUnload");
  find(driver.module_function, "cuModuleGetFunction");
  find(driver.function_set, "cuFuncSetAttribute");
  find(driver.allocate, "cuMemAlloc_v2");
  find(driver.free, "cuMemFree_v2");
  find(driver.host_allocate, "cuMemHostAlloc");
  find(driver.host_free, "cuMemFreeHost");
  find(driver.copy_to_device, "cuMemcpyHtoDAsync_v2");
  find(driver.copy_to_host, "cuMemcpyDtoHAsync_v2");
  find(driver.copy_on_device, "cuMemcpyDtoDAsync_v2");
  find(driver.fill, "cuMemsetD8Async");
  find(driver.stream_create, "cuStreamCreate");
  find(driver.stream_synchronize, "cuStreamSynchronize");
  find(driver.stream_query, "cuStreamQuery");
  find(driver.stream_destroy, "cuStreamDestroy_v2");
  find(driver.event_create, "cuEventCreate");
  find(driver.event_record, "cuEventRecord");
  find(driver.event_synchronize, "cuEventSynchronize");
  find(driver.event_elapsed_ms, "cuEventElapsedTime");
  find(driver.event_destroy, "cuEventDestroy_v2");
  find(driver.launch, "cuLaunchKernel");
  find(driver.graph_create, "cuGraphCreate");
  find(driver.graph_instantiate, "cuGraphInstantiateWithFlags");
  find(driver.graph_launch, "cuGraphLaunch");
  find(driver.graph_destroy, "cuGraphDestroy");
  find(driver.graph_exec_destroy, "cuGraphExecDestroy");
  find(driver.error_name, "cuGetErrorName");
  find(driver.error_string, "cuGetErrorString");
  find(driver.launch_with, "cuLaunchKernelEx", true);
  find(driver.graph_add_node, "cuGraphAddNode_v2", true);
  if (missing)
    return unsupported(fmt::format(
        "`device` cuda: the NVIDIA driver is too old, it has no {}: update it", missing));
  LLMRT_RETURN_IF_ERROR(driver.check(driver.init(0), "`device` cuda: cuInit"));
  return &driver;
}

}  // namespace

Result<const Driver*> Driver::load() {
  static const Result<const Driver*> loaded = loadOnce();
  return loaded;
}

Status Driver::check(CuResult result, const std::string& what) const {
  if (result == 0) return {};
  const char *name = nullptr, *text = nullptr;
  if (error_name(result, &name) != 0 || !name) name = "unknown error";
  if (error_string(result, &text) != 0 || !text) text = "";
  std::string message = fmt::format("{}: {}{}{}", what, name, *text ? ": " : "", text);
  return {result == kCuOutOfMemory ? StatusCode::kOutOfMemory
          : result == kCuNoDevice  ? StatusCode::kUnsupported
                                   : StatusCode::kInternal,
          std::move(message)};
}

}  // namespace llmrt::cuda
