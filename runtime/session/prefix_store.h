// Beginnings of texts that outlive the process: the states behind them, as files of a directory.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

struct PrefixStoreOptions {
  // Made where there is none, for this user alone; one that others may write to is refused. Empty:
  // nothing is stored.
  std::string directory;
  uint64_t most_bytes = uint64_t{8} << 30;       // of all files in it, also of other plans
  std::function<void(const std::string&)> tell;  // one line, from any thread: what went wrong
};

/// A file holds what lies in one state's block at the end of a text, or a snapshot of all recurrent
/// states behind it. It begins with the whole text, and a hash of all its bytes. A file of another
/// text, another plan or of damaged bytes is never used.
///
/// Files appear under their names whole. Any of them may be removed at any time, by anybody.
/// Processes share a directory: what one writes, another finds when it looks through the directory,
/// which is at its start and from time to time. The bound then holds but for what is written in
/// between, a sixteenth of it for each process.
///
/// has(), unfilled(), read() and write() are called by one thread. Files are written by another.
class PrefixStore {
 public:
  static constexpr uint32_t kSnapshot = UINT32_MAX;  // in place of a state's number
  static constexpr int64_t kTokens = 64;             // of a block

  /// `binding`: of another one no file is used. Reads names, no file.
  static Result<std::unique_ptr<PrefixStore>> open(const PrefixStoreOptions& options,
                                                   uint64_t binding);
  /// Writes what is still to be written.
  ~PrefixStore();
  PrefixStore(const PrefixStore&) = delete;
  PrefixStore& operator=(const PrefixStore&) = delete;

  /// The end of a text, as files are named by it: its hash, and that of its blocks but the last.
  struct End {
    uint64_t hash = 0, before = 0;
  };
  /// Whether there was a file for this end and part when it was last looked for.
  bool has(uint64_t hash, uint32_t part) const;
  /// Ends that do not fill a block, behind whole blocks of this hash: the tokens in it, and the
  /// hash.
  std::vector<std::pair<int64_t, uint64_t>> unfilled(uint64_t before) const;
  /// Fills `out`. False: there is no such file, or it is not whole; then has() is false from now
  /// on.
  bool read(std::span<const int32_t> text, uint64_t hash, uint32_t part, std::span<uint8_t> out);
  /// Whether write() may be called: what waits to be written is bounded.
  bool hasRoom() const;
  void write(std::span<const int32_t> text, End end, uint32_t part, std::vector<uint8_t> bytes);

 private:
  using Key = std::pair<uint64_t, uint32_t>;  // hash, part
  struct Entry {
    uint64_t before = 0;
    int64_t num_tokens = 0;  // of the text
    uint64_t bytes = 0;      // of the file, as the disk counts
    int64_t last_used = 0;   // nanoseconds since 1970
    bool is_queued = false;
  };
  struct Other {  // a file of another plan
    std::string path;
    uint64_t bytes = 0;
    int64_t last_used = 0;
  };
  struct Job {
    Key key;
    Entry entry;
    std::vector<int32_t> text;
    std::vector<uint8_t> bytes;
  };
  PrefixStore(PrefixStoreOptions options, uint64_t binding);
  std::string pathOf(const Key& key, const Entry& entry) const;
  Status makeFolder() const;
  /// Looks through the directory.
  void scan();
  void run();
  /// Writes a file and makes room for more: 0, or the number of the error.
  int store(const Job& job);
  /// What `end` begins with is of use for as long. With mutex_.
  void touchBeginnings(const Entry& end);
  /// 0, or the number of the error.
  int writeFile(const Job& job) const;
  /// Removes what was not used for longest until the bound holds.
  void makeRoom();
  void tell(const std::string& line) const {
    if (options_.tell) options_.tell(line);
  }

  const PrefixStoreOptions options_;
  const uint64_t binding_;
  const std::string folder_;  // of this binding
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::map<Key, Entry> entries_;
  std::map<uint64_t, std::vector<std::pair<int64_t, uint64_t>>> unfilled_;
  std::vector<Other> others_;
  uint64_t all_bytes_ = 0;  // of entries_ that are not queued, and others_
  std::deque<Job> queue_;
  uint64_t queued_bytes_ = 0;
  bool stops_ = false;
  // The writing thread's.
  uint64_t written_ = 0;  // since the last scan
  bool fails_ = false;
  bool is_full_ = false;  // and nothing can be removed
  std::thread thread_;    // last: it uses all of the above
};

}  // namespace llmrt
