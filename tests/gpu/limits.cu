// What a GPU can do at most: read bandwidth over several GB, copies, launches in a graph. A line of
// JSON per measurement. nvcc -O3 -std=c++17 -arch=native limits.cu -o limits && ./limits [GB]
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

/// Reads everything once; kUnroll loads of 16 bytes are on their way before the first is used.
template <int kUnroll>
__global__ void readAll(const uint4* data, size_t count, unsigned* sink) {
  unsigned sum = 0;
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x * kUnroll;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x * kUnroll + threadIdx.x; i < count;
       i += step) {
    uint4 v[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (i + u * blockDim.x < count)
        asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(v[u].x), "=r"(v[u].y), "=r"(v[u].z), "=r"(v[u].w)
                     : "l"(data + i + u * blockDim.x));
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (i + u * blockDim.x < count) sum ^= v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
  }
  if (sum == 0x12345678u) *sink = sum;
}

__global__ void fillNoise(uint4* data, size_t count) {
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    unsigned z = static_cast<unsigned>(i * 2654435761u);
    data[i] = {z, z ^ 0x9e3779b9u, z * 747796405u, z + 0x85ebca6bu};
  }
}
__global__ void nothing() {}

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

template <int kUnroll>
double bestRead(const uint4* data, size_t bytes, unsigned* sink, int processors) {
  double best = 0;
  for (int threads : {256, 512, 1024}) {
    for (int blocks : {1, 2, 4, 8}) {
      if (threads * blocks > 2048) continue;
      Times t = measure(
          20, [&] { readAll<kUnroll><<<processors * blocks, threads>>>(data, bytes / 16, sink); });
      CHECK(cudaGetLastError());
      const double gb_s = bytes / t.median() / 1e6;
      best = std::max(best, gb_s);
      std::printf(
          "{\"limit\": \"read\", \"unroll\": %d, \"threads\": %d, \"blocks_per_sm\": %d, "
          "\"kb_in_flight_per_sm\": %d, "
          "\"gb_s\": %.1f, \"spread\": [%.1f, %.1f]}\n",
          kUnroll, threads, blocks, kUnroll * threads * blocks * 16 / 1024, gb_s,
          bytes / t.ms.back() / 1e6, bytes / t.ms.front() / 1e6);
      std::fflush(stdout);
    }
  }
  return best;
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
      std::max({bestRead<1>(a, bytes, sink, sms), bestRead<2>(a, bytes, sink, sms),
                bestRead<4>(a, bytes, sink, sms), bestRead<8>(a, bytes, sink, sms)});
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
  // A hundred empty kernels in a row, as a graph.
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CHECK(cudaStreamCreate(&stream));
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  for (int i = 0; i < 100; ++i) nothing<<<sms, 256, 0, stream>>>();
  CHECK(cudaStreamEndCapture(stream, &graph));
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  Times empty = measure(50, [&] { CHECK(cudaGraphLaunch(exec, nullptr)); });
  std::printf("{\"limit\": \"graph_kernel_us\", \"us\": %.3f}\n", empty.median() * 10);
  return 0;
}
