#include "tools/llmc/PlanCache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "runtime/io/atomic_file.h"
#include "runtime/io/json.h"
#include "runtime/io/model_file.h"
#include "tools/cli/user_folders.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;
using llmrt::Result;
using llmrt::Status;

constexpr const char *kOriginFile = "/origin.json", *kLockFile = "/lock";
constexpr const char* kRemoved = ".removed-";  // and the number of the process that removes it

Status failed(const std::string& path) {
  return llmrt::ioError(fmt::format("{}: {}", path, std::strerror(errno)));
}

/// The lock of a place, held until it is closed; -1 where the place has gone, or where another
/// process has it and is not to be waited for. (Not the folder itself: who commits files there
/// locks that.)
Result<int> lockPlace(const std::string& folder, bool wait) {
  const std::string path = folder + kLockFile;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return errno == ENOENT ? Result<int>(-1) : failed(path);
  while (::flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    const Status status = errno == EWOULDBLOCK ? Status() : failed(path);
    ::close(fd);
    if (!status.ok()) return status;
    return -1;
  }
  // Whoever had it may have removed it, and a third one made it anew.
  struct stat held, named;
  if (::fstat(fd, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
      held.st_dev == named.st_dev)
    return fd;
  ::close(fd);
  return -1;
}

std::optional<CacheOrigin> readOrigin(const std::string& folder) {
  const auto json = llmrt::readJsonFile(folder + kOriginFile);
  if (!json.ok() || !json->is_object()) return {};
  CacheOrigin origin;
  for (const auto& [key, value] :
       {std::pair{"model", &origin.model}, {"command", &origin.command}}) {
    const auto found = json->find(key);
    if (found == json->end() || !found->is_string()) return {};
    *value = found->get<std::string>();
  }
  return origin;
}

Status writeOrigin(const std::string& folder, const CacheOrigin& origin) {
  const std::string text =
      nlohmann::json{{"model", origin.model}, {"command", origin.command}}.dump(
          1, ' ', false, nlohmann::json::error_handler_t::replace) +
      '\n';
  LLMRT_ASSIGN_OR_RETURN(llmrt::AtomicFile file, llmrt::AtomicFile::create(folder + kOriginFile));
  LLMRT_RETURN_IF_ERROR(file.write(text.data(), text.size()));
  return file.commit();
}

Status removeAll(const std::string& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) return llmrt::ioError(fmt::format("{}: {}", folder, error.message()));
  return {};
}

}  // namespace

CachePlace::CachePlace(CachePlace&& other) noexcept
    : folder_(std::move(other.folder_)),
      name_(std::move(other.name_)),
      fd_(std::exchange(other.fd_, -1)) {}

CachePlace::~CachePlace() {
  if (fd_ < 0) return;
  if (std::error_code absent; !fs::exists(planPath(), absent)) (void)removeAll(folder_);
  ::close(fd_);
}

Result<PlanCache> PlanCache::open() {
  const std::string folder = llmrt::userFolder("XDG_CACHE_HOME", ".cache");
  if (folder.empty())
    return llmrt::invalidArgument(
        "there is no place for the cache of plans: neither XDG_CACHE_HOME nor HOME is the path of "
        "a folder (llmrun --no-cache keeps none)");
  return PlanCache(folder + "/plans");
}

Result<CachePlace> PlanCache::take(const CacheOrigin& origin, uint64_t source_id,
                                   const std::function<void()>& waiting) const {
  constexpr size_t kMostNameBytes = 100;  // file systems take 255, of which others have a part
  const std::string name = llmrt::modelName(origin.model).substr(0, kMostNameBytes);
  const std::string folder = fmt::format("{}/{}-{:016x}", folder_, name, source_id);
  for (bool wait = false;; wait = true) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) return llmrt::ioError(fmt::format("{}: {}", folder, error.message()));
    if (wait) waiting();
    LLMRT_ASSIGN_OR_RETURN(const int fd, lockPlace(folder, wait));
    if (fd < 0) continue;
    CachePlace place(folder, name, fd);
    if (readOrigin(folder) != origin) LLMRT_RETURN_IF_ERROR(writeOrigin(folder, origin));
    return place;
  }
}

Result<std::vector<CachedPlan>> PlanCache::list() const {
  std::vector<CachedPlan> plans;
  std::error_code error;
  if (!fs::exists(folder_, error)) return plans;
  fs::directory_iterator it(folder_, error), end;
  for (; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    if (path.find(kRemoved) != std::string::npos) continue;
    std::optional<CacheOrigin> origin = readOrigin(path);
    if (!origin) continue;
    CachedPlan plan{it->path().filename().string(), *std::move(origin)};
    std::error_code gone;
    for (const fs::directory_entry& file : fs::directory_iterator(path, gone)) {
      struct stat info;
      if (::stat(file.path().c_str(), &info) == 0)
        plan.bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    }
    plans.push_back(std::move(plan));
  }
  if (error) return llmrt::ioError(fmt::format("{}: {}", folder_, error.message()));
  std::sort(plans.begin(), plans.end(),
            [](const CachedPlan& a, const CachedPlan& b) { return a.name < b.name; });
  return plans;
}

Status PlanCache::sweep() const {
  std::error_code error;
  if (!fs::exists(folder_, error)) return {};
  std::vector<std::string> left;
  fs::directory_iterator it(folder_, error), end;
  for (; !error && it != end; it.increment(error))
    if (it->path().filename().string().find(kRemoved) != std::string::npos)
      left.push_back(it->path().string());
  for (const std::string& folder : left) LLMRT_RETURN_IF_ERROR(removeAll(folder));
  return {};
}

Status PlanCache::removeOlder(const CachePlace& kept, const CacheOrigin& origin) const {
  LLMRT_ASSIGN_OR_RETURN(const std::vector<CachedPlan> plans, list());
  for (const CachedPlan& plan : plans) {
    if (plan.origin != origin || folder_ + '/' + plan.name == kept.folder()) continue;
    LLMRT_RETURN_IF_ERROR(remove(plan.name).status());
  }
  return {};
}

Result<bool> PlanCache::remove(const std::string& name) const {
  const std::string folder = folder_ + '/' + name;
  LLMRT_ASSIGN_OR_RETURN(const int fd, lockPlace(folder, false));
  if (fd < 0) {
    std::error_code absent;
    return !fs::exists(folder, absent);
  }
  // Whoever comes from here on finds no part of it.
  const std::string doomed = fmt::format("{}{}{}", folder, kRemoved, ::getpid());
  std::error_code error;
  fs::rename(folder, doomed, error);
  const Status status =
      error ? llmrt::ioError(fmt::format("{}: {}", folder, error.message())) : removeAll(doomed);
  ::close(fd);
  if (!status.ok()) return status;
  return true;
}

}  // namespace llmc
