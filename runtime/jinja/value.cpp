#include "runtime/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

// Whoever walks a value recurses, and so does its destruction.
constexpr int kMaxDepth = 200;

Value makeSequence(Sequence::Kind kind, std::vector<Value> items) {
  return Value::sequence({.kind = kind, .items = std::move(items)});
}

size_t hashOf(Budget& budget, const Value& value) {
  budget.step();
  if (value.isString()) return std::hash<std::string_view>()(value.asString());
  if (value.isNumber()) return std::hash<double>()(value.asNumber());
  if (value.isNone() || value.isUndefined() || value.asObject()) return 1;
  if (const Sequence* s = value.asSequence(); s && s->isTuple()) {
    size_t hash = 7;
    for (const Value& item : s->items) hash = hash * 31 + hashOf(budget, item);
    return hash;
  }
  fail(fmt::format("unhashable type: '{}'", value.typeName()));
}

const char* sequenceName(Sequence::Kind kind) {
  switch (kind) {
    case Sequence::Kind::kList:
      return "list";
    case Sequence::Kind::kTuple:
    case Sequence::Kind::kGroup:
      return "tuple";
    case Sequence::Kind::kRange:
      return "range";
    case Sequence::Kind::kKeys:
      return "dict_keys";
    case Sequence::Kind::kValues:
      return "dict_values";
    case Sequence::Kind::kItems:
      return "dict_items";
    case Sequence::Kind::kGenerator:
      return "generator";
  }
  return "list";
}

void appendStringRepr(TextBuilder& out, std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string quoted(1, quote);
  for (size_t i = 0; i < text.size();) {
    const char32_t c = codePointAt(text, i);
    const size_t length = utf8Length(static_cast<unsigned char>(text[i]));
    if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\r') {
      quoted += "\\r";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (c == '\\' || c == static_cast<unsigned char>(quote)) {
      quoted += '\\';
      quoted += static_cast<char>(c);
    } else if (isPrintable(c)) {
      quoted += text.substr(i, length);
    } else {
      const auto code = static_cast<uint32_t>(c);
      quoted += code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
    }
    i += length;
  }
  quoted += quote;
  out.append(quoted);
}

void appendSequenceRepr(TextBuilder& out, const Sequence& s) {
  if (s.isGenerator()) return out.append("<generator object>");
  if (s.kind == Sequence::Kind::kRange) {
    // Whole ranges only are made (globals.cpp), so the ends tell it all but for an empty one.
    const auto at = [&](size_t i) { return *s.items[i].asInteger(); };
    const int64_t step = s.items.size() > 1 ? at(1) - at(0) : 1;
    const int64_t begin = s.items.empty() ? 0 : at(0);
    const int64_t end = begin + step * static_cast<int64_t>(s.items.size());
    return out.append(step == 1 ? fmt::format("range({}, {})", begin, end)
                                : fmt::format("range({}, {}, {})", begin, end, step));
  }
  if (s.isView()) out.append(fmt::format("{}(", sequenceName(s.kind)));
  out.append(s.isTuple() ? "(" : "[");
  for (size_t i = 0; i < s.items.size(); ++i) {
    if (i > 0) out.append(", ");
    appendRepr(out, s.items[i]);
  }
  if (s.isTuple() && s.items.size() == 1) out.append(",");
  out.append(s.isTuple() ? ")" : "]");
  if (s.isView()) out.append(")");
}

bool sequencesEqual(Budget& budget, const Sequence& a, const Sequence& b) {
  if (&a == &b) return true;
  const bool comparable = a.kind == b.kind && !a.isGenerator() &&
                          a.kind != Sequence::Kind::kValues && a.items.size() == b.items.size();
  if (!comparable) return false;
  for (size_t i = 0; i < a.items.size(); ++i)
    if (!equals(budget, a.items[i], b.items[i])) return false;
  return true;
}

bool dictsEqual(Budget& budget, const Dict& a, const Dict& b) {
  if (&a == &b) return true;
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a.entries()) {
    const Value* other = b.find(budget, key);
    if (!other || !equals(budget, value, *other)) return false;
  }
  return true;
}

}  // namespace

int depthAbove(int depth) {
  if (depth >= kMaxDepth) fail(fmt::format("a value nests deeper than {}", kMaxDepth));
  return depth + 1;
}

Value Value::none() { return Value(Held(None())); }
Value Value::boolean(bool value) { return Value(Held(value)); }
Value Value::integer(int64_t value) { return Value(Held(value)); }
Value Value::number(double value) { return Value(Held(value)); }

Value Value::string(std::string text, bool markup) {
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char c) { return static_cast<signed char>(c) >= 0; });
  return Value(Held(std::make_shared<const Text>(Text{std::move(text), ascii, markup})));
}

Value Value::sequence(Sequence sequence) {
  int depth = 0;
  for (const Value& item : sequence.items) depth = std::max(depth, item.depth());
  sequence.depth = depthAbove(depth);
  return Value(Held(std::make_shared<const Sequence>(std::move(sequence))));
}

Value Value::list(std::vector<Value> items) {
  return makeSequence(Sequence::Kind::kList, std::move(items));
}
Value Value::tuple(std::vector<Value> items) {
  return makeSequence(Sequence::Kind::kTuple, std::move(items));
}
Value Value::dict(Dict dict) { return Value(Held(std::make_shared<const Dict>(std::move(dict)))); }
Value Value::object(std::shared_ptr<Object> object) { return Value(Held(std::move(object))); }
Value Value::undefined(std::string reason) {
  return Value(Held(std::make_shared<const Missing>(Missing{std::move(reason)})));
}

std::string_view Value::asString() const {
  return std::get<std::shared_ptr<const Text>>(held_)->bytes;
}
bool Value::isAscii() const { return std::get<std::shared_ptr<const Text>>(held_)->ascii; }
bool Value::isMarkup() const {
  return isString() && std::get<std::shared_ptr<const Text>>(held_)->markup;
}

std::optional<int64_t> Value::asInteger() const {
  if (isInt()) return std::get<int64_t>(held_);
  if (isBool()) return asBool();
  return std::nullopt;
}

double Value::asNumber() const { return isFloat() ? asFloat() : static_cast<double>(*asInteger()); }

const Sequence* Value::asSequence() const {
  const auto* held = std::get_if<std::shared_ptr<const Sequence>>(&held_);
  return held ? held->get() : nullptr;
}
const Dict* Value::asDict() const {
  const auto* held = std::get_if<std::shared_ptr<const Dict>>(&held_);
  return held ? held->get() : nullptr;
}
Object* Value::asObject() const {
  const auto* held = std::get_if<std::shared_ptr<Object>>(&held_);
  return held ? held->get() : nullptr;
}
std::shared_ptr<const Sequence> Value::sharedSequence() const {
  return std::get<std::shared_ptr<const Sequence>>(held_);
}
std::shared_ptr<Object> Value::sharedObject() const {
  return std::get<std::shared_ptr<Object>>(held_);
}

std::string Value::undefinedReason() const {
  const auto& missing = std::get<std::shared_ptr<const Missing>>(held_);
  return missing ? missing->reason : "the value is undefined";
}

bool Value::isSame(const Value& other) const {
  if (held_.index() != other.held_.index()) return false;
  if (isNone()) return true;
  if (isNumber()) return asNumber() == other.asNumber();
  if (isString()) return asString() == other.asString();  // CPython interns the short ones
  if (asSequence()) return asSequence() == other.asSequence();
  if (asDict()) return asDict() == other.asDict();
  if (asObject()) return asObject() == other.asObject();
  return false;
}

std::string Value::typeName() const {
  if (isUndefined()) return "Undefined";
  if (isNone()) return "NoneType";
  if (isBool()) return "bool";
  if (isInt()) return "int";
  if (isFloat()) return "float";
  if (isString()) return "str";
  if (asDict()) return "dict";
  if (const Sequence* s = asSequence()) return sequenceName(s->kind);
  return asObject()->typeName();
}

int Value::depth() const {
  if (const Sequence* s = asSequence()) return s->depth;
  if (const Dict* d = asDict()) return d->depth();
  if (const Object* o = asObject()) return o->depth();
  return 0;
}

const size_t* Dict::indexOf(Budget& budget, size_t hash, const Value& key) const {
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (equals(budget, entries_[it->second].first, key)) return &it->second;
  return nullptr;
}

void Dict::insert(size_t hash, Value key, Value value) {
  index_.emplace(hash, entries_.size());
  entries_.emplace_back(std::move(key), std::move(value));
}

void Dict::set(Budget& budget, Value key, Value value) {
  depth_ = std::max(depth_, depthAbove(std::max(key.depth(), value.depth())));
  const size_t hash = hashOf(budget, key);
  if (const size_t* index = indexOf(budget, hash, key)) {
    entries_[*index].second = std::move(value);
  } else {
    budget.reserve(sizeof(Value) * 4);
    insert(hash, std::move(key), std::move(value));
  }
}

void Dict::set(std::string key, Value value) {
  Budget budget{Limits()};
  set(budget, Value::string(std::move(key)), std::move(value));
}

const Value* Dict::find(Budget& budget, const Value& key) const {
  const size_t* index = indexOf(budget, hashOf(budget, key), key);
  return index ? &entries_[*index].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto [begin, end] = index_.equal_range(std::hash<std::string_view>()(key));
  for (auto it = begin; it != end; ++it) {
    const auto& entry = entries_[it->second];
    if (entry.first.isString() && entry.first.asString() == key) return &entry.second;
  }
  return nullptr;
}

std::string Object::repr() const { return fmt::format("<{} object>", typeName()); }

Value Object::call(Budget&, Arguments&) {
  fail(fmt::format("'{}' object is not callable", typeName()));
}

void requireDefined(const Value& value) {
  if (value.isUndefined()) fail(value.undefinedReason());
}

bool isTrue(const Value& value) {
  if (value.isUndefined() || value.isNone()) return false;
  if (value.isNumber()) return value.asNumber() != 0;
  if (value.isString()) return !value.asString().empty();
  if (const Sequence* s = value.asSequence()) return s->isGenerator() || !s->items.empty();
  if (const Dict* d = value.asDict()) return d->size() > 0;
  return true;
}

bool equals(Budget& budget, const Value& a, const Value& b) {
  budget.step();
  if (a.isNumber() && b.isNumber()) {
    const auto i = a.asInteger(), j = b.asInteger();
    return i && j ? *i == *j : a.asNumber() == b.asNumber();
  }
  if (a.isString() && b.isString()) {
    budget.scan(std::min(a.asString().size(), b.asString().size()));
    return a.asString() == b.asString();
  }
  if (a.isUndefined() || a.isNone())
    return a.isUndefined() == b.isUndefined() && a.isNone() == b.isNone();
  if (a.asSequence() && b.asSequence())
    return sequencesEqual(budget, *a.asSequence(), *b.asSequence());
  if (a.asDict() && b.asDict()) return dictsEqual(budget, *a.asDict(), *b.asDict());
  return a.asObject() && a.asObject() == b.asObject();
}

int compare(Budget& budget, const Value& a, const Value& b) {
  budget.step();
  requireDefined(a);
  requireDefined(b);
  if (a.isNumber() && b.isNumber()) {
    const auto i = a.asInteger(), j = b.asInteger();
    if (i && j) return *i < *j ? -1 : *i > *j;
    return a.asNumber() < b.asNumber() ? -1 : a.asNumber() > b.asNumber();
  }
  if (a.isString() && b.isString()) {
    // The order of UTF-8's bytes is that of the code points.
    budget.scan(std::min(a.asString().size(), b.asString().size()));
    return a.asString().compare(b.asString());
  }
  const Sequence *s = a.asSequence(), *t = b.asSequence();
  if (s && t && s->kind == t->kind && (s->isList() || s->isTuple())) {
    for (size_t i = 0; i < std::min(s->items.size(), t->items.size()); ++i)
      if (!equals(budget, s->items[i], t->items[i]))
        return compare(budget, s->items[i], t->items[i]);
    return s->items.size() < t->items.size() ? -1 : s->items.size() > t->items.size();
  }
  fail(fmt::format("'{}' and '{}' cannot be ordered", a.typeName(), b.typeName()));
}

std::string floatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  // Shortest digits that read back the same; Python writes an exponent below 1e-4 and from 1e16 on.
  char buffer[64];
  const double magnitude = std::fabs(value);
  const bool scientific = magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16);
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value,
                    scientific ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(buffer, end.ptr);
  if (!scientific && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void appendRepr(TextBuilder& out, const Value& value) {
  out.budget().step();
  if (value.isString()) {
    if (!value.isMarkup()) return appendStringRepr(out, value.asString());
    out.append("Markup(");
    appendStringRepr(out, value.asString());
    return out.append(")");
  }
  if (value.isUndefined()) return out.append("Undefined");
  if (const Sequence* s = value.asSequence()) return appendSequenceRepr(out, *s);
  if (const Dict* d = value.asDict()) {
    out.append("{");
    const char* separator = "";
    for (const auto& [key, item] : d->entries()) {
      out.append(std::exchange(separator, ", "));
      appendRepr(out, key);
      out.append(": ");
      appendRepr(out, item);
    }
    return out.append("}");
  }
  appendString(out, value);
}

void appendString(TextBuilder& out, const Value& value) {
  if (value.isString()) return out.append(value.asString());
  if (value.isUndefined()) return;
  if (value.isNone()) return out.append("None");
  if (value.isBool()) return out.append(value.asBool() ? "True" : "False");
  if (value.isInt()) return out.append(std::to_string(*value.asInteger()));
  if (value.isFloat()) return out.append(floatText(value.asFloat()));
  if (Object* object = value.asObject()) return out.append(object->repr());
  appendRepr(out, value);
}

std::string toString(Budget& budget, const Value& value) {
  if (value.isString()) return std::string(value.asString());
  TextBuilder out(budget);
  appendString(out, value);
  return out.take();
}

bool isIterable(const Value& value) {
  return value.isString() || value.asSequence() || value.asDict() || value.isUndefined();
}

std::shared_ptr<const Sequence> iterate(Budget& budget, const Value& value) {
  Sequence made;
  if (value.asSequence()) {
    auto sequence = value.sharedSequence();
    if (!sequence->isGenerator()) return sequence;
    budget.step(sequence->items.size());
    const size_t begin = std::exchange(sequence->next, sequence->items.size());
    if (begin == 0) return sequence;
    made.items.assign(sequence->items.begin() + static_cast<ptrdiff_t>(begin),
                      sequence->items.end());
  } else if (value.isString()) {
    const std::string_view text = value.asString();
    budget.reserve(text.size(), sizeof(Value) + sizeof(Text));
    for (size_t i = 0; i < text.size();) {
      const size_t length = utf8Length(static_cast<unsigned char>(text[i]));
      made.items.push_back(Value::string(std::string(text.substr(i, length)), value.isMarkup()));
      i += length;
    }
  } else if (const Dict* dict = value.asDict()) {
    budget.reserve(dict->size(), sizeof(Value));
    for (const auto& entry : dict->entries()) made.items.push_back(entry.first);
  } else if (!value.isUndefined()) {
    fail(fmt::format("'{}' object is not iterable", value.typeName()));
  }
  return Value::sequence(std::move(made)).sharedSequence();
}

std::optional<int64_t> lengthOf(Budget& budget, const Value& value) {
  if (value.isString()) {
    const std::string_view text = value.asString();
    if (value.isAscii()) return static_cast<int64_t>(text.size());
    budget.scan(text.size());
    return static_cast<int64_t>(countCodePoints(text));
  }
  if (const Sequence* s = value.asSequence(); s && !s->isGenerator())
    return static_cast<int64_t>(s->items.size());
  if (const Dict* d = value.asDict()) return static_cast<int64_t>(d->size());
  if (value.isUndefined()) return 0;
  return std::nullopt;
}

}  // namespace llmrt::jinja
