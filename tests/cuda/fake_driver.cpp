// A libcuda for tests: device memory is the host's, kernels are those that the fake NVRTC compiled
// against the shim, and a stream does at once what it is told, or as late as a GPU may. Memory that
// nothing wrote is NaN. What it plays is set by the environment:
//   LLMC_FAKE_CUDA_DEVICES (1), _CAPABILITY (80), _DRIVER (13000), _MEMORY (free bytes, 8 GiB)
//   _HANG, _SKIP=TEXT: a kernel whose name holds TEXT never ends, or does nothing
//   _LATE: a stream's work is done when it is waited for, a piece at each query
//   _FAIL_INIT, _FAIL_ALLOCATION=N, _FAIL_LAUNCH=N: cuInit, the N-th allocation, or the N-th kernel
//   fails (from 1)
//   _FAIL_CALL=FUNCTION:N: so does the N-th call of that function
//   _LOG=FILE: a line for each copy to the device ("copy BYTES COPIES_ON_THEIR_WAY"), each graph
//   ("graph NODES PROGRAMMATIC_EDGES"), each kernel launched outside of one ("launch NAME", then
//   " programmatic" if it may begin early) and each function's share of L1 ("carveout PERCENT")
// Compiled with FAKE_OLDER_THAN=VERSION it lacks the functions that came with that version.
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#ifndef FAKE_OLDER_THAN
#define FAKE_OLDER_THAN 99000
#endif

namespace {

constexpr int kInvalidValue = 1, kOutOfMemory = 2, kNoDevice = 100, kInvalidImage = 200,
              kNotFound = 500, kNotReady = 600, kLaunchFailed = 719, kUnknown = 999;

// What every kernel declares of shared memory, as far as the driver knows: about the most that one
// does.
constexpr int kStaticShared = 4352;

int64_t setting(const char* name, int64_t otherwise) {
  const char* text = std::getenv((std::string("LLMC_FAKE_CUDA_") + name).c_str());
  return text ? std::atoll(text) : otherwise;
}

void log(const std::string& line) {
  const char* path = std::getenv("LLMC_FAKE_CUDA_LOG");
  if (!path) return;
  if (std::FILE* file = std::fopen(path, "a")) {
    std::fprintf(file, "%s\n", line.c_str());
    std::fclose(file);
  }
}

/// Whether this is a kernel that the test has named.
bool isNamed(const char* variable, const std::string& kernel) {
  const char* text = std::getenv(variable);
  return text && kernel.find(text) != std::string::npos;
}

using Launch = int (*)(void (*)(), const void*, unsigned, const unsigned*, unsigned, unsigned,
                       unsigned);

struct Module {
  void* library = nullptr;
  int fd = -1;
};
struct Function {
  std::string name;
  void (*kernel)() = nullptr;
  Launch launch = nullptr;
  unsigned argument_bytes = 0;
  int most_dynamic = (48 << 10) - kStaticShared;  // unless the program asks for more
  unsigned most_threads = 1024;
  unsigned cluster = 1;  // blocks of one
};
struct Event {
  double ms = -1;       // when it was reached
  uint64_t ticket = 0;  // of the piece of work that reaches it
};
struct Node {
  const Function* function;
  std::vector<char> argument;
  unsigned grid[3], threads, dynamic;
  Event* event = nullptr;  // in place of a kernel
};
struct Graph {
  std::vector<Node> nodes;
  int programmatic = 0;
};

constexpr int64_t kDeviceBytes = int64_t{8} << 30;

std::map<void*, size_t> memory;  // what was handed out,
uint64_t device_bytes = 0;       // so much of it the device's
int64_t allocations = 0, launches = 0;
int contexts = 0;     // retained and not released: one for each device that a program has open
int64_t handles = 0;  // streams, events, modules and graphs that were not given back
double clock_ms = 0;  // a microsecond a block has run

/// Whether the call at hand of `function` is the one that the test wants to fail.
bool shallFail(const char* function) {
  static std::map<std::string, int64_t> calls;
  const char* text = std::getenv("LLMC_FAKE_CUDA_FAIL_CALL");
  if (!text) return false;
  return std::string(text) == std::string(function) + ':' + std::to_string(++calls[function]);
}
#define LLMC_MAY_FAIL \
  if (shallFail(__func__)) return kUnknown

// What a stream was told and has not done; programs have one stream. An error ends it all.
std::deque<std::function<int()>> queued;
uint64_t pieces = 0, done = 0;
int copies_queued = 0, broken = 0;

int doNext() {
  const auto work = std::move(queued.front());
  queued.pop_front();
  ++done;
  broken = work();
  if (broken) queued.clear();
  return broken;
}
int doAll() {
  while (!broken && !queued.empty()) doNext();
  return broken;
}
int tellStream(std::function<int()> work) {
  if (broken) return broken;
  ++pieces;
  if (setting("LATE", 0)) {
    queued.push_back(std::move(work));
    return 0;
  }
  ++done;
  return work();
}

int allocate(void** out, size_t bytes) {
  if (++allocations == setting("FAIL_ALLOCATION", 0) || bytes == 0) return kOutOfMemory;
  if (posix_memalign(out, 256, bytes) != 0) return kOutOfMemory;
  std::memset(*out, 0xff, bytes);
  memory[*out] = bytes;
  return 0;
}
int release(void* p) {
  if (memory.erase(p) != 1) {
    std::fprintf(stderr, "fake driver: frees what it never handed out\n");
    std::abort();
  }
  std::free(p);
  return 0;
}
bool inside(const void* p, size_t bytes) {
  auto after = memory.upper_bound(const_cast<void*>(p));
  if (after == memory.begin()) return false;
  --after;
  return static_cast<const char*>(p) + bytes <=
         static_cast<const char*>(after->first) + after->second;
}

int runNode(const Node& node) {
  if (node.event) {
    node.event->ms = clock_ms;
    return 0;
  }
  clock_ms += 1e-3 * node.grid[0] * node.grid[1] * node.grid[2];
  if (++launches == setting("FAIL_LAUNCH", 0)) return kLaunchFailed;
  if (node.grid[0] == 0 || node.grid[1] == 0 || node.grid[2] == 0 || node.grid[1] > 65535 ||
      node.grid[2] > 65535 || node.grid[0] % node.function->cluster != 0 || node.threads == 0 ||
      node.threads > node.function->most_threads ||
      static_cast<int>(node.dynamic) > node.function->most_dynamic)
    return kInvalidValue;
  if (isNamed("LLMC_FAKE_CUDA_SKIP", node.function->name)) return 0;
  while (isNamed("LLMC_FAKE_CUDA_HANG", node.function->name)) pause();
  return node.function->launch(node.function->kernel, node.argument.data(),
                               node.function->argument_bytes, node.grid, node.threads, node.dynamic,
                               node.function->cluster)
             ? kInvalidValue
             : 0;
}

Node makeNode(void* function, const unsigned grid[3], unsigned threads, unsigned dynamic,
              void** arguments) {
  Node node{
      static_cast<Function*>(function), {}, {grid[0], grid[1], grid[2]}, threads, dynamic, nullptr};
  const char* argument = static_cast<const char*>(arguments[0]);
  node.argument.assign(argument,
                       argument + node.function->argument_bytes);  // copied, as the driver does
  return node;
}

struct KernelNodeParams {  // CUgraphNodeParams of a kernel, or of an event (7)
  int type, reserved0[3];
  void* function;  // or the event
  unsigned grid[3], block[3], dynamic;
  void** arguments;
};
struct Edge {
  unsigned char from_port, to_port, type, reserved[5];
};

}  // namespace

extern "C" {

int cuInit(unsigned) {
  LLMC_MAY_FAIL;
  return setting("FAIL_INIT", 0) ? kNoDevice : 0;
}
int cuDriverGetVersion(int* version) {
  LLMC_MAY_FAIL;
  *version = static_cast<int>(setting("DRIVER", 13000));
  return 0;
}
int cuDeviceGetCount(int* count) {
  LLMC_MAY_FAIL;
  *count = static_cast<int>(setting("DEVICES", 1));
  return 0;
}
int cuDeviceGet(int* device, int ordinal) {
  LLMC_MAY_FAIL;
  *device = ordinal;
  return 0;
}
int cuDeviceGetName(char* name, int size, int) {
  LLMC_MAY_FAIL;
  std::snprintf(name, static_cast<size_t>(size), "Fake GPU");
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  LLMC_MAY_FAIL;
  const int capability = static_cast<int>(setting("CAPABILITY", 80));
  if (attribute == 75)
    *value = capability / 10;
  else if (attribute == 76)
    *value = capability % 10;
  else if (attribute == 16)
    *value = 4;
  else
    return kInvalidValue;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int) {
  LLMC_MAY_FAIL;
  static int it;
  *context = &it;
  ++contexts;
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) {
  if (--contexts > 0 || (memory.empty() && handles == 0)) return 0;
  std::fprintf(stderr, "fake driver: %zu allocations and %lld handles were not given back\n",
               memory.size(), static_cast<long long>(handles));
  std::abort();
}
int cuCtxSetCurrent(void*) {
  LLMC_MAY_FAIL;
  return 0;
}
int cuMemGetInfo_v2(size_t* free, size_t* total) {
  LLMC_MAY_FAIL;
  *total = kDeviceBytes;
  *free = static_cast<size_t>(setting("MEMORY", kDeviceBytes)) - device_bytes;
  return 0;
}

int cuModuleLoadData(void** out, const void* image) {
  LLMC_MAY_FAIL;
  const auto* header = static_cast<const Elf64_Ehdr*>(image);
  if (reinterpret_cast<uintptr_t>(image) % alignof(Elf64_Ehdr) != 0) return kInvalidImage;
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return kInvalidImage;
  const size_t size = header->e_shoff + size_t{header->e_shnum} * header->e_shentsize;
  auto module = new Module;
  module->fd = memfd_create("fake-cubin", MFD_CLOEXEC);
  for (size_t done = 0; done < size;) {
    const ssize_t n = write(module->fd, static_cast<const char*>(image) + done, size - done);
    if (n <= 0) return kInvalidImage;
    done += static_cast<size_t>(n);
  }
  module->library =
      dlopen(("/proc/self/fd/" + std::to_string(module->fd)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module->library) {
    std::fprintf(stderr, "fake driver: %s\n", dlerror());
    return kInvalidImage;
  }
  ++handles;
  *out = module;
  return 0;
}
int cuModuleUnload(void* module) {
  --handles;
  delete static_cast<Module*>(module);  // the library stays: fibers may have touched its memory
  return 0;
}
int cuModuleGetFunction(void** out, void* module, const char* name) {
  LLMC_MAY_FAIL;
  static std::map<std::pair<void*, std::string>, Function> functions;
  void* library = static_cast<Module*>(module)->library;
  void* kernel = dlsym(library, name);
  if (!kernel) return kNotFound;
  Function& f = functions[{library, name}];
  f.name = name;
  f.kernel = reinterpret_cast<void (*)()>(kernel);
  f.launch = reinterpret_cast<Launch>(dlsym(library, "llmc_shim_launch"));
  const auto* bytes = static_cast<const unsigned*>(dlsym(library, "llmc_shim_argument_bytes"));
  if (!bytes) return kNotFound;
  f.argument_bytes = bytes[std::strncmp(name, "llmc_relayout", 13) == 0 ? 1
                           : std::strcmp(name, "llmc_sample") == 0      ? 2
                                                                        : 0];
  const auto* threads = static_cast<const unsigned*>(dlsym(library, (f.name + "_threads").c_str()));
  if (threads) f.most_threads = *threads;
  const auto* cluster = static_cast<const unsigned*>(dlsym(library, (f.name + "_cluster").c_str()));
  if (cluster) f.cluster = *cluster;
  *out = &f;
  return f.launch ? 0 : kNotFound;
}
int cuFuncSetAttribute(void* function, int attribute, int value) {
  LLMC_MAY_FAIL;
  if (attribute == 9 && value >= -1 && value <= 100) {
    log("carveout " + std::to_string(value));
    return 0;
  }
  if (attribute != 8 || value > 227 << 10) return kInvalidValue;
  static_cast<Function*>(function)->most_dynamic = value;
  return 0;
}

int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  LLMC_MAY_FAIL;
  const auto most = static_cast<uint64_t>(setting("MEMORY", kDeviceBytes));
  if (device_bytes + bytes > most) return kOutOfMemory;
  if (const int error = allocate(reinterpret_cast<void**>(address), bytes)) return error;
  device_bytes += bytes;
  return 0;
}
int cuMemFree_v2(uint64_t address) {
  doAll();  // it waits
  if (const auto found = memory.find(reinterpret_cast<void*>(address)); found != memory.end())
    device_bytes -= found->second;
  return release(reinterpret_cast<void*>(address));
}
int cuMemHostAlloc(void** p, size_t bytes, unsigned) {
  LLMC_MAY_FAIL;
  return allocate(p, bytes);
}
int cuMemFreeHost(void* p) { return release(p); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
  LLMC_MAY_FAIL;
  if (!inside(reinterpret_cast<void*>(to), bytes)) return kInvalidValue;
  log("copy " + std::to_string(bytes) + ' ' + std::to_string(copies_queued));
  ++copies_queued;
  return tellStream([=] {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    --copies_queued;
    return 0;
  });
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
  LLMC_MAY_FAIL;
  if (!inside(reinterpret_cast<void*>(from), bytes)) return kInvalidValue;
  return tellStream([=] {
    std::memcpy(to, reinterpret_cast<void*>(from), bytes);
    return 0;
  });
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
  LLMC_MAY_FAIL;
  if (!inside(reinterpret_cast<void*>(to), bytes) || !inside(reinterpret_cast<void*>(from), bytes))
    return kInvalidValue;
  return tellStream([=] {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    return 0;
  });
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void*) {
  LLMC_MAY_FAIL;
  if (!inside(reinterpret_cast<void*>(to), bytes)) return kInvalidValue;
  return tellStream([=] {
    std::memset(reinterpret_cast<void*>(to), value, bytes);
    return 0;
  });
}

int cuStreamCreate(void** stream, unsigned) {
  LLMC_MAY_FAIL;
  ++handles;
  *stream = new int;
  return 0;
}
int cuStreamSynchronize(void*) {
  LLMC_MAY_FAIL;
  return doAll();
}
int cuStreamQuery(void*) {
  LLMC_MAY_FAIL;
  if (!broken && !queued.empty()) doNext();
  return broken ? broken : queued.empty() ? 0 : kNotReady;
}
int cuStreamDestroy_v2(void* stream) {
  --handles;
  delete static_cast<int*>(stream);
  return 0;
}
int cuEventCreate(void** event, unsigned) {
  LLMC_MAY_FAIL;
  ++handles;
  *event = new Event;
  return 0;
}
int cuEventRecord(void* handle, void*) {
  LLMC_MAY_FAIL;
  auto* const event = static_cast<Event*>(handle);
  event->ticket = pieces + 1;
  return tellStream([event] {
    event->ms = clock_ms;
    return 0;
  });
}
int cuEventElapsedTime(float* ms, void* from, void* to) {
  LLMC_MAY_FAIL;
  const double begin = static_cast<Event*>(from)->ms, end = static_cast<Event*>(to)->ms;
  *ms = static_cast<float>(end - begin);
  return begin < 0 || end < begin ? kInvalidValue : 0;
}
int cuEventSynchronize(void* event) {
  LLMC_MAY_FAIL;
  while (!broken && done < static_cast<Event*>(event)->ticket) doNext();
  return broken;
}
int cuEventDestroy_v2(void* event) {
  --handles;
  delete static_cast<Event*>(event);
  return 0;
}

int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned,
                   unsigned, unsigned dynamic, void*, void** arguments, void**) {
  LLMC_MAY_FAIL;
  const unsigned grid[3] = {x, y, z};
  log("launch " + static_cast<Function*>(function)->name);
  return tellStream(
      [node = makeNode(function, grid, threads, dynamic, arguments)] { return runNode(node); });
}

struct LaunchAttribute {
  int id, padding, value, rest[15];
};
struct LaunchConfig {
  unsigned grid[3], block[3], dynamic;
  void* stream;
  const LaunchAttribute* attributes;
  unsigned count;
};
#if FAKE_OLDER_THAN > 11080
int cuLaunchKernelEx(const LaunchConfig* config, void* function, void** arguments, void**) {
  LLMC_MAY_FAIL;
  if (config->count != 1 || config->attributes->id != 6 || config->attributes->value != 1)
    return kInvalidValue;
  log("launch " + static_cast<Function*>(function)->name + " programmatic");
  return tellStream([node = makeNode(function, config->grid, config->block[0], config->dynamic,
                                     arguments)] { return runNode(node); });
}
#endif

int cuGraphCreate(void** graph, unsigned) {
  LLMC_MAY_FAIL;
  ++handles;
  *graph = new Graph;
  return 0;
}
#if FAKE_OLDER_THAN > 12030
int cuGraphAddNode_v2(void** node, void* handle, void* const* after, const Edge* edges,
                      size_t count, const KernelNodeParams* params) {
  LLMC_MAY_FAIL;
  auto& graph = *static_cast<Graph*>(handle);
  // Only chains: the first node has no predecessor, any other the one before.
  if ((params->type != 0 && params->type != 7) || count != (graph.nodes.empty() ? 0u : 1u))
    return kInvalidValue;
  if (count && reinterpret_cast<uintptr_t>(after[0]) != graph.nodes.size()) return kInvalidValue;
  if (count && edges) {
    if (edges[0].from_port != 1 || edges[0].type != 1) return kInvalidValue;
    ++graph.programmatic;
  }
  if (params->type == 7) {
    graph.nodes.push_back({nullptr, {}, {}, 0, 0, static_cast<Event*>(params->function)});
    *node = reinterpret_cast<void*>(graph.nodes.size());
    return 0;
  }
  graph.nodes.push_back(makeNode(params->function, params->grid, params->block[0], params->dynamic,
                                 params->arguments));
  *node = reinterpret_cast<void*>(graph.nodes.size());
  return 0;
}
#endif
#if FAKE_OLDER_THAN > 11040
int cuGraphInstantiateWithFlags(void** exec, void* handle, unsigned long long) {
  LLMC_MAY_FAIL;
  const auto& graph = *static_cast<Graph*>(handle);
  log("graph " + std::to_string(graph.nodes.size()) + ' ' + std::to_string(graph.programmatic));
  ++handles;
  *exec = new Graph(graph);
  return 0;
}
#endif
int cuGraphLaunch(void* exec, void*) {
  LLMC_MAY_FAIL;
  return tellStream([nodes = static_cast<Graph*>(exec)->nodes] {
    for (const Node& node : nodes)
      if (const int error = runNode(node)) return error;
    return 0;
  });
}
int cuGraphDestroy(void* graph) {
  --handles;
  delete static_cast<Graph*>(graph);
  return 0;
}
int cuGraphExecDestroy(void* exec) {
  --handles;
  delete static_cast<Graph*>(exec);
  return 0;
}

int cuGetErrorName(int error, const char** name) {
  *name = error == kOutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : error == kNoDevice     ? "CUDA_ERROR_NO_DEVICE"
          : error == kInvalidImage ? "CUDA_ERROR_INVALID_IMAGE"
          : error == kNotFound     ? "CUDA_ERROR_NOT_FOUND"
          : error == kLaunchFailed ? "CUDA_ERROR_LAUNCH_FAILED"
          : error == kUnknown      ? "CUDA_ERROR_UNKNOWN"
                                   : "CUDA_ERROR_INVALID_VALUE";
  return 0;
}
int cuGetErrorString(int, const char** text) {
  *text = "as the test asked";
  return 0;
}

}  // extern "C"
