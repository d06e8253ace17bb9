// Methods of strings, lists, tuples and dicts: those that change nothing.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/builders.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operations.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

// As findText(), for the last one: Knuth, Morris and Pratt's algorithm from right to left, since
// std::string_view::rfind() is quadratic on hostile text.
size_t findTextFromRight(Budget& budget, std::string_view text, std::string_view needle) {
  const size_t n = needle.size();
  if (n == 0) return text.size();
  const auto wanted = [&](size_t i) { return needle[n - 1 - i]; };
  budget.reserve(n, sizeof(size_t));
  std::vector<size_t> border(n);
  for (size_t i = 1, k = 0; i < n; ++i) {
    while (k > 0 && wanted(i) != wanted(k)) k = border[k - 1];
    k += wanted(i) == wanted(k);
    border[i] = k;
  }
  for (size_t i = text.size(), k = 0; i-- > 0;) {
    while (k > 0 && text[i] != wanted(k)) k = border[k - 1];
    k += text[i] == wanted(k);
    if (k == n) return i;
  }
  return std::string_view::npos;
}

using Function = Builtin<Value>;

class Method : public Object {
 public:
  Method(const Value& self, Function function) : self_(self), function_(function) {}
  std::string typeName() const override { return "builtin_function_or_method"; }
  bool callable() const override { return true; }
  Value call(Budget& budget, const Arguments& arguments) override {
    return function_(budget, self_, arguments);
  }

 private:
  Value self_;
  Function function_;
};

// --- Strings. Results are markup where the string is.

Value textLike(Budget& budget, const Value& self, std::string_view text) {
  return Value::string(budget, text, self.isMarkup());
}

template <void (*kAppendChanged)(TextBuilder&, std::string_view)>
Value changeCase(Budget& budget, const Value& self, const Arguments& arguments) {
  Parameters("str", arguments, {});
  TextBuilder out(budget);
  kAppendChanged(out, self.asString());
  return out.value(self.isMarkup());
}

enum class Side { kLeft, kRight, kBoth };

template <Side kSide>
Value strip(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("strip", arguments, {"chars"});
  std::string_view text = self.asString();
  if (p.isNone(0)) {
    if (kSide != Side::kRight) text = stripLeft(text);
    if (kSide != Side::kLeft) text = stripRight(text);
  } else {
    budget.reserve(p.text(0).size(), sizeof(char32_t));
    const CharacterSet characters(p.text(0));
    if (kSide != Side::kRight) text = stripLeft(text, characters);
    if (kSide != Side::kLeft) text = stripRight(text, characters);
    budget.step(self.asString().size() - text.size());
  }
  return textLike(budget, self, text);
}

// Parts of `self` that are found from the right come in the opposite order.
Value partsOf(ListBuilder& parts, bool from_right) {
  if (from_right) std::reverse(parts.items().begin(), parts.items().end());
  return parts.list();
}

// Words between white space, at most `most` splits from one end; the rest stays whole.
Value splitSpace(Budget& budget, const Value& self, int64_t most, bool from_right) {
  std::string_view text = self.asString();
  ListBuilder parts(budget);
  for (text = from_right ? stripRight(text) : stripLeft(text); !text.empty();) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      // What stays whole keeps the white space at its far end.
      parts.add(textLike(budget, self, text));
      break;
    }
    size_t end = from_right ? text.size() : 0;
    if (from_right) {
      while (end > 0) {
        const size_t last = previousCharacter(text, end);
        if (isSpace(codePointAt(text, last))) break;
        end = last;
      }
      parts.add(textLike(budget, self, text.substr(end)));
      text = stripRight(text.substr(0, end));
    } else {
      while (end < text.size() && !isSpace(codePointAt(text, end)))
        end += utf8Length(static_cast<unsigned char>(text[end]));
      parts.add(textLike(budget, self, text.substr(0, end)));
      text = stripLeft(text.substr(end));
    }
  }
  return partsOf(parts, from_right);
}

Value splitAt(Budget& budget, const Value& self, std::string_view separator, int64_t most,
              bool from_right) {
  std::string_view text = self.asString();
  ListBuilder parts(budget);
  const auto more = [&] { return most < 0 || static_cast<int64_t>(parts.size()) < most; };
  const auto find = [&] {
    return from_right ? findTextFromRight(budget, text, separator) : findText(text, separator);
  };
  for (size_t at; more() && (at = find()) != std::string_view::npos;) {
    const std::string_view before = text.substr(0, at), after = text.substr(at + separator.size());
    parts.add(textLike(budget, self, from_right ? after : before));
    text = from_right ? before : after;
  }
  parts.add(textLike(budget, self, text));
  return partsOf(parts, from_right);
}

template <bool kFromRight>
Value split(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("split", arguments, {"sep", "maxsplit"});
  const int64_t most = p.integer(1, -1);
  if (p.isNone(0)) return splitSpace(budget, self, most, kFromRight);
  if (p.text(0).empty()) fail("split() takes no empty separator");
  return splitAt(budget, self, p.text(0), most, kFromRight);
}

Value splitLines(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("splitlines", arguments, {"keepends"});
  const std::string_view text = self.asString();
  ListBuilder lines(budget);
  for (size_t begin = 0; begin < text.size();) {
    const LineEnd line = findLineEnd(text, begin);
    const size_t end = p.flag(0) ? line.next : line.end;
    lines.add(textLike(budget, self, text.substr(begin, end - begin)));
    begin = line.next;
  }
  return lines.list();
}

template <bool kFromRight>
Value partition(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("partition", arguments, {"sep"}, 1);
  const std::string_view text = self.asString(), separator = p.text(0);
  if (separator.empty()) fail("partition() takes no empty separator");
  const size_t at =
      kFromRight ? findTextFromRight(budget, text, separator) : findText(text, separator);
  const auto part = [&](std::string_view bytes) { return textLike(budget, self, bytes); };
  if (at == std::string_view::npos) {
    return kFromRight ? Value::tuple(budget, {part(""), part(""), part(text)})
                      : Value::tuple(budget, {part(text), part(""), part("")});
  }
  return Value::tuple(budget, {part(text.substr(0, at)), part(separator),
                               part(text.substr(at + separator.size()))});
}

Value replace(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("replace", arguments, {"old", "new", "count"}, 2);
  p.text(0), p.text(1);  // both must be strings
  const Value from = self.isMarkup() ? escape(budget, p[0]) : p[0];
  const Value to = self.isMarkup() ? escape(budget, p[1]) : p[1];
  const std::string_view text = self.asString(), old = from.asString();
  int64_t left = p.integer(2, -1);
  TextBuilder out(budget);
  size_t begin = 0;
  if (old.empty()) {  // Python puts the new text before each character and at the end
    for (; left != 0 && begin < text.size(); --left) {
      const size_t length = utf8Length(static_cast<unsigned char>(text[begin]));
      out.append(to.asString());
      out.append(text.substr(begin, length));
      begin += length;
    }
    if (left != 0) out.append(to.asString());
  } else {
    for (size_t at; left != 0 && (at = findText(text, old, begin)) != std::string_view::npos;
         --left) {
      budget.step();
      out.append(text.substr(begin, at - begin));
      out.append(to.asString());
      begin = at + old.size();
    }
  }
  out.append(text.substr(begin));
  return out.value(self.isMarkup());
}

// The part of a string between two positions counted in code points, as a slice has them; nullopt
// where it would begin behind the string, which then has not even an empty part.
std::optional<Value> between(Budget& budget, const Value& self, const Parameters& p, size_t begin,
                             size_t end) {
  if (p.isNone(begin) && p.isNone(end)) return self;
  if (!p.isNone(begin) && p.integer(begin, 0) > *lengthOf(budget, self)) return std::nullopt;
  const Value from = p.valueOr(begin, Value::none()), to = p.valueOr(end, Value::none());
  return getSlice(budget, self, &from, &to, nullptr);
}

template <bool kEnd>
Value startsOrEndsWith(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p(kEnd ? "endswith" : "startswith", arguments, {"affix", "start", "end"}, 1);
  const auto part = between(budget, self, p, 1, 2);
  const auto has = [&](const Value& affix) {
    requireDefined(affix);
    if (!affix.isString()) fail("startswith() and endswith() take strings");
    payForLook(budget, affix);
    if (!part) return false;
    return kEnd ? part->asString().ends_with(affix.asString())
                : part->asString().starts_with(affix.asString());
  };
  const Sequence* several = p[0].asSequence();
  if (!several || !several->isTuple()) return Value::boolean(has(p[0]));
  return Value::boolean(std::any_of(several->items.begin(), several->items.end(), has));
}

enum class Search { kFind, kIndex };

template <Search kSearch, bool kFromRight>
Value find(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("find", arguments, {"sub", "start", "end"}, 1);
  const auto part = between(budget, self, p, 1, 2);
  const std::string_view needle = p.text(0), text = part ? part->asString() : "";
  const size_t at = !part        ? std::string_view::npos
                    : kFromRight ? findTextFromRight(budget, text, needle)
                                 : findText(text, needle);
  if (at == std::string_view::npos) {
    if (kSearch == Search::kIndex) fail("substring not found");
    return Value::integer(-1);
  }
  int64_t begin = p.isNone(1) ? 0 : p.integer(1, 0);
  if (begin < 0) begin = std::max<int64_t>(0, begin + *lengthOf(budget, self));
  return Value::integer(begin + static_cast<int64_t>(countCodePoints(text.substr(0, at))));
}

Value count(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("count", arguments, {"sub", "start", "end"}, 1);
  const auto part = between(budget, self, p, 1, 2);
  if (!part) return Value::integer(0);
  const std::string_view text = part->asString(), needle = p.text(0);
  int64_t n = 0;
  if (needle.empty()) return Value::integer(static_cast<int64_t>(countCodePoints(text)) + 1);
  for (size_t at = 0; (at = findText(text, needle, at)) != std::string_view::npos; ++n) {
    budget.step();
    at += needle.size();
  }
  return Value::integer(n);
}

template <bool kPrefix>
Value removeAffix(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("removeprefix", arguments, {"affix"}, 1);
  std::string_view text = self.asString();
  const std::string_view affix = p.text(0);
  if (kPrefix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (!kPrefix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return textLike(budget, self, text);
}

Value join(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("join", arguments, {"iterable"}, 1);
  const std::vector<Value>& items = iterate(budget, p[0]);
  TextBuilder out(budget);
  for (size_t i = 0; i < items.size(); ++i) {
    const Value& item = items[i];
    budget.step();
    if (!item.isString() && !self.isMarkup())
      fail(fmt::format("join() takes strings, not '{}'", item.typeName()));
    if (i > 0) out.append(self.asString());
    out.append(self.isMarkup() ? escape(budget, item).asString() : item.asString());
  }
  return out.value(self.isMarkup());
}

template <Side kSide>
Value pad(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("just", arguments, {"width", "fillchar"}, 1);
  const std::string_view fill = p.text(1, " ");
  if (countCodePoints(fill) != 1) fail("the fill character must be exactly one character");
  const int64_t width = p.integer(0, 0), length = *lengthOf(budget, self);
  if (width <= length) return self;
  const int64_t padding = width - length;
  // CPython's str.center(): the odd one goes left where the width is odd.
  const int64_t left = kSide == Side::kLeft    ? padding
                       : kSide == Side::kRight ? 0
                                               : padding / 2 + (padding & width & 1);
  TextBuilder out(budget);
  out.expect(self.asString().size());
  out.expect(static_cast<uint64_t>(padding), fill.size());
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(self.asString());
  for (int64_t i = left; i < padding; ++i) out.append(fill);
  return out.value(self.isMarkup());
}

Value zeroFill(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("zfill", arguments, {"width"}, 1);
  const int64_t width = p.integer(0, 0), length = *lengthOf(budget, self);
  if (width <= length) return self;
  const int64_t padding = width - length;
  std::string_view text = self.asString();
  TextBuilder out(budget);
  if (text.starts_with('+') || text.starts_with('-')) {
    out.append(text.substr(0, 1));
    text.remove_prefix(1);
  }
  out.append(static_cast<size_t>(padding), '0');
  out.append(text);
  return out.value(self.isMarkup());
}

// Whether every character is of a kind, and there is one.
template <bool (*kIs)(char32_t)>
Value all(Budget& budget, const Value& self, const Arguments& arguments) {
  Parameters("is", arguments, {});
  const std::string_view text = self.asString();
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    budget.step();
    if (!kIs(codePointAt(text, i))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}

// Whether there are letters of one case and none of another.
template <bool (*kIs)(char32_t), bool (*kIsNot)(char32_t)>
Value allCased(Budget& budget, const Value& self, const Arguments& arguments) {
  Parameters("is", arguments, {});
  const std::string_view text = self.asString();
  bool found = false;
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    budget.step();
    if (kIsNot(codePointAt(text, i)) || isTitle(codePointAt(text, i))) return Value::boolean(false);
    found |= kIs(codePointAt(text, i));
  }
  return Value::boolean(found);
}

// --- Lists and tuples

Value listCount(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("count", arguments, {"value"}, 1);
  const auto& items = self.asSequence()->items;
  return Value::integer(std::count_if(
      items.begin(), items.end(), [&](const Value& item) { return equals(budget, item, p[0]); }));
}

Value listIndex(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("index", arguments, {"value"}, 1);
  const auto& items = self.asSequence()->items;
  for (size_t i = 0; i < items.size(); ++i)
    if (equals(budget, items[i], p[0])) return Value::integer(static_cast<int64_t>(i));
  fail("the value is not in the list");
}

Value copy(Budget&, const Value& self, const Arguments& arguments) {
  Parameters("copy", arguments, {});
  return self;  // nothing can change it
}

// --- Dicts

Value dictGet(Budget& budget, const Value& self, const Arguments& arguments) {
  const Parameters p("get", arguments, {"key", "default"}, 1);
  const Value* found = self.asDict()->find(budget, p[0]);
  return found ? *found : p.valueOr(1, Value::none());
}

template <Sequence::Kind kKind>
Value dictView(Budget& budget, const Value& self, const Arguments& arguments) {
  Parameters("items", arguments, {});
  const auto& entries = self.asDict()->entries();
  ListBuilder view(budget);
  for (const auto& [key, value] : entries) {
    view.add(kKind == Sequence::Kind::kKeys     ? key
             : kKind == Sequence::Kind::kValues ? value
                                                : Value::tuple(budget, {key, value}));
  }
  return view.sequence(kKind);
}

struct Entry {
  std::string_view name;
  Function function;
};

constexpr Entry kStringMethods[] = {
    {"capitalize", changeCase<appendCapitalized>},
    {"casefold", changeCase<appendFolded>},
    {"center", pad<Side::kBoth>},
    {"count", count},
    {"endswith", startsOrEndsWith<true>},
    {"find", find<Search::kFind, false>},
    {"format", formatBraces},
    {"index", find<Search::kIndex, false>},
    {"isalnum", all<isAlnum>},
    {"isalpha", all<isAlpha>},
    {"isdecimal", all<isDecimal>},
    {"isdigit", all<isDigit>},
    {"islower", allCased<isLower, isUpper>},
    {"isnumeric", all<isNumeric>},
    {"isspace", all<isSpace>},
    {"isupper", allCased<isUpper, isLower>},
    {"join", join},
    {"ljust", pad<Side::kRight>},
    {"lower", changeCase<appendLower>},
    {"lstrip", strip<Side::kLeft>},
    {"partition", partition<false>},
    {"removeprefix", removeAffix<true>},
    {"removesuffix", removeAffix<false>},
    {"replace", replace},
    {"rfind", find<Search::kFind, true>},
    {"rindex", find<Search::kIndex, true>},
    {"rjust", pad<Side::kLeft>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip<Side::kRight>},
    {"split", split<false>},
    {"splitlines", splitLines},
    {"startswith", startsOrEndsWith<false>},
    {"strip", strip<Side::kBoth>},
    {"swapcase", changeCase<appendSwappedCase>},
    {"title", changeCase<appendTitle>},
    {"upper", changeCase<appendUpper>},
    {"zfill", zeroFill},
};
constexpr Entry kListMethods[] = {{"copy", copy}, {"count", listCount}, {"index", listIndex}};
constexpr Entry kTupleMethods[] = {{"count", listCount}, {"index", listIndex}};
constexpr Entry kDictMethods[] = {
    {"copy", copy},
    {"get", dictGet},
    {"items", dictView<Sequence::Kind::kItems>},
    {"keys", dictView<Sequence::Kind::kKeys>},
    {"values", dictView<Sequence::Kind::kValues>},
};
// What the sandbox does not let a template do.
constexpr std::string_view kListChanges[] = {"append", "clear",  "extend",  "insert",
                                             "pop",    "remove", "reverse", "sort"};
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};

template <size_t kSize>
Function findMethod(const Entry (&entries)[kSize], std::string_view name) {
  const auto* found = std::find_if(std::begin(entries), std::end(entries),
                                   [name](const Entry& e) { return e.name == name; });
  return found == std::end(entries) ? Function(nullptr) : found->function;
}

template <size_t kSize>
bool has(const std::string_view (&names)[kSize], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

std::optional<Value> boundMethod(Budget& budget, const Value& object, std::string_view name) {
  const Sequence* sequence = object.asSequence();
  const bool is_list = sequence && sequence->isList(), is_tuple = sequence && sequence->isTuple();
  if ((is_list && has(kListChanges, name)) || (object.asDict() && has(kDictChanges, name))) {
    return Value::undefined(budget, fmt::format("access to attribute '{}' of '{}' object is unsafe",
                                                name, object.typeName()));
  }
  const Function function = object.isString() ? findMethod(kStringMethods, name)
                            : object.asDict() ? findMethod(kDictMethods, name)
                            : is_list         ? findMethod(kListMethods, name)
                            : is_tuple        ? findMethod(kTupleMethods, name)
                                              : Function(nullptr);
  if (!function) return std::nullopt;
  return Value::object<Method>(budget, object, function);
}

Value callMethod(Budget& budget, const Value& object, std::string_view name,
                 const Arguments& arguments) {
  return call(budget, *boundMethod(budget, object, name), arguments);
}

}  // namespace llmrt::jinja
