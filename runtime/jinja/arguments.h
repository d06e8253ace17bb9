// The arguments of a call, matched to parameters.
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/jinja/value.h"

namespace llmrt::jinja {

/// `function` names itself in errors. The first `required` parameters must be given.
class Parameters {
 public:
  Parameters(std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> names, size_t required = 0)
      : function_(function), given_(names.size()) {
    if (arguments.positional.size() > names.size()) {
      fail(fmt::format("{}() takes at most {} arguments, {} given", function, names.size(),
                       arguments.positional.size()));
    }
    for (size_t i = 0; i < arguments.positional.size(); ++i) given_[i] = &arguments.positional[i];
    for (const auto& [name, value] : arguments.named) {
      size_t i = 0;
      while (i < names.size() && names.begin()[i] != name) ++i;
      if (i == names.size()) fail(fmt::format("{}() has no parameter '{}'", function, name));
      if (given_[i]) fail(fmt::format("{}() got '{}' twice", function, name));
      given_[i] = &value;
    }
    for (size_t i = 0; i < required; ++i)
      if (!given_[i]) fail(fmt::format("{}() needs '{}'", function, names.begin()[i]));
  }

  bool has(size_t i) const { return given_[i] != nullptr; }
  bool isNone(size_t i) const { return !has(i) || given_[i]->isNone(); }
  const Value& operator[](size_t i) const { return *given_[i]; }  // one that is there

  Value valueOr(size_t i, const Value& otherwise) const { return has(i) ? *given_[i] : otherwise; }
  bool flag(size_t i, bool otherwise = false) const {
    return has(i) ? isTrue(*given_[i]) : otherwise;
  }
  int64_t integer(size_t i, int64_t otherwise) const {
    if (!has(i)) return otherwise;
    requireDefined(*given_[i]);
    if (given_[i]->isBigInt())
      fail(fmt::format("{}() takes an integer of at most 64 bits", function_));
    const auto value = given_[i]->asInteger();
    if (!value)
      fail(fmt::format("{}() takes an integer, not '{}'", function_, given_[i]->typeName()));
    return *value;
  }
  std::string_view text(size_t i, std::string_view otherwise = {}) const {
    if (!has(i)) return otherwise;
    requireDefined(*given_[i]);
    if (!given_[i]->isString())
      fail(fmt::format("{}() takes a string, not '{}'", function_, given_[i]->typeName()));
    return given_[i]->asString();
  }

 private:
  std::string_view function_;
  std::vector<const Value*> given_;
};

}  // namespace llmrt::jinja
