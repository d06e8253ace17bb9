#include "runtime/text/stand_ins.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>

#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

struct Range {
  char32_t first, last;
};

bool asksForProperties(std::string_view pattern) {
  constexpr std::string_view kWhiteSpace = "{White_Space}";
  for (size_t at = 0; at + 1 < pattern.size(); ++at) {
    if (pattern.substr(at).starts_with("[:")) return true;
    if (pattern[at] != '\\') continue;
    ++at;  // what is escaped, so that "\\\\p" is no property
    if ((pattern[at] == 'p' || pattern[at] == 'P') &&
        !pattern.substr(at + 1).starts_with(kWhiteSpace)) {
      return true;
    }
    if (std::string_view("wWdDbB").find(pattern[at]) != std::string_view::npos) return true;
  }
  return false;
}

/// The character at `at`, spelled as it is or as \x{NNNN}; moves `at` behind it. Anything else that
/// begins with a backslash is none.
std::optional<char32_t> readCharacter(std::string_view pattern, size_t& at) {
  if (pattern[at] != '\\') {
    char32_t c = codePointAt(pattern, at);
    at += utf8Length(static_cast<unsigned char>(pattern[at]));
    return c;
  }
  size_t end = pattern.substr(at).starts_with("\\x{") ? pattern.find('}', at) : pattern.npos;
  if (end == pattern.npos) {
    at = std::min(at + 2, pattern.size());  // and to the end of a long character
    while (at < pattern.size() && (static_cast<unsigned char>(pattern[at]) & 0xc0) == 0x80) ++at;
    return std::nullopt;
  }
  uint32_t value = 0;
  auto [stop, error] = std::from_chars(pattern.data() + at + 3, pattern.data() + end, value, 16);
  at = end + 1;
  if (error != std::errc()) return std::nullopt;
  return static_cast<char32_t>(value);
}

/// All characters and ranges that `pattern` names, within classes or not.
std::vector<Range> namedRanges(std::string_view pattern) {
  std::vector<Range> ranges;
  for (size_t at = 0; at < pattern.size();) {
    auto first = readCharacter(pattern, at);
    if (!first) continue;
    char32_t last = *first;
    if (at + 1 < pattern.size() && pattern[at] == '-') {
      size_t next = at + 1;
      if (auto c = readCharacter(pattern, next); c && *c >= *first) {
        last = *c;
        at = next;
      }
    }
    ranges.push_back({*first, last});
  }
  return ranges;
}

/// Is each character of `run` in `range` where its stand-in is, and only there?
bool agrees(const StandIn& run, const Range& range) {
  auto holds = [&](char32_t c) { return range.first <= c && c <= range.last; };
  bool apart = run.last < range.first || range.last < run.first;
  return holds(run.stand_in) ? holds(run.first) && holds(run.last) : apart;
}

}  // namespace

StandIns::StandIns(std::string_view pattern) {
  if (!isValidUtf8(pattern) || !asksForProperties(pattern)) return;
  std::vector<Range> named = namedRanges(pattern);
  for (const StandIn& run : standIns()) {
    if (!std::ranges::all_of(named, [&](const Range& range) { return agrees(run, range); })) {
      continue;
    }
    runs_.push_back(run);
    for (size_t block = run.first >> 8; block <= run.last >> 8; ++block) in_block_.set(block);
  }
}

bool StandIns::replace(std::string_view text, std::string& replaced) const {
  if (runs_.empty()) return false;
  bool found = false;
  for (size_t at = 0; at < text.size();) {
    if (at + 8 <= text.size()) {
      uint64_t word;
      std::memcpy(&word, text.data() + at, 8);
      if ((word & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    size_t length = utf8Length(static_cast<unsigned char>(text[at]));
    if (length > 1) {
      char32_t c = codePointAt(text, at);
      if (in_block_[c >> 8]) {
        auto run = std::ranges::lower_bound(runs_, c, {}, &StandIn::last);
        if (run != runs_.end() && run->first <= c) {
          if (!found) replaced = text;
          found = true;
          std::string stand_in;
          appendUtf8(run->stand_in, stand_in);
          replaced.replace(at, length, stand_in);
        }
      }
    }
    at += length;
  }
  return found;
}

}  // namespace llmrt
