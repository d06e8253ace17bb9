// What the parser makes of a template. Nodes live as long as their Ast and are destroyed without
// recursion, however long a chain they form.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/jinja/value.h"

namespace llmrt::jinja {

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr {
  enum class Kind {
    kConstant,  // value
    kName,      // name
    kList,
    kTuple,      // items
    kDict,       // items: key, value, key, value, ...
    kConcat,     // items joined by ~
    kAttribute,  // first.text
    kSubscript,  // first[second]
    kSlice,      // first[items[0]:items[1]:items[2]], null where left out
    kCall,       // first(items, named, star, star_star)
    kFilter,     // first | text(items, named, star, star_star); first is null in a filter block
    kTest,       // first is text(items, named, ...)
    kNot,
    kNegate,
    kPlus,  // first
    kAnd,
    kOr,           // first, second
    kBinary,       // first op second
    kCompare,      // first ops[0] items[0] ops[1] items[1] ...
    kConditional,  // first if second else third, which may be null
  };
  Kind kind;
  int line = 0;
  int height = 1;  // nodes on the longest way down
  Value value;
  int name = 0;  // index in Ast::names
  std::string text;
  Operator op = Operator::kAdd;
  Expr *first = nullptr, *second = nullptr, *third = nullptr;
  std::vector<Expr*> items;
  std::vector<Operator> ops;
  std::vector<std::pair<std::string, Expr*>> named;
  Expr *star = nullptr, *star_star = nullptr;  // f(*star, **star_star)
};

struct Stmt;
using Block = std::vector<Stmt*>;

/// A macro, or the body of a call block.
struct MacroCode {
  std::string name;
  std::vector<int> parameters;  // names
  std::vector<Expr*> defaults;  // of the last parameters
  Block body;
};

struct Stmt {
  enum class Kind {
    kText,         // text
    kPrint,        // expr
    kFor,          // for target in expr if test: body, otherwise; `recursive`
    kIf,           // branches, otherwise
    kSet,          // target = expr
    kSetBlock,     // target = body, through expr, a filter (may be null)
    kMacro,        // macro
    kCallBlock,    // expr, a call, with `macro` as its caller
    kFilterBlock,  // body through expr
    kWith,         // targets = values: body
    kScope,        // body: {% generation %}
    kBreak,
    kContinue,
  };
  Kind kind;
  int line = 0;
  std::string text;
  Expr *target = nullptr, *expr = nullptr, *test = nullptr;
  bool recursive = false;
  Block body, otherwise;
  std::vector<std::pair<Expr*, Block>> branches;  // of if and elif; of with: targets, no blocks
  std::vector<Expr*> values;
  MacroCode macro;
};

struct Ast {
  std::unique_ptr<Budget> budget = std::make_unique<Budget>(Limits());  // of the constants
  std::deque<Expr> exprs;
  std::deque<Stmt> stmts;
  std::vector<std::string> names;
  std::unordered_map<std::string, int> name_index;
  Block body;

  int nameOf(std::string_view text) {
    const auto [it, added] =
        name_index.try_emplace(std::string(text), static_cast<int>(names.size()));
    if (added) names.emplace_back(text);
    return it->second;
  }
};

}  // namespace llmrt::jinja
