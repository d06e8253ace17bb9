#include "runtime/jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operations.h"

namespace llmrt::jinja {

class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter& interpreter, std::shared_ptr<Scope> parent)
      : interpreter_(interpreter), before_(std::move(interpreter.scope_)) {
    interpreter.scope_ = std::make_shared<Scope>();
    interpreter.scope_->parent = std::move(parent);
  }
  explicit ScopeGuard(Interpreter& interpreter) : ScopeGuard(interpreter, interpreter.scope_) {}
  ~ScopeGuard() { interpreter_.scope_ = std::move(before_); }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter& interpreter_;
  std::shared_ptr<Scope> before_;
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
  std::string take() { return text_.take(); }

 private:
  Interpreter& interpreter_;
  TextBuilder* before_;
  TextBuilder text_;
};

class Macro : public Object {
 public:
  Macro(Interpreter& interpreter, const MacroCode& code, std::shared_ptr<Scope> scope)
      : interpreter_(interpreter), code_(code), scope_(std::move(scope)) {}
  std::string typeName() const override { return "Macro"; }
  std::string repr() const override { return fmt::format("<Macro '{}'>", code_.name); }
  bool callable() const override { return true; }
  std::optional<Value> attribute(const std::string& name) override {
    if (name == "name") return Value::string(code_.name);
    return std::nullopt;
  }
  Value call(Budget&, Arguments& arguments) override {
    return interpreter_.callMacro(code_, scope_, arguments);
  }

 private:
  Interpreter& interpreter_;
  const MacroCode& code_;
  std::shared_ptr<Scope> scope_;
};

namespace {

class LoopMethod : public Object {
 public:
  using Body = Value (*)(Budget&, Object& loop, Arguments&);
  LoopMethod(std::shared_ptr<Object> loop, Body body) : loop_(std::move(loop)), body_(body) {}
  std::string typeName() const override { return "method"; }
  int depth() const override { return loop_->depth(); }
  bool callable() const override { return true; }
  Value call(Budget& budget, Arguments& arguments) override {
    return body_(budget, *loop_, arguments);
  }

 private:
  std::shared_ptr<Object> loop_;
  Body body_;
};

}  // namespace

/// The variable `loop`.
class Loop : public Object, public std::enable_shared_from_this<Loop> {
 public:
  Loop(Interpreter& interpreter, const Stmt& stmt, std::shared_ptr<const Sequence> sequence,
       int depth)
      : interpreter_(interpreter),
        stmt_(stmt),
        sequence_(std::move(sequence)),
        items_(sequence_->items),
        depth_(depth) {}

  std::string typeName() const override { return "LoopContext"; }
  int depth() const override { return sequence_->depth; }
  std::string repr() const override {
    return fmt::format("<LoopContext {}/{}>", index + 1, items_.size());
  }

  std::optional<Value> attribute(const std::string& name) override {
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
      return index > 0 ? items_[index - 1] : Value::undefined("there is no previous item");
    if (name == "nextitem")
      return index + 1 < items_.size() ? items_[index + 1]
                                       : Value::undefined("there is no next item");
    if (name == "cycle") return method(cycle);
    if (name == "changed") return method(changed);
    return std::nullopt;
  }

  bool callable() const override { return stmt_.recursive; }
  Value call(Budget&, Arguments& arguments) override {
    if (arguments.positional.size() != 1) fail("loop() takes what to iterate");
    Interpreter::OutputGuard output(interpreter_);
    const Interpreter::ScopeGuard scope(interpreter_);
    interpreter_.runFor(stmt_, arguments.positional[0], depth_ + 1);
    return Value::string(output.take());
  }

  size_t index = 0;

 private:
  Value method(LoopMethod::Body body) {
    return Value::object(std::make_shared<LoopMethod>(shared_from_this(), body));
  }
  static Value cycle(Budget&, Object& self, Arguments& arguments) {
    if (arguments.positional.empty()) fail("loop.cycle() takes at least one item");
    const size_t index = static_cast<Loop&>(self).index;
    return arguments.positional[index % arguments.positional.size()];
  }
  static Value changed(Budget& budget, Object& self, Arguments& arguments) {
    auto& loop = static_cast<Loop&>(self);
    const Value now = Value::tuple(arguments.positional);
    const bool same = loop.seen_ && equals(budget, *loop.seen_, now);
    loop.seen_ = now;
    return Value::boolean(!same);
  }

  Interpreter& interpreter_;
  const Stmt& stmt_;
  const std::shared_ptr<const Sequence> sequence_;
  const std::vector<Value>& items_;
  const int depth_;
  std::optional<Value> seen_;
};

Interpreter::Interpreter(const Ast& ast, const Value& context, const std::tm& now,
                         const Limits& limits)
    : ast_(ast), context_(context), budget_(limits), scope_(std::make_shared<Scope>()) {
  captured_.push_back(scope_);
  globals_.resize(ast.names.size());
  builtins_ = makeBuiltins(
      now, [this](const std::shared_ptr<Object>& made) { namespaces_.push_back(made); });
  const auto nameOf = [&ast](const char* name) {
    const auto found = ast.name_index.find(name);
    return found == ast.name_index.end() ? -1 : found->second;
  };
  loop_name_ = nameOf("loop");
  caller_name_ = nameOf("caller");
  varargs_name_ = nameOf("varargs");
  kwargs_name_ = nameOf("kwargs");
}

Interpreter::~Interpreter() {
  for (const std::shared_ptr<Scope>& scope : captured_) scope->variables.clear();
  for (const std::weak_ptr<Object>& made : namespaces_)
    if (const auto object = made.lock()) static_cast<Namespace&>(*object).clear();
}

std::string Interpreter::run() {
  OutputGuard output(*this);
  execute(ast_.body);
  return output.take();
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
      assignTarget(*stmt.target, applyFilters(stmt.expr, Value::string(capture(stmt.body))));
      break;
    case Stmt::Kind::kMacro:
      assign(stmt.target->name, makeMacro(stmt.macro));
      break;
    case Stmt::Kind::kCallBlock:
      runCallBlock(stmt);
      break;
    case Stmt::Kind::kFilterBlock:
      appendString(*out_, applyFilters(stmt.expr, Value::string(capture(stmt.body))));
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
  const std::vector<Value> values = evaluateAll(stmt.values);
  const ScopeGuard scope(*this);
  for (size_t i = 0; i < values.size(); ++i) assignTarget(*stmt.branches[i].first, values[i]);
  return execute(stmt.body);
}

Interpreter::Flow Interpreter::runFor(const Stmt& stmt, const Value& iterable, int depth) {
  const Budget::Nesting nesting(budget_);
  std::shared_ptr<const Sequence> items = iterate(budget_, iterable);
  if (stmt.test) {
    Sequence kept;
    for (const Value& item : items->items) {
      const ScopeGuard scope(*this);
      assignTarget(*stmt.target, item);
      if (isTrue(evaluate(*stmt.test))) kept.items.push_back(item);
    }
    items = Value::sequence(std::move(kept)).sharedSequence();
  }
  std::shared_ptr<Loop> loop;
  if (loop_name_ >= 0) loop = std::make_shared<Loop>(*this, stmt, items, depth);
  // As Jinja2 compiles it: `else` runs unless a body came to its end, whatever left it early.
  bool finished = false;
  for (size_t i = 0; i < items->items.size(); ++i) {
    budget_.step();
    const ScopeGuard scope(*this);
    if (loop) {
      loop->index = i;
      assign(loop_name_, Value::object(loop));
    }
    assignTarget(*stmt.target, items->items[i]);
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
  for (const Scope* s = scope_.get(); s; s = s->parent.get()) budget_.step();
  if (captured_.back() != scope_) captured_.push_back(scope_);
  return Value::object(std::make_shared<Macro>(*this, code, scope_));
}

Value Interpreter::callMacro(const MacroCode& code, const std::shared_ptr<Scope>& outer,
                             Arguments& arguments) {
  const Budget::Nesting nesting(budget_);
  const int line = line_;
  const ScopeGuard scope(*this, outer);
  const size_t num_parameters = code.parameters.size();
  std::vector<std::pair<std::string, Value>> rest;
  std::vector<const Value*> given(num_parameters);
  Value caller = Value::undefined("no caller is defined");
  for (size_t i = 0; i < std::min(num_parameters, arguments.positional.size()); ++i)
    given[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
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
      rest.emplace_back(name, value);
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
      assign(name, Value::undefined(fmt::format("parameter '{}' was not provided",
                                                ast_.names[static_cast<size_t>(name)])));
    }
  }
  // A template that nowhere says one of these names has no use for it.
  const auto assignSpecial = [&](int name, Value value) {
    const auto& parameters = code.parameters;
    if (name >= 0 && std::find(parameters.begin(), parameters.end(), name) == parameters.end())
      assign(name, std::move(value));
  };
  Dict named;
  for (const auto& [name, value] : rest) named.set(budget_, Value::string(name), value);
  const auto from = static_cast<ptrdiff_t>(std::min(num_parameters, arguments.positional.size()));
  assignSpecial(caller_name_, caller);
  assignSpecial(varargs_name_,
                Value::tuple({arguments.positional.begin() + from, arguments.positional.end()}));
  assignSpecial(kwargs_name_, Value::dict(std::move(named)));
  OutputGuard output(*this);
  execute(code.body);
  line_ = line;
  return Value::string(output.take());
}

std::string Interpreter::capture(const Block& block) {
  OutputGuard output(*this);
  const ScopeGuard scope(*this);
  execute(block);
  return output.take();
}

// --- Variables

Value Interpreter::lookUp(int name) {
  for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    budget_.step(scope->variables.size() / 16);
    for (const auto& [variable, value] : scope->variables)
      if (variable == name) return value;
  }
  auto& [known, global] = globals_[static_cast<size_t>(name)];
  if (!known) {
    const std::string& text = ast_.names[static_cast<size_t>(name)];
    const Value* found = context_.asDict()->find(text);
    if (!found) found = builtins_.asDict()->find(text);
    global = found ? *found : Value::undefined(fmt::format("'{}' is undefined", text));
    known = true;
  }
  return global;
}

void Interpreter::assign(int name, Value value) {
  for (auto& [variable, held] : scope_->variables) {
    if (variable == name) {
      held = std::move(value);
      return;
    }
  }
  scope_->variables.emplace_back(name, std::move(value));
}

void Interpreter::assignTarget(const Expr& target, const Value& value) {
  if (target.kind == Expr::Kind::kName) return assign(target.name, value);
  if (target.kind == Expr::Kind::kAttribute) {
    const Value object = evaluate(*target.first);
    auto* made = dynamic_cast<Namespace*>(object.asObject());
    if (!made) fail("cannot assign attribute on non-namespace object");
    return made->set(budget_, target.text, value);
  }
  const auto items = iterate(budget_, value);
  if (items->items.size() != target.items.size()) {
    fail(fmt::format("{} values to unpack, expected {}", items->items.size(), target.items.size()));
  }
  for (size_t i = 0; i < items->items.size(); ++i) assignTarget(*target.items[i], items->items[i]);
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
      return Value::list(evaluateAll(expr.items));
    case Expr::Kind::kTuple:
      return Value::tuple(evaluateAll(expr.items));
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
          "the inline if-expression evaluated to false and no else section was defined");
    default:
      return evaluateOperation(expr);
  }
}

Value Interpreter::evaluateOperation(const Expr& expr) {
  switch (expr.kind) {
    case Expr::Kind::kNot:
      return Value::boolean(!isTrue(evaluate(*expr.first)));
    case Expr::Kind::kNegate:
      return negate(evaluate(*expr.first));
    case Expr::Kind::kPlus: {
      const Value value = evaluate(*expr.first);
      requireDefined(value);
      if (!value.isNumber()) fail(fmt::format("+ takes a number, not '{}'", value.typeName()));
      return value.isFloat() ? value : Value::integer(*value.asInteger());
    }
    case Expr::Kind::kCompare:
      return evaluateCompare(expr);
    case Expr::Kind::kConcat: {
      TextBuilder text(budget_);
      for (const Expr* item : expr.items) appendString(text, evaluate(*item));
      return Value::string(text.take());
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
    Value right = evaluate(*expr.items[i]);
    if (!applyComparison(budget_, expr.ops[i], left, right)) return Value::boolean(false);
    left = std::move(right);
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
    Value key = evaluate(*expr.items[i]);
    dict.set(budget_, std::move(key), evaluate(*expr.items[i + 1]));
  }
  return Value::dict(std::move(dict));
}

Value Interpreter::evaluateCall(const Expr& expr) {
  const Value callee = evaluate(*expr.first);
  Arguments arguments = evaluateArguments(expr);
  line_ = expr.line;
  return call(budget_, callee, arguments);
}

Value Interpreter::applyFilter(const Expr& expr, const Value& input) {
  const Arguments arguments = evaluateArguments(expr);
  line_ = expr.line;
  return requireFilter(expr.text)(budget_, input, arguments);
}

Value Interpreter::applyFilters(const Expr* expr, Value text) {
  if (!expr) return text;
  const Budget::Nesting nesting(budget_);
  return applyFilter(*expr, applyFilters(expr->first, std::move(text)));
}

std::vector<Value> Interpreter::evaluateAll(const std::vector<Expr*>& exprs) {
  budget_.reserve(exprs.size(), sizeof(Value));
  std::vector<Value> values;
  values.reserve(exprs.size());
  for (const Expr* expr : exprs) values.push_back(evaluate(*expr));
  return values;
}

Arguments Interpreter::evaluateArguments(const Expr& expr) {
  Arguments arguments{evaluateAll(expr.items), {}};
  for (const auto& [name, value] : expr.named) arguments.named.emplace_back(name, evaluate(*value));
  if (expr.star) {
    const auto more = iterate(budget_, evaluate(*expr.star));
    budget_.reserve(more->items.size(), sizeof(Value));
    arguments.positional.insert(arguments.positional.end(), more->items.begin(), more->items.end());
  }
  if (expr.star_star) {
    const Value more = evaluate(*expr.star_star);
    if (!more.asDict()) fail("what stands behind ** must be a dict");
    for (const auto& [key, value] : more.asDict()->entries()) {
      if (!key.isString()) fail("keywords must be strings");
      arguments.named.emplace_back(key.asString(), value);
    }
  }
  return arguments;
}

}  // namespace llmrt::jinja
