#include "runtime/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "runtime/io/printable.h"
#include "runtime/jinja/lexer.h"

namespace llmrt::jinja {
namespace {

// The parser recurses once per level of nesting, through about ten functions.
constexpr int kMaxNesting = 100;
// Chains such as a + b + c grow down to the left without recursion here; the evaluator recurses.
constexpr int kMaxHeight = 400;

class Parser {
 public:
  Parser(std::string_view source, int& line) : tokens_(tokenize(source, line)), line_(line) {}

  Ast run() {
    ast_.body = parseBlock({});
    return std::move(ast_);
  }

 private:
  using Kind = Token::Kind;

  // --- Tokens

  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(next_ + ahead, tokens_.size() - 1)];
  }
  const Token& take() {
    const Token& token = peek();
    line_ = token.line;
    if (next_ + 1 < tokens_.size()) ++next_;
    return token;
  }
  bool isOperator(std::string_view text) const {
    return peek().kind == Kind::kOperator && peek().text == text;
  }
  bool isName(std::string_view text) const {
    return peek().kind == Kind::kName && peek().text == text;
  }
  bool skipOperator(std::string_view text) { return isOperator(text) && (take(), true); }
  bool skipName(std::string_view text) { return isName(text) && (take(), true); }

  [[noreturn]] void unexpected(const std::string& wanted) {
    line_ = peek().line;
    const std::string found = peek().kind == Kind::kEnd      ? "the end of the template"
                              : peek().kind == Kind::kText   ? "text"
                              : peek().kind == Kind::kString ? "a string"
                                                             : quotedName(peek().text);
    fail(fmt::format("expected {}, found {}", wanted, found));
  }
  void expectOperator(std::string_view text) {
    if (!skipOperator(text)) unexpected(fmt::format("'{}'", text));
  }
  void expectName(std::string_view text) {
    if (!skipName(text)) unexpected(fmt::format("'{}'", text));
  }
  void expectBlockEnd() {
    if (peek().kind != Kind::kBlockEnd) unexpected("'%}'");
    take();
  }
  std::string takeName(const char* what) {
    if (peek().kind != Kind::kName) unexpected(what);
    return take().text;
  }

  struct Level {
    explicit Level(Parser& parser) : nesting(parser.nesting_) {
      if (++nesting > kMaxNesting) {
        parser.line_ = parser.peek().line;
        fail(fmt::format("nested deeper than {}", kMaxNesting));
      }
    }
    ~Level() { --nesting; }
    int& nesting;
  };

  // --- Nodes

  Expr* make(Expr::Kind kind, int line) {
    return &ast_.exprs.emplace_back(Expr{.kind = kind, .line = line});
  }

  Expr* constant(Value value, int line) {
    Expr* e = make(Expr::Kind::kConstant, line);
    e->value = std::move(value);
    return e;
  }

  // Called when all children are known.
  Expr* finished(Expr* e) {
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

  Expr* makeUnary(Expr::Kind kind, Expr* first, int line) {
    Expr* e = make(kind, line);
    e->first = first;
    return finished(e);
  }
  Expr* makeBinary(Expr::Kind kind, Expr* first, Expr* second, int line,
                   Operator op = Operator::kAdd) {
    Expr* e = make(kind, line);
    e->first = first, e->second = second, e->op = op;
    return finished(e);
  }

  // --- Expressions, loosest first

  Expr* parseExpression(bool with_conditional = true) {
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

  Expr* parseOr() {
    Expr* left = parseAnd();
    while (isName("or")) {
      const int line = take().line;
      left = makeBinary(Expr::Kind::kOr, left, parseAnd(), line);
    }
    return left;
  }

  Expr* parseAnd() {
    Expr* left = parseNot();
    while (isName("and")) {
      const int line = take().line;
      left = makeBinary(Expr::Kind::kAnd, left, parseNot(), line);
    }
    return left;
  }

  Expr* parseNot() {
    if (!isName("not")) return parseCompare();
    const Level level(*this);
    const int line = take().line;
    return makeUnary(Expr::Kind::kNot, parseNot(), line);
  }

  std::optional<Operator> takeComparison() {
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

  Expr* parseCompare() {
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

  Expr* parseSum() {
    Expr* left = parseConcat();
    while (isOperator("+") || isOperator("-")) {
      const Token& token = take();
      const Operator op = token.text == "+" ? Operator::kAdd : Operator::kSubtract;
      const int line = token.line;
      left = makeBinary(Expr::Kind::kBinary, left, parseConcat(), line, op);
    }
    return left;
  }

  Expr* parseConcat() {
    const int line = peek().line;
    Expr* first = parseProduct();
    if (!isOperator("~")) return first;
    Expr* concat = make(Expr::Kind::kConcat, line);
    concat->items.push_back(first);
    while (skipOperator("~")) concat->items.push_back(parseProduct());
    return finished(concat);
  }

  Expr* parseProduct() {
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

  Expr* parsePower() {
    Expr* left = parseUnary(true);
    while (isOperator("**")) {
      const int line = take().line;
      left = makeBinary(Expr::Kind::kBinary, left, parseUnary(true), line, Operator::kPower);
    }
    return left;
  }

  Expr* parseUnary(bool with_filters) {
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

  Expr* parsePrimary() {
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
        return constant(Value::string(std::move(text)), line);
      }
      case Kind::kInteger:
        return constant(Value::integer(take().integer), line);
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

  // Items with commas between them and perhaps after the last, up to `close`.
  template <typename Item>
  void parseItems(std::string_view close, Item item) {
    while (!isOperator(close)) {
      item();
      if (!skipOperator(",")) break;
    }
    expectOperator(close);
  }

  struct TupleRules {
    bool parenthesized = false;      // may be empty
    bool with_conditional = true;    // its items may be `a if b else c`
    bool targets = false;            // its items are what can be assigned to
    bool attributes = false;         // so are attributes of a name
    std::string_view end_name = {};  // a name that ends it
  };

  bool tupleEnds(const TupleRules& rules) const {
    return peek().kind == Kind::kVariableEnd || peek().kind == Kind::kBlockEnd || isOperator(")") ||
           (!rules.end_name.empty() && isName(rules.end_name));
  }

  Expr* parseTuple(const TupleRules& rules) {
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

  Expr* parsePostfix(Expr* e) {
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

  Expr* parseFilters(Expr* e) {
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

  Expr* parseSubscript(Expr* object) {
    const int line = peek().line;
    if (skipOperator(".")) {
      if (peek().kind == Kind::kInteger) {
        return makeBinary(Expr::Kind::kSubscript, object,
                          constant(Value::integer(take().integer), line), line);
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

  void parseArguments(Expr* e) {
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

  Expr* parseCall(Expr* callee) {
    Expr* e = make(Expr::Kind::kCall, peek().line);
    e->first = callee;
    parseArguments(e);
    return finished(e);
  }

  std::string parseDottedName(const char* what) {
    std::string name = takeName(what);
    while (skipOperator(".")) name += '.', name += takeName(what);
    return name;
  }

  // The `|` of the first filter of a filter block is its tag's name.
  Expr* parseFilter(Expr* input, bool first_is_implied = false) {
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

  bool startsTestArgument() const {
    const Token& token = peek();
    if (token.kind == Kind::kName)
      return token.text != "else" && token.text != "or" && token.text != "and";
    return token.kind == Kind::kString || token.kind == Kind::kInteger ||
           token.kind == Kind::kFloat || isOperator("[") || isOperator("{");
  }

  Expr* parseTest(Expr* input) {
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

  // --- Statements

  // Up to a tag that begins with one of `ends`, whose name is then next; to the end for none.
  Block parseBlock(std::initializer_list<std::string_view> ends) {
    const Level level(*this);
    Block block;
    for (;;) {
      switch (peek().kind) {
        case Kind::kText: {
          Stmt* text = makeStmt(Stmt::Kind::kText);
          text->text = take().text;
          block.push_back(text);
          break;
        }
        case Kind::kVariableBegin: {
          take();
          Stmt* print = makeStmt(Stmt::Kind::kPrint);
          print->expr = parseTuple({});
          if (peek().kind != Kind::kVariableEnd) unexpected("'}}'");
          take();
          block.push_back(print);
          break;
        }
        case Kind::kBlockBegin: {
          take();
          if (std::any_of(ends.begin(), ends.end(), [this](auto end) { return isName(end); }))
            return block;
          parseStatement(block);
          expectBlockEnd();
          break;
        }
        default:
          if (ends.size() > 0) unexpected(fmt::format("'{{% {} %}}'", *(ends.end() - 1)));
          return block;
      }
    }
  }

  // Behind a tag's head: its body up to the tag `end`, which is taken but for its "%}".
  Block parseBody(std::string_view end) {
    Block body = parseBodyUntil({end});
    take();
    return body;
  }
  Block parseBodyUntil(std::initializer_list<std::string_view> ends) {
    skipOperator(":");
    expectBlockEnd();
    return parseBlock(ends);
  }

  Stmt* makeStmt(Stmt::Kind kind) {
    return &ast_.stmts.emplace_back(Stmt{.kind = kind, .line = peek().line});
  }

  void parseStatement(Block& block) {
    const std::string tag = takeName("a tag's name");
    if (tag == "for") return block.push_back(parseFor());
    if (tag == "if") return block.push_back(parseIf());
    if (tag == "set") return block.push_back(parseSet());
    if (tag == "macro") return block.push_back(parseMacro());
    if (tag == "call") return block.push_back(parseCallBlock());
    if (tag == "filter") return block.push_back(parseFilterBlock());
    if (tag == "with") return block.push_back(parseWith());
    if (tag == "generation") return block.push_back(parseGeneration());
    if (tag == "print") return block.push_back(parsePrint());
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) fail(fmt::format("'{}' outside of a loop", tag));
      block.push_back(makeStmt(tag == "break" ? Stmt::Kind::kBreak : Stmt::Kind::kContinue));
      return;
    }
    fail(fmt::format("unknown tag {}", quotedName(tag)));
  }

  // Where something is stored: names, perhaps in a tuple, or the attribute of a namespace.
  void checkTarget(const Expr* e, bool with_attributes) {
    if (e->kind == Expr::Kind::kName) return;
    if (with_attributes && e->kind == Expr::Kind::kAttribute) return;
    if (e->kind != Expr::Kind::kTuple) fail("this cannot be assigned to");
    for (const Expr* item : e->items) checkTarget(item, with_attributes);
  }

  Expr* parseTarget(bool attributes, std::string_view end_name = {}) {
    Expr* target = parseTuple({.targets = true, .attributes = attributes, .end_name = end_name});
    checkTarget(target, attributes);
    return target;
  }

  Stmt* parseFor() {
    Stmt* s = makeStmt(Stmt::Kind::kFor);
    s->target = parseTarget(false, "in");
    expectName("in");
    s->expr = parseTuple({.with_conditional = false, .end_name = "recursive"});
    if (skipName("if")) s->test = parseExpression();
    s->recursive = skipName("recursive");
    ++loops_;
    s->body = parseBodyUntil({"else", "endfor"});
    --loops_;
    if (skipName("else")) {
      s->otherwise = parseBody("endfor");
    } else {
      take();
    }
    return s;
  }

  Stmt* parseIf() {
    Stmt* s = makeStmt(Stmt::Kind::kIf);
    do {
      Expr* test = parseTuple({.with_conditional = false});
      s->branches.emplace_back(test, parseBodyUntil({"elif", "else", "endif"}));
    } while (skipName("elif"));
    if (skipName("else")) {
      s->otherwise = parseBody("endif");
    } else {
      take();
    }
    return s;
  }

  Stmt* parseSet() {
    Stmt* s = makeStmt(Stmt::Kind::kSet);
    s->target = parseTarget(true);
    if (skipOperator("=")) {
      s->expr = parseTuple({});
      return s;
    }
    s->kind = Stmt::Kind::kSetBlock;
    s->expr = parseFilter(nullptr);
    s->body = parseMacroBody("endset");
    return s;
  }

  // (a, b = 1): the parameters of `macro`.
  void parseParameters(MacroCode& macro) {
    expectOperator("(");
    parseItems(")", [&] {
      macro.parameters.push_back(ast_.nameOf(takeName("a parameter's name")));
      if (skipOperator("=")) {
        macro.defaults.push_back(parseExpression());
      } else if (!macro.defaults.empty()) {
        fail("a parameter without a default follows one with a default");
      }
    });
  }

  // A body whose text goes elsewhere; a break in it ends no loop around it.
  Block parseMacroBody(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Block body = parseBody(end);
    loops_ = loops;
    return body;
  }

  Stmt* parseMacro() {
    Stmt* s = makeStmt(Stmt::Kind::kMacro);
    s->macro.name = takeName("a macro's name");
    s->target = make(Expr::Kind::kName, s->line);
    s->target->name = ast_.nameOf(s->macro.name);
    parseParameters(s->macro);
    s->macro.body = parseMacroBody("endmacro");
    return s;
  }

  Stmt* parseCallBlock() {
    Stmt* s = makeStmt(Stmt::Kind::kCallBlock);
    s->macro.name = "caller";
    if (isOperator("(")) parseParameters(s->macro);
    s->expr = parseExpression();
    if (s->expr->kind != Expr::Kind::kCall) fail("expected a call");
    s->macro.body = parseMacroBody("endcall");
    return s;
  }

  Stmt* parseFilterBlock() {
    Stmt* s = makeStmt(Stmt::Kind::kFilterBlock);
    s->expr = parseFilter(nullptr, true);
    s->body = parseMacroBody("endfilter");
    return s;
  }

  Stmt* parseWith() {
    Stmt* s = makeStmt(Stmt::Kind::kWith);
    while (peek().kind != Kind::kBlockEnd) {
      if (!s->branches.empty()) expectOperator(",");
      Expr* target = parsePrimary();
      checkTarget(target, false);
      s->branches.emplace_back(target, Block());
      expectOperator("=");
      s->values.push_back(parseExpression());
    }
    s->body = parseBody("endwith");
    return s;
  }

  // Hugging Face's mark around what the assistant says; its text is its body's.
  Stmt* parseGeneration() {
    Stmt* s = makeStmt(Stmt::Kind::kScope);
    s->body = parseMacroBody("endgeneration");
    return s;
  }

  Stmt* parsePrint() {
    Stmt* s = makeStmt(Stmt::Kind::kPrint);
    s->expr = make(Expr::Kind::kConcat, s->line);
    do {
      s->expr->items.push_back(parseExpression());
    } while (skipOperator(","));
    finished(s->expr);
    return s;
  }

  std::vector<Token> tokens_;
  int& line_;
  size_t next_ = 0;
  int nesting_ = 0;
  int loops_ = 0;
  Ast ast_;
};

}  // namespace

Ast parse(std::string_view source, int& line) { return Parser(source, line).run(); }

}  // namespace llmrt::jinja
