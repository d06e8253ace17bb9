#include "tools/llmc/OutputPaths.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>

#include "runtime/executor/weights.h"
#include "runtime/io/model_file.h"
#include "runtime/schema/version.h"
#include "tools/llmc/OpenPlan.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;

// What openCheckpoint() and the tokenizer's reader look for by name.
constexpr std::string_view kModelFiles[] = {
    "config.json",         "generation_config.json",  "tokenizer.json",
    "tokenizer.model",     "tokenizer_config.json",   "vocab.json",
    "merges.txt",          "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json",      "model.safetensors.index.json"};

bool isModelFile(const fs::path& path) {
  // .gguf: a model may be split into several.
  return path.extension() == ".safetensors" || path.extension() == ".gguf" ||
         path.extension() == ".tiktoken" ||
         std::find(std::begin(kModelFiles), std::end(kModelFiles), path.filename().string()) !=
             std::end(kModelFiles);
}

bool sameFile(const fs::path& a, const fs::path& b) {
  std::error_code absent;
  return fs::equivalent(a, b, absent);
}

bool isReadFor(const fs::path& output, const fs::path& input) {
  std::error_code error;
  const bool is_directory = fs::is_directory(input, error);
  if (!is_directory && sameFile(output, input)) return true;
  fs::path directory = is_directory ? input : input.parent_path();
  if (directory.empty()) directory = ".";
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (isModelFile(it->path()) && sameFile(output, it->path())) return true;
  return false;
}

}  // namespace

llmrt::Status checkOutputs(const std::vector<std::string>& outputs,
                           const std::vector<std::string>& inputs) {
  for (const std::string& output : outputs) {
    std::error_code absent;
    if (!fs::exists(output, absent)) continue;
    for (const std::string& input : inputs) {
      if (!input.empty() && isReadFor(output, input)) {
        return llmrt::invalidArgument(
            output + ": is a file of the model that is read, write the plan under another name");
      }
    }
  }
  return {};
}

llmrt::Result<std::string> defaultPlanPath(const std::string& model) {
  const std::string name = llmrt::modelName(model);
  if (name.empty()) return llmrt::invalidArgument(model + ": has no name, give the plan's with -o");
  const std::string plan = name + ".fb", weights = llmrt::defaultWeightsPath(plan);
  std::error_code absent;
  const auto refuse = [](const std::string& path, const char* what) {
    return llmrt::invalidArgument(path + ": is there and no " + what +
                                  ": name the plan to write with -o");
  };
  if (fs::exists(plan, absent) && !looksLikePlan(plan)) return refuse(plan, "plan");
  char magic[sizeof llmrt::kWeightsMagic] = {};
  if (fs::exists(weights, absent) &&
      (!std::ifstream(weights, std::ios::binary).read(magic, sizeof magic) ||
       std::memcmp(magic, llmrt::kWeightsMagic, sizeof magic) != 0))
    return refuse(weights, "plan's weights");
  return plan;
}

}  // namespace llmc
