// Filters of HTML and addresses, with the meaning of MarkupSafe and Python's html and urllib.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <string>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/big_integer.h"
#include "runtime/jinja/builders.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/format_spec.h"
#include "runtime/jinja/operations.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

// Arrays, as two thousand names would need four thousand pointers, which a program relocates.
struct Entity {
  char name[33], text[8];
};
constexpr Entity kEntities[] = {
#include "runtime/jinja/html_entities.inc"
};

// What the reference `name` stands for; empty: there is none.
std::string_view entityText(std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(kEntities), std::end(kEntities), name,
                       [](const Entity& e, std::string_view n) { return e.name < n; });
  return found != std::end(kEntities) && found->name == name ? found->text : std::string_view();
}

// Comments and tags, but for what is not closed and all behind it.
std::string withoutTags(std::string_view text) {
  std::string kept;
  size_t begin = 0;
  for (size_t start; (start = text.find('<', begin)) != std::string_view::npos;) {
    const bool comment = text.substr(start).starts_with("<!--");
    const size_t end = comment ? findText(text, "-->", start + 4) : text.find('>', start);
    if (end == std::string_view::npos) break;
    kept.append(text.substr(begin, start - begin));
    begin = end + (comment ? 3 : 1);
  }
  return kept.append(text.substr(begin));
}

// The digits of "#65;" or "#x41;" at `text`, and what they stand for; nullopt where they are none.
struct Reference {
  size_t length;
  std::string text;
};
std::optional<Reference> numericReference(std::string_view text) {
  const bool hex = text.size() > 1 && (text[1] | 0x20) == 'x';
  const std::string_view kDigits = hex ? "0123456789abcdefABCDEF" : "0123456789";
  const size_t begin = hex ? 2 : 1;
  size_t end = std::min(text.find_first_not_of(kDigits, begin), text.size());
  if (end <= begin) return std::nullopt;
  uint32_t code = 0;
  for (const char c : text.substr(begin, end - begin)) {
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    code = std::min(code * (hex ? 16U : 10U) + static_cast<uint32_t>(digit), 0x110000U);
  }
  if (end < text.size() && text[end] == ';') ++end;
  // Windows-1252, which old pages mean; where it has nothing, the control character itself.
  constexpr char16_t kWindows[] =
      u"\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d"
      u"\u008f\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d"
      u"\u017e\u0178";
  Reference out{end, {}};
  if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
    code = 0xfffd;
  } else if (code >= 0x80 && code < 0xa0) {
    code = kWindows[code - 0x80];
  } else if (code < 0x20 ? code != '\t' && code != '\n' && code != '\f' && code != '\r'
                         : code == 0x7f || (code >= 0xfdd0 && code < 0xfdf0) || code == 0xb ||
                               (code & 0xfffe) == 0xfffe) {
    return out;  // what no page may have
  }
  appendUtf8(code, out.text);
  return out;
}

// A name's reference at `text`: the longest name there is; nullopt where there is none.
std::optional<Reference> namedReference(std::string_view text) {
  size_t end = 0;
  for (int n = 0; n < 32 && end < text.size(); ++n) {
    if (std::string_view("\t\n\f <&#;").find(text[end]) != std::string_view::npos) break;
    end += utf8Length(static_cast<unsigned char>(text[end]));
  }
  if (end > 0 && end < text.size() && text[end] == ';') ++end;
  for (; end > 1; --end)
    if (const std::string_view found = entityText(text.substr(0, end)); !found.empty())
      return Reference{end, std::string(found)};
  return std::nullopt;
}

// html.unescape().
void appendUnescaped(TextBuilder& out, std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t reference = text.find('&', i);
    out.append(text.substr(i, reference - i));
    if (reference == std::string_view::npos) return;
    out.budget().step(8);
    const std::string_view rest = text.substr(reference + 1);
    const auto found = rest.starts_with('#') ? numericReference(rest) : namedReference(rest);
    out.append(found ? std::string_view(found->text) : "&");
    i = reference + 1 + (found ? found->length : 0);
  }
}

Value stripTags(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("striptags", arguments, {});
  const Value source = toText(budget, input);
  const Budget::Loan loan(budget, 4 * source.asString().size());
  const std::string text = withoutTags(source.asString());
  std::string words;  // as Python's " ".join(text.split())
  for (std::string_view rest = stripLeft(text); !rest.empty(); rest = stripLeft(rest)) {
    size_t end = 0;
    while (end < rest.size() && !isSpace(codePointAt(rest, end))) {
      budget.step();
      end += utf8Length(static_cast<unsigned char>(rest[end]));
    }
    if (!words.empty()) words += ' ';
    words += rest.substr(0, end);
    rest.remove_prefix(end);
  }
  TextBuilder out(budget);
  appendUnescaped(out, words);
  return out.value();
}

void appendQuoted(TextBuilder& out, const Value& value, bool for_query) {
  const Value text = toText(out.budget(), value);
  out.budget().scan(text.asString().size());
  for (const char c : text.asString()) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       std::string_view("_.-~").find(c) != std::string_view::npos ||
                       (c == '/' && !for_query);
    if (plain) {
      out.append(1, c);
    } else if (c == ' ' && for_query) {
      out.append("+");
    } else {
      out.append(fmt::format("%{:02X}", static_cast<unsigned char>(c)));
    }
  }
}

// A text as a part of an address; what is iterable, as pairs of a query.
Value urlEncode(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("urlencode", arguments, {});
  TextBuilder out(budget);
  if (input.isString() || !isIterable(input)) {
    appendQuoted(out, input, false);
    return out.value();
  }
  const auto addPair = [&](const Value& key, const Value& value) {
    budget.step();
    if (!out.empty()) out.append("&");
    appendQuoted(out, key, true);
    out.append("=");
    appendQuoted(out, value, true);
  };
  if (const Dict* dict = input.asDict()) {
    for (const auto& [key, value] : dict->entries()) addPair(key, value);
    return out.value();
  }
  for (const Value& pair : iterate(budget, input)) {
    const std::vector<Value>& items = iterate(budget, pair);
    if (items.size() != 2) fail("urlencode() takes pairs");
    addPair(items[0], items[1]);
  }
  return out.value();
}

Value fileSizeFormat(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("filesizeformat", arguments, {"binary"});
  const Value number =
      input.isString() ? requireFilter("float")(budget, input, {{Value::none()}, {}}) : input;
  requireDefined(number);
  if (!number.isNumber() && !number.isBigInt())
    fail(fmt::format("filesizeformat() takes a number, not '{}'", input.typeName()));
  const double bytes = floatOf(number);
  const double base = p.flag(0) ? 1024 : 1000;
  if (!(bytes >= base)) {
    if (!std::isfinite(bytes)) fail("filesizeformat() takes a finite number");
    return Value::string(budget,
                         bytes == 1 ? "1 Byte" : fixedDigits(std::trunc(bytes), 0) + " Bytes");
  }
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  size_t i = 0;
  double unit = base * base;
  for (; i + 1 < kPrefixes.size() && bytes >= unit; ++i) unit *= base;
  budget.step(40);
  const char first = p.flag(0) && i == 0 ? 'K' : kPrefixes[i];
  return Value::string(budget, fmt::format("{} {}{}", fixedDigits(base * bytes / unit, 1), first,
                                           p.flag(0) ? "iB" : "B"));
}

// A dict as attributes of an element.
Value xmlAttributes(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("xmlattr", arguments, {"autospace"});
  requireDefined(input);
  if (!input.asDict()) fail(fmt::format("xmlattr() takes a dict, not '{}'", input.typeName()));
  TextBuilder out(budget);
  for (const auto& [key, value] : input.asDict()->entries()) {
    budget.step();
    if (value.isNone() || value.isUndefined()) continue;
    if (!key.isString()) fail("xmlattr() takes a dict whose keys are strings");
    if (key.asString().find_first_of(" \t\n\r\f\v/>=") != std::string_view::npos)
      fail("xmlattr() has an attribute whose name is none");
    if (p.flag(0, true) || !out.empty()) out.append(" ");
    out.append(escape(budget, key).asString());
    out.append("=\"");
    out.append(escape(budget, value).asString());
    out.append("\"");
  }
  return out.value();
}

struct Entry {
  std::string_view name;
  Filter filter;
};
constexpr Entry kFilters[] = {
    {"filesizeformat", fileSizeFormat},
    {"striptags", stripTags},
    {"urlencode", urlEncode},
    {"xmlattr", xmlAttributes},
};

}  // namespace

Filter findMarkupFilter(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                   [name](const Entry& e) { return e.name == name; });
  return found == std::end(kFilters) ? Filter(nullptr) : found->filter;
}

}  // namespace llmrt::jinja
