#include "frontend/tokenizer/TokenizeFile.h"

#include <charconv>

#include "runtime/io/mapped_file.h"
#include "runtime/io/printable.h"

namespace llmc {

using llmrt::Result;
using llmrt::Status;

namespace {

Result<std::vector<int32_t>> parseIds(std::string_view text, int32_t vocab_size) {
  constexpr std::string_view kSpace = " \t\r\n";
  std::vector<int32_t> ids;
  for (size_t at = 0; (at = text.find_first_not_of(kSpace, at)) != text.npos;) {
    std::string_view word = text.substr(at, text.find_first_of(kSpace, at) - at);
    int32_t id = -1;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || id < 0 || id >= vocab_size) {
      return llmrt::invalidArgument(llmrt::quotedName(word) + " is not a token id below " +
                                    std::to_string(vocab_size));
    }
    ids.push_back(id);
    at += word.size();
  }
  return ids;
}

Status tokenizeOne(const llmrt::Tokenizer& tokenizer, std::string_view text,
                   const TokenizeOptions& options, std::ostream& out) {
  if (options.decode) {
    LLMRT_ASSIGN_OR_RETURN(auto ids, parseIds(text, tokenizer.vocabSize()));
    out << tokenizer.decode(ids, !options.parse_special) << '\n';
    return {};
  }
  LLMRT_ASSIGN_OR_RETURN(auto ids,
                         tokenizer.encode(text, {options.add_bos, options.parse_special}));
  std::string line;
  for (int32_t id : ids) {
    if (!line.empty()) line += ' ';
    line += std::to_string(id);
  }
  out << line << '\n';
  return {};
}

}  // namespace

Status tokenizeFile(const llmrt::Tokenizer& tokenizer, const TokenizeOptions& options,
                    std::ostream& out) {
  LLMRT_ASSIGN_OR_RETURN(auto file, llmrt::MappedFile::open(options.path));
  return tokenizeText(tokenizer, file.text(), options.path, options, out);
}

Status tokenizeText(const llmrt::Tokenizer& tokenizer, std::string_view text,
                    const std::string& name, const TokenizeOptions& options, std::ostream& out) {
  if (!options.lines) return tokenizeOne(tokenizer, text, options, out).withContext(name);
  for (size_t number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    LLMRT_RETURN_IF_ERROR(tokenizeOne(tokenizer, line, options, out)
                              .withContext(name + " line " + std::to_string(number)));
  }
  return {};
}

}  // namespace llmc
