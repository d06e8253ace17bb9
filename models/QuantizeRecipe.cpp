#include "models/QuantizeRecipe.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "runtime/io/printable.h"
#include "runtime/io/tensor_name.h"

namespace llmc {
namespace {

using llmrt::Result;
using llmrt::Status;
using llmrt::WeightFormat;

/// What a weight is to a scheme.
enum class Part { kRest, kAttention, kEnds, kPlain };

/// Formats of a scheme, by part: the first whose blocks fill a row is taken.
struct Scheme {
  std::string_view name;
  std::array<std::string_view, 2> rest, attention, ends;
};
constexpr Scheme kSchemes[] = {
    {"q8", {"q8_0"}, {"q8_0"}, {"q8_0"}},
    {"q6", {"q6_k", "q8_0"}, {"q6_k", "q8_0"}, {"q8_0"}},
    {"q5", {"q5_k", "q5_1"}, {"q6_k", "q8_0"}, {"q6_k", "q8_0"}},
    {"q4", {"q4_k", "q4_1"}, {"q5_k", "q5_1"}, {"q6_k", "q8_0"}},
};
constexpr std::string_view kPlain = "plain";

const Scheme* findScheme(std::string_view name) {
  const auto found = std::ranges::find(kSchemes, name, &Scheme::name);
  return found == std::end(kSchemes) ? nullptr : found;
}

const WeightFormat* findQuantFormat(std::string_view name) {
  const WeightFormat* format = llmrt::findWeightFormat(name);
  return format && !format->isPlain() ? format : nullptr;
}

Part partOf(std::string_view role) {
  static const std::set<std::string_view> attention = {
      "q_proj", "k_proj", "v_proj", "o_proj", "q_a",         "q_nope",    "q_rope",
      "kv_a",   "k_rope", "k_up",   "v_up",   "shared_gate", "shared_up", "shared_down"};
  static const std::set<std::string_view> plain = {"router", "shared_weight", "positions"};
  if (attention.contains(role)) return Part::kAttention;
  if (role == "embed_tokens" || role == "embed_tokens_per_layer" || role == "lm_head")
    return Part::kEnds;
  return plain.contains(role) ? Part::kPlain : Part::kRest;
}

/// Whether a weight's rows are whole blocks, side by side in their tensor.
bool fits(const WeightFormat& format, const ModelWeight& w) {
  return w.cols % format.block == 0 && (!w.view || w.view->takesWholeBlocks(w.cols, format.block));
}

/// A stored tensor, and the weights that come from it: one, or parts of it as a fused projection's.
struct StoredMatrix {
  std::vector<const ModelWeight*> weights;
  std::string_view scheme;
};

/// Null: the tensor stays plain.
const WeightFormat* formatFor(const StoredMatrix& m) {
  const auto fitsAll = [&](std::string_view name) -> const WeightFormat* {
    const WeightFormat* format = findQuantFormat(name);
    const bool good =
        format && std::ranges::all_of(m.weights, [&](const auto* w) { return fits(*format, *w); });
    return good ? format : nullptr;
  };
  const Scheme* scheme = findScheme(m.scheme);
  if (!scheme) return fitsAll(m.scheme);
  const Part part = partOf(m.weights[0]->role);
  if (part == Part::kPlain) return nullptr;
  for (const std::string_view name : part == Part::kAttention ? scheme->attention
                                     : part == Part::kEnds    ? scheme->ends
                                                              : scheme->rest)
    if (const WeightFormat* format = fitsAll(name)) return format;
  return nullptr;
}

bool isMatrix(const ModelWeight& w) { return w.kind == ModelWeight::Kind::kMatrix && w.cols > 1; }

}  // namespace

std::string quantizeSchemeNames() {
  std::string names;
  for (const Scheme& scheme : kSchemes) names.append(names.empty() ? "" : ", ").append(scheme.name);
  return names;
}

Result<QuantizeOptions> parseQuantize(std::string_view text) {
  QuantizeOptions options;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t equals = part.find('=');
    const std::string_view scheme =
        equals == std::string_view::npos ? part : part.substr(equals + 1);
    const bool is_override = equals != std::string_view::npos;
    const bool known =
        findScheme(scheme) || (is_override && (findQuantFormat(scheme) || scheme == kPlain));
    if (!known || (is_override && equals == 0) || is_override == options.scheme.empty())
      return llmrt::invalidArgument("takes a scheme (" + quantizeSchemeNames() +
                                    ") and, behind commas, NAME=SCHEME for weights of their own, "
                                    "where SCHEME may also be plain or a "
                                    "format (q4_k, ...), got " +
                                    llmrt::quotedName(part));
    if (is_override)
      options.overrides.push_back({std::string(part.substr(0, equals)), std::string(scheme)});
    else
      options.scheme = std::string(scheme);
  }
  return options;
}

Status quantizeModel(ModelSpec& spec, const QuantizeOptions& options) {
  if (spec.isQuantized())
    return llmrt::invalidArgument("the model is quantised already: it is kept as it is stored");
  const std::vector<ModelWeight> weights = modelWeights(spec);
  const auto isNamed = [&](const QuantizeOptions::Override& o, const ModelWeight& w) {
    const bool tied = spec.tie_word_embeddings && o.role == "lm_head" && w.role == "embed_tokens";
    return isMatrix(w) && (w.role == o.role || tied);
  };
  for (const QuantizeOptions::Override& o : options.overrides)
    if (std::ranges::none_of(weights, [&](const ModelWeight& w) { return isNamed(o, w); }))
      return llmrt::invalidArgument(
          llmrt::quotedName(o.role).append(" is no matrix of this model"));
  // What is stored as one tensor, or multiplied as one matrix, has one format.
  std::map<std::string, StoredMatrix> matrices;
  for (const ModelWeight& w : weights) {
    if (!isMatrix(w)) continue;
    std::string_view scheme = options.scheme;
    for (const QuantizeOptions::Override& o : options.overrides)
      if (isNamed(o, w)) scheme = o.scheme;
    StoredMatrix& m = matrices[w.source];
    if (m.weights.empty()) m.scheme = scheme;
    m.weights.push_back(&w);
    if (m.scheme != scheme)
      return llmrt::invalidArgument(llmrt::quotedName(m.weights[0]->role)
                                        .append(" and ")
                                        .append(llmrt::quotedName(w.role))
                                        .append(" are one tensor: give both the same scheme"));
  }
  const auto schemeOf = [&](std::string_view role) {
    for (const auto& [source, m] : matrices)
      if (m.weights[0]->role == role) return m.scheme;
    return std::string_view();
  };
  const std::string_view gate = schemeOf("expert_gate"), up = schemeOf("expert_up");
  if (gate != up && !gate.empty() && !up.empty())
    return llmrt::invalidArgument(
        "'expert_gate' and 'expert_up' are multiplied as one: give both the same scheme");
  for (const auto& [source, m] : matrices) {
    const WeightFormat* format = formatFor(m);
    if (!format) continue;
    for (const ModelWeight* w : m.weights)
      for (int64_t i = 0; i < std::max<int64_t>(w->num_layers, 1); ++i)
        spec.stored_formats[llmrt::tensorName(source, w->first_layer + i, 0)] = format;
  }
  return {};
}

}  // namespace llmc
