#include "tools/llmc/SourceId.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <system_error>

#include "codegen/cuda/Nvrtc.h"
#include "codegen/cuda/Target.h"
#include "llvm-c/Core.h"
#include "runtime/executor/weights.h"
#include "runtime/io/gguf.h"
#include "runtime/io/json.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/model_file.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/version.h"
#include "tools/cli/version.h"
#include "tools/llmc/OpenPlan.h"
#include "tools/llmc/Tunings.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;
using llmrt::MappedFile;

// Reading so much takes a fraction of a second even from a disk.
constexpr uint64_t kLargeBytes = uint64_t{64} << 20;

uint64_t hashOf(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

// What the frontend reads beside a config lies under these endings; which files those are exactly
// is its business. One too many costs a compilation that was not needed, one too few a stale plan.
bool mayBeRead(const fs::path& path) {
  constexpr std::string_view kEndings[] = {".json", ".jinja",    ".model",      ".txt",
                                           ".bpe",  ".tiktoken", ".safetensors"};
  return std::find(std::begin(kEndings), std::end(kEndings), path.extension().string()) !=
         std::end(kEndings);
}

/// Everything that counts, as text: a line per fact, names in quotes, so that no two lists of facts
/// give the same.
class Manifest {
 public:
  explicit Manifest(const std::vector<std::string>& outputs) : outputs_(outputs) {}

  void add(std::string_view name, std::string_view value) {
    text_ += fmt::format("{} {}:{}\n", name, value.size(), value);
  }

  /// One file; nothing there is a fact, too.
  void addFile(const fs::path& path) {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0) return add("absent", path.filename().string());
    if (!S_ISREG(info.st_mode)) return;
    const auto size = static_cast<uint64_t>(info.st_size);
    std::string value = fmt::format("{} {}", path.filename().string(), size);
    if (size > kLargeBytes) {
      const auto time = [](const timespec& t) { return fmt::format("{}.{}", t.tv_sec, t.tv_nsec); };
      value += fmt::format(" device {} inode {} modified {} changed {}", info.st_dev, info.st_ino,
                           time(info.st_mtim), time(info.st_ctim));
    } else {
      const auto file = MappedFile::open(path.string());
      if (!file.ok()) {
        readable_ = false;
        return;
      }
      value += fmt::format(" xxh3 {:016x}", hashOf(file->text()));
    }
    add("file", value);
  }

  /// The files of a directory that are `wanted`, and those of the one folder that the frontend
  /// looks into.
  template <typename Wanted>
  void addDirectory(const fs::path& directory, Wanted wanted) {
    std::error_code error;
    std::vector<fs::path> files;
    for (const fs::path& folder : {directory, directory / "additional_chat_templates"}) {
      for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
        if (wanted(it->path()) && !isOutput(it->path())) files.push_back(it->path());
    }
    std::sort(files.begin(), files.end());  // the directory's own order is any order
    for (const fs::path& file : files) {
      addFile(file);
      if (file.filename().string().ends_with(".safetensors.index.json")) addShards(file);
    }
  }

  /// What the model, --weights or --tokenizer name, and what lies beside it.
  void addInput(const std::string& role, const std::string& given, bool weights) {
    if (given.empty()) return;
    const auto gguf = llmrt::resolveGgufFolder(given);
    if (!gguf.ok()) {
      readable_ = false;
      return;
    }
    const std::string& name = *gguf;
    const fs::path path(name);
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) {
      add(role, "directory");
      return addDirectory(path, [&](const fs::path& file) { return counts(file, weights); });
    }
    add(role, path.filename().string());
    const auto file = MappedFile::open(name);
    if (file.ok() && llmrt::GgufFile::looksLikeGguf(*file)) {
      addFile(path);
      // One of several parts is read with the others.
      if (const auto part = llmrt::parseGgufPartName(name))
        for (int64_t number = 1; number <= part->count; ++number) addFile(part->path(number));
      return;
    }
    addFile(path);
    if (name.ends_with(".safetensors")) return;
    addDirectory(path.has_parent_path() ? path.parent_path() : ".",
                 [&](const fs::path& beside) { return counts(beside, weights); });
  }

  uint64_t hash() const { return readable_ ? hashOf(text_) : 0; }

 private:
  // An index may give its shards any name.
  void addShards(const fs::path& index) {
    const auto json = llmrt::readJsonFile(index.string());
    if (!json.ok() || !json->is_object() || !json->contains("weight_map")) return;
    std::set<std::string> shards;
    for (const nlohmann::json& shard : (*json)["weight_map"])
      if (shard.is_string()) shards.insert(shard.get<std::string>());
    for (const std::string& shard : shards)
      if (!mayBeRead(shard)) addFile(index.parent_path() / shard);
  }

  static bool counts(const fs::path& path, bool weights) {
    return mayBeRead(path) && (weights || path.extension() != ".safetensors");
  }
  bool isOutput(const fs::path& path) const {
    return std::any_of(outputs_.begin(), outputs_.end(), [&](const std::string& output) {
      std::error_code absent;
      return fs::equivalent(path, output, absent);
    });
  }

  const std::vector<std::string>& outputs_;
  std::string text_;
  bool readable_ = true;
};

// The bytes of the program, so that one that was built from changed sources counts as another.
void addCompiler(Manifest& manifest, const std::vector<std::string>& targets) {
  manifest.add("compiler", llmrt::versionText());
  if (const auto program = MappedFile::open("/proc/self/exe"); program.ok())
    manifest.add("program", fmt::to_string(hashOf(program->text())));
  unsigned major = 0, minor = 0, patch = 0;
  LLVMGetVersion(&major, &minor, &patch);
  manifest.add("LLVM", fmt::format("{}.{}.{}", major, minor, patch));
  if (std::any_of(targets.begin(), targets.end(),
                  [](const std::string& name) { return cuda::findCudaTarget(name) != nullptr; }))
    manifest.add("NVRTC", cuda::nvrtcBuild());
}

void addOptions(Manifest& manifest, const CompileOptions& o,
                const std::vector<std::string>& targets) {
  manifest.add("targets", fmt::format("{}", fmt::join(targets, ",")));
  manifest.add("command", o.command);
  manifest.add("weights", o.noWeights ? "none" : "as found");
  manifest.add("tokenizer", o.tokenizer == "none" ? "none" : "as found");
  manifest.add("name", llmrt::modelName(o.model));
}

// What --tuning and the user's file say, not where they lie. A file that cannot be read is for the
// compilation to complain about.
void addTunings(Manifest& manifest, const CompileOptions& o,
                const std::vector<std::string>& targets) {
  const auto tunings = Tunings::load(o.tuning, targets);
  manifest.add("tuning", tunings.ok() ? tunings->text() : "unreadable");
}

}  // namespace

uint64_t sourceId(const CompileOptions& options, const std::vector<std::string>& targets,
                  const std::vector<std::string>& outputs) {
  Manifest manifest(outputs);
  addCompiler(manifest, targets);
  addOptions(manifest, options, targets);
  addTunings(manifest, options, targets);
  manifest.addInput("model", options.model, !options.noWeights);
  if (!options.noWeights) manifest.addInput("--weights", options.weights, true);
  if (options.tokenizer != "none") manifest.addInput("--tokenizer", options.tokenizer, false);
  return manifest.hash();
}

bool isUpToDate(const std::string& path, uint64_t source_id) {
  if (source_id == 0 || !looksLikePlan(path)) return false;
  const auto open = openPlan(path);
  if (!open.ok() || open->plan->source_id() != source_id) return false;
  if (!open->plan->has_weights()) return true;
  const auto weights = MappedFile::open(llmrt::defaultWeightsPath(path));
  llmrt::WeightsHeader header;
  if (!weights.ok() || weights->size() < sizeof header) return false;
  std::memcpy(&header, weights->data(), sizeof header);
  return llmrt::weightsBelong(*open->plan, header) && weights->size() == header.bytes;
}

}  // namespace llmc
