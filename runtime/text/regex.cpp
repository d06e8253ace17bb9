#include "runtime/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/text/stand_ins.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

struct Deleter {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};

std::string errorText(int code) {
  PCRE2_UCHAR buffer[128];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

// Machine code begins on 32 KiB of the thread's own stack; patterns that backtrack through groups
// get this much.
constexpr size_t kLargeJitStackBytes = 8 << 20;

}  // namespace

struct Regex::Code {
  std::unique_ptr<pcre2_code, Deleter> code;
  StandIns stand_ins;
};

struct Regex::Scratch::Buffers {
  std::unique_ptr<pcre2_match_data, Deleter> data;
  std::unique_ptr<pcre2_jit_stack, Deleter> stack;
  std::unique_ptr<pcre2_match_context, Deleter> context;
};

Regex::Scratch::Scratch() : buffers_(std::make_unique<Buffers>()) {
  buffers_->data.reset(pcre2_match_data_create(1, nullptr));
}
Regex::Scratch::Scratch(Scratch&&) noexcept = default;
Regex::Scratch::~Scratch() = default;

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Result<Regex> Regex::compile(std::string_view pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  // \C could cut a character in two, which later matches must never see.
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  std::unique_ptr<pcre2_code, Deleter> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error,
                    &offset, nullptr));
  if (!code) {
    return invalidData("regular expression is broken at byte " + std::to_string(offset) + ": " +
                       errorText(error));
  }
  // Where the system forbids writable code this fails and pcre2_match interprets.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return Regex(std::make_unique<Code>(Code{std::move(code), StandIns(pattern)}));
}

Status Regex::findAll(std::string_view text, std::vector<Match>& matches, Scratch& scratch) const {
  auto& [data, stack, context] = *scratch.buffers_;
  if (!data) return outOfMemory("no memory to match a regular expression");
  std::string replaced;
  if (code_->stand_ins.replace(text, replaced)) text = replaced;
  auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t offset = 0;
  while (offset < text.size()) {
    int rc = pcre2_match(code_->code.get(), subject, text.size(), offset, PCRE2_NO_UTF_CHECK,
                         data.get(), context.get());
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT && !stack) {
      context.reset(pcre2_match_context_create(nullptr));
      stack.reset(pcre2_jit_stack_create(kLargeJitStackBytes / 16, kLargeJitStackBytes, nullptr));
      if (!context || !stack) return outOfMemory("no memory to match a regular expression");
      pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
      continue;
    }
    if (rc < 0) {
      return invalidArgument("text is too hard for the tokenizer's regular expression: " +
                             errorText(rc));
    }
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
    if (span[0] < offset || span[1] < span[0] || span[1] > text.size()) {
      return invalidData("the tokenizer's regular expression moves backwards");  // \K
    }
    if (span[0] < span[1]) {
      matches.push_back({span[0], span[1]});
      offset = span[1];
    } else {
      if (span[1] == text.size()) break;
      offset = span[1] + utf8Length(static_cast<unsigned char>(text[span[1]]));
    }
  }
  return {};
}

}  // namespace llmrt
