// Filters of texts and numbers.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iterator>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/json_text.h"
#include "runtime/jinja/operations.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

// The input as a string, markup where it is.
Value asText(Budget& budget, const Value& input) {
  return input.isString() ? input : Value::string(toString(budget, input));
}

// A method of strings as a filter: what it is called on becomes a string first.
Value callTextMethod(Budget& budget, const Value& input, const char* method,
                     const Arguments& arguments) {
  Arguments copy = arguments;
  return call(budget, *boundMethod(asText(budget, input), method), copy);
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
  const Value source = asText(budget, input);
  const std::string_view text = source.asString();
  budget.reserve(text.size());
  std::string out;
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
    out += toUpper(text.substr(i, first));
    out += toLower(text.substr(i + first, end - i - first));
    i = end;
  }
  return Value::string(std::move(out));
}

Value replace(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("replace", arguments, {"old", "new", "count"}, 2);
  const auto plain = [&](const Value& v) { return Value::string(toString(budget, v)); };
  Arguments texts{{plain(p[0]), plain(p[1])}, {}};
  if (!p.isNone(2)) texts.positional.push_back(p[2]);
  return callTextMethod(budget, plain(input), "replace", texts);
}

Value indent(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("indent", arguments, {"width", "first", "blank"});
  const Value source = asText(budget, input);
  std::string space;
  if (p.has(0) && p[0].isString()) {
    space = p[0].asString();
  } else {
    const int64_t width = std::max<int64_t>(0, p.integer(0, 4));
    budget.reserve(static_cast<uint64_t>(width));
    space.assign(static_cast<size_t>(width), ' ');
  }
  const std::string text = std::string(source.asString()) + "\n";
  budget.scan(text.size());
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
  return Value::string(out.take(), source.isMarkup());
}

Value truncate(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const Value source = asText(budget, input);
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
  return Value::string(std::string(kept) + std::string(end), source.isMarkup());
}

Value wordCount(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("wordcount", arguments, {});
  const std::string text = toString(budget, input);
  budget.scan(text.size());
  int64_t words = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    const bool is_word = isAlnum(codePointAt(text, i)) || text[i] == '_';
    words += is_word && !in_word;
    in_word = is_word;
  }
  return Value::integer(words);
}

Value string(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("string", arguments, {});
  return asText(budget, input);
}

Value safe(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("safe", arguments, {});
  return Value::string(toString(budget, input), true);
}

Value escapeFilter(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("escape", arguments, {});
  return escape(budget, input);
}

Value forceEscape(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("forceescape", arguments, {});
  return escape(budget, Value::string(toString(budget, input)));
}

Value format(Budget& budget, const Value& input, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    fail("format() takes positional or named arguments, not both");
  Value value = Value::tuple(arguments.positional);
  if (!arguments.named.empty()) {
    Dict named;
    for (const auto& [name, argument] : arguments.named) named.set(name, argument);
    value = Value::dict(std::move(named));
  }
  return formatPercent(budget, asText(budget, input), value);
}

Value tojson(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = p.flag(0);
  style.sort_keys = p.flag(3);
  if (!p.isNone(1)) {
    if (p[1].isString()) {
      style.indent = std::string(p[1].asString());
    } else {
      const int64_t width = std::max<int64_t>(0, p.integer(1, 0));
      budget.reserve(static_cast<uint64_t>(width));
      style.indent = std::string(static_cast<size_t>(width), ' ');
    }
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
  return Value::string(jsonText(budget, input, style));
}

// A text's number in `base`; nullopt where it is none. Python's int(): spaces around, underscores.
std::optional<int64_t> parseInteger(std::string_view text, int64_t base) {
  text = stripRight(stripLeft(text));
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (base != 10 && text.size() > 2 && text[0] == '0' &&
      std::string_view("xXoObB").find(text[1]) != std::string_view::npos)
    text.remove_prefix(2);
  std::string digits = negative ? "-" : "";
  for (size_t i = 0; i < text.size(); ++i) {
    const bool inner = i > 0 && i + 1 < text.size() && text[i - 1] != '_';
    if (text[i] != '_') {
      digits += text[i];
    } else if (!inner) {
      return std::nullopt;
    }
  }
  int64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, static_cast<int>(base));
  if (error == std::errc::result_out_of_range) fail("an integer does not fit in 64 bits");
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<double> parseFloat(std::string_view text) {
  text = stripRight(stripLeft(text));
  const std::string lowered = toLower(text.substr(text.starts_with('-') || text.starts_with('+')));
  const bool word = lowered == "inf" || lowered == "infinity" || lowered == "nan";
  if (!word && lowered.find_first_not_of("0123456789.e+-_") != std::string::npos)
    return std::nullopt;
  std::string digits(text);
  std::erase(digits, '_');
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (digits.empty() || end != digits.c_str() + digits.size()) return std::nullopt;
  return value;
}

Value toInteger(Budget&, const Value& input, const Arguments& arguments) {
  const Parameters p("int", arguments, {"default", "base"});
  const int64_t base = p.integer(1, 10);
  if (base < 2 || base > 36) fail("int() takes a base from 2 to 36");
  std::optional<double> number;
  requireDefined(input);
  if (const auto integer = input.asInteger()) return Value::integer(*integer);
  if (input.isFloat()) number = input.asFloat();
  if (input.isString()) {
    if (const auto integer = parseInteger(input.asString(), base)) return Value::integer(*integer);
    number = parseFloat(input.asString());
  }
  if (!number || !std::isfinite(*number)) return p.valueOr(0, Value::integer(0));
  if (std::fabs(*number) >= 0x1p63) fail("an integer does not fit in 64 bits");
  return Value::integer(static_cast<int64_t>(*number));
}

Value toFloat(Budget&, const Value& input, const Arguments& arguments) {
  const Parameters p("float", arguments, {"default"});
  requireDefined(input);
  std::optional<double> number;
  if (input.isNumber()) number = input.asNumber();
  if (input.isString()) number = parseFloat(input.asString());
  return number ? Value::number(*number) : p.valueOr(0, Value::number(0));
}

Value absolute(Budget&, const Value& input, const Arguments& arguments) {
  Parameters("abs", arguments, {});
  requireDefined(input);
  if (!input.isNumber()) fail(fmt::format("abs() takes a number, not '{}'", input.typeName()));
  if (input.isFloat()) return Value::number(std::fabs(input.asFloat()));
  return *input.asInteger() < 0 ? negate(input) : Value::integer(*input.asInteger());
}

Value roundNumber(Budget&, const Value& input, const Arguments& arguments) {
  const Parameters p("round", arguments, {"precision", "method"});
  const int64_t precision = p.integer(0, 0);
  const std::string_view method = p.text(1, "common");
  requireDefined(input);
  if (!input.isNumber()) fail(fmt::format("round() takes a number, not '{}'", input.typeName()));
  if (precision < -300 || precision > 300) fail("round() takes a precision from -300 to 300");
  if (method == "common") {
    if (!input.isFloat() && precision >= 0) return Value::integer(*input.asInteger());
    if (!std::isfinite(input.asNumber())) return input;
    double rounded;
    if (precision >= 0) {
      // The decimal digits are exact in printf, and ties there go to even, as in Python.
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

Value defaultFilter(Budget&, const Value& input, const Arguments& arguments) {
  const Parameters p("default", arguments, {"default_value", "boolean"});
  const bool take = input.isUndefined() || (p.flag(1) && !isTrue(input));
  return take ? p.valueOr(0, Value::string("")) : input;
}

Value attribute(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("attr", arguments, {"name"}, 1);
  requireDefined(input);
  const std::string name(p.text(0));
  if (auto method = boundMethod(input, name)) return *std::move(method);
  if (input.asObject()) return getAttribute(budget, input, name);
  return Value::undefined(fmt::format("'{} object' has no attribute '{}'", input.typeName(), name));
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
  return found == std::end(kFilters) ? nullptr : found->filter;
}

Filter findFilter(std::string_view name) {
  const Filter filter = findTextFilter(name);
  return filter ? filter : findSequenceFilter(name);
}

Filter requireFilter(std::string_view name) {
  const Filter filter = findFilter(name);
  if (!filter) fail(fmt::format("no filter named '{}'", name));
  return filter;
}

Test requireTest(std::string_view name) {
  const Test test = findTest(name);
  if (!test) fail(fmt::format("no test named '{}'", name));
  return test;
}

}  // namespace llmrt::jinja
