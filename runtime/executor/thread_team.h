// A team of threads that runs one step together: spins briefly, then sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// Most threads of a team: more than machines have CPUs, and few enough to start.
inline constexpr int kMaxThreads = 1024;

/// N - 1 worker threads and the caller. One run() is one dispatch for a whole step: threads meet
/// between its phases at barrier(). Neither allocates; the only system calls are a futex wait after
/// a short spin, and its wake. run() may be called from one thread at a time.
class ThreadTeam {
 public:
  using Task = void (*)(void* context, int worker);

  /// `threads`: 1 to kMaxThreads, the caller included.
  static Result<std::unique_ptr<ThreadTeam>> create(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  /// Calls task(context, worker) for worker 0 (here) to size() - 1; returns when all have returned.
  void run(Task task, void* context);

  /// From inside a task: returns when every thread of the team has called it as often as this one.
  /// Writes made before it are seen after it.
  void barrier();

 private:
  explicit ThreadTeam(int size);
  void work(int worker);
  void waitWhile(std::atomic<uint32_t>& word, uint32_t value);
  void advance(std::atomic<uint32_t>& word);

  const int size_;
  const int spins_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  bool stopping_ = false;
  // Each on its own cache line: spinning on one must not slow the writers of another.
  alignas(64) std::atomic<uint32_t> dispatch_{0};  // raised by run()
  alignas(64) std::atomic<uint32_t> passed_{0};    // raised by the last thread to reach a barrier
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> sleepers_{0};
  std::vector<std::thread> workers_;
};

/// Threads a session uses when none are asked for: the CPUs this process may run on.
int defaultThreads();

}  // namespace llmrt
