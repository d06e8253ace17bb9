// llm.kernels as CUDA C++: each becomes one or more __global__ functions, which name a __device__
// body of device/*.cuh and the constants that specialise it.
#include <algorithm>
#include <map>

#include "codegen/cuda/KernelText.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"
#include "runtime/abi/cuda_abi.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

const char kDeviceSources[] =
#include "device_sources.inc"
    ;

constexpr int64_t kMostRows = 65535;             // of a grid's y
constexpr int64_t kTensorTileBytes = 3 * 16384;  // kTensorSharedBytes

/// Where the norm of a product finds its weight and bias among the operands; -1: none.
struct NormAt {
  int64_t weight = -1, shift = -1;
  bool layer = false;
  double eps = 0;
};

/// One kernel's functions.
class KernelEmitter {
 public:
  /// `symbolOf`: the functions there are, by their body; shared by the kernels of a model.
  KernelEmitter(llm::KernelOp kernel, uint32_t index, const EmitOptions& options,
                CudaSource& source, std::map<std::string, std::string>& symbolOf)
      : kernel_(kernel),
        op_(kernel.getComputeOp()),
        index_(index),
        strides_(kernel.getRowStrides()),
        maxRows_(static_cast<int64_t>(kernel.getMaxRows())),
        options_(options),
        source_(source),
        symbolOf_(symbolOf) {}

  llvm::Error emit() {
    if (const std::string why = formatProblem(op_); !why.empty())
      return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                     kernel_.getSymName().str() + ": " + why);
    std::string text;
    llvm::raw_string_ostream os(text);
    op_->print(os, OpPrintingFlags().useLocalScope());
    source_.text += fmt::format("\n// {}\n// at most {} rows\n", text, maxRows_);
    llvm::TypeSwitch<Operation*>(op_.getOperation())
        .Case([&](llm::EmbedOp o) { embed(o); })
        .Case([&](llm::RmsNormOp o) {
          rowKernel(fmt::format("rmsNormRow<{}, {}, {}>(args, {}, {}, {}, {});", width(o.getX()),
                                strides_[0], strides_[1], in(0), in(1), out(2),
                                number(o.getEps().convertToDouble())),
                    256);
        })
        .Case([&](llm::LayerNormOp o) {
          int64_t next = 1;
          const int64_t weight = o.getWeightAttr() ? next++ : -1,
                        bias = o.getBiasAttr() ? next++ : -1;
          rowKernel(fmt::format("layerNormRow<{}, {}, {}>(args, {}, {}, {}, {}, {});",
                                width(o.getX()), strides_[0], strides_[1], in(0), in(weight),
                                in(bias), out(next), number(o.getEps().convertToDouble())),
                    256);
        })
        .Case([&](llm::NormResidualOp o) {
          rowKernel(fmt::format("normResidualRow<{}, {}, {}, {}>(args, {}, {}, {}, {}, {});",
                                width(o.getX()), strides_[0], strides_[1], strides_[2], in(0),
                                in(1), in(2), out(3), number(o.getEps().convertToDouble())),
                    256);
        })
        .Case([&](llm::QkNormOp o) { qkNorm(o); })
        .Case([&](llm::LinearOp o) {
          product(o.getX(), o.getWeightAttr(), "concat", 1, {}, false,
                  fmt::format("FinishStore<{}, {}>{{{}}}", width(o.getY()), strides_[1], out(2)));
        })
        .Case([&](llm::BiasOp o) { elementwise(width(o.getX()), 0, "x + y"); })
        .Case([&](llm::ScaleOp o) {
          each(width(o.getX()), "x * " + number(o.getFactor().convertToDouble()));
        })
        .Case([&](llm::ScaleRowsOp o) {
          rowKernel(fmt::format("scaleRow<{}, {}, {}, {}>(args, {}, {}, {});", width(o.getX()),
                                strides_[0], strides_[1], strides_[2], in(0), in(1), out(2)));
        })
        .Case([&](llm::ConcatOp o) {
          const auto heads = static_cast<int64_t>(o.getHeads());
          rowKernel(fmt::format("concatRow<{}, {}, {}, {}, {}, {}>(args, {}, {}, {});", heads,
                                width(o.getA()) / heads, width(o.getB()) / heads, strides_[0],
                                strides_[1], strides_[2], in(0), in(1), out(2)));
        })
        .Case([&](llm::RopeOp o) {
          rowKernel(fmt::format("ropeRow<{}, {}, {}, {}, {}>(args, {}, {}, {});", width(o.getX()),
                                o.getHeadDim(), rotaryDim(o.getTableAttr()), strides_[0],
                                strides_[1], in(0), in(1), out(2)));
        })
        .Case([&](llm::KvWriteOp o) {
          rowKernel(fmt::format("kvWriteRow<{}, {}, {}>(args, {}, {}, {}, {});",
                                poolName(o.getKv().getType()), strides_[0], strides_[1], in(0),
                                in(1), any(2), any(3)));
        })
        .Case([&](llm::AttentionOp o) { add(emitAttention(o, form())); })
        .Case([&](llm::ActivationOp o) {
          each(width(o.getX()), fmt::format("activate<{}>(x)", activationName(o.getKind())));
        })
        .Case([&](llm::MulOp o) { elementwise(width(o.getA()), strides_[1], "x * y"); })
        .Case([&](llm::AddOp o) { elementwise(width(o.getA()), strides_[1], "x + y"); })
        .Case([&](llm::LogitsOp o) {
          int64_t next = 2;
          product(o.getX(), o.getWeightAttr(), "concat", 1, {}, true, logitsFinish(o, next));
        })
        .Case([&](llm::NormQkvOp o) { normQkv(o); })
        .Case([&](llm::NormGluOp o) {
          int64_t next = 1;
          const NormAt norm = normOf(o, next);
          const int64_t weight = next++, bias = o.getGateBiasAttr() ? next++ : -1;
          product(
              o.getX(), o.getGateProjAttr(), "interleave", weight, norm, false,
              fmt::format("FinishGlu<{}, {}, {}, {}>{{{}, {}}}", activationName(o.getActivation()),
                          width(o.getY()), boolean(bias >= 0), strides_[1], in(bias), out(next)));
        })
        .Case([&](llm::NormLinearOp o) {
          int64_t next = 1;
          const NormAt norm = normOf(o, next);
          const int64_t weight = next++, bias = o.getBiasAttr() ? next++ : -1;
          const std::string f = fmt::format("Activate<{}>", activationName(o.getActivation()));
          product(o.getX(), o.getWeightAttr(), "concat", weight, norm, false,
                  fmt::format("FinishEach<{}, {}, {}, {}>{{{}, {}, {{}}}}", width(o.getY()),
                              boolean(bias >= 0), strides_[1], f, in(bias), out(next)));
        })
        .Case([&](llm::RouteOp o) { add(emitRoute(o, form())); })
        .Case([&](llm::ExpertGluOp o) { add(emitExpertGlu(o, form())); })
        .Case([&](llm::ExpertDownOp o) { add(emitExpertDown(o, form())); })
        .Case([&](llm::HeadLinearOp o) { add(emitHeadLinear(o, form())); })
        .Case([&](llm::LinearResidualOp o) {
          const int64_t bias = o.getBiasAttr() ? 3 : -1;
          product(o.getX(), o.getWeightAttr(), "concat", 2, {}, false,
                  fmt::format("FinishResidual<{}, {}, {}, {}>{{{}, {}, {}, {}}}", width(o.getY()),
                              boolean(bias >= 0), strides_[1], strides_[2], in(1), in(bias),
                              number(o.getScale().convertToDouble()), out(bias < 0 ? 3 : 4)));
        })
        .Case([&](llm::NormLogitsOp o) {
          int64_t next = 1;
          const NormAt norm = normOf(o, next);
          const int64_t weight = next++;
          product(o.getX(), o.getWeightAttr(), "concat", weight, norm, true, logitsFinish(o, next));
        })
        .Default([&](Operation* other) {
          refuse(
              fmt::format("llm.{} has no CUDA kernel yet", other->getName().stripDialect().str()));
        });
    if (op_.getKernelOperands().size() > LLMC_CUDA_MAX_OPERANDS) refuse("it has too many operands");
    if (maxRows_ > kMostRows) refuse(fmt::format("more than {} rows in a step", kMostRows));
    if (problem_.empty()) return llvm::Error::success();
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   kernel_.getSymName().str() + ": " + problem_);
  }

 private:
  KernelForm form() const { return {strides_, maxRows_}; }
  void add(Functions&& emitted) {
    if (!emitted.problem.empty()) refuse(emitted.problem);
    for (Function& f : emitted.functions) function(f.suffix, f.body, f.launch);
    needScratch(emitted.scratchBytes, emitted.wgmmaScratchBytes);
  }
  bool isDecode() const { return maxRows_ <= llm::kDecodeMaxRows; }
  void refuse(const std::string& why) {
    if (problem_.empty()) problem_ = why;
  }

  /// How many elements of a head a table rotates.
  int64_t rotaryDim(FlatSymbolRefAttr symbol) const {
    auto model = kernel_->getParentOfType<llm::ModelOp>();
    auto table = cast<llm::RopeTableOp>(SymbolTable::lookupSymbolIn(model, symbol.getAttr()));
    return 2 * static_cast<int64_t>(table.getInvFreq().size());
  }

  Matrix matrix(FlatSymbolRefAttr symbol) const { return matrixOf(op_, symbol); }
  /// A fused op's norm, whose weight is operand `next`; moves `next` past it.
  template <typename Op>
  static NormAt normOf(Op o, int64_t& next) {
    NormAt norm;
    norm.layer = o.getLayer();
    norm.eps = o.getEps().convertToDouble();
    norm.weight = next++;
    if (o.getNormBiasAttr()) norm.shift = next++;
    return norm;
  }

  /// Of logits and norm_logits, from operand `next` on.
  template <typename Op>
  std::string logitsFinish(Op o, int64_t& next) const {
    const int64_t bias = o.getBiasAttr() ? next++ : -1;
    const double scale = o.getScale().convertToDouble(), cap = o.getSoftcap().convertToDouble();
    if (bias < 0 && scale == 1 && cap == 0)
      return fmt::format("FinishStore<{}, {}>{{{}}}", width(o.getY()), strides_[1], out(next));
    return fmt::format("FinishEach<{}, {}, {}, ScaleAndCap>{{{}, {}, {{{}, {}}}}}", width(o.getY()),
                       boolean(bias >= 0), strides_[1], in(bias), out(next), number(scale),
                       number(cap));
  }

  /// A __global__ function with `body`, launched as `launch` says (symbol and kernel are filled
  /// in).
  void function(const std::string& suffix, const std::string& body, Launch launch) {
    launch.kernel = index_;
    launch.symbol = kernel_.getSymName().str() + suffix;
    if (launch.maxRows == 0) launch.maxRows = maxRows_;
    const auto [same, isNew] =
        symbolOf_.try_emplace(fmt::format("{} {}", launch.threads, body), launch.symbol);
    if (isNew) {
      const bool always = launch.where == Launch::kEverywhere;
      source_.text += fmt::format(
          "{}extern \"C\" __global__ void __launch_bounds__({}{}) {}(const __grid_constant__ Args "
          "args) {{\n  {}\n}}\n{}",
          always                               ? ""
          : launch.where == Launch::kWithWgmma ? "#ifdef LLMC_WGMMA\n"
                                               : "#ifndef LLMC_WGMMA\n",
          launch.threads,
          launch.blocksPerProcessor ? fmt::format(", {}", launch.blocksPerProcessor) : "",
          launch.symbol, body, always ? "" : "#endif\n");
    } else {
      // A kernel of another bound on rows, say, came to the same code.
      launch.symbol = same->second;
      source_.text += fmt::format("// is {}\n", launch.symbol);
    }
    source_.launches.push_back(std::move(launch));
  }

  void rowKernel(const std::string& body, int64_t threads = 128) {
    function("", "letNextKernelBegin();\n  waitForEarlierKernels();\n  " + body,
             {.threads = threads, .rowsPerBlock = 1});
  }

  void embed(llm::EmbedOp o) {
    const Matrix m = matrix(o.getWeightAttr());
    const bool fragments = op_.getKernelOperands()[0].layout == llm::Layout::panels;
    const int64_t positions = o.getPositionsAttr() ? 1 : -1;
    rowKernel(
        fmt::format("embedRow<{}, {}, {}, {}>(args, {}, {}, {}, {});", storageName(m.type), m.cols,
                    boolean(fragments), strides_[0], any(0), out(positions < 0 ? 1 : 2),
                    number(o.getScale().convertToDouble()), any(positions)),
        256);
  }

  /// y = f(x), element by element.
  void each(int64_t cols, const std::string& f) {
    rowKernel(
        fmt::format("elementwiseRow<{0}, {1}, {1}, {2}>(args, {3}, {3}, {4}, [](float x, "
                    "float) {{ return {5}; }});",
                    cols, strides_[0], strides_[1], in(0), out(1), f));
  }

  /// y = f(x, other) over rows of `cols`; other lies at a stride of 0 where it is one vector.
  void elementwise(int64_t cols, int64_t otherStride, const char* f) {
    const int64_t yStride = strides_.back();
    rowKernel(
        fmt::format("elementwiseRow<{}, {}, {}, {}>(args, {}, {}, {}, [](float x, float y) "
                    "{{ return {}; }});",
                    cols, strides_[0], otherStride, yStride, in(0), in(1), out(2), f));
  }

  void qkNorm(llm::QkNormOp o) {
    const int64_t cols = width(o.getX()), dim = o.getHeadDim();
    const int64_t weights = llm::lookupWeight(o, o.getWeightAttr()).getLayerShape()[0];
    Launch launch = perHead(cols / dim);
    function(
        "",
        fmt::format(
            "letNextKernelBegin();\n  waitForEarlierKernels();\n  qkNormRow<{}, {}, {}, {}, {}, "
            "{}>(args, {}, {}, {}, {});",
            cols, dim, boolean(o.getLayer()), weights == dim ? 0 : dim, strides_[0], strides_[1],
            in(0), in(1), out(2), number(o.getEps().convertToDouble())),
        launch);
  }
  /// Blocks with a warp for each of `heads` heads of a row: kHeadsPerBlock of the device sources.
  static Launch perHead(int64_t heads) {
    return {.threads = 128, .blocks = ceilDiv(heads, 4), .rowsPerBlock = 1};
  }

  void normQkv(llm::NormQkvOp o) {
    auto kv = cast<llm::KvCacheType>(o.getKv().getType());
    const int64_t dim = kv.getHeadDim(), heads = width(o.getQ()) / dim,
                  allHeads = heads + 2 * kv.getNumKvHeads();
    int64_t next = 1;
    const NormAt norm = normOf(o, next);
    const int64_t weight = next++, bias = o.getQBiasAttr() ? next++ : -1;
    const int64_t headNorms = o.getQNormAttr() ? std::exchange(next, next + 2) : -1;
    const int64_t rope = o.getRopeAttr() ? next++ : -1;
    const int64_t rotary = rope >= 0 ? rotaryDim(o.getRopeAttr()) : 0;
    const int64_t panels = allHeads * ceilDiv(dim, 16);
    if (headNorms < 0 && (rotary == 0 || rotary == dim)) {
      product(
          o.getX(), o.getQProjAttr(), "heads", weight, norm, false,
          fmt::format("FinishQkv<{}, {}, {}, {}, {}>{{{}, {}, {}, {}, {}}}",
                      poolName(o.getKv().getType()), heads, boolean(bias >= 0), boolean(rope >= 0),
                      strides_[1], in(bias), in(rope), any(next), any(next + 1), out(next + 2)),
          panels);
      return;
    }
    // A panel is half of one half of a head: norms, and pairs that are not a half apart, need more.
    const int64_t stride = allHeads * dim, packed = packedBytes(matrix(o.getQProjAttr()), false);
    const std::string raw = fmt::format("reinterpret_cast<float*>(args.scratch + {})",
                                        LLMC_CUDA_COUNTER_BYTES + packed);
    product(o.getX(), o.getQProjAttr(), "heads", weight, norm, false,
            fmt::format("FinishHeads<{}, {}>{{{}}}", dim, stride, raw), panels);
    needScratch(packed + maxRows_ * stride * 4);
    function(
        "_heads",
        fmt::format("finishHeads<{}, {}, {}, {}, {}>(args, {}, {}, {}, {}, {}, {}, {}, {}, {});",
                    poolName(o.getKv().getType()), heads, rotary, stride, strides_[1], raw,
                    in(bias), in(headNorms), in(headNorms < 0 ? -1 : headNorms + 1),
                    number(headNorms < 0 ? 0 : o.getQkEps()->convertToDouble()), in(rope),
                    any(next), any(next + 1), out(next + 2)),
        perHead(allHeads));
  }

  /// Whether a product packs its rows and goes to tensor cores, and the scratch it takes for them.
  bool onTensorCores(const Matrix& m, bool gather) const {
    return !isDecode() && !gather && !m.type.isF32();
  }
  int64_t packedBytes(const Matrix& m, bool gather) const {
    // Fragments of 16 rows, or tiles of 64 as wgmma has them.
    return onTensorCores(m, gather) ? ceilDiv(maxRows_, 64) * 4 * ceilDiv(m.cols, 16) * 512 : 0;
  }

  /// A matrix product of operand 0. `weightAt`: an operand. `order`: how its panels lie.
  /// `numPanels` 0: those of the matrix, twice as many where two interleave.
  void product(Value x, FlatSymbolRefAttr weight, llvm::StringRef order, int64_t weightAt,
               const NormAt& normAt, bool gather, const std::string& finish,
               int64_t numPanels = 0) {
    const Matrix m = matrix(weight);
    if (numPanels == 0) numPanels = ceilDiv(m.rows, 16) * (order == "interleave" ? 2 : 1);
    const std::string norm = in(normAt.weight), eps = number(normAt.eps);
    const std::string shift = normAt.shift >= 0 ? ", " + in(normAt.shift) : "";
    const std::string spec = fmt::format("Product<{}, {}, {}, {}, {}, {}{}>", storageName(m.type),
                                         m.cols, numPanels, strides_[0], boolean(gather),
                                         boolean(normAt.weight >= 0), normAt.layer ? ", true" : "");
    if (onTensorCores(m, gather)) {
      const std::string packed = fmt::format("args.scratch + {}", int64_t{LLMC_CUDA_COUNTER_BYTES});
      const bool wgmma = m.cols % 64 == 0;  // whole stages
      // 2048 rows are 128 blocks, one on a processor: parts of k are more, each of a few KB of a
      // row. Every part of a row that is normalised reads all of it.
      const int64_t packParts = ceilDiv(m.cols, normAt.weight >= 0 ? 2048 : 1024);
      const auto other = wgmma ? Launch::kWithoutWgmma : Launch::kEverywhere;
      if (wgmma) {
        function(
            "_tiles",
            fmt::format("packRows<{}, true>(args, {}, {}, {}, {}{});", spec, in(0), norm, eps,
                        packed, shift),
            {.threads = 256, .blocks = packParts, .rowsPerBlock = 16, .where = Launch::kWithWgmma});
        // Tiles of 256 rows read less per product; with so few rows that they would leave
        // processors idle, tiles of 128 are twice as many.
        const int64_t panelTiles = ceilDiv(numPanels, 8);
        const int64_t few =
            std::max<int64_t>(256 * (ceilDiv(kHopperProcessors, panelTiles) - 1), 128);
        for (const int64_t tokens : {128, 256}) {
          const bool small = tokens == 128;
          if (!small && few >= maxRows_) break;
          const Launch launch{.minRows = small ? 1 : few + 1,
                              .maxRows = small ? std::min(few, maxRows_) : maxRows_,
                              .threads = 384,
                              .blocks = panelTiles,
                              .rowsPerBlock = tokens,
                              .dynamicSharedBytes = wgmmaBytes(tokens),
                              .where = Launch::kWithWgmma,
                              .blocksPerProcessor = 1};
          function(
              fmt::format("_wgmma{}", tokens),
              fmt::format("static_assert(ProductOnWgmma<{0}, {1}, int>::kSharedBytes == {2});\n  "
                          "productOnWgmma<{0}, {1}>(args, {3}, {4}, {5});",
                          spec, tokens, wgmmaBytes(tokens), packed, any(weightAt), finish),
              launch);
        }
      }
      // Where nothing is said, ptxas aims at five blocks, 48 registers, and for some K spills those
      // of a norm (sm_100a). 2048 rows of 4096 are two blocks for a processor.
      function("_pack",
               fmt::format("packRows<{}>(args, {}, {}, {}, {}{});", spec, in(0), norm, eps, packed,
                           shift),
               {.threads = 256,
                .blocks = packParts,
                .rowsPerBlock = 16,
                .where = other,
                .blocksPerProcessor = normAt.weight >= 0 ? 3 : 0});
      function("_mma",
               fmt::format("productOnTensorCores<{}>(args, {}, {}, {});", spec, packed,
                           any(weightAt), finish),
               {.threads = 128,
                .blocks = ceilDiv(numPanels, 8),
                .rowsPerBlock = 128,
                .dynamicSharedBytes = kTensorTileBytes,
                .where = other,
                .blocksPerProcessor = 2});
      needScratch(packedBytes(m, gather));
      return;
    }
    // One row alone, as decoding has it, and four at a time: an output's sum has the same order in
    // both.
    for (const int64_t rows : {1, 4}) {
      if (rows > 1 && maxRows_ == 1) break;
      const Staging staging = stagingOf(rows, m.cols, m.type, problem_);
      const int64_t panels =
          options_.panelsPerBlock ? options_.panelsPerBlock : panelsPerBlock(numPanels);
      // Sums of rows go on in a block (decode) or are spread over blocks (a prefill of f32
      // weights).
      const bool spread = rows > 1 && !isDecode() && !gather;
      function(fmt::format("_{}row", rows),
               fmt::format("productOfFewRows<{}, {}, {}, {}>(args, {}, {}, {}, {}, {}{});", spec,
                           rows, boolean(staging.staged), panels, in(0), norm, eps, any(weightAt),
                           finish, shift),
               {.minRows = rows == 1 ? 1 : 2,
                .maxRows = rows == 1 ? 1 : maxRows_,
                .threads = 256,
                .blocks = ceilDiv(numPanels, panels),
                .rowsPerBlock = spread ? rows : 0,
                .dynamicSharedBytes = staging.bytes,
                .blocksPerProcessor = fewRowsBlocks(staging)});
    }
  }

  /// Behind the counters; `wgmmaBytes`: where the target has wgmma, if that is more.
  void needScratch(int64_t bytes, int64_t wgmmaBytes = 0) {
    const auto grow = [](int64_t& all, int64_t needed) {
      all = std::max(all, LLMC_CUDA_COUNTER_BYTES + needed);
    };
    grow(source_.scratchBytes, bytes);
    grow(source_.wgmmaScratchBytes, std::max(bytes, wgmmaBytes));
  }

  llm::KernelOp kernel_;
  llm::KernelOpInterface op_;
  uint32_t index_;
  ArrayRef<int64_t> strides_;
  int64_t maxRows_;
  const EmitOptions& options_;
  CudaSource& source_;
  std::map<std::string, std::string>& symbolOf_;
  std::string problem_;
};

}  // namespace

llvm::Expected<CudaSource> emitCuda(llm::ModelOp model, const EmitOptions& options) {
  CudaSource source;
  source.text = kDeviceSources;
  // What launches ask for is what kernels use; of wgmma and attention each function says so itself.
  source.text += fmt::format(
      "\nstatic_assert(kTensorSharedBytes == {} && kGroupedStages * kGroupedStageBytes == {});\n",
      kTensorTileBytes, kGroupedBytes);
  source.scratchBytes = source.wgmmaScratchBytes = LLMC_CUDA_COUNTER_BYTES;
  for (const char* type : {"F32", "F16", "BF16"}) {
    source.text += fmt::format(
        "\nextern \"C\" __global__ void __launch_bounds__({}) llmc_relayout_{}(const "
        "__grid_constant__ Relayout r) {{\n  relayout<{}, File{}>(r);\n}}\n",
        LLMC_CUDA_RELAYOUT_THREADS, llvm::StringRef(type).lower(), type, type);
  }
  source.text += fmt::format(
      "extern \"C\" __global__ void __launch_bounds__({}, 4) llmc_sample(const __grid_constant__ "
      "Sample s) {{\n  chooseToken(s);\n}}\n",
      LLMC_CUDA_SAMPLE_THREADS);
  std::map<std::string, std::string> symbolOf;
  uint32_t index = 0;
  for (auto kernel : model.getOps<llm::KernelOp>())
    if (llvm::Error error = KernelEmitter(kernel, index++, options, source, symbolOf).emit())
      return error;
  return source;
}

}  // namespace llmc::cuda
