// Python's two ways to format: "%s" % x and "{}".format(x).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "runtime/jinja/operations.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

struct Spec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =
  char sign = '-';
  bool alternate = false, zero = false;
  int64_t width = 0, precision = -1;
  char separator = '\0';  // , or _
  char type = '\0';
};

constexpr int64_t kMaxDigits = 400;  // behind the point of a float

int64_t parseNumber(std::string_view text, size_t& i) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + i, text.data() + text.size(), number);
  if (error != std::errc() || number > INT32_MAX) fail("a number in a format is too large");
  i = static_cast<size_t>(end - text.data());
  return number;
}

bool digitAt(std::string_view text, size_t i) {
  return i < text.size() && text[i] >= '0' && text[i] <= '9';
}

// 1234567 -> 1,234,567: the digits before a point or an exponent.
std::string grouped(std::string digits, char separator) {
  if (separator == '\0') return digits;
  size_t end = std::min(digits.find_first_of(".e"), digits.size());
  while (end > 3) digits.insert(end -= 3, 1, separator);
  return digits;
}

std::string digitsOf(uint64_t value, int base, bool upper) {
  char buffer[65];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, base);
  std::string digits(buffer, end.ptr);
  return upper ? toUpper(digits) : digits;
}

std::string floatDigits(double value, const Spec& spec) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : "inf";
  const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
  if (spec.precision > kMaxDigits) fail("a precision in a format is too large");
  char buffer[800];
  const char* pattern = spec.type == 'e'   ? "%.*e"
                        : spec.type == 'E' ? "%.*E"
                        : spec.type == 'g' ? "%.*g"
                        : spec.type == 'G' ? "%.*G"
                                           : "%.*f";
  const int n = std::snprintf(buffer, sizeof buffer, pattern, precision, value);
  return std::string(buffer, static_cast<size_t>(std::clamp(n, 0, 799)));
}

void appendPadded(TextBuilder& out, std::string_view sign, std::string_view body, const Spec& spec,
                  char default_align) {
  const auto length = static_cast<int64_t>(sign.size() + countCodePoints(body));
  const int64_t padding = std::max<int64_t>(0, spec.width - length);
  const char align = spec.align != '\0' ? spec.align : default_align;
  const int64_t left = align == '<' || align == '=' ? 0 : align == '^' ? padding / 2 : padding;
  out.budget().reserve(static_cast<uint64_t>(padding));
  const auto fill = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) out.append(spec.fill);
  };
  fill(left);
  out.append(sign);
  if (align == '=') fill(padding);
  out.append(body);
  if (align != '=') fill(padding - left);
}

const char* signOf(bool negative, const Spec& spec) {
  return negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
}

void appendFormattedInteger(TextBuilder& out, int64_t value, const Spec& spec) {
  const uint64_t magnitude =
      value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
  std::string sign = signOf(value < 0, spec), digits;
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
      digits = grouped(digitsOf(magnitude, 10, false), spec.separator);
  }
  appendPadded(out, sign, digits, spec, spec.zero ? '=' : '>');
}

void appendFormattedFloat(TextBuilder& out, double value, const Spec& spec) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  std::string digits;
  if (spec.type == '%') {
    digits = floatDigits(std::fabs(value) * 100, spec) + "%";
  } else if (spec.type == '\0' && spec.precision < 0) {
    digits = floatText(std::fabs(value));
  } else {
    Spec fixed = spec;
    if (spec.type == '\0') fixed.type = 'g';
    digits = floatDigits(std::fabs(value), fixed);
  }
  appendPadded(out, signOf(negative, spec), grouped(std::move(digits), spec.separator), spec,
               spec.zero ? '=' : '>');
}

void appendFormattedText(TextBuilder& out, std::string_view text, const Spec& spec, char align) {
  if (spec.precision >= 0)
    text = text.substr(0, offsetOfCodePoint(text, static_cast<size_t>(spec.precision)));
  appendPadded(out, "", text, spec, align);
}

// --- %

// Hands out the right side of a %: a tuple's items one by one, a dict's by name, or itself once.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& value) : value_(value) {
    if (const Sequence* s = value.asSequence(); s && s->isTuple()) tuple_ = s;
  }
  Value next() {
    if (tuple_ ? used_ >= tuple_->items.size() : used_ > 0)
      fail("not enough arguments for the format string");
    return tuple_ ? tuple_->items[used_++] : (++used_, value_);
  }
  Value named(Budget& budget, std::string_view name) {
    if (!value_.asDict()) fail("format requires a mapping");
    const Value* found = value_.asDict()->find(budget, Value::string(std::string(name)));
    if (!found) fail(fmt::format("the format's '{}' is not given", name));
    used_ = 1;
    return *found;
  }
  bool all() const {
    return tuple_ ? used_ == tuple_->items.size()
                  : used_ == 1 || value_.asDict() || value_.asSequence();
  }

 private:
  const Value& value_;
  const Sequence* tuple_ = nullptr;
  size_t used_ = 0;
};

void appendPercent(TextBuilder& out, const Value& value, Spec spec, bool markup) {
  requireDefined(value);
  switch (spec.type) {
    case 's':
    case 'r': {
      TextBuilder text(out.budget());
      if (spec.type == 'r') {
        appendRepr(text, value);
      } else if (markup) {
        text.append(escape(out.budget(), value).asString());
      } else {
        appendString(text, value);
      }
      return appendFormattedText(out, text.text(), spec, '>');
    }
    case 'c': {
      if (!value.isString() || countCodePoints(value.asString()) != 1) fail("%c takes a character");
      return appendFormattedText(out, value.asString(), spec, '>');
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': {
      if (!value.isNumber()) fail(fmt::format("%{} takes a number", spec.type));
      if (value.isFloat() && std::fabs(value.asFloat()) >= 0x1p63)
        fail("a float is too large for %d");
      if (value.isFloat() && (spec.type == 'x' || spec.type == 'X' || spec.type == 'o'))
        fail(fmt::format("%{} takes an integer", spec.type));
      const auto integer =
          value.isFloat() ? static_cast<int64_t>(value.asFloat()) : *value.asInteger();
      return appendFormattedInteger(out, integer, spec);
    }
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      if (!value.isNumber()) fail(fmt::format("%{} takes a number", spec.type));
      if (spec.precision < 0) spec.precision = 6;
      return appendFormattedFloat(out, value.asNumber(), spec);
    default:
      fail("a format has an unknown conversion");
  }
}

// --- {}

// "name.attribute[key]" of a replacement field. `next`: the number of the next unnamed field.
Value fieldValue(Budget& budget, std::string_view field, const Arguments& arguments, size_t& next) {
  const size_t name_end = std::min(field.find_first_of(".["), field.size());
  const std::string_view name = field.substr(0, name_end);
  Value value;
  if (name.empty() || digitAt(name, 0)) {
    size_t i = 0;
    const auto index = name.empty() ? next++ : static_cast<size_t>(parseNumber(name, i));
    if (index >= arguments.positional.size()) fail("a replacement field has no argument");
    value = arguments.positional[index];
  } else {
    const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [name](const auto& a) { return a.first == name; });
    if (found == arguments.named.end()) fail(fmt::format("the format's '{}' is not given", name));
    value = found->second;
  }
  for (field.remove_prefix(name_end); !field.empty();) {
    const bool subscript = field[0] == '[';
    const size_t end =
        subscript ? field.find(']') : std::min(field.find_first_of(".[", 1), field.size());
    if (end == std::string_view::npos) fail("a replacement field has no ']'");
    const std::string_view key = field.substr(1, end - 1);
    if (!subscript) {
      value = getAttribute(budget, value, std::string(key));
    } else if (digitAt(key, 0)) {
      size_t i = 0;
      value = getItem(budget, value, Value::integer(parseNumber(key, i)));
    } else {
      value = getItem(budget, value, Value::string(std::string(key)));
    }
    requireDefined(value);
    field.remove_prefix(subscript ? end + 1 : end);
  }
  return value;
}

Spec parseSpec(std::string_view text) {
  Spec spec;
  size_t i = 0;
  const auto isAlign = [&](size_t at) {
    return at < text.size() && std::string_view("<>^=").find(text[at]) != std::string_view::npos;
  };
  const size_t first = text.empty() ? 0 : utf8Length(static_cast<unsigned char>(text[0]));
  if (isAlign(first)) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    i = first + 1;
  } else if (isAlign(0)) {
    spec.align = text[i++];
  }
  const auto skip = [&](char c) { return i < text.size() && text[i] == c && (++i, true); };
  if (i < text.size() && std::string_view("+- ").find(text[i]) != std::string_view::npos)
    spec.sign = text[i++];
  spec.alternate = skip('#');
  if (skip('0') && spec.align == '\0') spec.zero = true, spec.fill = "0";
  if (digitAt(text, i)) spec.width = parseNumber(text, i);
  if (i < text.size() && (text[i] == ',' || text[i] == '_')) spec.separator = text[i++];
  if (skip('.')) {
    if (!digitAt(text, i)) fail("a format has no precision behind its point");
    spec.precision = parseNumber(text, i);
  }
  if (i < text.size()) spec.type = text[i++];
  if (i < text.size()) fail("a format specification is not understood");
  return spec;
}

void appendBraces(TextBuilder& out, const Value& value, std::string_view spec_text) {
  requireDefined(value);
  const Spec spec = parseSpec(spec_text);
  const bool float_type =
      spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  if (value.isFloat() || (value.isNumber() && float_type))
    return appendFormattedFloat(out, value.asNumber(), spec);
  const bool integer_type =
      spec.type == '\0' ? value.isInt()
                        : std::string_view("dxXob").find(spec.type) != std::string_view::npos;
  if (integer_type && value.asInteger())
    return appendFormattedInteger(out, *value.asInteger(), spec);
  if (spec.type != '\0' && spec.type != 's') fail("a format specification does not fit its value");
  if (!spec_text.empty() && !value.isString() && !value.isBool())
    fail(fmt::format("'{}' takes no format specification", value.typeName()));
  appendFormattedText(out, toString(out.budget(), value), spec, '<');
}

}  // namespace

Value formatPercent(Budget& budget, const Value& format, const Value& value) {
  const std::string_view text = format.asString();
  PercentArguments arguments(value);
  TextBuilder out(budget);
  for (size_t i = 0; i < text.size(); ++i) {
    budget.step();
    const size_t percent = text.find('%', i);
    out.append(text.substr(i, percent - i));
    if (percent == std::string_view::npos) break;
    i = percent + 1;
    std::optional<std::string_view> name;
    if (i < text.size() && text[i] == '(') {
      const size_t end = text.find(')', i);
      if (end == std::string_view::npos) fail("a format has no ')'");
      name = text.substr(i + 1, end - i - 1);
      i = end + 1;
    }
    Spec spec;
    for (; i < text.size() && std::string_view("-+ #0").find(text[i]) != std::string_view::npos;
         ++i) {
      if (text[i] == '-') spec.align = '<';
      if (text[i] == '+' || (text[i] == ' ' && spec.sign != '+')) spec.sign = text[i];
      if (text[i] == '#') spec.alternate = true;
      if (text[i] == '0') spec.zero = true;
    }
    if (digitAt(text, i)) spec.width = parseNumber(text, i);
    if (i < text.size() && text[i] == '.') {
      ++i;
      spec.precision = digitAt(text, i) ? parseNumber(text, i) : 0;
    }
    if (i == text.size()) fail("a format ends within a conversion");
    spec.type = text[i];
    if (spec.type == '%') {
      out.append("%");
      continue;
    }
    const bool numeric = std::string_view("src").find(spec.type) == std::string_view::npos;
    if (spec.zero && numeric && spec.align == '\0') spec.fill = "0", spec.align = '=';
    appendPercent(out, name ? arguments.named(budget, *name) : arguments.next(), spec,
                  format.isMarkup());
  }
  if (!arguments.all()) fail("not all arguments were converted by the format string");
  return Value::string(out.take(), format.isMarkup());
}

Value formatBraces(Budget& budget, const Value& format, const Arguments& arguments) {
  const std::string_view text = format.asString();
  TextBuilder out(budget);
  size_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    budget.step();
    const size_t brace = text.find_first_of("{}", i);
    out.append(text.substr(i, brace - i));
    if (brace == std::string_view::npos) break;
    i = brace;
    if (i + 1 < text.size() && text[i + 1] == text[i]) {
      out.append(text.substr(i++, 1));
      continue;
    }
    const size_t end = text.find_first_of("{}", i + 1);
    if (text[i] == '}' || end == std::string_view::npos || text[end] == '{')
      fail("a format has a brace without its partner");
    std::string_view field = text.substr(i + 1, end - i - 1), spec;
    if (const size_t colon = field.find(':'); colon != std::string_view::npos) {
      spec = field.substr(colon + 1);
      field = field.substr(0, colon);
    }
    char conversion = '\0';
    if (const size_t mark = field.find('!'); mark != std::string_view::npos) {
      const std::string_view after = field.substr(mark + 1);
      if (after != "r" && after != "s") fail("a format has an unknown conversion");
      conversion = after[0];
      field = field.substr(0, mark);
    }
    Value value = fieldValue(budget, field, arguments, next);
    if (conversion == 'r') {
      TextBuilder shown(budget);
      appendRepr(shown, value);
      value = Value::string(shown.take());
    } else if (conversion == 's') {
      value = Value::string(toString(budget, value));
    }
    if (format.isMarkup()) value = Value::string(std::string(escape(budget, value).asString()));
    appendBraces(out, value, spec);
    i = end;
  }
  return Value::string(out.take(), format.isMarkup());
}

}  // namespace llmrt::jinja
