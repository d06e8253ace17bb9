#include "runtime/jinja/big_integer.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>

#include "runtime/jinja/format_spec.h"

namespace llmrt::jinja {
namespace {

bool isNegative(std::string_view digits) { return digits.starts_with('-'); }

int compareDigits(std::string_view a, std::string_view b) {
  if (isNegative(a) != isNegative(b)) return isNegative(a) ? -1 : 1;
  const int sign = isNegative(a) ? -1 : 1;
  if (a.size() != b.size()) return a.size() < b.size() ? -sign : sign;
  return sign * a.compare(b);
}

}  // namespace

Value integerOf(Budget& budget, std::string_view digits) {
  constexpr size_t kMaxDigits = 4300;  // as Python's int()
  int64_t value = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc())
    return Value::integer(value);
  const bool negative = isNegative(digits);
  digits.remove_prefix(negative);
  digits.remove_prefix(digits.find_first_not_of('0'));  // there is one: it did not fit
  if (digits.size() > kMaxDigits)
    fail(fmt::format("an integer has more than {} digits", kMaxDigits));
  return Value::bigInteger(budget, (negative ? "-" : "") + std::string(digits));
}

Value integerOf(Budget& budget, double value) {
  budget.step(8 + static_cast<uint64_t>(std::fabs(value) < 1 ? 0 : std::ilogb(value)) / 8);
  return integerOf(budget, fixedDigits(std::trunc(value), 0));
}

double floatOf(const Value& value) {
  if (!value.isBigInt()) return value.asNumber();
  const double number = std::strtod(std::string(value.bigDigits()).c_str(), nullptr);
  if (!std::isfinite(number)) fail("an integer is too large for a float");
  return number;
}

int compareBig(const Value& a, const Value& b) {
  if (b.isBigInt()) return compareDigits(a.bigDigits(), b.bigDigits());
  const int sign = isNegative(a.bigDigits()) ? -1 : 1;
  if (!b.isFloat() || std::fabs(b.asFloat()) < 0x1p63) return sign;
  if (std::isinf(b.asFloat())) return b.asFloat() < 0 ? 1 : -1;
  // Such a float is an integer.
  return compareDigits(a.bigDigits(), fixedDigits(b.asFloat(), 0));
}

}  // namespace llmrt::jinja
