// The plans of models that were given in a plan's place, kept in the user's cache.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/io/status.h"

namespace llmc {

/// Where a plan in the cache is from.
struct CacheOrigin {
  std::string model;    // an absolute path
  std::string command;  // the flags that it was compiled with
  bool operator==(const CacheOrigin&) const = default;
};

/// A plan's place in the cache: a folder with the plan, its weights and its origin, which is this
/// process's alone as long as the object lives.
class CachePlace {
 public:
  CachePlace(CachePlace&& other) noexcept;
  CachePlace& operator=(CachePlace&&) = delete;
  /// Nothing is left where no plan was made.
  ~CachePlace();

  const std::string& folder() const { return folder_; }
  /// NAME.fb in it.
  std::string planPath() const { return folder_ + '/' + name_ + ".fb"; }

 private:
  friend class PlanCache;
  CachePlace(std::string folder, std::string name, int fd)
      : folder_(std::move(folder)), name_(std::move(name)), fd_(fd) {}

  std::string folder_, name_;
  int fd_;  // of its lock
};

struct CachedPlan {
  std::string name;  // the folder's
  CacheOrigin origin;
  uint64_t bytes = 0;  // on the disk
};

class PlanCache {
 public:
  /// $XDG_CACHE_HOME/llmc/plans, or that in ~/.cache. Fails where neither is known.
  static llmrt::Result<PlanCache> open();

  const std::string& folder() const { return folder_; }
  /// The place of what is made from `source_id` (of sourceId()), named after the model and that.
  /// Waits while another process has it, and calls `waiting` before.
  llmrt::Result<CachePlace> take(const CacheOrigin& origin, uint64_t source_id,
                                 const std::function<void()>& waiting) const;
  /// Removes other plans of the same origin: the model or the compiler has changed since.
  llmrt::Status removeOlder(const CachePlace& kept, const CacheOrigin& origin) const;
  /// By name. What was not made by take() is left out.
  llmrt::Result<std::vector<CachedPlan>> list() const;
  /// Removes one of list(); programs that run it go on. False while another process makes it.
  llmrt::Result<bool> remove(const std::string& name) const;
  /// Removes what remove() left where its process was killed.
  llmrt::Status sweep() const;

 private:
  explicit PlanCache(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
};

}  // namespace llmc
