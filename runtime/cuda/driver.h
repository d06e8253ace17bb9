// The CUDA driver API, declared by us and found at run time: the same program runs where there is
// no driver.
//
// Types and constants are those of the driver's stable C ABI (cuda.h); handles are opaque pointers,
// device memory is a 64-bit address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/io/status.h"

namespace llmrt::cuda {

using CuResult = int;
using CuDevice = int;
using CuDevicePtr = uint64_t;
using CuContext = struct CuContextOpaque*;
using CuModule = struct CuModuleOpaque*;
using CuFunction = struct CuFunctionOpaque*;
using CuStream = struct CuStreamOpaque*;
using CuEvent = struct CuEventOpaque*;
using CuGraph = struct CuGraphOpaque*;
using CuGraphNode = struct CuGraphNodeOpaque*;
using CuGraphExec = struct CuGraphExecOpaque*;

constexpr CuResult kCuOutOfMemory = 2;
constexpr CuResult kCuNoDevice = 100;
constexpr CuResult kCuNotReady = 600;
constexpr int kCuAttributeMultiprocessors = 16;
constexpr int kCuAttributeMajor = 75;
constexpr int kCuAttributeMinor = 76;
constexpr int kCuFunctionMaxDynamicShared = 8;
constexpr int kCuFunctionSharedCarveout = 9;
constexpr int kCuGraphNodeKernel = 0;
constexpr unsigned kCuStreamNonBlocking = 1;
constexpr int kCuGraphNodeEventRecord = 7;
constexpr unsigned kCuEventDisableTiming = 2;

/// CUgraphNodeParams with its kernel member (CUDA_KERNEL_NODE_PARAMS_v3).
struct CuKernelNodeParams {
  int type = kCuGraphNodeKernel;
  int reserved0[3] = {};
  CuFunction function = nullptr;
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  unsigned dynamic_shared_bytes = 0;
  void** arguments = nullptr;
  void** extra = nullptr;
  void* kernel = nullptr;
  void* context = nullptr;
  long long rest_of_union[20] = {};
  long long reserved2 = 0;
};
static_assert(sizeof(CuKernelNodeParams) == 16 + 29 * 8 + 8, "the driver's ABI");

/// The same with its event record member.
struct CuEventNodeParams {
  int type = kCuGraphNodeEventRecord;
  int reserved0[3] = {};
  CuEvent event = nullptr;
  long long rest_of_union[28] = {};
  long long reserved2 = 0;
};
static_assert(sizeof(CuEventNodeParams) == sizeof(CuKernelNodeParams), "the driver's ABI");

/// CUgraphEdgeData. Programmatic: the later kernel may begin before the earlier one has ended, and
/// waits in its code.
struct CuGraphEdge {
  unsigned char from_port = 0, to_port = 0, type = 0, reserved[5] = {};
};
constexpr CuGraphEdge kCuProgrammaticEdge = {1, 0, 1, {}};

/// CUlaunchAttribute: an id and 64 bytes for its value.
struct CuLaunchAttribute {
  int id = 0, padding = 0;
  int value = 0, rest_of_union[15] = {};
};
static_assert(sizeof(CuLaunchAttribute) == 72, "the driver's ABI");
/// A kernel launched with it may begin while the one before it in the stream ends, and waits in its
/// code.
constexpr CuLaunchAttribute kCuProgrammaticSerialization = {6, 0, 1, {}};

/// CUlaunchConfig.
struct CuLaunchConfig {
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  unsigned dynamic_shared_bytes = 0;
  CuStream stream = nullptr;
  const CuLaunchAttribute* attributes = nullptr;
  unsigned num_attributes = 0;
};
static_assert(sizeof(CuLaunchConfig) == 56, "the driver's ABI");

/// The driver's functions that we call. Those that older drivers lack may be null: it says so where
/// they are used.
struct Driver {
  CuResult (*init)(unsigned) = nullptr;
  CuResult (*driver_version)(int*) = nullptr;
  CuResult (*device_count)(int*) = nullptr;
  CuResult (*device_get)(CuDevice*, int) = nullptr;
  CuResult (*device_name)(char*, int, CuDevice) = nullptr;
  CuResult (*device_attribute)(int*, int, CuDevice) = nullptr;
  CuResult (*context_retain)(CuContext*, CuDevice) = nullptr;
  CuResult (*context_release)(CuDevice) = nullptr;
  CuResult (*context_set)(CuContext) = nullptr;
  CuResult (*memory_info)(size_t*, size_t*) = nullptr;
  CuResult (*module_load)(CuModule*, const void*) = nullptr;
  CuResult (*module_unload)(CuModule) = nullptr;
  CuResult (*module_function)(CuFunction*, CuModule, const char*) = nullptr;
  CuResult (*function_set)(CuFunction, int, int) = nullptr;
  CuResult (*allocate)(CuDevicePtr*, size_t) = nullptr;
  CuResult (*free)(CuDevicePtr) = nullptr;
  CuResult (*host_allocate)(void**, size_t, unsigned) = nullptr;
  CuResult (*host_free)(void*) = nullptr;
  CuResult (*copy_to_device)(CuDevicePtr, const void*, size_t, CuStream) = nullptr;
  CuResult (*copy_to_host)(void*, CuDevicePtr, size_t, CuStream) = nullptr;
  CuResult (*copy_on_device)(CuDevicePtr, CuDevicePtr, size_t, CuStream) = nullptr;
  CuResult (*fill)(CuDevicePtr, unsigned char, size_t, CuStream) = nullptr;
  CuResult (*stream_create)(CuStream*, unsigned) = nullptr;
  CuResult (*stream_synchronize)(CuStream) = nullptr;
  CuResult (*stream_query)(CuStream) = nullptr;
  CuResult (*stream_destroy)(CuStream) = nullptr;
  CuResult (*event_create)(CuEvent*, unsigned) = nullptr;
  CuResult (*event_record)(CuEvent, CuStream) = nullptr;
  CuResult (*event_synchronize)(CuEvent) = nullptr;
  CuResult (*event_elapsed_ms)(float*, CuEvent, CuEvent) = nullptr;
  CuResult (*event_destroy)(CuEvent) = nullptr;
  CuResult (*launch)(CuFunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                     unsigned, CuStream, void**, void**) = nullptr;
  CuResult (*graph_create)(CuGraph*, unsigned) = nullptr;
  CuResult (*graph_instantiate)(CuGraphExec*, CuGraph, unsigned long long) = nullptr;
  CuResult (*graph_launch)(CuGraphExec, CuStream) = nullptr;
  CuResult (*graph_destroy)(CuGraph) = nullptr;
  CuResult (*graph_exec_destroy)(CuGraphExec) = nullptr;
  CuResult (*error_name)(CuResult, const char**) = nullptr;
  CuResult (*error_string)(CuResult, const char**) = nullptr;
  /// Null before CUDA 11.8: then no kernel of a stream begins before the one ahead has ended.
  CuResult (*launch_with)(const CuLaunchConfig*, CuFunction, void**, void**) = nullptr;
  /// Null before CUDA 12.3: then steps are launched kernel by kernel.
  CuResult (*graph_add_node)(CuGraphNode*, CuGraph, const CuGraphNode*, const CuGraphEdge*, size_t,
                             void*) = nullptr;

  /// Loads libcuda.so.1, once per process, and keeps it.
  static Result<const Driver*> load();

  /// Ok for 0; otherwise "what: CUDA_ERROR_X: text" as kOutOfMemory or kInternal.
  Status check(CuResult result, const std::string& what) const;
};

/// Returns from the enclosing function when a call of the driver fails.
#define LLMRT_CUDA_CHECK(driver, call, what) LLMRT_RETURN_IF_ERROR((driver).check((call), (what)))

}  // namespace llmrt::cuda
