// Ids back to text: how a token's piece is spelled out, and what joins the pieces.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace schema {
struct Tokenizer;
}

/// The rules, checked and in the order in which they are applied. Immutable and thread-safe.
struct DecoderRules {
  static Result<DecoderRules> create(const schema::Tokenizer& data);

  std::vector<std::pair<std::string, std::string>> replacements;  // within one piece
  bool byte_fallback = false;                                     // pieces "<0xNN>" are bytes
  bool bytes = false;            // pieces are bytes; else they are UTF-8, or are made so
  bool join_by_space = false;    // one space between tokens
  std::string strip;             // a character that is taken from the beginning of the whole text,
  uint32_t strip_count = 0;      // at most so many times
  std::string metaspace;         // becomes a space,
  bool strip_metaspace = false;  // or nothing in the first token
};

/// The state of one text being decoded.
class PieceDecoder {
 public:
  explicit PieceDecoder(const DecoderRules& rules)
      : rules_(&rules), strip_left_(rules.strip_count) {}

  /// Appends to `out` the text that is certain once `piece` has followed the ones before. Never
  /// half a character.
  void push(std::string_view piece, std::string& out);
  /// Bytes that are whole characters are not held back any longer: appends them. Bytes that follow
  /// are a run of their own.
  void endCharacters(std::string& out);
  /// There are no more pieces: appends what was held back.
  void finish(std::string& out);
  /// What was held back is another text's end: of it, only what becomes part of a character that
  /// later pieces complete is still given out.
  void disown();

 private:
  void endByteRun(std::string& text);
  void deliver(std::string_view text, std::string& out);

  const DecoderRules* rules_;
  uint32_t strip_left_;
  bool first_ = true;
  std::string byte_run_;  // bytes of "<0xNN>" tokens: what they mean is known when the run ends
  size_t disowned_ = 0;   // of byte_run_, the first so many
  LossyUtf8 utf8_;
};

}  // namespace llmrt
