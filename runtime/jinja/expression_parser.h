// Expressions of a template, from tokens to nodes: what the parser of its statements stands on.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/jinja/ast.h"
#include "runtime/jinja/lexer.h"

namespace llmrt::jinja {

/// A syntax error is a Failure, with the line in `line`.
class ExpressionParser {
 protected:
  ExpressionParser(std::string_view source, int& line)
      : tokens_(tokenize(source, line)), line_(line) {}

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

  [[noreturn]] void unexpected(const std::string& wanted);
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
    explicit Level(ExpressionParser& parser);
    ~Level() { --nesting; }
    int& nesting;
  };

  // --- Nodes

  Expr* make(Expr::Kind kind, int line);
  Expr* constant(const Value& value, int line);
  /// Called when all children are known.
  Expr* finished(Expr* e);
  Expr* makeUnary(Expr::Kind kind, Expr* first, int line);
  Expr* makeBinary(Expr::Kind kind, Expr* first, Expr* second, int line,
                   Operator op = Operator::kAdd);

  // --- Expressions

  struct TupleRules {
    bool parenthesized = false;      // may be empty
    bool with_conditional = true;    // its items may be `a if b else c`
    bool targets = false;            // its items are what can be assigned to
    bool attributes = false;         // so are attributes of a name
    std::string_view end_name = {};  // a name that ends it
  };

  Expr* parseExpression(bool with_conditional = true);
  Expr* parsePrimary();
  Expr* parseTuple(const TupleRules& rules);
  /// The `|` of the first filter of a filter block is its tag's name.
  Expr* parseFilter(Expr* input, bool first_is_implied = false);
  /// Items with commas between them and perhaps after the last, up to `close`.
  template <typename Item>
  void parseItems(std::string_view close, Item item) {
    while (!isOperator(close)) {
      item();
      if (!skipOperator(",")) break;
    }
    expectOperator(close);
  }

  std::vector<Token> tokens_;
  int& line_;
  Ast ast_;

 private:
  Expr* parseOr();
  Expr* parseAnd();
  Expr* parseNot();
  std::optional<Operator> takeComparison();
  Expr* parseCompare();
  Expr* parseSum();
  Expr* parseConcat();
  Expr* parseProduct();
  Expr* parsePower();
  Expr* parseUnary(bool with_filters);
  bool tupleEnds(const TupleRules& rules) const;
  Expr* parsePostfix(Expr* e);
  Expr* parseFilters(Expr* e);
  Expr* parseSubscript(Expr* object);
  Value takeInteger();
  void parseArguments(Expr* e);
  Expr* parseCall(Expr* callee);
  std::string parseDottedName(const char* what);
  bool startsTestArgument() const;
  Expr* parseTest(Expr* input);

  size_t next_ = 0;
  int nesting_ = 0;
};

}  // namespace llmrt::jinja
