// What a GPU can do at most: read bandwidth over several GB by bytes in flight, copies, kernels in
// a graph with plain and programmatic edges, empty and reading. A line of JSON per measurement.
// nvcc -O3 -std=c++17 -arch=native limits.cu -o limits && ./limits [GB]
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                               \
  do {                                                                            \
    const cudaError_t error = (call);                                             \
    if (error != cudaSuccess) {                                                   \
      std::fprintf(stderr, "limits: %s: %s\n", #call, cudaGetErrorString(error)); \
      std::exit(1);                                                               \
    }                                                                             \
  } while (0)

/// Sixteen bytes, past L1. kEvictFirst: the first that L2 gives up, as the runtime reads weights.
template <bool kEvictFirst>
__device__ __forceinline__ uint4 load(const uint4* p) {
  uint4 v;
  if constexpr (kEvictFirst) {
    unsigned long long policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0,%1,%2,%3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p), "l"(policy));
  } else {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
  }
  return v;
}

// Programmatic dependent launch, as the kernels of a plan use it.
__device__ __forceinline__ void letNextKernelBegin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void waitForEarlierKernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Reads everything once; kUnroll loads of 16 bytes are on their way before the first is used.
/// kChained: the first of them before the kernel ahead has ended.
template <int kUnroll, bool kEvictFirst, bool kChained = false>
__global__ void readAll(const uint4* data, size_t count, unsigned* sink) {
  unsigned sum = 0;
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x * kUnroll;
  bool first = kChained;
  if (kChained) letNextKernelBegin();
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x * kUnroll + threadIdx.x; i < count;
       i += step) {
    uint4 v[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (i + u * blockDim.x < count) v[u] = load<kEvictFirst>(data + i + u * blockDim.x);
    if (first) waitForEarlierKernels();
    first = false;
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (i + u * blockDim.x < count) sum ^= v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
  }
  if (first) waitForEarlierKernels();
  if (sum == 0x12345678u) *sink = sum;
}

__global__ void fillNoise(uint4* data, size_t count) {
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    unsigned z = static_cast<unsigned>(i * 2654435761u);
    data[i] = {z, z ^ 0x9e3779b9u, z * 747796405u, z + 0x85ebca6bu};
  }
}
__global__ void nothing() {
  letNextKernelBegin();
  waitForEarlierKernels();
}

struct Times {
  std::vector<float> ms;
  float median() {
    std::sort(ms.begin(), ms.end());
    return ms[ms.size() / 2];
  }
};

template <class Body>
Times measure(int repeats, Body body) {
  cudaEvent_t begin, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  body();
  Times times;
  for (int i = 0; i < repeats; ++i) {
    CHECK(cudaEventRecord(begin));
    body();
    CHECK(cudaEventRecord(end));
    CHECK(cudaEventSynchronize(end));
    float ms = 0;
    CHECK(cudaEventElapsedTime(&ms, begin, end));
    times.ms.push_back(ms);
  }
  return times;
}

template <int kUnroll, bool kEvictFirst>
double bestRead(const uint4* data, size_t bytes, unsigned* sink, int processors) {
  double best = 0;
  for (int threads : {256, 512, 1024}) {
    for (int blocks : {1, 2, 4, 8}) {
      if (threads * blocks > 2048) continue;
      Times t = measure(20, [&] {
        readAll<kUnroll, kEvictFirst><<<processors * blocks, threads>>>(data, bytes / 16, sink);
      });
      CHECK(cudaGetLastError());
      const double gb_s = bytes / t.median() / 1e6;
      best = std::max(best, gb_s);
      std::printf(
          "{\"limit\": \"read\", \"unroll\": %d, \"evict_first\": %s, \"threads\": %d, "
          "\"blocks_per_sm\": %d, \"kb_in_flight_per_sm\": %d, \"gb_s\": %.1f, \"spread\": "
          "[%.1f, %.1f]}\n",
          kUnroll, kEvictFirst ? "true" : "false", threads, blocks,
          kUnroll * threads * blocks * 16 / 1024, gb_s, bytes / t.ms.back() / 1e6,
          bytes / t.ms.front() / 1e6);
      std::fflush(stdout);
    }
  }
  return best;
}

/// A graph of what `body(i, config)` launches for 0 <= i < count, one after the other.
/// Programmatic: a kernel may begin while the one before it ends.
template <class Body>
cudaGraphExec_t graphOf(int count, bool programmatic, Body body) {
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CHECK(cudaStreamCreate(&stream));
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  for (int i = 0; i < count; ++i) {
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.stream = stream;
    config.attrs = &early;
    config.numAttrs = programmatic && i > 0;
    body(i, config);
  }
  CHECK(cudaStreamEndCapture(stream, &graph));
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  CHECK(cudaGraphDestroy(graph));
  CHECK(cudaStreamDestroy(stream));
  return exec;
}

/// Kernels that read `slice` bytes each, one after the other as the ops of a decoding step: what an
/// edge costs is what is missing of the best read.
template <int kUnroll, bool kEvictFirst>
void chain(const uint4* data, size_t bytes, size_t slice, unsigned* sink, int processors,
           double best_gb_s) {
  constexpr int kThreads = 256;
  const int count = static_cast<int>(std::min<size_t>(bytes / slice, 128));
  for (const int blocks : {1, 2, 4}) {
    for (const bool programmatic : {false, true}) {
      const cudaGraphExec_t exec = graphOf(count, programmatic, [&](int i, cudaLaunchConfig_t& c) {
        c.gridDim = processors * blocks;
        c.blockDim = kThreads;
        CHECK(cudaLaunchKernelEx(&c, readAll<kUnroll, kEvictFirst, true>, data + i * (slice / 16),
                                 slice / 16, sink));
      });
      Times t = measure(20, [&] { CHECK(cudaGraphLaunch(exec, nullptr)); });
      const double us = t.median() * 1e3 / count;
      std::printf(
          "{\"limit\": \"chain\", \"mb\": %zu, \"edges\": \"%s\", \"evict_first\": %s, "
          "\"kb_in_flight_per_sm\": %d, \"gb_s\": %.1f, \"us\": %.3f, \"us_lost\": %.3f}\n",
          slice >> 20, programmatic ? "programmatic" : "plain", kEvictFirst ? "true" : "false",
          kUnroll * kThreads * blocks * 16 / 1024, slice / us / 1e3, us,
          us - slice / best_gb_s / 1e3);
      std::fflush(stdout);
      CHECK(cudaGraphExecDestroy(exec));
    }
  }
}

/// What a kernel costs in a graph, by its edges, and what a graph costs beside its kernels.
void launches(int processors) {
  for (const bool programmatic : {false, true}) {
    double us[2] = {};
    const int counts[2] = {10, 100};
    for (int k = 0; k < 2; ++k) {
      const cudaGraphExec_t exec =
          graphOf(counts[k], programmatic, [&](int, cudaLaunchConfig_t& c) {
            c.gridDim = processors;
            c.blockDim = 256;
            CHECK(cudaLaunchKernelEx(&c, nothing));
          });
      // Twenty in a row, as steps are.
      Times t = measure(50, [&] {
        for (int i = 0; i < 20; ++i) CHECK(cudaGraphLaunch(exec, nullptr));
      });
      us[k] = t.median() * 1e3 / 20;
      CHECK(cudaGraphExecDestroy(exec));
    }
    const double kernel = (us[1] - us[0]) / (counts[1] - counts[0]);
    std::printf(
        "{\"limit\": \"graph\", \"edges\": \"%s\", \"kernel_us\": %.3f, \"between_graphs_us\": "
        "%.3f}\n",
        programmatic ? "programmatic" : "plain", kernel, us[0] - counts[0] * kernel);
    std::fflush(stdout);
  }
}

int main(int argc, char** argv) {
  const size_t bytes = static_cast<size_t>(argc > 1 ? std::atoi(argv[1]) : 8) << 30;
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0));
  int driver = 0;
  CHECK(cudaDriverGetVersion(&driver));
  std::printf(
      "{\"limit\": \"device\", \"name\": \"%s\", \"processors\": %d, \"l2_bytes\": %d, \"driver\": "
      "%d}\n",
      properties.name, properties.multiProcessorCount, properties.l2CacheSize, driver);
  uint4 *a = nullptr, *b = nullptr;
  unsigned* sink = nullptr;
  CHECK(cudaMalloc(&a, bytes));
  CHECK(cudaMalloc(&b, bytes / 2));
  CHECK(cudaMalloc(&sink, 4));
  fillNoise<<<1024, 256>>>(a, bytes / 16);
  CHECK(cudaDeviceSynchronize());
  const int sms = properties.multiProcessorCount;
  const double best =
      std::max({bestRead<1, false>(a, bytes, sink, sms), bestRead<2, false>(a, bytes, sink, sms),
                bestRead<4, false>(a, bytes, sink, sms), bestRead<8, false>(a, bytes, sink, sms),
                bestRead<4, true>(a, bytes, sink, sms), bestRead<8, true>(a, bytes, sink, sms)});
  Times copy =
      measure(20, [&] { CHECK(cudaMemcpyAsync(b, a, bytes / 2, cudaMemcpyDeviceToDevice)); });
  std::printf("{\"limit\": \"best_read\", \"gb_s\": %.1f}\n{\"limit\": \"copy\", \"gb_s\": %.1f}\n",
              best, bytes / copy.median() / 1e6);
  void* host = nullptr;
  CHECK(cudaMallocHost(&host, size_t{1} << 30));
  Times upload =
      measure(5, [&] { CHECK(cudaMemcpyAsync(a, host, size_t{1} << 30, cudaMemcpyHostToDevice)); });
  std::printf("{\"limit\": \"upload\", \"gb_s\": %.1f}\n",
              (size_t{1} << 30) / upload.median() / 1e6);
  launches(sms);
  // The ops of a layer of 1b and 7b read 4 to 240 MB.
  for (const size_t mb : {4, 16, 64}) {
    chain<8, true>(a, bytes, mb << 20, sink, sms, best);
    chain<8, false>(a, bytes, mb << 20, sink, sms, best);
  }
  return 0;
}
