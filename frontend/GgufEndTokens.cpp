#include "frontend/GgufEndTokens.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <string_view>

#include "runtime/io/printable.h"

namespace llmc {
namespace {

using llmrt::GgufFile;
using llmrt::invalidData;
using llmrt::quotedName;
using llmrt::Result;

constexpr std::string_view kTexts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",
    "<|end_of_text|>", "</s>", "<EOT>", "_<EOT>",
    // Kimi K2, MiniMax, SmolDocling
    "[EOT]", "[EOS]", "[e~[", "<end_of_utterance>",
    // gpt-oss and Solar Open
    "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
    // Gemma 4
    "<eos>", "<turn|>", "<|tool_response>",
    // DeepSeek
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
    // Of code: padding, the next repository and the next file
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", "<|fim_repo|>", "<|repo_name|>",
    "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>"};

}  // namespace

Result<std::vector<int64_t>> endTokensOfGguf(const GgufFile& file, int64_t eos_id) {
  std::set<int64_t> ids;
  for (const char* name : {"eot", "eom", "fim_pad", "fim_rep", "fim_sep"}) {
    const std::string key = std::string("tokenizer.ggml.") + name + "_token_id";
    LLMRT_ASSIGN_OR_RETURN(auto id, file.getInt(key));
    if (!id || *id == std::numeric_limits<uint32_t>::max() || *id == -1) continue;  // none
    if (*id < 0 || *id > std::numeric_limits<int32_t>::max())
      return invalidData("metadata " + quotedName(key) + " is " + std::to_string(*id) +
                         ", expected a token id");
    ids.insert(*id);
  }
  LLMRT_ASSIGN_OR_RETURN(auto tokens, file.getStrings("tokenizer.ggml.tokens"));
  std::set<std::string_view> texts;
  int64_t message_end = -1, html_end = -1;
  for (size_t i = 0; tokens && i < tokens->size(); ++i) {
    const std::string_view text = (*tokens)[i];
    if (std::find(std::begin(kTexts), std::end(kTexts), text) == std::end(kTexts)) continue;
    const auto id = static_cast<int64_t>(i);
    ids.insert(id);
    texts.insert(text);
    if (text == "<|end|>") message_end = id;
    if (text == "</s>") html_end = id;
  }
  // gpt-oss and Solar Open say several messages in a turn, each of which <|end|> ends.
  const bool calls = texts.contains("<|call|>") || texts.contains("<|calls|>");
  if (calls && (texts.contains("<|return|>") || texts.contains("<|flush|>")))
    ids.erase(message_end);
  // To Gemma 4 it is HTML.
  if (texts.contains("<|tool_response>")) ids.erase(html_end);

  ids.erase(eos_id);
  std::vector<int64_t> out;
  if (eos_id >= 0) out.push_back(eos_id);
  out.insert(out.end(), ids.begin(), ids.end());
  return out;
}

}  // namespace llmc
