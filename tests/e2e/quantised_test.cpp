// Quantised GGUF files: the values that are stored, computed with as F32 files' are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "runtime/executor/cpu_features.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/stored_blocks.h"
#include "tests/e2e/emulated_aarch64.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"
#include "tests/io/checkpoint_files.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

using llmc_tests::GgufWriter;
using llmc_tests::rawBytes;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint32_t kF32 = 0, kF16 = 1, kBF16 = 30, kQ4_0 = 2, kQ4_K = 12;

/// A tensor's bytes, and the same values in F32.
struct Stored {
  std::string bytes;
  std::vector<float> values;
};

/// Random blocks whose values are of a trained model's size: scales are at most 2^-13 times what
/// the other bits make of a value, minimums too.
Stored storedBlocks(const llmrt::StoredBlocks& blocks, int64_t values, std::mt19937& rng) {
  const llmrt::WeightFormat& format = *blocks.format;
  Stored out;
  out.values.resize(static_cast<size_t>(values));
  for (int64_t at = 0; at < values; at += format.block) {
    std::string block(static_cast<size_t>(blocks.bytes), '\0');
    for (char& byte : block) byte = static_cast<char>(rng());
    const bool subs = format.quant.sub_block != 0;
    for (const int64_t place : {blocks.scale_at, blocks.min_at}) {
      if (place < 0) continue;
      if (format.planes[1].dtype == llmrt::DType::kHalfE8M0) {
        block[static_cast<size_t>(place)] = static_cast<char>(120 + rng() % 4);
        continue;
      }
      const float scale = (subs ? 0x1p-15f : 0x1p-10f) * static_cast<float>(1 + rng() % 8) *
                          (rng() % 2 ? 1.0f : -1.0f);
      const uint16_t bits = llmrt::f32ToF16(scale);
      std::memcpy(block.data() + place, &bits, 2);
    }
    llmrt::StoredBlock planes;
    blocks.readPlanes(reinterpret_cast<const uint8_t*>(block.data()), planes.planes);
    llmrt::decodeBlock(format, planes.planes, out.values.data() + at);
    out.bytes += block;
  }
  return out;
}

Stored storedPlain(uint32_t type, int64_t values, std::mt19937& rng) {
  const auto dtype = type == kF32   ? llmrt::DType::kF32
                     : type == kF16 ? llmrt::DType::kF16
                                    : llmrt::DType::kBF16;
  Stored out;
  out.bytes.resize(static_cast<size_t>(values * llmrt::dtypeBytes(dtype)));
  auto* const data = reinterpret_cast<uint8_t*>(out.bytes.data());
  for (int64_t i = 0; i < values; ++i) {
    llmrt::storeFromF32(dtype, data, i, static_cast<float>(static_cast<int32_t>(rng())) * 0x1p-35f);
    out.values.push_back(llmrt::loadAsF32(dtype, data, i));
  }
  return out;
}

/// A random llama whose matrices have all types there are, v_proj and down_proj other ones in every
/// layer; or the same values in F32. With `experts` it is a Mixtral, whose gate and up projections
/// have one type unless they are `mixed`.
class MixedModel {
 public:
  explicit MixedModel(bool f32, uint64_t experts = 0, bool mixed = false)
      : f32_(f32), experts_(experts) {
    matrix("token_embd", 14, {kVocab, kHidden});
    vector("output_norm");
    matrix("output", 23, {kVocab, kHidden});
    const uint32_t v_types[] = {14, 12, 12, 8}, down_types[] = {kF16, 13, 20, kBF16};
    for (int layer = 0; layer < kLayers; ++layer) {
      prefix_ = "blk." + std::to_string(layer) + ".";
      vector("attn_norm");
      vector("ffn_norm");
      matrix("attn_q", 12, {kHidden, kHidden});
      matrix("attn_k", layer < 3 ? 12 : 39, {kHidden / 2, kHidden});
      matrix("attn_v", v_types[layer], {kHidden / 2, kHidden});
      matrix("attn_output", layer < 2 ? 10 : 11, {kHidden, kHidden});
      if (experts_ > 0) matrix("ffn_gate_inp", kF32, {experts_, kHidden});
      mlp("ffn_gate", layer < 2 ? 2 : 6);
      const bool same = experts_ > 0 && !mixed;
      mlp("ffn_up", same ? (layer < 2 ? 2 : 6) : (layer < 2 ? 3 : 7));
      mlp("ffn_down", down_types[layer]);
    }
  }
  std::string bytes() const { return part(0, 1); }
  /// Part `number` of `count`, with as many tensors each.
  std::string part(uint32_t number, uint32_t count) const {
    GgufWriter writer = metadata();
    if (experts_ > 0)
      writer.addUint("llama.expert_count", static_cast<uint32_t>(experts_))
          .addUint("llama.expert_used_count", 2);
    if (count > 1)
      writer.addUint("split.no", number)
          .addUint("split.count", count)
          .addUint("split.tensors.count", static_cast<uint32_t>(tensors_.size()));
    const size_t end = tensors_.size() * (number + 1) / count;
    for (size_t i = tensors_.size() * number / count; i < end; ++i)
      writer.tensor(tensors_[i].name, tensors_[i].type, tensors_[i].shape, tensors_[i].bytes);
    return writer.bytes();
  }

  static constexpr int kLayers = 4;
  static constexpr uint64_t kHidden = 256, kVocab = 96;

  static GgufWriter metadata() {
    GgufWriter writer;
    writer.addString("general.architecture", "llama")
        .addFloat("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (const auto& [key, value] : {std::pair{"embedding_length", kHidden},
                                     {"feed_forward_length", kHidden},
                                     {"block_count", uint64_t{kLayers}},
                                     {"attention.head_count", uint64_t{4}},
                                     {"attention.head_count_kv", uint64_t{2}},
                                     {"context_length", uint64_t{64}},
                                     {"vocab_size", kVocab}})
      writer.addUint(std::string("llama.") + key, static_cast<uint32_t>(value));
    return writer;
  }

 private:
  void mlp(const std::string& name, uint32_t type) {
    if (experts_ > 0)
      matrix(name + "_exps", type, {experts_, kHidden, kHidden});
    else
      matrix(name, type, {kHidden, kHidden});
  }
  void matrix(const std::string& name, uint32_t type, const std::vector<uint64_t>& shape) {
    int64_t values = 1;
    for (const uint64_t size : shape) values *= static_cast<int64_t>(size);
    const llmrt::StoredBlocks* blocks = llmrt::ggmlBlocks(type);
    const Stored stored =
        blocks ? storedBlocks(*blocks, values, rng_) : storedPlain(type, values, rng_);
    tensors_.push_back({prefix_ + name + ".weight", f32_ ? kF32 : type, shape,
                        f32_ ? rawBytes(stored.values) : stored.bytes});
  }
  void vector(const std::string& name) {
    tensors_.push_back({prefix_ + name + ".weight",
                        kF32,
                        {kHidden},
                        rawBytes(std::vector<float>(kHidden, 1.25f))});
  }

  struct TensorData {
    std::string name;
    uint32_t type;
    std::vector<uint64_t> shape;
    std::string bytes;
  };

  const bool f32_;
  const uint64_t experts_;
  std::mt19937 rng_{7};
  std::string prefix_;
  std::vector<TensorData> tensors_;
};

// Every value is what the block says, to the bit, and products sum in one order whatever the type:
// so all logits have the same bits.
void expectBitsOfF32(uint64_t experts) {
  const ScratchDir dir;
  std::vector<std::vector<Logits>> logits;
  for (const bool f32 : {true, false}) {
    const std::string file = dir / (f32 ? "f32.gguf" : "mixed.gguf");
    writeFile(file, MixedModel(f32, experts).bytes());
    const RunningModel model(compiledPlan(file, {"--kv-dtype", "f32", "--activations", "float"}));
    ASSERT_TRUE(model.ok());
    const auto session = model.session({.threads = 2});
    ASSERT_TRUE(session);
    logits.push_back(continueGreedily(*session, somePrompt(40, MixedModel::kVocab), 8).logits);
  }
  ASSERT_EQ(logits[0].size(), 8u);
  for (size_t step = 0; step < logits[0].size(); ++step) {
    const auto [least, most] = std::minmax_element(logits[0][step].begin(), logits[0][step].end());
    EXPECT_GT(*most - *least, 0.1f);  // they say something
    EXPECT_EQ(logits[0][step], logits[1][step]) << "step " << step;
  }
}

TEST(QuantisedGguf, EveryTypeInOneFileComputesWhatItsValuesInF32Do) { expectBitsOfF32(0); }

// A tensor holds all experts of a layer.
TEST(QuantisedGguf, ExpertsComputeWhatTheirValuesInF32Do) { expectBitsOfF32(3); }

/// Of two models' logits: the root of the mean square of their difference, as a share of the
/// second's.
double relativeError(const Logits& got, const Logits& want) {
  double errors = 0, squares = 0;
  for (size_t v = 0; v < want.size(); ++v) {
    errors += std::pow(double(got[v]) - want[v], 2);
    squares += double(want[v]) * want[v];
  }
  return std::sqrt(errors / squares);
}

// Sums of integers have no order, and what follows them has one.
TEST(QuantisedGguf, Int8ActivationsGiveTheSameBitsOnEveryCpuAndInAnyChunks) {
  const ScratchDir dir;
  const std::string file = dir / "mixed.gguf";
  writeFile(file, MixedModel(false).bytes());
  std::string targets = "x86-64-v3";
  std::vector<std::string> emulated = {"aarch64-i8mm"};
  if (llmc_tests::fullTests()) {
    targets += ",x86-64-v4";
    emulated = {"aarch64", "aarch64-dotprod", "aarch64-i8mm"};
  }
  for (const std::string& target : emulated) targets += ',' + target;
  const std::string plan = compiledPlan(file, {"--kv-dtype", "f32", "--target", targets});
  const RunningModel v3(plan, "x86-64-v3");
  ASSERT_TRUE(v3.ok());
  const Ids prompt = somePrompt(40, MixedModel::kVocab);
  const Continuation expected = continueGreedily(*v3.session({.threads = 1}), prompt, 8);
  expectSameBits(continueGreedily(*v3.session({.threads = 2, .prefill_chunk = 1}), prompt, 8),
                 expected);
  const auto here = llmrt::supportedCpuTargets();
  if (llmc_tests::fullTests() && std::find(here.begin(), here.end(), "x86-64-v4") != here.end()) {
    const RunningModel v4(plan, "x86-64-v4");
    ASSERT_TRUE(v4.ok());
    expectSameBits(continueGreedily(*v4.session({.threads = 2, .prefill_chunk = 7}), prompt, 8),
                   expected);
  }
  // Near what floats give: 127 steps to each side, in groups of blocks.
  const RunningModel floats(compiledPlan(file, {"--kv-dtype", "f32", "--activations", "float"}));
  ASSERT_TRUE(floats.ok());
  const double error = relativeError(prefill(*v3.session({.threads = 1}), prompt),
                                     prefill(*floats.session({.threads = 1}), prompt));
  EXPECT_GT(error, 0);
  EXPECT_LT(error, 0.03);
  E2E_NEED_QEMU();
  for (const std::string& target : emulated)
    expectTheSameBitsOnAarch64(plan, *v3.session({.threads = 1}), prompt, 3, target);
}

// v has another type than q and k in half of the layers: each is multiplied as it is alone.
TEST(QuantisedGguf, ProjectionsOfSeveralTypesAreFusedToTheSameBits) {
  const ScratchDir dir;
  const std::string file = dir / "mixed.gguf";
  writeFile(file, MixedModel(false).bytes());
  const Ids prompt = somePrompt(40, MixedModel::kVocab);
  std::vector<Continuation> said;
  for (const std::string pass : {"", "llm-fuse-norm-qkv"}) {
    std::vector<std::string> flags = {"--kv-dtype", "f32"};
    if (!pass.empty()) flags.insert(flags.end(), {"--disable-pass", pass});
    const std::string plan = compiledPlan(file, flags);
    const std::string ir = run({LLMC, "inspect", plan, "--ir"}).out;
    EXPECT_EQ(ir.find("llm.norm_qkv") != std::string::npos, pass.empty());
    EXPECT_EQ(ir.find("llm.kv_write") != std::string::npos, !pass.empty());
    const RunningModel model(plan);
    ASSERT_TRUE(model.ok());
    const auto session = model.session({.threads = 2, .prefill_chunk = 29});
    ASSERT_TRUE(session);
    said.push_back(continueGreedily(*session, prompt, 8));
  }
  expectSameBits(said[0], said[1]);
}

// Eight bits are nearly the model, and more bits are nearer to it than fewer.
TEST(Quantize, LogitsAreNearTheModels) {
  const std::string model = goldenModel("llama_mha");
  const auto logitsOf = [&](std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--dtype", "f32", "--activations", "float"});
    const RunningModel running(compiledPlan(model, flags));
    EXPECT_TRUE(running.ok());
    const auto session = running.session({.threads = 1});
    return prefill(*session, somePrompt(40, running.plan->vocabSize()));
  };
  const Logits plain = logitsOf({});
  double before = 0;
  for (const auto& [scheme, most] :
       {std::pair{"q8", 0.06}, {"q6", 0.06}, {"q5", 0.12}, {"q4", 0.25}}) {
    const double error = relativeError(logitsOf({"--quantize", scheme}), plain);
    EXPECT_GE(error, before) << scheme;
    EXPECT_LT(error, most) << scheme;
    before = error;
  }
  EXPECT_LT(relativeError(logitsOf({"--quantize", "q4,gate_proj=plain,up_proj=plain"}), plain),
            before);
}

TEST(Quantize, WhatIsAskedForIsNamedWhereItCannotBe) {
  const ScratchDir dir;
  const auto refusal = [&](const std::string& model, const std::string& scheme) {
    return run({LLMC, "compile", model, "--quantize", scheme, "-o", dir / "p.fb"});
  };
  for (const char* wrong :
       {"q9", "", "q4,", "q4,lm_head", "lm_head=q4", "q4,lm_head=f17", "q4,q8"}) {
    const Output output = refusal(goldenModel("llama_mha"), wrong);
    EXPECT_EQ(output.status, 2) << wrong;
    EXPECT_THAT(output.err, HasSubstr("--quantize")) << wrong;
  }
  const Output nothing = refusal(goldenModel("llama_mha"), "q4,no_proj=q8");
  EXPECT_EQ(nothing.status, 1);
  EXPECT_THAT(nothing.err, HasSubstr("--quantize: 'no_proj' is no matrix of this model"));
  writeFile(dir / "mixed.gguf", MixedModel(false).bytes());
  const Output again = refusal(dir / "mixed.gguf", "q8");
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.err, HasSubstr("--quantize: the model is quantised already"));
  EXPECT_FALSE(std::filesystem::exists(dir / "p.fb"));
}

std::string weightsOf(const std::string& plan) {
  return readFile(plan.substr(0, plan.size() - 3) + ".weights");
}

TEST(QuantisedGguf, LlmcPackGivesTheSameWeightsFromTheFileAndFromPartsOfIt) {
  const ScratchDir dir;
  const MixedModel model(false);
  const std::string file = dir / "mixed.gguf", code = dir / "code.fb";
  const std::string second = dir / "mixed-00002-of-00002.gguf";
  writeFile(file, model.bytes());
  writeFile(dir / "mixed-00001-of-00002.gguf", model.part(0, 2));
  writeFile(second, model.part(1, 2));
  const std::string whole = weightsOf(compiledPlan(file, {"--kv-dtype", "f32"}));
  ASSERT_FALSE(whole.empty());
  Output output = run({LLMC, "compile", file, "--no-weights", "--target", floatTarget(),
                       "--kv-dtype", "f32", "-o", code});
  ASSERT_EQ(output.status, 0) << output.err;
  for (const std::string& weights : {file, second}) {
    output = run({LLMC, "pack", code, "--weights", weights});
    ASSERT_EQ(output.status, 0) << output.err;
    EXPECT_TRUE(whole == weightsOf(code)) << weights;
  }
}

TEST(QuantisedGguf, InspectNamesFormatsAndBytes) {
  const ScratchDir dir;
  writeFile(dir / "mixed.gguf", MixedModel(false).bytes());
  const std::string plan = compiledPlan(dir / "mixed.gguf", {"--kv-dtype", "f32"});
  const Output text = run({LLMC, "inspect", plan, "--json"});
  ASSERT_EQ(text.status, 0) << text.err;
  const nlohmann::json json = nlohmann::json::parse(text.out);
  std::map<std::string, double> bits;
  double values = 0, bytes = 0;
  for (const nlohmann::json& type : json["weight_formats"]) {
    bits[type["format"]] = type["bits_per_weight"];
    values += type["values"].get<double>();
    bytes += type["bytes"].get<double>();
  }
  EXPECT_EQ(bits.size(), 15u);  // all but f32
  EXPECT_DOUBLE_EQ(bits["q4_k"], 4.625);
  EXPECT_DOUBLE_EQ(bits["f16"], 16);
  EXPECT_DOUBLE_EQ(json["bits_per_weight"].get<double>(), 8 * bytes / values);
  // A token reads every weight once, and of the embeddings one row.
  constexpr double kNorms = (2 * MixedModel::kLayers + 1) * MixedModel::kHidden * 4;
  const double row_bytes = MixedModel::kHidden * bits["q6_k"] / 8;
  EXPECT_DOUBLE_EQ(json["decode"]["weight_bytes"].get<double>(),
                   bytes + kNorms - (MixedModel::kVocab - 1) * row_bytes);
}

// Products of integers go faster than the peak of floats: each is held against its format's loop.
TEST(QuantisedGguf, LlmbenchHoldsPrefillAgainstTheInnerLoopsOfItsFormats) {
  const ScratchDir dir;
  writeFile(dir / "mixed.gguf", MixedModel(false).bytes());
  std::map<std::string, nlohmann::json> report;
  for (const std::string activations : {"int8", "float"}) {
    std::vector<std::string> flags = {"--kv-dtype", "f32"};  // plans that other tests have, too
    if (activations == "float") flags.insert(flags.end(), {"--activations", "float"});
    const Output output = run({LLMBENCH, compiledPlan(dir / "mixed.gguf", flags), "--prefill", "30",
                               "--decode", "0", "--repeat", "1", "--threads", "1", "--json"});
    ASSERT_EQ(output.status, 0) << output.err;
    report[activations] = nlohmann::json::parse(output.out);
  }
  EXPECT_FALSE(report["float"].contains("peak_gflop_s"));
  const nlohmann::json& json = report["int8"];
  if (json["target"].get<std::string>().starts_with("aarch64"))
    GTEST_SKIP() << "aarch64 has no inner loops yet";
  // The limit is between the rates it is made of.
  double least = json["peak_gflop_s"], most = least;
  int formats = 0;
  for (const auto& [key, rate] : json.items()) {
    if (!key.starts_with("inner_loop_")) continue;
    ++formats;
    least = std::min(least, rate.get<double>());
    most = std::max(most, rate.get<double>());
  }
  EXPECT_EQ(formats, 13);
  EXPECT_GE(json["prefill_limit_gflop_s"].get<double>(), least);
  EXPECT_LE(json["prefill_limit_gflop_s"].get<double>(), most);
}

TEST(QuantisedGguf, CudaRefusesItByName) {
  const ScratchDir dir;
  writeFile(dir / "mixed.gguf", MixedModel(false).bytes());
  const Output output =
      run({LLMC, "compile", dir / "mixed.gguf", "--target", "cuda:sm_90a", "-o", dir / "p.fb"});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, AllOf(HasSubstr("--target cuda: "), HasSubstr("weights of the format q"),
                                HasSubstr("have no CUDA kernels yet")));
  EXPECT_FALSE(std::filesystem::exists(dir / "p.fb"));
}

TEST(QuantisedGguf, ExpertsWhoseGateAndUpDifferAreRefusedByName) {
  const ScratchDir dir;
  writeFile(dir / "mixed.gguf", MixedModel(false, 3, /*mixed=*/true).bytes());
  const Output output = run({LLMC, "compile", dir / "mixed.gguf", "-o", dir / "p.fb"});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("tensors 'blk.0.ffn_gate_exps.weight' (q4_0) and "
                                    "'blk.0.ffn_up_exps.weight' (q4_1) have different types, which "
                                    "is not supported of experts"));
}

/// A model of one tensor that is not as it should be: the line that refuses it.
std::string refusal(const std::string& name, uint32_t type, std::vector<uint64_t> shape,
                    const std::string& bytes) {
  const ScratchDir dir;
  GgufWriter writer = MixedModel::metadata();
  const auto add = [&](const std::string& tensor, std::vector<uint64_t> sizes) {
    uint64_t values = 1;
    for (uint64_t size : sizes) values *= size;
    if (tensor == name)
      writer.tensor(tensor, type, shape, bytes);
    else
      writer.tensor(tensor, kF32, sizes, std::string(values * 4, '\0'));
  };
  constexpr uint64_t kHidden = MixedModel::kHidden;
  add("token_embd.weight", {MixedModel::kVocab, kHidden});
  add("output_norm.weight", {kHidden});
  for (int layer = 0; layer < MixedModel::kLayers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    for (const char* norm : {"attn_norm", "ffn_norm"}) add(prefix + norm + ".weight", {kHidden});
    for (const char* matrix : {"attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
      add(prefix + matrix + ".weight", {kHidden, kHidden});
    for (const char* matrix : {"attn_k", "attn_v"})
      add(prefix + matrix + ".weight", {kHidden / 2, kHidden});
  }
  writeFile(dir / "m.gguf", writer.bytes());
  const Output output = run(
      {LLMC, "compile", dir / "m.gguf", "--target", "x86-64-v3", "-o", dir / "p.fb", "--force"});
  EXPECT_EQ(output.status, 1);
  EXPECT_FALSE(std::filesystem::exists(dir / "p.fb"));
  EXPECT_FALSE(std::filesystem::exists(dir / "p.weights"));
  return output.err;
}

TEST(QuantisedGguf, WhatIsWrongIsRefusedByTheTensorsNameInTheFile) {
  std::string q4(256 * 256 / 32 * 18, '\1');
  q4[5 * 18 + 1] = '\x7c';  // an infinite scale
  EXPECT_THAT(refusal("blk.2.attn_q.weight", kQ4_0, {256, 256}, q4),
              AllOf(HasSubstr("tensor 'blk.2.attn_q.weight' is corrupt"), HasSubstr("not finite")));
  EXPECT_THAT(
      refusal("blk.1.ffn_up.weight", kQ4_0, {256, 255}, q4),
      AllOf(HasSubstr("tensor 'blk.1.ffn_up.weight' has rows of 255 elements"), HasSubstr("q4_0")));
  EXPECT_THAT(refusal("blk.1.ffn_up.weight", kQ4_K, {128, 256}, std::string(128 * 144, '\1')),
              HasSubstr("tensor 'blk.1.ffn_up.weight' has shape [128, 256], the config needs "
                        "[256, 256]"));
  EXPECT_THAT(refusal("blk.1.ffn_up.weight", 16, {256, 256}, std::string(256 * 66, '\1')),
              AllOf(HasSubstr("tensor 'blk.1.ffn_up.weight' has type iq2_xxs"),
                    HasSubstr("not supported (f32, ")));
  EXPECT_THAT(refusal("output_norm.weight", 8, {256}, std::string(8 * 34, '\1')),
              HasSubstr("tensor 'output_norm.weight' is a vector of type q8_0"));
}

//===----------------------------------------------------------------------===//
// Real models
//===----------------------------------------------------------------------===//

std::string realModel(const std::string& name) {
  namespace fs = std::filesystem;
  if (const char* folder = std::getenv("LLMC_REAL_MODELS")) return fs::path(folder) / name;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path root = cache && *cache ? fs::path(cache) : fs::path(home ? home : "") / ".cache";
  return root / "llmc-real-models" / name;
}

class RealModel : public testing::TestWithParam<std::string> {};

// The golden computes in float32 with the stored values; its smallest gap between the two largest
// logits is 0.0048, a hundred times what two ways of summing differ by.
TEST_P(RealModel, GivesTransformersGreedyIds) {
  const std::string file = realModel(GetParam() + ".gguf");
  if (!std::filesystem::exists(file))
    GTEST_SKIP() << file << " is absent: tests/real/get_models installs it";
  const auto golden = nlohmann::json::parse(
      readFile(std::string(LLMC_SOURCE_DIR) + "/tests/golden/real_models.json"));
  const std::string plan =
      compiledPlan(file, {"--activations", "float", "--kv-dtype", "f32", "--max-seq-len", "256"});
  ASSERT_FALSE(plan.empty());
  for (const nlohmann::json& one : golden["models"][GetParam() + ".gguf"]) {
    const auto json = llmrunJson(plan, {"--prompt", one["prompt"], "-n",
                                        std::to_string(one["greedy_ids"].size()), "--ignore-eos"});
    ASSERT_TRUE(json.is_object());
    EXPECT_EQ(json["prompt_ids"], one["prompt_ids"]);
    EXPECT_EQ(json["ids"], one["greedy_ids"]) << one["prompt"];
  }
}

INSTANTIATE_TEST_SUITE_P(, RealModel, testing::Values<std::string>("smollm2", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace e2e
