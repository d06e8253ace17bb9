// The files of tests/golden/gguf, which make_gguf_goldens.py writes as llama.cpp's converter would:
// a family each, in BF16.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/e2e/golden_run.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

const std::string kFolder = LLMC_SOURCE_DIR "/tests/golden/gguf";

const nlohmann::json& cases() {
  static const auto* const json =
      new nlohmann::json(nlohmann::json::parse(readFile(kFolder + "/cases.json")));
  return *json;
}

/// Those whose golden has the same layers, the others having no HF form here, and which hold the
/// same numbers.
std::vector<std::string> names(bool with_hf_form) {
  std::vector<std::string> out;
  for (const auto& [name, entry] : cases().items())
    if (!with_hf_form || (entry["layers"].is_null() && !entry.contains("other_bits")))
      out.push_back(name);
  return out;
}

class GgufFamily : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    entry_ = cases()[GetParam()];
    golden_ = goldenOf(entry_["golden"]);
  }

  // The golden's prompt, continued.
  Continuation continuation(const std::string& plan) const {
    const RunningModel model(plan);
    if (!model.ok()) return {};
    const auto session = model.session({.threads = 2});
    if (!session) return {};
    return continueGreedily(*session, golden_["prompt_ids"].get<Ids>(), 20);
  }

  static std::string ggufPlan() {
    return compiledPlan(kFolder + "/" + GetParam() + ".gguf", {"--kv-dtype", "f32"});
  }

  std::string hfPlan() const {
    std::string model = goldenModel(entry_["golden"]);
    std::vector<std::string> flags = {"--dtype", "bf16", "--kv-dtype", "f32"};
    if (!entry_["config"].empty()) {
      nlohmann::json config = nlohmann::json::parse(readFile(model + "/config.json"));
      config.update(entry_["config"]);
      flags.insert(flags.end(), {"--weights", model});
      const std::filesystem::path folder = std::string(PLAN_CACHE_DIR) + "/gguf_configs";
      std::filesystem::create_directories(folder);
      model = (folder / (GetParam() + ".json")).string();
      if (readFile(model) != config.dump()) writeFile(model, config.dump());
    }
    return compiledPlan(model, flags);
  }

  nlohmann::json entry_, golden_;
};

// Or the golden's ids, where llama.cpp does not read so small a model of the family.
TEST_P(GgufFamily, ChoosesTheTokensThatLlamaCppChooses) {
  const bool of_llama_cpp = !entry_["llama_cpp_ids"].is_null();
  const nlohmann::json* run = goldenRun(golden_, "bf16", "bf16");
  ASSERT_TRUE(run);
  ASSERT_TRUE(of_llama_cpp || entry_["config"].empty());
  EXPECT_EQ(continuation(ggufPlan()).ids,
            (of_llama_cpp ? entry_["llama_cpp_ids"] : (*run)["greedy_ids"]).get<Ids>());
}

INSTANTIATE_TEST_SUITE_P(, GgufFamily, testing::ValuesIn(names(/*with_hf_form=*/false)),
                         [](const auto& info) { return info.param; });

class GgufFamilyBits : public GgufFamily {};

TEST_P(GgufFamilyBits, AreThoseOfTheHuggingFaceForm) {
  expectSameBits(continuation(ggufPlan()), continuation(hfPlan()));
}

LLMC_INSTANTIATE_SWEEP(GgufFamilyBits, llmc_tests::everyNth(names(/*with_hf_form=*/true), 3),
                       [](const auto& info) { return info.param; });

}  // namespace
}  // namespace e2e
