// What a state space layer means: the numbers that the oracle gives, whatever the steps.
#include "mlir/Parser/Parser.h"
#include "tests/ir/StateSpace.h"

namespace llmc::test {
namespace {

/// The evaluator on the kernels of a shape.
class Meaning {
 public:
  Meaning(const SsdShape& shape, const WeightSource& weights) {
    context_.getOrLoadDialect<llm::LLMDialect>();
    module_ = mlir::parseSourceString<mlir::ModuleOp>(ssdModel(shape), &context_);
    model_ = *module_->getOps<llm::ModelOp>().begin();
    evaluator_.emplace(model_, weights);
  }
  llm::KernelOpInterface op(llvm::StringRef kernel) {
    return llvm::cast<llm::KernelOp>(mlir::SymbolTable::lookupSymbolIn(model_, kernel))
        .getComputeOp();
  }
  /// One step of sequence 0: the rows [begin, end) of the inputs.
  std::vector<float> step(const char* kernel, std::vector<Matrix> inputs, int64_t begin,
                          int64_t end) {
    std::vector<Row> rows;
    for (int64_t r = begin; r < end; ++r) rows.push_back({0, static_cast<int32_t>(r), 0});
    for (Matrix& m : inputs) {
      m.values = std::vector<float>(m.row(begin), m.row(end));
      m.rows = end - begin;
    }
    return evaluator_->evaluateOp(op(kernel), inputs, rows, states_, 0).values;
  }
  std::vector<float> state() {
    return states_.recurrent(
        llvm::cast<llm::StateOp>(mlir::SymbolTable::lookupSymbolIn(model_, "ssm")), 0, 0);
  }

 private:
  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  llm::ModelOp model_;
  std::optional<Evaluator> evaluator_;
  KvState states_;
};

TEST(Ssd, IsWhatTheOracleComputes) {
  const SsdGolden golden;
  for (const bool bounded : {true, false}) {
    SsdShape shape = golden.shape();
    if (bounded) shape.bounds = golden.bounds();
    const std::string free = bounded ? "" : "free_";
    Meaning whole(shape, golden.weights()), parts(shape, golden.weights());
    const Matrix xbc = golden.rows("xbc"), dt = golden.rows("dt");
    const std::vector<float> y = whole.step("ssd_prefill", {xbc, dt}, 0, xbc.rows);
    golden.expectNear(free + "y", y);
    golden.expectNear(free + "state", whole.state());
    std::vector<float> pieces;
    int64_t begin = 0;
    for (const int64_t end : {int64_t{1}, int64_t{4}, xbc.rows}) {
      const std::vector<float> piece = parts.step("ssd_decode", {xbc, dt}, begin, end);
      pieces.insert(pieces.end(), piece.begin(), piece.end());
      begin = end;
    }
    EXPECT_EQ(pieces, y);
    EXPECT_EQ(parts.state(), whole.state());
  }
}

TEST(Ssd, MayHaveTheRatesThemselvesAndAGate) {
  const SsdGolden golden;
  SsdShape shape = golden.shape();
  Meaning plain(shape, golden.weights());
  shape.gated = true;
  shape.a = "@a rate";
  Meaning other(shape, [&](llm::WeightOp weight, int64_t layer) {
    std::vector<float> values = golden.weights()(weight, layer);
    if (weight.getSymName() == "a")
      for (float& v : values) v = -std::exp(v);
    return values;
  });
  const Matrix xbc = golden.rows("xbc"), dt = golden.rows("dt");
  Matrix gate(xbc.rows, shape.inner());
  for (size_t i = 0; i < gate.values.size(); ++i) gate.values[i] = i % 3 == 0 ? -2.0f : 0.5f;
  const std::vector<float> y = plain.step("ssd_prefill", {xbc, dt}, 0, xbc.rows),
                           gated = other.step("ssd_prefill", {xbc, dt, gate}, 0, xbc.rows);
  for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(gated[i], y[i] * gate.values[i], 1e-5) << i;
}

TEST(Ssd, ReadsAndWritesItsStateOncePerSequence) {
  const SsdGolden golden;
  Meaning m(golden.shape(), golden.weights());
  llm::KernelOpInterface ssd = m.op("ssd_decode"), conv = m.op("conv_decode");
  EXPECT_EQ(ssd.getCost().stateBytes, 4 * 12 * 20 * 4);
  EXPECT_EQ(ssd.getCost().weightBytes, 3 * 4 * 4);
  EXPECT_EQ(ssd.getCost().flopsPerRow, 5 * 4 * 12 * 20);
  EXPECT_EQ(ssd.getTiling(llm::StepKind::decode).tiles, 4);
  EXPECT_EQ(conv.getCost().weightBytes, (4 + 1) * 128 * 4);
}

}  // namespace
}  // namespace llmc::test
