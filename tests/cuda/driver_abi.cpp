// runtime/cuda/driver.h against NVIDIA's own cuda.h, where one is installed: nothing runs, it
// compiles. The tests' driver is built from our header, and would share a mistake in it.
#include <cuda.h>

#include <cstddef>

#include "runtime/cuda/driver.h"

namespace llmrt::cuda {
namespace {

#define SAME_MEMBER(ours, our_member, theirs, their_member)                     \
  static_assert(offsetof(ours, our_member) == offsetof(theirs, their_member) && \
                sizeof(ours::our_member) == sizeof(theirs::their_member))
/// A member that stands for several of theirs, of which `their_first` is the first.
#define SAME_PLACE(ours, our_member, theirs, their_first) \
  static_assert(offsetof(ours, our_member) == offsetof(theirs, their_first))

static_assert(sizeof(CuKernelNodeParams) == sizeof(CUgraphNodeParams));
SAME_MEMBER(CuKernelNodeParams, type, CUgraphNodeParams, type);
SAME_PLACE(CuKernelNodeParams, function, CUgraphNodeParams, kernel.func);
SAME_PLACE(CuKernelNodeParams, grid, CUgraphNodeParams, kernel.gridDimX);
SAME_PLACE(CuKernelNodeParams, block, CUgraphNodeParams, kernel.blockDimX);
SAME_PLACE(CuKernelNodeParams, dynamic_shared_bytes, CUgraphNodeParams, kernel.sharedMemBytes);
SAME_PLACE(CuKernelNodeParams, arguments, CUgraphNodeParams, kernel.kernelParams);
SAME_PLACE(CuKernelNodeParams, extra, CUgraphNodeParams, kernel.extra);
SAME_PLACE(CuKernelNodeParams, kernel, CUgraphNodeParams, kernel.kern);
SAME_PLACE(CuKernelNodeParams, context, CUgraphNodeParams, kernel.ctx);
SAME_PLACE(CuKernelNodeParams, reserved2, CUgraphNodeParams, reserved2);
SAME_PLACE(CuEventNodeParams, event, CUgraphNodeParams, eventRecord.event);
static_assert(kCuGraphNodeKernel == CU_GRAPH_NODE_TYPE_KERNEL);
static_assert(kCuGraphNodeEventRecord == CU_GRAPH_NODE_TYPE_EVENT_RECORD);

static_assert(sizeof(CuGraphEdge) == sizeof(CUgraphEdgeData));
SAME_MEMBER(CuGraphEdge, from_port, CUgraphEdgeData, from_port);
SAME_MEMBER(CuGraphEdge, to_port, CUgraphEdgeData, to_port);
SAME_MEMBER(CuGraphEdge, type, CUgraphEdgeData, type);
static_assert(kCuProgrammaticEdge.type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC);
static_assert(kCuProgrammaticEdge.from_port == CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC);
static_assert(kCuProgrammaticEdge.to_port == 0);

static_assert(sizeof(CuLaunchAttribute) == sizeof(CUlaunchAttribute));
SAME_MEMBER(CuLaunchAttribute, id, CUlaunchAttribute, id);
SAME_MEMBER(CuLaunchAttribute, value, CUlaunchAttribute,
            value.programmaticStreamSerializationAllowed);
static_assert(kCuProgrammaticSerialization.id ==
              CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);

static_assert(sizeof(CuLaunchConfig) == sizeof(CUlaunchConfig));
SAME_PLACE(CuLaunchConfig, grid, CUlaunchConfig, gridDimX);
SAME_PLACE(CuLaunchConfig, block, CUlaunchConfig, blockDimX);
SAME_MEMBER(CuLaunchConfig, dynamic_shared_bytes, CUlaunchConfig, sharedMemBytes);
SAME_MEMBER(CuLaunchConfig, stream, CUlaunchConfig, hStream);
SAME_MEMBER(CuLaunchConfig, attributes, CUlaunchConfig, attrs);
SAME_MEMBER(CuLaunchConfig, num_attributes, CUlaunchConfig, numAttrs);

static_assert(kCuOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(kCuNoDevice == CUDA_ERROR_NO_DEVICE);
static_assert(kCuNotReady == CUDA_ERROR_NOT_READY);
static_assert(kCuAttributeMultiprocessors == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(kCuAttributeMajor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(kCuAttributeMinor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(kCuFunctionMaxDynamicShared == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(kCuFunctionSharedCarveout == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT);
static_assert(kCuStreamNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(kCuEventDisableTiming == CU_EVENT_DISABLE_TIMING);

/// Whether two functions take as many arguments, each as large: handles have names of our own.
template <class Ours, class Theirs>
struct Like;
template <class A, class... Ours, class B, class... Theirs>
struct Like<A (*)(Ours...), B (*)(Theirs...)> {
  static constexpr bool value() {
    if constexpr (sizeof...(Ours) == sizeof...(Theirs))
      return sizeof(A) == sizeof(B) && ((sizeof(Ours) == sizeof(Theirs)) && ...);
    return false;
  }
};
/// `theirs`: the name that driver.cpp asks libcuda for.
#define SAME_CALL(ours, theirs) \
  static_assert(Like<decltype(Driver::ours), decltype(&theirs)>::value())
SAME_CALL(init, cuInit);
SAME_CALL(driver_version, cuDriverGetVersion);
SAME_CALL(device_count, cuDeviceGetCount);
SAME_CALL(device_get, cuDeviceGet);
SAME_CALL(device_name, cuDeviceGetName);
SAME_CALL(device_attribute, cuDeviceGetAttribute);
SAME_CALL(context_retain, cuDevicePrimaryCtxRetain);
SAME_CALL(context_release, cuDevicePrimaryCtxRelease_v2);
SAME_CALL(context_set, cuCtxSetCurrent);
SAME_CALL(memory_info, cuMemGetInfo_v2);
SAME_CALL(module_load, cuModuleLoadData);
SAME_CALL(module_unload, cuModuleUnload);
SAME_CALL(module_function, cuModuleGetFunction);
SAME_CALL(function_set, cuFuncSetAttribute);
SAME_CALL(allocate, cuMemAlloc_v2);
SAME_CALL(free, cuMemFree_v2);
SAME_CALL(host_allocate, cuMemHostAlloc);
SAME_CALL(host_free, cuMemFreeHost);
SAME_CALL(copy_to_device, cuMemcpyHtoDAsync_v2);
SAME_CALL(copy_to_host, cuMemcpyDtoHAsync_v2);
SAME_CALL(copy_on_device, cuMemcpyDtoDAsync_v2);
SAME_CALL(fill, cuMemsetD8Async);
SAME_CALL(stream_create, cuStreamCreate);
SAME_CALL(stream_synchronize, cuStreamSynchronize);
SAME_CALL(stream_query, cuStreamQuery);
SAME_CALL(stream_destroy, cuStreamDestroy_v2);
SAME_CALL(event_create, cuEventCreate);
SAME_CALL(event_record, cuEventRecord);
SAME_CALL(event_synchronize, cuEventSynchronize);
SAME_CALL(event_elapsed_ms, cuEventElapsedTime);
SAME_CALL(event_destroy, cuEventDestroy_v2);
SAME_CALL(launch, cuLaunchKernel);
SAME_CALL(graph_create, cuGraphCreate);
SAME_CALL(graph_instantiate, cuGraphInstantiateWithFlags);
SAME_CALL(graph_launch, cuGraphLaunch);
SAME_CALL(graph_destroy, cuGraphDestroy);
SAME_CALL(graph_exec_destroy, cuGraphExecDestroy);
SAME_CALL(error_name, cuGetErrorName);
SAME_CALL(error_string, cuGetErrorString);
SAME_CALL(launch_with, cuLaunchKernelEx);
SAME_CALL(graph_add_node, cuGraphAddNode_v2);

}  // namespace
}  // namespace llmrt::cuda
