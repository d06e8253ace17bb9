// Ops with a block per row: launches of device/rows.cuh and norms.cuh.
#include "codegen/cuda/KernelText.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

/// `body` of every row, by `threads` of each of `blocks` blocks.
Functions rowKernel(const std::string& body, int64_t threads = 128, int64_t blocks = 1) {
  Functions result;
  result.functions.push_back({"",
                              "letNextKernelBegin();\n  waitForEarlierKernels();\n  " + body,
                              {.threads = threads, .blocks = blocks, .rowsPerBlock = 1}});
  return result;
}

/// y = f(x, other) over rows of `cols`; other lies at a stride of 0 where it is one vector.
Functions elementwise(const KernelForm& form, int64_t cols, const char* x, const char* other,
                      int64_t otherStride, const std::string& f) {
  return rowKernel(
      fmt::format("elementwiseRow<{}, {}, {}, {}>(args, {}, {}, {}, [](float x, float y) {{ "
                  "return {}; }});",
                  cols, form.stride(x), otherStride, form.stride("y"), form.in(x), form.in(other),
                  form.out("y"), f));
}

/// y = f(x), element by element.
Functions each(const KernelForm& form, Value x, const std::string& f) {
  const int64_t stride = form.stride("x");
  return rowKernel(
      fmt::format("elementwiseRow<{0}, {1}, {1}, {2}>(args, {3}, {3}, {4}, [](float x, float) {{ "
                  "return {5}; }});",
                  llm::widthOf(x), stride, form.stride("y"), form.in("x"), form.out("y"), f));
}

}  // namespace

Functions emit(llm::EmbedOp op, const KernelForm& form) {
  const llm::Matrix m = llm::matrixOf(op, op.getWeightAttr());
  const bool fragments = llvm::any_of(op.getKernelOperands(), [](const llm::KernelOperand& o) {
    return o.layout == llm::Layout::panels;
  });
  return rowKernel(
      fmt::format("embedRow<{}, {}, {}, {}>(args, {}, {}, {}, {}, {}, {});", storageName(m.type),
                  m.cols, boolean(fragments), form.stride("y"), form.ints("token_id"),
                  form.any("weight"), form.out("y"), number(op.getScale().convertToDouble()),
                  form.ints("pos"), form.any("positions")),
      256);
}

Functions emit(llm::RmsNormOp op, const KernelForm& form) {
  return rowKernel(
      fmt::format("rmsNormRow<{}, {}, {}>(args, {}, {}, {}, {});", llm::widthOf(op.getX()),
                  form.stride("x"), form.stride("y"), form.in("x"), form.in("weight"),
                  form.out("y"), number(op.getEps().convertToDouble())),
      256);
}

Functions emit(llm::LayerNormOp op, const KernelForm& form) {
  return rowKernel(
      fmt::format("layerNormRow<{}, {}, {}>(args, {}, {}, {}, {}, {});", llm::widthOf(op.getX()),
                  form.stride("x"), form.stride("y"), form.in("x"), form.in("weight"),
                  form.in("bias"), form.out("y"), number(op.getEps().convertToDouble())),
      256);
}

Functions emit(llm::NormResidualOp op, const KernelForm& form) {
  return rowKernel(
      fmt::format("normResidualRow<{}, {}, {}, {}>(args, {}, {}, {}, {}, {}, {});",
                  llm::widthOf(op.getX()), form.stride("x"), form.stride("residual"),
                  form.stride("y"), form.in("x"), form.in("residual"), form.in("norm"),
                  form.in("scale"), form.out("y"), number(op.getEps().convertToDouble())),
      256);
}

Functions emit(llm::QkNormOp op, const KernelForm& form) {
  const int64_t cols = llm::widthOf(op.getX()), dim = op.getHeadDim();
  const int64_t weights = op.getWeightAttr() ? llm::matrixOf(op, op.getWeightAttr()).rows : dim;
  return rowKernel(fmt::format("qkNormRow<{}, {}, {}, {}, {}, {}>(args, {}, {}, {}, {});", cols,
                               dim, boolean(op.getLayer()), weights == dim ? 0 : dim,
                               form.stride("x"), form.stride("y"), form.in("x"), form.in("weight"),
                               form.out("y"), number(op.getEps().convertToDouble())),
                   128, ceilDiv(cols / dim, kHeadsPerBlock));
}

Functions emit(llm::BiasOp op, const KernelForm& form) {
  return elementwise(form, llm::widthOf(op.getX()), "x", "weight", 0, "x + y");
}

Functions emit(llm::ScaleOp op, const KernelForm& form) {
  return each(form, op.getX(), "x * " + number(op.getFactor().convertToDouble()));
}

Functions emit(llm::ScaleByOp op, const KernelForm& form) {
  return rowKernel(fmt::format("scaleRow<{}, 1, {}, 0, {}>(args, {}, {}, {});",
                               llm::widthOf(op.getX()), form.stride("x"), form.stride("y"),
                               form.in("x"), form.in("weight"), form.out("y")));
}

Functions emit(llm::ScaleByPosOp op, const KernelForm& form) {
  return rowKernel(fmt::format("scaleRowByPos<{}, {}, {}, {}>(args, {}, {}, {}, {});",
                               llm::widthOf(op.getX()), op.getEvery(), form.stride("x"),
                               form.stride("y"), form.in("x"), form.ints("pos"),
                               number(op.getGrowth().convertToDouble()), form.out("y")));
}

// The operand begins with the layer's columns.
Functions emit(llm::LayerSliceOp op, const KernelForm& form) {
  return rowKernel(fmt::format("copyRow<{}, {}, {}>(args, {}, nullptr, {});",
                               llm::widthOf(op.getY()), form.stride("x"), form.stride("y"),
                               form.in("x"), form.out("y")));
}

Functions emit(llm::ScaleRowsOp op, const KernelForm& form) {
  return rowKernel(fmt::format("scaleRow<{}, {}, {}, {}, {}>(args, {}, {}, {});",
                               llm::widthOf(op.getX()), llm::widthOf(op.getBy()), form.stride("x"),
                               form.stride("by"), form.stride("y"), form.in("x"), form.in("by"),
                               form.out("y")));
}

Functions emit(llm::ConcatOp op, const KernelForm& form) {
  const auto heads = static_cast<int64_t>(op.getHeads());
  return rowKernel(fmt::format("concatRow<{}, {}, {}, {}, {}, {}>(args, {}, {}, {});", heads,
                               llm::widthOf(op.getA()) / heads, llm::widthOf(op.getB()) / heads,
                               form.stride("a"), form.stride("b"), form.stride("y"), form.in("a"),
                               form.in("b"), form.out("y")));
}

Functions emit(llm::RopeOp op, const KernelForm& form) {
  return rowKernel(fmt::format(
      "ropeRow<{}, {}, {}, {}, {}>(args, {}, {}, {}, {});", llm::widthOf(op.getX()),
      op.getHeadDim(), llm::rotaryDim(op, op.getTableAttr()), form.stride("x"), form.stride("y"),
      form.in("x"), form.ints("pos"), form.in("table"), form.out("y")));
}

Functions emit(llm::KvWriteOp op, const KernelForm& form) {
  return rowKernel(fmt::format("kvWriteRow<{}, {}, {}>(args, {}, {}, {}, {}, {});",
                               poolName(llm::kvTypeOf(op, op.getStateAttr())), form.stride("k"),
                               form.stride("v"), form.in("k"), form.in("v"), form.cacheRows(),
                               form.any("keys"), form.any("values")));
}

Functions emit(llm::KvMoveOp op, const KernelForm& form) {
  const llm::KvCacheType kv = llm::kvTypeOf(op, op.getStateAttr());
  Functions result = rowKernel(fmt::format("kvMove<{}>(args, {}, {}, {});", poolName(kv),
                                           form.cacheRows(), form.any("keys"), form.any("values")),
                               128, kv.getNumKvHeads());
  result.functions.front().launch.rowsPerBlock = 0;  // a block moves one row after another
  return result;
}

Functions emit(llm::KeepOp op, const KernelForm& form) {
  const int64_t width = llm::widthOf(op.getX());
  return rowKernel(fmt::format("copyRow<{0}, {1}, {0}>(args, {2}, nullptr, {3});", width,
                               form.stride("x"), form.in("x"), form.out("kept")));
}

Functions emit(llm::KeptOp op, const KernelForm& form) {
  const int64_t width = llm::widthOf(op.getY());
  return rowKernel(fmt::format("copyRow<{0}, {0}, {1}>(args, {2}, {3}, {4});", width,
                               form.stride("y"), form.in("kept"), form.ints("kept_row"),
                               form.out("y")));
}

Functions emit(llm::ActivationOp op, const KernelForm& form) {
  return each(form, op.getX(), fmt::format("activate<{}>(x)", activationName(op.getKind())));
}

Functions emit(llm::MulOp op, const KernelForm& form) {
  return elementwise(form, llm::widthOf(op.getA()), "a", "b", form.stride("b"), "x * y");
}

Functions emit(llm::AddOp op, const KernelForm& form) {
  return elementwise(form, llm::widthOf(op.getA()), "a", "b", form.stride("b"), "x + y");
}

}  // namespace llmc::cuda
