// Plans of test models. Each test is a process of its own, so plans are kept on disk: one
// compilation per model and flags, however many tests share it, and again when a byte of llmc, of
// the model or of the flags is another. A test about compiling itself calls llmc.
#pragma once

#include <string>
#include <vector>

namespace e2e {

/// Compiles `model` (a path) with `flags` unless the plan of these very files is at hand; without
/// --target, for floatTarget(). Returns the plan's path; its weights lie beside it.
/// "" after a test failure that shows llmc's message. Safe in tests that run at once.
std::string compiledPlan(const std::string& model, std::vector<std::string> flags);

/// A target of this machine that rounds no activations: what the goldens' tolerances are for. With
/// LLMC_FULL_TESTS=1 it is the best of them. In the short form it is the one with the narrowest
/// vectors: x86-64-v4's code takes LLVM three times as long, and target_test holds it to
/// x86-64-v3's bits.
std::string floatTarget();

/// tests/golden/NAME; the demo model; a file or folder of the material made by others.
std::string goldenModel(const std::string& name);
std::string demoModel();
std::string material(const std::string& name);

/// The 260K model of the material, in f32, for three targets. Its file claims a context of 128; it
/// was trained for 512, which is what llama2.c runs it with.
inline constexpr char kStoriesModel[] = "weights/stories260K/stories260Ktok512.gguf";
std::string storiesPlan();

}  // namespace e2e

/// Skips, aloud, where the material made by others is absent.
#define E2E_NEED_MATERIAL(name)                        \
  if (!std::filesystem::exists(::e2e::material(name))) \
  GTEST_SKIP() << ::e2e::material(name) << " is absent (LLMC_MATERIAL_DIR)"
