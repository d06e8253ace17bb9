#include "models/QuantizeRecipe.h"

#include <algorithm>
#include <array>
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
  if (role == "embed_tokens" || role == "lm_head") return Part::kEnds;
  return plain.contains(role) ? Part::kPlain : Part::kRest;
}

/// Whether a weight's rows are whole blocks, side by side in their tensor.
bool fits(const WeightFormat& format, const ModelWeight& w) {
  if (w.cols % format.block != 0) return false;
  if (!w.view) return true;
  for (const int64_t step : {w.view->begin, w.view->outer, w.view->inner, w.view->expert})
    if (step % format.block != 0) return false;
  return w.view->col == 1 && w.view->stored.back() % format.block == 0;
}

/// Null: the weight stays plain.
const WeightFormat* formatFor(std::string_view scheme_name, const ModelWeight& w) {
  if (const WeightFormat* format = findQuantFormat(scheme_name))
    return fits(*format, w) ? format : nullptr;
  const Scheme* scheme = findScheme(scheme_name);
  if (!scheme) return nullptr;
  const Part part = partOf(w.role);
  if (part == Part::kPlain) return nullptr;
  const auto& names = part == Part::kAttention ? scheme->attention
                      : part == Part::kEnds    ? scheme->ends
                                               : scheme->rest;
  for (const std::string_view name : names)
    if (const WeightFormat* format = findQuantFormat(name); format && fits(*format, w))
      return format;
  return nullptr;
}

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
  for (const QuantizeOptions::Override& o : options.overrides) {
    const bool tied_head = o.role == "lm_head" && spec.tie_word_embeddings;
    const auto is_it = [&](const ModelWeight& w) {
      return w.kind == ModelWeight::Kind::kMatrix &&
             (w.role == o.role || (tied_head && w.role == "embed_tokens"));
    };
    if (std::ranges::none_of(weights, is_it))
      return llmrt::invalidArgument(llmrt::quotedName(o.role) + " is no matrix of this model");
  }
  for (const ModelWeight& w : weights) {
    if (w.kind != ModelWeight::Kind::kMatrix || w.cols < 2) continue;
    std::string_view scheme = options.scheme;
    for (const QuantizeOptions::Override& o : options.overrides)
      if (w.role == o.role ||
          (o.role == "lm_head" && spec.tie_word_embeddings && w.role == "embed_tokens"))
        scheme = o.scheme;
    const WeightFormat* format = formatFor(scheme, w);
    if (!format) continue;
    for (int64_t layer = w.first_layer; layer < w.first_layer + std::max<int64_t>(w.num_layers, 1);
         ++layer)
      spec.stored_formats[llmrt::tensorName(w.source, layer, 0)] = format;
  }
  return {};
}

}  // namespace llmc
