// Jinja2's filters and tests by name, with Hugging Face's `tojson`.
#pragma once

#include <string_view>

#include "runtime/jinja/value.h"

namespace llmrt::jinja {

/// What stands behind `|`, `is` or a string's `.`. A call pays for comparing once all it is given;
/// what looks more often, into a list's items or up characters' kinds pays for that itself.
template <typename Result>
class Builtin {
 public:
  using Function = Result (*)(Budget&, const Value& input, const Arguments&);
  constexpr Builtin(Function function) : function_(function) {}  // NOLINT: tables name functions

  Result operator()(Budget& budget, const Value& input, const Arguments& arguments) const {
    payForLook(budget, input);
    for (const Value& value : arguments.positional) payForLook(budget, value);
    for (const auto& [name, value] : arguments.named) payForLook(budget, value);
    return function_(budget, input, arguments);
  }
  explicit operator bool() const { return function_ != nullptr; }

 private:
  Function function_;
};
using Filter = Builtin<Value>;
using Test = Builtin<bool>;

/// Null: there is none of that name.
Filter findFilter(std::string_view name);
Test findTest(std::string_view name);

/// The filter or test, or a Failure that names it.
Filter requireFilter(std::string_view name);
Test requireTest(std::string_view name);

/// The tables that findFilter() looks into.
Filter findTextFilter(std::string_view name);
Filter findSequenceFilter(std::string_view name);
Filter findMarkupFilter(std::string_view name);

}  // namespace llmrt::jinja
