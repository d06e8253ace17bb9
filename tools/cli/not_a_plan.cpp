#include "tools/cli/not_a_plan.h"

#include <fmt/format.h>

#include <cctype>
#include <filesystem>
#include <string_view>

#include "runtime/io/gguf.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/model_file.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/version.h"
#include "tools/cli/command_line.h"

namespace llmrt {
namespace {

namespace fs = std::filesystem;

Result<std::string> modelOfWeights(const std::string& path) {
  std::error_code ignored;
  fs::path directory = fs::path(path).parent_path();
  if (directory.empty()) directory = ".";
  if (fs::exists(directory / "config.json", ignored)) return directory.string();
  return invalidArgument(path + ": holds weights, not a plan: llmc compile CONFIG.json --weights " +
                         shellQuoted(path) + " -o PLAN.fb makes one");
}

bool looksLikeJson(std::string_view text) {
  for (const char c : text.substr(0, 4096))
    if (!std::isspace(static_cast<unsigned char>(c))) return c == '{';
  return false;
}

}  // namespace

Result<std::string> modelAt(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    const Result<std::string> gguf = resolveGgufFolder(path);
    if (fs::exists(fs::path(path) / "config.json", ignored) || (gguf.ok() && *gguf != path))
      return path;
    return invalidArgument(path + ": is a directory, not a plan");
  }
  LLMRT_ASSIGN_OR_RETURN(const MappedFile file, openModelFile(path));
  const std::string_view text = file.text();
  if (text.size() >= 8 && schema::PlanBufferHasIdentifier(text.data())) return std::string();
  if (text.starts_with(std::string_view(kWeightsMagic, sizeof kWeightsMagic))) {
    return invalidArgument(
        fmt::format("{}: holds the weights of a plan: give the plan itself, {}, which finds them",
                    path, fs::path(path).replace_extension(".fb").string()));
  }
  if (GgufFile::looksLikeGguf(file)) return path;
  if (path.ends_with(".safetensors") || path.ends_with(".safetensors.index.json"))
    return modelOfWeights(path);
  if (path.ends_with(".json") || looksLikeJson(text)) return path;
  return std::string();
}

Status checkIsPlan(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(const std::string model, modelAt(path));
  if (model.empty()) return {};
  // The plan has the name that llmc gives it where none is said.
  const std::string plan = shellQuoted(modelName(model) + ".fb");
  return invalidArgument(fmt::format(
      "{}: is a model, not a plan; this compiles it: llmc compile {} -o {}; then give {}", path,
      shellQuoted(model), plan, plan));
}

}  // namespace llmrt
