#include "tests/e2e/emulated_aarch64.h"

#include <gtest/gtest.h>

#include "tests/aarch64_cpus.h"
#include "tests/e2e/greedy_hashes.h"

#ifndef QEMU_AARCH64
#define QEMU_AARCH64 ""
#endif

namespace e2e {

Output runOnAarch64(const std::string& target, const std::string& plan, const Ids& prompt,
                    int count) {
  std::vector<std::string> args = {QEMU_AARCH64,
                                   "-cpu",
                                   llmc_tests::emulatedCpu(target),
                                   "-L",
                                   "/usr/aarch64-linux-gnu",
                                   AARCH64_RUNNER,
                                   plan,
                                   std::to_string(count)};
  for (int32_t id : prompt) args.push_back(std::to_string(id));
  return run(args);
}

void expectTheSameBitsOnAarch64(const std::string& plan, llmrt::Session& session, const Ids& prompt,
                                int count, const std::string& target) {
  const Output output = runOnAarch64(target, plan, prompt, count);
  EXPECT_EQ(output.status, 0);
  EXPECT_EQ(output.err, target + '\n');
  EXPECT_EQ(output.out, greedyHashes(session, prompt, count));
}

}  // namespace e2e
