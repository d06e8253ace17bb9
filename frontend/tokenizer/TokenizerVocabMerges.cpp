// vocab.json and merges.txt, as GPT-2's tokenizer wrote them: byte-level BPE whose splitting the
// class of the tokenizer knows.
#include <filesystem>
#include <map>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/PreTokenizerNames.h"
#include "frontend/tokenizer/TableSteps.h"
#include "frontend/tokenizer/TokenizerConfig.h"
#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/io/json.h"
#include "runtime/io/model_file.h"
#include "runtime/io/printable.h"

namespace llmc {

using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
using nlohmann::json;
namespace schema = llmrt::schema;

namespace {

/// By tokenizer_class; the absent one is GPT-2's.
const std::map<std::string_view, std::string_view>& preTokenizers() {
  static const std::map<std::string_view, std::string_view> names = {{"", "gpt-2"},
                                                                     {"GPT2Tokenizer", "gpt-2"},
                                                                     {"CodeGenTokenizer", "gpt-2"},
                                                                     {"GPTNeoXTokenizer", "olmo"},
                                                                     {"Qwen2Tokenizer", "qwen2"}};
  return names;
}

Status addVocabulary(const json& vocab, const std::string& path, VocabularyBuilder& builder) {
  if (!vocab.is_object()) return llmrt::invalidData(path + ": is not an object of tokens and ids");
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      return llmrt::invalidData(path + ": id of token " + quotedName(token) + " is not a token id");
    }
    Status status = builder.addToken(id.get<int64_t>(), token, kTokenInModel);
    if (!status.ok()) return std::move(status).withContext(path);
  }
  return {};
}

/// "a b" a line; the first line may name a version.
Status addMerges(std::string_view text, const std::string& path, VocabularyBuilder& builder) {
  for (size_t number = 1; !text.empty(); ++number) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    size_t space = line.find(' ');
    std::string where = path + " line " + std::to_string(number);
    if (space == line.npos) return llmrt::invalidData(where + ": is not two tokens");
    Status status = builder.addMerge(line.substr(0, space), line.substr(space + 1));
    if (!status.ok()) return std::move(status).withContext(where);
  }
  return {};
}

}  // namespace

Result<TokenizerTable> readTokenizerVocabMerges(const std::string& vocab_path,
                                                const TokenizerConfig& config) {
  std::string merges_path =
      (std::filesystem::path(vocab_path).parent_path() / "merges.txt").string();
  auto pre_name = preTokenizers().find(config.className());
  if (pre_name == preTokenizers().end()) {
    return llmrt::unsupported(vocab_path + ": how tokenizer_class " +
                              quotedName(config.className()) +
                              " splits text is not known here; give a tokenizer.json");
  }
  const NamedPreTokenizer& pre = *findPreTokenizer(pre_name->second);
  LLMRT_ASSIGN_OR_RETURN(json vocab, llmrt::readJsonFile(vocab_path));
  LLMRT_ASSIGN_OR_RETURN(auto merges, llmrt::openModelFile(merges_path));
  VocabularyBuilder builder(true);
  LLMRT_RETURN_IF_ERROR(addVocabulary(vocab, vocab_path, builder));
  LLMRT_RETURN_IF_ERROR(addMerges(merges.text(), merges_path, builder));
  LLMRT_RETURN_IF_ERROR(config.addTokens(builder));
  auto table = std::make_unique<schema::TokenizerT>();
  table->bos_id = config.namedToken("bos_token", builder);
  table->eos_id = config.namedToken("eos_token", builder);
  table->unk_id = config.namedToken("unk_token", builder);
  // Named, so a token of its own in a text, although the vocabulary has it like any other.
  for (int32_t id : {table->bos_id, table->eos_id, table->unk_id}) {
    if (id < 0 || builder.hasAdded(builder.spelling(id))) continue;
    LLMRT_RETURN_IF_ERROR(builder.addAdded(id, builder.spelling(id), kAddedSpecial));
  }
  if (pre.nfc) addNormalizer(*table, schema::NormalizerKind::nfc);
  if (config.flag("add_prefix_space", false)) {
    table->pre_tokenizer.push_back(std::make_unique<schema::PreTokenizerStepT>());
    table->pre_tokenizer.back()->kind = schema::PreTokenizerKind::prefix_space;
  }
  for (std::string_view regex : pre.splits) LLMRT_RETURN_IF_ERROR(addSplit(*table, regex));
  addDecoder(*table, schema::DecoderKind::byte_level);
  builder.write(false, *table);
  config.applyAround(false, false, *table);
  return table;
}

}  // namespace llmc
