#include "runtime/session/prefix_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace llmrt {
namespace {

constexpr char kMagic[8] = {'L', 'L', 'M', 'C', 'P', 'F', 'X', '\0'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kQueueBytes = uint64_t{64} << 20;
constexpr uint64_t kDiskBlock = 4096;
constexpr int64_t kAbandonedNs = int64_t{600} * 1'000'000'000;  // a temporary that nobody writes
constexpr std::string_view kTemporary = ".tmp-";
constexpr std::string_view kExtension = ".prefix";

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t part;
  uint64_t binding;
  uint64_t num_tokens;
  uint64_t bytes;     // that follow the tokens
  uint64_t checksum;  // of all that is in the file, with a 0 here
};
static_assert(sizeof(Header) == 48, "the header is a file format");

uint64_t checksumOf(Header header, std::span<const int32_t> text, std::span<const uint8_t> bytes) {
  header.checksum = 0;
  const uint64_t parts[] = {XXH3_64bits(&header, sizeof header),
                            XXH3_64bits(text.data(), text.size_bytes()),
                            XXH3_64bits(bytes.data(), bytes.size())};
  return XXH3_64bits(parts, sizeof parts);
}

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

int64_t timeOf(const struct stat& s) {
  return int64_t{s.st_mtim.tv_sec} * 1'000'000'000 + s.st_mtim.tv_nsec;
}

uint64_t diskBytes(uint64_t bytes) { return (bytes + kDiskBlock - 1) / kDiskBlock * kDiskBlock; }

uint64_t fileBytes(int64_t num_tokens, uint64_t bytes) {
  return sizeof(Header) + static_cast<uint64_t>(num_tokens) * sizeof(int32_t) + bytes;
}

/// Hexadecimal numbers between '-', as many as `out` has.
bool parseName(std::string_view name, std::span<uint64_t> out) {
  if (!name.ends_with(kExtension)) return false;
  name.remove_suffix(kExtension.size());
  for (size_t i = 0; i < out.size(); ++i) {
    const std::string_view number = name.substr(0, name.find('-'));
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), out[i], 16);
    if (error != std::errc() || end != number.data() + number.size()) return false;
    if ((number.size() == name.size()) != (i + 1 == out.size())) return false;
    name.remove_prefix(std::min(number.size() + 1, name.size()));
  }
  return true;
}

bool isFolderName(std::string_view name) {
  return name.size() == 16 && name.find_first_not_of("0123456789abcdef") == name.npos;
}

/// body(name) of all that lies in a directory.
template <typename Body>
void forNames(const std::string& path, Body&& body) {
  DIR* const directory = ::opendir(path.c_str());
  if (!directory) return;
  while (const dirent* entry = ::readdir(directory)) body(std::string(entry->d_name));
  ::closedir(directory);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

bool readAll(int fd, void* out, uint64_t bytes) {
  for (auto* next = static_cast<uint8_t*>(out); bytes > 0;) {
    const ssize_t n = ::read(fd, next, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    next += n;
    bytes -= static_cast<uint64_t>(n);
  }
  return true;
}

bool writeAll(int fd, const void* data, uint64_t bytes) {
  for (const auto* next = static_cast<const uint8_t*>(data); bytes > 0;) {
    const ssize_t n = ::write(fd, next, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    next += n;
    bytes -= static_cast<uint64_t>(n);
  }
  return true;
}

/// Why `path` is no directory that this user alone writes; "": it is, or was made.
std::string whyNoDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return std::strerror(errno);
  struct stat s;
  if (::stat(path.c_str(), &s) != 0) return std::strerror(errno);
  if (!S_ISDIR(s.st_mode)) return std::strerror(ENOTDIR);
  // Who can write there can forge states, and place links.
  if (s.st_uid != ::geteuid() || (s.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return "others may write to " + path;
  return "";
}

/// A file that did not exist. Of a process of the same number before this one it may be there.
int openNew(const std::string& path) {
  ::unlink(path.c_str());
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

}  // namespace

PrefixStore::PrefixStore(PrefixStoreOptions options, uint64_t binding)
    : options_(std::move(options)),
      binding_(binding),
      folder_(fmt::format("{}/{:016x}", options_.directory, binding)) {}

Result<std::unique_ptr<PrefixStore>> PrefixStore::open(const PrefixStoreOptions& options,
                                                       uint64_t binding) {
  std::unique_ptr<PrefixStore> store(new PrefixStore(options, binding));
  LLMRT_RETURN_IF_ERROR(store->makeFolder());
  // Whoever cannot write learns it now.
  const std::string probe = fmt::format("{}/{}{}", store->folder_, kTemporary, ::getpid());
  const Descriptor fd(openNew(probe));
  if (fd.get() < 0) {
    return ioError(fmt::format("{}: prefixes cannot be stored there: {}", options.directory,
                               std::strerror(errno)));
  }
  ::unlink(probe.c_str());
  store->scan();
  try {
    store->thread_ = std::thread([s = store.get()] { s->run(); });
  } catch (const std::system_error& error) {
    return outOfMemory(fmt::format("no thread to store prefixes with: {}", error.what()));
  }
  return store;
}

PrefixStore::~PrefixStore() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  work_.notify_one();
  thread_.join();
}

Status PrefixStore::makeFolder() const {
  // Its parent must be there: a misspelt path is not made.
  for (const std::string& path : {options_.directory, folder_}) {
    if (const std::string why = whyNoDirectory(path); !why.empty())
      return ioError(
          fmt::format("{}: prefixes cannot be stored there: {}", options_.directory, why));
  }
  return {};
}

std::string PrefixStore::pathOf(const Key& key, const Entry& entry) const {
  return fmt::format("{}/{:x}-{:x}-{:x}-{:x}{}", folder_, key.first, key.second, entry.before,
                     entry.num_tokens, kExtension);
}

void PrefixStore::scan() {
  std::map<Key, Entry> found;
  std::vector<Other> others;
  const int64_t time = now();
  forNames(options_.directory, [&](const std::string& folder) {
    if (!isFolderName(folder)) return;
    const std::string path = options_.directory + "/" + folder;
    forNames(path, [&](const std::string& name) {
      const std::string file = path + "/" + name;
      struct stat s;
      if (::lstat(file.c_str(), &s) != 0 || !S_ISREG(s.st_mode)) return;
      if (name.starts_with(kTemporary)) {
        if (timeOf(s) < time - kAbandonedNs) ::unlink(file.c_str());
        return;
      }
      const uint64_t bytes = diskBytes(static_cast<uint64_t>(s.st_size));
      uint64_t n[4];
      if (!parseName(name, n)) return;  // not ours
      if (path != folder_)
        others.push_back({file, bytes, timeOf(s)});
      else if (n[1] <= UINT32_MAX && n[3] > 0 && n[3] < uint64_t{1} << 40)
        found[{n[0], static_cast<uint32_t>(n[1])}] = {n[2], static_cast<int64_t>(n[3]), bytes,
                                                      timeOf(s)};
    });
  });
  // What a text begins with is of use as long as the text is.
  std::map<uint64_t, std::vector<Entry*>> by_hash;
  std::vector<std::pair<int64_t, Entry*>> longest_first;
  for (auto& [key, entry] : found) {
    by_hash[key.first].push_back(&entry);
    longest_first.emplace_back(-entry.num_tokens, &entry);
  }
  std::sort(longest_first.begin(), longest_first.end());
  for (const auto& [length, entry] : longest_first) {
    const auto before = by_hash.find(entry->before);
    if (before == by_hash.end()) continue;
    for (Entry* e : before->second) e->last_used = std::max(e->last_used, entry->last_used);
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [key, entry] : entries_)
    if (entry.is_queued) found[key] = entry;
  entries_ = std::move(found);
  others_ = std::move(others);
  all_bytes_ = 0;
  unfilled_.clear();
  for (const auto& [key, entry] : entries_) {
    if (!entry.is_queued) all_bytes_ += entry.bytes;
    if (key.second == kSnapshot && entry.num_tokens % kTokens != 0)
      unfilled_[entry.before].emplace_back(entry.num_tokens % kTokens, key.first);
  }
  for (const Other& other : others_) all_bytes_ += other.bytes;
}

bool PrefixStore::has(uint64_t hash, uint32_t part) const {
  const std::lock_guard lock(mutex_);
  return entries_.contains({hash, part});
}

std::vector<std::pair<int64_t, uint64_t>> PrefixStore::unfilled(uint64_t before) const {
  const std::lock_guard lock(mutex_);
  const auto found = unfilled_.find(before);
  return found == unfilled_.end() ? std::vector<std::pair<int64_t, uint64_t>>() : found->second;
}

bool PrefixStore::hasRoom() const {
  const std::lock_guard lock(mutex_);
  return queued_bytes_ < kQueueBytes;
}

bool PrefixStore::read(std::span<const int32_t> text, uint64_t hash, uint32_t part,
                       std::span<uint8_t> out) {
  const Key key{hash, part};
  std::string path;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.is_queued) return false;
    path = pathOf(key, found->second);
  }
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  const bool is_gone = fd.get() < 0 && errno == ENOENT;
  if (fd.get() < 0 && !is_gone) return false;  // too many open files, say: it is still there
  Header header;
  std::vector<int32_t> stored(text.size());
  bool is_whole = false, is_this = false;
  struct stat s;
  errno = 0;  // of a file that is too short no call fails
  if (!is_gone && ::fstat(fd.get(), &s) == 0 && S_ISREG(s.st_mode) &&
      static_cast<uint64_t>(s.st_size) ==
          fileBytes(static_cast<int64_t>(text.size()), out.size()) &&
      readAll(fd.get(), &header, sizeof header) &&
      readAll(fd.get(), stored.data(), stored.size() * sizeof(int32_t)) &&
      readAll(fd.get(), out.data(), out.size())) {
    is_whole = std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 &&
               header.version == kVersion && header.part == part && header.binding == binding_ &&
               header.num_tokens == text.size() && header.bytes == out.size() &&
               header.checksum == checksumOf(header, stored, out);
    is_this = is_whole && std::equal(text.begin(), text.end(), stored.begin());
  }
  if (!is_gone && !is_whole && errno != 0) return false;  // the disk fails, not the file
  if (is_this) ::futimens(fd.get(), nullptr);
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return is_this;
  if (is_this) {
    found->second.last_used = now();
    return true;
  }
  if (is_whole) return false;  // two texts have one hash
  all_bytes_ -= std::min(all_bytes_, found->second.bytes);
  entries_.erase(found);
  if (is_gone) return false;  // somebody has removed it
  ::unlink(path.c_str());
  tell(fmt::format("{}: is damaged, and was removed", path));
  return false;
}

void PrefixStore::write(std::span<const int32_t> text, End end, uint32_t part,
                        std::vector<uint8_t> bytes) {
  const auto count = static_cast<int64_t>(text.size());
  const Entry entry{end.before, count, diskBytes(fileBytes(count, bytes.size())), now(), true};
  {
    const std::lock_guard lock(mutex_);
    if (!entries_.emplace(Key{end.hash, part}, entry).second) return;
    if (part == kSnapshot && count % kTokens != 0)
      unfilled_[end.before].emplace_back(count % kTokens, end.hash);
    queued_bytes_ += bytes.size();
    queue_.push_back({{end.hash, part},
                      entry,
                      std::vector<int32_t>(text.begin(), text.end()),
                      std::move(bytes)});
  }
  work_.notify_one();
}

int PrefixStore::writeFile(const Job& job) const {
  Header header{{}, kVersion, job.key.second, binding_, job.text.size(), job.bytes.size(), 0};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.checksum = checksumOf(header, job.text, job.bytes);
  const std::string temporary =
      fmt::format("{}/{}{}-{:p}", folder_, kTemporary, ::getpid(), static_cast<const void*>(this));
  const Descriptor fd(openNew(temporary));
  if (fd.get() < 0) return errno;
  // Not brought to the disk at once: after a power cut the checksum tells.
  if (writeAll(fd.get(), &header, sizeof header) &&
      writeAll(fd.get(), job.text.data(), job.text.size() * sizeof(int32_t)) &&
      writeAll(fd.get(), job.bytes.data(), job.bytes.size()) &&
      ::rename(temporary.c_str(), pathOf(job.key, job.entry).c_str()) == 0)
    return 0;
  const int error = errno;
  ::unlink(temporary.c_str());
  return error;
}

void PrefixStore::makeRoom() {
  {
    const std::lock_guard lock(mutex_);
    is_full_ = all_bytes_ > options_.most_bytes;
    if (!is_full_ && written_ <= options_.most_bytes / 16) return;
  }
  scan();  // others write too
  written_ = 0;
  struct Candidate {
    int64_t last_used, num_tokens;
    uint64_t bytes;
    std::string path;
    std::optional<Key> key;
    bool operator<(const Candidate& o) const {
      return last_used != o.last_used ? last_used < o.last_used : num_tokens > o.num_tokens;
    }
  };
  std::vector<Candidate> all;
  {
    const std::lock_guard lock(mutex_);
    is_full_ = all_bytes_ > options_.most_bytes;
    if (!is_full_) return;
    for (const auto& [key, e] : entries_)
      if (!e.is_queued) all.push_back({e.last_used, e.num_tokens, e.bytes, pathOf(key, e), key});
    for (const Other& other : others_)
      all.push_back({other.last_used, 0, other.bytes, other.path, std::nullopt});
  }
  std::sort(all.begin(), all.end());
  // Some more than must be, so that it is not done for each file anew.
  const uint64_t most = options_.most_bytes - options_.most_bytes / 16;
  for (const Candidate& c : all) {
    const std::lock_guard lock(mutex_);
    if (all_bytes_ <= most) break;
    if (::unlink(c.path.c_str()) != 0 && errno != ENOENT) continue;  // it still takes its place
    all_bytes_ -= std::min(all_bytes_, c.bytes);
    if (c.key) entries_.erase(*c.key);
  }
  const std::lock_guard lock(mutex_);
  is_full_ = all_bytes_ > options_.most_bytes;
}

void PrefixStore::run() {
  // Signals are for others. A write beyond RLIMIT_FSIZE is an error like a full disk.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stops_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Job job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    int error = ENOMEM;
    try {
      error = store(job);
    } catch (const std::bad_alloc&) {
      const std::lock_guard again(mutex_);
      entries_.erase(job.key);
    }
    if (error != 0 && !fails_)
      tell(
          fmt::format("{}: prefixes are not stored: {}", options_.directory, std::strerror(error)));
    fails_ = error != 0;
    lock.lock();
    queued_bytes_ -= job.bytes.size();
  }
}

int PrefixStore::store(const Job& job) {
  if (is_full_) makeRoom();  // what could not be removed left no room
  int error = job.entry.bytes > options_.most_bytes / 16 * 15 ? EFBIG
              : is_full_                                      ? ENOSPC
                                                              : writeFile(job);
  // Somebody may have removed the directory.
  if (error == ENOENT && makeFolder().ok()) error = writeFile(job);
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(job.key);
    if (found == entries_.end()) return error;
    if (error != 0) {
      entries_.erase(found);
      return error;
    }
    found->second.is_queued = false;
    all_bytes_ += job.entry.bytes;
    written_ += job.entry.bytes;
    touchBeginnings(job.entry);
  }
  makeRoom();
  return error;
}

void PrefixStore::touchBeginnings(const Entry& end) {
  // Names are anybody's to make: each beginning is shorter than what it is of, or the walk ends.
  uint64_t hash = end.before;
  for (int64_t tokens = end.num_tokens; hash != 0;) {
    uint64_t next = 0;
    int64_t shorter = tokens;
    for (auto e = entries_.lower_bound({hash, 0}); e != entries_.end() && e->first.first == hash;
         ++e) {
      if (e->second.num_tokens >= tokens) continue;
      e->second.last_used = std::max(e->second.last_used, end.last_used);
      next = e->second.before;
      shorter = e->second.num_tokens;
    }
    hash = next;
    tokens = shorter;
  }
}

}  // namespace llmrt
