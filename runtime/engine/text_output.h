// The text of one sequence's tokens, up to the first stop string.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine/stop_strings.h"
#include "runtime/text/tokenizer.h"

namespace llmrt {

class TextOutput {
 public:
  /// `tokenizer` null: there is no text. `before`: the tokens that the text continues; none where
  /// it is a text of its own, whose first word some vocabularies then write without a space.
  TextOutput(const Tokenizer* tokenizer, std::span<const int32_t> before,
             std::vector<std::string> stops);

  /// What is certain to be shown once `id` has followed: whole characters that begin no stop
  /// string.
  std::string push(int32_t id);
  /// The text is at its end: what was held back.
  std::string finish();
  bool stopped() const { return stops_.stopped(); }

 private:
  const Tokenizer* tokenizer_;
  std::optional<StreamDecoder> decoder_;
  StopStrings stops_;
};

}  // namespace llmrt
