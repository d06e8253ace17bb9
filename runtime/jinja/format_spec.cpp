#include "runtime/jinja/format_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "runtime/jinja/unicode.h"

namespace llmrt::jinja {
namespace {

constexpr int64_t kMaxDigits = 400;  // behind the point of a float

// 1234567 -> 1,234,567: `digits` up to `end`, by `size`.
std::string grouped(std::string digits, size_t end, size_t size, char separator) {
  if (separator == '\0') return digits;
  while (end > size) digits.insert(end -= size, 1, separator);
  return digits;
}

std::string digitsOf(uint64_t value, int base, bool upper) {
  char buffer[65];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, base);
  std::string digits(buffer, end.ptr);
  if (upper) {
    for (char& c : digits)
      if (c >= 'a') c = static_cast<char>(c - 'a' + 'A');
  }
  return digits;
}

// Digits far from the point take the C library as long as some hundred bytes of comparing, so they
// are paid for.
std::string floatDigits(Budget& budget, double value, const FormatSpec& spec) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : "inf";
  const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
  if (spec.precision > kMaxDigits) fail("a precision in a format is too large");
  char buffer[800];
  const char* pattern = spec.type == 'e'   ? "%#.*e"
                        : spec.type == 'E' ? "%#.*E"
                        : spec.type == 'g' ? "%#.*g"
                        : spec.type == 'G' ? "%#.*G"
                                           : "%#.*f";
  std::string plain = pattern;
  if (!spec.alternate) plain.erase(1, 1);
  const int n = std::snprintf(buffer, sizeof buffer, plain.c_str(), precision, value);
  const auto length = static_cast<size_t>(std::clamp(n, 0, 799));
  budget.step(8 + length / 4);
  return std::string(buffer, length);
}

// As 'g', but with a digit behind the point, for which the exponent comes one digit earlier.
std::string generalDigits(Budget& budget, double value, FormatSpec spec) {
  if (!std::isfinite(value)) return floatDigits(budget, value, spec);
  spec.precision = std::max<int64_t>(spec.precision, 1);
  spec.type = 'e';
  const int64_t precision = std::exchange(spec.precision, spec.precision - 1);
  std::string digits = floatDigits(budget, value, spec);
  const size_t e = digits.find('e');
  const int exponent = std::atoi(digits.c_str() + e + 1);
  const bool scientific = exponent < -4 || exponent >= precision - 1;
  const auto trim = [](std::string text) {
    if (text.find('.') == std::string::npos) return text;
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text;
  };
  if (scientific) return trim(digits.substr(0, e)) + digits.substr(e);
  spec.type = 'f';
  spec.precision = std::max<int64_t>(precision - 1 - exponent, 1);
  digits = trim(floatDigits(budget, value, spec));
  return digits.find('.') == std::string::npos ? digits + ".0" : digits;
}

void appendPadded(TextBuilder& out, std::string_view sign, std::string_view body,
                  const FormatSpec& spec, char default_align) {
  const auto length = static_cast<int64_t>(sign.size() + countCodePoints(body));
  const int64_t padding = std::max<int64_t>(0, spec.width - length);
  const char align = spec.align != '\0' ? spec.align : default_align;
  out.expect(static_cast<uint64_t>(padding), spec.fill.size());
  const int64_t left = align == '<' || align == '=' ? 0 : align == '^' ? padding / 2 : padding;
  const auto fill = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) out.append(spec.fill);
  };
  fill(left);
  out.append(sign);
  if (align == '=') fill(padding);
  out.append(body);
  if (align != '=') fill(padding - left);
}

const char* signOf(bool negative, const FormatSpec& spec) {
  return negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
}

void appendDigits(TextBuilder& out, std::string_view sign, std::string digits, size_t group_size,
                  const FormatSpec& spec) {
  if (spec.precision > kMaxDigits) fail("a precision in a format is too large");
  if (const auto least = static_cast<size_t>(std::max<int64_t>(spec.precision, 0));
      digits.size() < least)
    digits.insert(0, least - digits.size(), '0');
  const size_t end = digits.size();
  digits = grouped(std::move(digits), end, group_size, spec.separator);
  appendPadded(out, sign, digits, spec, spec.zero ? '=' : '>');
}

}  // namespace

std::string fixedDigits(double value, int precision) {
  char digits[330];
  return {digits,
          std::to_chars(digits, std::end(digits), value, std::chars_format::fixed, precision).ptr};
}

void appendFormattedInteger(TextBuilder& out, int64_t value, const FormatSpec& spec) {
  const uint64_t magnitude =
      value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
  std::string sign = signOf(value < 0, spec), digits;
  const bool decimal = std::string_view("xXob").find(spec.type) == std::string_view::npos;
  if (!decimal && spec.separator == ',') fail("a format groups hexadecimal digits with '_'");
  switch (spec.type) {
    case 'x':
    case 'X':
      digits = digitsOf(magnitude, 16, spec.type == 'X');
      if (spec.alternate) sign += spec.type == 'X' ? "0X" : "0x";
      break;
    case 'o':
      digits = digitsOf(magnitude, 8, false);
      if (spec.alternate) sign += "0o";
      break;
    case 'b':
      digits = digitsOf(magnitude, 2, false);
      if (spec.alternate) sign += "0b";
      break;
    default:
      digits = digitsOf(magnitude, 10, false);
  }
  appendDigits(out, sign, std::move(digits), decimal ? 3 : 4, spec);
}

void appendFormattedInteger(TextBuilder& out, std::string_view digits, const FormatSpec& spec) {
  if (std::string_view("xXob").find(spec.type) != std::string_view::npos)
    fail(fmt::format("'{}' of an integer beyond 64 bits is not supported", spec.type));
  const bool negative = digits.starts_with('-');
  out.budget().scan(digits.size() * digits.size() / 8);  // what grouping moves
  appendDigits(out, signOf(negative, spec), std::string(digits.substr(negative)), 3, spec);
}

void appendFormattedFloat(TextBuilder& out, double value, const FormatSpec& spec) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  std::string digits;
  if (spec.type == '%') {
    digits = floatDigits(out.budget(), std::fabs(value) * 100, spec) + "%";
  } else if (spec.type == '\0' && spec.precision < 0) {
    digits = floatText(std::fabs(value));
  } else if (spec.type == '\0') {
    digits = generalDigits(out.budget(), std::fabs(value), spec);
  } else {
    digits = floatDigits(out.budget(), std::fabs(value), spec);
  }
  const size_t end = std::min(digits.find_first_of(".e%"), digits.size());
  appendPadded(out, signOf(negative, spec), grouped(std::move(digits), end, 3, spec.separator),
               spec, spec.zero ? '=' : '>');
}

void appendFormattedText(TextBuilder& out, std::string_view text, const FormatSpec& spec,
                         char align) {
  if (spec.precision >= 0)
    text = text.substr(0, offsetOfCodePoint(text, static_cast<size_t>(spec.precision)));
  appendPadded(out, "", text, spec, align);
}

}  // namespace llmrt::jinja
