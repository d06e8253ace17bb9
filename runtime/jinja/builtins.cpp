#include "runtime/jinja/builtins.h"

#include <fmt/format.h>

#include "runtime/jinja/arguments.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

class Function : public Object {
 public:
  using Body = std::function<Value(Budget&, const Arguments&)>;
  /// `depth`: of what the body holds.
  explicit Function(Body body, int depth = 0) : body_(std::move(body)), depth_(depth) {}
  std::string typeName() const override { return "function"; }
  int depth() const override { return depth_; }
  bool callable() const override { return true; }
  Value call(Budget& budget, Arguments& arguments) override { return body_(budget, arguments); }

 private:
  Body body_;
  int depth_;
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
  Sequence range{.kind = Sequence::Kind::kRange, .items = {}};
  if (length > 0) budget.reserve(static_cast<uint64_t>(length) + 1, sizeof(Value));
  for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
    range.items.push_back(Value::integer(i));
    if (static_cast<int64_t>(range.items.size()) > kMaxRange) fail("range() has too many items");
    if (step > 0 ? i > INT64_MAX - step : i < INT64_MIN - step) break;
  }
  return Value::sequence(std::move(range));
}

void addPairs(Budget& budget, Dict& dict, const Value& pairs) {
  if (const Dict* other = pairs.asDict()) {
    for (const auto& [key, value] : other->entries()) dict.set(budget, key, value);
    return;
  }
  for (const Value& pair : iterate(budget, pairs)->items) {
    const auto items = iterate(budget, pair);
    if (items->items.size() != 2) fail("dict() takes pairs");
    dict.set(budget, items->items[0], items->items[1]);
  }
}

Value makeDict(Budget& budget, const Arguments& arguments) {
  Dict dict;
  if (arguments.positional.size() > 1) fail("dict() takes at most 1 argument");
  for (const Value& pairs : arguments.positional) addPairs(budget, dict, pairs);
  for (const auto& [name, value] : arguments.named) dict.set(budget, Value::string(name), value);
  return Value::dict(std::move(dict));
}

class Cycler : public Object, public std::enable_shared_from_this<Cycler> {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {
    for (const Value& item : items_) depth_ = std::max(depth_, depthAbove(item.depth()));
  }
  std::string typeName() const override { return "Cycler"; }
  int depth() const override { return depth_; }
  std::optional<Value> attribute(const std::string& name) override {
    if (name == "current") return items_[position_];
    if (name != "next" && name != "reset") return std::nullopt;
    return Value::object(std::make_shared<Function>(
        [self = shared_from_this(), step = name == "next"](Budget&, const Arguments&) {
          return step ? self->next() : self->reset();
        },
        depthAbove(depth_)));
  }

 private:
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
  int depth_ = 0;
};

class Joiner : public Object {
 public:
  explicit Joiner(Value separator)
      : separator_(std::move(separator)), depth_(depthAbove(separator_.depth())) {}
  std::string typeName() const override { return "Joiner"; }
  int depth() const override { return depth_; }
  bool callable() const override { return true; }
  Value call(Budget&, Arguments&) override {
    return std::exchange(used_, true) ? separator_ : Value::string("");
  }

 private:
  Value separator_;
  int depth_;
  bool used_ = false;
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
  return Value::string(out.take());
}

}  // namespace

std::optional<Value> Namespace::attribute(const std::string& name) {
  const Value* found = attributes_.find(name);
  return found ? std::optional<Value>(*found) : std::nullopt;
}

void Namespace::set(Budget& budget, const std::string& name, Value value) {
  attributes_.set(budget, Value::string(name), std::move(value));
}

void Namespace::setAll(Budget& budget, const Value& values) {
  addPairs(budget, attributes_, values);
}

Value makeBuiltins(const std::tm& now,
                   std::function<void(const std::shared_ptr<Object>&)> on_namespace) {
  Dict functions;
  const auto add = [&functions](const char* name, Function::Body body) {
    functions.set(name, Value::object(std::make_shared<Function>(std::move(body))));
  };
  add("range", range);
  add("dict", makeDict);
  add("namespace", [on_namespace](Budget& budget, const Arguments& arguments) {
    auto made = std::make_shared<Namespace>();
    made->setAll(budget, makeDict(budget, arguments));
    on_namespace(made);
    return Value::object(std::move(made));
  });
  add("cycler", [](Budget&, const Arguments& arguments) {
    if (arguments.positional.empty()) fail("cycler() takes at least one item");
    return Value::object(std::make_shared<Cycler>(arguments.positional));
  });
  add("joiner", [](Budget&, const Arguments& arguments) {
    const Parameters p("joiner", arguments, {"sep"});
    return Value::object(std::make_shared<Joiner>(p.valueOr(0, Value::string(", "))));
  });
  add("raise_exception", [](Budget& budget, const Arguments& arguments) -> Value {
    const Parameters p("raise_exception", arguments, {"message"}, 1);
    fail(toString(budget, p[0]));
  });
  add("strftime_now", [&now](Budget& budget, const Arguments& arguments) {
    return formatTime(now, budget, arguments);
  });
  return Value::dict(std::move(functions));
}

}  // namespace llmrt::jinja
