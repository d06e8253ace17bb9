#include "tools/llmc/InspectReport.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/executor/cost.h"
#include "runtime/schema/plan_generated.h"
#include "tools/llmc/Kernels.h"
#include "tools/llmc/Units.h"
#include "tools/llmc/WeightTypes.h"

namespace llmc {

namespace schema = llmrt::schema;
using Json = nlohmann::ordered_json;

namespace {

std::string str(const flatbuffers::String* s) { return s ? s->str() : std::string(); }
std::string text(uint64_t bytes) { return bytesText(static_cast<double>(bytes)); }

// "default, tool_use".
std::string chatTemplateNames(const schema::Plan& plan) {
  std::string names = str(plan.chat_template()).empty() ? "" : "default";
  if (plan.chat_templates())
    for (const schema::NamedTemplate* one : *plan.chat_templates())
      names += (names.empty() ? "" : ", ") + str(one->name());
  if (names == "default") return "yes";
  return names.empty() ? "none" : names;
}

// "bf16, window 512 in 22 of 26 layers", ", recurrent f32".
std::string stateTypes(const schema::Plan& plan) {
  std::string kv, recurrent;
  size_t layers = 0;
  const auto add = [](std::string& to, const std::string& what) {
    if (to.find(what) == std::string::npos) to += (to.empty() ? "" : ", ") + what;
  };
  for (uint32_t i = 0; plan.states() && i < plan.states()->size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    const bool is_kv = state.kind() == schema::StateKind::kv;
    if (state.kind() != schema::StateKind::kept)
      add(is_kv ? kv : recurrent, schema::EnumNameDType(state.dtype()));
    if (is_kv) layers += state.layers()->size();
  }
  for (uint32_t i = 0; plan.states() && i < plan.states()->size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    if (state.kind() != schema::StateKind::kv || state.window() == 0) continue;
    add(kv, fmt::format("window {}", state.window()) +
                (state.layers()->size() == layers
                     ? ""
                     : fmt::format(" in {} of {} layers", state.layers()->size(), layers)));
  }
  if (kv.empty()) kv = "none";
  return recurrent.empty() ? kv : kv + "; recurrent states " + recurrent;
}

/// The entry point of multi-token prediction.
struct MtpEntry {
  uint32_t max_rows = 0;    // 0: there is none
  double weight_bytes = 0;  // that a step reads, with the logits' matrix; experts as of one row
};
MtpEntry mtpEntry(const schema::Plan& plan) {
  MtpEntry mtp;
  for (const schema::EntryPoint* entry : *plan.entry_points()) {
    if (entry->kind() != schema::StepKind::mtp) continue;
    mtp.max_rows = entry->max_rows();
    for (uint32_t i = 0; entry->sections() && i < entry->sections()->size(); ++i) {
      const auto* phases = entry->sections()->Get(i)->phases();
      for (uint32_t j = 0; phases && j < phases->size(); ++j) {
        const schema::Phase& phase = *phases->Get(j);
        mtp.weight_bytes += static_cast<double>(phase.weight_bytes() +
                                                phase.expert_bytes() * phase.experts_per_row());
      }
    }
  }
  return mtp;
}

Json stateJson(const schema::State& state) {
  Json layers = Json::array();
  for (const uint32_t layer : *state.layers()) layers.push_back(layer);
  Json json = {{"name", str(state.name())},
               {"kind", schema::EnumNameStateKind(state.kind())},
               {"dtype", schema::EnumNameDType(state.dtype())},
               {"layers", std::move(layers)}};
  if (state.mtp()) json["mtp"] = true;
  if (state.kind() != schema::StateKind::kv) {
    json["elements"] = state.elements();
    if (state.kind() == schema::StateKind::kept) json["rows"] = state.rows();
  } else {
    json.update({{"num_kv_heads", state.num_kv_heads()},
                 {"head_dim", state.head_dim()},
                 {"window", state.window()}});
  }
  return json;
}

void addOps(InspectReport& report, const schema::Plan& plan, const schema::EntryPoint& entry) {
  const llmrt::SequenceRows row{1, report.kv_len - 1, 1};
  for (const schema::Section* section : *entry.sections()) {
    if (!section->phases()) continue;
    for (const schema::Phase* phase : *section->phases()) {
      const llmrt::Cost all = llmrt::phaseCost(*phase, {&row, 1}) * section->num_layers();
      const schema::Kernel& kernel = *plan.kernels()->Get(phase->kernel());
      OpCost op;
      op.op = str(phase->op());
      op.kernel = str(kernel.symbol());
      op.description = str(kernel.description());
      op.layers = section->num_layers();
      op.weight_bytes = all.weight_bytes;
      op.kv_bytes = all.kv_bytes;
      op.flops = all.flops;
      op.limit_us = (op.weight_bytes + op.kv_bytes) / report.bandwidth * 1e6;
      report.total.weight_bytes += op.weight_bytes;
      report.total.kv_bytes += op.kv_bytes;
      report.total.flops += op.flops;
      report.total.limit_us += op.limit_us;
      report.ops.push_back(std::move(op));
    }
  }
  for (OpCost& op : report.ops)
    op.share = report.total.limit_us > 0 ? op.limit_us / report.total.limit_us : 0;
  report.total.share = 1;
}

Json costJson(const OpCost& op) {
  return {{"weight_bytes", static_cast<uint64_t>(op.weight_bytes)},
          {"kv_bytes", static_cast<uint64_t>(op.kv_bytes)},
          {"flops", static_cast<uint64_t>(op.flops)},
          {"limit_us", op.limit_us},
          {"share", op.share}};
}

}  // namespace

llmrt::Result<InspectReport> makeReport(const schema::Plan& plan, int64_t kv_len,
                                        double bandwidth) {
  InspectReport report;
  report.kv_len = kv_len;
  report.bandwidth = bandwidth;
  LLMRT_ASSIGN_OR_RETURN(report.memory, memoryBound(plan));
  if (const int decode = llmrt::selectEntryPoint(plan, 1, 1); decode >= 0) {
    const schema::EntryPoint& entry = *plan.entry_points()->Get(static_cast<uint32_t>(decode));
    if (entry.sections()) addOps(report, plan, entry);
    const llmrt::SequenceRows row{1, kv_len / 2, 0};
    report.prefill_flops_per_token = llmrt::stepCost(plan, {&row, 1}).flops;
  }
  std::vector<std::map<std::string, uint64_t>> sizes;
  for (const schema::Target* t : *plan.targets()) {
    const uint64_t bytes = t->image() ? t->image()->size() : 0;
    report.targets.push_back({str(t->name()), bytes, t->scratch_bytes(), t->cuda_min_driver()});
    sizes.push_back(bytes && !t->cuda_launches() ? kernelSizes({t->image()->data(), bytes})
                                                 : std::map<std::string, uint64_t>());
  }
  if (!plan.kernels()) return report;
  for (const schema::Kernel* k : *plan.kernels()) {
    KernelReport kernel{str(k->symbol()), str(k->op()), str(k->description()), {}, {}};
    for (const auto& of_target : sizes) {
      const auto found = of_target.find(kernel.symbol);
      kernel.code_bytes.push_back(found == of_target.end() ? 0 : found->second);
    }
    report.kernels.push_back(std::move(kernel));
  }
  for (size_t i = 0; i < report.targets.size(); ++i) {
    const auto* launches = plan.targets()->Get(static_cast<uint32_t>(i))->cuda_launches();
    for (uint32_t j = 0; launches && j < launches->size(); ++j) {
      const schema::CudaLaunch& l = *launches->Get(j);
      report.kernels[l.kernel()].cuda.push_back({i, str(l.symbol()), l.min_rows(), l.max_rows(),
                                                 l.threads(), l.registers(), l.spill_bytes(),
                                                 l.shared_bytes(), l.dynamic_shared_bytes()});
    }
  }
  return report;
}

std::string reportText(const schema::Plan& plan, const InspectReport& report) {
  const schema::Model& m = *plan.model();
  std::string out;
  const auto line = [&](const char* name, const std::string& value) {
    out += fmt::format("{:<18}{}\n", name, value);
  };
  line("model", fmt::format("{} ({})", str(m.name()), str(m.architecture())));
  line("parameters", fmt::format("{} ({})", countText(static_cast<double>(m.num_parameters())),
                                 m.num_parameters()));
  line("shape",
       fmt::format(
           "{} layers, hidden {}, intermediate {}, {} heads of {}, {} KV heads, vocabulary {}",
           m.num_layers(), m.hidden_size(), m.intermediate_size(), m.num_heads(), m.head_dim(),
           m.num_kv_heads(), m.vocab_size()));
  line("types", fmt::format("weights {}; KV cache {}", weightTypesText(plan), stateTypes(plan)));
  line("bounds", fmt::format("{} tokens x {} sequences", m.max_seq_len(), m.max_batch()));
  line("weights", plan.has_weights() ? text(plan.weights_bytes())
                                     : text(plan.weights_bytes()) + ", not packed yet (code only)");
  line("tokenizer",
       plan.tokenizer()
           ? fmt::format("{} tokens", plan.tokenizer()->piece_offsets()
                                          ? plan.tokenizer()->piece_offsets()->size() - 1
                                          : 0)
           : "none");
  line("chat template", chatTemplateNames(plan));
  line("compiled by", str(plan.producer()) + " " + str(plan.command()));
  const std::string recurrent =
      report.memory.recurrent > 0
          ? fmt::format(", recurrent states {}", text(report.memory.recurrent))
          : "";
  line("memory at most", fmt::format("{}: weights {}, KV cache {}{}, activations {}, RoPE {}",
                                     text(report.memory.total()), text(report.memory.weights),
                                     text(report.memory.kv_cache), recurrent,
                                     text(report.memory.activations), text(report.memory.rope)));
  if (const MtpEntry mtp = mtpEntry(plan); mtp.max_rows > 0)
    line("MTP", fmt::format("guesses the token after the next, {} rows a step at most, which "
                            "reads {} of weights",
                            mtp.max_rows, bytesText(mtp.weight_bytes)));
  line("prefill", fmt::format("{} a token (prompt of {})",
                              flopsText(report.prefill_flops_per_token), report.kv_len));

  out += fmt::format("\nA token at {} tokens of context, {}/s:\n", report.kv_len,
                     bytesText(report.bandwidth));
  out += fmt::format("{:<18}{:>7}{:>11}{:>11}{:>15}{:>12}{:>8}  {}\n", "op", "layers", "weights",
                     "KV", "FLOPs", "limit us", "share", "kernel");
  const auto row = [&](const OpCost& op, const std::string& layers, const std::string& kernel) {
    out += fmt::format("{:<18}{:>7}{:>11}{:>11}{:>15}{:>12.1f}{:>7.1f}%  {}\n", op.op, layers,
                       bytesText(op.weight_bytes), bytesText(op.kv_bytes), flopsText(op.flops),
                       op.limit_us, op.share * 100, kernel);
  };
  for (const OpCost& op : report.ops)
    row(op, std::to_string(op.layers), fmt::format("{} ({})", op.kernel, op.description));
  OpCost total = report.total;
  total.op = "a token";
  row(total, "",
      fmt::format("{:.1f} tok/s at the limit", total.limit_us > 0 ? 1e6 / total.limit_us : 0));

  out += fmt::format("\n{:<60}", "kernel");
  for (const TargetReport& t : report.targets) out += fmt::format("{:>16}", t.name);
  out += '\n';
  for (const KernelReport& k : report.kernels) {
    out += fmt::format("{:<60}", k.symbol);
    for (const uint64_t bytes : k.code_bytes)
      out += fmt::format("{:>16}", bytes ? text(bytes) : "-");
    out += '\n';
  }
  out += fmt::format("{:<60}", "image");
  for (const TargetReport& t : report.targets) out += fmt::format("{:>16}", text(t.code_bytes));
  out += fmt::format("\n{:<60}", "scratch per thread");
  for (const TargetReport& t : report.targets) out += fmt::format("{:>16}", text(t.scratch_bytes));
  out += '\n';
  for (size_t i = 0; i < report.targets.size(); ++i) {
    std::string rows;
    for (const KernelReport& k : report.kernels)
      for (const CudaLaunchReport& l : k.cuda)
        if (l.target == i) {
          rows += fmt::format("{:<60}{:>11}{:>9}{:>11}{:>8}{:>9}{:>9}\n", l.symbol,
                              fmt::format("{}-{}", l.min_rows, l.max_rows), l.threads, l.registers,
                              l.spill_bytes, l.shared_bytes, l.dynamic_shared_bytes);
        }
    if (rows.empty()) continue;
    out += fmt::format("\n{:<60}{:>11}{:>9}{:>11}{:>8}{:>9}{:>9}\n{}", report.targets[i].name,
                       "rows", "threads", "registers", "spills", "shared", "dynamic", rows);
    if (const uint32_t driver = report.targets[i].cuda_min_driver) {
      out += fmt::format("needs an NVIDIA driver for CUDA {}.{} or later\n", driver / 1000,
                         driver % 1000 / 10);
    }
  }
  return out;
}

Json reportJson(const schema::Plan& plan, const InspectReport& report) {
  const schema::Model& m = *plan.model();
  const std::vector<WeightType> types = weightTypes(plan);
  Json json;
  json["model"] = {{"name", str(m.name())},
                   {"architecture", str(m.architecture())},
                   {"num_parameters", m.num_parameters()},
                   {"hidden_size", m.hidden_size()},
                   {"intermediate_size", m.intermediate_size()},
                   {"num_layers", m.num_layers()},
                   {"num_heads", m.num_heads()},
                   {"num_kv_heads", m.num_kv_heads()},
                   {"head_dim", m.head_dim()},
                   {"vocab_size", m.vocab_size()},
                   {"max_seq_len", m.max_seq_len()},
                   {"max_batch", m.max_batch()},
                   {"dtype", types.empty() ? "none" : types.front().format}};
  json["weight_formats"] = Json::array();
  for (const WeightType& type : types)
    json["weight_formats"].push_back({{"format", type.format},
                                      {"values", type.values},
                                      {"bytes", type.bytes},
                                      {"bits_per_weight", type.bitsPerWeight()}});
  if (!types.empty()) json["bits_per_weight"] = sumOf(types).bitsPerWeight();
  json["producer"] = str(plan.producer());
  json["command"] = str(plan.command());
  json["has_weights"] = plan.has_weights();
  json["weights_bytes"] = plan.weights_bytes();
  json["has_tokenizer"] = plan.tokenizer() != nullptr;
  json["has_chat_template"] = !str(plan.chat_template()).empty();
  json["chat_templates"] = Json::array();
  if (plan.chat_templates())
    for (const schema::NamedTemplate* one : *plan.chat_templates())
      json["chat_templates"].push_back(str(one->name()));
  json["states"] = Json::array();
  if (plan.states())
    for (const schema::State* state : *plan.states()) json["states"].push_back(stateJson(*state));
  if (const MtpEntry mtp = mtpEntry(plan); mtp.max_rows > 0)
    json["mtp"] = {{"max_rows", mtp.max_rows},
                   {"weight_bytes", static_cast<uint64_t>(mtp.weight_bytes)}};
  json["memory"] = {
      {"total_bytes", report.memory.total()},          {"weights_bytes", report.memory.weights},
      {"kv_cache_bytes", report.memory.kv_cache},      {"recurrent_bytes", report.memory.recurrent},
      {"activation_bytes", report.memory.activations}, {"rope_bytes", report.memory.rope}};
  json["bandwidth_gb_s"] = report.bandwidth / 1e9;
  json["kv_len"] = report.kv_len;
  Json ops = Json::array();
  for (const OpCost& op : report.ops) {
    Json one = {{"op", op.op},
                {"kernel", op.kernel},
                {"description", op.description},
                {"layers", op.layers}};
    one.update(costJson(op));
    ops.push_back(std::move(one));
  }
  json["decode"] = costJson(report.total);
  json["decode"]["ops"] = std::move(ops);
  json["prefill"] = {{"flops_per_token", static_cast<uint64_t>(report.prefill_flops_per_token)}};
  Json kernels = Json::array();
  for (const KernelReport& k : report.kernels) {
    Json code = Json::object();
    for (size_t i = 0; i < k.code_bytes.size(); ++i) code[report.targets[i].name] = k.code_bytes[i];
    kernels.push_back({{"symbol", k.symbol},
                       {"op", k.op},
                       {"description", k.description},
                       {"code_bytes", std::move(code)}});
    Json cuda = Json::object();
    for (const CudaLaunchReport& l : k.cuda) {
      cuda[report.targets[l.target].name].push_back(
          {{"symbol", l.symbol},
           {"min_rows", l.min_rows},
           {"max_rows", l.max_rows},
           {"threads", l.threads},
           {"registers", l.registers},
           {"spill_bytes", l.spill_bytes},
           {"shared_bytes", l.shared_bytes},
           {"dynamic_shared_bytes", l.dynamic_shared_bytes}});
    }
    if (!cuda.empty()) kernels.back()["cuda"] = std::move(cuda);
  }
  json["kernels"] = std::move(kernels);
  Json targets = Json::array();
  for (const TargetReport& t : report.targets) {
    targets.push_back(
        {{"name", t.name}, {"code_bytes", t.code_bytes}, {"scratch_bytes", t.scratch_bytes}});
    if (t.cuda_min_driver) targets.back()["cuda_min_driver"] = t.cuda_min_driver;
  }
  json["targets"] = std::move(targets);
  return json;
}

}  // namespace llmc
