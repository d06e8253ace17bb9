#include "runtime/jinja/expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/io/printable.h"
#include "runtime/jinja/big_integer.h"

namespace llmrt::jinja {
namespace {

// The parser recurses once per level of nesting, through about ten functions.
constexpr int kMaxNesting = 100;
// Chains such as a + b + c grow down to the left without recursion here; the evaluator recurses.
constexpr int kMaxHeight = 400;

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& parser) : nesting(parser.nesting_) {
  if (++nesting > kMaxNesting) {
    parser.line_ = parser.peek().line;
    fail(fmt::format("nested deeper than {}", kMaxNesting));
  }
}

void ExpressionParser::unexpected(const std::string& wanted) {
  line_ = peek().line;
  const std::string found = peek().kind == Kind::kEnd      ? "the end of the template"
                            : peek().kind == Kind::kText   ? "text"
                            : peek().kind == Kind::kString ? "a string"
                                                           : quotedName(peek().text);
  fail(fmt::format("expected {}, found {}", wanted, found));
}

Expr* ExpressionParser::make(Expr::Kind kind, int line) {
  ast_.budget->reserve(sizeof(Expr));
  return &ast_.exprs.emplace_back(Expr{.kind = kind, .line = line});
}

Expr* ExpressionParser::constant(const Value& value, int line) {
  Expr* e = make(Expr::Kind::kConstant, line);
  e->value = value;
  return e;
}

Expr* ExpressionParser::finished(Expr* e) {
  int below = 0;
  const auto look = [&below](const Expr* child) {
    if (child) below = std::max(below, child->height);
  };
  for (const Expr* child : {e->first, e->second, e->third, e->star, e->star_star}) look(child);
  for (const Expr* child : e->items) look(child);
  for (const auto& [name, child] : e->named) look(child);
  e->height = below + 1;
  if (e->height > kMaxHeight)
    fail(fmt::format("an expression has more than {} levels", kMaxHeight));
  return e;
}

Expr* ExpressionParser::makeUnary(Expr::Kind kind, Expr* first, int line) {
  Expr* e = make(kind, line);
  e->first = first;
  return finished(e);
}
Expr* ExpressionParser::makeBinary(Expr::Kind kind, Expr* first, Expr* second, int line,
                                   Operator op) {
  Expr* e = make(kind, line);
  e->first = first, e->second = second, e->op = op;
  return finished(e);
}

// --- Expressions, loosest first

Expr* ExpressionParser::parseExpression(bool with_conditional) {
  const Level level(*this);
  Expr* e = parseOr();
  while (with_conditional && isName("if")) {
    const int line = take().line;
    Expr* condition = parseOr();
    Expr* otherwise = skipName("else") ? parseExpression() : nullptr;
    Expr* conditional = make(Expr::Kind::kConditional, line);
    conditional->first = e, conditional->second = condition, conditional->third = otherwise;
    e = finished(conditional);
  }
  return e;
}

Expr* ExpressionParser::parseOr() {
  Expr* left = parseAnd();
  while (isName("or")) {
    const int line = take().line;
    left = makeBinary(Expr::Kind::kOr, left, parseAnd(), line);
  }
  return left;
}

Expr* ExpressionParser::parseAnd() {
  Expr* left = parseNot();
  while (isName("and")) {
    const int line = take().line;
    left = makeBinary(Expr::Kind::kAnd, left, parseNot(), line);
  }
  return left;
}

Expr* ExpressionParser::parseNot() {
  if (!isName("not")) return parseCompare();
  const Level level(*this);
  const int line = take().line;
  return makeUnary(Expr::Kind::kNot, parseNot(), line);
}

std::optional<Operator> ExpressionParser::takeComparison() {
  constexpr std::pair<std::string_view, Operator> kComparisons[] = {
      {"==", Operator::kEqual},     {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
      {"<=", Operator::kLessEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterEqual}};
  for (const auto& [text, op] : kComparisons)
    if (skipOperator(text)) return op;
  if (skipName("in")) return Operator::kIn;
  if (isName("not") && peek(1).kind == Kind::kName && peek(1).text == "in") {
    take();
    take();
    return Operator::kNotIn;
  }
  return std::nullopt;
}

Expr* ExpressionParser::parseCompare() {
  const int line = peek().line;
  Expr* first = parseSum();
  Expr* compare = nullptr;
  while (const auto op = takeComparison()) {
    if (!compare) {
      compare = make(Expr::Kind::kCompare, line);
      compare->first = first;
    }
    compare->ops.push_back(*op);
    compare->items.push_back(parseSum());
  }
  return compare ? finished(compare) : first;
}

Expr* ExpressionParser::parseSum() {
  Expr* left = parseConcat();
  while (isOperator("+") || isOperator("-")) {
    const Token& token = take();
    const Operator op = token.text == "+" ? Operator::kAdd : Operator::kSubtract;
    const int line = token.line;
    left = makeBinary(Expr::Kind::kBinary, left, parseConcat(), line, op);
  }
  return left;
}

Expr* ExpressionParser::parseConcat() {
  const int line = peek().line;
  Expr* first = parseProduct();
  if (!isOperator("~")) return first;
  Expr* concat = make(Expr::Kind::kConcat, line);
  concat->items.push_back(first);
  while (skipOperator("~")) concat->items.push_back(parseProduct());
  return finished(concat);
}

Expr* ExpressionParser::parseProduct() {
  constexpr std::pair<std::string_view, Operator> kProducts[] = {{"*", Operator::kMultiply},
                                                                 {"/", Operator::kDivide},
                                                                 {"//", Operator::kFloorDivide},
                                                                 {"%", Operator::kModulo}};
  Expr* left = parsePower();
  for (;;) {
    const auto* found = std::find_if(std::begin(kProducts), std::end(kProducts),
                                     [this](const auto& p) { return isOperator(p.first); });
    if (found == std::end(kProducts)) return left;
    const int line = take().line;
    left = makeBinary(Expr::Kind::kBinary, left, parsePower(), line, found->second);
  }
}

Expr* ExpressionParser::parsePower() {
  Expr* left = parseUnary(true);
  while (isOperator("**")) {
    const int line = take().line;
    left = makeBinary(Expr::Kind::kBinary, left, parseUnary(true), line, Operator::kPower);
  }
  return left;
}

Expr* ExpressionParser::parseUnary(bool with_filters) {
  Expr* e;
  if (isOperator("-") || isOperator("+")) {
    const Level level(*this);
    const Token& token = take();
    const auto kind = token.text == "-" ? Expr::Kind::kNegate : Expr::Kind::kPlus;
    const int line = token.line;
    e = makeUnary(kind, parseUnary(false), line);
  } else {
    e = parsePrimary();
  }
  e = parsePostfix(e);
  return with_filters ? parseFilters(e) : e;
}

Expr* ExpressionParser::parsePrimary() {
  const Level level(*this);
  const Token& token = peek();
  const int line = token.line;
  switch (token.kind) {
    case Kind::kName: {
      const std::string name = take().text;
      if (name == "true" || name == "True") return constant(Value::boolean(true), line);
      if (name == "false" || name == "False") return constant(Value::boolean(false), line);
      if (name == "none" || name == "None") return constant(Value::none(), line);
      Expr* e = make(Expr::Kind::kName, line);
      e->name = ast_.nameOf(name);
      return e;
    }
    case Kind::kString: {
      std::string text = take().text;
      while (peek().kind == Kind::kString) text += take().text;
      return constant(Value::string(*ast_.budget, text), line);
    }
    case Kind::kInteger:
      return constant(takeInteger(), line);
    case Kind::kFloat:
      return constant(Value::number(take().number), line);
    default:
      break;
  }
  if (skipOperator("(")) {
    Expr* e = parseTuple({.parenthesized = true});
    expectOperator(")");
    return e;
  }
  if (skipOperator("[")) {
    Expr* list = make(Expr::Kind::kList, line);
    parseItems("]", [&] { list->items.push_back(parseExpression()); });
    return finished(list);
  }
  if (skipOperator("{")) {
    Expr* dict = make(Expr::Kind::kDict, line);
    parseItems("}", [&] {
      dict->items.push_back(parseExpression());
      expectOperator(":");
      dict->items.push_back(parseExpression());
    });
    return finished(dict);
  }
  unexpected("an expression");
}

bool ExpressionParser::tupleEnds(const TupleRules& rules) const {
  return peek().kind == Kind::kVariableEnd || peek().kind == Kind::kBlockEnd || isOperator(")") ||
         (!rules.end_name.empty() && isName(rules.end_name));
}

Expr* ExpressionParser::parseTuple(const TupleRules& rules) {
  const int line = peek().line;
  std::vector<Expr*> items;
  bool is_tuple = false;
  while (!tupleEnds(rules)) {
    Expr* item = rules.targets ? parsePrimary() : parseExpression(rules.with_conditional);
    if (rules.attributes && isOperator(".")) item = parseSubscript(item);
    items.push_back(item);
    if (!skipOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && items.size() == 1) return items[0];
  if (!is_tuple && !rules.parenthesized) unexpected("an expression");
  Expr* tuple = make(Expr::Kind::kTuple, line);
  tuple->items = std::move(items);
  return finished(tuple);
}

Expr* ExpressionParser::parsePostfix(Expr* e) {
  for (;;) {
    if (isOperator(".") || isOperator("[")) {
      e = parseSubscript(e);
    } else if (isOperator("(")) {
      e = parseCall(e);
    } else {
      return e;
    }
  }
}

Expr* ExpressionParser::parseFilters(Expr* e) {
  for (;;) {
    if (isOperator("|")) {
      e = parseFilter(e);
    } else if (isName("is")) {
      e = parseTest(e);
    } else if (isOperator("(")) {
      e = parseCall(e);
    } else {
      return e;
    }
  }
}

Value ExpressionParser::takeInteger() {
  const Token& token = take();
  return token.fits ? Value::integer(token.integer) : integerOf(*ast_.budget, token.text);
}

Expr* ExpressionParser::parseSubscript(Expr* object) {
  const int line = peek().line;
  if (skipOperator(".")) {
    if (peek().kind == Kind::kInteger) {
      return makeBinary(Expr::Kind::kSubscript, object, constant(takeInteger(), line), line);
    }
    Expr* e = make(Expr::Kind::kAttribute, line);
    e->first = object;
    e->text = takeName("a name or a number");
    return finished(e);
  }
  expectOperator("[");
  Expr* e = make(Expr::Kind::kSubscript, line);
  e->first = object;
  std::vector<Expr*> slice = {nullptr, nullptr, nullptr};
  size_t part = 0;
  while (!isOperator("]") && !isOperator(",")) {
    if (skipOperator(":")) {
      if (++part > 2) unexpected("']'");
    } else if (slice[part]) {
      unexpected("']'");
    } else {
      slice[part] = parseExpression();
    }
  }
  if (part > 0) {
    if (isOperator(",")) unexpected("']'");
    e->kind = Expr::Kind::kSlice;
    e->items = std::move(slice);
  } else if (!slice[0]) {
    unexpected("an expression");
  } else if (isOperator(",")) {
    Expr* tuple = make(Expr::Kind::kTuple, line);
    tuple->items.push_back(slice[0]);
    while (skipOperator(",")) tuple->items.push_back(parseExpression());
    e->second = finished(tuple);
  } else {
    e->second = slice[0];
  }
  expectOperator("]");
  return finished(e);
}

void ExpressionParser::parseArguments(Expr* e) {
  expectOperator("(");
  parseItems(")", [&] {
    if (skipOperator("*")) {
      if (e->star || e->star_star) unexpected("another argument");
      e->star = parseExpression();
    } else if (skipOperator("**")) {
      if (e->star_star) unexpected("another argument");
      e->star_star = parseExpression();
    } else if (peek().kind == Kind::kName && peek(1).kind == Kind::kOperator &&
               peek(1).text == "=") {
      if (e->star_star) unexpected("')'");
      std::string name = take().text;
      take();
      e->named.emplace_back(std::move(name), parseExpression());
    } else {
      if (!e->named.empty() || e->star || e->star_star) unexpected("a named argument");
      e->items.push_back(parseExpression());
    }
  });
}

Expr* ExpressionParser::parseCall(Expr* callee) {
  Expr* e = make(Expr::Kind::kCall, peek().line);
  e->first = callee;
  parseArguments(e);
  return finished(e);
}

std::string ExpressionParser::parseDottedName(const char* what) {
  std::string name = takeName(what);
  while (skipOperator(".")) name += '.', name += takeName(what);
  return name;
}

Expr* ExpressionParser::parseFilter(Expr* input, bool first_is_implied) {
  for (bool implied = first_is_implied; implied || isOperator("|"); implied = false) {
    if (!implied) take();
    Expr* e = make(Expr::Kind::kFilter, peek().line);
    e->text = parseDottedName("a filter's name");
    e->first = input;
    if (isOperator("(")) parseArguments(e);
    input = finished(e);
  }
  return input;
}

bool ExpressionParser::startsTestArgument() const {
  const Token& token = peek();
  if (token.kind == Kind::kName)
    return token.text != "else" && token.text != "or" && token.text != "and";
  return token.kind == Kind::kString || token.kind == Kind::kInteger ||
         token.kind == Kind::kFloat || isOperator("[") || isOperator("{");
}

Expr* ExpressionParser::parseTest(Expr* input) {
  const int line = take().line;  // is
  const bool negated = skipName("not");
  Expr* e = make(Expr::Kind::kTest, line);
  e->text = parseDottedName("a test's name");
  e->first = input;
  if (isOperator("(")) {
    parseArguments(e);
  } else if (startsTestArgument()) {
    if (isName("is")) unexpected("an expression; tests cannot be chained with 'is'");
    e->items.push_back(parsePostfix(parsePrimary()));
  }
  finished(e);
  return negated ? makeUnary(Expr::Kind::kNot, e, line) : e;
}

}  // namespace llmrt::jinja
