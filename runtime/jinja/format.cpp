// Python's two ways to format: "%s" % x and "{}".format(x).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "runtime/jinja/big_integer.h"
#include "runtime/jinja/builders.h"
#include "runtime/jinja/format_spec.h"
#include "runtime/jinja/operations.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

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

Value reprOf(Budget& budget, const Value& value) {
  TextBuilder out(budget);
  appendRepr(out, value);
  return out.value();
}

// ascii(): repr() with what is not ASCII as escapes.
Value asciiOf(Budget& budget, const Value& value) {
  const Value shown = reprOf(budget, value);
  const std::string_view text = shown.asString();
  TextBuilder out(budget);
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    const auto code = static_cast<uint32_t>(codePointAt(text, i));
    out.append(code < 0x80      ? std::string(1, text[i])
               : code < 0x100   ? fmt::format("\\x{:02x}", code)
               : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                : fmt::format("\\U{:08x}", code));
  }
  return out.value();
}

// The character that an integer counts, or a string of one.
Value characterOf(Budget& budget, const Value& value) {
  if (value.isString() && countCodePoints(value.asString()) == 1) return value;
  const auto code = value.asInteger();
  if (!code || *code < 0 || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
    fail("a format takes a character, or the number of one");
  TextBuilder out(budget);
  out.append(static_cast<char32_t>(*code));
  return out.value();
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
    requireDefined(value_);
    if (!value_.asDict()) fail("format requires a mapping");
    const Value* found = value_.asDict()->find(budget, name);
    if (!found) fail(fmt::format("the format's '{}' is not given", name));
    used_ = 1;
    return *found;
  }
  bool all() const {
    return tuple_ ? used_ == tuple_->items.size()
                  : used_ == 1 || value_.asDict() || value_.asSequence() || value_.isUndefined();
  }

 private:
  const Value& value_;
  const Sequence* tuple_ = nullptr;
  size_t used_ = 0;
};

// Undefined is empty text, "Undefined" to %r and %a, and nothing that counts.
void appendPercent(TextBuilder& out, const Value& value, FormatSpec spec, bool markup) {
  switch (spec.type) {
    case 's':
    case 'a':
    case 'r': {
      const Value text = spec.type == 'r'   ? reprOf(out.budget(), value)
                         : spec.type == 'a' ? asciiOf(out.budget(), value)
                         : markup           ? escape(out.budget(), value)
                                            : toText(out.budget(), value);
      return appendFormattedText(out, text.asString(), spec, '>');
    }
    case 'c':
      return appendFormattedText(out, characterOf(out.budget(), value).asString(), spec, '>');
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': {
      requireDefined(value);
      if (value.isBigInt()) return appendFormattedInteger(out, value.bigDigits(), spec);
      if (!value.isNumber()) fail(fmt::format("%{} takes a number", spec.type));
      if (value.isFloat() && (spec.type == 'x' || spec.type == 'X' || spec.type == 'o'))
        fail(fmt::format("%{} takes an integer", spec.type));
      if (value.isFloat() && !std::isfinite(value.asFloat()))
        fail("%d takes a number that is neither infinite nor NaN");
      const Value integer = value.isFloat() ? integerOf(out.budget(), value.asFloat()) : value;
      if (integer.isBigInt()) return appendFormattedInteger(out, integer.bigDigits(), spec);
      return appendFormattedInteger(out, *integer.asInteger(), spec);
    }
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      requireDefined(value);
      if (!value.isNumber() && !value.isBigInt())
        fail(fmt::format("%{} takes a number", spec.type));
      if (spec.precision < 0) spec.precision = 6;
      return appendFormattedFloat(out, floatOf(value), spec);
    default:
      fail("a format has an unknown conversion");
  }
}

// --- {}

// Fields are numbered by the format, or one after another, but not both.
struct Numbering {
  size_t next = 0;
  bool by_format = false;
};

// "name.attribute[key]" of a replacement field.
Value fieldValue(Budget& budget, std::string_view field, const Arguments& arguments,
                 Numbering& numbering) {
  const size_t name_end = std::min(field.find_first_of(".["), field.size());
  const std::string_view name = field.substr(0, name_end);
  Value value;
  if (name.empty() || digitAt(name, 0)) {
    size_t i = 0;
    if (name.empty() ? numbering.by_format : numbering.next > 0)
      fail("a format numbers some of its fields, and others not");
    numbering.by_format = !name.empty();
    const auto index = name.empty() ? numbering.next++ : static_cast<size_t>(parseNumber(name, i));
    if (index >= arguments.positional.size()) fail("a replacement field has no argument");
    value = arguments.positional[index];
  } else {
    budget.step(arguments.named.size() / 8);
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
      value = getAttribute(budget, value, key);
    } else if (digitAt(key, 0)) {
      size_t i = 0;
      value = getItem(budget, value, Value::integer(parseNumber(key, i)));
    } else {
      value = getItem(budget, value, Value::string(budget, key));
    }
    field.remove_prefix(subscript ? end + 1 : end);
  }
  return value;
}

FormatSpec parseSpec(std::string_view text) {
  FormatSpec spec;
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

// Undefined is empty text, but takes no specification.
void appendBraces(TextBuilder& out, const Value& value, std::string_view spec_text) {
  FormatSpec spec = parseSpec(spec_text);
  const bool float_type =
      spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  if (spec.type == 'n' && (value.isNumber() || value.isBigInt()))
    spec.type = value.isFloat() ? 'g' : 'd';
  if (value.isFloat() && spec.type != '\0' && !float_type && spec.type != 'g')
    fail("a format specification does not fit its value");
  if (value.isFloat() || ((value.isNumber() || value.isBigInt()) && float_type))
    return appendFormattedFloat(out, floatOf(value), spec);
  // A bool is an integer, but where nothing is specified.
  const bool integer_type =
      spec.type == '\0'
          ? value.isInt() || value.isBigInt() || (value.isBool() && !spec_text.empty())
          : std::string_view("cdxXob").find(spec.type) != std::string_view::npos;
  if (integer_type && (value.asInteger() || value.isBigInt())) {
    if (spec.precision >= 0) fail("an integer's format takes no precision");
    if (value.isBigInt() && spec.type != 'c')
      return appendFormattedInteger(out, value.bigDigits(), spec);
    if (spec.type != 'c') return appendFormattedInteger(out, *value.asInteger(), spec);
    return appendFormattedText(out, characterOf(out.budget(), value).asString(), spec, '<');
  }
  if (spec.type != '\0' && spec.type != 's') fail("a format specification does not fit its value");
  if (!spec_text.empty() && !value.isString())
    fail(fmt::format("'{}' takes no format specification", value.typeName()));
  appendFormattedText(out, toText(out.budget(), value).asString(), spec, '<');
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
    FormatSpec spec;
    for (; i < text.size() && std::string_view("-+ #0").find(text[i]) != std::string_view::npos;
         ++i) {
      if (text[i] == '-') spec.align = '<';
      if (text[i] == '+' || (text[i] == ' ' && spec.sign != '+')) spec.sign = text[i];
      if (text[i] == '#') spec.alternate = true;
      if (text[i] == '0') spec.zero = true;
    }
    const auto numberAt = [&](int64_t absent) -> int64_t {
      if (digitAt(text, i)) return parseNumber(text, i);
      if (i >= text.size() || text[i] != '*') return absent;
      ++i;
      const auto given = arguments.next().asInteger();
      if (!given || *given > INT32_MAX || *given < -INT32_MAX)
        fail("* in a format takes an integer");
      return *given;
    };
    spec.width = numberAt(0);
    if (spec.width < 0) spec.align = '<', spec.width = -spec.width;
    if (i < text.size() && text[i] == '.') {
      ++i;
      spec.precision = std::max<int64_t>(numberAt(0), 0);
    }
    if (i == text.size()) fail("a format ends within a conversion");
    spec.type = text[i];
    if (spec.type == '%') {
      if (i > percent + 1) arguments.next();  // Python asks for one, and does not show it
      out.append("%");
      continue;
    }
    const bool numeric = std::string_view("srca").find(spec.type) == std::string_view::npos;
    if (spec.zero && numeric && spec.align == '\0') spec.fill = "0", spec.align = '=';
    appendPercent(out, name ? arguments.named(budget, *name) : arguments.next(), spec,
                  format.isMarkup());
  }
  if (!arguments.all()) fail("not all arguments were converted by the format string");
  return out.value(format.isMarkup());
}

namespace {

// The fields of a {} format, which may have fields of their own in their specification.
class BraceFormatter {
 public:
  BraceFormatter(Budget& budget, const Arguments& arguments, bool markup)
      : budget_(budget), arguments_(arguments), markup_(markup) {}

  void append(TextBuilder& out, std::string_view text, bool within_spec = false) {
    for (size_t i = 0; i < text.size(); ++i) {
      budget_.step();
      const size_t brace = text.find_first_of("{}", i);
      out.append(text.substr(i, brace - i));
      if (brace == std::string_view::npos) break;
      i = brace;
      if (!within_spec && i + 1 < text.size() && text[i + 1] == text[i]) {
        out.append(text.substr(i++, 1));
        continue;
      }
      const size_t end = text[i] == '{' ? fieldEnd(text, i) : std::string_view::npos;
      if (end == std::string_view::npos ||
          (within_spec && text.substr(i + 1, end - i - 1).find('{') != std::string_view::npos))
        fail("a format has a brace without its partner");
      appendField(out, text.substr(i + 1, end - i - 1));
      i = end;
    }
  }

 private:
  static size_t fieldEnd(std::string_view text, size_t begin) {
    int depth = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
      if (depth == 0) return i;
      if (depth > 2) break;
    }
    return std::string_view::npos;
  }

  void appendField(TextBuilder& out, std::string_view field) {
    TextBuilder spec(budget_);
    if (const size_t colon = field.find(':'); colon != std::string_view::npos) {
      const std::string_view written = field.substr(colon + 1);
      field = field.substr(0, colon);
      // As Python numbers them: the field before those of its specification.
      const Value value = converted(field);
      append(spec, written, true);
      return appendFormatted(out, value, spec.take());
    }
    appendFormatted(out, converted(field), "");
  }

  // Within markup, all but markup is escaped.
  void appendFormatted(TextBuilder& out, const Value& value, std::string_view spec) {
    if (!markup_) return appendBraces(out, value, spec);
    if (value.isMarkup()) {
      if (!spec.empty()) fail("'Markup' takes no format specification");
      return out.append(value.asString());
    }
    TextBuilder text(budget_);
    appendBraces(text, value, spec);
    out.append(escape(budget_, text.value()).asString());
  }

  Value converted(std::string_view field) {
    char conversion = '\0';
    if (const size_t mark = field.find('!'); mark != std::string_view::npos) {
      const std::string_view after = field.substr(mark + 1);
      if (after != "r" && after != "s" && after != "a") fail("a format has an unknown conversion");
      conversion = after[0];
      field = field.substr(0, mark);
    }
    Value value = fieldValue(budget_, field, arguments_, numbering_);
    if (conversion == 'r') value = reprOf(budget_, value);
    if (conversion == 'a') value = asciiOf(budget_, value);
    if (conversion == 's') value = toText(budget_, value);
    return value;
  }

  Budget& budget_;
  const Arguments& arguments_;
  const bool markup_;
  Numbering numbering_;
};

}  // namespace

Value formatBraces(Budget& budget, const Value& format, const Arguments& arguments) {
  TextBuilder out(budget);
  BraceFormatter(budget, arguments, format.isMarkup()).append(out, format.asString());
  return out.value(format.isMarkup());
}

}  // namespace llmrt::jinja
