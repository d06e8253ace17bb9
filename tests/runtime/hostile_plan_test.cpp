// A plan whose hash is right and one of whose numbers is not: whatever the field and the number, it
// is refused or it runs; the process does not crash, nor wait for ever.
//
// What a plan says of its weights' and buffers' meaning cannot be verified (which of two weights of
// a shape, an angle of RoPE), nor what the machine code does with what it is given.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/executor/plan_verify.h"
#include "runtime/generate/generate.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/text/tokenizer.h"
#include "tests/runtime/example_plan.h"
#include "tests/runtime/plan_fields.h"

namespace llmrt {
namespace {

using example::PlanField;
using example::TempDir;

enum Outcome { kRefused, kSameLogits, kOtherLogits };

// What a short generation makes of the plan, beside the logits of an earlier one.
Outcome runPlan(const std::string& path, std::vector<float>* logits_before) {
  Result<std::unique_ptr<Plan>> plan = Plan::open(path);
  if (!plan.ok()) return kRefused;
  std::unique_ptr<ThreadTeam> team = *ThreadTeam::create(1);
  Result<std::unique_ptr<Weights>> weights = Weights::synthesize(**plan, 1, *team);
  if (!weights.ok()) return kRefused;
  Result<std::unique_ptr<Session>> session = Session::create(**plan, **weights, {.threads = 1});
  if (!session.ok()) return kRefused;
  std::optional<Tokenizer> tokenizer;
  if (const auto* data = (*plan)->schema().tokenizer()) {
    Result<Tokenizer> made = Tokenizer::create(data);
    if (!made.ok()) return kRefused;
    tokenizer.emplace(*std::move(made));
    if (!tokenizer->encode("ab Z").ok()) return kRefused;
  }
  GenerateOptions options;
  options.max_tokens = 8;
  options.sampler = defaultSamplerOptions(**plan);
  options.eos_ids = defaultEosIds(**plan, tokenizer ? &*tokenizer : nullptr);
  const std::vector<int32_t> prompt = {3, 7, 11, 2, 9, 20, 1};
  Result<GenerateResult> result =
      generate(**session, tokenizer ? &*tokenizer : nullptr, prompt, options);
  if (!result.ok()) return kRefused;
  (*session)->reset(0);
  if (!(*session)->prefill(0, prompt).ok()) return kRefused;
  const std::span<const float> logits = (*session)->logits();
  const bool same = *logits_before == std::vector<float>(logits.begin(), logits.end());
  logits_before->assign(logits.begin(), logits.end());
  return same ? kSameLogits : kOtherLogits;
}

// A plan with states of every kind and a weight in blocks.
std::vector<uint8_t> wholePlan() {
  schema::PlanT plan = example::plan();
  example::addWindow(plan);
  example::addRecurrent(plan);
  example::addKept(plan);
  example::addBlocks(plan);
  return example::withAllFields(example::serialize(plan));
}

TEST(HostilePlan, EveryFieldWithEveryValueIsRefusedOrRuns) {
  const std::vector<uint8_t> good = wholePlan();
  ASSERT_TRUE(verifyPlan(good).ok()) << verifyPlan(good).status().message();
  const TempDir dir;
  const std::string path = dir / "p.fb";
  example::writeFile(path, good);
  std::vector<float> logits;
  ASSERT_EQ(runPlan(path, &logits), kOtherLogits);
  ASSERT_EQ(runPlan(path, &logits), kSameLogits);

  int runs = 0, refused = 0;
  std::set<std::string> changes;  // fields that are part of what the model is
  for (const PlanField& field : example::fieldsOf(good)) {
    if (field.path == "hash") continue;
    for (const uint64_t value : example::hostileValues(field, good)) {
      if (std::memcmp(good.data() + field.offset, &value, field.bytes) == 0) continue;
      std::vector<uint8_t> bad = good;
      std::memcpy(bad.data() + field.offset, &value, field.bytes);
      storePlanHash(bad);
      ++runs;
      if (!verifyPlan(bad).ok()) {
        ++refused;
        continue;
      }
      example::writeFile(path, bad);
      const pid_t child = fork();
      if (child == 0) {
        alarm(20);
        _exit(runPlan(path, &logits));
      }
      int status = 0;
      waitpid(child, &status, 0);
      EXPECT_TRUE(WIFEXITED(status))
          << field.path << " = " << value << ": signal " << WTERMSIG(status);
      refused += WIFEXITED(status) && WEXITSTATUS(status) == kRefused;
      if (WIFEXITED(status) && WEXITSTATUS(status) == kOtherLogits) changes.insert(field.path);
    }
  }
  EXPECT_GT(runs, 3000);
  EXPECT_GT(refused, runs / 2);
  // What no check can tell from what was meant: one of two buffers of a shape, RoPE's angles, and
  // what synthetic weights are like.
  for (const std::string& changed : changes) {
    const std::string name = changed.substr(changed.rfind('.') + 1);
    EXPECT_TRUE(name == "index" || name.starts_with("inv_freq[") || name == "scale" ||
                name == "kind")
        << changed << " changes the model unseen";
  }
}

}  // namespace
}  // namespace llmrt
