// What stands behind the % or the : of Python's formats, and a number or text written by it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/jinja/builders.h"

namespace llmrt::jinja {

struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =
  char sign = '-';
  bool alternate = false, zero = false;
  int64_t width = 0, precision = -1;
  char separator = '\0';  // , or _
  char type = '\0';
};

/// As printf's "%.*f", for a precision of 0 or 1. Of 300 digits fmt takes 30 us, this 0.3.
std::string fixedDigits(double value, int precision);

void appendFormattedInteger(TextBuilder& out, int64_t value, const FormatSpec& spec);
/// An integer beyond 64 bits (Value::isBigInt()).
void appendFormattedInteger(TextBuilder& out, std::string_view digits, const FormatSpec& spec);
void appendFormattedFloat(TextBuilder& out, double value, const FormatSpec& spec);
/// `align`: where the spec says none.
void appendFormattedText(TextBuilder& out, std::string_view text, const FormatSpec& spec,
                         char align);

}  // namespace llmrt::jinja
