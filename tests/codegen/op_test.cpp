// The kernels of ops that came with families other than llama, against the evaluator: at and off
// the edges of vectors and panels, for one row and for many. Every target gives the same bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernel_harness.h"
#include "mlir/Parser/Parser.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/weight_format.h"
#include "tests/ir/Evaluator.h"
#include "tests/sampling.h"

namespace llmc::test {
namespace {

using llmrt::DType;

constexpr int64_t kRows = 37;
constexpr int32_t kVocab = 50;

struct OpCase {
  std::string name;
  std::string weights;          // llm.weight lines
  std::vector<int64_t> inputs;  // widths of %x and %r
  std::string op;               // of %x, %r and %rows, without its types
  std::string types;            // behind the colon
  int64_t width = 0;            // of its result
  /// Of an element: a chain of `terms` roundings, each of half an ulp of sums up to `most`.
  int64_t terms = 1;
  double most = 1;
  int64_t experts = 0;              // above 0: %r is a route to so many
  bool full = false;                // not of the short form
  bool int8 = false;                // activations
  std::vector<int64_t> parts = {};  // widths of its results, where they are several

  std::vector<int64_t> results() const {
    return parts.empty() ? std::vector<int64_t>{width} : parts;
  }
  /// Decode has a kernel of its own; what goes row by row is one code for any number of rows.
  bool isProduct() const { return weights.find(" matrix ") != std::string::npos; }
  /// bf16 has every way to multiply; what an op does around it knows no type.
  bool hasVerify() const { return isProduct() && weights.find("xbf16>") != std::string::npos; }
};

std::string tensor(int64_t width) { return "tensor<?x" + std::to_string(width) + "xf32>"; }
std::string matrix(const char* name, int64_t n, int64_t k, const char* type, int64_t experts = 0) {
  const std::string e = std::to_string(experts);
  return std::string("  llm.weight @") + name + " matrix \"" + name + "\"" +
         (experts ? " experts " + e : "") + " : tensor<" + (experts ? e + "x" : "") +
         std::to_string(n) + "x" + std::to_string(k) + "x" +
         (llmrt::findWeightFormat(type)->isPlain() ? type : "!llm.q<" + std::string(type) + ">") +
         ">\n";
}
std::string vector(const char* name, const char* kind, int64_t n, int64_t experts = 0) {
  const std::string e = std::to_string(experts);
  return std::string("  llm.weight @") + name + " " + kind + " \"" + name + "\"" +
         (experts ? " experts " + e : "") + " : tensor<" + (experts ? e + "x" : "") +
         std::to_string(n) + "xf32>\n";
}
std::string to(int64_t from, int64_t width) { return tensor(from) + " -> " + tensor(width); }

int64_t strideOf(int64_t width) { return (width + 15) / 16 * 16 + 16; }

std::string modelOf(const OpCase& c) {
  std::string text =
      "llm.model @m architecture \"llama\" hidden_size 64 intermediate_size 64 num_heads 4 "
      "num_kv_heads 2 head_dim 16 num_layers 1 vocab_size 50 max_seq_len 256 max_batch 1 " +
      std::string(c.int8 ? "attributes {llm.activations = \"int8\"} " : "") + "{\n" + c.weights;
  std::string arguments, strides;
  const char* names[] = {"%x", "%r"};
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    arguments += (i ? ", " : "") + std::string(names[i]) + ": " + tensor(c.inputs[i]);
    strides += std::to_string(strideOf(c.inputs[i])) + ", ";
  }
  if (c.op.find("%rows") != std::string::npos)
    arguments += std::string(arguments.empty() ? "" : ", ") + "%rows: !llm.rows";
  const std::vector<int64_t> results = c.results();
  std::string values, types;
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string separator = i ? ", " : "";
    values += separator + "%y#" + std::to_string(i);
    types += separator + tensor(results[i]);
    strides += separator + std::to_string(strideOf(results[i]));
  }
  auto kernel = [&](const std::string& kind, const char* maxRows) {
    text += "  llm.kernel @" + kind + " " + kind + " max_rows " + maxRows + " row_strides [" +
            strides + "] {\n  ^bb0(" + arguments + "):\n    %y:" + std::to_string(results.size()) +
            " = " + c.op + " : " + c.types + "\n    llm.yield " + values + " : " + types +
            "\n  }\n";
  };
  kernel("prefill", "512");
  if (c.isProduct()) kernel("decode", "16");
  if (c.hasVerify()) kernel("verify", "64");
  return text + "}\n";
}

/// Norms and biases are kept in f32.
const llmrt::WeightFormat& formatOf(llm::WeightOp w) {
  return w.getKind() == llm::WeightKind::matrix
             ? llm::weightFormatOf(w.getTensorType().getElementType())
             : *llmrt::plainFormat(DType::kF32);
}

/// The weights of an operand as the weights file has them: expert after expert.
std::unique_ptr<Buffer> pack(Evaluator& evaluator, llm::KernelOpInterface op,
                             const llm::KernelOperand& operand) {
  std::vector<StoredQuants> stored;
  std::vector<int64_t> rows;
  int64_t experts = 1;
  const llmrt::WeightFormat* format = nullptr;
  for (mlir::FlatSymbolRefAttr symbol : operand.symbols) {
    llm::WeightOp w = llm::lookupWeight(op, symbol);
    const llvm::ArrayRef<int64_t> shape = w.getLayerShape();
    format = &formatOf(w);
    stored.push_back(format->isPlain() ? StoredQuants::encode(*format, evaluator.weight(symbol, -1),
                                                              shape.size() > 1 ? shape[1] : 1)
                                       : evaluator.quants(symbol, -1));
    rows.push_back(shape[0]);
    experts = std::max<int64_t>(1, w.getNumExperts());
  }
  const bool panels = operand.layout == llm::Layout::panels;
  std::vector<llmrt::PanelRow> lanes;
  if (panels) {
    lanes = llmrt::panelRows(rows, static_cast<llmrt::PanelOrder>(operand.order), operand.headRows);
  } else {
    for (size_t s = 0; s < rows.size(); ++s)
      for (int64_t r = 0; r < rows[s]; ++r) lanes.push_back({static_cast<int32_t>(s), r});
  }
  return packStored(stored, rows, lanes, panels, experts);
}

Matrix randomMatrix(int64_t rows, int64_t cols, float scale, std::mt19937& rng) {
  Matrix m(rows, cols);
  m.values = randomFloats(static_cast<size_t>(rows * cols), rng);
  for (float& v : m.values) v *= scale;
  return m;
}

/// Different experts in each row, and weights.
Matrix randomRoute(int64_t rows, int64_t width, int64_t experts, std::mt19937& rng) {
  Matrix m = randomMatrix(rows, width, 1, rng);
  std::vector<float> ids(static_cast<size_t>(experts));
  for (int64_t r = 0; r < rows; ++r) {
    for (size_t e = 0; e < ids.size(); ++e) ids[e] = static_cast<float>(e);
    std::shuffle(ids.begin(), ids.end(), rng);
    std::copy_n(ids.begin(), width / 2, m.row(r));
  }
  return m;
}

class OpTest : public testing::TestWithParam<OpCase> {};

TEST_P(OpTest, EqualsTheEvaluatorWhateverTheRowsAndTarget) {
  const OpCase& c = GetParam();
  const std::string text = modelOf(c);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  ASSERT_TRUE(module) << text;
  llm::ModelOp model = *module->getOps<llm::ModelOp>().begin();
  Evaluator evaluator(model, randomWeights(5));
  auto kernelOp = [&](const char* name) {
    return mlir::cast<llm::KernelOp>(mlir::SymbolTable::lookupSymbolIn(model, name));
  };
  llm::KernelOpInterface op = kernelOp("prefill").getComputeOp();

  std::mt19937 rng(20260101);
  std::vector<Matrix> inputs;
  for (size_t i = 0; i < c.inputs.size(); ++i)
    inputs.push_back(i == 1 && c.experts ? randomRoute(kRows, c.inputs[i], c.experts, rng)
                                         : randomMatrix(kRows, c.inputs[i], 2, rng));
  // Every third row's logits are wanted.
  std::vector<Row> rows;
  for (int32_t i = 0; i < kRows; ++i)
    rows.push_back({i * 7 % kVocab, i, 0, !op.onLogitsRows() || i % 3 == 1});
  KvState kv;
  const Matrix expected = evaluator.evaluateOp(op, inputs, rows, kv);
  ASSERT_EQ(expected.cols, c.width);

  std::vector<Buffer> buffers;
  for (const Matrix& m : inputs) {
    buffers.emplace_back(static_cast<size_t>(kRows * strideOf(m.cols) * 4));
    std::fill_n(buffers.back().floats(), kRows * strideOf(m.cols), std::nanf(""));
    for (int64_t r = 0; r < kRows; ++r)
      std::copy_n(m.row(r), m.cols, buffers.back().floats() + r * strideOf(m.cols));
  }
  std::map<std::string, std::unique_ptr<Buffer>> weights;
  for (const llm::KernelOperand& operand : op.getKernelOperands())
    if (operand.space == llm::Space::weights)
      weights[operand.name.str()] = pack(evaluator, op, operand);

  bool bf16 = false;
  for (const llm::KernelOperand& operand : op.getKernelOperands())
    for (mlir::FlatSymbolRefAttr symbol : operand.symbols)
      if (operand.space == llm::Space::weights)
        bf16 |= formatOf(llm::lookupWeight(op, symbol)).name == "bf16";

  // Of the first target with an order of summation, in prefill.
  std::map<cpu::Bf16Product, std::vector<float>> references;
  for (const cpu::CpuTarget& target : targetsOfTest(bf16)) {
    SCOPED_TRACE(target.name);
    const cpu::Bf16Product order = bf16 ? target.bf16Product : cpu::Bf16Product::fma;
    // What goes row by row is one code for any target of the same registers.
    if (!references.empty() && !c.isProduct()) break;
    std::vector<float>& reference = references[order];
    auto kernels = LoadedKernels::compile(text, target);
    ASSERT_TRUE(kernels);
    // Rows `first` and the `count - 1` behind it.
    auto run = [&](const char* symbol, int64_t first, int64_t count) {
      std::vector<Buffer> ys;
      for (int64_t width : c.results())
        ys.emplace_back(static_cast<size_t>(kRows * strideOf(width) * 4));
      std::map<std::string, std::vector<int32_t>> given;
      for (int64_t i = 0; i < count; ++i) {
        const Row& row = rows[static_cast<size_t>(first + i)];
        given["token_id"].push_back(row.tokenId);
        given["pos"].push_back(row.pos);
        given["seq"].push_back(row.seq);
        if (row.wanted) given["logits_rows"].push_back(static_cast<int32_t>(i));
      }
      std::map<std::string, void*> operands;
      size_t input = 0, output = 0;
      for (const llm::KernelOperand& operand : op.getKernelOperands()) {
        void*& to = operands[operand.name.str()];
        if (operand.space == llm::Space::weights) {
          to = weights[operand.name.str()]->data();
        } else if (operand.space == llm::Space::input) {
          to = given[operand.name.str()].data();
        } else if (operand.access == llm::Access::write) {
          to = ys[output++].data();
        } else {
          to = buffers[input].floats() + first * strideOf(c.inputs[input]);
          ++input;
        }
      }
      const auto wanted = static_cast<int64_t>(given["logits_rows"].size());
      const LlmcStep step{.num_rows = count, .num_logits_rows = wanted, .num_sequences = 1};
      const int64_t results = op.onLogitsRows() ? wanted : count;
      const llm::Tiling tiling = op.getTiling(kernelOp(symbol).getKind());
      const int64_t tiles =
          tiling.tiles *
          (tiling.rowsPerTile ? (results + tiling.rowsPerTile - 1) / tiling.rowsPerTile : 1);
      kernels->run(symbol, step, operands, 0, tiles / 2);
      kernels->run(symbol, step, operands, tiles / 2, tiles);
      std::vector<float> out;
      for (int64_t r = 0; r < results; ++r)
        for (size_t i = 0; i < ys.size(); ++i) {
          const int64_t width = c.results()[i];
          const float* const row = ys[i].floats() + r * strideOf(width);
          out.insert(out.end(), row, row + width);
        }
      return out;
    };
    const std::vector<float> all = run("prefill", 0, kRows);
    if (reference.empty()) {
      reference = all;
      ASSERT_EQ(all.size(), expected.values.size());
      // Where the left operand is rounded to bf16, each product is off by 2^-9 of itself.
      const double rounding = order == cpu::Bf16Product::fma ? 0 : 0x1p-9;
      // A norm's last bits may bring values to the next int8: of 127 for the largest.
      const double flips = c.int8 && c.op.find("norm") != std::string::npos ? 1.0 / 127 : 0;
      const double tolerance = (static_cast<double>(c.terms) * 0x1p-24 + rounding + flips) * c.most;
      for (size_t i = 0; i < all.size(); ++i)
        ASSERT_LE(std::abs(all[i] - expected.values[i]), tolerance)
            << "row " << i / static_cast<size_t>(c.width) << ", "
            << i % static_cast<size_t>(c.width) << ": " << all[i] << " for " << expected.values[i];
    }
    EXPECT_EQ(all, reference) << "not the bits of the first target of this order";
    if (!c.isProduct()) continue;
    if (c.hasVerify()) {
      EXPECT_EQ(run("verify", 0, kRows), reference) << "verify";
    }
    if (op.onLogitsRows()) {
      EXPECT_EQ(run("decode", 0, 2),
                std::vector<float>(reference.begin(), reference.begin() + c.width));
      continue;
    }
    for (const auto& [first, count] : {std::pair{0, 1}, {5, 3}, {21, 16}})
      EXPECT_EQ(run("decode", first, count),
                std::vector<float>(reference.begin() + first * c.width,
                                   reference.begin() + (first + count) * c.width))
          << "decode of " << count;
  }
}

/// Sums over K inputs in [-2, 2) and weights in [-b, b), b = sqrt(3 / K): at most 2 sqrt(3 K).
double sum(int64_t k) { return 2 * std::sqrt(3.0 * static_cast<double>(k)); }

std::vector<OpCase> cases() {
  std::vector<OpCase> out;
  // Norms: K squares (of a layer norm, twice K terms); norms are up to 1.5, values in units of the
  // deviation up to sqrt(K).
  for (int64_t k : {33, 64}) {
    const std::string n = std::to_string(k);
    const double most = 1.5 * std::sqrt(static_cast<double>(k)) + 1;
    out.push_back({"layer_norm_" + n,
                   vector("w", "norm", k) + vector("b", "bias", k),
                   {k},
                   "llm.layer_norm %x weight @w bias @b eps 1.0e-5",
                   tensor(k),
                   k,
                   2 * k + 16,
                   most});
    out.push_back({"layer_norm_plain_" + n,
                   "",
                   {k},
                   "llm.layer_norm %x eps 1.0e-5",
                   tensor(k),
                   k,
                   2 * k + 16,
                   most});
    out.push_back({"norm_residual_" + n,
                   vector("w", "norm", k),
                   {k, k},
                   "llm.norm_residual %x, %r norm @w eps 1.0e-5",
                   tensor(k),
                   k,
                   k + 16,
                   most + 2});
    out.push_back({"norm_residual_scaled_" + n,
                   vector("w", "norm", k) + vector("s", "norm", 1),
                   {k, k},
                   "llm.norm_residual %x, %r norm @w eps 1.0e-5 scale @s",
                   tensor(k),
                   k,
                   k + 17,
                   1.5 * (most + 2)});
    out.push_back(
        {"scale_by_" + n, vector("s", "norm", 1), {k}, "llm.scale_by %x, @s", tensor(k), k, 1, 3});
  }
  out.push_back(
      {"qk_norm_plain", "", {60}, "llm.qk_norm %x eps 1.0e-5 head_dim 20", tensor(60), 60, 36, 8});
  out.push_back({"qk_norm",
                 vector("w", "norm", 20),
                 {60},
                 "llm.qk_norm %x, @w eps 1.0e-5 head_dim 20",
                 tensor(60),
                 60,
                 36,
                 8});
  out.push_back({"qk_norm_of_16",
                 vector("w", "norm", 16),
                 {48},
                 "llm.qk_norm %x, @w eps 1.0e-5 head_dim 16",
                 tensor(48),
                 48,
                 32,
                 7});
  out.push_back({"qk_norm_layer",
                 vector("w", "norm", 60),
                 {60},
                 "llm.qk_norm %x, @w layer eps 1.0e-5 head_dim 20",
                 tensor(60),
                 60,
                 56,
                 8});
  // Factors up to 1 + 0.5 ln 13 = 2.3.
  out.push_back({"scale_by_pos",
                 "",
                 {35},
                 "llm.scale_by_pos %x, %rows growth 0.5 every 3",
                 tensor(35),
                 35,
                 4,
                 4.6});
  // Elementwise.
  out.push_back({"scale", "", {35}, "llm.scale %x by 0.3", tensor(35), 35, 1, 0.6});
  out.push_back({"scale_rows",
                 "",
                 {35, 1},
                 "llm.scale_rows %x, %r",
                 tensor(35) + ", " + tensor(1),
                 35,
                 1,
                 4});
  out.push_back({"scale_rows_by_parts",
                 "",
                 {60, 3},
                 "llm.scale_rows %x, %r",
                 tensor(60) + ", " + tensor(3),
                 60,
                 1,
                 4});
  out.push_back({"concat",
                 "",
                 {15, 21},
                 "llm.concat %x, %r heads 3",
                 tensor(15) + ", " + tensor(21) + " -> " + tensor(36),
                 36,
                 0,
                 0});
  out.push_back({"concat_of_vectors",
                 "",
                 {32, 64},
                 "llm.concat %x, %r heads 2",
                 tensor(32) + ", " + tensor(64) + " -> " + tensor(96),
                 96,
                 0,
                 0});
  // exp and erf err by a few units.
  for (const char* kind :
       {"silu", "gelu", "gelu_tanh", "relu", "relu2", "sigmoid", "quick_gelu", "none"})
    out.push_back({std::string("activation_") + kind,
                   "",
                   {35},
                   std::string("llm.activation %x ") + kind,
                   tensor(35),
                   35,
                   16,
                   4});
  // Products: K terms; an activation between them has a slope below 1.2.
  struct Variant {
    std::string type;
    bool int8 = false;
  };
  std::vector<Variant> variants;
  for (const llmrt::WeightFormat& format : llmrt::kWeightFormats)
    if (format.name != "f16") variants.push_back({std::string(format.name)});  // f32's loops
  const size_t floats = variants.size();
  // With and without minimums and sub-blocks.
  for (const char* type : {"q8_0", "q4_1", "q6_k", "q4_k"}) variants.push_back({type, true});
  for (size_t turn = 0; turn < variants.size(); ++turn) {
    const char* const type = variants[turn].type.c_str();
    const std::string t = type + std::string(variants[turn].int8 ? "_int8" : "");
    const size_t first = out.size();
    out.push_back({"head_linear_" + t,
                   matrix("w", 3 * 33, 21, type),
                   {63},
                   "llm.head_linear %x, @w heads 3",
                   to(63, 99),
                   99,
                   21,
                   sum(21)});
    out.push_back({"head_linear_of_vectors_" + t,
                   matrix("w", 2 * 32, 16, type),
                   {32},
                   "llm.head_linear %x, @w heads 2",
                   to(32, 64),
                   64,
                   16,
                   sum(16)});
    out.push_back({"linear_residual_" + t,
                   matrix("w", 33, 70, type) + vector("b", "bias", 33),
                   {70, 33},
                   "llm.linear_residual %x, %r, @w bias @b scale 0.25",
                   to(70, 33),
                   33,
                   72,
                   sum(70)});
    out.push_back({"norm_linear_" + t,
                   matrix("w", 131, 33, type) + vector("b", "bias", 131) + vector("n", "norm", 33) +
                       vector("s", "bias", 33),
                   {33},
                   "llm.norm_linear %x norm @n shift @s layer eps 1.0e-5 proj @w bias @b gelu",
                   to(33, 131),
                   131,
                   3 * 33 + 32,
                   9 * 1.2 * sum(33) / 2});
    out.push_back({"norm_linear_times_" + t,
                   matrix("w", 50, 33, type) + vector("n", "norm", 33),
                   {33, 50},
                   "llm.norm_linear %x norm @n eps 1.0e-5 proj @w sigmoid times %r",
                   tensor(33) + ", " + tensor(50) + " -> " + tensor(50),
                   50,
                   3 * 33 + 32,
                   2 * 9 * sum(33) / 2});
    // Parts that share a tile, that end within a panel, and one with a bias and an activation.
    out.push_back({"norm_projections_" + t,
                   matrix("u", 80, 33, type) + matrix("v", 20, 33, type) +
                       matrix("w", 6, 33, type) + vector("b", "bias", 20) + vector("n", "norm", 33),
                   {33},
                   "llm.norm_projections %x norm @n eps 1.0e-5 proj [#llm.projection<@u>, "
                   "#llm.projection<@v bias @b act silu>, #llm.projection<@w>]",
                   tensor(33) + " -> " + tensor(80) + ", " + tensor(20) + ", " + tensor(6),
                   106,
                   3 * 33 + 32,
                   9 * 1.2 * sum(33) / 2});
    out.back().parts = {80, 20, 6};
    out.push_back({"logits_" + t,
                   matrix("w", 50, 33, type) + vector("b", "bias", 50),
                   {33},
                   "llm.logits %x, %rows, @w bias @b scale 0.5 softcap 3.0",
                   to(33, 50),
                   50,
                   33 + 32,
                   sum(33)});
    out.push_back({"norm_logits_" + t,
                   matrix("w", 50, 33, type) + vector("n", "norm", 33) + vector("s", "bias", 33),
                   {33},
                   "llm.norm_logits %x, %rows norm @n shift @s layer eps 1.0e-5, @w softcap 3.0",
                   to(33, 50),
                   50,
                   3 * 33 + 32,
                   9 * sum(33) / 2});
    out.push_back({"embed_" + t,
                   matrix("w", 50, 33, type) + matrix("p", 256, 33, type),
                   {},
                   "llm.embed %rows, @w positions @p scale 5.5",
                   tensor(33),
                   33,
                   2,
                   2});
    // gate * up: each up to sum(K), so that an error of one is as much of the other.
    for (int64_t n : {20, 32}) {
      const std::string size = t + "_" + std::to_string(n);
      out.push_back({"expert_glu_" + size,
                     matrix("g", n, 33, type, 5) + matrix("u", n, 33, type, 5),
                     {33, 4},
                     "llm.expert_glu %x, %r proj @g, @u silu",
                     tensor(33) + ", " + tensor(4) + " -> " + tensor(2 * n),
                     2 * n,
                     33 + 16,
                     2.4 * sum(33) * sum(33),
                     5});
      out.push_back({"expert_down_" + size,
                     matrix("w", 33, n, type, 7),
                     {3 * n, 6},
                     "llm.expert_down %x, %r, @w",
                     tensor(3 * n) + ", " + tensor(6) + " -> " + tensor(33),
                     33,
                     n + 6,
                     3 * sum(n),
                     7});
    }
    out.push_back({"expert_glu_clamped_" + t,
                   matrix("g", 20, 33, type, 5) + matrix("u", 20, 33, type, 5) +
                       vector("gb", "bias", 20, 5) + vector("ub", "bias", 20, 5),
                   {33, 4},
                   "llm.expert_glu %x, %r proj @g, @u bias @gb, @ub quick_gelu limit 1.5",
                   tensor(33) + ", " + tensor(4) + " -> " + tensor(40),
                   40,
                   33 + 16,
                   2.4 * 2.5 * sum(33),
                   5});
    out.push_back({"expert_up_" + t,
                   matrix("g", 20, 33, type, 5) + vector("gb", "bias", 20, 5),
                   {33, 4},
                   "llm.expert_glu %x, %r proj @g bias @gb relu2",
                   tensor(33) + ", " + tensor(4) + " -> " + tensor(40),
                   40,
                   33 + 16,
                   2 * sum(33) * sum(33),
                   5});
    out.push_back({"expert_down_bias_" + t,
                   matrix("w", 33, 20, type, 5) + vector("b", "bias", 33, 5),
                   {40, 4},
                   "llm.expert_down %x, %r, @w bias @b",
                   tensor(40) + ", " + tensor(4) + " -> " + tensor(33),
                   33,
                   20 + 6,
                   2 * sum(20) + 1,
                   5});
    // In the short form each type of weights has one of the ops, and each op one of the types; with
    // int8, each op has one of those too.
    for (size_t i = first; i < out.size(); ++i) {
      out[i].int8 = variants[turn].int8;
      out[i].full = out[i].int8 ? (i - first) % (variants.size() - floats) != turn - floats
                                : i - first != turn % (out.size() - first);
    }
  }
  // Routes: ids are exact; weights are exp of differences up to 4, over a sum of all.
  for (int64_t e : {7, 24, 70}) {
    const std::string n = std::to_string(e);
    out.push_back(
        {"route_softmax_" + n, "", {e}, "llm.route %x top_k 3 softmax", to(e, 6), 6, e + 16, 1});
    out.push_back({"route_softmax_chosen_" + n,
                   "",
                   {e},
                   "llm.route %x top_k 2 softmax_chosen",
                   to(e, 4),
                   4,
                   24,
                   1});
  }
  out.push_back({"route_scaled_experts",
                 vector("s", "norm", 24),
                 {24},
                 "llm.route %x top_k 3 softmax normalize expert_scale @s",
                 to(24, 6),
                 6,
                 42,
                 1.5});
  out.push_back({"route_groups",
                 vector("b", "bias", 24),
                 {24},
                 "llm.route %x top_k 4 sigmoid normalize scale 2.5 bias @b groups 4 keep 2 top 2",
                 to(24, 8),
                 8,
                 32,
                 2.5});
  out.push_back({"route_groups_softmax",
                 "",
                 {40},
                 "llm.route %x top_k 3 softmax scale 1.5 groups 5 keep 2 top 1",
                 to(40, 6),
                 6,
                 64,
                 1.5});
  return out;
}

llmc_tests::Sweep<OpCase> sweptCases() {
  llmc_tests::Sweep<OpCase> sweep;
  for (const OpCase& c : cases()) (c.full ? sweep.others : sweep.short_form).push_back(c);
  return sweep;
}

LLMC_INSTANTIATE_SWEEP(OpTest, sweptCases(), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace llmc::test
