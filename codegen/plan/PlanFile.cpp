#include "codegen/plan/PlanFile.h"

#include "runtime/schema/schedule_check.h"

namespace llmc {

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

}  // namespace llmc
