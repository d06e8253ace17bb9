// The functions every template has: range, dict, namespace, cycler, joiner, raise_exception,
// strftime_now.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/jinja/value.h"

namespace llmrt::jinja {

/// Attributes a template may set.
class Namespace : public Object {
 public:
  explicit Namespace(Dict attributes) : attributes_(std::move(attributes)) {}
  std::string typeName() const override { return "Namespace"; }
  std::optional<Value> attribute(Budget& budget, std::string_view name) override;
  void set(Budget& budget, std::string_view name, const Value& value) {
    attributes_.set(budget, name, value);
  }

 private:
  Dict attributes_;
};

/// A dict of the functions. `now`: what strftime_now() formats.
Value makeBuiltins(Budget& budget, const std::tm& now);

}  // namespace llmrt::jinja
