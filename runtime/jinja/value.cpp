#include "runtime/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "runtime/jinja/big_integer.h"
#include "runtime/jinja/builders.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

// Whoever walks a value recurses.
constexpr int kMaxDepth = 200;
// What a dict allocates however small it is.
constexpr uint64_t kFirstEntryBytes = 160;

size_t hashText(Budget& budget, std::string_view text) {
  budget.scan(text.size());
  return std::hash<std::string_view>()(text);
}

size_t hashOf(Budget& budget, const Value& value) {
  budget.step();
  if (value.isString()) return hashText(budget, value.asString());
  if (value.isNumber()) return std::hash<double>()(value.asNumber());
  // As the float that may equal it; what is beyond any float shares a hash.
  if (value.isBigInt()) {
    budget.scan(value.bigDigits().size());
    return std::hash<double>()(std::strtod(std::string(value.bigDigits()).c_str(), nullptr));
  }
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

// Of which one at least is beyond 64 bits.
bool equalsBig(Budget& budget, const Value& a, const Value& b) {
  const Value &big = a.isBigInt() ? a : b, &other = a.isBigInt() ? b : a;
  if (!other.isBigInt() && (!other.isFloat() || std::isnan(other.asFloat()))) return false;
  budget.scan(big.bigDigits().size());
  return compareBig(big, other) == 0;
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

Budget::Budget(const Limits& limits, const char* subject)
    : limits_(limits),
      subject_(subject),
      steps_(limits.steps),
      bytes_(limits.memory_bytes),
      heap_(std::make_unique<Heap>()) {}
Budget::~Budget() = default;

void Budget::failSteps() const {
  fail(fmt::format("{} runs for too long: the limit is {} steps", subject_, limits_.steps));
}

void Budget::failMemory() const {
  constexpr uint64_t kMiB = 1 << 20;
  const uint64_t bytes = limits_.memory_bytes;
  fail(fmt::format("{} uses too much memory: the limit is {} {}", subject_,
                   bytes % kMiB == 0 ? bytes / kMiB : bytes, bytes % kMiB == 0 ? "MiB" : "bytes"));
}

void Budget::failDepth() const {
  fail(fmt::format("{} nests too deeply: the limit is {} levels", subject_, limits_.depth));
}

int depthAbove(int depth) {
  if (depth >= kMaxDepth) fail(fmt::format("a value nests deeper than {}", kMaxDepth));
  return depth + 1;
}

Value Value::string(Budget& budget, std::string_view text, bool markup) {
  TextBuilder out(budget);
  out.append(text);
  return out.value(markup);
}

Value Value::bigInteger(Budget& budget, std::string_view digits) {
  return Value(Held(Big{std::get<const Text*>(string(budget, digits).held_)}));
}

Value Value::tuple(Budget& budget, std::initializer_list<Value> items) {
  ListBuilder out(budget);
  for (const Value& item : items) out.add(item);
  return out.tuple();
}

Value Value::dict(Budget& budget, Dict dict) {
  budget.reserve(sizeof(Dict));
  return Value(Held(budget.heap().add(std::move(dict))));
}

Value Value::undefined(Budget& budget, std::string_view reason) {
  return Value(Held(Missing{std::get<const Text*>(string(budget, reason).held_)}));
}

std::string_view Value::asString() const { return std::get<const Text*>(held_)->view(); }
std::string_view Value::bigDigits() const { return std::get<Big>(held_).digits->view(); }
bool Value::isAscii() const { return std::get<const Text*>(held_)->ascii; }
bool Value::isMarkup() const { return isString() && std::get<const Text*>(held_)->markup; }

std::optional<int64_t> Value::asInteger() const {
  if (isInt()) return std::get<int64_t>(held_);
  if (isBool()) return asBool();
  return std::nullopt;
}

double Value::asNumber() const { return isFloat() ? asFloat() : static_cast<double>(*asInteger()); }

std::string_view Value::undefinedReason() const {
  const Text* reason = std::get<Missing>(held_).reason;
  return reason ? reason->view() : "the value is undefined";
}

bool Value::isSame(Budget& budget, const Value& other) const {
  if (held_.index() != other.held_.index()) return false;
  if (isNone()) return true;
  if (isNumber()) return asNumber() == other.asNumber();
  if (isBigInt()) return bigDigits() == other.bigDigits();
  if (isString()) return equals(budget, *this, other);  // CPython interns the short ones
  if (asSequence()) return asSequence() == other.asSequence();
  if (asDict()) return asDict() == other.asDict();
  if (asObject()) return asObject() == other.asObject();
  return false;
}

std::string Value::typeName() const {
  if (isUndefined()) return "Undefined";
  if (isNone()) return "NoneType";
  if (isBool()) return "bool";
  if (isInt() || isBigInt()) return "int";
  if (isFloat()) return "float";
  if (isString()) return "str";
  if (asDict()) return "dict";
  if (const Sequence* s = asSequence()) return sequenceName(s->kind);
  return asObject()->typeName();
}

int Value::depth() const {
  if (const Sequence* s = asSequence()) return s->depth;
  if (const Dict* d = asDict()) return d->depth();
  return 0;
}

const size_t* Dict::indexOf(Budget& budget, size_t hash, const Value& key) const {
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (equals(budget, entries_[it->second].first, key)) return &it->second;
  return nullptr;
}

void Dict::set(Budget& budget, const Value& key, const Value& value) {
  depth_ = std::max(depth_, depthAbove(std::max(key.depth(), value.depth())));
  const size_t hash = hashOf(budget, key);
  if (const size_t* index = indexOf(budget, hash, key)) {
    entries_[*index].second = value;
    return;
  }
  // With the index: its first buckets; a node and its share of the buckets for each entry. Vectors
  // have room for twice as many entries.
  if (entries_.empty()) budget.reserve(kFirstEntryBytes);
  budget.reserve(2 * (sizeof(entries_[0]) + 4 * sizeof(size_t)));
  index_.emplace(hash, entries_.size());
  entries_.emplace_back(key, value);
}

const Value* Dict::find(Budget& budget, const Value& key) const {
  const size_t* index = indexOf(budget, hashOf(budget, key), key);
  return index ? &entries_[*index].second : nullptr;
}

const Value* Dict::find(Budget& budget, std::string_view key) const {
  const auto [begin, end] = index_.equal_range(hashText(budget, key));
  for (auto it = begin; it != end; ++it) {
    budget.scan(key.size());
    const auto& entry = entries_[it->second];
    if (entry.first.isString() && entry.first.asString() == key) return &entry.second;
  }
  return nullptr;
}

void payForLook(Budget& budget, const Value& value) {
  if (value.isString()) return budget.scan(value.asString().size());
  if (const Sequence* s = value.asSequence()) return budget.step(1 + s->items.size() / 16);
  if (const Dict* d = value.asDict()) return budget.step(1 + d->size() / 16);
}

std::string Object::repr() const { return fmt::format("<{} object>", typeName()); }

Value Object::call(Budget&, const Arguments&) {
  fail(fmt::format("'{}' object is not callable", typeName()));
}

void requireDefined(const Value& value) {
  if (value.isUndefined()) fail(std::string(value.undefinedReason()));
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
  if (a.isBigInt() || b.isBigInt()) return equalsBig(budget, a, b);
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
  if ((a.isBigInt() && (b.isBigInt() || b.isNumber())) || (b.isBigInt() && a.isNumber())) {
    budget.scan((a.isBigInt() ? a : b).bigDigits().size());
    return a.isBigInt() ? compareBig(a, b) : -compareBig(b, a);
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

bool isIterable(const Value& value) {
  return value.isString() || value.asSequence() || value.asDict() || value.isUndefined();
}

const std::vector<Value>& iterate(Budget& budget, const Value& value) {
  budget.step();
  ListBuilder made(budget);
  if (const Sequence* sequence = value.asSequence()) {
    if (!sequence->isGenerator()) return sequence->items;
    const size_t begin = std::exchange(sequence->next, sequence->items.size());
    if (begin == 0) return sequence->items;
    for (size_t i = begin; i < sequence->items.size(); ++i) made.add(sequence->items[i]);
  } else if (value.isString()) {
    const std::string_view text = value.asString();
    for (size_t i = 0; i < text.size();) {
      const size_t length = utf8Length(static_cast<unsigned char>(text[i]));
      made.add(Value::string(budget, text.substr(i, length), value.isMarkup()));
      i += length;
    }
  } else if (const Dict* dict = value.asDict()) {
    for (const auto& entry : dict->entries()) made.add(entry.first);
  } else if (!value.isUndefined()) {
    fail(fmt::format("'{}' object is not iterable", value.typeName()));
  }
  return made.list().asSequence()->items;
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
