// Models that gguf-split has cut into several files. llama.cpp, src/llama-model-loader.cpp and
// llama_split_path(), say what they are called and what is checked.
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <limits>
#include <set>

#include "runtime/io/gguf.h"
#include "runtime/io/printable.h"

namespace llmrt {
namespace {

constexpr const char* kNumber = "split.no";
constexpr const char* kCount = "split.count";
constexpr const char* kTensors = "split.tensors.count";
constexpr int64_t kMostParts = 65535;  // split.count is a uint16
constexpr int64_t kMostTensors = std::numeric_limits<int32_t>::max();

// Five digits or more, as "%05d" writes them; 0 where `text` is none.
int64_t partNumber(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.size() < 5 || text[0] == '-' || error != std::errc() || end != text.data() + text.size())
    return 0;
  return number;
}

std::string partOf(int64_t number, int64_t count) {
  return "part " + std::to_string(number) + " of " + std::to_string(count);
}

}  // namespace

std::string GgufPartName::path(int64_t part) const {
  char numbers[48];
  std::snprintf(numbers, sizeof numbers, "-%05lld-of-%05lld.gguf", static_cast<long long>(part),
                static_cast<long long>(count));
  return prefix + numbers;
}

std::optional<GgufPartName> parseGgufPartName(const std::string& path) {
  constexpr std::string_view kOf = "-of-", kEnd = ".gguf";
  if (!path.ends_with(kEnd)) return std::nullopt;
  const std::string_view stem = std::string_view(path).substr(0, path.size() - kEnd.size());
  const size_t of = stem.rfind(kOf);
  if (of == std::string_view::npos) return std::nullopt;
  const size_t dash = stem.substr(0, of).rfind('-');
  if (dash == std::string_view::npos) return std::nullopt;
  GgufPartName name;
  name.prefix = stem.substr(0, dash);
  name.number = partNumber(stem.substr(dash + 1, of - dash - 1));
  name.count = partNumber(stem.substr(of + kOf.size()));
  if (name.number < 1 || name.count > kMostParts || name.number > name.count) return std::nullopt;
  return name;
}

Result<std::string> resolveGgufFolder(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error) || fs::exists(fs::path(path) / "config.json", error))
    return path;
  std::set<std::string> models;  // parts of one as the first
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::string file = it->path().string();
    if (!file.ends_with(".gguf") || it->path().filename().string().starts_with("mmproj")) continue;
    const std::optional<GgufPartName> part = parseGgufPartName(file);
    models.insert(part ? part->path(1) : std::move(file));
  }
  if (models.empty()) return path;
  if (models.size() == 1) return *models.begin();
  const auto nameOf = [](const std::string& file) {
    return quotedName(fs::path(file).filename().string());
  };
  return invalidArgument(path + ": holds several models, " + nameOf(*models.begin()) + " and " +
                         nameOf(*std::next(models.begin())) + (models.size() > 2 ? ", ..." : "") +
                         ": name one");
}

// 0 where it is absent.
Result<int64_t> GgufFile::splitInt(std::string_view key, int64_t most) const {
  LLMRT_ASSIGN_OR_RETURN(const std::optional<int64_t> value, getInt(key));
  if (value.value_or(0) < 0 || value.value_or(0) > most)
    return invalidData(path() + ": metadata " + quotedName(key) + " is " + std::to_string(*value) +
                       ", must be 0 to " + std::to_string(most));
  return value.value_or(0);
}

Result<std::unique_ptr<GgufFile>> GgufFile::openPart(const GgufPartName& name, int64_t number) {
  const std::string path = name.path(number);
  Result<std::unique_ptr<GgufFile>> part = openOne(path);
  if (part.status().code() == StatusCode::kNotFound)
    return notFound(path + ": no such file: the model was split, and " +
                    partOf(number, name.count) + " is missing beside the others");
  if (!part.ok()) return part;
  LLMRT_ASSIGN_OR_RETURN(const int64_t count, (*part)->splitInt(kCount, kMostParts));
  LLMRT_ASSIGN_OR_RETURN(const int64_t index, (*part)->splitInt(kNumber, kMostParts));
  if (count != name.count || index + 1 != number)
    return invalidData(path + ": is named " + partOf(number, name.count) +
                       ", but its metadata says " + partOf(index + 1, count));
  return part;
}

// Takes the tensors of the other parts.
Status GgufFile::addParts(const GgufPartName& name) {
  LLMRT_ASSIGN_OR_RETURN(const int64_t expected, splitInt(kTensors, kMostTensors));
  LLMRT_ASSIGN_OR_RETURN(const auto architecture, getString("general.architecture"));
  for (int64_t number = 2; number <= name.count; ++number) {
    LLMRT_ASSIGN_OR_RETURN(std::unique_ptr<GgufFile> part, openPart(name, number));
    LLMRT_ASSIGN_OR_RETURN(const int64_t said, part->splitInt(kTensors, kMostTensors));
    LLMRT_ASSIGN_OR_RETURN(const auto own, part->getString("general.architecture"));
    if (said != expected || (own && own != architecture))
      return invalidData(part->path() + ": does not belong to " + path() + ": their metadata " +
                         quotedName(said != expected ? kTensors : "general.architecture") +
                         " differs");
    for (GgufTensor& tensor : part->tensors_) {
      if (!tensor_index_.emplace(tensor.name, tensors_.size()).second)
        return invalidData(part->path() + ": tensor " + quotedName(tensor.name) +
                           " is in another part, too");
      tensors_.push_back(std::move(tensor));
    }
    other_parts_.push_back(std::move(part->file_));
  }
  if (static_cast<int64_t>(tensors_.size()) != expected)
    return invalidData(path() + ": its " + std::to_string(name.count) + " parts hold " +
                       std::to_string(tensors_.size()) + " tensors, metadata " +
                       quotedName(kTensors) + " says " + std::to_string(expected));
  return {};
}

Result<std::unique_ptr<GgufFile>> GgufFile::open(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(std::unique_ptr<GgufFile> file, openOne(path));
  LLMRT_ASSIGN_OR_RETURN(const int64_t count, file->splitInt(kCount, kMostParts));
  if (count <= 1) return file;
  LLMRT_ASSIGN_OR_RETURN(const int64_t index, file->splitInt(kNumber, kMostParts));
  const std::optional<GgufPartName> name = parseGgufPartName(path);
  if (!name || name->number != index + 1 || name->count != count)
    return invalidData(path + ": is " + partOf(index + 1, count) +
                       " of a split model, and the others are found by its name, which must be " +
                       GgufPartName{"NAME", index + 1, count}.path(index + 1));
  if (index > 0) {
    LLMRT_ASSIGN_OR_RETURN(file, openPart(*name, 1));
  }
  LLMRT_RETURN_IF_ERROR(file->addParts(*name));
  return file;
}

}  // namespace llmrt
