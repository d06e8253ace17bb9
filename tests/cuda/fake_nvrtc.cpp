// A libnvrtc for tests: "compiles" CUDA C++ with the host's compiler against the shim. Its cubin is
// the shared object itself, which the fake driver beside it loads; its PTX says only that it is
// one. What was compiled once is not compiled again, whichever llmc asks for it.
// LLMC_FAKE_NVRTC_FAIL: every compilation fails with that text as log.
// LLMC_FAKE_NVRTC_PTX: PTX is a shared object too, which the fake driver runs.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/cache/test_cache.h"
#include "tests/cuda/shim_key.h"

namespace {

struct Program {
  std::string source, log, cubin, ptx;
};

std::string readFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

int runCompiler(const std::vector<std::string>& args, const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& a : args) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/// body(name, most threads, blocks of a cluster) for each kernel.
template <class Body>
void forKernels(const std::string& source, Body body) {
  const std::string marker = "extern \"C\" __global__ void __launch_bounds__(",
                    clusters = "__cluster_dims__(";
  for (size_t at = 0; (at = source.find(marker, at)) != std::string::npos;) {
    at += marker.size();
    const int threads = std::atoi(source.c_str() + at);
    int cluster = 1;
    at = source.find(") ", at) + 2;
    if (source.compare(at, clusters.size(), clusters) == 0) {
      cluster = std::atoi(source.c_str() + at + clusters.size());
      at = source.find(") ", at) + 2;
    }
    body(source.substr(at, source.find('(', at) - at), threads, cluster);
  }
}

// What ptxas would say of each kernel.
std::string resourceLog(const std::string& source) {
  std::string log;
  forKernels(source, [&](const std::string& name, int, int) {
    log +=
        "ptxas info    : Compiling entry function '" + name +
        "' for 'sm_80'\nptxas info    : Function properties for " + name +
        "\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n" +
        "ptxas info    : Used 42 registers, used 1 barriers, 1152 bytes smem, 464 bytes cmem[0]\n";
  });
  return log;
}

/// The shared object of these kernels, which the host's compiler makes once; "" and its complaint
/// where it refuses them.
std::string compileOnce(const std::string& source, std::string* log) {
  std::string unit =
      "#include \"" SHIM_DIR "/shim.h\"\n#include \"kernels.cu\"\n#include \"" SHIM_DIR
      "/shim_launch.h\"\n";
  // For the fake driver.
  forKernels(source, [&](const std::string& name, int threads, int cluster) {
    const std::string constant = "extern \"C\" const unsigned " + name;
    unit += constant + "_threads = " + std::to_string(threads) + ";\n" + constant +
            "_cluster = " + std::to_string(cluster) + ";\n";
  });
  std::vector<std::string> args = {
      SHIM_CXX,           "-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-fno-strict-aliasing",
      "-ffp-contract=off"};
  // What costs GCC a fifth of its time and gains nothing: the shim's time is in switching fibers.
  args.insert(args.end(),
              {"-fno-exceptions", "-fno-asynchronous-unwind-tables", "-fno-tree-dominator-opts",
               "-fno-tree-loop-optimize", "-fno-ipa-modref", "-fno-ipa-pure-const"});
  // Else each fma() is a call. It gives the same bits.
  if (__builtin_cpu_supports("fma")) args.push_back("-mfma");
  if (*SHIM_SANITIZE) args.push_back("-fsanitize=" SHIM_SANITIZE);
  llmc_tests::CacheKey makers, key;
  llmc::test::addShim(makers, SHIM_DIR);
  makers.add(SHIM_CXX_VERSION);
  for (const std::string& arg : args) makers.add(arg);
  key.add(source);
  key.add(unit);
  const llmc_tests::TestCache cache(SHIM_CACHE, makers);
  const std::string folder = cache.folder("kernels", key, [&](const std::string& to) {
    std::ofstream(to + "/kernels.cu") << source;
    std::ofstream(to + "/unit.cpp") << unit;
    args.insert(args.end(), {to + "/unit.cpp", "-o", to + "/kernels.so"});
    const int status = runCompiler(args, to + "/log");
    *log = readFile(to + "/log");
    return status == 0;
  });
  return folder.empty() ? "" : folder + "/kernels.so";
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return 0;
}
const char* nvrtcGetErrorString(int error) {
  return error ? "NVRTC_ERROR_COMPILATION" : "NVRTC_SUCCESS";
}

int nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*,
                       const char* const*) {
  *program = new Program{source, "", "", ""};
  return 0;
}
int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return 0;
}

int nvrtcCompileProgram(void* handle, int count, const char* const* options) {
  auto& program = *static_cast<Program*>(handle);
  if (const char* text = std::getenv("LLMC_FAKE_NVRTC_FAIL")) {
    program.log = text;
    return 6;
  }
  // Without it products and sums are joined as NVRTC likes, and bits depend on the kernel.
  if (std::none_of(options, options + count,
                   [](const char* option) { return !std::strcmp(option, "--fmad=false"); })) {
    program.log = "the tests' NVRTC wants --fmad=false";
    return 6;
  }
  bool ptx = false;
  for (int i = 0; i < count; ++i) {
    ptx = ptx || std::strstr(options[i], "compute_");
    if (ptx && !std::getenv("LLMC_FAKE_NVRTC_PTX")) {
      program.ptx = "//\n.version 9.0\n.target sm_80\n// made by the tests' NVRTC\n";
      return 0;
    }
  }
  const std::string library = compileOnce(program.source, &program.log);
  if (library.empty()) return 6;
  program.log = resourceLog(program.source);
  (ptx ? program.ptx : program.cubin) = readFile(library);
  return 0;
}

int nvrtcGetProgramLogSize(void* handle, size_t* size) {
  *size = static_cast<Program*>(handle)->log.size() + 1;
  return 0;
}
int nvrtcGetProgramLog(void* handle, char* log) {
  std::strcpy(log, static_cast<Program*>(handle)->log.c_str());
  return 0;
}
int nvrtcGetCUBINSize(void* handle, size_t* size) {
  *size = static_cast<Program*>(handle)->cubin.size();
  return 0;
}
int nvrtcGetCUBIN(void* handle, char* out) {
  const std::string& cubin = static_cast<Program*>(handle)->cubin;
  std::memcpy(out, cubin.data(), cubin.size());
  return 0;
}
int nvrtcGetPTXSize(void* handle, size_t* size) {
  *size = static_cast<Program*>(handle)->ptx.size() + 1;
  return 0;
}
int nvrtcGetPTX(void* handle, char* out) {
  const std::string& ptx = static_cast<Program*>(handle)->ptx;
  std::memcpy(out, ptx.c_str(), ptx.size() + 1);
  return 0;
}

}  // extern "C"
