#include "codegen/plan/PlanBuilder.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "codegen/plan/WeightTable.h"
#include "passes/ScheduleToPlan.h"
#include "runtime/abi/cuda_abi.h"
#include "runtime/abi/kernel_abi.h"
#include "runtime/schema/same_case.h"
#include "runtime/schema/version.h"

namespace llmc {
namespace {

namespace schema = llmrt::schema;
using llmrt::Result;
using llmrt::Status;

/// Of plain values, or of what a format keeps them as.
schema::DType dtypeOf(mlir::Type type) {
  return llmrt::sameCase<schema::DType>(llm::weightFormatOf(type).planes[0].dtype);
}

std::vector<int32_t> toInt32(const std::vector<int64_t>& ids) { return {ids.begin(), ids.end()}; }

class PlanBuilder {
 public:
  PlanBuilder(llm::ModelOp model, const ModelSpec& spec, PlanParts parts)
      : model_(model), spec_(spec), parts_(std::move(parts)) {}

  Result<schema::PlanT> build() {
    plan_.schema_version = llmrt::kPlanSchemaVersion;
    plan_.producer = parts_.producer;
    plan_.command = parts_.command;
    addWeights();
    addModel();
    LLMRT_RETURN_IF_ERROR(addEntryPoints());
    for (auto kernel : model_.getBody().getOps<llm::KernelOp>()) addKernel(kernel);
    for (cpu::TargetImage& image : parts_.images) addTarget(image);
    for (cuda::CudaImage& image : parts_.cuda_images) addTarget(image);
    for (auto state : model_.getBody().getOps<llm::StateOp>()) addState(state);
    for (auto table : model_.getBody().getOps<llm::RopeTableOp>()) addRopeTable(table);
    addGeneration();
    plan_.tokenizer = std::move(parts_.tokenizer);
    plan_.chat_template = std::move(parts_.chat_template);
    plan_.chat_templates = std::move(parts_.chat_templates);
    plan_.special_tokens = std::move(parts_.special_tokens);
    plan_.ir = std::move(parts_.fused_ir);
    plan_.id = planId(plan_);
    return std::move(plan_);
  }

 private:
  void addModel() {
    auto m = std::make_unique<schema::ModelT>();
    m->name = spec_.name;
    m->architecture = spec_.architecture;
    m->hidden_size = static_cast<uint32_t>(spec_.hidden_size);
    m->intermediate_size = static_cast<uint32_t>(spec_.intermediate_size);
    m->num_layers = static_cast<uint32_t>(spec_.num_layers);
    m->num_heads = static_cast<uint32_t>(spec_.num_heads);
    m->num_kv_heads = static_cast<uint32_t>(spec_.num_kv_heads);
    m->head_dim = static_cast<uint32_t>(spec_.head_dim);
    m->vocab_size = static_cast<uint32_t>(spec_.vocab_size);
    m->max_seq_len = static_cast<uint32_t>(model_.getMaxSeqLen());
    m->trained_seq_len = static_cast<uint32_t>(spec_.max_position_embeddings);
    m->max_batch = static_cast<uint32_t>(model_.getMaxBatch());
    m->num_parameters = static_cast<uint64_t>(numParameters(spec_));
    for (auto weight : model_.getBody().getOps<llm::WeightOp>())
      if (weight.getKind() == llm::WeightKind::matrix)
        m->dtype = dtypeOf(weight.getTensorType().getElementType());
    plan_.model = std::move(m);
  }

  void addWeights() {
    for (auto packed : model_.getBody().getOps<llm::PackedWeightOp>()) {
      auto w = std::make_unique<schema::WeightT>();
      w->name = packed.getSymName().str();
      w->dtype = dtypeOf(packed.getElementType());
      const llmrt::WeightFormat& format = llm::weightFormatOf(packed.getElementType());
      if (!format.isPlain()) w->format = format.name;
      w->layout = llmrt::sameCase<schema::Layout>(packed.getLayout());
      w->order = llmrt::sameCase<schema::PanelOrder>(packed.getOrder());
      w->head_rows = static_cast<uint32_t>(packed.getHeadRows());
      for (mlir::Attribute symbol : packed.getSources()) {
        llm::WeightOp source =
            llm::lookupWeight(packed, mlir::cast<mlir::FlatSymbolRefAttr>(symbol));
        auto s = std::make_unique<schema::WeightSourceT>();
        s->name = source.getSource().str();
        const llvm::ArrayRef<int64_t> shape = source.getLayerShape();
        s->rows = static_cast<uint64_t>(shape[0]);
        s->cols = shape.size() > 1 ? static_cast<uint64_t>(shape[1]) : 1;
        s->kind = static_cast<uint8_t>(source.getKind());
        s->plus = source.getPlus().convertToDouble();
        if (source.getView()) s->view = viewOf(*source.getView());
        w->num_experts = static_cast<uint32_t>(source.getNumExperts());
        if (source.isPerLayer()) {
          w->first_layer = static_cast<uint32_t>(source.getFirstLayer());
          w->num_layers = static_cast<uint32_t>(source.getTensorType().getDimSize(0));
        }
        w->sources.push_back(std::move(s));
      }
      plan_.weights.push_back(std::move(w));
    }
    layOutWeights(plan_);
  }

  static std::unique_ptr<schema::WeightViewT> viewOf(llm::ViewAttr view) {
    auto v = std::make_unique<schema::WeightViewT>();
    v->stored.assign(view.getStored().begin(), view.getStored().end());
    v->begin = static_cast<uint64_t>(view.getBegin());
    v->run = static_cast<uint64_t>(view.getRun());
    v->outer = static_cast<uint64_t>(view.getOuter());
    v->inner = static_cast<uint64_t>(view.getInner());
    v->col = static_cast<uint64_t>(view.getCol());
    v->expert = static_cast<uint64_t>(view.getExpert());
    v->pair_begin = static_cast<uint64_t>(view.getPairBegin());
    v->pair_size = static_cast<uint64_t>(view.getPairSize());
    return v;
  }

  Status addEntryPoints() {
    const PlanIndex index(model_);
    for (auto schedule : model_.getBody().getOps<llm::ScheduleOp>()) {
      auto entry = toEntryPoint(schedule, index);
      if (mlir::failed(entry))
        return llmrt::internalError("the schedule of " + schedule.getSymName().str() +
                                    " names what the module does not have");
      plan_.entry_points.push_back(std::make_unique<schema::EntryPointT>(std::move(*entry)));
    }
    return {};
  }

  // "norm_qkv: weights 6144x4096 bf16, cache 8x128 bf16, at most 8 rows"
  void addKernel(llm::KernelOp kernel) {
    auto k = std::make_unique<schema::KernelT>();
    llm::KernelOpInterface op = kernel.getComputeOp();
    k->symbol = kernel.getSymName().str();
    k->op = op->getName().stripDialect().str();
    int64_t rows = 0, cols = 0, experts = 0;
    std::string dtype;
    std::string_view last;
    for (const llm::KernelOperand& operand : op.getKernelOperands()) {
      if (operand.space != llm::Space::weights) continue;
      for (mlir::FlatSymbolRefAttr symbol : operand.symbols) {
        llm::WeightOp weight = llm::lookupWeight(op, symbol);
        if (!weight || weight.getKind() != llm::WeightKind::matrix) continue;
        rows += weight.getLayerShape()[0];
        cols = weight.getLayerShape()[1];
        experts = static_cast<int64_t>(weight.getNumExperts());
        const std::string_view format =
            llm::weightFormatOf(weight.getTensorType().getElementType()).name;
        if (format == last) continue;
        dtype += fmt::format("{}{}", dtype.empty() ? "" : "+", format);
        last = format;
      }
    }
    std::string text;
    if (rows > 0)
      text = fmt::format("{}weights {}x{} {}, ",
                         experts ? fmt::format("{} experts, ", experts) : "", rows, cols, dtype);
    if (llm::KvCacheType kv = kvOf(op)) {
      text += fmt::format("KV cache {}x{} {}, ", kv.getNumKvHeads(), kv.getHeadDim(),
                          schema::EnumNameDType(dtypeOf(kv.getElementType())));
    }
    if (rows == 0 && op->getNumResults() > 0) {
      const auto type = mlir::cast<mlir::RankedTensorType>(op->getResult(0).getType());
      text += fmt::format("{} wide, ", type.getDimSize(1));
    }
    k->description = fmt::format("{}at most {} rows", text, kernel.getMaxRows());
    for (const cpu::TargetImage& image : parts_.images)
      for (llvm::StringRef line : image.tuned)
        if (line.consume_front(k->symbol + ": "))
          k->description += fmt::format("; {}: {}", image.target, line.str());
    plan_.kernels.push_back(std::move(k));
  }

  void addTarget(cpu::TargetImage& image) {
    auto t = std::make_unique<schema::TargetT>();
    t->name = image.target;
    t->image = std::move(image.image);
    t->image_hash = XXH3_64bits(t->image.data(), t->image.size());
    t->scratch_bytes = static_cast<uint64_t>(image.scratchBytes);
    t->abi_version = LLMC_KERNEL_ABI_VERSION;
    plan_.targets.push_back(std::move(t));
  }

  void addTarget(cuda::CudaImage& image) {
    auto t = std::make_unique<schema::TargetT>();
    t->name = image.target;
    t->image = std::move(image.binary.image);
    t->image_hash = XXH3_64bits(t->image.data(), t->image.size());
    t->scratch_bytes = static_cast<uint64_t>(image.scratchBytes);
    t->abi_version = LLMC_CUDA_ABI_VERSION;
    t->cuda_operands = image.operands;
    t->cuda_min_driver = image.binary.minDriver;
    for (const cuda::Launch& from : image.launches) {
      auto launch = std::make_unique<schema::CudaLaunchT>();
      launch->kernel = from.kernel;
      launch->symbol = from.symbol;
      launch->min_rows = static_cast<uint32_t>(from.minRows);
      launch->max_rows = static_cast<uint32_t>(from.maxRows);
      launch->threads = static_cast<uint32_t>(from.threads);
      launch->blocks = static_cast<uint32_t>(from.blocks);
      launch->rows_per_block = static_cast<uint32_t>(from.rowsPerBlock);
      launch->tokens_per_block = static_cast<uint32_t>(from.tokensPerBlock);
      launch->part = static_cast<uint32_t>(from.part);
      launch->parts = static_cast<uint32_t>(from.parts);
      launch->dynamic_shared_bytes = static_cast<uint32_t>(from.dynamicSharedBytes);
      if (auto found = image.binary.resources.find(from.symbol);
          found != image.binary.resources.end()) {
        launch->registers = found->second.registers;
        launch->spill_bytes = found->second.spillBytes;
        launch->shared_bytes = found->second.sharedBytes;
      }
      t->cuda_launches.push_back(std::move(launch));
    }
    plan_.targets.push_back(std::move(t));
  }

  /// The cache that an op reads or writes; null where there is none.
  static llm::KvCacheType kvOf(llm::KernelOpInterface op) {
    for (const llm::KernelOperand& operand : op.getKernelOperands())
      if (operand.space == llm::Space::keys) return llm::kvTypeOf(op, operand.symbols.front());
    return {};
  }

  void addState(llm::StateOp op) {
    auto s = std::make_unique<schema::StateT>();
    s->name = op.getSymName().str();
    s->mtp = op.getMtp();
    for (int64_t layer : op.getLayerNumbers()) s->layers.push_back(static_cast<uint32_t>(layer));
    if (llm::KvCacheType kv = op.getKvType()) {
      s->kind = schema::StateKind::kv;
      s->dtype = dtypeOf(kv.getElementType());
      s->num_kv_heads = static_cast<uint32_t>(kv.getNumKvHeads());
      s->head_dim = static_cast<uint32_t>(kv.getHeadDim());
      s->head_dim_padded = (s->head_dim + 15) / 16 * 16;
      if (kv.getValueDim() != kv.getHeadDim())
        s->value_dim_padded = static_cast<uint32_t>((kv.getValueDim() + 15) / 16 * 16);
      s->window = static_cast<uint32_t>(op.getWindow());
    } else if (llm::KeptType kept = op.getKeptType()) {
      s->kind = schema::StateKind::kept;
      s->dtype = schema::DType::f32;
      s->elements = static_cast<uint64_t>(kept.getWidth());
      s->rows = static_cast<uint32_t>(kept.getRows());
    } else {
      llm::RecurrentType type = op.getRecurrentType();
      s->kind = schema::StateKind::recurrent;
      s->dtype = dtypeOf(type.getElementType());
      s->elements = 1;
      for (int64_t size : type.getShape()) s->elements *= static_cast<uint64_t>(size);
    }
    plan_.states.push_back(std::move(s));
  }

  void addRopeTable(llm::RopeTableOp op) {
    auto t = std::make_unique<schema::RopeTableT>();
    t->inv_freq.assign(op.getInvFreq().begin(), op.getInvFreq().end());
    t->scale = op.getScale().convertToDouble();
    if (auto longer = op.getLongInvFreq()) {
      t->long_inv_freq.assign(longer->begin(), longer->end());
      t->long_above = static_cast<uint32_t>(op.getLongAbove());
    }
    plan_.rope_tables.push_back(std::move(t));
  }

  void addGeneration() {
    auto g = std::make_unique<schema::GenerationT>();
    g->eos_token_ids = toInt32(spec_.eos_token_ids);
    // What the config leaves out, the tokenizer may know.
    const schema::TokenizerT* tokenizer = parts_.tokenizer.get();
    if (tokenizer && g->eos_token_ids.empty() && tokenizer->eos_id >= 0)
      g->eos_token_ids.push_back(tokenizer->eos_id);
    g->do_sample = spec_.generation.do_sample;
    g->temperature = static_cast<float>(spec_.generation.temperature);
    g->top_k = static_cast<uint32_t>(spec_.generation.top_k);
    g->top_p = static_cast<float>(spec_.generation.top_p);
    g->min_p = static_cast<float>(spec_.generation.min_p);
    g->repetition_penalty = static_cast<float>(spec_.generation.repetition_penalty);
    g->no_repeat_ngram_size = static_cast<uint32_t>(spec_.generation.no_repeat_ngram_size);
    g->suppress_tokens = toInt32(spec_.generation.suppress_tokens);
    g->begin_suppress_tokens = toInt32(spec_.generation.begin_suppress_tokens);
    for (const std::vector<int64_t>& word : spec_.generation.bad_words) {
      g->bad_words.push_back(std::make_unique<schema::TokenSequenceT>());
      g->bad_words.back()->ids = toInt32(word);
    }
    g->stop_strings = spec_.generation.stop_strings;
    g->max_new_tokens = static_cast<uint32_t>(spec_.generation.max_new_tokens);
    g->chat_temperature = static_cast<float>(spec_.generation.chat_temperature);
    plan_.generation = std::move(g);
  }

  llm::ModelOp model_;
  const ModelSpec& spec_;
  PlanParts parts_;
  schema::PlanT plan_;
};

}  // namespace

Result<schema::PlanT> buildPlan(llm::ModelOp model, const ModelSpec& spec, PlanParts parts) {
  return PlanBuilder(model, spec, std::move(parts)).build();
}

}  // namespace llmc
