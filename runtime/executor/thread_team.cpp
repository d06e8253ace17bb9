#include "runtime/executor/thread_team.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <system_error>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace llmrt {
namespace {

// A phase of a small model ends within microseconds, so waking from a futex (about 10 us) would
// dominate; about 2000 pauses (20 to 100 us) cover that and the sampler between steps. With more
// threads than CPUs the thread one waits for may not be running: sleep at once.
constexpr int kSpins = 2000;
constexpr int kSpinsOversubscribed = 16;

void cpuRelax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

void futexWait(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr,
          nullptr, 0);
}

void futexWakeAll(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
          nullptr, 0);
}

}  // namespace

int defaultThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  return 1;
}

ThreadTeam::ThreadTeam(int size)
    : size_(size), spins_(size <= defaultThreads() ? kSpins : kSpinsOversubscribed) {}

Result<std::unique_ptr<ThreadTeam>> ThreadTeam::create(int threads) {
  if (threads < 1 || threads > kMaxThreads) {
    return invalidArgument(fmt::format("threads must be 1 to {}, got {}", kMaxThreads, threads));
  }
  std::unique_ptr<ThreadTeam> team(new ThreadTeam(threads));
  team->workers_.reserve(static_cast<size_t>(threads) - 1);
  try {
    for (int worker = 1; worker < threads; ++worker) {
      team->workers_.emplace_back([t = team.get(), worker] { t->work(worker); });
    }
  } catch (const std::system_error& e) {
    return outOfMemory(fmt::format("cannot start {} threads: {}", threads, e.what()));
  }
  return team;
}

ThreadTeam::~ThreadTeam() {
  stopping_ = true;
  advance(dispatch_);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::waitWhile(std::atomic<uint32_t>& word, uint32_t value) {
  for (int i = 0; i < spins_; ++i) {
    if (word.load(std::memory_order_acquire) != value) return;
    cpuRelax();
  }
  // Sequential consistency: either advance() sees this sleeper, or the futex sees the new value and
  // does not sleep.
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (word.load(std::memory_order_seq_cst) == value) futexWait(word, value);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void ThreadTeam::advance(std::atomic<uint32_t>& word) {
  word.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) futexWakeAll(word);
}

void ThreadTeam::barrier() {
  // Read before arriving: no barrier can pass without this thread.
  const uint32_t passed = passed_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size_)) {
    // Reset before the others are let go: they may arrive at the next barrier at once.
    arrived_.store(0, std::memory_order_relaxed);
    advance(passed_);
  } else {
    waitWhile(passed_, passed);
  }
}

void ThreadTeam::run(Task task, void* context) {
  task_ = task;
  context_ = context;
  if (size_ > 1) advance(dispatch_);
  task(context, 0);
  barrier();
}

void ThreadTeam::work(int worker) {
  for (uint32_t seen = 0;; ++seen) {
    waitWhile(dispatch_, seen);
    if (stopping_) return;
    task_(context_, worker);
    // run()'s end. The next dispatch cannot come before every worker is here.
    barrier();
  }
}

}  // namespace llmrt
