// Jinja2's filters and tests by name, with Hugging Face's `tojson`.
#pragma once

#include <string_view>

#include "runtime/jinja/value.h"

namespace llmrt::jinja {

using Filter = Value (*)(Budget&, const Value& input, const Arguments&);
using Test = bool (*)(Budget&, const Value& input, const Arguments&);

/// Null: there is none of that name.
Filter findFilter(std::string_view name);
Test findTest(std::string_view name);

/// The filter or test, or a Failure that names it.
Filter requireFilter(std::string_view name);
Test requireTest(std::string_view name);

/// The two tables that findFilter() looks into.
Filter findTextFilter(std::string_view name);
Filter findSequenceFilter(std::string_view name);

}  // namespace llmrt::jinja
