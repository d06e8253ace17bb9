// What linear attention means: the numbers that the oracle gives, whatever the steps.
#include "mlir/Parser/Parser.h"
#include "tests/ir/GatedDelta.h"

namespace llmc::test {
namespace {

class GatedDelta : public testing::Test {
 protected:
  void SetUp() override {
    context_.getOrLoadDialect<llm::LLMDialect>();
    module_ = mlir::parseSourceString<mlir::ModuleOp>(deltaModel(golden_.shape()), &context_);
    ASSERT_TRUE(module_);
    model_ = *module_->getOps<llm::ModelOp>().begin();
    evaluator_.emplace(model_, golden_.weights());
  }
  /// One step of sequence `seq`: the rows [begin, end) of the inputs.
  Matrix step(const char* kernel, std::vector<Matrix> inputs, int64_t begin, int64_t end,
              int32_t seq, KvState& state) {
    std::vector<Row> rows;
    for (int64_t r = begin; r < end; ++r) rows.push_back({0, static_cast<int32_t>(r), seq});
    for (Matrix& m : inputs) {
      m.values = std::vector<float>(m.row(begin), m.row(end));
      m.rows = end - begin;
    }
    return evaluator_->evaluateOp(kernelOpOf(model_, kernel), inputs, rows, state, 0);
  }
  llm::StateOp stateOp(llvm::StringRef name) {
    return llvm::cast<llm::StateOp>(mlir::SymbolTable::lookupSymbolIn(model_, name));
  }

  const GatedDeltaGolden golden_;
  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  llm::ModelOp model_;
  std::optional<Evaluator> evaluator_;
};

TEST_F(GatedDelta, IsWhatTheOracleComputes) {
  const Matrix x = golden_.rows("x"), conv = golden_.rows("conv"), gate = golden_.rows("gate"),
               beta = golden_.rows("beta");
  KvState state;
  golden_.expectNear("conv", step("conv_prefill", {x}, 0, x.rows, 2, state).values);
  golden_.expectNear("delta",
                     step("delta_prefill", {conv, gate, beta}, 0, x.rows, 2, state).values);
  golden_.expectNear("conv_state", state.recurrent(stateOp("conv"), 0, 2));
  golden_.expectNear("delta_state", state.recurrent(stateOp("delta"), 0, 2));
}

TEST_F(GatedDelta, GivesTheSameInStepsOfAnyLength) {
  const Matrix x = golden_.rows("x"), conv = golden_.rows("conv"), gate = golden_.rows("gate"),
               beta = golden_.rows("beta");
  KvState whole, parts;
  const Matrix expected[] = {step("conv_prefill", {x}, 0, x.rows, 0, whole),
                             step("delta_prefill", {conv, gate, beta}, 0, x.rows, 0, whole)};
  int64_t begin = 0;
  for (int64_t end : {int64_t{1}, int64_t{4}, x.rows}) {
    const Matrix got[] = {step("conv_decode", {x}, begin, end, 0, parts),
                          step("delta_decode", {conv, gate, beta}, begin, end, 0, parts)};
    for (int i : {0, 1})
      EXPECT_TRUE(std::equal(got[i].values.begin(), got[i].values.end(), expected[i].row(begin)))
          << i << " from row " << begin;
    begin = end;
  }
  EXPECT_EQ(parts.recurrent(stateOp("delta"), 0, 0), whole.recurrent(stateOp("delta"), 0, 0));
  // Another sequence began from nothing.
  EXPECT_EQ(step("delta_decode", {conv, gate, beta}, 0, 1, 1, parts).values,
            std::vector<float>(expected[1].row(0), expected[1].row(1)));
}

// Heads of v in the order in which those of q and k repeat: the same numbers, each head's
// elsewhere.
TEST_F(GatedDelta, TiledTakesTheHeadsOfVInAnotherOrder) {
  DeltaShape shape = golden_.shape();
  shape.tiled = true;
  mlir::OwningOpRef<mlir::ModuleOp> tiled =
      mlir::parseSourceString<mlir::ModuleOp>(deltaModel(shape), &context_);
  ASSERT_TRUE(tiled);
  llm::ModelOp model = *tiled->getOps<llm::ModelOp>().begin();
  const int64_t each = shape.valueHeads / shape.keyHeads, keys = 2 * shape.keyHeads * shape.keyDim;
  // Where the head h of the golden is.
  auto at = [&](int64_t h) { return h % each * shape.keyHeads + h / each; };
  auto reordered = [&](const Matrix& m, int64_t begin, int64_t width) {
    Matrix out = m;
    for (int64_t r = 0; r < m.rows; ++r)
      for (int64_t h = 0; h < shape.valueHeads; ++h)
        std::copy_n(m.row(r) + begin + h * width, width, out.row(r) + begin + at(h) * width);
    return out;
  };
  Evaluator evaluator(model, [&](llm::WeightOp weight, int64_t) {
    Matrix values;
    values.values = golden_.values(weight.getSymName().str().c_str());
    values.rows = 1, values.cols = static_cast<int64_t>(values.values.size());
    return weight.getKind() == llm::WeightKind::matrix ? values.values
                                                       : reordered(values, 0, 1).values;
  });
  const Matrix conv = reordered(golden_.rows("conv"), keys, shape.valueDim),
               gate = reordered(golden_.rows("gate"), 0, 1),
               beta = reordered(golden_.rows("beta"), 0, 1);
  std::vector<Row> rows;
  for (int64_t r = 0; r < conv.rows; ++r) rows.push_back({0, static_cast<int32_t>(r), 0});
  KvState state, expected;
  const Matrix y =
      evaluator.evaluateOp(kernelOpOf(model, "delta_prefill"), {conv, gate, beta}, rows, state, 0);
  const Matrix want =
      step("delta_prefill", {golden_.rows("conv"), golden_.rows("gate"), golden_.rows("beta")}, 0,
           conv.rows, 0, expected);
  EXPECT_EQ(y.values, reordered(want, 0, shape.valueDim).values);
}

TEST_F(GatedDelta, OfATreeIsThatOfEachBranchAndLeavesTheState) {
  const Matrix x = golden_.rows("x"), conv = golden_.rows("conv"), gate = golden_.rows("gate"),
               beta = golden_.rows("beta");
  KvState begun;
  step("conv_prefill", {x}, 0, 2, 0, begun);
  step("delta_prefill", {conv, gate, beta}, 0, 2, 0, begun);
  // Rows 2 to 6 as a tree: 2 and 4 follow the text, 3 and 5 follow 2, 6 follows 3. Step rows count
  // from 0.
  const std::vector<Row> tree = {{.pos = 2, .slot = 2, .parent = -1},
                                 {.pos = 3, .slot = 3, .parent = 0},
                                 {.pos = 2, .slot = 4, .parent = -1},
                                 {.pos = 3, .slot = 5, .parent = 0},
                                 {.pos = 4, .slot = 6, .parent = 1}};
  auto rest = [](const Matrix& m) {
    Matrix out(5, m.cols);
    out.values = std::vector<float>(m.row(2), m.row(7));
    return out;
  };
  KvState verified = begun;
  const Matrix convs =
      evaluator_->evaluateOp(kernelOpOf(model_, "conv_verify"), {rest(x)}, tree, verified, 0);
  const Matrix deltas = evaluator_->evaluateOp(
      kernelOpOf(model_, "delta_verify"), {rest(conv), rest(gate), rest(beta)}, tree, verified, 0);
  EXPECT_EQ(verified.recurrent(stateOp("conv"), 0, 0), begun.recurrent(stateOp("conv"), 0, 0));
  EXPECT_EQ(verified.recurrent(stateOp("delta"), 0, 0), begun.recurrent(stateOp("delta"), 0, 0));
  for (const std::vector<int64_t>& branch : {std::vector<int64_t>{2, 3, 6}, {2, 5}, {4}}) {
    KvState state = begun;
    Matrix c, d;
    for (int64_t row : branch) {
      c = step("conv_decode", {x}, row, row + 1, 0, state);
      d = step("delta_decode", {conv, gate, beta}, row, row + 1, 0, state);
    }
    const int64_t last = branch.back() - 2;
    EXPECT_TRUE(std::equal(c.row(0), c.row(1), convs.row(last))) << last;
    EXPECT_TRUE(std::equal(d.row(0), d.row(1), deltas.row(last))) << last;
  }
}

TEST_F(GatedDelta, ReadsAndWritesItsStateOncePerSequence) {
  // 4 heads of 12 x 20, and 3 tokens of 128 columns, in f32.
  llm::KernelOpInterface delta = kernelOpOf(model_, "delta_decode"),
                         conv = kernelOpOf(model_, "conv_decode");
  EXPECT_EQ(delta.getCost().stateBytes, 3840);
  EXPECT_EQ(conv.getCost().stateBytes, 1536);
  EXPECT_EQ(delta.getCost().weightBytes, 32);
  EXPECT_EQ(conv.getCost().weightBytes, 2048);
  EXPECT_EQ(delta.getCost().flopsPerRow, 6720);  // 7 * 960
  EXPECT_EQ(conv.getCost().flopsPerRow, 1536);   // (2 * 4 + 4) * 128
  EXPECT_EQ(delta.getTiling(llm::StepKind::decode).tiles, 4);
  EXPECT_EQ(conv.getTiling(llm::StepKind::prefill).tiles, 2);
  EXPECT_EQ(conv.getTiling(llm::StepKind::prefill).rowsPerTile, 0);
}

}  // namespace
}  // namespace llmc::test
