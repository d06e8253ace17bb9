// Routed experts, and the products of single heads: launches of device/experts.cuh,
// grouped.cuh and experts_wgmma.cuh.

#include <algorithm>

#include "codegen/cuda/KernelText.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

/// Rows of an expert that a block of expertsOfManyRows takes before it is worth another one.
constexpr int64_t kRowsOfAPart = 64;

/// One of the two products of routed experts.
struct ExpertProduct {
  llm::Matrix matrix;
  int64_t numPanels;  // of one expert
  int64_t numExperts, topK;
  std::string route;  // the device's Route
  int64_t maxRows;

  int64_t entries() const { return maxRows * topK; }
  /// sortByExpert()'s: counts, then entries.
  int64_t sortedBytes() const { return ceilDiv((numExperts + 1 + entries()) * 4, 16) * 16; }
  bool onWgmma() const { return !matrix.type.isF32() && matrix.cols % 64 == 0; }  // whole stages
  /// packExperts()' tiles of 64 rows in 16 bits.
  int64_t packedBytes() const { return (entries() / 64 + numExperts + 1) * 64 * matrix.cols * 2; }
  std::string spec(int64_t xStride) const {
    return fmt::format("Product<{}, {}, {}, {}, false, false>", storageName(matrix.type),
                       matrix.cols, numPanels, xStride);
  }
};

ExpertProduct productOf(Operation* op, FlatSymbolRefAttr weight, bool pairs, Value route,
                        const KernelForm& form) {
  ExpertProduct p;
  p.matrix = llm::matrixOf(op, weight);
  p.numPanels = ceilDiv(p.matrix.rows, 16) * (pairs ? 2 : 1);
  p.numExperts = static_cast<int64_t>(llm::lookupWeight(op, weight).getNumExperts());
  p.topK = llm::widthOf(route) / 2;
  p.route = fmt::format("Route<{}, {}, {}>{{{}}}", p.numExperts, p.topK, form.stride("route"),
                        form.in("route"));
  p.maxRows = form.maxRows;
  return p;
}

/// The product of many rows: sorted by expert, each expert's on its own. `ownRows`: ExpertRows'.
/// `scratchBytes`: what the op takes of scratch, the sorted entries first; packed rows come behind.
void manyRows(Functions& out, const ExpertProduct& p, const KernelForm& form, bool ownRows,
              int64_t scratchBytes, const std::string& finish) {
  const int64_t xStride = form.stride("x");
  const std::string begins = fmt::format("reinterpret_cast<int*>({})", scratchAt(0));
  out.scratchBytes = scratchBytes;
  out.functions.push_back({"_sort",
                           fmt::format("sortByExpert(args, {}, {});", p.route, begins),
                           {.threads = 256, .blocks = p.numExperts}});
  const std::string rows =
      fmt::format("ExpertRows<{}, {}, {}, {}>", p.topK, p.matrix.cols, xStride, boolean(ownRows));
  if (p.onWgmma()) {
    const int64_t offset = ceilDiv(scratchBytes, 128) * 128;  // bulk copies of whole cache lines
    const std::string packed = scratchAt(offset), spec = p.spec(xStride);
    out.wgmmaScratchBytes = offset + p.packedBytes();
    out.functions.push_back({"_tiles",
                             fmt::format("packExperts<{}, {}>(args, {}, {}, {}, {});", spec, rows,
                                         form.in("x"), p.route, begins, packed),
                             {.threads = 256,
                              .blocks = ceilDiv(p.matrix.cols, 1024) * p.topK,
                              .rowsPerBlock = 16,
                              .where = Launch::kWithWgmma}});
    // A block goes on to its next tile without a pause, so a few for each processor are enough; one
    // for each would leave a chip of fewer processors waiting for the second turn of some.
    const int64_t cluster = form.options.clusterBlocks,
                  clusters = ceilDiv(p.numPanels, 8 * cluster) *
                             (p.entries() / 256 + std::min(p.numExperts, p.entries()));
    out.functions.push_back(
        {"_wgmma",
         fmt::format("static_assert(ProductOnWgmma<{0}, 256, int>::kSharedBytes == {1});\n  "
                     "expertsOnWgmma<{0}, {2}{7}>(args, {3}, {4}, {5}, {6});",
                     spec, wgmmaBytes(256), p.numExperts, begins, packed, form.any("weight"),
                     finish, clusterArgument(cluster)),
         {.threads = 384,
          .blocks = std::min(4 * kHopperProcessors / cluster, clusters) * cluster,
          .dynamicSharedBytes = wgmmaBytes(256),
          .where = Launch::kWithWgmma,
          .blocksPerProcessor = 1,
          .clusterBlocks = cluster}});
  }
  if (!p.matrix.type.isF32()) {
    out.functions.push_back(
        {"_mma",
         fmt::format("groupedOnTensorCores<{}, {}, {}>(args, ExpertGroups<{}, {}>{{{}, {}}}, {}, "
                     "{});",
                     storageName(p.matrix.type), p.matrix.cols, p.numPanels, p.numExperts, rows,
                     form.in("x"), begins, form.any("weight"), finish),
         {.threads = 128,
          .blocks = ceilDiv(p.numPanels, 8),
          .rowsPerBlock = 1,
          .dynamicSharedBytes = kGroupedBytes,
          .where = p.onWgmma() ? Launch::kWithoutWgmma : Launch::kEverywhere,
          .blocksPerProcessor = 2}});
    return;
  }
  const Staging staging = stagingOf(4, p.matrix.cols, p.matrix.type, out.problem);
  const int64_t panels = panelsPerBlock(p.numPanels);
  out.functions.push_back(
      {"_many",
       fmt::format("expertsOfManyRows<{}, 4, {}, {}, {}, {}>(args, {}, {}, {}, {});",
                   p.spec(xStride), boolean(staging.staged), panels, p.numExperts, rows,
                   form.in("x"), begins, form.any("weight"), finish),
       {.threads = 256,
        .blocks = ceilDiv(p.numPanels, panels) * p.numExperts,
        .rowsPerBlock = kRowsOfAPart,
        .dynamicSharedBytes = staging.bytes,
        .blocksPerProcessor = fewRowsBlocks(staging)}});
}

}  // namespace

Functions emit(llm::RouteOp op, const KernelForm& form) {
  const char* scoring = op.getScoring() == llm::RouteScoring::softmax   ? "kSoftmax"
                        : op.getScoring() == llm::RouteScoring::sigmoid ? "kSigmoidScores"
                                                                        : "kSoftmaxChosen";
  Functions result;
  result.functions.push_back(
      {"",
       fmt::format("letNextKernelBegin();\n  waitForEarlierKernels();\n  routeRow<{}, {}, {}, {}, "
                   "{}, {}, {}, {}, {}>(args, {}, {}, {}, {}, {});",
                   llm::widthOf(op.getX()), op.getTopK(), scoring, boolean(op.getNormalize()),
                   op.getNumGroups(), op.getKeepGroups(), op.getGroupTop(), form.stride("x"),
                   form.stride("y"), form.in("x"), form.in("bias"), form.in("expert_scale"),
                   number(op.getScale().convertToDouble()), form.out("y")),
       {.threads = 32, .rowsPerBlock = 1}});
  return result;
}

Functions emit(llm::ExpertGluOp op, const KernelForm& form) {
  const ExpertProduct p = productOf(op, op.getGateProjAttr(), true, op.getRoute(), form);
  const std::string finish = fmt::format("FinishExpertGlu<{}, {}, {}, {}>{{{}, {}, {}, {}}}",
                                         activationName(op.getActivation()), p.matrix.rows, p.topK,
                                         form.stride("y"), form.in("gate_bias"), form.in("up_bias"),
                                         number(op.getLimit().convertToDouble()), form.out("y"));
  Functions result;
  if (!form.fewRows()) {
    manyRows(result, p, form, false, p.sortedBytes(), finish);
    return result;
  }
  for (const int64_t rows : {1, 4}) {
    if (rows > 1 && form.maxRows == 1) break;
    const Staging staging = stagingOf(rows, p.matrix.cols, p.matrix.type, result.problem);
    const int64_t panels = panelsPerBlock(p.numPanels * p.topK);
    const int64_t mostRows = rows == 1 ? 1 : form.maxRows;
    result.functions.push_back(
        {fmt::format("_{}row", rows),
         fmt::format("expertsOfFewRows<{}, {}, {}, {}, {}>(args, {}, {}, {}, {});",
                     p.spec(form.stride("x")), rows, boolean(staging.staged), panels, mostRows,
                     form.in("x"), p.route, form.any("weight"), finish),
         {.minRows = rows == 1 ? 1 : 2,
          .maxRows = mostRows,
          .threads = 256,
          .blocks = ceilDiv(p.numPanels, panels) * p.topK,
          .rowsPerBlock = 1,
          .dynamicSharedBytes = staging.bytes,
          .blocksPerProcessor = fewRowsBlocks(staging)}});
  }
  return result;
}

Functions emit(llm::ExpertDownOp op, const KernelForm& form) {
  const ExpertProduct p = productOf(op, op.getWeightAttr(), false, op.getRoute(), form);
  Functions result;
  if (form.fewRows()) {
    // Unstaged operands are read where they lie, also those of a matrix that is no whole blocks.
    const int64_t blockCols = 8 * perWord(p.matrix.type);
    const int64_t bytes = p.topK * ceilDiv(p.matrix.cols, blockCols) * blockCols * 4;
    const bool staged = bytes <= kStagedBytes;
    result.functions.push_back(
        {"",
         fmt::format("expertDownOfOneRow<{}, {}, {}, {}>(args, {}, {}, {}, {}, {});",
                     p.spec(form.stride("x")), boolean(staged), p.matrix.rows, form.stride("y"),
                     form.in("x"), p.route, form.any("weight"), form.in("bias"), form.out("y")),
         {.threads = 256,
          .blocks = p.numPanels,
          .rowsPerBlock = 1,
          .dynamicSharedBytes = staged ? bytes : 0,
          .blocksPerProcessor = fewRowsBlocks({1, bytes, staged})}});
    return result;
  }
  const std::string products =
      fmt::format("reinterpret_cast<float*>({})", scratchAt(p.sortedBytes()));
  manyRows(result, p, form, true, p.sortedBytes() + p.entries() * p.matrix.rows * 4,
           fmt::format("FinishEntry<{}>{{{}}}", p.matrix.rows, products));
  result.functions.push_back(
      {"_sum",
       fmt::format("combineExperts<{}, {}>(args, {}, {}, {}, {});", p.matrix.rows, form.stride("y"),
                   p.route, products, form.in("bias"), form.out("y")),
       {.threads = 256, .rowsPerBlock = 1}});
  return result;
}

Functions emit(llm::HeadLinearOp op, const KernelForm& form) {
  const llm::Matrix m = llm::matrixOf(op, op.getWeightAttr());
  const auto heads = static_cast<int64_t>(op.getHeads());
  const int64_t headRows = llm::widthOf(op.getY()) / heads, headPanels = ceilDiv(headRows, 16);
  Functions result;
  if (!form.fewRows() && !m.type.isF32()) {
    result.functions.push_back(
        {"_mma",
         fmt::format("groupedOnTensorCores<{}, {}, {}>(args, HeadGroups<{}, {}, {}>{{{}, 0}}, {}, "
                     "FinishHeadGroup<{}, {}>{{{}}});",
                     storageName(m.type), m.cols, headPanels, heads, m.cols, form.stride("x"),
                     form.in("x"), form.any("weight"), headRows, form.stride("y"), form.out("y")),
         {.threads = 128,
          .blocks = ceilDiv(headPanels, 8),
          .rowsPerBlock = 1,
          .dynamicSharedBytes = kGroupedBytes,
          .blocksPerProcessor = 2}});
    return result;
  }
  for (const int64_t rows : {1, 4}) {
    if (rows > 1 && form.maxRows == 1) break;
    const Staging staging = stagingOf(rows, m.cols, m.type, result.problem);
    result.functions.push_back(
        {fmt::format("_{}row", rows),
         fmt::format("headProductOfFewRows<Product<{}, {}, {}, {}, false, false>, {}, {}, "
                     "{}>(args, {}, {}, FinishHeads<{}, {}>{{{}}});",
                     storageName(m.type), m.cols, heads * headPanels, form.stride("x"), rows,
                     boolean(staging.staged), headPanels, form.in("x"), form.any("weight"),
                     headRows, form.stride("y"), form.out("y")),
         {.minRows = rows == 1 ? 1 : 2,
          .maxRows = rows == 1 ? 1 : form.maxRows,
          .threads = 256,
          .blocks = heads * headPanels,
          .rowsPerBlock = rows,
          .dynamicSharedBytes = staging.bytes,
          .blocksPerProcessor = fewRowsBlocks(staging)}});
  }
  return result;
}

}  // namespace llmc::cuda
