// Results that tests share, kept on disk: each test is a process of its own, and several run at
// once.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace llmc_tests {

/// What decides a result, as one hash. Two keys are equal only if the same was added in the same
/// order.
class CacheKey {
 public:
  CacheKey();
  ~CacheKey();
  CacheKey(const CacheKey&) = delete;

  void add(const std::string& bytes);
  /// What is in the file, or in every file of the folder, with its name; not where it lies. A file
  /// that is not there is another than an empty one.
  void addContents(const std::string& path);
  /// Path, size and times: for what is too large to read each time.
  void addStamp(const std::string& file);

  std::string text() const;  // 32 hexadecimal digits

 private:
  struct State;
  State* state_;
};

/// Folders below `root`, each made once for what decides it, and deleted when none has asked for it
/// for a week. `makers` decides all of them, such as
/// the compiler: once it is another, what it made before is deleted.
class TestCache {
 public:
  TestCache(std::string root, const CacheKey& makers);
  /// What an earlier run has made, on a machine where nothing can be.
  static TestCache asBroughtAlong(const std::string& root);

  /// The folder of this name and key. `make` fills it where it is not there yet, and is called once
  /// however many processes ask; it appears whole, or not at all where `make` gives false: then ""
  /// is returned.
  std::string folder(const std::string& name, const CacheKey& key,
                     const std::function<bool(const std::string& folder)>& make) const;

 private:
  explicit TestCache(std::string generation) : generation_(std::move(generation)) {}

  std::string generation_;  // the folder of what `makers` made
};

}  // namespace llmc_tests
