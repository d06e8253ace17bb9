#include "runtime/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "runtime/io/printable.h"
#include "runtime/jinja/expression_parser.h"

namespace llmrt::jinja {
namespace {

// Statements.
class Parser : private ExpressionParser {
 public:
  Parser(std::string_view source, int& line) : ExpressionParser(source, line) {}

  Ast run() {
    ast_.body = parseBlock({});
    return std::move(ast_);
  }

 private:
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
    ast_.budget->reserve(sizeof(Stmt));
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

  int loops_ = 0;  // around what is parsed
};

}  // namespace

Ast parse(std::string_view source, int& line) { return Parser(source, line).run(); }

}  // namespace llmrt::jinja
