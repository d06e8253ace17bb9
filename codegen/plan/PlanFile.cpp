#include "codegen/plan/PlanFile.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "runtime/schema/schedule_check.h"

namespace llmc {

using llmrt::Status;

llmrt::Result<std::vector<uint8_t>> serializePlan(const llmrt::schema::PlanT& plan) {
  flatbuffers::FlatBufferBuilder builder(1 << 20);
  llmrt::schema::FinishPlanBuffer(builder, llmrt::schema::Plan::Pack(builder, &plan));
  LLMRT_RETURN_IF_ERROR(llmrt::checkSchedules(*llmrt::schema::GetPlan(builder.GetBufferPointer())));
  return std::vector<uint8_t>(builder.GetBufferPointer(),
                              builder.GetBufferPointer() + builder.GetSize());
}

llmrt::Result<llmrt::AtomicFile> writePlan(const std::vector<uint8_t>& bytes,
                                           const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(llmrt::AtomicFile file, llmrt::AtomicFile::create(path));
  LLMRT_RETURN_IF_ERROR(file.write(bytes.data(), bytes.size()));
  return file;
}

Status commitPlanAndWeights(llmrt::AtomicFile& plan, llmrt::AtomicFile* weights) {
  if (!weights) return plan.commit();
  const std::string& path = weights->path();
  const std::string old = path + ".old" + std::to_string(::getpid());
  const bool had_old = std::rename(path.c_str(), old.c_str()) == 0;
  if (!had_old && errno != ENOENT)
    return llmrt::ioError(path + ": cannot replace: " + std::strerror(errno));
  Status status = weights->commit();
  if (status.ok()) {
    status = plan.commit();
    if (!status.ok()) std::remove(path.c_str());
  }
  if (!had_old) return status;
  if (status.ok()) {
    std::remove(old.c_str());
  } else if (std::rename(old.c_str(), path.c_str()) != 0) {
    return llmrt::ioError(status.message() + "; the weights that were there are now " + old);
  }
  return status;
}

}  // namespace llmc
