#include "runtime/io/safetensors.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "runtime/io/json.h"
#include "runtime/io/model_file.h"
#include "runtime/io/other_weights.h"
#include "runtime/io/printable.h"
#include "runtime/io/safetensors_header.h"
#include "runtime/io/stored_blocks.h"

namespace llmrt {
namespace {

namespace fs = std::filesystem;
constexpr const char* kFileName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

std::optional<DType> usableDtype(const std::string& name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  return std::nullopt;
}

class SafetensorsSource : public TensorSource {
 public:
  explicit SafetensorsSource(std::string path) : path_(std::move(path)) {}

  // Adds all tensors of a file; one of an earlier file of the same name goes.
  Status addFile(const std::string& file_path) {
    LLMRT_ASSIGN_OR_RETURN(MappedFile file, openModelFile(file_path));
    if (looksLikePyTorch(file)) return pyTorchRefused(file_path);
    LLMRT_ASSIGN_OR_RETURN(SafetensorsHeader header, parseSafetensorsHeader(file));
    std::map<std::string, Entry, std::less<>> entries;
    for (SafetensorsEntry& stored : header.tensors) {
      Entry entry;
      entry.tensor.name = stored.name;
      entry.tensor.shape = std::move(stored.shape);
      entry.tensor.data = file.data() + header.data_offset + stored.begin;
      entry.tensor.bytes = stored.end - stored.begin;
      entry.tensor.file_backed = true;
      if (auto dtype = usableDtype(stored.dtype)) {
        entry.tensor.dtype = *dtype;
      } else {
        entry.unusable_dtype = quotedName(stored.dtype);
      }
      entries.emplace(stored.name, std::move(entry));
    }
    std::map<std::string, Entry, std::less<>> aliases;
    for (const auto& [alias, name] : header.metadata) {
      auto it = entries.find(name);
      if (it == entries.end()) continue;
      Entry entry = it->second;
      entry.tensor.name = alias;
      aliases.emplace(alias, std::move(entry));
    }
    for (auto& [name, entry] : entries) tensors_.insert_or_assign(name, std::move(entry));
    tensors_.merge(aliases);  // a stored tensor of the same name stays
    files_.push_back(std::move(file));
    return {};
  }

  // Tensors NAME_blocks and NAME_scales of bytes are NAME in MXFP4; what is wrong with them is an
  // error when NAME is asked for. Called once all files are there.
  void joinBlocks() {
    std::map<std::string, Entry, std::less<>> joined;
    for (const auto& [name, quants] : tensors_) {
      if (!name.ends_with(kBlocks) || quants.unusable_dtype != kBytes) continue;
      const std::string stem = name.substr(0, name.size() - kBlocks.size());
      const auto scales = tensors_.find(stem + "_scales");
      if (scales == tensors_.end() || scales->second.unusable_dtype != kBytes) continue;
      Entry entry = quants;
      Tensor& tensor = entry.tensor;
      entry.unusable_dtype.clear();
      tensor.name = stem;
      tensor.blocks = &safetensorsMxfp4();
      tensor.scales = scales->second.tensor.data;
      entry.wrong = whyNoBlocks(name, tensor, scales->first, scales->second.tensor);
      if (entry.wrong.empty()) {
        tensor.shape.pop_back();
        tensor.shape.back() *= tensor.blocks->format->block;
      }
      joined.emplace(stem, std::move(entry));
    }
    tensors_.merge(joined);  // a stored tensor of the same name stays
  }

  Result<const Tensor*> find(std::string_view name) const override {
    auto it = tensors_.find(name);
    if (it == tensors_.end()) return static_cast<const Tensor*>(nullptr);
    const Entry& entry = it->second;
    if (!entry.wrong.empty()) return invalidData(path_ + ": tensor " + entry.wrong);
    if (!entry.unusable_dtype.empty())
      return unsupported(path_ + ": tensor " + quotedName(name) + " has dtype " +
                         entry.unusable_dtype + ", which is not supported (F32, F16 and BF16 are)");
    return &entry.tensor;
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const auto& [name, entry] : tensors_) out.push_back(name);
    return out;
  }

  const std::string& path() const override { return path_; }

  // What an index says of the tensors' places, which need not be so.
  void setPlaces(std::map<std::string, std::string, std::less<>> places) {
    places_ = std::move(places);
  }
  std::string placeOf(std::string_view name) const override {
    const auto found = places_.find(name);
    return found == places_.end() ? "" : found->second + ", says the index";
  }

 private:
  static constexpr std::string_view kBlocks = "_blocks", kBytes = "'U8'";

  struct Entry {
    Tensor tensor;
    std::string unusable_dtype;  // empty: usable
    std::string wrong;           // of blocks: a tensor's name and what is wrong with it
  };

  // `blocks`: the tensor NAME_blocks, but for its format.
  static std::string whyNoBlocks(const std::string& blocks_name, const Tensor& blocks,
                                 const std::string& scales_name, const Tensor& scales) {
    std::vector<int64_t> shape = blocks.shape;
    if (shape.size() < 2 || shape.back() != blocks.blocks->bytes)
      return quotedName(blocks_name) + " has shape " + shapeText(shape) + ", expected blocks of " +
             std::to_string(blocks.blocks->bytes) + " bytes";
    shape.pop_back();
    if (scales.shape != shape)
      return quotedName(scales_name) + " has shape " + shapeText(scales.shape) +
             ", but there are blocks " + shapeText(shape);
    if (shape.back() > std::numeric_limits<int64_t>::max() / blocks.blocks->format->block)
      return quotedName(blocks_name) + " has shape " + shapeText(blocks.shape) +
             ", which does not fit into 64 bits";
    return {};
  }

  std::string path_;
  std::vector<MappedFile> files_;
  std::map<std::string, Entry, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> places_;
};

// A shard is a file beside its index; a name that leads elsewhere is no shard of this checkpoint.
bool isPlainName(const std::string& name) {
  const auto plain = [](unsigned char c) { return c >= 0x20 && c != 0x7f && c != '/'; };
  return !name.empty() && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), plain);
}

// As HF does: the index says which files there are, and all that is in them counts. What it says of
// single tensors serves error messages.
Result<std::unique_ptr<TensorSource>> openIndex(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(nlohmann::json index, readJsonFile(path));
  if (!index.is_object()) return invalidData(path + ": is not a JSON object");
  auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object())
    return invalidData(path + ": has no object weight_map");
  std::set<std::string> shards;
  std::map<std::string, std::string, std::less<>> places;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string() || !isPlainName(shard.get_ref<const std::string&>()))
      return invalidData(path + ": weight_map " + quotedName(name) +
                         " is not the name of a file beside the index");
    if (shard.get_ref<const std::string&>().ends_with(".bin")) return pyTorchRefused(path);
    shards.insert(shard.get_ref<const std::string&>());
    places.emplace(name, shard.get_ref<const std::string&>());
  }
  auto source = std::make_unique<SafetensorsSource>(path);
  source->setPlaces(std::move(places));
  const fs::path directory = fs::path(path).parent_path();
  for (const std::string& shard : shards) {
    const std::string file = (directory / shard).string();
    Status status = source->addFile(file);
    if (status.code() == StatusCode::kNotFound)
      return notFound(file + ": no such file, but " + path + " names it as a shard");
    LLMRT_RETURN_IF_ERROR(std::move(status));
  }
  source->joinBlocks();
  return std::unique_ptr<TensorSource>(std::move(source));
}

bool pathExists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

}  // namespace

bool hasSafetensors(const std::string& directory) {
  return pathExists(fs::path(directory) / kFileName) ||
         pathExists(fs::path(directory) / kIndexName);
}

Result<std::unique_ptr<TensorSource>> openSafetensors(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    // HF's order: the single file wins when both are there.
    if (fs::path file = fs::path(path) / kFileName; pathExists(file))
      return openSafetensors(file.string());
    if (fs::path file = fs::path(path) / kIndexName; pathExists(file))
      return openIndex(file.string());
    return noSafetensors(path);
  }
  if (path.ends_with(".json")) return openIndex(path);
  auto source = std::make_unique<SafetensorsSource>(path);
  LLMRT_RETURN_IF_ERROR(source->addFile(path));
  source->joinBlocks();
  return std::unique_ptr<TensorSource>(std::move(source));
}

}  // namespace llmrt
