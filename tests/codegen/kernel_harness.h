// Compiles llm.kernel ops given as text, loads them into this process and calls them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "codegen/cpu/Codegen.h"
#include "runtime/abi/kernel_abi.h"
#include "runtime/io/weight_layout.h"
#include "tests/ir/StoredQuants.h"

namespace llmc::test {

/// Zero-initialised memory aligned to 64 bytes, with room for a vector past its end, as the plan's
/// buffers have.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : data_((bytes + 191) / 64 * 64), offset_(0), size_(bytes) {
    offset_ = (64 - reinterpret_cast<uintptr_t>(data_.data()) % 64) % 64;
  }
  void* data() { return data_.data() + offset_; }
  float* floats() { return static_cast<float*>(data()); }
  size_t size() const { return size_; }

 private:
  std::vector<uint8_t> data_;
  size_t offset_, size_;
};

/// Kernels of one module, compiled for `target` and loaded, or run by an emulator
/// (emulatedTargets()).
class LoadedKernels {
 public:
  /// `model` is the text of an llm.model; fails the calling test and returns null when it does not
  /// compile.
  static std::unique_ptr<LoadedKernels> compile(const std::string& model,
                                                const cpu::CpuTarget& target,
                                                const cpu::CpuTuning* tuning = nullptr);
  LoadedKernels() = default;
  LoadedKernels(const LoadedKernels&) = delete;
  ~LoadedKernels();

  /// Runs tiles [begin, end) with scratch full of NaNs. `operands`: by name, those of the kernel's
  /// op and no other.
  void run(const char* symbol, const LlmcStep& step, const std::map<std::string, void*>& operands,
           int64_t begin, int64_t end);
  /// The same on whole buffers, which alone can be brought to an emulated program.
  void runOn(const char* symbol, const LlmcStep& step,
             const std::map<std::string, Buffer*>& operands, int64_t begin, int64_t end);

 private:
  void runEmulated(const char* symbol, const LlmcStep& step,
                   const std::map<std::string, Buffer*>& operands, int64_t begin, int64_t end);

  void* handle_ = nullptr;
  std::string emulatedBy_, image_;  // the CPU; the file in which the code is
  std::map<std::string, std::vector<std::string>> operands_;  // of each kernel, in its order
  int64_t scratchBytes_ = 0;
};

/// The LLVM IR of the kernels of `model`, optimised; the assembly.
std::string emitLlvm(const std::string& model, const cpu::CpuTarget& target);
std::string emitAssembly(const std::string& model, const cpu::CpuTarget& target);

/// Targets whose code this machine can run: each x86-64 description at the instruction set that is
/// here. A description for wider vectors than the machine has is lowered to the machine's: its
/// tiles and loops are tested all the same, and since all float targets sum in one order, so are
/// its numbers. Products of bf16 that the machine has no instructions for are emulated; so are
/// those of znver4 where it has them, beside them.
std::vector<cpu::CpuTarget> runnableTargets();

/// Those of them that the running test compiles for: all with LLMC_FULL_TESTS=1. In the short form
/// one, and the next test of the suite has the next; in every third test, and where products of
/// bf16 have instructions, two, which are compared with each other.
std::vector<cpu::CpuTarget> targetsOfTest(bool bf16);

/// Targets that another machine runs and an emulator does here, as on a CPU without the
/// instructions of better ones: aarch64's. None where the emulator or the cross compiler is
/// missing; in the short form one, another for the next test.
std::vector<cpu::CpuTarget> emulatedTargets();

/// A packed matrix [N, K] and the values it holds after rounding to `dtype`.
struct PackedMatrix {
  std::vector<float> values;  // [N, K]
  std::unique_ptr<Buffer> packed;
};
/// Packs matrices of random values in [-1, 1).
PackedMatrix packRandom(llmrt::DType dtype, const std::vector<int64_t>& sourceRows, int64_t cols,
                        llmrt::PanelOrder order, int64_t headRows, std::mt19937& rng);

/// Weights as the weights file has them, expert after expert: in panels, or as rows. `lanes`: which
/// row of which of `sources` comes when; `rows` of them are one expert's.
std::unique_ptr<Buffer> packStored(const std::vector<StoredQuants>& sources,
                                   const std::vector<int64_t>& rows,
                                   const std::vector<llmrt::PanelRow>& lanes, bool panels,
                                   int64_t experts = 1);

std::vector<float> randomFloats(size_t n, std::mt19937& rng);
/// Rounds to what `dtype` stores.
float rounded(llmrt::DType dtype, float v);

}  // namespace llmc::test
