// llm.kernels as CUDA C++: each becomes one or more __global__ functions, which name a __device__
// body of device/*.cuh and the constants that specialise it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "codegen/cuda/Codegen.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"
#include "runtime/abi/cuda_abi.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

const char kDeviceSources[] =
#include "device_sources.inc"
    ;

constexpr int64_t kChunkTokens = 256;  // Attention::kChunk
/// Shared memory that a block may take for staged rows: two blocks fit where there are 160 KB and
/// more, one everywhere.
constexpr int64_t kStagedBytes = 64 << 10;
constexpr int64_t kMostDynamicBytes = 96 << 10;  // of every GPU from sm_80 on
constexpr int64_t kMostFlashDim = 128;           // FlashAttention's outputs fit in registers
constexpr int64_t kMostRows = 65535;             // of a grid's y
constexpr int64_t kTensorTileBytes = 3 * 16384;  // productOnTensorCores' stages
/// ProductOnWgmma::kSharedBytes of its tiles of 128 and of 256 rows.
int64_t wgmmaBytes(int64_t tokens) { return 1024 + 4 * (16384 + tokens * 128) + 8 * 2560 + 64; }
constexpr int64_t kHopperProcessors = 132;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t width(Value v) { return cast<RankedTensorType>(v.getType()).getDimSize(1); }

const char* storageName(Type type) {
  if (type.isF32()) return "F32";
  return type.isF16() ? "F16" : "BF16";
}
int64_t perWord(Type type) { return type.isF32() ? 1 : 2; }

/// A float constant with all its digits.
std::string number(double v) {
  const std::string text = fmt::format("{:.9g}", static_cast<float>(v));
  return text + (text.find_first_of(".e") == std::string::npos ? ".0f" : "f");
}
const char* boolean(bool v) { return v ? "true" : "false"; }
std::string in(int64_t i) { return fmt::format("static_cast<const float*>(args.operands[{}])", i); }
std::string out(int64_t i) { return fmt::format("static_cast<float*>(args.operands[{}])", i); }
std::string any(int64_t i) { return fmt::format("args.operands[{}]", i); }

struct Matrix {
  Type type;
  int64_t rows, cols;
};

/// One kernel's functions.
class KernelEmitter {
 public:
  /// `symbolOf`: the functions there are, by their body; shared by the kernels of a model.
  KernelEmitter(llm::KernelOp kernel, uint32_t index, CudaSource& source,
                std::map<std::string, std::string>& symbolOf)
      : kernel_(kernel),
        op_(kernel.getComputeOp()),
        index_(index),
        strides_(kernel.getRowStrides()),
        maxRows_(static_cast<int64_t>(kernel.getMaxRows())),
        source_(source),
        symbolOf_(symbolOf) {}

  llvm::Error emit() {
    std::string text;
    llvm::raw_string_ostream os(text);
    op_->print(os, OpPrintingFlags().useLocalScope());
    source_.text += fmt::format("\n// {}\n// at most {} rows\n", text, maxRows_);
    refuseForms();
    llvm::TypeSwitch<Operation*>(op_.getOperation())
        .Case([&](llm::EmbedOp o) { embed(o); })
        .Case([&](llm::RmsNormOp o) {
          rowKernel(fmt::format("rmsNormRow<{}, {}, {}>(args, {}, {}, {}, {});", width(o.getX()),
                                strides_[0], strides_[1], in(0), in(1), out(2),
                                number(o.getEps().convertToDouble())),
                    256);
        })
        .Case([&](llm::LinearOp o) {
          product(o.getX(), o.getWeightAttr(), "concat", 1, -1, 0, false,
                  fmt::format("FinishStore<{}, {}>{{{}}}", width(o.getY()), strides_[1], out(2)));
        })
        .Case([&](llm::BiasOp o) { elementwise(width(o.getX()), 0, "x + y"); })
        .Case([&](llm::RopeOp o) {
          rowKernel(fmt::format("ropeRow<{}, {}, {}, {}>(args, {}, {}, {});", width(o.getX()),
                                o.getHeadDim(), strides_[0], strides_[1], in(0), in(1), out(2)));
        })
        .Case([&](llm::KvWriteOp o) {
          rowKernel(fmt::format("kvWriteRow<{}, {}, {}>(args, {}, {}, {}, {});",
                                pool(o.getKv().getType()), strides_[0], strides_[1], in(0), in(1),
                                any(2), any(3)));
        })
        .Case([&](llm::AttentionOp o) { attention(o); })
        .Case([&](llm::ActivationOp o) {
          rowKernel(
              fmt::format("elementwiseRow<{0}, {1}, {1}, {2}>(args, {3}, {3}, {4}, [](float "
                          "x, float) {{ return activate<{5}>(x); }});",
                          width(o.getX()), strides_[0], strides_[1], in(0), out(1),
                          activationName(o.getKind())));
        })
        .Case([&](llm::MulOp o) { elementwise(width(o.getA()), strides_[1], "x * y"); })
        .Case([&](llm::AddOp o) { elementwise(width(o.getA()), strides_[1], "x + y"); })
        .Case([&](llm::LogitsOp o) {
          product(o.getX(), o.getWeightAttr(), "concat", 1, -1, 0, true,
                  fmt::format("FinishStore<{}, {}>{{{}}}", width(o.getY()), strides_[1], out(2)));
        })
        .Case([&](llm::NormQkvOp o) { normQkv(o); })
        .Case([&](llm::NormGluOp o) {
          const bool bias = bool(o.getGateBiasAttr());
          product(o.getX(), o.getGateProjAttr(), "interleave", 2, 1, o.getEps().convertToDouble(),
                  false,
                  fmt::format("FinishGlu<{}, {}, {}, {}>{{{}, {}}}",
                              activationName(o.getActivation()), width(o.getY()), boolean(bias),
                              strides_[1], bias ? in(3) : "nullptr", out(bias ? 4 : 3)));
        })
        .Case([&](llm::LinearResidualOp o) {
          const bool bias = bool(o.getBiasAttr());
          product(o.getX(), o.getWeightAttr(), "concat", 2, -1, 0, false,
                  fmt::format("FinishResidual<{}, {}, {}, {}>{{{}, {}, {}}}", width(o.getY()),
                              boolean(bias), strides_[1], strides_[2], in(1),
                              bias ? in(3) : "nullptr", out(bias ? 4 : 3)));
        })
        .Case([&](llm::NormLogitsOp o) {
          product(o.getX(), o.getWeightAttr(), "concat", 2, 1, o.getEps().convertToDouble(), true,
                  fmt::format("FinishStore<{}, {}>{{{}}}", width(o.getY()), strides_[1], out(3)));
        })
        .Default([&](Operation* o) {
          refuse("llm." + o->getName().stripDialect().str() + " has no CUDA kernel yet");
        });
    if (op_.getKernelOperands().size() > LLMC_CUDA_MAX_OPERANDS) refuse("it has too many operands");
    if (maxRows_ > kMostRows) refuse(fmt::format("more than {} rows in a step", kMostRows));
    if (problem_.empty()) return llvm::Error::success();
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   kernel_.getSymName().str() + ": " + problem_);
  }

 private:
  bool isDecode() const { return maxRows_ <= llm::kDecodeMaxRows; }
  void refuse(const std::string& why) {
    if (problem_.empty()) problem_ = why;
  }

  /// Refuses what an op can say and the kernels here do not do yet: left unsaid, it would be wrong
  /// text.
  void refuseForms() {
    auto unless = [&](bool fine, llvm::StringRef form) {
      if (fine) return;
      refuse(fmt::format("llm.{} with {} has no CUDA kernel yet",
                         op_->getName().stripDialect().str(), form.str()));
    };
    for (const char* form : {"positions", "norm_bias", "layer", "q_norm", "sinks"})
      unless(!op_->getAttr(form), form);
    auto value = [&](const char* name, double without) {
      auto attr = op_->getAttrOfType<FloatAttr>(name);
      return attr ? attr.getValueAsDouble() : without;
    };
    unless(value("softcap", 0) == 0, "softcap");
    if (!isa<llm::AttentionOp>(op_)) unless(value("scale", 1) == 1, "scale");
    if (isa<llm::LogitsOp, llm::NormLogitsOp>(op_)) unless(!op_->getAttr("bias"), "bias");
    llvm::TypeSwitch<Operation*>(op_.getOperation())
        .Case([&](llm::RopeOp o) {
          unless(turnsWhole(o.getTableAttr(), o.getHeadDim()), "rope of a part");
        })
        .Case([&](llm::NormQkvOp o) {
          auto kv = cast<llm::KvCacheType>(o.getKv().getType());
          unless(!o.getRopeAttr() || turnsWhole(o.getRopeAttr(), kv.getHeadDim()),
                 "rope of a part");
        })
        .Case([&](llm::AttentionOp o) {
          unless(o.getQ().getType() == o.getY().getType(), "latents");
        })
        .Case(
            [&](llm::KvWriteOp o) { unless(o.getK().getType() == o.getV().getType(), "latents"); });
  }
  /// Whether the table has a frequency for every pair of a head.
  bool turnsWhole(FlatSymbolRefAttr rope, int64_t headDim) const {
    for (auto table : kernel_->getParentOfType<llm::ModelOp>().getOps<llm::RopeTableOp>())
      if (table.getSymName() == rope.getValue())
        return static_cast<int64_t>(table.getInvFreq().size()) * 2 == headDim;
    return false;
  }

  const char* activationName(llm::ActivationKind kind) {
    switch (kind) {
      case llm::ActivationKind::silu:
        return "kSilu";
      case llm::ActivationKind::gelu:
        return "kGelu";
      case llm::ActivationKind::gelu_tanh:
        return "kGeluTanh";
      case llm::ActivationKind::relu:
        return "kRelu";
      default:
        refuse(("the activation " + llm::stringifyActivationKind(kind)).str());
        return "";
    }
  }

  Matrix matrix(FlatSymbolRefAttr symbol) const {
    llm::WeightOp w = llm::lookupWeight(op_, symbol);
    return {w.getTensorType().getElementType(), w.getLayerShape()[0], w.getLayerShape()[1]};
  }
  static std::string pool(Type kv) {
    auto type = cast<llm::KvCacheType>(kv);
    return fmt::format("KvPool<{}, {}, {}>", storageName(type.getElementType()),
                       type.getNumKvHeads(), type.getHeadDim());
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
          launch.threads, launch.alone ? ", 1" : "", launch.symbol, body, always ? "" : "#endif\n");
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
    rowKernel(fmt::format("embedRow<{}, {}, {}, {}>(args, {}, {});", storageName(m.type), m.cols,
                          boolean(fragments), strides_[0], any(0), out(1)));
  }

  /// y = f(x, other) over rows of `cols`; other lies at a stride of 0 where it is one vector.
  void elementwise(int64_t cols, int64_t otherStride, const char* f) {
    const int64_t yStride = strides_.back();
    rowKernel(
        fmt::format("elementwiseRow<{}, {}, {}, {}>(args, {}, {}, {}, [](float x, float y) "
                    "{{ return {}; }});",
                    cols, strides_[0], otherStride, yStride, in(0), in(1), out(2), f));
  }

  void normQkv(llm::NormQkvOp o) {
    auto kv = cast<llm::KvCacheType>(o.getKv().getType());
    const bool bias = bool(o.getQBiasAttr()), rope = bool(o.getRopeAttr());
    const int64_t heads = width(o.getQ()) / kv.getHeadDim();
    int64_t next = 3;
    const std::string biasAt = bias ? in(next++) : "nullptr";
    const std::string ropeAt = rope ? in(next++) : "nullptr";
    product(o.getX(), o.getQProjAttr(), "heads", 2, 1, o.getEps().convertToDouble(), false,
            fmt::format("FinishQkv<{}, {}, {}, {}, {}>{{{}, {}, {}, {}, {}}}",
                        pool(o.getKv().getType()), heads, boolean(bias), boolean(rope), strides_[1],
                        biasAt, ropeAt, any(next), any(next + 1), out(next + 2)),
            (heads + 2 * kv.getNumKvHeads()) * ceilDiv(kv.getHeadDim(), 16));
  }

  /// A matrix product of operand 0. `weightAt`, `normAt`: operands, -1: none. `order`: how its
  /// panels lie. `numPanels` 0: those of the matrix, twice as many where two interleave.
  void product(Value x, FlatSymbolRefAttr weight, llvm::StringRef order, int64_t weightAt,
               int64_t normAt, double eps, bool gather, const std::string& finish,
               int64_t numPanels = 0) {
    const Matrix m = matrix(weight);
    if (numPanels == 0) numPanels = ceilDiv(m.rows, 16) * (order == "interleave" ? 2 : 1);
    const std::string norm = normAt >= 0 ? in(normAt) : "nullptr";
    const std::string spec =
        fmt::format("Product<{}, {}, {}, {}, {}, {}>", storageName(m.type), m.cols, numPanels,
                    strides_[0], boolean(gather), boolean(normAt >= 0));
    if (!isDecode() && !gather && !m.type.isF32()) {
      const std::string packed = fmt::format("args.scratch + {}", int64_t{LLMC_CUDA_COUNTER_BYTES});
      const bool wgmma = m.cols % 64 == 0;  // whole stages
      const auto other = wgmma ? Launch::kWithoutWgmma : Launch::kEverywhere;
      if (wgmma) {
        function("_tiles",
                 fmt::format("packRows<{}, true>(args, {}, {}, {}, {});", spec, in(0), norm,
                             number(eps), packed),
                 {.threads = 256, .rowsPerBlock = 16, .where = Launch::kWithWgmma});
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
                              .alone = true};
          function(fmt::format("_wgmma{}", tokens),
                   fmt::format("productOnWgmma<{}, {}>(args, {}, {}, {});", spec, tokens, packed,
                               any(weightAt), finish),
                   launch);
        }
        needScratch(ceilDiv(maxRows_, 64) * (m.cols / 64) * 8192);
      }
      function("_pack",
               fmt::format("packRows<{}>(args, {}, {}, {}, {});", spec, in(0), norm, number(eps),
                           packed),
               {.threads = 256, .rowsPerBlock = 16, .where = other});
      function("_mma",
               fmt::format("productOnTensorCores<{}>(args, {}, {}, {});", spec, packed,
                           any(weightAt), finish),
               {.threads = 128,
                .blocks = ceilDiv(numPanels, 8),
                .rowsPerBlock = 128,
                .dynamicSharedBytes = kTensorTileBytes,
                .where = other});
      needScratch(ceilDiv(maxRows_, 16) * ceilDiv(m.cols, 16) * 512);
      return;
    }
    // One row alone, as decoding has it, and four at a time: an output's sum has the same order in
    // both.
    for (const int64_t rows : {1, 4}) {
      if (rows > 1 && maxRows_ == 1) break;
      const int64_t blockCols = 8 * perWord(m.type);
      const int64_t stagedBytes = rows * ceilDiv(m.cols, blockCols) * blockCols * 4;
      const bool staged = stagedBytes <= kStagedBytes || m.cols % blockCols != 0;
      if (staged && stagedBytes > kMostDynamicBytes) {
        refuse(fmt::format("a matrix with {} columns, which is no multiple of {}, is too wide",
                           m.cols, blockCols));
      }
      // Some thousand blocks keep every processor of a large GPU busy; more panels in a block
      // share the staging of its rows.
      const int64_t panelsPerBlock = std::clamp<int64_t>(numPanels / 1024, 1, 8);
      // Sums of rows go on in a block (decode) or are spread over blocks (a prefill of f32
      // weights).
      const bool spread = rows > 1 && !isDecode() && !gather;
      function(fmt::format("_{}row", rows),
               fmt::format("productOfFewRows<{}, {}, {}, {}>(args, {}, {}, {}, {}, {});", spec,
                           rows, boolean(staged), panelsPerBlock, in(0), norm, number(eps),
                           any(weightAt), finish),
               {.minRows = rows == 1 ? 1 : 2,
                .maxRows = rows == 1 ? 1 : maxRows_,
                .threads = 256,
                .blocks = ceilDiv(numPanels, panelsPerBlock),
                .rowsPerBlock = spread ? rows : 0,
                .dynamicSharedBytes = staged ? stagedBytes : 0});
    }
  }

  void attention(llm::AttentionOp o) {
    auto kv = cast<llm::KvCacheType>(o.getKv().getType());
    const int64_t heads = width(o.getQ()) / kv.getHeadDim();
    const int64_t padded = ceilDiv(kv.getHeadDim(), 16) * 16;
    if (padded > 256) refuse(fmt::format("attention with head_dim {}", kv.getHeadDim()));
    const std::string spec = fmt::format("Attention<{}, {}, {}, {}, {}>", pool(o.getKv().getType()),
                                         heads, int64_t(o.getWindow()), strides_[0], strides_[1]);
    const std::string operands = fmt::format("args, {}, {}, {}, {}, {}", in(0), any(1), any(2),
                                             out(3), number(o.getScale().convertToDouble()));
    const int64_t group = heads / kv.getNumKvHeads();
    if (!isDecode() && !kv.getElementType().isF32() && padded <= kMostFlashDim && group <= 64) {
      function("_mma", fmt::format("Flash{}::run({});", spec, operands),
               {.threads = 128,
                .blocks = kv.getNumKvHeads(),
                .rowsPerBlock = 64 / group,
                .dynamicSharedBytes = 4 * LLMC_KV_BLOCK_TOKENS * (padded * 2 + 16)});
      return;
    }
    if (!isDecode()) {
      function("", fmt::format("{}::inTurn({});", spec, operands),
               {.threads = 256, .blocks = kv.getNumKvHeads(), .rowsPerBlock = 1});
      return;
    }
    if (maxRows_ * kv.getNumKvHeads() * 4 > LLMC_CUDA_COUNTER_BYTES)
      refuse(fmt::format("attention with {} KV heads", kv.getNumKvHeads()));
    auto model = kernel_->getParentOfType<llm::ModelOp>();
    const int64_t chunks = ceilDiv(static_cast<int64_t>(model.getMaxSeqLen()), kChunkTokens);
    const int64_t together = std::min<int64_t>(group, 4);
    needScratch(maxRows_ * kv.getNumKvHeads() * chunks * ceilDiv(group, together) * together *
                (2 + padded) * 4);
    function("",
             fmt::format("{}::split({}, reinterpret_cast<u32*>(args.scratch), "
                         "reinterpret_cast<float*>(args.scratch + {}), {});",
                         spec, operands, int64_t{LLMC_CUDA_COUNTER_BYTES}, chunks),
             {.threads = 256,
              .blocks = kv.getNumKvHeads(),
              .rowsPerBlock = 1,
              .tokensPerBlock = kChunkTokens});
  }

  void needScratch(int64_t bytes) {
    source_.scratchBytes = std::max(source_.scratchBytes, LLMC_CUDA_COUNTER_BYTES + bytes);
  }

  llm::KernelOp kernel_;
  llm::KernelOpInterface op_;
  uint32_t index_;
  ArrayRef<int64_t> strides_;
  int64_t maxRows_;
  CudaSource& source_;
  std::map<std::string, std::string>& symbolOf_;
  std::string problem_;
};

}  // namespace

llvm::Expected<CudaSource> emitCuda(llm::ModelOp model) {
  CudaSource source;
  source.text = kDeviceSources;
  source.scratchBytes = LLMC_CUDA_COUNTER_BYTES;
  for (const char* type : {"F32", "F16", "BF16"}) {
    source.text += fmt::format(
        "\nextern \"C\" __global__ void __launch_bounds__({}) llmc_relayout_{}(const "
        "__grid_constant__ Relayout r) {{\n  relayout<{}, File{}>(r);\n}}\n",
        LLMC_CUDA_RELAYOUT_THREADS, llvm::StringRef(type).lower(), type, type);
  }
  source.text += fmt::format(
      "extern \"C\" __global__ void __launch_bounds__({}) llmc_sample(const __grid_constant__ "
      "Sample s) {{\n  chooseToken(s);\n}}\n",
      LLMC_CUDA_SAMPLE_THREADS);
  std::map<std::string, std::string> symbolOf;
  uint32_t index = 0;
  for (auto kernel : model.getOps<llm::KernelOp>())
    if (llvm::Error error = KernelEmitter(kernel, index++, source, symbolOf).emit()) return error;
  return source;
}

}  // namespace llmc::cuda
