// ThreadTeam: everyone runs, nobody passes a barrier early, and it survives many of both.
#include "runtime/executor/thread_team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "runtime/executor/cpu_features.h"

namespace llmrt {
namespace {

struct Relay {
  ThreadTeam* team;
  int phases;
  std::vector<int>
      values;  // [size], written by its own thread in even phases, summed by all in odd ones
  std::vector<int> errors;  // [size]
};

// Phase by phase each thread reads what all others wrote in the phase before: plain memory, ordered
// by barriers alone.
void relay(void* context, int worker) {
  Relay& r = *static_cast<Relay*>(context);
  for (int phase = 0; phase < r.phases; ++phase) {
    r.values[static_cast<size_t>(worker)] = phase;
    r.team->barrier();
    const int sum = std::accumulate(r.values.begin(), r.values.end(), 0);
    if (sum != phase * r.team->size()) ++r.errors[static_cast<size_t>(worker)];
    r.team->barrier();
  }
}

TEST(ThreadTeam, BarriersOrderPlainMemoryForAnySize) {
  for (int size : {1, 2, 3, 4, 7}) {
    auto team = *ThreadTeam::create(size);
    Relay r{team.get(), 50, std::vector<int>(static_cast<size_t>(size)),
            std::vector<int>(static_cast<size_t>(size))};
    for (int step = 0; step < 20; ++step) team->run(relay, &r);
    for (int errors : r.errors) EXPECT_EQ(errors, 0);
  }
}

TEST(ThreadTeam, WakesWorkersThatFellAsleep) {
  auto team = *ThreadTeam::create(3);
  std::atomic<int> runs{0};
  const auto count = [](void* context, int) { ++*static_cast<std::atomic<int>*>(context); };
  for (int i = 1; i <= 5; ++i) {
    team->run(count, &runs);
    EXPECT_EQ(runs, 3 * i);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far longer than the spin
  }
}

TEST(ThreadTeam, StartsAndEndsOftenWithoutRunning) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ((*ThreadTeam::create(4))->size(), 4);
}

TEST(ThreadTeam, RefusesSizesThatMakeNoSense) {
  EXPECT_FALSE(ThreadTeam::create(0).ok());
  EXPECT_FALSE(ThreadTeam::create(-3).ok());
  EXPECT_FALSE(ThreadTeam::create(100000).ok());
}

TEST(CpuFeatures, SupportedTargetsAreKnownAndBestFirst) {
  const auto supported = supportedCpuTargets();
  auto at = knownCpuTargets().begin();
  for (const std::string& name : supported) {
    at = std::find(at, knownCpuTargets().end(), name);
    ASSERT_NE(at, knownCpuTargets().end()) << name;
    EXPECT_TRUE(enableCpuTarget(name).ok()) << name;
  }
#if defined(__x86_64__)
  // The compiler's own check, for the level it can tell.
  EXPECT_EQ(std::find(supported.begin(), supported.end(), "x86-64-v3") != supported.end(),
            __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi2"));
#endif
}

}  // namespace
}  // namespace llmrt
