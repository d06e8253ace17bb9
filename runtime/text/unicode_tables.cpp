#include "runtime/text/unicode_tables.h"

#include <algorithm>
#include <iterator>

namespace llmrt {
namespace {

struct CharacterRange {
  char32_t first, last;
};

struct LowerCase {
  char32_t first, last;
  int distance;
};

#include "runtime/text/unicode_tables.inc"

/// The entry that `c` is in; null: none.
template <typename Entry>
const Entry* find(std::span<const Entry> table, char32_t c) {
  auto it = std::ranges::upper_bound(table, c, {}, [](const Entry& entry) { return entry.first; });
  if (it == table.begin()) return nullptr;
  --it;
  return c <= it->last ? &*it : nullptr;
}

bool isIn(std::span<const CharacterRange> table, char32_t c) { return find(table, c) != nullptr; }

}  // namespace

std::span<const StandIn> standIns() { return kStandIns; }

char32_t standInOf(char32_t c) {
  const StandIn* run = find(standIns(), c);
  return run ? run->stand_in : c;
}

char32_t newerLowerCase(char32_t c) {
  const LowerCase* run = find(std::span<const LowerCase>(kNewerLowerCase), c);
  return run ? static_cast<char32_t>(static_cast<int>(c) + run->distance) : c;
}

bool isUndecomposed(char32_t c) { return isIn(kUndecomposed, c); }
bool isUnorderedMark(char32_t c) { return isIn(kUnordered, c); }
bool isStripped(char32_t c, bool is_mark) {
  return is_mark ? !isIn(kKeptMarks, c) : isIn(kOtherStripped, c);
}

}  // namespace llmrt
