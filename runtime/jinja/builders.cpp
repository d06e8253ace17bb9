#include "runtime/jinja/builders.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

void appendStringRepr(TextBuilder& out, std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out.append(1, quote);
  for (size_t i = 0; i < text.size();) {
    const char32_t c = codePointAt(text, i);
    const size_t length = utf8Length(static_cast<unsigned char>(text[i]));
    if (c == '\n') {
      out.append("\\n");
    } else if (c == '\r') {
      out.append("\\r");
    } else if (c == '\t') {
      out.append("\\t");
    } else if (c == '\\' || c == static_cast<unsigned char>(quote)) {
      out.append(1, '\\');
      out.append(1, static_cast<char>(c));
    } else if (isPrintable(c)) {
      out.append(text.substr(i, length));
    } else {
      const auto code = static_cast<uint32_t>(c);
      out.append(code < 0x100     ? fmt::format("\\x{:02x}", code)
                 : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                  : fmt::format("\\U{:08x}", code));
    }
    i += length;
  }
  out.append(1, quote);
}

void appendSequenceRepr(TextBuilder& out, const Value& value) {
  const Sequence& s = *value.asSequence();
  if (s.isGenerator()) return out.append("<generator object>");
  if (s.kind == Sequence::Kind::kRange) {
    return out.append(s.step == 1 ? fmt::format("range({}, {})", s.start, s.stop)
                                  : fmt::format("range({}, {}, {})", s.start, s.stop, s.step));
  }
  if (s.isView()) out.append(value.typeName() + "(");
  out.append(s.isTuple() ? "(" : "[");
  for (size_t i = 0; i < s.items.size(); ++i) {
    if (i > 0) out.append(", ");
    appendRepr(out, s.items[i]);
  }
  if (s.isTuple() && s.items.size() == 1) out.append(",");
  out.append(s.isTuple() ? ")" : "]");
  if (s.isView()) out.append(")");
}

bool isAsciiText(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<signed char>(c) >= 0; });
}

// Room that nothing will fill.
constexpr uint64_t kMuchRoom = 4096;

// Twice as much, or what is needed; where the budget does not have that, all it has.
uint64_t newCapacity(uint64_t now, uint64_t needed, uint64_t left) {
  return std::max(needed, std::min(2 * now, left));
}

}  // namespace

void TextBuilder::expect(uint64_t count, uint64_t bytes) {
  // What does not even fit in the budget may not fit in 64 bits.
  if (bytes > 0 && count > budget_->left() / bytes) budget_->reserve(count, bytes);
  if (count * bytes > text_.capacity() - text_.size()) grow(count * bytes);
}

void TextBuilder::grow(uint64_t more) {
  const uint64_t capacity = newCapacity(text_.capacity(), text_.size() + more, budget_->left());
  budget_->reserve(capacity);
  std::string wider;  // text_.reserve() may take more than that
  wider.reserve(capacity);
  wider += text_;
  text_ = std::move(wider);
  budget_->release(std::exchange(paid_, capacity));
}

void TextBuilder::append(char32_t code_point) {
  std::string one;  // fits in what a string has without an allocation
  appendUtf8(code_point, one);
  append(std::string_view(one));
}

Value TextBuilder::value(bool markup) {
  budget_->reserve(sizeof(Text));
  if (text_.capacity() - text_.size() > std::max(kMuchRoom, text_.size() / 4)) {
    budget_->reserve(text_.size());
    text_ = std::string(text_);
    budget_->release(std::exchange(paid_, text_.size()));
  }
  const bool ascii = isAsciiText(text_);
  const size_t size = text_.size();
  return Value(Value::Held(
      budget_->heap().add({.bytes = take(), .ascii = ascii, .markup = markup, .size = size})));
}

Value joinTexts(Budget& budget, const Value& left, std::string_view right, bool markup) {
  constexpr size_t kLong = 4096;
  const Text& text = *std::get<const Text*>(left.held_);
  const size_t size = text.size + right.size();
  const bool ascii = text.ascii && isAsciiText(right);
  Text* owner = text.owner;
  // Bytes move nowhere where there is room for more. A text of the template or the context, which
  // other threads may read, never grows.
  const bool fits = owner && owner->grows && owner->bytes.size() == text.size &&
                    owner->bytes.capacity() - text.size >= right.size();
  if (!fits && (size < kLong || right.size() > text.size)) {
    TextBuilder out(budget);
    out.expect(size);
    out.append(text.view());
    out.append(right);
    return out.value(markup);
  }
  budget.reserve(2 * sizeof(Text));
  if (!fits) {
    // Half as much again, or what is needed.
    const uint64_t capacity =
        std::max<uint64_t>(size, std::min<uint64_t>(size + size / 2, budget.left()));
    budget.reserve(capacity);
    std::string bytes;
    bytes.reserve(capacity);
    bytes += text.view();
    owner = budget.heap().add(
        {.bytes = std::move(bytes), .ascii = true, .markup = false, .size = 0, .grows = true});
  }
  owner->bytes += right;
  return Value(Value::Held(budget.heap().add(
      {.bytes = {}, .ascii = ascii, .markup = markup, .size = size, .owner = owner})));
}

void ListBuilder::expect(uint64_t count, uint64_t items) {
  if (items > 0 && count > budget_->left() / items) budget_->reserve(count, items);
  if (count * items > items_.capacity() - items_.size()) grow(count * items);
}

void ListBuilder::grow(uint64_t more) {
  const uint64_t needed = items_.size() + more;
  if (needed > budget_->left() / sizeof(Value)) budget_->reserve(needed, sizeof(Value));
  const uint64_t capacity = newCapacity(items_.capacity(), needed, budget_->left() / sizeof(Value));
  budget_->reserve(capacity, sizeof(Value));
  items_.reserve(capacity);
  budget_->release(std::exchange(paid_, capacity * sizeof(Value)));
}

Value ListBuilder::sequence(Sequence::Kind kind) {
  return finish({.kind = kind, .items = std::move(items_)});
}

Value ListBuilder::range(int64_t start, int64_t stop, int64_t step) {
  return finish({.kind = Sequence::Kind::kRange,
                 .items = std::move(items_),
                 .start = start,
                 .stop = stop,
                 .step = step});
}

Value ListBuilder::finish(Sequence sequence) {
  items_.clear();
  paid_ = 0;  // by whom holds the sequence, from now on
  budget_->reserve(sizeof(Sequence));
  int depth = 0;
  for (const Value& item : sequence.items) depth = std::max(depth, item.depth());
  sequence.depth = depthAbove(depth);
  return Value(Value::Held(budget_->heap().add(std::move(sequence))));
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
  if (value.asSequence()) return appendSequenceRepr(out, value);
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
  if (value.isBigInt()) return out.append(value.bigDigits());
  if (value.isFloat()) return out.append(floatText(value.asFloat()));
  if (Object* object = value.asObject()) return out.append(object->repr());
  appendRepr(out, value);
}

Value toText(Budget& budget, const Value& value) {
  if (value.isString()) return value;
  TextBuilder out(budget);
  appendString(out, value);
  return out.value();
}

}  // namespace llmrt::jinja
