#include "codegen/plan/PlanFile.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "runtime/io/mapped_file.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/schedule_check.h"
#include "runtime/schema/version.h"

namespace llmc {

using llmrt::Status;

llmrt::Result<std::vector<uint8_t>> serializePlan(const llmrt::schema::PlanT& plan) {
  std::vector<uint8_t> bytes = llmrt::packPlan(plan);
  LLMRT_RETURN_IF_ERROR(llmrt::checkSchedules(*llmrt::schema::GetPlan(bytes.data())));
  return bytes;
}

llmrt::Result<llmrt::AtomicFile> writePlan(const std::vector<uint8_t>& bytes,
                                           const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(llmrt::AtomicFile file, llmrt::AtomicFile::create(path));
  LLMRT_RETURN_IF_ERROR(file.write(bytes.data(), bytes.size()));
  return file;
}

namespace {

// One process at a time names files in a directory: plans and weights of two would be mixed. Where
// the file system has no such lock there is none.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& path) {
    const std::filesystem::path directory = std::filesystem::path(path).parent_path();
    fd_ = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd_ >= 0) ::flock(fd_, LOCK_EX);
  }
  ~DirectoryLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  DirectoryLock(const DirectoryLock&) = delete;

 private:
  int fd_ = -1;
};

// Whether the weights file at `weights` is that of the plan at `path`; false where either cannot
// be read.
bool belongs(const std::string& path, const std::string& weights) {
  llmrt::Result<llmrt::MappedFile> plan = llmrt::MappedFile::open(path);
  llmrt::Result<llmrt::MappedFile> file = llmrt::MappedFile::open(weights);
  llmrt::WeightsHeader header;
  if (!plan.ok() || !file.ok() || file->size() < sizeof header) return false;
  flatbuffers::Verifier verifier(plan->data(), plan->size());
  if (!llmrt::schema::VerifyPlanBuffer(verifier)) return false;
  std::memcpy(&header, file->data(), sizeof header);
  return llmrt::weightsBelong(*llmrt::schema::GetPlan(plan->data()), header);
}

// A process that was killed left new weights waiting.
void settle(const std::string& plan, const std::string& weights) {
  const std::string waiting = llmrt::waitingWeightsPath(weights);
  if (::access(waiting.c_str(), F_OK) != 0) return;
  if (!belongs(plan, weights) && belongs(plan, waiting)) {
    std::rename(waiting.c_str(), weights.c_str());
  } else {
    std::remove(waiting.c_str());
  }
  llmrt::syncDirectoryOf(weights);
}

}  // namespace

Status commitPlanAndWeights(llmrt::AtomicFile& plan, llmrt::AtomicFile* weights) {
  const DirectoryLock lock(plan.path());
  if (!weights) return plan.commit();
  const std::string& path = weights->path();
  settle(plan.path(), path);
  const bool replaces = ::access(path.c_str(), F_OK) == 0;
  const std::string first = replaces ? llmrt::waitingWeightsPath(path) : path;
  LLMRT_RETURN_IF_ERROR(weights->commitAs(first));
  if (Status s = plan.commit(); !s.ok()) {
    std::remove(first.c_str());
    return s;
  }
  if (replaces && std::rename(first.c_str(), path.c_str()) != 0) {
    return llmrt::ioError(path + ": cannot replace: " + std::strerror(errno) +
                          "; the plan's weights are " + first);
  }
  if (replaces) llmrt::syncDirectoryOf(path);
  return {};
}

}  // namespace llmc
