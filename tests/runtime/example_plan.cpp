#include "tests/runtime/example_plan.h"

#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <stdlib.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/executor/cpu_features.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/version.h"

namespace llmrt::example {
namespace {

using namespace llmrt::schema;

enum WeightIndex { kEmbedTokens, kOProj, kLmHead };
enum InputIndex { kTokenId, kPos, kSeq, kLogitsRows };
enum StateIndex { kKv, kOther };

constexpr Access kWrite = Access::write, kReadWrite = Access::read_write;

std::unique_ptr<OperandT> operand(const OperandSpec& spec) {
  auto o = std::make_unique<OperandT>();
  o->space = spec.space;
  o->index = spec.index;
  o->access = spec.access;
  return o;
}

std::unique_ptr<StateT> keysAndValues(std::string name, std::vector<uint32_t> layers) {
  auto state = std::make_unique<StateT>();
  state->name = std::move(name);
  state->layers = std::move(layers);
  state->num_kv_heads = kNumHeads;
  state->head_dim = state->head_dim_padded = kHeadDim;
  return state;
}

// A section of decoder layers.
std::unique_ptr<SectionT> layersOf(uint32_t first, uint32_t count, uint32_t state,
                                   uint32_t attention) {
  auto section = std::make_unique<SectionT>();
  section->first_layer = first;
  section->num_layers = count;
  section->is_layers = true;
  section->phases.push_back(phase("kv_write", kKvWrite,
                                  {{Space::arena, kX},
                                   {Space::input, kPos},
                                   {Space::input, kSeq},
                                   {Space::block_table, state},
                                   {Space::keys, state, kWrite},
                                   {Space::values, state, kWrite},
                                   {Space::rope, 0}},
                                  kNumHeads, 4));
  section->phases.push_back(phase("attention", attention,
                                  {{Space::arena, kX},
                                   {Space::input, kPos},
                                   {Space::input, kSeq},
                                   {Space::block_table, state},
                                   {Space::keys, state},
                                   {Space::values, state},
                                   {Space::rope, 0},
                                   {Space::arena, kA, kWrite}},
                                  kNumHeads, 4));
  section->phases.back()->kv_bytes_per_token = 2 * kNumHeads * kHeadDim * 4;
  section->phases.back()->flops_per_row_per_token = 4 * kHidden;
  // x is both read and written: every tile reads and writes its own columns of x only.
  section->phases.push_back(
      phase("linear_residual", kLinearResidual,
            {{Space::arena, kA}, {Space::weights, kOProj}, {Space::arena, kX, kReadWrite}},
            kHidden / 16, 0));
  section->phases.back()->weight_bytes = kHidden * kHidden * 4;
  section->phases.back()->flops_per_row = 2 * kHidden * kHidden;
  return section;
}

std::unique_ptr<EntryPointT> entryPoint(StepKind kind, uint32_t rows) {
  auto e = std::make_unique<EntryPointT>();
  e->name = EnumNameStepKind(kind);
  e->kind = kind;
  e->max_rows = rows;
  e->max_logits_rows = rows;
  addBuffer(*e, "x", rows, kHidden);
  addBuffer(*e, "a", rows, kHidden);
  addBuffer(*e, "logits", rows, kVocab);
  for (const char* name : {"token_id", "pos", "seq"}) e->inputs.push_back(input(name, Axis::row));
  e->inputs.push_back(input("logits_rows", Axis::logits_row));
  e->outputs.push_back(std::make_unique<OutputT>());
  e->outputs[0]->name = "logits";
  e->outputs[0]->axis = Axis::logits_row;
  e->outputs[0]->buffer = kLogitsBuffer;

  auto section = std::make_unique<SectionT>();
  section->num_layers = 1;
  section->phases.push_back(
      phase("embed", kEmbed,
            {{Space::weights, kEmbedTokens}, {Space::input, kTokenId}, {Space::arena, kX, kWrite}},
            1, 4));
  e->sections.push_back(std::move(section));

  e->sections.push_back(layersOf(0, kLayers, kKv, kAttention));

  section = std::make_unique<SectionT>();
  section->num_layers = 1;
  section->phases.push_back(phase("logits", kLogits,
                                  {{Space::arena, kX},
                                   {Space::input, kLogitsRows},
                                   {Space::weights, kLmHead},
                                   {Space::arena, kLogitsBuffer, kWrite}},
                                  4, 0));
  section->phases.back()->axis = Axis::logits_row;
  section->phases.back()->weight_bytes = 64 * kHidden * 4;
  section->phases.back()->flops_per_row = 2 * 64 * kHidden;
  e->sections.push_back(std::move(section));
  return e;
}

std::unique_ptr<WeightT> weight(PlanT& plan, std::string name, std::string source, uint64_t rows,
                                uint64_t panels, uint32_t layers) {
  auto w = std::make_unique<WeightT>();
  w->name = std::move(name);
  w->layout = panels ? Layout::panels : Layout::rows;
  w->panels = panels;
  w->cols = kHidden;
  w->num_layers = layers;
  w->bytes = (panels ? panels * 16 : rows) * kHidden * 4;
  w->layer_stride_bytes = layers ? w->bytes : 0;
  w->offset_bytes = plan.weights_bytes;
  plan.weights_bytes += w->bytes * std::max(1u, layers);
  w->sources.push_back(std::make_unique<WeightSourceT>());
  w->sources[0]->name = std::move(source);
  w->sources[0]->rows = rows;
  w->sources[0]->cols = kHidden;
  return w;
}

// One token per character of kCharacters, after BOS and EOS.
std::unique_ptr<TokenizerT> tokenizer() {
  auto t = std::make_unique<TokenizerT>();
  t->kind = TokenizerKind::byte_level_bpe;
  t->byte_ids.assign(256, -1);
  const auto add = [&](std::string_view piece, uint8_t flags) {
    t->piece_offsets.push_back(static_cast<uint32_t>(t->pieces.size()));
    t->pieces.insert(t->pieces.end(), piece.begin(), piece.end());
    t->token_flags.push_back(flags);
  };
  add("<s>", 1);
  add("</s>", 1);
  for (const char& c : std::string_view(kCharacters)) {
    t->byte_ids[static_cast<uint8_t>(c)] = static_cast<int32_t>(t->token_flags.size());
    add({&c, 1}, 2);
  }
  t->piece_offsets.push_back(static_cast<uint32_t>(t->pieces.size()));
  t->decoder.push_back(std::make_unique<DecoderStepT>());
  t->decoder[0]->kind = DecoderKind::byte_level;
  t->prefix_ids = {0};
  t->bos_id = 0;
  t->eos_id = 1;
  return t;
}

}  // namespace

std::unique_ptr<PhaseT> phase(std::string op, uint32_t kernel, std::vector<OperandSpec> operands,
                              uint64_t tiles, uint32_t rows_per_tile) {
  auto p = std::make_unique<PhaseT>();
  p->op = std::move(op);
  p->kernel = kernel;
  for (const OperandSpec& o : operands) p->operands.push_back(operand(o));
  p->tiles = tiles;
  p->rows_per_tile = rows_per_tile;
  return p;
}

std::unique_ptr<InputT> input(std::string name, Axis axis, schema::DType dtype, uint32_t width) {
  auto i = std::make_unique<InputT>();
  i->name = std::move(name);
  i->axis = axis;
  i->dtype = dtype;
  i->width = width;
  return i;
}

uint32_t addBuffer(EntryPointT& entry, std::string name, uint32_t rows, uint32_t width,
                   schema::DType dtype) {
  auto b = std::make_unique<BufferT>();
  b->name = std::move(name);
  b->dtype = dtype;
  b->width = width;
  b->row_stride = (width + 15) / 16 * 16;
  b->rows = rows;
  b->offset_bytes = entry.arena_bytes;
  b->bytes = uint64_t{rows} * b->row_stride *
             static_cast<uint64_t>(dtypeBytes(static_cast<llmrt::DType>(dtype)));
  entry.arena_bytes += (b->bytes + 63) / 64 * 64;
  entry.buffers.push_back(std::move(b));
  return static_cast<uint32_t>(entry.buffers.size() - 1);
}

uint32_t addKernel(PlanT& plan, std::string symbol) {
  plan.kernels.push_back(std::make_unique<KernelT>());
  plan.kernels.back()->symbol = std::move(symbol);
  return static_cast<uint32_t>(plan.kernels.size() - 1);
}

void refuse13(PhaseT& phase) {
  phase.kernel = kRefuse13;
  phase.operands.insert(phase.operands.begin(), operand({Space::input, kTokenId}));
}

void addRefusing(PlanT& plan) {
  for (auto& entry : plan.entry_points) {
    const auto layers = std::find_if(entry->sections.rbegin(), entry->sections.rend(),
                                     [](const auto& section) { return section->is_layers; });
    auto phase = std::make_unique<PhaseT>(*(*layers)->phases[0]);
    phase->operands.clear();
    refuse13(*phase);
    (*layers)->phases.push_back(std::move(phase));
  }
}

void addWindow(PlanT& plan) {
  plan.states[kKv]->layers = {0};
  plan.states.push_back(keysAndValues("kv_local", {1}));
  plan.states[kOther]->window = kWindow;
  for (auto& entry : plan.entry_points) {
    entry->sections[1]->num_layers = 1;
    entry->sections.insert(entry->sections.begin() + 2, layersOf(1, 1, kOther, kAttentionWindow));
    entry->sections[2]->phases[1]->window = kWindow;
  }
}

void inBlocks(WeightT& weight) {
  weight.dtype = schema::DType::i8;
  weight.format = "q8_0";
  weight.bytes = 1024 + 64;
  const auto add = [&](const char* name, uint64_t offset, uint64_t bytes) {
    auto plane = std::make_unique<schema::PlaneT>();
    plane->name = name;
    plane->offset_bytes = offset;
    plane->bytes = bytes;
    weight.planes.push_back(std::move(plane));
  };
  add("quants", 0, 1024);
  add("scales", 1024, 64);
}

void addBlocks(PlanT& plan) {
  WeightT& blocks = *plan.weights.emplace_back(std::make_unique<WeightT>(*plan.weights[kOProj]));
  blocks.name = "blocks";
  blocks.offset_bytes = plan.weights_bytes;
  plan.weights_bytes += blocks.layer_stride_bytes * blocks.num_layers;
  inBlocks(blocks);
}

void addRecurrent(PlanT& plan) {
  const auto index = static_cast<uint32_t>(plan.states.size());
  plan.states.push_back(std::make_unique<StateT>());
  plan.states.back()->name = "sum";
  plan.states.back()->kind = StateKind::recurrent;
  plan.states.back()->layers = {0};
  plan.states.back()->elements = kHidden;
  for (auto& entry : plan.entry_points) {
    auto& sections = entry->sections;
    if (sections[1]->num_layers == kLayers) {
      sections[1]->num_layers = 1;
      sections.insert(sections.begin() + 2, layersOf(1, 1, kKv, kAttention));
    }
    sections[1]->phases.insert(sections[1]->phases.begin(),
                               phase("accumulate", kAccumulate,
                                     {{Space::input, kSeq},
                                      {Space::slots, index},
                                      {Space::recurrent, index, kReadWrite},
                                      {Space::arena, kX, kReadWrite}},
                                     1, 0));
  }
}

void addKept(PlanT& plan) {
  plan.states.push_back(std::make_unique<StateT>());
  plan.states.back()->name = "kept";
  plan.states.back()->kind = StateKind::kept;
  plan.states.back()->layers = {0};
  plan.states.back()->elements = kHidden;
  plan.states.back()->rows = 8;
}

void setKernels(schema::TargetT& target, int refuse_status) {
  target.image = readFile(EXAMPLE_KERNELS + std::to_string(refuse_status) + ".so");
  target.image_hash = XXH3_64bits(target.image.data(), target.image.size());
}

schema::PlanT plan() {
  PlanT p;
  p.schema_version = kPlanSchemaVersion;
  p.producer = "test";
  p.id = 0x1234;
  p.model = std::make_unique<ModelT>();
  p.model->name = "example";
  p.model->num_layers = kLayers;
  p.model->vocab_size = kVocab;
  p.model->max_seq_len = kMaxSeqLen;
  p.model->max_batch = kMaxBatch;
  p.entry_points.push_back(entryPoint(StepKind::decode, kDecodeRows));
  p.entry_points.push_back(entryPoint(StepKind::prefill, kPrefillRows));
  for (const char* symbol :
       {"example_embed", "example_kv_write", "example_attention", "example_linear_residual",
        "example_logits", "example_refuse_13", "example_attention_window", "example_accumulate"})
    addKernel(p, symbol);
  p.targets.push_back(std::make_unique<TargetT>());
  TargetT& target = *p.targets.back();
  target.name = supportedCpuTargets().empty() ? "x86-64-v3" : supportedCpuTargets().front();
  setKernels(target, 7);
  target.scratch_bytes = kHeadDim * 4;
  target.abi_version = LLMC_KERNEL_ABI_VERSION;

  p.weights_bytes = sizeof(WeightsHeader);
  p.weights.push_back(weight(p, "embed_tokens", "model.embed_tokens.weight", kVocab, 0, 0));
  p.weights.push_back(
      weight(p, "o_proj", "model.layers.{layer}.o_proj.weight", kHidden, 2, kLayers));
  p.weights.push_back(weight(p, "lm_head", "lm_head.weight", kVocab, 4, 0));

  p.states.push_back(keysAndValues("kv", {0, 1}));
  p.rope_tables.push_back(std::make_unique<RopeTableT>());
  for (int i = 0; i < kHeadDim / 2; ++i) {
    p.rope_tables[0]->inv_freq.push_back(std::pow(10000.0, -2.0 * i / kHeadDim));
  }
  p.tokenizer = tokenizer();
  return p;
}

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "llmrt_XXXXXX").string();
  path_ = mkdtemp(pattern.data());
}

TempDir::~TempDir() { std::filesystem::remove_all(path_); }

std::vector<uint8_t> serialize(const schema::PlanT& plan) { return packPlan(plan); }

void writeFile(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

std::vector<uint8_t> readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Model::Model(const std::function<void(schema::PlanT&)>& change, uint64_t seed)
    : path(dir / "plan.fb") {
  schema::PlanT p = example::plan();
  if (change) change(p);
  writeFile(path, serialize(p));
  Result<std::unique_ptr<llmrt::Plan>> opened = llmrt::Plan::open(path);
  if (!opened.ok()) {
    ADD_FAILURE() << opened.status().message();
    return;
  }
  plan = *std::move(opened);
  std::unique_ptr<ThreadTeam> team = *ThreadTeam::create(1);
  Result<std::unique_ptr<Weights>> made = Weights::synthesize(*plan, seed, *team);
  if (!made.ok()) {
    ADD_FAILURE() << made.status().message();
    return;
  }
  weights = *std::move(made);
}

std::unique_ptr<Session> Model::session(SessionOptions options) const {
  Result<std::unique_ptr<Session>> made = Session::create(*plan, *weights, options);
  if (!made.ok()) {
    ADD_FAILURE() << made.status().message();
    return nullptr;
  }
  return *std::move(made);
}

std::vector<float> referenceLogits(const Model& model, const std::vector<int32_t>& tokens,
                                   uint64_t seed) {
  const auto value = [&](const std::string& name, int row, int col) {
    return synthetic::value(seed, name, static_cast<uint64_t>(row * kHidden + col), kHidden, 0);
  };
  const size_t n = tokens.size();
  std::vector<std::vector<double>> x(n, std::vector<double>(kHidden));
  for (size_t t = 0; t < n; ++t)
    for (int i = 0; i < kHidden; ++i) x[t][i] = value("model.embed_tokens.weight", tokens[t], i);
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string o_proj = "model.layers." + std::to_string(layer) + ".o_proj.weight";
    std::vector<std::vector<double>> rotated(n, std::vector<double>(kHidden));
    for (size_t t = 0; t < n; ++t)
      for (int i = 0; i < kHidden; ++i) {
        const int half = kHeadDim / 2, d = i % kHeadDim, pair = d % half;
        const double angle = static_cast<double>(t) * std::pow(10000.0, -2.0 * pair / kHeadDim);
        rotated[t][i] = d < half ? x[t][i] * std::cos(angle) - x[t][i + half] * std::sin(angle)
                                 : x[t][i] * std::cos(angle) + x[t][i - half] * std::sin(angle);
      }
    std::vector<std::vector<double>> y = x;
    for (size_t t = 0; t < n; ++t) {
      std::vector<double> a(kHidden);
      for (size_t p = 0; p <= t; ++p)
        for (int head = 0; head < kNumHeads; ++head) {
          double score = 0;
          for (int i = head * kHeadDim; i < (head + 1) * kHeadDim; ++i)
            score += rotated[t][i] * rotated[p][i];
          for (int i = head * kHeadDim; i < (head + 1) * kHeadDim; ++i)
            a[i] += score / static_cast<double>(t + 1) * x[p][i];
        }
      for (int i = 0; i < kHidden; ++i)
        for (int k = 0; k < kHidden; ++k) y[t][i] += a[k] * value(o_proj, i, k);
    }
    x = y;
  }
  std::vector<float> logits(kVocab);
  for (int v = 0; v < kVocab; ++v) {
    double sum = 0;
    for (int k = 0; k < kHidden; ++k) sum += x[n - 1][k] * value("lm_head.weight", v, k);
    logits[v] = static_cast<float>(sum);
  }
  return logits;
}

}  // namespace llmrt::example
