// The functions every template has: range, dict, namespace, cycler, joiner, raise_exception,
// strftime_now.
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <string>

#include "runtime/jinja/value.h"

namespace llmrt::jinja {

/// Attributes a template may set.
class Namespace : public Object {
 public:
  std::string typeName() const override { return "Namespace"; }
  std::optional<Value> attribute(const std::string& name) override;
  void set(Budget& budget, const std::string& name, Value value);
  void setAll(Budget& budget, const Value& values);
  void clear() { attributes_ = Dict(); }

 private:
  Dict attributes_;
};

/// A dict of the functions. `now`: what strftime_now() formats. `on_namespace` learns of each
/// namespace made: they can hold themselves.
Value makeBuiltins(const std::tm& now,
                   std::function<void(const std::shared_ptr<Object>&)> on_namespace);

}  // namespace llmrt::jinja
