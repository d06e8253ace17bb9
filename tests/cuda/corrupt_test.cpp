// A plan whose launches lie: every field of cuda_launches, hostile, is one line and exit status 1.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "tests/cuda/fake_run.h"

namespace llmc::test {
namespace {

using llmrt::schema::CudaLaunchT;
using llmrt::schema::PlanT;
using testing::HasSubstr;

/// The launches of the code that the fake GPU runs.
std::vector<std::unique_ptr<CudaLaunchT>>& launches(PlanT& p) {
  return std::find_if(p.targets.begin(), p.targets.end(),
                      [](const auto& t) { return t->name == "cuda:sm_80"; })
      ->get()
      ->cuda_launches;
}
/// One that decoding a token cannot do without: a product of one row.
CudaLaunchT& launch(PlanT& p) {
  return **std::find_if(launches(p).begin(), launches(p).end(),
                        [](const auto& l) { return l->symbol.ends_with("_1row"); });
}

/// A product of many rows: what packs them, then what multiplies.
std::vector<std::unique_ptr<CudaLaunchT>>::iterator prefillProduct(PlanT& p) {
  return std::find_if(launches(p).begin(), launches(p).end(),
                      [](const auto& l) { return l->symbol.ends_with("_pack"); });
}

struct Corruption {
  const char* message;
  std::function<void(PlanT&)> change;
};

const Corruption kCorruptions[] = {
    {"]: kernel 4294967295 of", [](PlanT& p) { launch(p).kernel = ~0u; }},
    {"launch 2 for 1 rows says it is 1 of 1",
     [](PlanT& p) { launch(p).kernel = launch(p).kernel == 0 ? 1 : 0; }},
    {"]: symbol is no name", [](PlanT& p) { launch(p).symbol.clear(); }},
    {"]: symbol is no name", [](PlanT& p) { launch(p).symbol = "two\nlines"; }},
    {"]: symbol llmc_sample is not an op's", [](PlanT& p) { launch(p).symbol = "llmc_sample"; }},
    {"]: symbol llmc_relayout_f32", [](PlanT& p) { launch(p).symbol = "llmc_relayout_f32"; }},
    {"kernel 'no_such_kernel': CUDA_ERROR_NOT_FOUND",
     [](PlanT& p) { launch(p).symbol = "no_such_kernel"; }},
    {"]: rows 0 to", [](PlanT& p) { launch(p).min_rows = 0; }},
    {"]: rows 9 to 8", [](PlanT& p) { launch(p).min_rows = 9, launch(p).max_rows = 8; }},
    {"to 4294967295", [](PlanT& p) { launch(p).max_rows = ~0u; }},
    {"has no launch for 1 rows", [](PlanT& p) { launch(p).min_rows = launch(p).max_rows = 2; }},
    {"has no launch for",
     [](PlanT& p) {
       auto& all = launches(p);
       all.erase(std::find_if(all.rbegin(), all.rend(), [](const auto& l) { return l->parts == 1; })
                     .base() -
                 1);
     }},
    // Rows would be packed and not multiplied.
    {"has 1 of 2 launches for 21 rows", [](PlanT& p) { prefillProduct(p)[1]->max_rows = 20; }},
    // Of no number of rows is the product there, or the packing.
    {"has 1 of 2 launches for 1 rows", [](PlanT& p) { launches(p).erase(prefillProduct(p) + 1); }},
    {"launch 1 for 1 rows says it is 2 of 2",
     [](PlanT& p) { launches(p).erase(prefillProduct(p)); }},
    {"launch 1 for 1 rows says it is 2 of 2",
     [](PlanT& p) { std::iter_swap(prefillProduct(p), prefillProduct(p) + 1); }},
    {"]: part 1 of 1", [](PlanT& p) { prefillProduct(p)[1]->parts = 1; }},
    {"]: part 0 of 0", [](PlanT& p) { launch(p).parts = 0; }},
    {"]: part 0 of 97", [](PlanT& p) { launch(p).parts = 97; }},
    // Then PTX is what is left, and the fake has no compiler for it.
    {"cuda:compute_80: CUDA_ERROR_INVALID_IMAGE", [](PlanT& p) { launches(p).clear(); }},
    {"]: threads is 0", [](PlanT& p) { launch(p).threads = 0; }},
    {"]: threads is 1025", [](PlanT& p) { launch(p).threads = 1025; }},
    {"]: blocks is 0", [](PlanT& p) { launch(p).blocks = 0; }},
    {"]: blocks is 4294967295", [](PlanT& p) { launch(p).blocks = ~0u; }},
    {"]: rows_per_block is 1 of 1048576 rows",
     [](PlanT& p) { launch(p).rows_per_block = 1, launch(p).max_rows = 1 << 20; }},
    {"]: tokens_per_block is 1",
     [](PlanT& p) { launch(p).tokens_per_block = 1, p.model->max_seq_len = 1 << 20; }},
    {"]: dynamic_shared_bytes is 4294967295",
     [](PlanT& p) { launch(p).dynamic_shared_bytes = ~0u; }},
    {"(Fake GPU): CUDA_ERROR_INVALID_VALUE",
     [](PlanT& p) { launch(p).dynamic_shared_bytes = 900 << 10; }},
    {"]: shared_bytes is 4294967295", [](PlanT& p) { launch(p).shared_bytes = ~0u; }},
    {"has more than 96 launches",
     [](PlanT& p) {
       for (int i = 0; i < 97; ++i) launches(p).push_back(std::make_unique<CudaLaunchT>(launch(p)));
     }},
    // All kernels of an image take one type, which has so many.
    {"operands, kernels take 1",
     [](PlanT& p) {
       for (auto& t : p.targets) t->cuda_operands = std::min(t->cuda_operands, 1u);
     }},
    {"].cuda_operands is 65",
     [](PlanT& p) {
       for (auto& t : p.targets)
         if (!t->cuda_launches.empty()) t->cuda_operands = 65;
     }},
    {"scratch_bytes is 0: it begins with 65536 of counters",
     [](PlanT& p) {
       for (auto& t : p.targets)
         if (!t->cuda_launches.empty()) t->scratch_bytes = 0;
     }},
    {"has CUDA ABI version 77",
     [](PlanT& p) {
       for (auto& t : p.targets)
         if (!t->cuda_launches.empty()) t->abi_version = 77;
     }},
};

TEST(CudaCorrupt, EveryFieldOfALaunchIsRefusedInOneLine) {
  const std::string good =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  ASSERT_NE(good, "");
  const e2e::ScratchDir dir;
  const std::string bad = dir / "p.fb";
  for (const Corruption& c : kCorruptions) {
    SCOPED_TRACE(c.message);
    rewritePlan(good, bad, c.change);
    const e2e::Output output =
        runWithFakes({LLMRUN, bad, "--device", "cuda", "--synthetic-weights", "--prompt-ids",
                      "1,2,3", "-n", "3", "--max-seq-len", "64"});
    EXPECT_EQ(output.status, 1) << output.out;
    EXPECT_THAT(output.err, HasSubstr(c.message));
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
  }
}

// What cannot be told from the plan alone is the driver's to refuse, at the first step that
// launches it.
TEST(CudaCorrupt, ALaunchThatTheDriverRefusesIsOneLine) {
  const std::string good =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  ASSERT_NE(good, "");
  const e2e::ScratchDir dir;
  // More than the kernel was compiled for.
  rewritePlan(good, dir / "p.fb", [](PlanT& p) { launch(p).threads = 1024; });
  const e2e::Output output =
      runWithFakes({LLMRUN, dir / "p.fb", "--device", "cuda", "--synthetic-weights", "--prompt-ids",
                    "1,2,3", "-n", "3"});
  EXPECT_EQ(output.status, 1) << output.out;
  EXPECT_THAT(output.err, HasSubstr("CUDA_ERROR_INVALID_VALUE"));
  EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
}

}  // namespace
}  // namespace llmc::test
