#include "frontend/HfReaders.h"

#include "models/CheckSpec.h"

namespace llmc {

using llmrt::invalidData;
using llmrt::Result;
using llmrt::Status;
using llmrt::unsupported;

Status refuse(const JsonFields& config, const char* field) {
  LLMRT_ASSIGN_OR_RETURN(auto value, config.getBool(field));
  if (!value.value_or(false)) return {};
  return unsupported(config.nameOf(field) + " true is not supported");
}

Status refuseNumber(const JsonFields& config, const char* field, double allowed) {
  LLMRT_ASSIGN_OR_RETURN(auto value, config.getNumber(field));
  if (!value || *value == allowed) return {};
  return unsupported(config.nameOf(field) + " " + briefJson(*value) + " is not supported (only " +
                     briefJson(allowed) + " is)");
}

Status readNumber(const JsonFields& config, const char* field, double& out) {
  LLMRT_ASSIGN_OR_RETURN(auto value, config.getNumber(field));
  if (!value) return {};
  out = *value;
  return checkFinite(config.nameOf(field), out);
}

Status readCap(const JsonFields& config, const char* field, double& out) {
  LLMRT_ASSIGN_OR_RETURN(auto value, config.getNumber(field));
  if (!value) return {};
  out = *value;
  return out == 0 ? Status() : checkPositive(config.nameOf(field), out);
}

Status readPositive(const JsonFields& config, const char* field, double& out) {
  LLMRT_RETURN_IF_ERROR(readNumber(config, field, out));
  return checkPositive(config.nameOf(field), out);
}

Status readInt(const JsonFields& config, const char* field, int64_t& out) {
  LLMRT_ASSIGN_OR_RETURN(auto value, config.getInt(field));
  if (value) out = *value;
  return {};
}

Status readCount(const JsonFields& config, const char* field, int64_t least, int64_t most,
                 int64_t& out) {
  LLMRT_RETURN_IF_ERROR(readInt(config, field, out));
  return checkRange(config.nameOf(field), out, least, most);
}

Status needCount(const JsonFields& config, const char* field, int64_t least, int64_t most,
                 int64_t& out) {
  LLMRT_ASSIGN_OR_RETURN(out, config.needInt(field));
  return checkRange(config.nameOf(field), out, least, most);
}

Status readOrNeedCount(const JsonFields& config, const char* field, int64_t least, int64_t most,
                       int64_t& out) {
  return out == 0 ? needCount(config, field, least, most, out)
                  : readCount(config, field, least, most, out);
}

Status readExpertSizes(const JsonFields& config, const char* num_experts, Experts& experts) {
  Experts& e = experts;
  LLMRT_RETURN_IF_ERROR(readOrNeedCount(config, num_experts, 1, kMaxExperts, e.num_experts));
  LLMRT_RETURN_IF_ERROR(readOrNeedCount(config, "num_experts_per_tok", 1, e.num_experts, e.top_k));
  return readOrNeedCount(config, "moe_intermediate_size", 1, kMaxExpertSize, e.intermediate_size);
}

Status readBool(const JsonFields& config, const char* field, bool& out) {
  LLMRT_ASSIGN_OR_RETURN(auto value, config.getBool(field));
  if (value) out = *value;
  return {};
}

Result<std::vector<int64_t>> readLayers(const JsonFields& config, const char* field) {
  std::vector<int64_t> layers;
  const nlohmann::json* list = config.find(field);
  if (!list) return layers;
  if (!list->is_array()) return invalidData(config.nameOf(field) + " is not a list");
  for (const nlohmann::json& value : *list) {
    if (!value.is_number_integer())
      return invalidData(config.nameOf(field) + " holds " + briefJson(value) + ", expected layers");
    layers.push_back(value.get<int64_t>());
  }
  return layers;
}

}  // namespace llmc
