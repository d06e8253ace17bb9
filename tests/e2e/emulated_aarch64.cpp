#include "tests/e2e/emulated_aarch64.h"

#include <gtest/gtest.h>

#include "tests/e2e/greedy_hashes.h"
#include "tests/e2e/process.h"

#ifndef QEMU_AARCH64
#define QEMU_AARCH64 ""
#endif

namespace e2e {

void expectTheSameBitsOnAarch64(const std::string& plan, llmrt::Session& session, const Ids& prompt,
                                int count) {
  std::vector<std::string> args = {QEMU_AARCH64,   "-L", "/usr/aarch64-linux-gnu",
                                   AARCH64_RUNNER, plan, std::to_string(count)};
  for (int32_t id : prompt) args.push_back(std::to_string(id));
  const Output output = run(args);
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_EQ(output.out, greedyHashes(session, prompt, count));
}

}  // namespace e2e
