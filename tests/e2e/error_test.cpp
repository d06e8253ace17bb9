// What a user can get wrong at run time: one clear line on stderr, nothing on stdout, exit
// status 1.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>

#include "runtime/schema/plan_generated.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/version.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

namespace fs = std::filesystem;
namespace schema = llmrt::schema;
using testing::HasSubstr;
using testing::StartsWith;

std::string weightsOf(const std::string& plan) {
  return plan.substr(0, plan.rfind('.')) + ".weights";
}

struct Errors : testing::Test {
  std::string plan = compiledPlan(goldenModel("llama_mha"), {});
  ScratchDir dir;

  void SetUp() override { ASSERT_FALSE(plan.empty()); }

  // The line that llmrun says.
  static std::string error(std::vector<std::string> args) {
    args.insert(args.begin(), LLMRUN);
    const Output output = run(args);
    EXPECT_EQ(output.status, 1) << commandLine(args) << '\n' << output.err;
    EXPECT_EQ(output.out, "");
    EXPECT_THAT(output.err, StartsWith("llmrun: error: "));
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
    return output.err;
  }

  // A copy of the plan after `change`, beside the weights that belong to it.
  std::string changedPlan(const std::function<void(schema::PlanT&)>& change) {
    const std::string bytes = readFile(plan);
    const std::unique_ptr<schema::PlanT> unpacked = schema::UnPackPlan(bytes.data());
    change(*unpacked);
    const std::vector<uint8_t> packed = llmrt::packPlan(*unpacked);
    const std::string path = dir / "changed.fb";
    writeFile(path, {reinterpret_cast<const char*>(packed.data()), packed.size()});
    fs::copy_file(weightsOf(plan), dir / "changed.weights", fs::copy_options::overwrite_existing);
    return path;
  }
};

TEST_F(Errors, NoSuchPlan) {
  EXPECT_THAT(error({dir / "none.fb", "--prompt-ids", "1"}), HasSubstr("none.fb: no such file"));
}

TEST_F(Errors, NotAPlan) {
  const std::string weights = weightsOf(plan);
  EXPECT_THAT(error({weights, "--prompt-ids", "1"}), HasSubstr(weights));
}

TEST_F(Errors, WeightsOfAnotherPlan) {
  const std::string other = weightsOf(compiledPlan(goldenModel("llama_gqa_biases"), {}));
  EXPECT_THAT(error({plan, "--weights", other, "--prompt-ids", "1"}),
              testing::AllOf(HasSubstr(other), HasSubstr("plan")));
}

TEST_F(Errors, WeightsThatAreCutShort) {
  const std::string bytes = readFile(weightsOf(plan)), path = dir / "cut.weights";
  for (size_t size : {size_t{0}, size_t{10}, size_t{64}, bytes.size() / 2, bytes.size() - 1}) {
    writeFile(path, bytes.substr(0, size));
    EXPECT_THAT(error({plan, "--weights", path, "--prompt-ids", "1"}), HasSubstr(path)) << size;
  }
}

TEST_F(Errors, WeightsThatWereDamaged) {
  std::string bytes = readFile(weightsOf(plan));
  bytes[bytes.size() / 2] ^= 0x40;
  writeFile(dir / "damaged.weights", bytes);
  EXPECT_THAT(
      error({plan, "--weights", dir / "damaged.weights", "--verify-weights", "--prompt-ids", "1"}),
      HasSubstr("hash"));
}

TEST_F(Errors, WeightsThatMakeNoNumbers) {
  std::string bytes = readFile(weightsOf(plan));
  std::fill(bytes.begin() + sizeof(llmrt::WeightsHeader), bytes.end(), '\xff');
  const std::string path = dir / "damaged.weights";
  writeFile(path, bytes);
  for (const char* more : {"--json", "--temperature=0.7"})
    EXPECT_THAT(error({plan, "--weights", path, "--prompt-ids", "1,2", more}),
                testing::AllOf(HasSubstr("not finite"), HasSubstr("made by embed")));
}

// Sums that f32 does not hold: the op is named that made them, not the ones that met them.
TEST_F(Errors, NumbersBeyondF32NameTheOpAndItsLayer) {
  const std::string f32 = compiledPlan(goldenModel("llama_mha"), {"--dtype", "f32"});
  ASSERT_FALSE(f32.empty());
  const std::string plan_bytes = readFile(f32);
  const schema::Plan& p = *schema::GetPlan(plan_bytes.data());
  std::string bytes = readFile(weightsOf(f32)), op;
  for (const schema::Weight* w : *p.weights()) {
    for (const schema::WeightSource* source : *w->sources()) {
      if (source->name()->str().find("k_proj.weight") == std::string::npos) continue;
      // Of the second layer alone.
      const uint64_t begin = w->offset_bytes() + w->layer_stride_bytes();
      for (uint64_t at = begin; at < begin + w->bytes(); at += sizeof(float)) {
        float value;
        std::memcpy(&value, bytes.data() + at, sizeof value);
        value = std::copysign(3e38f, value);
        std::memcpy(bytes.data() + at, &value, sizeof value);
      }
    }
  }
  for (const schema::Section* section : *p.entry_points()->Get(0)->sections())
    for (const schema::Phase* phase : *section->phases())
      for (const schema::Operand* o : *phase->operands())
        if (o->space() == schema::Space::keys && o->access() != schema::Access::read)
          op = phase->op()->str();
  writeFile(dir / "large.weights", bytes);
  EXPECT_THAT(error({f32, "--weights", dir / "large.weights", "--prompt-ids", "1,2,3"}),
              testing::AllOf(HasSubstr("made by " + op + " of layer 1:"), HasSubstr("--dtype")));
}

TEST_F(Errors, APlanThatIsCutShort) {
  const std::string bytes = readFile(plan), path = dir / "cut.fb";
  for (size_t size : {size_t{0}, size_t{4}, size_t{12}, size_t{100}, bytes.size() / 2,
                      bytes.size() - 64}) {  // the last bytes may be padding
    writeFile(path, bytes.substr(0, size));
    EXPECT_THAT(error({path, "--prompt-ids", "1"}), HasSubstr(path)) << size;
  }
}

TEST_F(Errors, APlanWithOneBitFlipped) {
  std::string bytes = readFile(plan);
  const std::string path = dir / "flipped.fb";
  for (size_t at : {size_t{40}, bytes.size() / 3, bytes.size() - 1}) {
    bytes[at] ^= 0x10;
    writeFile(path, bytes);
    EXPECT_THAT(error({path, "--prompt-ids", "1"}), HasSubstr("corrupt")) << at;
    bytes[at] ^= 0x10;
  }
}

TEST_F(Errors, APlanWithDamagedCode) {
  const std::string path = changedPlan([](schema::PlanT& p) {
    for (auto& target : p.targets) target->image[target->image.size() / 2] ^= 1;
  });
  EXPECT_THAT(error({path, "--prompt-ids", "1"}), HasSubstr("hash of the code"));
}

TEST_F(Errors, APlanOfAnotherSchemaVersion) {
  const std::string path =
      changedPlan([](schema::PlanT& p) { p.schema_version = llmrt::kPlanSchemaVersion + 1; });
  EXPECT_THAT(error({path, "--prompt-ids", "1"}),
              testing::AllOf(HasSubstr("version " + std::to_string(llmrt::kPlanSchemaVersion + 1)),
                             HasSubstr("llmc")));
}

TEST_F(Errors, APlanThatIsUnchangedStillRuns) {
  EXPECT_EQ(llmrunJson(changedPlan([](schema::PlanT&) {}), {"--prompt-ids", "1", "-n", "2"})["ids"]
                .size(),
            2u);
}

TEST_F(Errors, ACodeOnlyPlanNamesTheFlagsThatGiveItWeights) {
  const std::string code_only = compiledPlan(goldenModel("llama_mha"), {"--no-weights"});
  ASSERT_FALSE(code_only.empty());
  EXPECT_FALSE(fs::exists(weightsOf(code_only)));
  EXPECT_THAT(error({code_only, "--prompt-ids", "1"}),
              testing::AllOf(HasSubstr("--weights"), HasSubstr("--synthetic-weights")));
  EXPECT_EQ(llmrunJson(code_only, {"--synthetic-weights", "--prompt-ids", "1", "-n", "3",
                                   "--ignore-eos"})["ids"]
                .size(),
            3u);
}

TEST_F(Errors, APromptThatIsLongerThanTheContext) {
  EXPECT_THAT(error({plan, "--max-seq-len", "4", "--prompt-ids", "1,2,3,4,5"}),
              testing::AllOf(HasSubstr("5"), HasSubstr("4"), HasSubstr("context")));
  const Ids ids = somePrompt(257, 131);  // the model's own context is 256
  EXPECT_THAT(error({plan, "--prompt-ids", joined(ids)}),
              testing::AllOf(HasSubstr("257"), HasSubstr("256")));
}

// No error: a text may end so. The last token generated needs no place in the context.
TEST_F(Errors, AFullContextEndsTheText) {
  const auto json = llmrunJson(
      plan, {"--max-seq-len", "10", "--prompt-ids", "1,5,7", "-n", "50", "--ignore-eos"});
  EXPECT_EQ(json["ids"].size(), 8u);
  EXPECT_EQ(json["finish_reason"], "length");
}

TEST_F(Errors, AContextLongerThanThePlans) {
  EXPECT_THAT(error({plan, "--max-seq-len", "100000", "--prompt-ids", "1"}),
              HasSubstr("--max-seq-len 100000"));
}

TEST_F(Errors, AnIdOutsideTheVocabulary) {
  EXPECT_THAT(error({plan, "--prompt-ids", "1,131"}), HasSubstr("131"));
  EXPECT_THAT(error({plan, "--prompt-ids", "1,-1"}), HasSubstr("-1"));
}

TEST_F(Errors, APlanWithoutATokenizerTakesIdsOnly) {
  EXPECT_THAT(error({plan, "--prompt", "Hello"}),
              testing::AllOf(HasSubstr("tokenizer"), HasSubstr("--prompt-ids")));
}

struct TextErrors : Errors {
  std::string text_plan = compiledPlan(demoModel(), {});
};

TEST_F(TextErrors, APromptThatIsNotUtf8) {
  ASSERT_FALSE(text_plan.empty());
  EXPECT_THAT(error({text_plan, "--prompt", "Once\xff upon"}),
              testing::AllOf(HasSubstr("--prompt"), HasSubstr("UTF-8 at byte 4")));
  writeFile(dir / "prompt", "a \xe2\x82");  // two of the three bytes of a euro sign
  EXPECT_THAT(error({text_plan, "--prompt-file", dir / "prompt"}),
              testing::AllOf(HasSubstr(dir / "prompt"), HasSubstr("UTF-8 at byte 2")));
}

TEST_F(TextErrors, APromptFileThatIsAbsent) {
  EXPECT_THAT(error({text_plan, "--prompt-file", dir / "none"}), HasSubstr("none: no such file"));
}

}  // namespace
}  // namespace e2e
