// TileShares: each tile is run once whoever is slow, and a thread's first half stays its own.
#include "runtime/executor/tile_shares.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "runtime/executor/thread_team.h"

namespace llmrt {
namespace {

struct Phase {
  int64_t tiles, least;
};

// Runs all phases on a team, several times, and counts what became of each tile.
struct Walk {
  ThreadTeam* team;
  TileShares* shares;
  std::vector<Phase> phases;
  std::vector<std::unique_ptr<std::atomic<int>[]>> runs;  // of each phase, of each tile

  void operator()(int worker) {
    for (size_t p = 0; p < phases.size(); ++p) {
      shares->forEach(phases[p].tiles, phases[p].least, worker, [&](int64_t begin, int64_t end) {
        EXPECT_LT(begin, end);
        for (int64_t t = begin; t < end; ++t) ++runs[p][static_cast<size_t>(t)];
      });
      team->barrier();
    }
  }
};

TEST(TileShares, RunEachTileOnceInEveryPhaseForAnyNumberOfThreads) {
  for (int size : {1, 2, 3, 8}) {
    auto team = *ThreadTeam::create(size);
    TileShares shares(size);
    Walk walk{team.get(), &shares, {}, {}};
    for (int64_t tiles : {1, 2, 3, 7, 16, 48, 256, 1001})
      for (int64_t least : {1, 2, 5, 100, 2000}) walk.phases.push_back({tiles, least});
    walk.phases.pop_back();  // an odd number: the next step begins with the other counter
    for (const Phase& phase : walk.phases)
      walk.runs.emplace_back(new std::atomic<int>[static_cast<size_t>(phase.tiles)]());
    const int steps = 5;
    for (int step = 0; step < steps; ++step)
      team->run([](void* self, int worker) { (*static_cast<Walk*>(self))(worker); }, &walk);
    for (size_t p = 0; p < walk.phases.size(); ++p)
      for (int64_t t = 0; t < walk.phases[p].tiles; ++t)
        ASSERT_EQ(walk.runs[p][static_cast<size_t>(t)], steps)
            << size << " threads, " << walk.phases[p].tiles << " tiles, calls of at least "
            << walk.phases[p].least << ": tile " << t;
  }
}

// Two threads, of which one does not come to its tiles before the other has nothing left.
struct Late {
  ThreadTeam* team;
  TileShares* shares;
  int64_t least;
  std::atomic<bool> done{false};
  std::vector<int> runner = std::vector<int>(64, -1);

  void operator()(int worker) {
    shares->forEach(64, least, worker, [&](int64_t begin, int64_t end) {
      if (worker == 1 && begin == 32)
        while (!done) {
        }
      for (int64_t t = begin; t < end; ++t) runner[static_cast<size_t>(t)] = worker;
    });
    if (worker == 0) done = true;
    team->barrier();
  }
};

TEST(TileShares, LeaveTheRestOfASlowThreadToTheOthers) {
  auto team = *ThreadTeam::create(2);
  TileShares shares(2);
  Late late{team.get(), &shares, 1};
  team->run([](void* self, int worker) { (*static_cast<Late*>(self))(worker); }, &late);
  for (int t = 0; t < 64; ++t)
    EXPECT_EQ(late.runner[static_cast<size_t>(t)], t >= 32 && t < 48 ? 1 : 0) << "tile " << t;
}

TEST(TileShares, AreNotCutWhereHalfOfOneIsLessThanAPiece) {
  auto team = *ThreadTeam::create(2);
  TileShares shares(2);
  Late late{team.get(), &shares, 17};
  team->run([](void* self, int worker) { (*static_cast<Late*>(self))(worker); }, &late);
  for (int t = 0; t < 64; ++t)
    EXPECT_EQ(late.runner[static_cast<size_t>(t)], t >= 32 ? 1 : 0) << "tile " << t;
}

}  // namespace
}  // namespace llmrt
