#include "runtime/engine/text_output.h"

#include <utility>

namespace llmrt {

TextOutput::TextOutput(const Tokenizer* tokenizer, std::span<const int32_t> before,
                       std::vector<std::string> stops)
    : tokenizer_(tokenizer), stops_(std::move(stops)) {
  if (!tokenizer) return;
  decoder_.emplace(*tokenizer);
  if (!before.empty()) decoder_->continueAfter(before);
}

std::string TextOutput::push(int32_t id) {
  if (!decoder_) return {};
  // A special token is no text, but a stop string may name it, or end just before it.
  if (!tokenizer_->isSpecial(id) || stops_.empty()) return stops_.push(decoder_->push(id));
  std::string shown = stops_.push(decoder_->endCharacters());
  shown += stops_.pushHidden(tokenizer_->piece(id));
  return shown;
}

std::string TextOutput::finish() {
  if (!decoder_) return {};
  std::string shown = stops_.push(decoder_->finish());
  shown += stops_.finish();
  return shown;
}

}  // namespace llmrt
