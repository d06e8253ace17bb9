#include "tools/llmc/OpenPlan.h"

#include <fstream>

#include "runtime/executor/plan_verify.h"
#include "runtime/io/model_file.h"
#include "runtime/schema/plan_generated.h"
#include "tools/cli/not_a_plan.h"

namespace llmc {

llmrt::Result<OpenPlan> openPlan(const std::string& path) {
  LLMRT_RETURN_IF_ERROR(llmrt::checkIsPlan(path));
  OpenPlan open;
  LLMRT_ASSIGN_OR_RETURN(open.file, llmrt::openModelFile(path));
  auto plan = llmrt::verifyPlan(open.file.bytes());
  if (!plan.ok()) return std::move(plan).status().withContext(path);
  open.plan = *plan;
  return open;
}

bool looksLikePlan(const std::string& path) {
  char head[8] = {};
  return std::ifstream(path, std::ios::binary).read(head, sizeof head) &&
         llmrt::schema::PlanBufferHasIdentifier(head);
}

}  // namespace llmc
