#include "codegen/cuda/Nvrtc.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <sstream>

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

namespace llmc::cuda {
namespace {

namespace fs = std::filesystem;

using Program = void*;

/// The functions of NVRTC that we call. Their C declarations are stable since CUDA 11.1.
struct Nvrtc {
  int (*version)(int*, int*) = nullptr;
  int (*createProgram)(Program*, const char*, const char*, int, const char* const*,
                       const char* const*) = nullptr;
  int (*destroyProgram)(Program*) = nullptr;
  int (*compileProgram)(Program, int, const char* const*) = nullptr;
  int (*logSize)(Program, size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*cubinSize)(Program, size_t*) = nullptr;
  int (*cubin)(Program, char*) = nullptr;
  int (*ptxSize)(Program, size_t*) = nullptr;
  int (*ptx)(Program, char*) = nullptr;
  const char* (*errorString)(int) = nullptr;
};

/// A name the loader resolves (its cache, LD_LIBRARY_PATH), or a path where installers put it.
std::vector<std::string> candidates() {
  std::vector<std::string> paths = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* home = std::getenv(variable);
    if (home) paths.push_back(std::string(home) + "/lib64/libnvrtc.so");
  }
  paths.push_back("/usr/local/cuda/lib64/libnvrtc.so");
  // Wheels of pip: <environment>/lib/python3.*/site-packages/nvidia/*/lib.
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    const char* environment = std::getenv(variable);
    if (!environment) continue;
    std::error_code ignored;
    for (const auto& python : fs::directory_iterator(std::string(environment) + "/lib", ignored)) {
      for (const auto& package :
           fs::directory_iterator(python.path() / "site-packages/nvidia", ignored)) {
        for (const auto& file : fs::directory_iterator(package.path() / "lib", ignored)) {
          const std::string name = file.path().filename().string();
          if (name.starts_with("libnvrtc.so.")) paths.push_back(file.path().string());
        }
      }
    }
  }
  return paths;
}

/// Loaded once and kept: NVRTC does not survive being unloaded.
const Nvrtc* loadNvrtc() {
  static const Nvrtc* const loaded = []() -> const Nvrtc* {
    for (const std::string& path : candidates()) {
      void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (!library) continue;
      // NVRTC opens its builtins by name, which the loader finds only where it already has them.
      if (fs::path(path).has_parent_path()) {
        std::error_code ignored;
        for (const auto& file : fs::directory_iterator(fs::path(path).parent_path(), ignored)) {
          const std::string name = file.path().filename().string();
          if (name.starts_with("libnvrtc-builtins.so"))
            dlopen(file.path().c_str(), RTLD_NOW | RTLD_LOCAL);
        }
      }
      auto* nvrtc = new Nvrtc;
      const auto find = [library](auto& function, const char* name) {
        function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
        return function != nullptr;
      };
      if (find(nvrtc->version, "nvrtcVersion") &&
          find(nvrtc->createProgram, "nvrtcCreateProgram") &&
          find(nvrtc->destroyProgram, "nvrtcDestroyProgram") &&
          find(nvrtc->compileProgram, "nvrtcCompileProgram") &&
          find(nvrtc->logSize, "nvrtcGetProgramLogSize") &&
          find(nvrtc->log, "nvrtcGetProgramLog") && find(nvrtc->cubinSize, "nvrtcGetCUBINSize") &&
          find(nvrtc->cubin, "nvrtcGetCUBIN") && find(nvrtc->ptxSize, "nvrtcGetPTXSize") &&
          find(nvrtc->ptx, "nvrtcGetPTX") && find(nvrtc->errorString, "nvrtcGetErrorString"))
        return nvrtc;
      delete nvrtc;
    }
    return nullptr;
  }();
  return loaded;
}

llvm::Error failure(const std::string& message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

/// Writes the source to a file of its own, to be looked at; its path, "" where it cannot be
/// written.
std::string keepSource(const std::string& source) {
  int fd = -1;
  llvm::SmallString<128> path;
  if (llvm::sys::fs::createTemporaryFile("llmc", "cu", fd, path)) return "";
  llvm::raw_fd_ostream file(fd, /*shouldClose=*/true);
  file << source;
  file.close();
  if (!file.has_error()) return std::string(path);
  file.clear_error();
  return "";
}

}  // namespace

llvm::Error checkNvrtc() {
  if (loadNvrtc()) return llvm::Error::success();
  return failure(
      "NVIDIA's compiler NVRTC is not installed: pip install nvidia-cuda-nvrtc (in an active "
      "virtual environment), or the CUDA toolkit");
}

std::string nvrtcBuild() {
  const Nvrtc* const nvrtc = loadNvrtc();
  if (!nvrtc) return "";
  int major = 0, minor = 0;
  nvrtc->version(&major, &minor);
  Dl_info library = {};
  std::error_code unknown;
  uintmax_t bytes = 0;
  if (dladdr(reinterpret_cast<void*>(nvrtc->version), &library) && library.dli_fname)
    bytes = fs::file_size(library.dli_fname, unknown);
  return fmt::format("{}.{}, {} bytes", major, minor, unknown ? 0 : bytes);
}

llvm::Expected<Binary> compileCuda(const std::string& source, const std::string& arch) {
  if (llvm::Error missing = checkNvrtc()) return missing;
  const Nvrtc& nvrtc = *loadNvrtc();
  const bool ptx = arch.starts_with("compute_");
  Program program = nullptr;
  if (int error = nvrtc.createProgram(&program, source.c_str(), "llmc.cu", 0, nullptr, nullptr))
    return failure(fmt::format("NVRTC: {}", nvrtc.errorString(error)));
  const std::string arch_option = "--gpu-architecture=" + arch;
  // Products and sums are one instruction where the text says fmaf, and nowhere else: what the
  // compiler would join differs from one kernel to the next, and so would a row's bits.
  std::vector<const char*> options = {arch_option.c_str(), "--std=c++17", "--fmad=false"};
  if (!ptx) options.push_back("--ptxas-options=-v");
  const int error = nvrtc.compileProgram(program, static_cast<int>(options.size()), options.data());
  const auto text = [&](auto size_of, auto get) {
    size_t size = 0;
    std::vector<uint8_t> bytes;
    if (size_of(program, &size) != 0) return bytes;
    bytes.resize(size);
    if (size > 0 && get(program, reinterpret_cast<char*>(bytes.data())) != 0) bytes.clear();
    return bytes;
  };
  const std::vector<uint8_t> log_bytes = text(nvrtc.logSize, nvrtc.log);
  const std::string log(log_bytes.begin(), std::find(log_bytes.begin(), log_bytes.end(), 0));
  Binary binary;
  if (error == 0)
    binary.image = ptx ? text(nvrtc.ptxSize, nvrtc.ptx) : text(nvrtc.cubinSize, nvrtc.cubin);
  nvrtc.destroyProgram(&program);
  if (error != 0)
    return failure(fmt::format("NVRTC for {}: {}: {} (source: {})", arch, nvrtc.errorString(error),
                               log, keepSource(source)));
  if (binary.image.empty()) return failure(fmt::format("NVRTC for {} gave no code", arch));
  if (!ptx) binary.resources = parsePtxasLog(log);
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find("Potential Performance Loss");
    if (at != std::string::npos) binary.warnings.push_back(line.substr(at));
  }
  int major = 0, minor = 0;
  nvrtc.version(&major, &minor);
  // Drivers load machine code of any minor version of their major one; PTX must not be newer than
  // the driver.
  binary.minDriver = static_cast<uint32_t>(major * 1000 + (ptx ? minor * 10 : 0));
  return binary;
}

std::map<std::string, Resources> parsePtxasLog(const std::string& log) {
  static const std::regex function("Compiling entry function '([^']+)'");
  static const std::regex spills("([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads");
  static const std::regex registers("Used ([0-9]+) registers");
  static const std::regex shared("([0-9]+) bytes smem");
  std::map<std::string, Resources> resources;
  Resources* current = nullptr;
  std::istringstream lines(log);
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_search(line, match, function)) current = &resources[match[1]];
    if (!current) continue;
    const auto number = [&](size_t i) { return static_cast<uint32_t>(std::stoul(match[i])); };
    if (std::regex_search(line, match, spills)) current->spillBytes = number(1) + number(2);
    if (std::regex_search(line, match, registers)) current->registers = number(1);
    if (std::regex_search(line, match, shared)) current->sharedBytes = number(1);
  }
  return resources;
}

}  // namespace llmc::cuda
