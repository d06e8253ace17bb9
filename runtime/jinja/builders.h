// Texts and sequences in the making, charged as they grow, and the texts of values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja/value.h"

namespace llmrt::jinja {

class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(&budget) {}
  TextBuilder(const TextBuilder&) = delete;
  TextBuilder& operator=(const TextBuilder&) = delete;
  ~TextBuilder() { budget_->release(paid_); }

  /// Pays for room for `count` times `bytes` more at once: who knows how long a text becomes fails
  /// before it fills memory.
  void expect(uint64_t count, uint64_t bytes = 1);
  void append(std::string_view text) {
    if (text.size() > text_.capacity() - text_.size()) grow(text.size());
    text_ += text;
  }
  void append(size_t count, char c) {
    if (count > text_.capacity() - text_.size()) grow(count);
    text_.append(count, c);
  }
  void append(char32_t code_point);
  Budget& budget() { return *budget_; }
  bool empty() const { return text_.empty(); }
  std::string_view view() const { return text_; }
  /// The text, which stays paid for.
  std::string take() {
    paid_ = 0;
    return std::exchange(text_, {});
  }
  /// The text as a value; the builder is then empty.
  Value value(bool markup = false);

 private:
  /// Makes room for `more` bytes. Room is what is paid for, both the old and the new while bytes
  /// move.
  void grow(uint64_t more);

  Budget* budget_;
  std::string text_;
  uint64_t paid_ = 0;
};

class ListBuilder {
 public:
  explicit ListBuilder(Budget& budget) : budget_(&budget) {}
  ListBuilder(ListBuilder&& other) noexcept
      : budget_(other.budget_),
        items_(std::move(other.items_)),
        paid_(std::exchange(other.paid_, 0)) {}
  ListBuilder& operator=(ListBuilder&&) = delete;
  ~ListBuilder() { budget_->release(paid_); }

  /// As TextBuilder's.
  void expect(uint64_t count, uint64_t items = 1);
  void add(const Value& value) {
    if (items_.size() == items_.capacity()) grow(1);
    items_.push_back(value);
  }
  void addAll(const std::vector<Value>& values) {
    if (values.size() > items_.capacity() - items_.size()) grow(values.size());
    items_.insert(items_.end(), values.begin(), values.end());
  }
  Budget& budget() { return *budget_; }
  size_t size() const { return items_.size(); }
  std::vector<Value>& items() { return items_; }
  /// What was added as a value; the builder is then empty.
  Value list() { return sequence(Sequence::Kind::kList); }
  Value tuple() { return sequence(Sequence::Kind::kTuple); }
  Value sequence(Sequence::Kind kind);
  /// range(start, stop, step), of which the items are here.
  Value range(int64_t start, int64_t stop, int64_t step);

 private:
  void grow(uint64_t more);
  Value finish(Sequence sequence);

  Budget* budget_;
  std::vector<Value> items_;
  uint64_t paid_ = 0;
};

/// `left`, a string, and `right` behind it. Templates that collect what they print in a variable
/// make one such text after another, each of which begins with the one before: long ones share
/// bytes, so that all of them together cost a few times the last one.
Value joinTexts(Budget& budget, const Value& left, std::string_view right, bool markup = false);

/// Appends str(value).
void appendString(TextBuilder& out, const Value& value);
void appendRepr(TextBuilder& out, const Value& value);
/// str(value); a string itself, markup where it is.
Value toText(Budget& budget, const Value& value);
/// repr() of a float, as JSON has it too.
std::string floatText(double value);

}  // namespace llmrt::jinja
