// What `llmc tokenize` prints.
#pragma once

#include <ostream>
#include <string>
#include <string_view>

#include "runtime/io/status.h"
#include "runtime/text/tokenizer.h"

namespace llmc {

struct TokenizeOptions {
  std::string path;     // of the file to read
  bool decode = false;  // the file holds ids (decimal, separated by white space), print their text
  bool lines = false;   // each line is a text of its own; else the whole file is one
  bool add_bos = true;  // BOS and its like around each text; decoding ignores it
  bool parse_special = true;  // encoding: recognise special tokens; decoding: print them
};

/// Ids separated by spaces, one text a line; decoding, each text followed by a newline. A failure
/// names the file, and the line where each line is a text.
llmrt::Status tokenizeFile(const llmrt::Tokenizer& tokenizer, const TokenizeOptions& options,
                           std::ostream& out);

/// The same for a text that came from elsewhere, called `name` in errors; `options.path` is not
/// looked at.
llmrt::Status tokenizeText(const llmrt::Tokenizer& tokenizer, std::string_view text,
                           const std::string& name, const TokenizeOptions& options,
                           std::ostream& out);

}  // namespace llmc
