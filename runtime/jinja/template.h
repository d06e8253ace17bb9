// Chat templates: Jinja2's language as Hugging Face Transformers sets it up, without anything that
// reaches outside of the template.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/io/status.h"
#include "runtime/jinja/budget.h"
#include "runtime/jinja/value.h"

namespace llmrt::jinja {

struct RenderOptions {
  std::tm now{};  // what strftime_now() formats
  Limits limits;
};

/// The local time, for RenderOptions.
std::tm localTime();

/// Immutable: render() may be called from several threads at once.
class Template {
 public:
  /// `name` (a file) starts error messages, which end in the line of the template.
  static Result<Template> parse(std::string_view source, const std::string& name);

  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  /// The text. `context`: a dict of the variables, which is only read. What the template raises,
  /// does not know or would do beyond its limits is kInvalidArgument.
  Result<std::string> render(const Value& context, const RenderOptions& options) const;

 private:
  struct Impl;
  explicit Template(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace llmrt::jinja
