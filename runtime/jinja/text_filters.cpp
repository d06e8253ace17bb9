// Filters of texts and numbers.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iterator>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/big_integer.h"
#include "runtime/jinja/builders.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/json_text.h"
#include "runtime/jinja/operations.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

// A method of strings as a filter: what it is called on becomes a string first, markup where it is.
Value callTextMethod(Budget& budget, const Value& input, const char* method,
                     const Arguments& arguments) {
  return callMethod(budget, toText(budget, input), method, arguments);
}

Value upper(Budget& b, const Value& input, const Arguments& a) {
  return callTextMethod(b, input, "upper", a);
}
Value lower(Budget& b, const Value& input, const Arguments& a) {
  return callTextMethod(b, input, "lower", a);
}
Value capitalize(Budget& b, const Value& input, const Arguments& a) {
  return callTextMethod(b, input, "capitalize", a);
}
Value trim(Budget& b, const Value& input, const Arguments& a) {
  return callTextMethod(b, input, "strip", a);
}

Value center(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("center", arguments, {"width"});
  return callTextMethod(budget, input, "center", {{Value::integer(p.integer(0, 80))}, {}});
}

// Jinja2's own idea of words: they begin behind spaces, dashes and opening brackets.
Value title(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("title", arguments, {});
  const Value source = toText(budget, input);
  const std::string_view text = source.asString();
  TextBuilder out(budget);
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    const auto separates = [&](size_t at) {
      const char32_t c = codePointAt(text, at);
      return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || isSpace(c);
    };
    const bool separator = separates(i);
    while (end < text.size() && separates(end) == separator)
      end += utf8Length(static_cast<unsigned char>(text[end]));
    const size_t first = utf8Length(static_cast<unsigned char>(text[i]));
    appendUpper(out, text.substr(i, first));
    appendLower(out, text.substr(i + first, end - i - first));
    i = end;
  }
  return out.value();
}

Value replace(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("replace", arguments, {"old", "new", "count"}, 2);
  const auto plain = [&](const Value& v) {
    return Value::string(budget, toText(budget, v).asString());
  };
  Arguments texts{{plain(p[0]), plain(p[1])}, {}};
  if (!p.isNone(2)) texts.positional.push_back(p[2]);
  return callTextMethod(budget, plain(input), "replace", texts);
}

Value spaces(Budget& budget, int64_t count) {
  TextBuilder out(budget);
  out.append(static_cast<size_t>(std::max<int64_t>(0, count)), ' ');
  return out.value();
}

Value indent(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("indent", arguments, {"width", "first", "blank"});
  const Value source = toText(budget, input);
  const Value space_text = p.has(0) && p[0].isString() ? p[0] : spaces(budget, p.integer(0, 4));
  const std::string_view space = space_text.asString();
  TextBuilder with_newline(budget);
  with_newline.append(source.asString());
  with_newline.append("\n");
  const std::string text = with_newline.take();
  TextBuilder out(budget);
  if (p.flag(1)) out.append(space);
  for (size_t begin = 0; begin < text.size();) {
    const LineEnd line = findLineEnd(text, begin);
    if (begin > 0) {
      out.append("\n");
      if (line.end > begin || p.flag(2)) out.append(space);
    }
    out.append(std::string_view(text).substr(begin, line.end - begin));
    begin = line.next;
  }
  return out.value(source.isMarkup());
}

Value truncate(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const Value source = toText(budget, input);
  const std::string_view end = p.text(2, "...");
  const int64_t length = p.integer(0, 255), leeway = p.integer(3, 5);
  const auto end_length = static_cast<int64_t>(countCodePoints(end));
  if (length < end_length || leeway < 0) fail("truncate() takes a length longer than its end");
  if (*lengthOf(budget, source) <= length || *lengthOf(budget, source) - length <= leeway)
    return source;
  const std::string_view text = source.asString();
  std::string_view kept =
      text.substr(0, offsetOfCodePoint(text, static_cast<size_t>(length - end_length)));
  if (!p.flag(1)) kept = kept.substr(0, kept.rfind(' '));
  TextBuilder out(budget);
  out.append(kept);
  out.append(end);
  return out.value(source.isMarkup());
}

Value wordCount(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("wordcount", arguments, {});
  const Value shown = toText(budget, input);
  const std::string_view text = shown.asString();
  int64_t words = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    budget.step();
    const bool is_word = isAlnum(codePointAt(text, i)) || text[i] == '_';
    words += is_word && !in_word;
    in_word = is_word;
  }
  return Value::integer(words);
}

Value string(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("string", arguments, {});
  return toText(budget, input);
}

Value safe(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("safe", arguments, {});
  return Value::string(budget, toText(budget, input).asString(), true);
}

Value escapeFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("escape", arguments, {});
  return escape(budget, input);
}

Value forceEscape(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("forceescape", arguments, {});
  return escape(budget, Value::string(budget, toText(budget, input).asString()));
}

Value format(Budget& budget, const Value& input, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    fail("format() takes positional or named arguments, not both");
  const Value text = toText(budget, input);
  if (!arguments.named.empty()) {
    Dict named;
    for (const auto& [name, argument] : arguments.named) named.set(budget, name, argument);
    return formatPercent(budget, text, Value::dict(budget, std::move(named)));
  }
  ListBuilder values(budget);
  values.addAll(arguments.positional);
  return formatPercent(budget, text, values.tuple());
}

Value tojson(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = p.flag(0);
  style.sort_keys = p.flag(3);
  if (!p.isNone(1)) {
    style.indent = (p[1].isString() ? p[1] : spaces(budget, p.integer(1, 0))).asString();
    style.item_separator = ",";
  }
  if (!p.isNone(2)) {
    const Sequence* pair = p[2].asSequence();
    if (!pair || pair->items.size() != 2 || !pair->items[0].isString() ||
        !pair->items[1].isString())
      fail("tojson() takes two strings as separators");
    style.item_separator = pair->items[0].asString();
    style.key_separator = pair->items[1].asString();
  }
  return jsonText(budget, input, style);
}

// A number's text with the digits of any script as ASCII ones, and without the underscores that
// Python allows between two of them. "?" stands for what cannot be in a number.
std::string asciiNumber(Budget& budget, std::string_view text) {
  std::string out;
  out.reserve(text.size() + 1);  // and a sign
  for (size_t i = 0, next; i < text.size(); i = next) {
    budget.step();
    const char32_t c = codePointAt(text, i);
    next = i + utf8Length(static_cast<unsigned char>(text[i]));
    if (c == '_') {
      const bool between_digits = i > 0 && next < text.size() &&
                                  isAlnum(codePointAt(text, previousCharacter(text, i))) &&
                                  isAlnum(codePointAt(text, next));
      if (!between_digits) out += '?';
    } else if (c < 0x80) {
      out += static_cast<char>(c);
    } else {
      out += isDecimal(c) ? static_cast<char>('0' + decimalValue(c)) : '?';
    }
  }
  return out;
}

// A text's number in `base`; nullopt where it is none. Python's int(): spaces around.
std::optional<Value> parseInteger(Budget& budget, std::string_view text, int64_t base) {
  const Budget::Loan loan(budget, text.size() + 1);
  std::string digits = asciiNumber(budget, stripRight(stripLeft(text)));
  const bool has_sign = digits.starts_with('-') || digits.starts_with('+');
  const bool negative = digits.starts_with('-');
  if (has_sign) digits.erase(0, 1);
  const char prefix =
      digits.size() > 2 && digits[0] == '0' ? static_cast<char>(digits[1] | 0x20) : '0';
  if ((prefix == 'x' && base == 16) || (prefix == 'o' && base == 8) || (prefix == 'b' && base == 2))
    digits.erase(0, 2);
  if (digits.starts_with('-')) return std::nullopt;
  if (negative) digits.insert(0, 1, '-');
  int64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, static_cast<int>(base));
  if (error == std::errc::invalid_argument || end != digits.data() + digits.size())
    return std::nullopt;
  if (error == std::errc()) return Value::integer(value);
  if (base != 10) fail("an integer does not fit in 64 bits");
  return integerOf(budget, digits);
}

std::optional<double> parseFloat(Budget& budget, std::string_view text) {
  text = stripRight(stripLeft(text));
  const Budget::Loan loan(budget, 2 * text.size());
  const std::string digits = asciiNumber(budget, text);
  std::string lowered = digits;
  for (char& c : lowered) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const std::string_view unsigned_text =
      std::string_view(lowered).substr(lowered.starts_with('-') || lowered.starts_with('+'));
  const bool word = unsigned_text == "inf" || unsigned_text == "infinity" || unsigned_text == "nan";
  if (!word && lowered.find_first_not_of("0123456789.e+-") != std::string::npos)
    return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (digits.empty() || end != digits.c_str() + digits.size()) return std::nullopt;
  return value;
}

Value toInteger(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("int", arguments, {"default", "base"});
  const int64_t base = p.integer(1, 10);
  if (base < 2 || base > 36) fail("int() takes a base from 2 to 36");
  std::optional<double> number;
  requireDefined(input);
  if (input.isBigInt()) return input;
  if (const auto integer = input.asInteger()) return Value::integer(*integer);
  if (input.isFloat()) number = input.asFloat();
  if (input.isString()) {
    if (const auto integer = parseInteger(budget, input.asString(), base)) return *integer;
    number = parseFloat(budget, input.asString());
  }
  if (!number || !std::isfinite(*number)) return p.valueOr(0, Value::integer(0));
  return integerOf(budget, *number);
}

Value toFloat(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("float", arguments, {"default"});
  requireDefined(input);
  std::optional<double> number;
  if (input.isNumber()) number = input.asNumber();
  if (input.isBigInt()) number = floatOf(input);
  if (input.isString()) number = parseFloat(budget, input.asString());
  return number ? Value::number(*number) : p.valueOr(0, Value::number(0));
}

Value absolute(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("abs", arguments, {});
  requireDefined(input);
  if (input.isBigInt()) return input.bigDigits().starts_with('-') ? negate(budget, input) : input;
  if (!input.isNumber()) fail(fmt::format("abs() takes a number, not '{}'", input.typeName()));
  if (input.isFloat()) return Value::number(std::fabs(input.asFloat()));
  return *input.asInteger() < 0 ? negate(budget, input) : Value::integer(*input.asInteger());
}

Value roundNumber(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("round", arguments, {"precision", "method"});
  const int64_t precision = p.integer(0, 0);
  const std::string_view method = p.text(1, "common");
  requireDefined(input);
  if (input.isBigInt()) {
    if (method == "common" && precision >= 0) return input;
    fail("round() of an integer beyond 64 bits is not supported");
  }
  if (!input.isNumber()) fail(fmt::format("round() takes a number, not '{}'", input.typeName()));
  if (precision < -300 || precision > 300) fail("round() takes a precision from -300 to 300");
  if (method == "common") {
    if (!input.isFloat() && precision >= 0) return Value::integer(*input.asInteger());
    // From 2^53 on there is nothing behind the point.
    if (!std::isfinite(input.asNumber()) ||
        (precision >= 0 && std::fabs(input.asFloat()) >= 0x1p53))
      return input;
    double rounded;
    if (precision >= 0) {
      // The decimal digits are exact in printf, and ties there go to even, as in Python. Many of
      // them take long to write and to read.
      budget.step(static_cast<uint64_t>(precision) / 8);
      rounded = std::strtod(fmt::format("{:.{}f}", input.asFloat(), precision).c_str(), nullptr);
    } else {
      const double scale = std::pow(10.0, static_cast<double>(-precision));
      rounded = std::nearbyint(input.asNumber() / scale) * scale;
    }
    if (input.isFloat()) return Value::number(rounded);
    if (std::fabs(rounded) >= 0x1p63) fail("round() gives an integer beyond 64 bits");
    return Value::integer(static_cast<int64_t>(rounded));
  }
  if (method != "ceil" && method != "floor") fail("round() takes the method common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.asNumber() * scale;
  return Value::number((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value defaultFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("default", arguments, {"default_value", "boolean"});
  const bool take = input.isUndefined() || (p.flag(1) && !isTrue(input));
  return take ? p.valueOr(0, Value::string(budget, "")) : input;
}

Value attribute(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("attr", arguments, {"name"}, 1);
  requireDefined(input);
  const std::string_view name = p.text(0);
  if (const auto method = boundMethod(budget, input, name)) return *method;
  if (input.asObject()) return getAttribute(budget, input, name);
  return Value::undefined(budget,
                          fmt::format("'{} object' has no attribute '{}'", input.typeName(), name));
}

struct Entry {
  std::string_view name;
  Filter filter;
};
constexpr Entry kFilters[] = {
    {"abs", absolute},
    {"attr", attribute},
    {"capitalize", capitalize},
    {"center", center},
    {"d", defaultFilter},
    {"default", defaultFilter},
    {"e", escapeFilter},
    {"escape", escapeFilter},
    {"float", toFloat},
    {"forceescape", forceEscape},
    {"format", format},
    {"indent", indent},
    {"int", toInteger},
    {"lower", lower},
    {"replace", replace},
    {"round", roundNumber},
    {"safe", safe},
    {"string", string},
    {"title", title},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", upper},
    {"wordcount", wordCount},
};

}  // namespace

Filter findTextFilter(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                   [name](const Entry& e) { return e.name == name; });
  return found == std::end(kFilters) ? Filter(nullptr) : found->filter;
}

Filter findFilter(std::string_view name) {
  for (const auto find : {findTextFilter, findSequenceFilter, findMarkupFilter})
    if (const Filter filter = find(name)) return filter;
  return nullptr;
}

Filter requireFilter(std::string_view name) {
  const Filter filter = findFilter(name);
  // Random, or for pages: no chat template has a use for them.
  for (std::string_view refused : {"pprint", "random", "urlize", "wordwrap"})
    if (name == refused) fail(fmt::format("Jinja2's filter '{}' is not supported", name));
  if (!filter) fail(fmt::format("no filter named '{}'", name));
  return filter;
}

Test requireTest(std::string_view name) {
  const Test test = findTest(name);
  if (!test) fail(fmt::format("no test named '{}'", name));
  return test;
}

}  // namespace llmrt::jinja
