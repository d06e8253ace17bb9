#include "runtime/io/json.h"

#include <limits>
#include <utility>
#include <vector>

#include "runtime/io/model_file.h"

namespace llmrt {
namespace {

constexpr int kMaxDepth = 64;
constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;

/// What Python's json module writes where JSON has no number, and the value.
constexpr std::pair<std::string_view, double> kPythonNumbers[] = {
    {"NaN", std::numeric_limits<double>::quiet_NaN()},
    {"Infinity", std::numeric_limits<double>::infinity()},
    {"-Infinity", -std::numeric_limits<double>::infinity()},
};

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isNumberCharacter(char c) {
  return isDigit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/// The one that begins at `i`, where a value may begin; null: none.
const std::pair<std::string_view, double>* pythonNumberAt(std::string_view text, size_t i) {
  constexpr std::string_view kBefore = " \t\r\n[:,";
  if (text[i] != 'N' && text[i] != 'I' && text[i] != '-') return nullptr;
  if (i > 0 && kBefore.find(text[i - 1]) == std::string_view::npos) return nullptr;
  for (const auto& number : kPythonNumbers)
    if (text.substr(i).starts_with(number.first)) return &number;
  return nullptr;
}

/// One walk over the text before anything is built.
struct Scan {
  // nlohmann's values nest on the heap, but whoever walks them recurses.
  bool too_deep = false;
  /// Python's numbers, in order: which number of the text each is, counted from 0, and its value.
  std::vector<std::pair<size_t, double>> python_numbers;
  /// `text` with a 0 in the place of each, and blanks, so that positions in errors stay right;
  /// empty where there is none.
  std::string replaced;
};

Scan scan(std::string_view text) {
  Scan out;
  int depth = 0;
  size_t numbers = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i)
        if (text[i] == '\\') ++i;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) {
        out.too_deep = true;
        return out;
      }
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (const auto* python = pythonNumberAt(text, i)) {
      const size_t size = python->first.size();
      if (out.replaced.empty()) out.replaced = text;
      out.replaced.replace(i, size, "0" + std::string(size - 1, ' '));
      out.python_numbers.emplace_back(numbers++, python->second);
      i += size - 1;
    } else if (c == '-' || isDigit(c)) {
      while (i + 1 < text.size() && isNumberCharacter(text[i + 1])) ++i;
      ++numbers;
    }
  }
  return out;
}

nlohmann::json parsePython(const Scan& scan) {
  size_t numbers = 0;
  auto next = scan.python_numbers.begin();
  return nlohmann::json::parse(
      scan.replaced, [&](int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
        if (event != nlohmann::json::parse_event_t::value || !parsed.is_number()) return true;
        if (next != scan.python_numbers.end() && next->first == numbers++) parsed = next++->second;
        return true;
      });
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
  const Scan scanned = scan(text);
  if (scanned.too_deep)
    return invalidData(name + ": JSON nested deeper than " + std::to_string(kMaxDepth));
  try {
    return scanned.python_numbers.empty() ? nlohmann::json::parse(text) : parsePython(scanned);
  } catch (const std::bad_alloc&) {
    return outOfMemory(name + ": not enough memory to parse " + std::to_string(text.size()) +
                       " bytes of JSON");
  } catch (const std::exception& error) {
    return invalidData(name + ": malformed JSON: " + jsonErrorText(error));
  }
}

Result<nlohmann::json> readJsonFile(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(MappedFile file, openModelFile(path));
  if (file.size() > kMaxFileBytes)
    return invalidData(path + ": " + std::to_string(file.size()) +
                       " bytes are too many for a JSON file");
  return parseJson(file.text(), path);
}

}  // namespace llmrt
