#include "runtime/measure/parallel.h"

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

namespace llmrt {

Result<double> timeOnThreads(int threads, const std::function<void(int thread)>& fn) {
  using Clock = std::chrono::steady_clock;
  std::atomic<int> ready{0};
  std::atomic<bool> go{false}, abandoned{false};
  std::vector<std::thread> others;
  try {
    for (int t = 1; t < threads; ++t) {
      others.emplace_back([&, t] {
        ready.fetch_add(1);
        while (!go.load()) std::this_thread::yield();
        if (!abandoned.load()) fn(t);
      });
    }
  } catch (const std::system_error& e) {
    abandoned = true;
    go = true;
    for (std::thread& other : others) other.join();
    return outOfMemory(std::string("cannot start threads: ") + e.what());
  }
  while (ready.load() < threads - 1) std::this_thread::yield();
  const Clock::time_point start = Clock::now();
  go = true;
  fn(0);
  for (std::thread& other : others) other.join();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace llmrt
