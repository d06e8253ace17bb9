// What lies beside a vocabulary and says how it is used: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/io/status.h"
#include "runtime/schema/tokenizer_generated.h"

namespace llmc {

class TokenizerConfig {
 public:
  TokenizerConfig() = default;
  /// Reads what there is in `directory`; absent files say nothing.
  static llmrt::Result<TokenizerConfig> read(const std::string& directory);

  /// tokenizer_class without "Fast"; empty where there is none.
  std::string className() const;
  /// A member of tokenizer_config.json.
  bool flag(const char* name, bool absent) const;
  bool has(const char* name) const;

  /// The tokens it adds to those that `builder` has, with the ids that it gives them, and other
  /// flags for those that are added already.
  llmrt::Status addTokens(VocabularyBuilder& builder) const;
  /// The same as Transformers does it behind a tokenizer.json: added_tokens_decoder, or
  /// added_tokens.json where there is none, then what is named bos_token, eos_token, ... and is not
  /// added yet. The ids are addNext()'s, whatever the files say.
  llmrt::Status addTokensNext(VocabularyBuilder& builder) const;

  /// The id of bos_token, eos_token, ...; -1 where it is not named or not in the vocabulary. Where
  /// tokenizer_config.json has no added_tokens_decoder, special_tokens_map.json goes before it.
  int32_t namedToken(const char* name, const VocabularyBuilder& builder) const;
  /// Puts BOS before and EOS behind a text as add_bos_token and add_eos_token say; the arguments
  /// are what their absence means.
  void applyAround(bool add_bos, bool add_eos, llmrt::schema::TokenizerT& table) const;

 private:
  /// A member as special_tokens_map.json or tokenizer_config.json has it, whichever goes first.
  const nlohmann::json& named(const char* name) const;
  /// The contents of all named tokens.
  std::set<std::string> namedContents() const;
  /// added_tokens_decoder, by id.
  llmrt::Result<std::map<int64_t, const nlohmann::json*>> decoderTokens() const;

  nlohmann::json config_, special_, added_;
};

/// Bits of AddedFlag in tokenizer.json's spelling.
uint8_t addedFlags(const nlohmann::json& token);
/// One entry of added_tokens.
llmrt::Status addJsonToken(const nlohmann::json& token, const nlohmann::json& id,
                           VocabularyBuilder& builder);

/// Members of a JSON object, with a default where absent or null; wrong kinds count as absent.
std::string stringMember(const nlohmann::json& object, const char* name);
bool boolMember(const nlohmann::json& object, const char* name, bool absent);
/// Null where absent.
const nlohmann::json& member(const nlohmann::json& object, const char* name);

}  // namespace llmc
