#include "runtime/jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operations.h"

namespace llmrt::jinja {

class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter& interpreter, Scope* parent)
      : interpreter_(interpreter), before_(interpreter.scope_) {
    if (Scope* unused = interpreter.free_scopes_) {
      interpreter.free_scopes_ = unused->parent;
      interpreter.scope_ = unused;
    } else {
      interpreter.budget_.reserve(sizeof(Scope));
      interpreter.scope_ = &interpreter.scopes_.emplace_back();
    }
    interpreter.scope_->parent = parent;
  }
  explicit ScopeGuard(Interpreter& interpreter) : ScopeGuard(interpreter, interpreter.scope_) {}
  ~ScopeGuard() {
    Scope* scope = std::exchange(interpreter_.scope_, before_);
    if (scope->captured) return;
    scope->variables.clear();
    scope->parent = std::exchange(interpreter_.free_scopes_, scope);
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter& interpreter_;
  Scope* before_;
};

class Interpreter::OutputGuard {
 public:
  explicit OutputGuard(Interpreter& interpreter)
      : interpreter_(interpreter), before_(interpreter.out_), text_(interpreter.budget_) {
    interpreter.out_ = &text_;
  }
  ~OutputGuard() { interpreter_.out_ = before_; }
  OutputGuard(const OutputGuard&) = delete;
  OutputGuard& operator=(const OutputGuard&) = delete;
  TextBuilder& text() { return text_; }

 private:
  Interpreter& interpreter_;
  TextBuilder* before_;
  TextBuilder text_;
};

class Macro : public Object {
 public:
  Macro(Interpreter& interpreter, const MacroCode& code, Scope* scope)
      : interpreter_(interpreter), code_(code), scope_(scope) {}
  std::string typeName() const override { return "Macro"; }
  std::string repr() const override { return fmt::format("<Macro '{}'>", code_.name); }
  bool callable() const override { return true; }
  std::optional<Value> attribute(Budget& budget, std::string_view name) override {
    if (name == "name") return Value::string(budget, code_.name);
    return std::nullopt;
  }
  Value call(Budget&, const Arguments& arguments) override {
    return interpreter_.callMacro(code_, scope_, arguments);
  }

 private:
  Interpreter& interpreter_;
  const MacroCode& code_;
  Scope* scope_;
};

class Loop;

namespace {

class LoopMethod : public Object {
 public:
  using Body = Value (*)(Budget&, Loop& loop, const Arguments&);
  LoopMethod(Loop& loop, Body body) : loop_(loop), body_(body) {}
  std::string typeName() const override { return "method"; }
  bool callable() const override { return true; }
  Value call(Budget& budget, const Arguments& arguments) override {
    return body_(budget, loop_, arguments);
  }

 private:
  Loop& loop_;
  Body body_;
};

}  // namespace

/// The variable `loop`.
class Loop : public Object {
 public:
  Loop(Interpreter& interpreter, const Stmt& stmt, const std::vector<Value>& items, int depth)
      : interpreter_(interpreter), stmt_(stmt), items_(items), depth_(depth) {}

  std::string typeName() const override { return "LoopContext"; }
  std::string repr() const override {
    return fmt::format("<LoopContext {}/{}>", index + 1, items_.size());
  }

  std::optional<Value> attribute(Budget& budget, std::string_view name) override {
    const auto number = [](size_t n) { return Value::integer(static_cast<int64_t>(n)); };
    if (name == "index") return number(index + 1);
    if (name == "index0") return number(index);
    if (name == "first") return Value::boolean(index == 0);
    if (name == "last") return Value::boolean(index + 1 == items_.size());
    if (name == "length") return number(items_.size());
    if (name == "revindex") return number(items_.size() - index);
    if (name == "revindex0") return number(items_.size() - index - 1);
    if (name == "depth") return number(static_cast<size_t>(depth_) + 1);
    if (name == "depth0") return number(static_cast<size_t>(depth_));
    if (name == "previtem")
      return index > 0 ? items_[index - 1] : Value::undefined(budget, "there is no previous item");
    if (name == "nextitem")
      return index + 1 < items_.size() ? items_[index + 1]
                                       : Value::undefined(budget, "there is no next item");
    if (name == "cycle") return Value::object<LoopMethod>(budget, *this, cycle);
    if (name == "changed") return Value::object<LoopMethod>(budget, *this, changed);
    return std::nullopt;
  }

  bool callable() const override { return stmt_.recursive; }
  Value call(Budget&, const Arguments& arguments) override {
    if (arguments.positional.size() != 1) fail("loop() takes what to iterate");
    Interpreter::OutputGuard output(interpreter_);
    const Interpreter::ScopeGuard scope(interpreter_);
    interpreter_.runFor(stmt_, arguments.positional[0], depth_ + 1);
    return output.text().value();
  }

  size_t index = 0;

 private:
  static Value cycle(Budget&, Loop& loop, const Arguments& arguments) {
    if (arguments.positional.empty()) fail("loop.cycle() takes at least one item");
    return arguments.positional[loop.index % arguments.positional.size()];
  }
  static Value changed(Budget& budget, Loop& loop, const Arguments& arguments) {
    ListBuilder given(budget);
    given.addAll(arguments.positional);
    const Value now = given.tuple();
    const bool same = loop.seen_ && equals(budget, *loop.seen_, now);
    loop.seen_ = now;
    return Value::boolean(!same);
  }

  Interpreter& interpreter_;
  const Stmt& stmt_;
  const std::vector<Value>& items_;
  const int depth_;
  std::optional<Value> seen_;
};

Interpreter::Interpreter(const Ast& ast, const Value& context, const std::tm& now,
                         const Limits& limits, int& line)
    : ast_(ast), context_(context), budget_(limits), line_(line), scope_(&scopes_.emplace_back()) {
  globals_.resize(ast.names.size());
  builtins_ = makeBuiltins(budget_, now);
  const auto nameOf = [&ast](const char* name) {
    const auto found = ast.name_index.find(name);
    return found == ast.name_index.end() ? -1 : found->second;
  };
  loop_name_ = nameOf("loop");
  caller_name_ = nameOf("caller");
  varargs_name_ = nameOf("varargs");
  kwargs_name_ = nameOf("kwargs");
}

std::string Interpreter::run() {
  OutputGuard output(*this);
  execute(ast_.body);
  return output.text().take();
}

// --- Statements

Interpreter::Flow Interpreter::execute(const Block& block) {
  for (const Stmt* stmt : block)
    if (const Flow flow = execute(*stmt); flow != Flow::kNext) return flow;
  return Flow::kNext;
}

Interpreter::Flow Interpreter::execute(const Stmt& stmt) {
  const Budget::Nesting nesting(budget_);
  budget_.step();
  line_ = stmt.line;
  switch (stmt.kind) {
    case Stmt::Kind::kText:
      out_->append(stmt.text);
      break;
    case Stmt::Kind::kPrint:
      appendString(*out_, evaluate(*stmt.expr));
      break;
    case Stmt::Kind::kFor:
      return runFor(stmt, evaluate(*stmt.expr), 0);
    case Stmt::Kind::kIf:
      return runIf(stmt);
    case Stmt::Kind::kSet:
      assignTarget(*stmt.target, evaluate(*stmt.expr));
      break;
    case Stmt::Kind::kSetBlock:
      assignTarget(*stmt.target, applyFilters(stmt.expr, capture(stmt.body)));
      break;
    case Stmt::Kind::kMacro:
      assign(stmt.target->name, makeMacro(stmt.macro));
      break;
    case Stmt::Kind::kCallBlock:
      runCallBlock(stmt);
      break;
    case Stmt::Kind::kFilterBlock:
      appendString(*out_, applyFilters(stmt.expr, capture(stmt.body)));
      break;
    case Stmt::Kind::kWith:
      return runWith(stmt);
    case Stmt::Kind::kScope: {
      const ScopeGuard scope(*this);
      execute(stmt.body);
      break;
    }
    case Stmt::Kind::kBreak:
      return Flow::kBreak;
    case Stmt::Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::runIf(const Stmt& stmt) {
  for (const auto& [test, body] : stmt.branches)
    if (isTrue(evaluate(*test))) return execute(body);
  return execute(stmt.otherwise);
}

Interpreter::Flow Interpreter::runWith(const Stmt& stmt) {
  ListBuilder values = evaluateAll(stmt.values);
  const ScopeGuard scope(*this);
  for (size_t i = 0; i < values.size(); ++i)
    assignTarget(*stmt.branches[i].first, values.items()[i]);
  return execute(stmt.body);
}

Interpreter::Flow Interpreter::runFor(const Stmt& stmt, const Value& iterable, int depth) {
  const Budget::Nesting nesting(budget_);
  const std::vector<Value>* items = &iterate(budget_, iterable);
  if (stmt.test) {
    ListBuilder kept(budget_);
    for (const Value& item : *items) {
      const ScopeGuard scope(*this);
      assignTarget(*stmt.target, item);
      if (isTrue(evaluate(*stmt.test))) kept.add(item);
    }
    items = &kept.list().asSequence()->items;
  }
  Value loop;
  if (loop_name_ >= 0) loop = Value::object<Loop>(budget_, *this, stmt, *items, depth);
  // As Jinja2 compiles it: `else` runs unless a body came to its end, whatever left it early.
  bool finished = false;
  for (size_t i = 0; i < items->size(); ++i) {
    budget_.step();
    const ScopeGuard scope(*this);
    if (Object* object = loop.asObject()) {
      static_cast<Loop*>(object)->index = i;
      assign(loop_name_, loop);
    }
    assignTarget(*stmt.target, (*items)[i]);
    const Flow flow = execute(stmt.body);
    if (flow == Flow::kBreak) break;
    finished |= flow == Flow::kNext;
  }
  if (finished) return Flow::kNext;
  const ScopeGuard scope(*this);
  return execute(stmt.otherwise);
}

void Interpreter::runCallBlock(const Stmt& stmt) {
  const Expr& expr = *stmt.expr;
  const Value callee = evaluate(*expr.first);
  Arguments arguments = evaluateArguments(expr);
  arguments.named.emplace_back("caller", makeMacro(stmt.macro));
  appendString(*out_, call(budget_, callee, arguments));
}

Value Interpreter::makeMacro(const MacroCode& code) {
  for (Scope* s = scope_; s; s = s->parent) {
    budget_.step();
    s->captured = true;
  }
  return Value::object<Macro>(budget_, *this, code, scope_);
}

Value Interpreter::callMacro(const MacroCode& code, Scope* outer, const Arguments& arguments) {
  const Budget::Nesting nesting(budget_);
  const int line = line_;
  const ScopeGuard scope(*this, outer);
  const size_t num_parameters = code.parameters.size();
  Dict rest;  // what is for kwargs
  budget_.reserve(num_parameters, sizeof(Value*));
  std::vector<const Value*> given(num_parameters);
  Value caller = Value::undefined(budget_, "no caller is defined");
  for (size_t i = 0; i < std::min(num_parameters, arguments.positional.size()); ++i)
    given[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    budget_.step(1 + num_parameters / 8);
    size_t i = 0;
    while (i < num_parameters && ast_.names[static_cast<size_t>(code.parameters[i])] != name) ++i;
    if (i < num_parameters) {
      if (given[i]) fail(fmt::format("macro '{}' got '{}' twice", code.name, name));
      given[i] = &value;
    } else if (name == "caller") {
      caller = value;
    } else if (kwargs_name_ < 0) {
      fail(fmt::format("macro '{}' takes no keyword argument '{}'", code.name, name));
    } else {
      rest.set(budget_, name, value);
    }
  }
  if (arguments.positional.size() > num_parameters && varargs_name_ < 0) {
    fail(fmt::format("macro '{}' takes not more than {} argument(s)", code.name, num_parameters));
  }
  const size_t first_default = num_parameters - code.defaults.size();
  for (size_t i = 0; i < num_parameters; ++i) {
    const int name = code.parameters[i];
    if (given[i]) {
      assign(name, *given[i]);
    } else if (i >= first_default) {
      assign(name, evaluate(*code.defaults[i - first_default]));
    } else {
      assign(name, Value::undefined(budget_, fmt::format("parameter '{}' was not provided",
                                                         ast_.names[static_cast<size_t>(name)])));
    }
  }
  // A template that nowhere says one of these names has no use for it.
  const auto assignSpecial = [&](int name, const Value& value) {
    const auto& parameters = code.parameters;
    if (name >= 0 && std::find(parameters.begin(), parameters.end(), name) == parameters.end())
      assign(name, value);
  };
  ListBuilder varargs(budget_);
  for (size_t i = num_parameters; i < arguments.positional.size(); ++i)
    varargs.add(arguments.positional[i]);
  assignSpecial(caller_name_, caller);
  assignSpecial(varargs_name_, varargs.tuple());
  assignSpecial(kwargs_name_, Value::dict(budget_, std::move(rest)));
  OutputGuard output(*this);
  execute(code.body);
  line_ = line;
  return output.text().value();
}

Value Interpreter::capture(const Block& block) {
  OutputGuard output(*this);
  const ScopeGuard scope(*this);
  execute(block);
  return output.text().value();
}

// --- Variables

Value Interpreter::lookUp(int name) {
  size_t looked_at = 0;
  for (const Scope* scope = scope_; scope; scope = scope->parent) {
    looked_at += 1 + scope->variables.size();
    for (const auto& [variable, value] : scope->variables)
      if (variable == name) {
        budget_.step(looked_at / 16);
        return value;
      }
  }
  budget_.step(looked_at / 16);
  auto& [known, global] = globals_[static_cast<size_t>(name)];
  if (!known) {
    const std::string& text = ast_.names[static_cast<size_t>(name)];
    const Value* found = context_.asDict()->find(budget_, text);
    if (!found) found = builtins_.asDict()->find(budget_, text);
    global = found ? *found : Value::undefined(budget_, fmt::format("'{}' is undefined", text));
    known = true;
  }
  return global;
}

void Interpreter::assign(int name, const Value& value) {
  auto& variables = scope_->variables;
  budget_.step(variables.size() / 16);
  for (auto& [variable, held] : variables) {
    if (variable == name) {
      held = value;
      return;
    }
  }
  if (variables.size() == variables.capacity())
    budget_.reserve(1 + variables.size(), sizeof(variables[0]));
  variables.emplace_back(name, value);
}

void Interpreter::assignTarget(const Expr& target, const Value& value) {
  if (target.kind == Expr::Kind::kName) return assign(target.name, value);
  if (target.kind == Expr::Kind::kAttribute) {
    const Value object = evaluate(*target.first);
    auto* made = dynamic_cast<Namespace*>(object.asObject());
    if (!made) fail("cannot assign attribute on non-namespace object");
    return made->set(budget_, target.text, value);
  }
  const std::vector<Value>& items = iterate(budget_, value);
  if (items.size() != target.items.size())
    fail(fmt::format("{} values to unpack, expected {}", items.size(), target.items.size()));
  for (size_t i = 0; i < items.size(); ++i) assignTarget(*target.items[i], items[i]);
}

// --- Expressions

Value Interpreter::evaluate(const Expr& expr) {
  const Budget::Nesting nesting(budget_);
  budget_.step();
  line_ = expr.line;
  switch (expr.kind) {
    case Expr::Kind::kConstant:
      return expr.value;
    case Expr::Kind::kName:
      return lookUp(expr.name);
    case Expr::Kind::kList:
      return evaluateAll(expr.items).list();
    case Expr::Kind::kTuple:
      return evaluateAll(expr.items).tuple();
    case Expr::Kind::kDict:
      return evaluateDict(expr);
    case Expr::Kind::kAttribute:
      return getAttribute(budget_, evaluate(*expr.first), expr.text);
    case Expr::Kind::kSubscript: {
      const Value object = evaluate(*expr.first);
      return getItem(budget_, object, evaluate(*expr.second));
    }
    case Expr::Kind::kSlice:
      return evaluateSlice(expr);
    case Expr::Kind::kCall:
      return evaluateCall(expr);
    case Expr::Kind::kFilter:
      return applyFilter(expr, evaluate(*expr.first));
    case Expr::Kind::kTest: {
      const Value input = evaluate(*expr.first);
      const Arguments arguments = evaluateArguments(expr);
      return Value::boolean(requireTest(expr.text)(budget_, input, arguments));
    }
    case Expr::Kind::kAnd: {
      Value left = evaluate(*expr.first);
      return isTrue(left) ? evaluate(*expr.second) : left;
    }
    case Expr::Kind::kOr: {
      Value left = evaluate(*expr.first);
      return isTrue(left) ? left : evaluate(*expr.second);
    }
    case Expr::Kind::kConditional:
      if (isTrue(evaluate(*expr.second))) return evaluate(*expr.first);
      if (expr.third) return evaluate(*expr.third);
      return Value::undefined(
          budget_, "the inline if-expression evaluated to false and no else section was defined");
    default:
      return evaluateOperation(expr);
  }
}

Value Interpreter::evaluateOperation(const Expr& expr) {
  switch (expr.kind) {
    case Expr::Kind::kNot:
      return Value::boolean(!isTrue(evaluate(*expr.first)));
    case Expr::Kind::kNegate:
      return negate(budget_, evaluate(*expr.first));
    case Expr::Kind::kPlus: {
      const Value value = evaluate(*expr.first);
      requireDefined(value);
      if (value.isBigInt()) return value;
      if (!value.isNumber()) fail(fmt::format("+ takes a number, not '{}'", value.typeName()));
      return value.isFloat() ? value : Value::integer(*value.asInteger());
    }
    case Expr::Kind::kCompare:
      return evaluateCompare(expr);
    case Expr::Kind::kConcat: {
      const Value first = toText(budget_, evaluate(*expr.items.front()));
      TextBuilder rest(budget_);
      for (size_t i = 1; i < expr.items.size(); ++i) appendString(rest, evaluate(*expr.items[i]));
      return joinTexts(budget_, first, rest.view());
    }
    default: {
      const Value left = evaluate(*expr.first);
      return applyOperator(budget_, expr.op, left, evaluate(*expr.second));
    }
  }
}

Value Interpreter::evaluateCompare(const Expr& expr) {
  Value left = evaluate(*expr.first);
  for (size_t i = 0; i < expr.items.size(); ++i) {
    const Value right = evaluate(*expr.items[i]);
    if (!applyComparison(budget_, expr.ops[i], left, right)) return Value::boolean(false);
    left = right;
  }
  return Value::boolean(true);
}

Value Interpreter::evaluateSlice(const Expr& expr) {
  const Value object = evaluate(*expr.first);
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i)
    bounds[i] = expr.items[i] ? evaluate(*expr.items[i]) : Value::none();
  return getSlice(budget_, object, &bounds[0], &bounds[1], &bounds[2]);
}

Value Interpreter::evaluateDict(const Expr& expr) {
  Dict dict;
  for (size_t i = 0; i < expr.items.size(); i += 2) {
    const Value key = evaluate(*expr.items[i]);
    dict.set(budget_, key, evaluate(*expr.items[i + 1]));
  }
  return Value::dict(budget_, std::move(dict));
}

Value Interpreter::evaluateCall(const Expr& expr) {
  const Value callee = evaluate(*expr.first);
  const Arguments arguments = evaluateArguments(expr);
  line_ = expr.line;
  return call(budget_, callee, arguments);
}

Value Interpreter::applyFilter(const Expr& expr, const Value& input) {
  const Arguments arguments = evaluateArguments(expr);
  line_ = expr.line;
  return requireFilter(expr.text)(budget_, input, arguments);
}

Value Interpreter::applyFilters(const Expr* expr, const Value& text) {
  if (!expr) return text;
  const Budget::Nesting nesting(budget_);
  return applyFilter(*expr, applyFilters(expr->first, text));
}

ListBuilder Interpreter::evaluateAll(const std::vector<Expr*>& exprs) {
  ListBuilder values(budget_);
  for (const Expr* expr : exprs) values.add(evaluate(*expr));
  return values;
}

Arguments Interpreter::evaluateArguments(const Expr& expr) {
  ListBuilder positional = evaluateAll(expr.items);
  Arguments arguments;
  const auto addNamed = [&](std::string_view name, const Value& value) {
    budget_.reserve(sizeof(arguments.named[0]));
    arguments.named.emplace_back(name, value);
  };
  for (const auto& [name, value] : expr.named) addNamed(name, evaluate(*value));
  if (expr.star) positional.addAll(iterate(budget_, evaluate(*expr.star)));
  if (expr.star_star) {
    const Value more = evaluate(*expr.star_star);
    if (!more.asDict()) fail("what stands behind ** must be a dict");
    for (const auto& [key, value] : more.asDict()->entries()) {
      if (!key.isString()) fail("keywords must be strings");
      addNamed(key.asString(), value);
    }
  }
  arguments.positional = std::move(positional.items());
  return arguments;
}

}  // namespace llmrt::jinja
