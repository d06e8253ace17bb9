// What Transformers makes of a tokenizer.json and the files beside it;
// tests/golden/make_tokenizer_config_golden.py asked two versions.
#include <nlohmann/json.hpp>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "runtime/io/json.h"
#include "runtime/schema/tokenizer_generated.h"
#include "tests/text/temp_file.h"

namespace llmc {
namespace {

using nlohmann::json;

TEST(TokenizerConfig, TheFilesBesideDecideWhatTheyDecideInTransformers) {
  auto golden = llmrt::readJsonFile(LLMC_TOKENIZER_CONFIG_GOLDEN);
  ASSERT_TRUE(golden.ok()) << golden.status().message();
  const json& cases = (*golden)["cases"];
  ASSERT_GT(cases.size(), 200u);
  for (const json& one : cases) {
    const json& file = (*golden)["tokenizers"][one["tokenizer"].get<size_t>()];
    testing::TempDir dir;
    dir.write("tokenizer.json", file.dump());
    dir.write("tokenizer_config.json", one["config"].dump());
    for (const auto& [name, content] : one["files"].items()) dir.write(name, content.dump());
    std::string what = "pre-tokenizer " + file["pre_tokenizer"].dump() + ", added " +
                       file["added_tokens"][2].dump() + ", " +
                       (file["post_processor"].is_null() ? "" : "a post-processor, ") +
                       one["config"].dump() + " " + one["files"].dump();
    auto table = importTokenizer(dir.path());
    ASSERT_TRUE(table.ok()) << table.status().message() << "\n" << what;
    auto tokenizer = makeTokenizer(**table);
    EXPECT_EQ(tokenizer->bosId(), one["bos"]) << what;
    EXPECT_EQ(tokenizer->eosId(), one["eos"]) << what;
    for (size_t i = 0; i < one["texts"].size(); ++i) {
      auto ids = tokenizer->encode(one["texts"][i].get<std::string>());
      ASSERT_TRUE(ids.ok()) << ids.status().message();
      EXPECT_EQ(json(*ids), one["ids"][i]) << one["texts"][i] << " with " << what;
      EXPECT_EQ(json(tokenizer->decode(*ids)), one["shown"][i]) << one["ids"][i] << what;
    }
  }
}

// The same goes for a tokenizer.model, whose control symbols the config's flags are for as well.
TEST(TokenizerConfig, FlagsOfAddedTokensHoldForSentencePieceToo) {
  testing::TempDir dir;
  std::filesystem::copy(LLMC_TOKENIZER_GOLDEN_DIR "/spm_llama.model",
                        dir.path() + "/tokenizer.model");
  auto idsOf = [&](const char* config) {
    dir.write("tokenizer_config.json", config);
    auto table = importTokenizer(dir.path());
    EXPECT_TRUE(table.ok()) << table.status().message();
    return *makeTokenizer(**table)->encode("</s>  a", {.add_bos = false});
  };
  auto kept = idsOf(R"({"eos_token": "</s>"})");
  auto taken = idsOf(R"({"eos_token": "</s>", "added_tokens_decoder":
      {"2": {"content": "</s>", "rstrip": true, "special": true}}})");
  EXPECT_LT(taken.size(), kept.size());
  EXPECT_EQ(taken.front(), 2);
}

}  // namespace
}  // namespace llmc
