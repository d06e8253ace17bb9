// What operators do to values: arithmetic, membership, subscripts and attributes, as Python's and
// Jinja2's sandbox have them.
#pragma once

#include <optional>
#include <string_view>

#include "runtime/jinja/ast.h"
#include "runtime/jinja/value.h"

namespace llmrt::jinja {

Value applyOperator(Budget& budget, Operator op, const Value& a, const Value& b);
bool applyComparison(Budget& budget, Operator op, const Value& a, const Value& b);
Value negate(Budget& budget, const Value& value);
/// `item in container`.
bool contains(Budget& budget, const Value& container, const Value& item);

/// object.name: attributes first, then keys; undefined where there is neither.
Value getAttribute(Budget& budget, const Value& object, std::string_view name);
/// object[key]: keys first, then attributes; undefined where there is neither.
Value getItem(Budget& budget, const Value& object, const Value& key);
/// object[begin:end:step]; null or None: left out.
Value getSlice(Budget& budget, const Value& object, const Value* begin, const Value* end,
               const Value* step);

/// The method `name` of a string, list, tuple or dict, bound to it; nullopt where there is none.
/// Those that would change it are undefined.
std::optional<Value> boundMethod(Budget& budget, const Value& object, std::string_view name);
/// object.name(...) of a method that there is.
Value callMethod(Budget& budget, const Value& object, std::string_view name,
                 const Arguments& arguments);

Value call(Budget& budget, const Value& callee, const Arguments& arguments);

/// &, <, >, ' and " as entities; what is markup stays. The result is markup.
Value escape(Budget& budget, const Value& value);

/// `format % value`, with Python's conversions.
Value formatPercent(Budget& budget, const Value& format, const Value& value);
/// format.format(...).
Value formatBraces(Budget& budget, const Value& format, const Arguments& arguments);

/// The offset of `needle` in `text` from `from` on, npos: none. Linear.
size_t findText(std::string_view text, std::string_view needle, size_t from = 0);

}  // namespace llmrt::jinja
