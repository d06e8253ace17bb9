#include "runtime/io/json.h"

#include "runtime/io/mapped_file.h"

namespace llmrt {
namespace {

constexpr int kMaxDepth = 64;
constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;

// nlohmann's values nest on the heap, but whoever walks them recurses: the depth is checked before
// anything is built.
bool tooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

std::string jsonErrorText(const std::exception& error) {
  constexpr size_t kMaxBytes = 240;
  std::string text = error.what();
  if (size_t end = text.find("] "); text.starts_with("[json") && end != std::string::npos)
    text.erase(0, end + 2);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (text.size() > kMaxBytes) text = text.substr(0, kMaxBytes) + "...";
  return text;
}

Result<nlohmann::json> parseJson(std::string_view text, const std::string& name) {
  if (tooDeep(text))
    return invalidData(name + ": JSON nested deeper than " + std::to_string(kMaxDepth));
  try {
    return nlohmann::json::parse(text);
  } catch (const std::bad_alloc&) {
    return outOfMemory(name + ": not enough memory to parse " + std::to_string(text.size()) +
                       " bytes of JSON");
  } catch (const std::exception& error) {
    return invalidData(name + ": malformed JSON: " + jsonErrorText(error));
  }
}

Result<nlohmann::json> readJsonFile(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  if (file.size() > kMaxFileBytes)
    return invalidData(path + ": " + std::to_string(file.size()) +
                       " bytes are too many for a JSON file");
  return parseJson(file.text(), path);
}

}  // namespace llmrt
