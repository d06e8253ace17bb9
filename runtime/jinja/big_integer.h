// Integers beyond 64 bits, as their decimal digits: they are read, written, compared and formatted.
// Arithmetic on them is refused (operations.cpp).
#pragma once

#include <string_view>

#include "runtime/jinja/value.h"

namespace llmrt::jinja {

/// The integer that decimal digits write, perhaps with a '-' before them; fails where there are
/// more than Python reads.
Value integerOf(Budget& budget, std::string_view digits);
/// A finite float without what is behind its point.
Value integerOf(Budget& budget, double value);

/// A number's or such an integer's; fails where it is beyond a float, as in Python.
double floatOf(const Value& value);

/// Whether `a` (such an integer) is below, equals or is above `b`, a number that is not NaN or
/// another one: negative, zero, positive.
int compareBig(const Value& a, const Value& b);

}  // namespace llmrt::jinja
