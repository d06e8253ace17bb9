#include "runtime/jinja/operations.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <cmath>

#include "runtime/jinja/big_integer.h"
#include "runtime/jinja/builders.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

const char* symbolOf(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    default:
      return "**";
  }
}

[[noreturn]] void failOverflow() { fail("an integer does not fit in 64 bits"); }

int64_t floorDivide(int64_t a, int64_t b) {
  if (b == -1 && a == INT64_MIN) failOverflow();
  const int64_t quotient = a / b;
  return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

int64_t floorModulo(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t remainder = a % b;
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

Value integerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail("zero to a negative power");
    return Value::number(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) failOverflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) failOverflow();
  }
  return Value::integer(result);
}

Value applyToIntegers(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) failOverflow();
      return Value::integer(result);
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) failOverflow();
      return Value::integer(result);
    case Operator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) failOverflow();
      return Value::integer(result);
    case Operator::kPower:
      return integerPower(a, b);
    default:
      break;
  }
  if (b == 0) fail("division by zero");
  if (op == Operator::kDivide)
    return Value::number(static_cast<double>(a) / static_cast<double>(b));
  return Value::integer(op == Operator::kFloorDivide ? floorDivide(a, b) : floorModulo(a, b));
}

// std::fmod(), which may take a few bits of the quotient at a time.
double floatRemainder(Budget& budget, double a, double b) {
  const bool wide = std::isfinite(a) && std::isfinite(b) && std::fabs(a) > std::fabs(b);
  if (wide && b != 0) budget.step(static_cast<uint64_t>(std::ilogb(a) - std::ilogb(b)) / 64);
  return std::fmod(a, b);
}

Value applyToNumbers(Budget& budget, Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value::number(a + b);
    case Operator::kSubtract:
      return Value::number(a - b);
    case Operator::kMultiply:
      return Value::number(a * b);
    case Operator::kPower:
      if (a == 0 && b < 0) fail("zero to a negative power");
      if (a < 0 && b != std::floor(b)) fail("a negative number to a fractional power");
      return Value::number(std::pow(a, b));
    default:
      break;
  }
  if (b == 0) fail("division by zero");
  if (op == Operator::kDivide) return Value::number(a / b);
  double remainder = floatRemainder(budget, a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (op == Operator::kModulo) return Value::number(remainder);
  return Value::number(std::round((a - remainder) / b));
}

Value concatenate(Budget& budget, const Value& a, const Value& b) {
  if (a.isString()) {
    const bool markup = a.isMarkup() || b.isMarkup();
    const Value left = markup ? escape(budget, a) : a, right = markup ? escape(budget, b) : b;
    return joinTexts(budget, left, right.asString(), markup);
  }
  ListBuilder out(budget);
  out.expect(a.asSequence()->items.size() + b.asSequence()->items.size());
  out.addAll(a.asSequence()->items);
  out.addAll(b.asSequence()->items);
  return out.sequence(a.asSequence()->kind);
}

Value repeat(Budget& budget, const Value& value, int64_t count) {
  const auto times = static_cast<uint64_t>(std::max<int64_t>(count, 0));
  if (value.isString()) {
    TextBuilder out(budget);
    out.expect(times, value.asString().size());
    for (uint64_t i = 0; i < times && !value.asString().empty(); ++i) out.append(value.asString());
    return out.value(value.isMarkup());
  }
  const Sequence& s = *value.asSequence();
  ListBuilder out(budget);
  out.expect(times, s.items.size());
  for (uint64_t i = 0; i < times && !s.items.empty(); ++i) out.addAll(s.items);
  return out.sequence(s.kind);
}

bool isListOrTuple(const Value& value) {
  const Sequence* s = value.asSequence();
  return s && (s->isList() || s->isTuple());
}

// "'dict object'": how Jinja2 names what lacks an attribute.
std::string ownerName(const Value& value) {
  return value.isNone() ? "None" : value.typeName() + " object";
}

Value noAttribute(Budget& budget, const Value& object, std::string_view name) {
  budget.reserve(name.size());
  return Value::undefined(budget,
                          fmt::format("'{}' has no attribute '{}'", ownerName(object), name));
}

// Where a slice begins and ends, and how many items it has.
struct SliceBounds {
  int64_t begin, end, step, count;
};

std::optional<SliceBounds> sliceBounds(int64_t length, const Value* begin, const Value* end,
                                       const Value* step) {
  const auto read = [](const Value* value, std::optional<int64_t>& out) {
    if (!value || value->isNone()) return true;
    out = value->asInteger();
    return out.has_value();
  };
  std::optional<int64_t> from, to, by;
  if (!read(begin, from) || !read(end, to) || !read(step, by)) return std::nullopt;
  const int64_t stride = by.value_or(1);
  if (stride == 0) fail("slice step cannot be zero");
  if (stride == INT64_MIN) return std::nullopt;
  const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? length : length - 1;
  const auto clamped = [&](int64_t i) { return std::clamp(i < 0 ? i + length : i, low, high); };
  const int64_t first = from ? clamped(*from) : stride > 0 ? low : high;
  const int64_t last = to ? clamped(*to) : stride > 0 ? high : low;
  const int64_t distance = stride > 0 ? last - first : first - last;
  const int64_t size = stride > 0 ? stride : -stride;
  return SliceBounds{first, last, stride, distance > 0 ? (distance - 1) / size + 1 : 0};
}

Value sliceString(Budget& budget, const Value& text, const SliceBounds& bounds) {
  const std::string_view bytes = text.asString();
  const auto begin = static_cast<size_t>(bounds.begin);
  const auto count = static_cast<size_t>(bounds.count);
  if (count == 0) return Value::string(budget, "", text.isMarkup());
  TextBuilder out(budget);
  if (bounds.step == 1) {
    if (text.isAscii()) {
      out.append(bytes.substr(begin, count));
    } else {
      budget.scan(bytes.size());
      const std::string_view from = bytes.substr(offsetOfCodePoint(bytes, begin));
      out.append(from.substr(0, offsetOfCodePoint(from, count)));
    }
    return out.value(text.isMarkup());
  }
  budget.reserve(bytes.size(), sizeof(size_t));
  std::vector<size_t> characters;  // where they begin
  for (size_t i = 0; i < bytes.size(); i += utf8Length(static_cast<unsigned char>(bytes[i])))
    characters.push_back(i);
  for (int64_t i = 0; i < bounds.count; ++i) {
    const size_t at = characters[static_cast<size_t>(bounds.begin + i * bounds.step)];
    out.append(bytes.substr(at, utf8Length(static_cast<unsigned char>(bytes[at]))));
  }
  return out.value(text.isMarkup());
}

// The item a number selects, or nullopt.
std::optional<Value> itemAt(Budget& budget, const Value& object, int64_t index) {
  const bool indexable =
      object.isString() || isListOrTuple(object) ||
      (object.asSequence() && object.asSequence()->kind == Sequence::Kind::kRange);
  if (!indexable) return std::nullopt;
  const int64_t length = *lengthOf(budget, object);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  if (object.isString()) return sliceString(budget, object, {index, index + 1, 1, 1});
  return object.asSequence()->items[static_cast<size_t>(index)];
}

}  // namespace

size_t findText(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  // std::string_view::find() is quadratic on hostile text.
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data())
               : std::string_view::npos;
}

Value escape(Budget& budget, const Value& value) {
  if (value.isMarkup()) return value;
  TextBuilder out(budget);
  const Value text = toText(budget, value);
  budget.scan(text.asString().size());
  for (const char c : text.asString()) {
    switch (c) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '\'':
        out.append("&#39;");
        break;
      case '"':
        out.append("&#34;");
        break;
      default:
        out.append(1, c);
    }
  }
  return out.value(true);
}

Value applyOperator(Budget& budget, Operator op, const Value& a, const Value& b) {
  requireDefined(a);
  if (op == Operator::kModulo && a.isString()) return formatPercent(budget, a, b);
  requireDefined(b);
  const auto counts = [](const Value& v) { return v.isNumber() || v.isBigInt(); };
  if ((a.isBigInt() || b.isBigInt()) && (op == Operator::kMultiply || (counts(a) && counts(b))))
    fail("arithmetic on an integer beyond 64 bits is not supported");
  const auto i = a.asInteger(), j = b.asInteger();
  if (i && j) return applyToIntegers(op, *i, *j);
  if (a.isNumber() && b.isNumber()) return applyToNumbers(budget, op, a.asNumber(), b.asNumber());
  if (op == Operator::kAdd) {
    if (a.isString() && b.isString()) return concatenate(budget, a, b);
    if (isListOrTuple(a) && isListOrTuple(b) && a.asSequence()->kind == b.asSequence()->kind)
      return concatenate(budget, a, b);
  }
  if (op == Operator::kMultiply) {
    if ((a.isString() || isListOrTuple(a)) && j) return repeat(budget, a, *j);
    if ((b.isString() || isListOrTuple(b)) && i) return repeat(budget, b, *i);
  }
  fail(fmt::format("'{}' {} '{}' is not possible", a.typeName(), symbolOf(op), b.typeName()));
}

bool applyComparison(Budget& budget, Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kEqual:
      return equals(budget, a, b);
    case Operator::kNotEqual:
      return !equals(budget, a, b);
    case Operator::kIn:
      return contains(budget, b, a);
    case Operator::kNotIn:
      return !contains(budget, b, a);
    default:
      break;
  }
  const auto isNan = [](const Value& v) { return v.isFloat() && std::isnan(v.asFloat()); };
  const auto counts = [](const Value& v) { return v.isNumber() || v.isBigInt(); };
  if ((isNan(a) && counts(b)) || (counts(a) && isNan(b))) return false;
  const int order = compare(budget, a, b);
  switch (op) {
    case Operator::kLess:
      return order < 0;
    case Operator::kLessEqual:
      return order <= 0;
    case Operator::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

Value negate(Budget& budget, const Value& value) {
  requireDefined(value);
  if (value.isBigInt() || (value.isInt() && *value.asInteger() == INT64_MIN)) {
    const std::string digits(toText(budget, value).asString());
    return integerOf(budget, digits.starts_with('-') ? digits.substr(1) : "-" + digits);
  }
  if (const auto i = value.asInteger()) return applyToIntegers(Operator::kSubtract, 0, *i);
  if (value.isFloat()) return Value::number(-value.asFloat());
  fail(fmt::format("'{}' has no negative", value.typeName()));
}

bool contains(Budget& budget, const Value& container, const Value& item) {
  if (container.isString()) {
    if (!item.isString())
      fail(fmt::format("'in <string>' takes a string on its left, not '{}'", item.typeName()));
    budget.scan(container.asString().size() + item.asString().size());
    return findText(container.asString(), item.asString()) != std::string_view::npos;
  }
  if (const Dict* dict = container.asDict()) return dict->find(budget, item) != nullptr;
  if (!isIterable(container)) {
    requireDefined(container);
    fail(fmt::format("argument of type '{}' is not iterable", container.typeName()));
  }
  const std::vector<Value>& items = iterate(budget, container);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& other) { return equals(budget, item, other); });
}

Value getAttribute(Budget& budget, const Value& object, std::string_view name) {
  budget.step();
  requireDefined(object);
  if (name.starts_with("__") && name.ends_with("__")) {
    budget.reserve(name.size());
    return Value::undefined(budget, fmt::format("access to attribute '{}' of '{}' object is unsafe",
                                                name, object.typeName()));
  }
  if (const auto method = boundMethod(budget, object, name)) return *method;
  if (Object* o = object.asObject()) {
    if (const auto attribute = o->attribute(budget, name)) return *attribute;
  }
  if (const Dict* dict = object.asDict()) {
    if (const Value* found = dict->find(budget, name)) return *found;
  }
  if (const Sequence* s = object.asSequence(); s && s->kind == Sequence::Kind::kGroup) {
    if (name == "grouper" || name == "list") return s->items[name == "list"];
  }
  return noAttribute(budget, object, name);
}

Value getItem(Budget& budget, const Value& object, const Value& key) {
  budget.step();
  requireDefined(object);
  if (const Dict* dict = object.asDict()) {
    const bool hashable = !key.asDict() && !(key.asSequence() && !key.asSequence()->isTuple());
    const Value* found = hashable ? dict->find(budget, key) : nullptr;
    if (found) return *found;
  } else if (const auto index = key.asInteger()) {
    if (const auto item = itemAt(budget, object, *index)) return *item;
  }
  if (key.isString()) {
    const std::string_view name = key.asString();
    // What a dict has no key for may still be its method.
    if (!object.asDict()) return getAttribute(budget, object, name);
    if (const auto method = boundMethod(budget, object, name)) return *method;
    return noAttribute(budget, object, name);
  }
  TextBuilder reason(budget);
  reason.append(ownerName(object) + " has no element ");
  appendRepr(reason, key);
  return Value::undefined(budget, reason.take());
}

Value getSlice(Budget& budget, const Value& object, const Value* begin, const Value* end,
               const Value* step) {
  budget.step();
  requireDefined(object);
  const bool sliceable =
      object.isString() || isListOrTuple(object) ||
      (object.asSequence() && object.asSequence()->kind == Sequence::Kind::kRange);
  const auto bounds =
      sliceable ? sliceBounds(*lengthOf(budget, object), begin, end, step) : std::nullopt;
  if (!bounds) fail(fmt::format("'{}' object has no such slice", object.typeName()));
  if (object.isString()) return sliceString(budget, object, *bounds);
  const Sequence& s = *object.asSequence();
  ListBuilder out(budget);
  for (int64_t i = 0; i < bounds->count; ++i)
    out.add(s.items[static_cast<size_t>(bounds->begin + i * bounds->step)]);
  if (s.kind != Sequence::Kind::kRange) return out.sequence(s.kind);
  // Wraps where Python's integers would go beyond 64 bits; only repr() shows it.
  const auto at = [&](int64_t i) {
    return static_cast<int64_t>(static_cast<uint64_t>(s.start) +
                                static_cast<uint64_t>(i) * static_cast<uint64_t>(s.step));
  };
  return out.range(
      at(bounds->begin), at(bounds->end),
      static_cast<int64_t>(static_cast<uint64_t>(s.step) * static_cast<uint64_t>(bounds->step)));
}

Value call(Budget& budget, const Value& callee, const Arguments& arguments) {
  budget.step();
  requireDefined(callee);
  Object* object = callee.asObject();
  if (!object || !object->callable())
    fail(fmt::format("'{}' object is not callable", callee.typeName()));
  return object->call(budget, arguments);
}

}  // namespace llmrt::jinja
