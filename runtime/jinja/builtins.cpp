#include "runtime/jinja/builtins.h"

#include <fmt/format.h>

#include <functional>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/builders.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

class Function : public Object {
 public:
  using Body = std::function<Value(Budget&, const Arguments&)>;
  explicit Function(Body body) : body_(std::move(body)) {}
  std::string typeName() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(Budget& budget, const Arguments& arguments) override {
    return body_(budget, arguments);
  }

 private:
  Body body_;
};

Value range(Budget& budget, const Arguments& arguments) {
  constexpr int64_t kMaxRange = 100'000;  // the sandbox's
  const Parameters p("range", arguments, {"start", "stop", "step"}, 1);
  const int64_t begin = p.has(1) ? p.integer(0, 0) : 0;
  const int64_t end = p.has(1) ? p.integer(1, 0) : p.integer(0, 0), step = p.integer(2, 1);
  if (step == 0) fail("range() takes no step of zero");
  // In doubles, which cannot overflow; whatever they round is far beyond the limit.
  const double length =
      (static_cast<double>(end) - static_cast<double>(begin)) / static_cast<double>(step);
  if (length > static_cast<double>(kMaxRange))
    fail(fmt::format("range() has more than {} items", kMaxRange));
  ListBuilder range(budget);
  for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
    range.add(Value::integer(i));
    if (range.size() > kMaxRange) fail("range() has too many items");
    if (step > 0 ? i > INT64_MAX - step : i < INT64_MIN - step) break;
  }
  return range.range(begin, end, step);
}

void addPairs(Budget& budget, Dict& dict, const Value& pairs) {
  if (const Dict* other = pairs.asDict()) {
    for (const auto& [key, value] : other->entries()) dict.set(budget, key, value);
    return;
  }
  for (const Value& pair : iterate(budget, pairs)) {
    const std::vector<Value>& items = iterate(budget, pair);
    if (items.size() != 2) fail("dict() takes pairs");
    dict.set(budget, items[0], items[1]);
  }
}

Dict dictOf(Budget& budget, const Arguments& arguments) {
  Dict dict;
  if (arguments.positional.size() > 1) fail("dict() takes at most 1 argument");
  for (const Value& pairs : arguments.positional) addPairs(budget, dict, pairs);
  for (const auto& [name, value] : arguments.named) dict.set(budget, name, value);
  return dict;
}

class Cycler : public Object {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {}
  std::string typeName() const override { return "Cycler"; }
  std::optional<Value> attribute(Budget& budget, std::string_view name) override {
    if (name == "current") return items_[position_];
    if (name == "next") return method(budget, &Cycler::next);
    if (name == "reset") return method(budget, &Cycler::reset);
    return std::nullopt;
  }

 private:
  Value method(Budget& budget, Value (Cycler::*method)()) {
    return Value::object<Function>(
        budget, [this, method](Budget&, const Arguments&) { return (this->*method)(); });
  }
  Value next() {
    const Value item = items_[position_];
    position_ = (position_ + 1) % items_.size();
    return item;
  }
  Value reset() {
    position_ = 0;
    return Value::none();
  }

  std::vector<Value> items_;
  size_t position_ = 0;
};

class Joiner : public Object {
 public:
  Joiner(const Value& separator, const Value& empty) : separator_(separator), next_(empty) {}
  std::string typeName() const override { return "Joiner"; }
  bool callable() const override { return true; }
  Value call(Budget&, const Arguments&) override { return std::exchange(next_, separator_); }

 private:
  Value separator_, next_;
};

// The C library's strftime() behind a check: each directive is one letter, perhaps behind a '-'.
Value formatTime(const std::tm& now, Budget& budget, const Arguments& arguments) {
  const Parameters p("strftime_now", arguments, {"format"}, 1);
  const std::string_view format = p.text(0);
  TextBuilder out(budget);
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out.append(1, format[i]);
      continue;
    }
    const size_t begin = i;
    if (++i < format.size() && format[i] == '-') ++i;
    constexpr std::string_view kLetters = "aAbBcdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%";
    if (i < format.size() && format[i] == 'f') {
      out.append("000000");
      continue;
    }
    if (i >= format.size() || kLetters.find(format[i]) == std::string_view::npos)
      fail("strftime_now() has a format with an unknown directive");
    const std::string directive(format.substr(begin, i + 1 - begin));
    char buffer[128];
    out.append(
        std::string_view(buffer, std::strftime(buffer, sizeof buffer, directive.c_str(), &now)));
  }
  return out.value();
}

}  // namespace

std::optional<Value> Namespace::attribute(Budget& budget, std::string_view name) {
  const Value* found = attributes_.find(budget, name);
  return found ? std::optional<Value>(*found) : std::nullopt;
}

Value makeBuiltins(Budget& budget, const std::tm& now) {
  Dict functions;
  const auto add = [&](const char* name, Function::Body body) {
    functions.set(budget, name, Value::object<Function>(budget, std::move(body)));
  };
  add("range", range);
  add("dict",
      [](Budget& b, const Arguments& arguments) { return Value::dict(b, dictOf(b, arguments)); });
  add("namespace", [](Budget& b, const Arguments& arguments) {
    return Value::object<Namespace>(b, dictOf(b, arguments));
  });
  add("cycler", [](Budget& b, const Arguments& arguments) {
    if (arguments.positional.empty()) fail("cycler() takes at least one item");
    b.reserve(arguments.positional.size(), sizeof(Value));
    return Value::object<Cycler>(b, arguments.positional);
  });
  add("joiner", [](Budget& b, const Arguments& arguments) {
    const Parameters p("joiner", arguments, {"sep"});
    return Value::object<Joiner>(b, p.valueOr(0, Value::string(b, ", ")), Value::string(b, ""));
  });
  add("raise_exception", [](Budget& b, const Arguments& arguments) -> Value {
    const Parameters p("raise_exception", arguments, {"message"}, 1);
    fail(std::string(toText(b, p[0]).asString()));
  });
  add("strftime_now",
      [&now](Budget& b, const Arguments& arguments) { return formatTime(now, b, arguments); });
  return Value::dict(budget, std::move(functions));
}

}  // namespace llmrt::jinja
