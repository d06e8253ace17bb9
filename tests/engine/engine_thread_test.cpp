// The engine on its own thread: requests from several, cancelled from others, events to one.
#include "runtime/engine/engine_thread.h"

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include <map>
#include <random>
#include <thread>

#include "tests/engine/plain_loop.h"
#include "tests/runtime/example_plan.h"

extern char** environ;

namespace llmrt {
namespace {

using example::Model;

TEST(EngineThread, ServesSeveralThreadsAtOnce) {
  constexpr int kThreads = 4, kEach = 12;
  const Model model;
  const auto session = model.session({.threads = 2, .max_batch = 3, .kv_tokens = 256});
  ASSERT_TRUE(session);
  std::map<uint64_t, Request> requests;
  std::map<uint64_t, std::vector<int32_t>> ids;
  std::mutex mutex;
  {
    EngineThread engine(*session, nullptr);
    std::vector<std::thread> clients;
    for (unsigned t = 0; t < kThreads; ++t)
      clients.emplace_back([&, t] {
        std::mt19937 random(t);
        for (int i = 0; i < kEach; ++i) {
          Request r;
          r.prompt.resize(1 + random() % 60);
          for (int32_t& id : r.prompt) id = static_cast<int32_t>(random() % example::kVocab);
          r.max_tokens = 1 + random() % 30;
          const Result<uint64_t> id = engine.submit(r);
          ASSERT_TRUE(id.ok()) << id.status().message();
          if (i % 4 == 3) engine.cancel(*id);
          const std::lock_guard lock(mutex);
          requests[*id] = r;
          requests[*id].priority = i % 4 == 3;  // it may be cut short
        }
      });
    for (int ended = 0; ended < kThreads * kEach;) {
      const std::optional<Event> event = engine.wait(std::chrono::minutes(1));
      ASSERT_TRUE(event);
      if (event->kind == Event::Kind::kToken) ids[event->request].push_back(event->token);
      ended += event->kind != Event::Kind::kToken;
    }
    for (std::thread& client : clients) client.join();
    EXPECT_FALSE(engine.wait(std::chrono::nanoseconds(0)));
    EXPECT_EQ(engine.stats().finished, uint64_t{kThreads * kEach});
    EXPECT_EQ(engine.stats().running, 0);
  }
  const auto alone = model.session();
  for (const auto& [id, request] : requests) {
    alone->reset(0);
    const auto whole = plainLoop(*alone, nullptr, request);
    ASSERT_TRUE(whole.ok());
    if (request.priority == 0) {
      EXPECT_EQ(ids[id], whole->ids);
    }
    ASSERT_LE(ids[id].size(), whole->ids.size());
    EXPECT_TRUE(std::equal(ids[id].begin(), ids[id].end(), whole->ids.begin()));
  }
}

TEST(EngineThread, AnswersAProgramInC) {
  const Model model;
  std::string program = C_ENGINE_TEST, plan = model.path;
  char* argv[] = {program.data(), plan.data(), nullptr};
  pid_t child = 0;
  ASSERT_EQ(posix_spawn(&child, program.c_str(), nullptr, nullptr, argv, environ), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace llmrt
