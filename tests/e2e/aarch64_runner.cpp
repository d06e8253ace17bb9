// aarch64_runner PLAN COUNT ID...: runs a plan's code for this CPU on one thread, prints
// greedyHashes(), and says on standard error which of the plan's targets it took. Cross-compiled
// from the executing part of the runtime, for qemu-user.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "runtime/executor/plan.h"
#include "runtime/executor/weights.h"
#include "runtime/session/session.h"
#include "tests/e2e/greedy_hashes.h"

namespace {

int fail(const llmrt::Status& status) {
  std::fprintf(stderr, "aarch64_runner: error: %s\n", status.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return fail(llmrt::invalidArgument("usage: aarch64_runner PLAN COUNT ID..."));
  std::vector<int32_t> prompt;
  for (int i = 3; i < argc; ++i) prompt.push_back(std::atoi(argv[i]));
  const auto plan = llmrt::Plan::open(argv[1], {});
  if (!plan.ok()) return fail(plan.status());
  std::fprintf(stderr, "%s\n", (*plan)->targetName().c_str());
  const auto weights = llmrt::Weights::map(**plan);
  if (!weights.ok()) return fail(weights.status());
  const auto session = llmrt::Session::create(**plan, **weights, {.threads = 1});
  if (!session.ok()) return fail(session.status());
  std::fputs(e2e::greedyHashes(**session, prompt, std::atoi(argv[2])).c_str(), stdout);
  return 0;
}
