// The aarch64 code of a plan under qemu-user: the executing part of the runtime, cross-compiled
// (aarch64_runner.cpp).
#pragma once

#include <string>

#include "runtime/session/session.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {

/// What a CPU that runs `target` and no better one does with `plan`: `prompt`, then `count` greedy
/// tokens.
Output runOnAarch64(const std::string& target, const std::string& plan, const Ids& prompt,
                    int count);

/// `plan`'s code for `target` gives the ids and the very bits of `session`, a new one of this
/// machine: `prompt`, then `count` greedy tokens.
void expectTheSameBitsOnAarch64(const std::string& plan, llmrt::Session& session, const Ids& prompt,
                                int count, const std::string& target = "aarch64");

}  // namespace e2e

/// Skips, aloud, where the cross compiler or qemu is missing.
#ifdef QEMU_AARCH64
#define E2E_NEED_QEMU()
#else
#define E2E_NEED_QEMU() \
  GTEST_SKIP() << "aarch64-linux-gnu-g++ or qemu-aarch64 was missing when this was configured"
#endif
