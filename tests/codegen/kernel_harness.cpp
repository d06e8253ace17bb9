#include "kernel_harness.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include "mlir/Parser/Parser.h"
#include "runtime/executor/cpu_features.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/weight_format.h"
#include "tests/aarch64_cpus.h"
#include "tests/codegen/emulated_call.h"
#include "tests/sampling.h"

namespace llmc::test {

namespace {

struct Compiled {
  cpu::TargetImage image;
  std::map<std::string, std::vector<std::string>> operands;  // names, of each kernel
};

/// Parses and compiles; fails the calling test when either is not possible.
std::optional<Compiled> compileText(const std::string& text, const cpu::CpuTarget& target,
                                    cpu::Emit emit, const cpu::CpuTuning* tuning = nullptr) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module) {
    ADD_FAILURE() << "does not parse: " << text;
    return std::nullopt;
  }
  llm::ModelOp model = *module->getOps<llm::ModelOp>().begin();
  auto image = cpu::compileKernels(model, target, emit, tuning);
  if (!image) {
    ADD_FAILURE() << llvm::toString(image.takeError());
    return std::nullopt;
  }
  Compiled compiled{.image = std::move(*image)};
  for (auto kernel : model.getOps<llm::KernelOp>())
    for (const llm::KernelOperand& operand : kernel.getComputeOp().getKernelOperands())
      compiled.operands[kernel.getSymName().str()].push_back(operand.name.str());
  return compiled;
}

/// Of the running test in its suite.
int numberOfTest() {
  const testing::TestSuite& suite = *testing::UnitTest::GetInstance()->current_test_suite();
  int number = 0;
  while (suite.GetTestInfo(number) != testing::UnitTest::GetInstance()->current_test_info())
    ++number;
  return number;
}

bool isForAnotherMachine(const cpu::CpuTarget& target) {
  return llvm::Triple(target.triple).getArch() !=
         llvm::Triple(llvm::sys::getProcessTriple()).getArch();
}

}  // namespace

std::string emitLlvm(const std::string& model, const cpu::CpuTarget& target) {
  auto compiled = compileText(model, target, cpu::Emit::llvm);
  return compiled ? compiled->image.text : "";
}

std::string emitAssembly(const std::string& model, const cpu::CpuTarget& target) {
  auto compiled = compileText(model, target, cpu::Emit::assembly);
  return compiled ? compiled->image.text : "";
}

std::unique_ptr<LoadedKernels> LoadedKernels::compile(const std::string& text,
                                                      const cpu::CpuTarget& target,
                                                      const cpu::CpuTuning* tuning) {
  auto compiled = compileText(text, target, cpu::Emit::none, tuning);
  if (!compiled) return nullptr;
  const std::vector<uint8_t>& image = compiled->image.image;
  auto loaded = std::make_unique<LoadedKernels>();
  if (isForAnotherMachine(target)) {
    loaded->emulatedBy_ = llmc_tests::emulatedCpu(target.name);
    loaded->image_ = testing::TempDir() + "/llmc-kernels-XXXXXX";
    const int fd = mkstemp(loaded->image_.data());
    EXPECT_EQ(write(fd, image.data(), image.size()), ssize_t(image.size()));
    close(fd);
    loaded->operands_ = std::move(compiled->operands);
    loaded->scratchBytes_ = compiled->image.scratchBytes;
    return loaded;
  }
  const int fd = memfd_create("kernels", MFD_CLOEXEC);
  EXPECT_EQ(write(fd, image.data(), image.size()), ssize_t(image.size()));
  loaded->handle_ = dlopen(("/proc/self/fd/" + std::to_string(fd)).c_str(), RTLD_NOW | RTLD_LOCAL);
  close(fd);
  if (!loaded->handle_) {
    ADD_FAILURE() << dlerror();
    return nullptr;
  }
  loaded->operands_ = std::move(compiled->operands);
  loaded->scratchBytes_ = compiled->image.scratchBytes;
  return loaded;
}

LoadedKernels::~LoadedKernels() {
  if (handle_) dlclose(handle_);
  if (!image_.empty()) unlink(image_.c_str());
}

void LoadedKernels::run(const char* symbol, const LlmcStep& step,
                        const std::map<std::string, void*>& operands, int64_t begin, int64_t end) {
  const std::vector<std::string>& names = operands_[symbol];
  EXPECT_EQ(operands.size(), names.size()) << symbol;
  std::vector<void*> pointers;
  for (const std::string& name : names) {
    ASSERT_TRUE(operands.count(name)) << symbol << " has an operand " << name;
    pointers.push_back(operands.at(name));
  }
  auto kernel = reinterpret_cast<LlmcKernelFn>(dlsym(handle_, symbol));
  ASSERT_NE(kernel, nullptr) << symbol;
  Buffer scratch(scratchBytes_);
  std::memset(scratch.data(), 0xff,
              scratchBytes_);  // NaNs: a kernel that reads before it writes shows
  EXPECT_EQ(kernel(&step, pointers.data(), begin, end, scratch.data()), 0);
}

void LoadedKernels::runOn(const char* symbol, const LlmcStep& step,
                          const std::map<std::string, Buffer*>& operands, int64_t begin,
                          int64_t end) {
  if (!image_.empty()) return runEmulated(symbol, step, operands, begin, end);
  std::map<std::string, void*> pointers;
  for (const auto& [name, buffer] : operands) pointers[name] = buffer->data();
  run(symbol, step, pointers, begin, end);
}

// The call is a file that both programs map.
void LoadedKernels::runEmulated(const char* symbol, const LlmcStep& step,
                                const std::map<std::string, Buffer*>& operands, int64_t begin,
                                int64_t end) {
#ifdef QEMU_AARCH64
  const std::vector<std::string>& names = operands_[symbol];
  ASSERT_EQ(operands.size(), names.size()) << symbol;
  ASSERT_LE(names.size(), size_t(EmulatedCall::kMaxOperands)) << symbol;
  EmulatedCall call = {.step = step, .begin = begin, .end = end};
  size_t bytes = sizeof call;
  auto place = [&bytes](size_t count) {
    const size_t at = (bytes + 63) / 64 * 64;
    bytes = at + count + 64;  // a kernel may read beyond the end of a weight
    return static_cast<int64_t>(at);
  };
  for (const std::string& name : names) {
    ASSERT_TRUE(operands.count(name)) << symbol << " has an operand " << name;
    call.operands[call.num_operands++] = place(operands.at(name)->size());
  }
  call.scratch = place(static_cast<size_t>(scratchBytes_));
  std::string file = testing::TempDir() + "/llmc-call-XXXXXX";
  const int fd = mkstemp(file.data());
  ASSERT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
  auto* const mapped =
      static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(mapped, MAP_FAILED);
  close(fd);
  std::memcpy(mapped, &call, sizeof call);
  std::memset(mapped + call.scratch, 0xff, static_cast<size_t>(scratchBytes_));
  for (size_t i = 0; i < names.size(); ++i) {
    Buffer& buffer = *operands.at(names[i]);
    std::memcpy(mapped + call.operands[i], buffer.data(), buffer.size());
  }
  std::string args[] = {QEMU_AARCH64,          "-cpu", emulatedBy_, "-L", "/usr/aarch64-linux-gnu",
                        AARCH64_KERNEL_RUNNER, image_, symbol,      file};
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  int status = -1;
  EXPECT_EQ(posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ), 0);
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << symbol << " on " << emulatedBy_;
  for (size_t i = 0; i < names.size(); ++i) {
    Buffer& buffer = *operands.at(names[i]);
    std::memcpy(buffer.data(), mapped + call.operands[i], buffer.size());
  }
  munmap(mapped, bytes);
  unlink(file.c_str());
#else
  (void)step, (void)operands, (void)begin, (void)end;
  FAIL() << symbol << ": there is no emulator";
#endif
}

std::vector<cpu::CpuTarget> emulatedTargets() {
  std::vector<cpu::CpuTarget> targets;
#if defined(QEMU_AARCH64) && !defined(__aarch64__)
  for (const char* name : {"aarch64-i8mm", "aarch64-dotprod", "aarch64"})
    targets.push_back(*cpu::findCpuTarget(name));
#endif
  if (llmc_tests::fullTests() || targets.empty()) return targets;
  return {targets[static_cast<size_t>(numberOfTest()) % targets.size()]};
}

std::vector<cpu::CpuTarget> runnableTargets() {
  std::vector<cpu::CpuTarget> targets;
  const std::vector<std::string> here = llmrt::supportedCpuTargets();
  const auto runs = [&](const char* name) {
    return std::find(here.begin(), here.end(), name) != here.end() &&
           llmrt::enableCpuTarget(name).ok();
  };
#if defined(__x86_64__)
  targets.push_back(*cpu::findCpuTarget("x86-64-v3"));
  for (const char* name : {"x86-64-v4", "znver4", "sapphirerapids"}) {
    cpu::CpuTarget target = *cpu::findCpuTarget(name);
    const bool here = runs(name);
    if (here) targets.push_back(target);
    // Where the instructions are here, they are compared with their emulation.
    if (here && target.bf16Product != cpu::Bf16Product::dot) continue;
    target.name += " as x86-64-v3";
    target.cpu = "x86-64-v3";
    target.features.clear();
    target.bytes = cpu::ByteInstructions::avx2;
    target.emulateBf16Product = true;
    targets.push_back(target);
  }
#elif defined(__aarch64__)
  for (const std::string& name : llvm::reverse(here)) targets.push_back(*cpu::findCpuTarget(name));
#endif
  return targets;
}

std::vector<cpu::CpuTarget> targetsOfTest(bool bf16) {
  const std::vector<cpu::CpuTarget> all = runnableTargets();
  const auto number = static_cast<size_t>(numberOfTest());
  const size_t chosen = bf16 || number % 3 == 0 ? 2 : 1;
  if (llmc_tests::fullTests() || all.size() <= chosen) return all;
  std::vector<cpu::CpuTarget> targets;
  for (size_t i = 0; i < chosen; ++i) targets.push_back(all[(number + i) % all.size()]);
  return targets;
}

std::vector<float> randomFloats(size_t n, std::mt19937& rng) {
  std::vector<float> values(n);
  for (float& v : values) v = float(int32_t(rng())) / 2147483648.0f;
  return values;
}

float rounded(llmrt::DType dtype, float v) {
  switch (dtype) {
    case llmrt::DType::kF32:
      return v;
    case llmrt::DType::kF16:
      return llmrt::f16ToF32(llmrt::f32ToF16(v));
    case llmrt::DType::kBF16:
      return llmrt::bf16ToF32(llmrt::f32ToBf16(v));
    default:
      ADD_FAILURE() << llmrt::dtypeName(dtype) << " is no type of weights";
      return v;
  }
}

PackedMatrix packRandom(llmrt::DType dtype, const std::vector<int64_t>& sourceRows, int64_t cols,
                        llmrt::PanelOrder order, int64_t headRows, std::mt19937& rng) {
  int64_t total = 0;
  std::vector<int64_t> firstRow;
  for (int64_t rows : sourceRows) {
    firstRow.push_back(total);
    total += rows;
  }
  PackedMatrix result;
  result.values = randomFloats(total * cols, rng);
  for (float& v : result.values) v = rounded(dtype, v);
  const std::vector<llmrt::PanelRow> map = llmrt::panelRows(sourceRows, order, headRows);
  const int64_t elements = llmrt::panelElements(dtype, cols);
  const int64_t bytes = llmrt::dtypeBytes(dtype);
  result.packed = std::make_unique<Buffer>(map.size() / 16 * elements * bytes);
  for (size_t lane = 0; lane < map.size(); ++lane) {
    if (map[lane].source < 0) continue;
    const float* row = &result.values[(firstRow[map[lane].source] + map[lane].row) * cols];
    for (int64_t k = 0; k < cols; ++k) {
      const int64_t at = int64_t(lane) / 16 * elements + llmrt::panelOffset(dtype, lane % 16, k);
      if (dtype == llmrt::DType::kF32) {
        result.packed->floats()[at] = row[k];
      } else {
        static_cast<uint16_t*>(result.packed->data())[at] =
            dtype == llmrt::DType::kF16 ? llmrt::f32ToF16(row[k]) : llmrt::f32ToBf16(row[k]);
      }
    }
  }
  return result;
}

std::unique_ptr<Buffer> packStored(const std::vector<StoredQuants>& sources,
                                   const std::vector<int64_t>& rows,
                                   const std::vector<llmrt::PanelRow>& lanes, bool panels,
                                   int64_t experts) {
  const llmrt::WeightFormat& format = *sources.front().format;
  const int64_t cols = sources.front().cols, perUnit = panels ? 16 : 1;
  const int64_t units = (static_cast<int64_t>(lanes.size()) + perUnit - 1) / perUnit;
  llmrt::PlaneExtent extents[llmrt::WeightFormat::kMaxPlanes];
  EXPECT_TRUE(llmrt::layOutPlanes(format, panels, static_cast<uint64_t>(units), cols,
                                  static_cast<uint64_t>(experts), extents));
  const llmrt::PlaneExtent& last = extents[format.num_planes - 1];
  auto out = std::make_unique<Buffer>(last.offset_bytes + last.bytes);
  for (int p = 0; p < format.num_planes; ++p) {
    const int64_t bytes = llmrt::dtypeBytes(format.planes[p].dtype);
    const int64_t unitBytes = format.unitBytes(p, panels, cols);
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t n = 0; n < static_cast<int64_t>(lanes.size()); ++n) {
        const llmrt::PanelRow& lane = lanes[static_cast<size_t>(n)];
        if (lane.source < 0) continue;
        const auto source = static_cast<size_t>(lane.source);
        const uint8_t* from = sources[source].at(p, e * rows[source] + lane.row, 0);
        uint8_t* to = static_cast<uint8_t*>(out->data()) + extents[p].offset_bytes +
                      (e * units + n / perUnit) * unitBytes;
        for (int64_t i = 0; i < format.rowElements(p, cols); ++i)
          std::copy_n(from + i * bytes, bytes,
                      to + (panels ? format.panelOffset(p, n % perUnit, i) : i) * bytes);
      }
  }
  return out;
}

}  // namespace llmc::test
