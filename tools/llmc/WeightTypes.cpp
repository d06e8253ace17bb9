#include "tools/llmc/WeightTypes.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/schema/stored_weights.h"

namespace llmc {

std::vector<WeightType> weightTypes(const llmrt::schema::Plan& plan) {
  std::vector<WeightType> types;
  for (uint32_t i = 0; plan.weights() && i < plan.weights()->size(); ++i) {
    const llmrt::schema::Weight& w = *plan.weights()->Get(i);
    const uint64_t layers = std::max(1u, w.num_layers());
    uint64_t rows = 0;
    for (const llmrt::schema::WeightSource* source : *w.sources())
      if (source->kind() == 0) rows += source->rows();  // norms and biases are f32
    const llmrt::WeightFormat* format = llmrt::formatOf(w);
    if (rows == 0 || !format) continue;
    auto found = std::find_if(types.begin(), types.end(),
                              [&](const WeightType& t) { return t.format == format->name; });
    if (found == types.end()) found = types.insert(found, {std::string(format->name)});
    found->values += rows * w.cols() * layers * std::max(1u, w.num_experts());
    found->bytes += w.bytes() * layers;
  }
  std::stable_sort(types.begin(), types.end(),
                   [](const WeightType& a, const WeightType& b) { return a.values > b.values; });
  return types;
}

WeightType sumOf(const std::vector<WeightType>& types) {
  WeightType all;
  for (const WeightType& type : types) {
    all.values += type.values;
    all.bytes += type.bytes;
  }
  return all;
}

std::string weightTypesText(const llmrt::schema::Plan& plan) {
  const std::vector<WeightType> types = weightTypes(plan);
  if (types.empty()) return "none";
  const WeightType all = sumOf(types);
  std::string text;
  for (const WeightType& type : types) {
    text += (text.empty() ? "" : ", ") + type.format;
    if (types.size() > 1)
      text += fmt::format(
          " {:.1f} %", 100.0 * static_cast<double>(type.values) / static_cast<double>(all.values));
  }
  const bool quantised = std::any_of(types.begin(), types.end(), [](const WeightType& type) {
    return !llmrt::findWeightFormat(type.format)->isPlain();
  });
  return quantised ? text + fmt::format(", {:.2f} bits a weight", all.bitsPerWeight()) : text;
}

}  // namespace llmc
