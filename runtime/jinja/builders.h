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
  void append(std::string_view text) {
    budget_->reserve(text.size());
    text_ += text;
  }
  void append(size_t count, char c) {
    budget_->reserve(count);
    text_.append(count, c);
  }
  void append(char32_t code_point);
  Budget& budget() { return *budget_; }
  std::string take() { return std::exchange(text_, {}); }
  /// The text as a value; the builder is then empty.
  Value value(bool markup = false);

 private:
  Budget* budget_;
  std::string text_;
};

class ListBuilder {
 public:
  explicit ListBuilder(Budget& budget) : budget_(&budget) {}
  void add(const Value& value) {
    budget_->reserve(sizeof(Value));
    items_.push_back(value);
  }
  void addAll(const std::vector<Value>& values) {
    budget_->reserve(values.size(), sizeof(Value));
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
  Value finish(Sequence sequence);

  Budget* budget_;
  std::vector<Value> items_;
};

/// Appends str(value).
void appendString(TextBuilder& out, const Value& value);
void appendRepr(TextBuilder& out, const Value& value);
/// str(value); a string itself, markup where it is.
Value toText(Budget& budget, const Value& value);
/// repr() of a float, as JSON has it too.
std::string floatText(double value);

}  // namespace llmrt::jinja
