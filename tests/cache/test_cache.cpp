#include "tests/cache/test_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;

/// Held by one process at a time; given back by the kernel when its process ends, however it does.
class Lock {
 public:
  explicit Lock(const std::string& path)
      : fd_(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) {
    ::flock(fd_, LOCK_EX);
  }
  ~Lock() { ::close(fd_); }
  Lock(const Lock&) = delete;

 private:
  int fd_;
};

constexpr std::chrono::days kKept(7);

std::string nameOfFile(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return text.substr(0, 100);
}

}  // namespace

struct CacheKey::State {
  XXH3_state_t hash;
};

CacheKey::CacheKey() : state_(new State) { XXH3_128bits_reset(&state_->hash); }
CacheKey::~CacheKey() { delete state_; }

void CacheKey::add(const std::string& bytes) {
  // The size first, so that no two lists of strings are one text.
  const uint64_t size = bytes.size();
  XXH3_128bits_update(&state_->hash, &size, sizeof size);
  XXH3_128bits_update(&state_->hash, bytes.data(), bytes.size());
}

void CacheKey::addContents(const std::string& path) {
  std::vector<fs::path> files;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (!entry.is_directory()) files.push_back(fs::relative(entry.path(), path));
  } else {
    files.push_back("");
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const fs::path whole = file.empty() ? fs::path(path) : path / file;
    add(file.string());
    std::ifstream in(whole, std::ios::binary);
    add(in ? "file" : "nothing");
    if (!in) continue;
    std::string bytes(fs::file_size(whole), '\0');
    in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    add(bytes);
  }
}

void CacheKey::addStamp(const std::string& file) {
  add(file);
  struct stat s = {};
  if (::stat(file.c_str(), &s) != 0) return;
  for (const int64_t n : {int64_t{s.st_size}, int64_t{s.st_mtim.tv_sec}, int64_t{s.st_mtim.tv_nsec},
                          int64_t{s.st_ctim.tv_sec}, int64_t{s.st_ctim.tv_nsec}})
    add(std::to_string(n));
}

std::string CacheKey::text() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->hash);
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

TestCache::TestCache(std::string root, const CacheKey& makers)
    : generation_(std::move(root) + '/' + makers.text()) {
  if (fs::exists(generation_)) return;
  const fs::path parent = fs::path(generation_).parent_path();
  fs::create_directories(parent);
  const Lock lock(parent / "lock");
  if (fs::exists(generation_)) return;
  for (const auto& entry : fs::directory_iterator(parent))
    if (entry.is_directory()) fs::remove_all(entry.path());
  fs::create_directory(generation_);
}

TestCache TestCache::asBroughtAlong(const std::string& root) {
  std::string generation = root + "/none";
  if (fs::exists(root))
    for (const auto& entry : fs::directory_iterator(root))
      if (entry.is_directory()) generation = entry.path().string();
  return TestCache(generation);
}

std::string TestCache::folder(const std::string& name, const CacheKey& key,
                              const std::function<bool(const std::string& folder)>& make) const {
  const std::string folder = generation_ + '/' + nameOfFile(name) + '-' + key.text();
  const auto now = fs::file_time_type::clock::now();
  const auto isThere = [&] {
    std::error_code absent;
    fs::last_write_time(folder, now, absent);  // it is in use
    return !absent;
  };
  if (isThere()) return folder;
  fs::create_directories(generation_);
  const Lock lock(folder + ".lock");
  if (isThere()) return folder;
  for (const auto& entry : fs::directory_iterator(generation_)) {
    if (!entry.is_directory() || entry.path().extension() == ".unfinished") continue;
    std::error_code gone;  // others clear up, too
    if (now - fs::last_write_time(entry.path(), gone) > kKept && !gone)
      fs::remove_all(entry.path(), gone);
  }
  const std::string unfinished = folder + ".unfinished";
  fs::remove_all(unfinished);  // of a process that was killed
  fs::create_directories(unfinished);
  if (!make(unfinished)) {
    fs::remove_all(unfinished);
    return "";
  }
  fs::rename(unfinished, folder);
  return folder;
}

}  // namespace llmc_tests
