// Runs a syntax tree: scopes, statements, expressions, macros, loops.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/jinja/ast.h"
#include "runtime/jinja/value.h"

namespace llmrt::jinja {

/// Variables of a block; what is not found is looked up around it.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<int, Value>> variables;  // name, value
};

class Interpreter {
 public:
  /// `context` is a dict. All must outlive the interpreter, which runs once.
  Interpreter(const Ast& ast, const Value& context, const std::tm& now, const Limits& limits);
  ~Interpreter();

  /// The text; a Failure's line is then line().
  std::string run();
  int line() const { return line_; }

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
  Value callMacro(const MacroCode& code, const std::shared_ptr<Scope>& scope, Arguments& arguments);
  /// What `block` prints, in a scope of its own.
  std::string capture(const Block& block);

  // Variables
  Value lookUp(int name);
  void assign(int name, Value value);
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
  Value applyFilters(const Expr* expr, Value text);
  std::vector<Value> evaluateAll(const std::vector<Expr*>& exprs);
  Arguments evaluateArguments(const Expr& expr);

  /// One scope more, as long as it lives.
  class ScopeGuard;
  /// Output into a text of its own, as long as it lives.
  class OutputGuard;

  const Ast& ast_;
  const Value& context_;
  Budget budget_;
  int line_ = 0;
  TextBuilder* out_ = nullptr;
  std::shared_ptr<Scope> scope_;
  std::vector<std::pair<bool, Value>> globals_;  // by name: whether looked up, and what it is
  Value builtins_;                               // a dict
  int loop_name_, caller_name_, varargs_name_, kwargs_name_;
  // Scopes that macros hold: they may hold the macros in turn. Emptied at the end, as namespaces.
  std::vector<std::shared_ptr<Scope>> captured_;
  std::vector<std::weak_ptr<Object>> namespaces_;
};

}  // namespace llmrt::jinja
