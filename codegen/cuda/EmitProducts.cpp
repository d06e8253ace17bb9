// Matrix products: launches of device/linear.cuh, batch.cuh, tensor.cuh and wgmma.cuh.
#include <algorithm>

#include "codegen/cuda/KernelText.h"
#include "ir/QkvWeights.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

/// What becomes of the rows before they are multiplied, where there is an operand "norm".
struct Norm {
  bool layer = false;
  double eps = 0;
};
template <typename Op>
Norm normOf(Op op) {
  return {op.getLayer(), op.getEps().convertToDouble()};
}

int64_t panelsOf(const llm::Matrix& m) { return ceilDiv(m.rows, 16); }
/// Of one panel: blocks of fragments (linear.cuh: Product::kBlockCols), the last one padded.
int64_t panelBytes(const llm::Matrix& m) { return 512 * ceilDiv(m.cols, 8 * perWord(m.type)); }

/// Whether a product packs its rows and goes to tensor cores.
bool onTensorCores(const KernelForm& form, const llm::Matrix& m) {
  return !form.fewRows() && !form.has("logits_rows") && !m.type.isF32();
}
/// Whether a product has kernels for kLeastBatchRows and more.
bool hasBatches(const KernelForm& form) {
  return (form.fewRows() || form.has("logits_rows")) && form.maxRows >= kLeastBatchRows;
}
/// The scratch that a product takes for packed rows: fragments of 16, tiles of 64 as wgmma has
/// them, or a batch.
int64_t packedBytes(const KernelForm& form, const llm::Matrix& m) {
  if (onTensorCores(form, m)) return ceilDiv(form.maxRows, 64) * 4 * ceilDiv(m.cols, 16) * 512;
  if (!hasBatches(form)) return 0;
  return ceilDiv(form.maxRows, kBatchRows) * batchPackedBytes(m.cols, m.type);
}

/// A product of the operand "x" with the operand "weight", of which "norm", "norm_bias" and
/// "logits_rows" are taken along where they are.
class ProductText {
 public:
  ProductText(const KernelForm& form, const llm::Matrix& matrix, int64_t numPanels,
              const Norm& norm, std::string finish, const std::string& weight = {})
      : form_(form),
        matrix_(matrix),
        numPanels_(numPanels),
        spec_(fmt::format("Product<{}, {}, {}, {}, {}, {}{}>", storageName(matrix.type),
                          matrix.cols, numPanels, form.stride("x"),
                          boolean(form.has("logits_rows")), boolean(form.has("norm")),
                          norm.layer ? ", true" : "")),
        x_(form.in("x")),
        norm_(form.in("norm")),
        shift_(form.has("norm_bias") ? ", " + form.in("norm_bias") : ""),
        eps_(number(norm.eps)),
        weight_(weight.empty() ? form.any("weight") : weight),
        packed_(scratchAt(0)),
        finish_(std::move(finish)) {}

  Functions emit() {
    if (onTensorCores(form_, matrix_)) {
      manyRows();
    } else if (!hasBatches(form_)) {
      oneRow();
      if (form_.maxRows > 1) fourRows(2, form_.maxRows);
    } else {
      oneRow();
      fourRows(2, kLeastBatchRows - 1);
      batches();
    }
    result_.scratchBytes = packedBytes(form_, matrix_);
    return std::move(result_);
  }

 private:
  void add(const std::string& suffix, const std::string& body, const Launch& launch) {
    result_.functions.push_back({suffix, body, launch});
  }

  void manyRows() {
    const bool wgmma = matrix_.cols % 64 == 0;  // whole stages
    if (wgmma) onWgmma();
    onMma(wgmma ? Launch::kWithoutWgmma : Launch::kEverywhere);
  }

  /// 2048 rows are 128 blocks, one on a processor: parts of k are more, each of a few KB of a row.
  /// Every part of a row that is normalised reads all of it.
  int64_t packParts() const { return ceilDiv(matrix_.cols, form_.has("norm") ? 2048 : 1024); }

  void onWgmma() {
    add("_tiles",
        fmt::format("packRows<{}, true>(args, {}, {}, {}, {}{});", spec_, x_, norm_, eps_, packed_,
                    shift_),
        {.threads = 256, .blocks = packParts(), .rowsPerBlock = 16, .where = Launch::kWithWgmma});
    // Larger tiles read less per product; with so few rows that they would leave processors idle,
    // tiles of half as many rows are twice as many.
    const int64_t panelTiles = ceilDiv(numPanels_, 8), cluster = form_.options.clusterBlocks,
                  most = form_.maxRows;
    int64_t before = 0;  // rows that smaller tiles have
    for (int64_t tokens = form_.options.tileRows; tokens <= 256 && before < most; tokens *= 2) {
      const int64_t least = tokens == 128 ? 128 : 0,  // one tile is one, however large
          idle = 2 * tokens * (ceilDiv(kHopperProcessors, panelTiles) - 1),
                    last = tokens == 256 ? most : std::min(std::max(idle, least), most);
      if (last <= before) continue;
      add(fmt::format("_wgmma{}", tokens),
          fmt::format("static_assert(ProductOnWgmma<{0}, {1}, int>::kSharedBytes == {2});\n  "
                      "productOnWgmma<{0}, {1}{6}>(args, {3}, {4}, {5});",
                      spec_, tokens, wgmmaBytes(tokens), packed_, weight_, finish_,
                      clusterArgument(cluster)),
          {.minRows = before + 1,
           .maxRows = last,
           .threads = 384,
           .blocks = ceilDiv(panelTiles, cluster) * cluster,
           .rowsPerBlock = tokens,
           .dynamicSharedBytes = wgmmaBytes(tokens),
           .where = Launch::kWithWgmma,
           .blocksPerProcessor = 1,
           .clusterBlocks = cluster});
      before = last;
    }
  }

  void onMma(decltype(Launch::where) where) {
    // Where nothing is said, ptxas aims at five blocks, 48 registers, and for some K spills those
    // of a norm (sm_100a). 2048 rows of 4096 are two blocks for a processor.
    add("_pack",
        fmt::format("packRows<{}>(args, {}, {}, {}, {}{});", spec_, x_, norm_, eps_, packed_,
                    shift_),
        {.threads = 256,
         .blocks = packParts(),
         .rowsPerBlock = 16,
         .where = where,
         .blocksPerProcessor = form_.has("norm") ? 3 : 0});
    add("_mma",
        fmt::format("productOnTensorCores<{}>(args, {}, {}, {});", spec_, packed_, weight_,
                    finish_),
        {.threads = 128,
         .blocks = ceilDiv(numPanels_, 8),
         .rowsPerBlock = 128,
         .dynamicSharedBytes = kTensorTileBytes,
         .where = where,
         .blocksPerProcessor = 2});
  }

  // One row alone, as decoding has it, and four at a time: an output's sum has the same order in
  // both, and in a batch.
  void oneRow() { fewRows(1, 1, 1); }
  void fourRows(int64_t minRows, int64_t maxRows) { fewRows(4, minRows, maxRows); }

  void fewRows(int64_t rows, int64_t minRows, int64_t maxRows) {
    const Staging staging = stagingOf(rows, matrix_.cols, matrix_.type, result_.problem);
    const int64_t panels =
        form_.options.panelsPerBlock ? form_.options.panelsPerBlock : panelsPerBlock(numPanels_);
    // Sums of rows go on in a block (decode) or are spread over blocks (a prefill of f32 weights).
    const bool spread = rows > 1 && !form_.fewRows() && !form_.has("logits_rows");
    add(fmt::format("_{}row", rows),
        fmt::format("productOfFewRows<{}, {}, {}, {}>(args, {}, {}, {}, {}, {}{});", spec_, rows,
                    boolean(staging.staged), panels, x_, norm_, eps_, weight_, finish_, gathered()),
        {.minRows = minRows,
         .maxRows = maxRows,
         .threads = 256,
         .blocks = ceilDiv(numPanels_, panels),
         .rowsPerBlock = spread ? rows : 0,
         .dynamicSharedBytes = staging.bytes,
         .blocksPerProcessor = fewRowsBlocks(staging)});
  }

  void batches() {
    const int64_t maxRows = form_.maxRows;
    packBatch("_rows", kLeastBatchRows, std::min(maxRows, kBatchRows));
    batch("_8rows", 8, kLeastBatchRows, std::min<int64_t>(maxRows, 8));
    if (maxRows > 8) batch("_16rows", kBatchRows, 9, std::min(maxRows, kBatchRows));
    if (maxRows <= kBatchRows) return;
    packBatch("_packs", kBatchRows + 1, maxRows);
    batch("_groups", kBatchRows, kBatchRows + 1, maxRows);
  }

  /// More rows than kBatchRows are groups of those, in the grid's y.
  static const char* groups(int64_t minRows) { return minRows > kBatchRows ? ", true" : ""; }
  static int64_t rowsPerBlock(int64_t minRows) { return minRows > kBatchRows ? kBatchRows : 0; }
  std::string packed() const { return fmt::format("reinterpret_cast<float*>({})", packed_); }

  void packBatch(const std::string& suffix, int64_t minRows, int64_t maxRows) {
    add(suffix,
        fmt::format("packBatch<{}{}>(args, {}, {}, {}, {}{});", spec_, groups(minRows), x_, norm_,
                    eps_, packed(), gathered()),
        {.minRows = minRows,
         .maxRows = maxRows,
         .threads = 256,
         .blocks = kBatchRows,
         .rowsPerBlock = rowsPerBlock(minRows)});
  }

  /// `rows`: of a block.
  void batch(const std::string& suffix, int64_t rows, int64_t minRows, int64_t maxRows) {
    // Two panels a block where that keeps an H200 busy. With groups, what writes keys and values
    // would not have registers enough for two.
    const bool crowded = minRows > kBatchRows && form_.has("keys");
    const int64_t panels = numPanels_ >= kBatchPanels && !crowded ? 2 : 1;
    const int64_t bytes = batchBytes(rows, panels, matrix_.type);
    const std::string kernel =
        fmt::format("BatchProduct<{}, {}, {}{}>", spec_, rows, panels, groups(minRows));
    add(suffix,
        fmt::format("static_assert({0}::kSharedBytes == {1} && PackedBatch<{2}>::kBytes == {3});"
                    "\n  {0}::run(args, {4}, {5}, {6});",
                    kernel, bytes, spec_, batchPackedBytes(matrix_.cols, matrix_.type), packed(),
                    weight_, finish_),
        {.minRows = minRows,
         .maxRows = maxRows,
         .threads = 256,
         .blocks = ceilDiv(numPanels_, panels),
         .rowsPerBlock = rowsPerBlock(minRows),
         .dynamicSharedBytes = bytes,
         .blocksPerProcessor = 2});
  }

  /// The last arguments of a body that may gather its rows: a norm's bias, which rows.
  std::string gathered() const {
    if (!form_.has("logits_rows")) return shift_;
    return (shift_.empty() ? ", nullptr" : shift_) + ", " + form_.ints("logits_rows");
  }

  const KernelForm& form_;
  llm::Matrix matrix_;
  int64_t numPanels_;
  std::string spec_, x_, norm_, shift_, eps_, weight_, packed_, finish_;
  Functions result_;
};

/// y = the product.
std::string finishStore(const KernelForm& form, Value y) {
  return fmt::format("FinishStore<{}, {}>{{{}}}", llm::widthOf(y), form.stride("y"), form.out("y"));
}
/// y = f(product + bias): `f` a type, `arguments` its own.
std::string finishEach(const KernelForm& form, Value y, const std::string& f,
                       const std::string& arguments, StringRef result = "y",
                       StringRef bias = "bias") {
  return fmt::format("FinishEach<{}, {}, {}, {}>{{{}, {}, {{{}}}}}", llm::widthOf(y),
                     boolean(form.has(bias)), form.stride(result), f, form.in(bias),
                     form.out(result), arguments);
}

/// Of logits and norm_logits.
template <typename Op>
std::string finishLogits(Op op, const KernelForm& form) {
  const double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
  if (!form.has("bias") && scale == 1 && cap == 0) return finishStore(form, op.getY());
  return finishEach(form, op.getY(), "ScaleAndCap", number(scale) + ", " + number(cap));
}

}  // namespace

Functions emit(llm::LinearOp op, const KernelForm& form) {
  const llm::Matrix m = llm::matrixOf(op, op.getWeightAttr());
  return ProductText(form, m, panelsOf(m), {}, finishStore(form, op.getY())).emit();
}

Functions emit(llm::LinearResidualOp op, const KernelForm& form) {
  const llm::Matrix m = llm::matrixOf(op, op.getWeightAttr());
  const std::string finish = fmt::format(
      "FinishResidual<{}, {}, {}, {}>{{{}, {}, {}, {}}}", llm::widthOf(op.getY()),
      boolean(form.has("bias")), form.stride("residual"), form.stride("y"), form.in("residual"),
      form.in("bias"), number(op.getScale().convertToDouble()), form.out("y"));
  return ProductText(form, m, panelsOf(m), {}, finish).emit();
}

Functions emit(llm::LogitsOp op, const KernelForm& form) {
  const llm::Matrix m = llm::matrixOf(op, op.getWeightAttr());
  return ProductText(form, m, panelsOf(m), {}, finishLogits(op, form)).emit();
}

Functions emit(llm::NormLogitsOp op, const KernelForm& form) {
  const llm::Matrix m = llm::matrixOf(op, op.getWeightAttr());
  return ProductText(form, m, panelsOf(m), normOf(op), finishLogits(op, form)).emit();
}

Functions emit(llm::NormLinearOp op, const KernelForm& form) {
  const llm::Matrix m = llm::matrixOf(op, op.getWeightAttr());
  const std::string f = fmt::format("Activate<{}>", activationName(op.getActivation()));
  const std::string finish =
      op.getGated()
          ? fmt::format("FinishGate<{}, {}, {}, {}, {}>{{{}, {}, {}, {{}}}}",
                        llm::widthOf(op.getY()), boolean(form.has("bias")), form.stride("gated"),
                        form.stride("y"), f, form.in("gated"), form.in("bias"), form.out("y"))
          : finishEach(form, op.getY(), f, "");
  return ProductText(form, m, panelsOf(m), normOf(op), finish).emit();
}

// Each projection is a product of its own, whose panels lie behind those of the ones before it.
Functions emit(llm::NormProjectionsOp op, const KernelForm& form) {
  Functions result;
  const auto projections = op.projections();
  for (const llm::ProjectionsWeight& weight : llm::projectionsWeightsOf(op))
    for (const llm::ProjectionsWeight::Part& part : weight.parts) {
      const size_t i = part.projection;
      const llm::Matrix m = llm::matrixOf(op, projections[i].getWeight());
      const std::string f =
          fmt::format("Activate<{}>", activationName(projections[i].getActivation()));
      Functions one =
          ProductText(
              form, m, part.panels, normOf(op),
              finishEach(form, op.getYs()[i], f, "", llm::resultOperand(i), llm::biasOperand(i)),
              fmt::format("static_cast<const char*>({}) + {}", form.any(weight.operand),
                          part.firstPanel * panelBytes(m)))
              .emit();
      for (Function& function : one.functions) {
        function.suffix = fmt::format("_{}{}", i + 1, function.suffix);
        result.functions.push_back(std::move(function));
      }
      result.scratchBytes = std::max(result.scratchBytes, one.scratchBytes);
      result.wgmmaScratchBytes = std::max(result.wgmmaScratchBytes, one.wgmmaScratchBytes);
      if (result.problem.empty()) result.problem = one.problem;
    }
  return result;
}

Functions emit(llm::NormGluOp op, const KernelForm& form) {
  const llm::Matrix m = llm::matrixOf(op, op.getGateProjAttr());
  const std::string finish =
      fmt::format("FinishGlu<{}, {}, {}, {}>{{{}, {}}}", activationName(op.getActivation()),
                  llm::widthOf(op.getY()), boolean(form.has("bias")), form.stride("y"),
                  form.in("bias"), form.out("y"));
  return ProductText(form, m, 2 * panelsOf(m), normOf(op), finish).emit();
}

Functions emit(llm::NormQkvOp op, const KernelForm& form) {
  const llm::KvCacheType kv = llm::kvTypeOf(op, op.getStateAttr());
  const int64_t dim = kv.getHeadDim(), heads = llm::widthOf(op.getQ()) / dim,
                allHeads = op.getTiling(form.kind).tiles, panels = allHeads * ceilDiv(dim, 16);
  const int64_t rotary = form.has("rope") ? llm::rotaryDim(op, op.getRopeAttr()) : 0;
  const llm::Matrix m = llm::matrixOf(op, op.getQProjAttr());
  const std::string pool = poolName(kv), rows = form.cacheRows(), keys = form.any("keys"),
                    values = form.any("values"), q = form.out("q");
  if (!form.has("q_norm") && op.getVProjAttr() && !op.getVNorm() &&
      (rotary == 0 || rotary == dim)) {
    const std::string finish =
        fmt::format("FinishQkv<{}, {}, {}, {}, {}{}>{{{}, {}, {}, {}, {}, {}}}", pool, heads,
                    boolean(form.has("bias")), boolean(form.has("rope")), form.stride("q"),
                    form.inTrees() ? ", TreeRows" : "", rows, form.in("bias"), form.in("rope"),
                    keys, values, q);
    return ProductText(form, m, panels, normOf(op), finish).emit();
  }
  // A panel is half of one half of a head: norms, and pairs that are not a half apart, need more.
  const int64_t stride = allHeads * dim, packed = packedBytes(form, m);
  const std::string raw = fmt::format("reinterpret_cast<float*>({})", scratchAt(packed));
  Functions result = ProductText(form, m, panels, normOf(op),
                                 fmt::format("FinishHeads<{}, {}>{{{}}}", dim, stride, raw))
                         .emit();
  result.scratchBytes = packed + form.maxRows * stride * 4;
  result.functions.push_back(
      {"_heads",
       fmt::format("finishHeads<{}, {}, {}, {}, {}, {}, {}>(args, {}, {}, {}, {}, {}, {}, {}, {}, "
                   "{}, {});",
                   pool, heads, rotary,
                   op.getVProjAttr()   ? "kOwnValues"
                   : op.getKProjAttr() ? "kKeyValues"
                                       : "kNoValues",
                   boolean(op.getVNorm()), stride, form.stride("q"), raw, form.in("bias"),
                   form.in("q_norm"), form.in("k_norm"),
                   number(op.getQkEps() ? op.getQkEps()->convertToDouble() : 0), form.in("rope"),
                   rows, keys, values, q),
       {.threads = 128, .blocks = ceilDiv(allHeads, kHeadsPerBlock), .rowsPerBlock = 1}});
  return result;
}

}  // namespace llmc::cuda
