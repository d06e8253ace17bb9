#include "runtime/io/model_file.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "runtime/io/gguf.h"

namespace llmrt {
namespace {

namespace fs = std::filesystem;

// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: a pointer begins so, and is shorter
// than 1024 bytes.
constexpr std::string_view kLfsPointer = "version https://git-lfs.github.com/spec/";
constexpr uint64_t kLfsPointerBytes = 1024;

// A path that ends so is a file somebody forgot, not a model of the hub.
constexpr std::string_view kFileExtensions[] = {
    ".fb",    ".gguf",    ".json", ".safetensors", ".bin",  ".pth",      ".pt",       ".model",
    ".jinja", ".weights", ".txt",  ".ggml",        ".plan", ".tiktoken", ".llamafile"};

bool isHubCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '_' || c == '.';
}

bool isHubPart(std::string_view part) {
  return !part.empty() && part.front() != '.' && part.front() != '-' &&
         std::all_of(part.begin(), part.end(), isHubCharacter);
}

bool looksLikeHubName(std::string_view path) {
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view organisation = path.substr(0, slash), model = path.substr(slash + 1);
  if (!isHubPart(organisation) || !isHubPart(model)) return false;
  if (std::any_of(std::begin(kFileExtensions), std::end(kFileExtensions),
                  [&](std::string_view extension) { return model.ends_with(extension); }))
    return false;
  std::error_code ignored;
  return !fs::exists(fs::path(organisation), ignored);
}

}  // namespace

Status noSuchModel(const std::string& path) {
  std::string message = path + ": no such file or directory";
  if (looksLikeHubName(path)) {
    const std::string folder = path.substr(path.find('/') + 1);
    message += "; if it is a model of the Hugging Face Hub, download it (hf download " + path +
               " --local-dir " + folder + ") and give llmc the folder " + folder;
  }
  return notFound(std::move(message));
}

std::string modelName(const fs::path& path) {
  std::error_code error;
  fs::path full = fs::absolute(path, error).lexically_normal();
  if (full.filename().empty()) full = full.parent_path();
  if (full.filename() == "config.json") return full.parent_path().filename().string();
  if (fs::is_directory(full, error)) return full.filename().string();
  // The parts of a split model share its name.
  if (const auto part = parseGgufPartName(full.string()))
    return fs::path(part->prefix).filename().string();
  return full.stem().string();
}

Result<MappedFile> openModelFile(const std::string& path) {
  Result<MappedFile> file = MappedFile::open(path);
  if (!file.ok())
    return file.status().code() == StatusCode::kNotFound ? noSuchModel(path) : file.status();
  if (file->size() < kLfsPointerBytes && file->text().starts_with(kLfsPointer))
    return invalidData(path +
                       ": is a Git LFS pointer, not the file it stands for: run 'git lfs pull' in "
                       "its folder, or download the file itself");
  return file;
}

}  // namespace llmrt
