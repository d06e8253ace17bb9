// Linear attention's kernels against the oracle's numbers and the evaluator, and their bits: the
// same on every target, in steps of any length, alone or in a batch.
#include <algorithm>
#include <cmath>

#include "kernel_harness.h"
#include "mlir/Parser/Parser.h"
#include "runtime/io/float_convert.h"
#include "tests/ir/GatedDelta.h"

namespace llmc::test {
namespace {

/// The inputs of some tokens of one sequence.
struct Tokens {
  Matrix x, gate, beta;
};
/// What came out for them.
struct Results {
  std::vector<float> conv, delta;
  bool operator==(const Results&) const = default;
};

/// The layer's kernels for one target, with slots for five sequences.
class Layer {
 public:
  static constexpr int64_t kSlots = 5;

  Layer(const std::string& model, const DeltaShape& shape, llmrt::DType convType,
        const WeightSource& weights, const cpu::CpuTarget& target)
      : shape_(shape),
        convElements_((shape.taps - 1) * shape.qkvWidth()),
        deltaElements_(shape.valueHeads * shape.keyDim * shape.valueDim),
        conv_(static_cast<size_t>(kSlots * convElements_ * 4)),
        delta_(static_cast<size_t>(kSlots * deltaElements_ * 4)),
        kernels_(LoadedKernels::compile(model, target)) {
    context_.getOrLoadDialect<llm::LLMDialect>();
    module_ = mlir::parseSourceString<mlir::ModuleOp>(model, &context_);
    model_ = *module_->getOps<llm::ModelOp>().begin();
    for (auto weight : model_.getOps<llm::WeightOp>()) {
      const bool matrix = weight.getKind() == llm::WeightKind::matrix;
      const std::vector<float> values = weights(weight, -1);
      Buffer& to =
          *(weights_[weight.getSymName().str()] = std::make_unique<Buffer>(values.size() * 4));
      for (size_t i = 0; i < values.size(); ++i)
        llmrt::storeFromF32(matrix ? convType : llmrt::DType::kF32,
                            static_cast<uint8_t*>(to.data()), static_cast<int64_t>(i), values[i]);
    }
  }

  /// No sequence has begun.
  void reset() {
    std::fill_n(conv_.floats(), kSlots * convElements_, 0.0f);
    std::fill_n(delta_.floats(), kSlots * deltaElements_, 0.0f);
  }

  bool loaded() const { return kernels_ != nullptr; }
  llm::ModelOp model() { return model_; }

  /// One step of so many rows of each sequence: `part` i are the next tokens of sequence i. The
  /// second kernel takes what the first gave, or `conv` instead. In verify steps the tokens are
  /// trees; `parents` are numbers of rows of the same sequence.
  std::vector<Results> step(const std::string& kind, const std::vector<Tokens>& parts,
                            const Matrix* conv = nullptr,
                            const std::vector<std::vector<int32_t>>& parents = {}) {
    std::vector<int32_t> seq, parent;
    Tokens all;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (!parents.empty())
        for (int32_t p : parents[i])
          parent.push_back(p < 0 ? -1 : p + static_cast<int32_t>(seq.size()));
      seq.insert(seq.end(), static_cast<size_t>(parts[i].x.rows), static_cast<int32_t>(i));
      append(all, parts[i]);
    }
    const LlmcStep step{.num_rows = all.x.rows,
                        .num_sequences = static_cast<int64_t>(parts.size())};
    Buffer x = bufferOf(all.x), gate = bufferOf(all.gate), beta = bufferOf(all.beta);
    Buffer convolved(static_cast<size_t>(all.x.rows * deltaStride(shape_.qkvWidth()) * 4));
    Buffer y(static_cast<size_t>(all.x.rows * deltaStride(shape_.outputWidth()) * 4));
    std::map<std::string, void*> operands = {{"seq", seq.data()}, {"slots", slots_}};
    if (!parents.empty()) operands["parent"] = parent.data();
    auto with = [&](std::map<std::string, void*> others) {
      others.insert(operands.begin(), operands.end());
      return others;
    };
    run("conv_" + kind, step,
        with({{"x", x.data()},
              {"weight", weights_["conv1d"]->data()},
              {"state", conv_.data()},
              {"y", convolved.data()}}));
    Buffer given = conv ? bufferOf(*conv) : Buffer(0);
    run("delta_" + kind, step,
        with({{"qkv", conv ? given.data() : convolved.data()},
              {"gate", gate.data()},
              {"beta", beta.data()},
              {"a_log", weights_["a_log"]->data()},
              {"dt_bias", weights_["dt_bias"]->data()},
              {"state", delta_.data()},
              {"y", y.data()}}));
    std::vector<Results> results;
    int64_t row = 0;
    for (const Tokens& part : parts) {
      results.push_back({rowsOf(convolved, shape_.qkvWidth(), row, part.x.rows),
                         rowsOf(y, shape_.outputWidth(), row, part.x.rows)});
      row += part.x.rows;
    }
    return results;
  }

  std::vector<float> convState(size_t seq) { return slot(conv_, convElements_, slots_[seq]); }
  std::vector<float> deltaState(size_t seq) { return slot(delta_, deltaElements_, slots_[seq]); }
  /// Slots that no sequence has.
  void expectOthersUntouched() {
    for (int32_t number : {0, 2}) {
      EXPECT_EQ(slot(conv_, convElements_, number), std::vector<float>(convElements_));
      EXPECT_EQ(slot(delta_, deltaElements_, number), std::vector<float>(deltaElements_));
    }
  }

  static void append(Tokens& to, const Tokens& more) {
    append(to.x, more.x);
    append(to.gate, more.gate);
    append(to.beta, more.beta);
  }

 private:
  static void append(Matrix& to, const Matrix& rows) {
    to.rows += rows.rows;
    to.cols = rows.cols;
    to.values.insert(to.values.end(), rows.values.begin(), rows.values.end());
  }
  static Buffer bufferOf(const Matrix& m) {
    Buffer buffer(static_cast<size_t>(m.rows * deltaStride(m.cols) * 4));
    std::fill_n(buffer.floats(), m.rows * deltaStride(m.cols), std::nanf(""));
    for (int64_t r = 0; r < m.rows; ++r)
      std::copy_n(m.row(r), m.cols, buffer.floats() + r * deltaStride(m.cols));
    return buffer;
  }
  static std::vector<float> rowsOf(Buffer& buffer, int64_t width, int64_t first, int64_t count) {
    std::vector<float> out;
    for (int64_t r = first; r < first + count; ++r) {
      const float* row = buffer.floats() + r * deltaStride(width);
      out.insert(out.end(), row, row + width);
    }
    return out;
  }
  static std::vector<float> slot(Buffer& pool, int64_t elements, int32_t number) {
    const float* begin = pool.floats() + number * elements;
    return {begin, begin + elements};
  }
  /// In two calls, as two threads make them.
  void run(const std::string& kernel, const LlmcStep& step,
           const std::map<std::string, void*>& operands) {
    auto op = kernelOpOf(model_, kernel);
    const int64_t tiles = op.getTiling(llm::StepKind::prefill).tiles;
    kernels_->run(kernel.c_str(), step, operands, tiles / 2, tiles);
    kernels_->run(kernel.c_str(), step, operands, 0, tiles / 2);
  }

  const DeltaShape shape_;
  const int64_t convElements_, deltaElements_;
  Buffer conv_, delta_;
  int32_t slots_[3] = {3, 1, 4};  // of the sequences
  std::unique_ptr<LoadedKernels> kernels_;
  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  llm::ModelOp model_;
  std::map<std::string, std::unique_ptr<Buffer>> weights_;
};

TEST(GatedDeltaKernel, IsWhatTheOracleComputes) {
  const GatedDeltaGolden golden;
  const std::string model = deltaModel(golden.shape());
  for (const cpu::CpuTarget& target : runnableTargets()) {
    SCOPED_TRACE(target.name);
    Layer layer(model, golden.shape(), llmrt::DType::kF32, golden.weights(), target);
    ASSERT_TRUE(layer.loaded());
    const Matrix conv = golden.rows("conv");
    const std::vector<Results> results = layer.step(
        "prefill", {{golden.rows("x"), golden.rows("gate"), golden.rows("beta")}}, &conv);
    golden.expectNear("conv", results[0].conv);
    golden.expectNear("conv_state", layer.convState(0));
    golden.expectNear("delta", results[0].delta);
    golden.expectNear("delta_state", layer.deltaState(0));
  }
}

struct Case {
  const char* name;
  DeltaShape shape;
  const char* convType = "f32";
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

class GatedDeltaShapes : public testing::TestWithParam<Case> {
 protected:
  static Matrix random(int64_t rows, int64_t cols, float scale, std::mt19937& rng) {
    Matrix m(rows, cols);
    m.values = randomFloats(m.values.size(), rng);
    for (float& v : m.values) v *= scale;
    return m;
  }
  /// Rows [begin, end), none where the text is over.
  static Matrix part(const Matrix& m, int64_t begin, int64_t end) {
    begin = std::min(begin, m.rows), end = std::min(end, m.rows);
    Matrix out(end - begin, m.cols);
    out.values = std::vector<float>(m.row(begin), m.row(end));
    return out;
  }
  static Tokens part(const Tokens& t, int64_t begin, int64_t end) {
    return {part(t.x, begin, end), part(t.gate, begin, end), part(t.beta, begin, end)};
  }
  static llmrt::DType convType() {
    const std::string type = GetParam().convType;
    return type == "f32"   ? llmrt::DType::kF32
           : type == "f16" ? llmrt::DType::kF16
                           : llmrt::DType::kBF16;
  }
  /// Factors up to 0.8; rates from 0.1 to 3, as e^a_log; biases up to 1.
  static WeightSource weights() {
    return [](llm::WeightOp w, int64_t) {
      std::mt19937 rng(w.getSymName().size());
      const bool matrix = w.getKind() == llm::WeightKind::matrix, rate = w.getSymName() == "a_log";
      int64_t elements = 1;
      for (int64_t d : w.getLayerShape()) elements *= d;
      std::vector<float> values = randomFloats(static_cast<size_t>(elements), rng);
      for (float& v : values)
        v = matrix ? rounded(convType(), 0.8f * v) : rate ? 1.7f * v - 0.6f : v;
      return values;
    };
  }
};

TEST_P(GatedDeltaShapes, GiveTheSameBitsInStepsOfAnyLengthAndKind) {
  const DeltaShape& shape = GetParam().shape;
  const std::string model = deltaModel(shape, GetParam().convType);
  std::mt19937 rng(11);
  // Three sequences. Gates reach from a state that stays to one that is forgotten at once.
  std::vector<Tokens> texts;
  for (int64_t length : {19, 1, 8})
    texts.push_back({random(length, shape.qkvWidth(), 2, rng),
                     random(length, shape.valueHeads, 9, rng),
                     random(length, shape.valueHeads, 5, rng)});
  std::vector<Results> expected;  // of the first target, each sequence by itself
  std::vector<std::vector<float>> states;
  for (const cpu::CpuTarget& target : targetsOfTest(convType() == llmrt::DType::kBF16)) {
    SCOPED_TRACE(target.name);
    Layer layer(model, shape, convType(), weights(), target);
    ASSERT_TRUE(layer.loaded());
    // The first target: one sequence after another, a token a step. An empty part has no row.
    if (expected.empty()) {
      expected.resize(texts.size());
      for (size_t s = 0; s < texts.size(); ++s)
        for (int64_t r = 0; r < texts[s].x.rows; ++r) {
          std::vector<Tokens> parts;
          for (size_t i = 0; i <= s; ++i)
            parts.push_back(i == s ? part(texts[s], r, r + 1) : part(texts[i], 0, 0));
          const Results got = layer.step("decode", parts)[s];
          expected[s].conv.insert(expected[s].conv.end(), got.conv.begin(), got.conv.end());
          expected[s].delta.insert(expected[s].delta.end(), got.delta.begin(), got.delta.end());
        }
      for (size_t s : {0, 1, 2}) states.push_back(layer.deltaState(s));
      layer.expectOthersUntouched();
      layer.reset();
    }
    EXPECT_EQ(layer.step("prefill", texts), expected) << "all in one step";
    for (size_t s : {0, 1, 2}) EXPECT_EQ(layer.deltaState(s), states[s]) << "of sequence " << s;
    layer.expectOthersUntouched();
    // Chunks, and steps of several sequences: 5 tokens of each, 2, 1, then what is left.
    layer.reset();
    int64_t begin = 0;
    for (const auto& [kind, length] :
         {std::pair{"prefill", 5}, {"decode", 2}, {"decode", 1}, {"prefill", 11}}) {
      std::vector<Tokens> parts;
      for (const Tokens& text : texts) parts.push_back(part(text, begin, begin + length));
      const std::vector<Results> got = layer.step(kind, parts);
      for (size_t s : {0, 1, 2}) {
        auto same = [&](const std::vector<float>& a, const std::vector<float>& b, int64_t width) {
          return std::equal(a.begin(), a.end(),
                            b.begin() + std::min(begin, texts[s].x.rows) * width);
        };
        EXPECT_TRUE(same(got[s].conv, expected[s].conv, shape.qkvWidth())) << s << " at " << begin;
        EXPECT_TRUE(same(got[s].delta, expected[s].delta, shape.outputWidth()))
            << s << " at " << begin;
      }
      begin += length;
    }
    for (size_t s : {0, 1, 2}) EXPECT_EQ(layer.deltaState(s), states[s]) << "of sequence " << s;
  }
}

TEST_P(GatedDeltaShapes, GiveARowOfATreeTheBitsOfItsBranchDecodedAlone) {
  const DeltaShape& shape = GetParam().shape;
  const std::string model = deltaModel(shape, GetParam().convType);
  std::mt19937 rng(13);
  auto tokens = [&](int64_t length) {
    return Tokens{random(length, shape.qkvWidth(), 2, rng),
                  random(length, shape.valueHeads, 9, rng),
                  random(length, shape.valueHeads, 5, rng)};
  };
  // One sequence has a text before its tree, the other begins with it. A chain first, then rows
  // that continue any row before them, or none.
  const std::vector<Tokens> texts = {tokens(5), part(tokens(1), 0, 0)};
  const std::vector<Tokens> trees = {tokens(14), tokens(6)};
  std::vector<std::vector<int32_t>> parents = {{-1, 0, 1, 2}, {-1, -1}};
  for (size_t s : {0, 1})
    while (static_cast<int64_t>(parents[s].size()) < trees[s].x.rows)
      parents[s].push_back(static_cast<int32_t>(rng() % (parents[s].size() + 1)) - 1);
  auto row = [&](const std::vector<float>& all, int64_t r, int64_t width) {
    return std::vector<float>(all.begin() + r * width, all.begin() + (r + 1) * width);
  };
  for (const cpu::CpuTarget& target : targetsOfTest(convType() == llmrt::DType::kBF16)) {
    SCOPED_TRACE(target.name);
    Layer layer(model, shape, convType(), weights(), target);
    ASSERT_TRUE(layer.loaded());
    layer.step("prefill", texts);
    const std::vector<float> before[] = {layer.convState(0), layer.deltaState(0)};
    const std::vector<Results> got = layer.step("verify", trees, nullptr, parents);
    EXPECT_EQ(layer.convState(0), before[0]);
    EXPECT_EQ(layer.deltaState(0), before[1]);
    EXPECT_EQ(layer.deltaState(1), std::vector<float>(before[1].size()));
    layer.expectOthersUntouched();
    for (size_t s : {0, 1})
      for (int32_t last = 0; last < trees[s].x.rows; ++last) {
        std::vector<int32_t> branch;
        for (int32_t r = last; r >= 0; r = parents[s][static_cast<size_t>(r)])
          branch.insert(branch.begin(), r);
        layer.reset();
        layer.step("prefill", texts);
        std::vector<Tokens> parts = {part(trees[0], 0, 0), part(trees[1], 0, 0)};
        Results alone;
        Tokens accepted = parts[s];
        for (int32_t r : branch) {
          parts[s] = part(trees[s], r, r + 1);
          alone = layer.step("decode", parts)[s];
          Layer::append(accepted, parts[s]);
        }
        ASSERT_EQ(row(got[s].conv, last, shape.qkvWidth()), alone.conv) << s << ", row " << last;
        ASSERT_EQ(row(got[s].delta, last, shape.outputWidth()), alone.delta)
            << s << ", row " << last;
        if (last % 5 != 3) continue;
        // A commit step takes the branch at once, from where the text ended.
        const std::vector<float> after[] = {layer.convState(s), layer.deltaState(s)};
        layer.reset();
        layer.step("prefill", texts);
        parts[s] = accepted;
        layer.step("commit", parts);
        EXPECT_EQ(layer.convState(s), after[0]) << s << ", row " << last;
        EXPECT_EQ(layer.deltaState(s), after[1]) << s << ", row " << last;
      }
  }
}

TEST_P(GatedDeltaShapes, AreNearTheEvaluator) {
  const DeltaShape& shape = GetParam().shape;
  std::mt19937 rng(12);
  const int64_t length = 23;
  const Tokens text{random(length, shape.qkvWidth(), 2, rng),
                    random(length, shape.valueHeads, 9, rng),
                    random(length, shape.valueHeads, 5, rng)};
  Layer layer(deltaModel(shape, GetParam().convType), shape, convType(), weights(),
              runnableTargets().front());
  ASSERT_TRUE(layer.loaded());
  const Results got = layer.step("prefill", {text})[0];
  Evaluator evaluator(layer.model(), weights());
  KvState state;
  std::vector<Row> rows;
  for (int32_t r = 0; r < length; ++r) rows.push_back({0, r, 0});
  const Matrix conv =
      evaluator.evaluateOp(kernelOpOf(layer.model(), "conv_prefill"), {text.x}, rows, state, 0);
  // A chain of `taps` products up to 1.6, then exp and a quotient.
  const double convTolerance =
      static_cast<double>(shape.taps + 12) * 0x1p-24 * 1.6 * static_cast<double>(shape.taps);
  for (size_t i = 0; i < got.conv.size(); ++i)
    ASSERT_NEAR(got.conv[i], conv.values[i], convTolerance) << "conv " << i;
  // The rule on what the kernel's convolution gave, token by token. Keys have length 1, so a step
  // makes no error of the state larger; it adds those of two sums over keyDim, of a norm, and of
  // exp, each of the size of a column of the state or of v.
  auto op = kernelOpOf(layer.model(), "delta_prefill");
  auto stateOp =
      llvm::cast<llm::StateOp>(mlir::SymbolTable::lookupSymbolIn(layer.model(), "delta"));
  Matrix kernels(length, shape.qkvWidth());
  kernels.values = got.conv;
  double most = 0, tolerance = 0;
  for (int64_t r = 0; r < length; ++r) {
    const Matrix y = evaluator.evaluateOp(
        op, {part(kernels, r, r + 1), part(text.gate, r, r + 1), part(text.beta, r, r + 1)},
        {rows[static_cast<size_t>(r)]}, state, 0);
    const std::vector<float>& s = state.recurrent(stateOp, 0, 0);
    for (int64_t h = 0; h < shape.valueHeads; ++h)
      for (int64_t c = 0; c < shape.valueDim; ++c) {
        double squares = 0;
        for (int64_t i = 0; i < shape.keyDim; ++i)
          squares += std::pow(s[(h * shape.keyDim + i) * shape.valueDim + c], 2);
        most = std::max(most, std::sqrt(squares));
      }
    for (int64_t c = shape.qkvWidth() - shape.outputWidth(); c < shape.qkvWidth(); ++c)
      most = std::max<double>(most, std::abs(kernels.row(r)[c]));
    tolerance += static_cast<double>(2 * shape.keyDim + 64) * 0x1p-24 * most;
    for (int64_t c = 0; c < shape.outputWidth(); ++c)
      ASSERT_NEAR(got.delta[r * shape.outputWidth() + c], y.values[c], tolerance)
          << "row " << r << ", " << c;
  }
}

INSTANTIATE_TEST_SUITE_P(, GatedDeltaShapes,
                         testing::Values(Case{"heads_of_128", {2, 4, 128, 128}},
                                         Case{"whole_vectors_bf16", {1, 3, 16, 48, 4}, "bf16"},
                                         Case{"off_the_edges", {2, 4, 12, 20}},
                                         Case{"odd_f16", {3, 3, 19, 5, 4}, "f16"},
                                         Case{"two_taps", {1, 1, 33, 32, 2}},
                                         Case{"tiled", {2, 6, 16, 16, 4, true}}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace llmc::test
