#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <optional>

#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/added_tokens.h"
#include "runtime/text/bpe.h"
#include "runtime/text/decoder.h"
#include "runtime/text/normalizer.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/unigram.h"
#include "runtime/text/utf8.h"
#include "runtime/text/vocabulary.h"

namespace llmrt {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;
// Of added_flags.
constexpr uint8_t kSpecial = 1, kLstrip = 2, kRstrip = 4, kSingleWord = 8, kNormalized = 16;

}  // namespace

struct Tokenizer::Impl {
  struct Scratch {
    BpeModel::Scratch bpe;
    UnigramModel::Scratch unigram;
  };

  Vocabulary vocabulary;
  std::optional<BpeModel> bpe;  // one of the two
  std::optional<UnigramModel> unigram;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  DecoderRules decoder;
  AddedTokenMatcher raw_tokens;         // looked for in the text as it is
  AddedTokenMatcher normalized_tokens;  // and in the normalized text
  std::vector<int32_t> prefix, suffix;
  int32_t bos_id = -1;
  int32_t eos_id = -1;

  Status readModel(const schema::Tokenizer& data);
  Status readAddedTokens(const schema::Tokenizer& data);
  Status encodeText(std::string_view text, bool at_start, bool parse_special, Scratch& scratch,
                    std::vector<int32_t>& ids) const;
};

Status Tokenizer::Impl::readModel(const schema::Tokenizer& data) {
  if (data.kind() < schema::TokenizerKind::MIN || data.kind() > schema::TokenizerKind::MAX) {
    return invalidData("tokenizer: unknown kind");
  }
  LLMRT_ASSIGN_OR_RETURN(vocabulary, Vocabulary::create(data));
  if (data.kind() == schema::TokenizerKind::unigram) {
    LLMRT_ASSIGN_OR_RETURN(unigram, UnigramModel::create(data, vocabulary));
    return {};
  }
  LLMRT_ASSIGN_OR_RETURN(bpe, BpeModel::create(data, vocabulary));
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    std::string_view piece = vocabulary.piece(id);
    if (!vocabulary.has(id, Vocabulary::kUserDefined) || piece.empty()) continue;
    if (!isValidUtf8(piece)) return invalidData("tokenizer: a user-defined symbol is not UTF-8");
    normalized_tokens.add(piece, {.id = id});
  }
  return {};
}

Status Tokenizer::Impl::readAddedTokens(const schema::Tokenizer& data) {
  uint32_t count = data.added_ids() ? data.added_ids()->size() : 0;
  if (count == 0) return {};
  if (!data.added_contents() || !data.added_offsets() ||
      data.added_offsets()->size() != count + 1 || !data.added_flags() ||
      data.added_flags()->size() != count) {
    return invalidData("tokenizer: added token arrays differ in length");
  }
  std::string_view contents(reinterpret_cast<const char*>(data.added_contents()->data()),
                            data.added_contents()->size());
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t begin = data.added_offsets()->Get(i);
    uint32_t end = data.added_offsets()->Get(i + 1);
    uint32_t id = data.added_ids()->Get(i);
    uint8_t flags = data.added_flags()->Get(i);
    if (begin >= end || end > contents.size() || id >= static_cast<uint32_t>(vocabulary.size()) ||
        !isValidUtf8(contents.substr(begin, end - begin))) {
      return invalidData("tokenizer: added token " + std::to_string(i) + " is broken");
    }
    AddedToken token{static_cast<int32_t>(id), (flags & kSpecial) != 0, (flags & kLstrip) != 0,
                     (flags & kRstrip) != 0, (flags & kSingleWord) != 0};
    std::string content(contents.substr(begin, end - begin));
    if ((flags & kNormalized) != 0) {
      LLMRT_ASSIGN_OR_RETURN(content, normalizer.normalize(content));
      if (!content.empty()) normalized_tokens.add(content, token);
    } else {
      raw_tokens.add(content, token);
    }
  }
  return {};
}

Status Tokenizer::Impl::encodeText(std::string_view text, bool at_start, bool parse_special,
                                   Scratch& scratch, std::vector<int32_t>& ids) const {
  std::string normalized;
  if (!normalizer.empty()) {
    LLMRT_ASSIGN_OR_RETURN(normalized, normalizer.normalize(text));
    text = normalized;
    if (text.size() >= UINT32_MAX - 1) return invalidArgument("text is too large once normalized");
  }
  std::vector<AddedTokenMatcher::Segment> segments;
  normalized_tokens.split(text, parse_special, segments);
  for (const auto& segment : segments) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    PreTokenizer::Words words;
    bool first = at_start && segment.text.data() == text.data();
    LLMRT_RETURN_IF_ERROR(pre_tokenizer.split(segment.text, first, words));
    for (std::string_view word : words.words) {
      if (bpe) {
        bpe->encode(word, scratch.bpe, ids);
      } else {
        unigram->encode(word, scratch.unigram, ids);
      }
    }
  }
  return {};
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::create(const schema::Tokenizer* data) {
  if (!data) return invalidArgument("there is no tokenizer");
  auto impl = std::make_unique<Impl>();
  LLMRT_RETURN_IF_ERROR(impl->readModel(*data));
  LLMRT_ASSIGN_OR_RETURN(impl->normalizer, Normalizer::create(*data, impl->vocabulary));
  LLMRT_ASSIGN_OR_RETURN(impl->pre_tokenizer, PreTokenizer::create(*data));
  LLMRT_ASSIGN_OR_RETURN(impl->decoder, DecoderRules::create(*data));
  LLMRT_RETURN_IF_ERROR(impl->readAddedTokens(*data));
  auto vocab_size = static_cast<uint32_t>(impl->vocabulary.size());
  auto readIds = [&](const flatbuffers::Vector<uint32_t>* from, std::vector<int32_t>& to) {
    if (!from) return true;
    to.assign(from->begin(), from->end());
    return std::all_of(from->begin(), from->end(), [&](uint32_t id) { return id < vocab_size; });
  };
  if (!readIds(data->prefix_ids(), impl->prefix) || !readIds(data->suffix_ids(), impl->suffix)) {
    return invalidData("tokenizer: prefix or suffix id out of range");
  }
  impl->bos_id = data->bos_id();
  impl->eos_id = data->eos_id();
  for (int32_t id : {impl->bos_id, impl->eos_id}) {
    if (id < -1 || id >= static_cast<int64_t>(vocab_size)) {
      return invalidData("tokenizer: bos_id or eos_id out of range");
    }
  }
  return Tokenizer(std::move(impl));
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() > kMaxTextBytes) return invalidArgument("text is larger than 1 GiB");
  size_t invalid = findInvalidUtf8(text);
  if (invalid != text.size()) {
    return invalidArgument("text is not UTF-8 at byte " + std::to_string(invalid));
  }
  std::vector<int32_t> ids;
  if (options.add_bos) ids = impl_->prefix;
  std::vector<AddedTokenMatcher::Segment> segments;
  impl_->raw_tokens.split(text, options.parse_special, segments);
  Impl::Scratch scratch;
  if (impl_->bpe) scratch.bpe.prepareCache(text.size());
  for (const auto& segment : segments) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      bool at_start = segment.text.data() == text.data();
      LLMRT_RETURN_IF_ERROR(
          impl_->encodeText(segment.text, at_start, options.parse_special, scratch, ids));
    }
  }
  if (scratch.bpe.unk_wanted) {
    return invalidArgument(
        "text has characters without a token, and the tokenizer's unk_token is no token of its "
        "model");
  }
  if (options.add_bos) ids.insert(ids.end(), impl_->suffix.begin(), impl_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  PieceDecoder decoder(impl_->decoder);
  std::string out;
  for (int32_t id : ids) {
    if (id < 0 || id >= vocabSize() || (skip_special && isSpecial(id))) continue;
    decoder.push(piece(id), out);
  }
  decoder.finish(out);
  return out;
}

bool Tokenizer::isSpecial(int32_t id) const {
  return id >= 0 && id < vocabSize() && impl_->vocabulary.has(id, Vocabulary::kSpecial);
}

int32_t Tokenizer::bosId() const { return impl_->bos_id; }
int32_t Tokenizer::eosId() const { return impl_->eos_id; }
int32_t Tokenizer::vocabSize() const { return impl_->vocabulary.size(); }

std::string_view Tokenizer::piece(int32_t id) const {
  return id >= 0 && id < vocabSize() ? impl_->vocabulary.piece(id) : std::string_view();
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer),
      skip_special_(skip_special),
      decoder_(std::make_unique<PieceDecoder>(tokenizer.impl_->decoder)) {}
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::push(int32_t id) {
  std::string out;
  if (id < 0 || id >= tokenizer_->vocabSize() || (skip_special_ && tokenizer_->isSpecial(id))) {
    return out;
  }
  decoder_->push(tokenizer_->piece(id), out);
  return out;
}

void StreamDecoder::continueAfter(std::span<const int32_t> ids) {
  for (const int32_t id : ids) (void)push(id);
  decoder_->disown();
}

std::string StreamDecoder::endCharacters() {
  std::string out;
  decoder_->endCharacters(out);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  decoder_->finish(out);
  return out;
}

}  // namespace llmrt
