#include "runtime/jinja/template.h"

#include <fmt/format.h>

#include <new>

#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/parser.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

// A message of one line, whatever text a template raises.
std::string oneLine(std::string_view text) {
  constexpr size_t kMaxBytes = 300;
  std::string line;
  for (size_t i = 0; i < text.size() && line.size() < kMaxBytes;) {
    const size_t length = utf8Length(static_cast<unsigned char>(text[i]));
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) {
      line += ' ';
    } else {
      line += text.substr(i, length);
    }
    i += length;
  }
  return line;
}

Status failureAt(const std::string& name, int line, const std::string& message) {
  return invalidArgument(fmt::format("{}:{}: {}", name, line, oneLine(message)));
}

}  // namespace

struct Template::Impl {
  Ast ast;
  std::string name;
};

Template::Template(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::parse(std::string_view source, const std::string& name) {
  constexpr size_t kMaxBytes = size_t{1} << 20;
  const size_t invalid = findInvalidUtf8(source);
  if (invalid != source.size())
    return invalidData(fmt::format("{}: is not UTF-8 at byte {}", name, invalid));
  if (source.size() > kMaxBytes)
    return invalidData(name + ": is too long for a chat template: the limit is 1 MiB");
  int line = 1;
  try {
    return Template(std::make_unique<const Impl>(Impl{jinja::parse(source, line), name}));
  } catch (const Failure& failure) {
    return failureAt(name, line, failure.message);
  } catch (const std::bad_alloc&) {
    return outOfMemory(name + ": not enough memory for the chat template");
  }
}

Result<std::string> Template::render(const Value& context, const RenderOptions& options) const {
  if (!context.asDict()) return invalidArgument("a chat template's context must be a JSON object");
  int line = 1;
  try {
    return Interpreter(impl_->ast, context, options.now, options.limits, line).run();
  } catch (const Failure& failure) {
    return failureAt(impl_->name, line, failure.message);
  } catch (const std::bad_alloc&) {
    return outOfMemory(impl_->name + ": not enough memory to render the chat template");
  }
}

std::tm localTime() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  localtime_r(&now, &out);
  return out;
}

}  // namespace llmrt::jinja
