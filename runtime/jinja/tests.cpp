// Jinja2's tests: what stands behind `is`.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/builders.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operations.h"

namespace llmrt::jinja {
namespace {

template <bool (*kIs)(const Value&)>
bool plain(Budget&, const Value& value, const Arguments& arguments) {
  Parameters("the test", arguments, {});
  return kIs(value);
}

bool isDefined(const Value& v) { return !v.isUndefined(); }
bool isUndefined(const Value& v) { return v.isUndefined(); }
bool isNone(const Value& v) { return v.isNone(); }
bool isBoolean(const Value& v) { return v.isBool(); }
bool isTrueItself(const Value& v) { return v.isBool() && v.asBool(); }
bool isFalseItself(const Value& v) { return v.isBool() && !v.asBool(); }
bool isInteger(const Value& v) { return v.isInt() || v.isBigInt(); }
bool isFloat(const Value& v) { return v.isFloat(); }
bool isNumber(const Value& v) { return v.isNumber() || v.isBigInt(); }
bool isString(const Value& v) { return v.isString(); }
bool isMapping(const Value& v) { return v.asDict() != nullptr; }
bool isEscaped(const Value& v) { return v.isMarkup(); }
// What has a length and subscripts: in Python, undefined has both.
bool isSequence(const Value& v) {
  if (v.isUndefined()) return true;
  const Sequence* s = v.asSequence();
  return v.isString() || v.asDict() || (s && !s->isGenerator() && !s->isView());
}
// Undefined has a __call__, which fails.
bool isCallable(const Value& v) {
  return v.isUndefined() || (v.asObject() && v.asObject()->callable());
}

template <Operator kOp>
bool comparison(Budget& budget, const Value& value, const Arguments& arguments) {
  const Parameters p("the test", arguments, {"other"}, 1);
  return applyComparison(budget, kOp, value, p[0]);
}

bool sameAs(Budget& budget, const Value& value, const Arguments& arguments) {
  const Parameters p("sameas", arguments, {"other"}, 1);
  return value.isSame(budget, p[0]);
}

int64_t remainder(Budget& budget, const Value& value, const Value& divisor) {
  const Value result = applyOperator(budget, Operator::kModulo, value, divisor);
  return result.asInteger().value_or(result.isFloat() && result.asFloat() == 0   ? 0
                                     : result.isFloat() && result.asFloat() == 1 ? 1
                                                                                 : -1);
}

bool odd(Budget& budget, const Value& value, const Arguments& arguments) {
  Parameters("odd", arguments, {});
  return remainder(budget, value, Value::integer(2)) == 1;
}
bool even(Budget& budget, const Value& value, const Arguments& arguments) {
  Parameters("even", arguments, {});
  return remainder(budget, value, Value::integer(2)) == 0;
}
bool divisibleBy(Budget& budget, const Value& value, const Arguments& arguments) {
  const Parameters p("divisibleby", arguments, {"num"}, 1);
  return remainder(budget, value, p[0]) == 0;
}

template <bool kUpper>
bool cased(Budget& budget, const Value& value, const Arguments& arguments) {
  Parameters("the test", arguments, {});
  return isTrue(callMethod(budget, toText(budget, value), kUpper ? "isupper" : "islower", {}));
}

bool isFilter(Budget&, const Value& value, const Arguments&) {
  return value.isString() && findFilter(value.asString());
}
bool isTest(Budget&, const Value& value, const Arguments&) {
  return value.isString() && findTest(value.asString());
}

struct Entry {
  std::string_view name;
  Test test;
};
constexpr Entry kTests[] = {
    {"!=", comparison<Operator::kNotEqual>},
    {"<", comparison<Operator::kLess>},
    {"<=", comparison<Operator::kLessEqual>},
    {"==", comparison<Operator::kEqual>},
    {">", comparison<Operator::kGreater>},
    {">=", comparison<Operator::kGreaterEqual>},
    {"boolean", plain<isBoolean>},
    {"callable", plain<isCallable>},
    {"defined", plain<isDefined>},
    {"divisibleby", divisibleBy},
    {"eq", comparison<Operator::kEqual>},
    {"equalto", comparison<Operator::kEqual>},
    {"escaped", plain<isEscaped>},
    {"even", even},
    {"false", plain<isFalseItself>},
    {"filter", isFilter},
    {"float", plain<isFloat>},
    {"ge", comparison<Operator::kGreaterEqual>},
    {"greaterthan", comparison<Operator::kGreater>},
    {"gt", comparison<Operator::kGreater>},
    {"in", comparison<Operator::kIn>},
    {"integer", plain<isInteger>},
    {"iterable", plain<isIterable>},
    {"le", comparison<Operator::kLessEqual>},
    {"lessthan", comparison<Operator::kLess>},
    {"lower", cased<false>},
    {"lt", comparison<Operator::kLess>},
    {"mapping", plain<isMapping>},
    {"ne", comparison<Operator::kNotEqual>},
    {"none", plain<isNone>},
    {"number", plain<isNumber>},
    {"odd", odd},
    {"sameas", sameAs},
    {"sequence", plain<isSequence>},
    {"string", plain<isString>},
    {"test", isTest},
    {"true", plain<isTrueItself>},
    {"undefined", plain<isUndefined>},
    {"upper", cased<true>},
};

}  // namespace

Test findTest(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTests), std::end(kTests),
                                   [name](const Entry& e) { return e.name == name; });
  return found == std::end(kTests) ? Test(nullptr) : found->test;
}

}  // namespace llmrt::jinja
