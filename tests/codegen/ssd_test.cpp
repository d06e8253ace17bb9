// The kernels of Mamba-2's layers against the oracle's numbers and the evaluator, and their bits:
// the same on every target, in steps of any length, alone or in a batch, in trees.
#include <algorithm>
#include <cmath>

#include "kernel_harness.h"
#include "mlir/Parser/Parser.h"
#include "tests/ir/StateSpace.h"

namespace llmc::test {
namespace {

/// The inputs of some tokens of one sequence: of the convolution, of the state space, the gates of
/// both.
struct Tokens {
  Matrix x, dt, convGate, gate;
  int64_t count() const { return x.rows; }
};
/// What came out for them.
struct Results {
  std::vector<float> conv, ssd;
  bool operator==(const Results&) const = default;
};

Matrix part(const Matrix& m, int64_t begin, int64_t end) {
  begin = std::min(begin, m.rows), end = std::min(end, m.rows);
  Matrix out(end - begin, m.cols);
  out.values = std::vector<float>(m.row(begin), m.row(end));
  return out;
}
/// Rows [begin, end), none where the text is over.
Tokens part(const Tokens& t, int64_t begin, int64_t end) {
  return {part(t.x, begin, end), part(t.dt, begin, end), part(t.convGate, begin, end),
          part(t.gate, begin, end)};
}
void append(Matrix& to, const Matrix& rows) {
  to.rows += rows.rows;
  to.cols = rows.cols;
  to.values.insert(to.values.end(), rows.values.begin(), rows.values.end());
}
void append(Tokens& to, const Tokens& more) {
  append(to.x, more.x);
  append(to.dt, more.dt);
  append(to.convGate, more.convGate);
  append(to.gate, more.gate);
}

/// The layer's kernels for one target, with slots for five sequences.
class Layer {
 public:
  static constexpr int64_t kSlots = 5;

  Layer(const SsdShape& shape, const WeightSource& weights, const cpu::CpuTarget& target)
      : shape_(shape),
        convElements_((shape.taps - 1) * shape.width()),
        ssmElements_(shape.inner() * shape.stateSize),
        conv_(static_cast<size_t>(kSlots * convElements_ * 4)),
        ssm_(static_cast<size_t>(kSlots * ssmElements_ * 4)),
        kernels_(LoadedKernels::compile(ssdModel(shape), target)) {
    context_.getOrLoadDialect<llm::LLMDialect>();
    module_ = mlir::parseSourceString<mlir::ModuleOp>(ssdModel(shape), &context_);
    model_ = *module_->getOps<llm::ModelOp>().begin();
    for (auto weight : model_.getOps<llm::WeightOp>()) {
      const std::vector<float> values = weights(weight, -1);
      Buffer& to =
          *(weights_[weight.getSymName().str()] = std::make_unique<Buffer>(values.size() * 4));
      std::copy(values.begin(), values.end(), to.floats());
    }
  }

  bool loaded() const { return kernels_ != nullptr; }
  llm::ModelOp model() { return model_; }
  llm::KernelOpInterface op(const std::string& kernel) {
    return llvm::cast<llm::KernelOp>(mlir::SymbolTable::lookupSymbolIn(model_, kernel))
        .getComputeOp();
  }
  /// No sequence has begun.
  void reset() {
    std::fill_n(conv_.floats(), kSlots * convElements_, 0.0f);
    std::fill_n(ssm_.floats(), kSlots * ssmElements_, 0.0f);
  }

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
      seq.insert(seq.end(), static_cast<size_t>(parts[i].count()), static_cast<int32_t>(i));
      append(all, parts[i]);
    }
    const LlmcStep step{.num_rows = all.count(),
                        .num_sequences = static_cast<int64_t>(parts.size())};
    Buffer x = bufferOf(conv ? *conv : all.x), dt = bufferOf(all.dt), gate = bufferOf(all.gate),
           convGate = bufferOf(all.convGate);
    Buffer convolved(static_cast<size_t>(all.count() * ssdStride(shape_.width()) * 4));
    Buffer y(static_cast<size_t>(all.count() * ssdStride(shape_.inner()) * 4));
    auto with = [&](std::map<std::string, void*> operands, Buffer& times) {
      operands.insert({{"seq", seq.data()}, {"slots", slots_}});
      if (!parents.empty()) operands["parent"] = parent.data();
      if (shape_.gated) operands["gate"] = times.data();
      return operands;
    };
    if (!conv)
      run("conv_" + kind, step,
          with({{"x", x.data()},
                {"weight", weights_["conv1d"]->data()},
                {"bias", weights_["conv_bias"]->data()},
                {"state", conv_.data()},
                {"y", convolved.data()}},
               convGate));
    run("ssd_" + kind, step,
        with({{"xbc", conv ? x.data() : convolved.data()},
              {"dt", dt.data()},
              {"a", weights_["a"]->data()},
              {"dt_bias", weights_["dt_bias"]->data()},
              {"d", weights_["d"]->data()},
              {"state", ssm_.data()},
              {"y", y.data()}},
             gate));
    std::vector<Results> results;
    int64_t row = 0;
    for (const Tokens& part : parts) {
      results.push_back({rowsOf(convolved, shape_.width(), row, part.count()),
                         rowsOf(y, shape_.inner(), row, part.count())});
      row += part.count();
    }
    return results;
  }

  std::vector<float> convState(size_t seq) { return slot(conv_, convElements_, slots_[seq]); }
  std::vector<float> ssmState(size_t seq) { return slot(ssm_, ssmElements_, slots_[seq]); }
  /// Slots that no sequence has.
  void expectOthersUntouched() {
    for (int32_t number : {0, 2}) {
      EXPECT_EQ(slot(conv_, convElements_, number), std::vector<float>(convElements_));
      EXPECT_EQ(slot(ssm_, ssmElements_, number), std::vector<float>(ssmElements_));
    }
  }

 private:
  static Buffer bufferOf(const Matrix& m) {
    Buffer buffer(static_cast<size_t>(m.rows * ssdStride(m.cols) * 4));
    std::fill_n(buffer.floats(), m.rows * ssdStride(m.cols), std::nanf(""));
    for (int64_t r = 0; r < m.rows; ++r)
      std::copy_n(m.row(r), m.cols, buffer.floats() + r * ssdStride(m.cols));
    return buffer;
  }
  static std::vector<float> rowsOf(Buffer& buffer, int64_t width, int64_t first, int64_t count) {
    std::vector<float> out;
    for (int64_t r = first; r < first + count; ++r) {
      const float* row = buffer.floats() + r * ssdStride(width);
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
    const int64_t tiles = op(kernel).getTiling(llm::StepKind::prefill).tiles;
    kernels_->run(kernel.c_str(), step, operands, tiles / 2, tiles);
    kernels_->run(kernel.c_str(), step, operands, 0, tiles / 2);
  }

  const SsdShape shape_;
  const int64_t convElements_, ssmElements_;
  Buffer conv_, ssm_;
  int32_t slots_[3] = {3, 1, 4};  // of the sequences
  std::unique_ptr<LoadedKernels> kernels_;
  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  llm::ModelOp model_;
  std::map<std::string, std::unique_ptr<Buffer>> weights_;
};

TEST(SsdKernel, IsWhatTheOracleComputes) {
  const SsdGolden golden;
  SsdShape shape = golden.shape();
  shape.bounds = golden.bounds();
  for (const cpu::CpuTarget& target : runnableTargets()) {
    SCOPED_TRACE(target.name);
    Layer layer(
        shape,
        [&](llm::WeightOp w, int64_t layer) {
          std::vector<float> values = golden.weights()(w, layer);
          values.resize(static_cast<size_t>(w.getTensorType().getNumElements()));
          return values;
        },
        target);
    ASSERT_TRUE(layer.loaded());
    const Matrix xbc = golden.rows("xbc");
    const std::vector<Results> results =
        layer.step("prefill", {{xbc, golden.rows("dt"), Matrix(7, 1), Matrix(7, 1)}}, &xbc);
    golden.expectNear("y", results[0].ssd);
    golden.expectNear("state", layer.ssmState(0));
  }
}

struct Case {
  const char* name;
  SsdShape shape;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

class SsdShapes : public testing::TestWithParam<Case> {
 protected:
  static Matrix random(int64_t rows, int64_t cols, float scale, std::mt19937& rng) {
    Matrix m(rows, cols);
    m.values = randomFloats(m.values.size(), rng);
    for (float& v : m.values) v *= scale;
    return m;
  }
  /// Time steps reach from a state that stays to one that is forgotten at once.
  static Tokens tokens(int64_t count, std::mt19937& rng) {
    const SsdShape& s = GetParam().shape;
    return {random(count, s.width(), 2, rng), random(count, s.heads, 9, rng),
            random(count, s.width(), 1, rng), random(count, s.inner(), 1, rng)};
  }
  /// Factors up to 0.8; rates from 0.1 to 3; biases up to 1.
  static WeightSource weights() {
    return [](llm::WeightOp w, int64_t) {
      std::mt19937 rng(w.getSymName().size());
      const bool rates = w.getSymName() == "a", isRate = GetParam().shape.a == "@a rate";
      std::vector<float> values =
          randomFloats(static_cast<size_t>(w.getTensorType().getNumElements()), rng);
      for (float& v : values) {
        v *= rates ? 1.0f : 0.8f;
        if (rates) v = isRate ? -std::exp(1.7f * v - 0.6f) : 1.7f * v - 0.6f;
      }
      return values;
    };
  }
};

TEST_P(SsdShapes, GiveTheSameBitsInStepsOfAnyLengthAndKind) {
  std::mt19937 rng(11);
  std::vector<Tokens> texts;
  for (int64_t length : {19, 1, 8}) texts.push_back(tokens(length, rng));
  std::vector<Results> expected;  // of the first target, each sequence by itself
  std::vector<std::vector<float>> states;
  for (const cpu::CpuTarget& target : targetsOfTest(false)) {
    SCOPED_TRACE(target.name);
    Layer layer(GetParam().shape, weights(), target);
    ASSERT_TRUE(layer.loaded());
    // The first target: one sequence after another, a token a step. An empty part has no row.
    if (expected.empty()) {
      expected.resize(texts.size());
      for (size_t s = 0; s < texts.size(); ++s)
        for (int64_t r = 0; r < texts[s].count(); ++r) {
          std::vector<Tokens> parts;
          for (size_t i = 0; i <= s; ++i)
            parts.push_back(i == s ? part(texts[s], r, r + 1) : part(texts[i], 0, 0));
          const Results got = layer.step("decode", parts)[s];
          expected[s].conv.insert(expected[s].conv.end(), got.conv.begin(), got.conv.end());
          expected[s].ssd.insert(expected[s].ssd.end(), got.ssd.begin(), got.ssd.end());
        }
      for (size_t s : {0, 1, 2}) states.push_back(layer.ssmState(s));
      layer.expectOthersUntouched();
      layer.reset();
    }
    EXPECT_EQ(layer.step("prefill", texts), expected) << "all in one step";
    for (size_t s : {0, 1, 2}) EXPECT_EQ(layer.ssmState(s), states[s]) << "of sequence " << s;
    layer.expectOthersUntouched();
    // Chunks, and steps of several sequences.
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
                            b.begin() + std::min(begin, texts[s].count()) * width);
        };
        EXPECT_TRUE(same(got[s].conv, expected[s].conv, GetParam().shape.width())) << s;
        EXPECT_TRUE(same(got[s].ssd, expected[s].ssd, GetParam().shape.inner())) << s;
      }
      begin += length;
    }
    for (size_t s : {0, 1, 2}) EXPECT_EQ(layer.ssmState(s), states[s]) << "of sequence " << s;
  }
}

TEST_P(SsdShapes, GiveARowOfATreeTheBitsOfItsBranchDecodedAlone) {
  std::mt19937 rng(13);
  const SsdShape& shape = GetParam().shape;
  // One sequence has a text before its tree, the other begins with it.
  const std::vector<Tokens> texts = {tokens(5, rng), part(tokens(1, rng), 0, 0)};
  const std::vector<Tokens> trees = {tokens(11, rng), tokens(6, rng)};
  std::vector<std::vector<int32_t>> parents = {{-1, 0, 1, 2}, {-1, -1}};
  for (size_t s : {0, 1})
    while (static_cast<int64_t>(parents[s].size()) < trees[s].count())
      parents[s].push_back(static_cast<int32_t>(rng() % (parents[s].size() + 1)) - 1);
  auto row = [&](const std::vector<float>& all, int64_t r, int64_t width) {
    return std::vector<float>(all.begin() + r * width, all.begin() + (r + 1) * width);
  };
  for (const cpu::CpuTarget& target : targetsOfTest(false)) {
    SCOPED_TRACE(target.name);
    Layer layer(shape, weights(), target);
    ASSERT_TRUE(layer.loaded());
    layer.step("prefill", texts);
    const std::vector<float> before[] = {layer.convState(0), layer.ssmState(0)};
    const std::vector<Results> got = layer.step("verify", trees, nullptr, parents);
    EXPECT_EQ(layer.convState(0), before[0]);
    EXPECT_EQ(layer.ssmState(0), before[1]);
    layer.expectOthersUntouched();
    for (size_t s : {0, 1})
      for (int32_t last = 0; last < trees[s].count(); ++last) {
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
          append(accepted, parts[s]);
        }
        ASSERT_EQ(row(got[s].conv, last, shape.width()), alone.conv) << s << ", row " << last;
        ASSERT_EQ(row(got[s].ssd, last, shape.inner()), alone.ssd) << s << ", row " << last;
        if (last % 5 != 3) continue;
        // A commit step takes the branch at once, from where the text ended.
        const std::vector<float> after[] = {layer.convState(s), layer.ssmState(s)};
        layer.reset();
        layer.step("prefill", texts);
        parts[s] = accepted;
        layer.step("commit", parts);
        EXPECT_EQ(layer.convState(s), after[0]) << s << ", row " << last;
        EXPECT_EQ(layer.ssmState(s), after[1]) << s << ", row " << last;
      }
  }
}

TEST_P(SsdShapes, AreNearTheEvaluator) {
  const SsdShape& shape = GetParam().shape;
  std::mt19937 rng(12);
  const int64_t length = 23;
  const Tokens text = tokens(length, rng);
  Layer layer(shape, weights(), runnableTargets().front());
  ASSERT_TRUE(layer.loaded());
  const Results got = layer.step("prefill", {text})[0];
  Evaluator evaluator(layer.model(), weights());
  KvState states;
  std::vector<Row> rows;
  for (int32_t r = 0; r < length; ++r) rows.push_back({0, r, 0});
  std::vector<Matrix> inputs = {text.x};
  if (shape.gated) inputs.push_back(text.convGate);
  const Matrix conv = evaluator.evaluateOp(layer.op("conv_prefill"), inputs, rows, states, 0);
  // A chain of `taps` products up to 1.6 and a bias, then exp and a quotient; gates are below 1.
  const double convTolerance =
      static_cast<double>(shape.taps + 13) * 0x1p-24 * 1.6 * static_cast<double>(shape.taps + 1);
  for (size_t i = 0; i < got.conv.size(); ++i)
    ASSERT_NEAR(got.conv[i], conv.values[i], convTolerance) << "conv " << i;
  // The state space on what the kernel's convolution gave. A decay below 1 makes no error of the
  // state larger. A token adds those of a product with a time step and of exp, each of the size of
  // an element of the state; y is a sum of stateSize products with C, of half the bits' error each.
  Matrix kernels(length, shape.width());
  kernels.values = got.conv;
  inputs = {kernels, text.dt};
  if (shape.gated) inputs.push_back(text.gate);
  double most = 0, largest = 0;
  for (float v : got.conv) largest = std::max<double>(largest, std::abs(v));
  double tolerance = 0;
  for (int64_t r = 0; r < length; ++r) {
    std::vector<Matrix> one;
    for (const Matrix& m : inputs) one.push_back(part(m, r, r + 1));
    const Matrix y = evaluator.evaluateOp(layer.op("ssd_prefill"), one,
                                          {rows[static_cast<size_t>(r)]}, states, 0);
    auto stateOp =
        llvm::cast<llm::StateOp>(mlir::SymbolTable::lookupSymbolIn(layer.model(), "ssm"));
    for (float v : states.recurrent(stateOp, 0, 0)) most = std::max<double>(most, std::abs(v));
    const double terms = static_cast<double>(shape.stateSize);
    tolerance += 32 * 0x1p-24 * (most + largest * largest) * largest * terms;
    for (int64_t c = 0; c < shape.inner(); ++c)
      ASSERT_NEAR(got.ssd[static_cast<size_t>(r * shape.inner() + c)], y.values[c],
                  tolerance + terms * 0x1p-24 * most * largest * terms)
          << "row " << r << ", " << c;
  }
}

INSTANTIATE_TEST_SUITE_P(
    , SsdShapes,
    testing::Values(Case{"heads_of_64", {4, 2, 128, 64}},
                    Case{"gated_rates", {3, 1, 16, 48, true, "", "@a rate", "none", 3}},
                    Case{"off_the_edges", {4, 2, 12, 20, true, "from 0.25 to 1.5"}},
                    Case{"odd", {3, 3, 19, 5, false, "from 0.001"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace llmc::test
