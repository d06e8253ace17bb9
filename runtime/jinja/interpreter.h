// Runs a syntax tree: scopes, statements, expressions, macros, loops.
#pragma once

#include <ctime>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "runtime/jinja/ast.h"
#include "runtime/jinja/builders.h"

namespace llmrt::jinja {

/// Variables of a block; what is not found is looked up around it.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<int, Value>> variables;  // name, value
  bool captured = false;                         // by a macro, which may look into it later
};

class Interpreter {
 public:
  /// `context` is a dict; `line` tells where a Failure happened. All must outlive the interpreter,
  /// which runs once.
  Interpreter(const Ast& ast, const Value& context, const std::tm& now, const Limits& limits,
              int& line);

  std::string run();

 private:
  friend class Macro;
  friend class Loop;
  enum class Flow { kNext, kBreak, kContinue };

  // Statements
  Flow execute(const Block& block);
  Flow execute(const Stmt& stmt);
  Flow runIf(const Stmt& stmt);
  Flow runWith(const Stmt& stmt);
  Flow runFor(const Stmt& stmt, const Value& iterable, int depth);
  void runCallBlock(const Stmt& stmt);
  Value makeMacro(const MacroCode& code);
  Value callMacro(const MacroCode& code, Scope* scope, const Arguments& arguments);
  /// What `block` prints, in a scope of its own.
  Value capture(const Block& block);

  // Variables
  Value lookUp(int name);
  void assign(int name, const Value& value);
  void assignTarget(const Expr& target, const Value& value);

  // Expressions
  Value evaluate(const Expr& expr);
  Value evaluateOperation(const Expr& expr);
  Value evaluateCompare(const Expr& expr);
  Value evaluateSlice(const Expr& expr);
  Value evaluateDict(const Expr& expr);
  Value evaluateCall(const Expr& expr);
  Value applyFilter(const Expr& expr, const Value& input);
  /// A filter block's chain, whose first filter has no input of its own; null: no filter.
  Value applyFilters(const Expr* expr, const Value& text);
  ListBuilder evaluateAll(const std::vector<Expr*>& exprs);
  Arguments evaluateArguments(const Expr& expr);

  /// One scope more, as long as it lives.
  class ScopeGuard;
  /// Output into a text of its own, as long as it lives.
  class OutputGuard;

  const Ast& ast_;
  const Value& context_;
  Budget budget_;
  int& line_;
  TextBuilder* out_ = nullptr;
  std::deque<Scope> scopes_;
  // Of these, those that nobody looks into any more, each with the next one as its parent.
  Scope* free_scopes_ = nullptr;
  Scope* scope_;
  std::vector<std::pair<bool, Value>> globals_;  // by name: whether looked up, and what it is
  Value builtins_;                               // a dict
  int loop_name_, caller_name_, varargs_name_, kwargs_name_;
};

}  // namespace llmrt::jinja
