// From one enum to another that has the same cases: the dialect's, the schema's, the runtime's own.
#pragma once

#include <cstddef>
#include <string_view>

namespace llmrt {

namespace same_case {

/// The name of a case, without its enum's; empty where no case has the value. GCC and Clang spell
/// such a value as a cast: "(E)7".
template <auto kValue>
consteval std::string_view nameOf() {
  const std::string_view function = __PRETTY_FUNCTION__, key = "kValue = ";
  const size_t begin = function.find(key) + key.size();
  const std::string_view value =
      function.substr(begin, function.find_first_of(";]", begin) - begin);
  return value.front() == '(' ? std::string_view() : value.substr(value.rfind(':') + 1);
}

/// "kBF16" and "bf16" are one word in two styles.
consteval bool sameWord(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const auto skip = [&](std::string_view s) {
    return s.size() > 1 && s[0] == 'k' && lower(s[1]) != s[1] ? s.substr(1) : s;
  };
  a = skip(a);
  b = skip(b);
  size_t i = 0, j = 0;
  for (;; ++i, ++j) {
    while (i < a.size() && a[i] == '_') ++i;
    while (j < b.size() && b[j] == '_') ++j;
    if (i == a.size() || j == b.size()) return i == a.size() && j == b.size();
    if (lower(a[i]) != lower(b[j])) return false;
  }
}

}  // namespace same_case

/// Whether the cases of A and B, counted from 0 without a gap, are as many and have the same names.
template <typename A, typename B, int kFrom = 0>
consteval bool haveSameCases() {
  constexpr std::string_view a = same_case::nameOf<static_cast<A>(kFrom)>();
  constexpr std::string_view b = same_case::nameOf<static_cast<B>(kFrom)>();
  if constexpr (a.empty() || b.empty())
    return a.empty() && b.empty() && kFrom > 0;
  else
    return same_case::sameWord(a, b) && haveSameCases<A, B, kFrom + 1>();
}

/// The case of `To` that is called as `from` is.
template <typename To, typename From>
constexpr To sameCase(From from) {
  static_assert(haveSameCases<To, From>(), "the two enums do not have the same cases");
  return static_cast<To>(from);
}

}  // namespace llmrt
