#include "runtime/text/decoder.h"

#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/normalizer.h"

namespace llmrt {
namespace {

using Kind = schema::DecoderKind;

std::string textOf(const flatbuffers::String* s) { return s ? s->str() : std::string(); }

int hexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/// The byte that a piece "<0xNN>" stands for, or -1.
int byteOf(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int high = hexDigit(piece[3]);
  int low = hexDigit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

}  // namespace

Result<DecoderRules> DecoderRules::create(const schema::Tokenizer& data) {
  DecoderRules rules;
  if (!data.decoder() || data.decoder()->size() == 0) {
    rules.join_by_space = true;
    return rules;
  }
  // The order in which tokenizers write the steps, and the only one their meanings below hold for.
  auto stageOf = [](Kind kind) {
    switch (kind) {
      case Kind::replace:
        return 1;
      case Kind::byte_fallback:
        return 2;
      case Kind::fuse:
        return 3;
      case Kind::strip:
        return 4;
      default:
        return 5;
    }
  };
  int stage = 0;
  bool fused = false;
  for (const schema::DecoderStep* step : *data.decoder()) {
    Kind kind = step->kind();
    if (kind < Kind::MIN || kind > Kind::MAX) return invalidData("tokenizer: unknown decoder step");
    int next = stageOf(kind);
    bool repeats = next == stage && kind != Kind::replace;
    bool alone = next == 5 && data.decoder()->size() != 1;
    if (next < stage || repeats || alone || (kind == Kind::strip && !fused)) {
      return unsupported(std::string("tokenizer: decoder step ") +
                         schema::EnumNameDecoderKind(kind) + " in this place is not supported");
    }
    stage = next;
    std::string pattern = textOf(step->pattern());
    std::string content = textOf(step->content());
    if (!isValidUtf8(pattern) || !isValidUtf8(content)) {
      return invalidData("tokenizer: decoder step is not UTF-8");
    }
    switch (kind) {
      case Kind::replace:
        if (pattern.empty()) return invalidData("tokenizer: decoder replaces nothing");
        rules.replacements.emplace_back(std::move(pattern), std::move(content));
        break;
      case Kind::byte_fallback:
        rules.byte_fallback = true;
        break;
      case Kind::fuse:
        fused = true;
        break;
      case Kind::strip:
        rules.strip = std::move(content);
        rules.strip_count = rules.strip.empty() ? 0 : step->start();
        break;
      case Kind::byte_level:
        rules.bytes = true;
        break;
      case Kind::metaspace:
        if (content.empty()) return invalidData("tokenizer: metaspace without its character");
        rules.metaspace = std::move(content);
        rules.strip_metaspace = step->strip_first();
        break;
    }
  }
  return rules;
}

void PieceDecoder::endByteRun(std::string& text) {
  if (isValidUtf8(byte_run_)) {
    size_t begin = 0;  // of the first character that is not all disowned
    while (begin < disowned_) {
      const size_t end = begin + utf8Length(static_cast<unsigned char>(byte_run_[begin]));
      if (end > disowned_) break;
      begin = end;
    }
    text.append(byte_run_, begin);
  } else {
    for (size_t i = disowned_; i < byte_run_.size(); ++i) text += "\xEF\xBF\xBD";
  }
  byte_run_.clear();
  disowned_ = 0;
}

void PieceDecoder::deliver(std::string_view text, std::string& out) {
  while (strip_left_ > 0 && !text.empty()) {
    if (!text.starts_with(rules_->strip)) {
      strip_left_ = 0;
      break;
    }
    text.remove_prefix(rules_->strip.size());
    --strip_left_;
  }
  out += text;
}

void PieceDecoder::push(std::string_view piece, std::string& out) {
  bool first = std::exchange(first_, false);
  if (rules_->bytes) {
    utf8_.push(piece, out);
    return;
  }
  std::string text;
  if (rules_->byte_fallback) {
    int byte = byteOf(piece);
    if (byte >= 0) {
      byte_run_ += static_cast<char>(byte);
      return;
    }
    endByteRun(text);
  }
  std::string own(piece);
  for (const auto& [pattern, content] : rules_->replacements)
    own = replaceAll(own, pattern, content);
  if (!rules_->metaspace.empty()) {
    own = replaceAll(own, rules_->metaspace, first && rules_->strip_metaspace ? "" : " ");
  }
  if (rules_->join_by_space && !first) text += ' ';
  text += own;
  // Pieces are UTF-8 unless the plan is broken; then they are made so, piece by piece.
  if (!isValidUtf8(text)) {
    std::string repaired;
    LossyUtf8 lossy;
    lossy.push(text, repaired);
    lossy.finish(repaired);
    text = std::move(repaired);
  }
  deliver(text, out);
}

void PieceDecoder::endCharacters(std::string& out) {
  if (!isValidUtf8(byte_run_)) return;
  std::string text;
  endByteRun(text);
  deliver(text, out);
}

void PieceDecoder::disown() {
  std::string dropped;  // it was the beginning of the whole text, if nothing came before it
  deliver(byte_run_, dropped);
  disowned_ = byte_run_.size();
  utf8_.disown();
}

void PieceDecoder::finish(std::string& out) {
  std::string text;
  endByteRun(text);
  deliver(text, out);
  utf8_.finish(out);
}

}  // namespace llmrt
