#include "codegen/tuning/TuningFile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "codegen/cpu/Target.h"
#include "runtime/io/json.h"
#include "runtime/io/model_file.h"
#include "runtime/io/printable.h"
#include "runtime/io/weight_format.h"

namespace llmc {
namespace {

using Json = nlohmann::json;
using cpu::CpuTuning;
using cpu::ProductKey;
using cpu::ProductRows;
using cpu::ProductTuning;
using cpu::TunedProduct;
using cpu::TuningField;
using llmrt::Result;
using llmrt::Status;

constexpr int64_t kVersion = 1;
/// Of names, and of widths of a matrix: more than there are.
constexpr double kMostMeasured = 1e6;
constexpr size_t kMaxNameBytes = 200;
constexpr int64_t kMaxWidth = int64_t{1} << 40;

/// One object of the file: fields are taken by their names, and what nobody took is an error.
class ObjectReader {
 public:
  ObjectReader(const Json& json, std::string place) : json_(json), place_(std::move(place)) {
    if (!json.is_object()) error_ = fail("is no object");
  }

  void number(const char* name, int64_t least, int64_t most, int64_t& to) {
    const Json* v = take(name, /*required=*/true);
    if (!v) return;
    if (!v->is_number_integer() || *v < least || *v > most)
      return setError(fail(name, fmt::format("is no whole number from {} to {}", least, most)));
    to = v->get<int64_t>();
  }
  void tuningField(const TuningField& field, ProductTuning& to) {
    const Json* v = take(field.name, /*required=*/false);
    if (!v) return;
    // A number that is too large for int64_t is none: get() would wrap it.
    if (!v->is_number_integer() || *v < field.least || *v > field.most ||
        !field.allows(v->get<int64_t>())) {
      const std::string steps = field.powerOfTwo ? ", a power of two"
                                : field.multiple == 1
                                    ? ""
                                    : fmt::format(" in steps of {}", field.multiple);
      return setError(fail(field.name, fmt::format("is no whole number from {} to {}{}",
                                                   field.least, field.most, steps)));
    }
    to.*field.value = v->get<int64_t>();
  }
  /// For people.
  void measure(const char* name, double& to) {
    const Json* v = take(name, /*required=*/false);
    if (!v) return;
    if (!v->is_number() || !(v->get<double>() >= 0 && v->get<double>() <= kMostMeasured))
      return setError(fail(name, fmt::format("is no number from 0 to {}", kMostMeasured)));
    to = v->get<double>();
  }
  void name(const char* name, std::string& to) {
    const Json* v = take(name, /*required=*/true);
    if (!v) return;
    if (!v->is_string() || v->get_ref<const std::string&>().size() > kMaxNameBytes)
      return setError(fail(name, fmt::format("is no text of at most {} bytes", kMaxNameBytes)));
    to = v->get<std::string>();
    // It is shown to people, in a plan too.
    if (!std::all_of(to.begin(), to.end(), [](char c) { return c >= ' ' && c <= '~'; }))
      return setError(fail(name, "has characters that are not printable ASCII"));
  }
  /// The number in `of` of the word that the field has.
  void word(const char* name, std::initializer_list<const char*> of, int& to) {
    std::string text;
    this->name(name, text);
    if (!error_.ok()) return;
    const auto* found = std::find(of.begin(), of.end(), text);
    if (found == of.end())
      return setError(fail(name, "is " + llmrt::quotedName(text) + ", not " + *of.begin() + " or " +
                                     *(of.end() - 1)));
    to = static_cast<int>(found - of.begin());
  }
  const Json* list(const char* name) {
    const Json* v = take(name, /*required=*/true);
    if (v && !v->is_array()) {
      setError(fail(name, "is no list"));
      return nullptr;
    }
    return v;
  }

  /// The first error, of a field that nobody took in the end.
  Status finish() {
    if (!error_.ok()) return error_;
    for (const auto& [key, value] : json_.items())
      if (!taken_.contains(key)) return fail("there is no field " + llmrt::quotedName(key));
    return {};
  }
  Status fail(const std::string& what) const { return llmrt::invalidData(place_ + ": " + what); }
  void setError(Status error) {
    if (error_.ok()) error_ = std::move(error);
  }

 private:
  Status fail(const char* name, const std::string& what) const {
    return fail(std::string(name) + " " + what);
  }
  const Json* take(const char* name, bool required) {
    if (!error_.ok()) return nullptr;
    taken_.insert(name);
    const auto found = json_.find(name);
    if (found != json_.end()) return &*found;
    if (required) setError(fail(name, "is missing"));
    return nullptr;
  }

  const Json& json_;
  const std::string place_;
  std::set<std::string, std::less<>> taken_;
  Status error_;
};

Result<TunedProduct> readProduct(const Json& json, const std::string& place) {
  ObjectReader in(json, place);
  TunedProduct product;
  ProductKey& key = product.key;
  in.name("op", key.op);
  in.number("outputs", 1, kMaxWidth, key.outputs);
  in.number("inputs", 1, kMaxWidth, key.inputs);
  in.name("weights", key.weights);
  int int8 = 0, many = 0;
  in.word("activations", {"float", "int8"}, int8);
  in.word("rows", {"few", "many"}, many);
  key.int8 = int8 == 1;
  key.rows = many ? ProductRows::many : ProductRows::few;
  for (const TuningField& field : cpu::kTuningFields) in.tuningField(field, product.tuning);
  in.measure("gain", product.gain);
  in.measure("of_limit", product.ofLimit);
  LLMRT_RETURN_IF_ERROR(in.finish());
  if (!llmrt::findWeightFormat(key.weights))
    return in.fail(fmt::format("weights is {}, not one of {}", llmrt::quotedName(key.weights),
                               llmrt::weightFormatNames()));
  return product;
}

Result<CpuTuning> readCpu(const Json& json, const std::string& place) {
  ObjectReader in(json, place);
  CpuTuning tuning;
  in.name("cpu", tuning.cpu);
  in.name("model", tuning.model);
  in.name("target", tuning.target);
  in.number("threads", 1, 1 << 20, tuning.threads);
  const Json* products = in.list("products");
  LLMRT_RETURN_IF_ERROR(in.finish());
  if (!cpu::findCpuTarget(tuning.target))
    return in.fail("there is no target " + llmrt::quotedName(tuning.target));
  for (size_t i = 0; i < products->size(); ++i) {
    LLMRT_ASSIGN_OR_RETURN(TunedProduct product,
                           readProduct((*products)[i], fmt::format("{}.products[{}]", place, i)));
    tuning.products.push_back(std::move(product));
  }
  auto& all = tuning.products;
  const auto byKey = [](const TunedProduct& a, const TunedProduct& b) { return a.key < b.key; };
  std::sort(all.begin(), all.end(), byKey);
  const auto twice = std::adjacent_find(
      all.begin(), all.end(), [](const auto& a, const auto& b) { return a.key == b.key; });
  if (twice != all.end()) return in.fail("products has " + twice->key.text() + " twice");
  return tuning;
}

auto identity(const CpuTuning& t) { return std::tie(t.cpu, t.model, t.target); }

/// Three places: what was measured is not better known.
double rounded(double v) { return std::round(v * 1000) / 1000; }

std::string productText(const TunedProduct& product) {
  const ProductKey& key = product.key;
  nlohmann::ordered_json json = {{"op", key.op},
                                 {"outputs", key.outputs},
                                 {"inputs", key.inputs},
                                 {"weights", key.weights},
                                 {"activations", key.int8 ? "int8" : "float"},
                                 {"rows", key.rows == ProductRows::few ? "few" : "many"}};
  for (const TuningField& field : cpu::kTuningFields)
    if (const auto value = product.tuning.*field.value) json[field.name] = *value;
  json["gain"] = rounded(product.gain);
  json["of_limit"] = rounded(product.ofLimit);
  return json.dump();
}

std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

// codegen/tuning/tables, a file each.
constexpr const char* kTables[] = {
#include "tuning_tables.inc"
};

}  // namespace

void TuningFile::merge(const CpuTuning& measured) {
  auto found = std::find_if(cpus.begin(), cpus.end(),
                            [&](const CpuTuning& t) { return identity(t) == identity(measured); });
  if (found == cpus.end()) {
    cpus.push_back(measured);
    std::sort(cpus.begin(), cpus.end(),
              [](const auto& a, const auto& b) { return identity(a) < identity(b); });
    return;
  }
  found->threads = measured.threads;
  for (const TunedProduct& product : measured.products) {
    auto at = std::lower_bound(
        found->products.begin(), found->products.end(), product,
        [](const TunedProduct& a, const TunedProduct& b) { return a.key < b.key; });
    if (at != found->products.end() && at->key == product.key)
      *at = product;
    else
      found->products.insert(at, product);
  }
}

std::string TuningFile::text() const {
  std::string out = fmt::format("{{\n  \"llmc_tuning\": {},\n  \"cpus\": [", kVersion);
  for (size_t i = 0; i < cpus.size(); ++i) {
    const CpuTuning& t = cpus[i];
    out += fmt::format(
        "{}\n    {{\n      \"cpu\": {},\n      \"model\": {},\n      \"target\": {},\n"
        "      \"threads\": {},\n      \"products\": [",
        i ? "," : "", quoted(t.cpu), quoted(t.model), quoted(t.target), t.threads);
    for (size_t p = 0; p < t.products.size(); ++p)
      out += fmt::format("{}\n        {}", p ? "," : "", productText(t.products[p]));
    out += "\n      ]\n    }";
  }
  return out + "\n  ]\n}\n";
}

Result<TuningFile> parseTuning(std::string_view text, const std::string& name) {
  LLMRT_ASSIGN_OR_RETURN(const Json json, llmrt::parseJson(text, name));
  if (!json.is_object() || !json.contains("llmc_tuning"))
    return llmrt::invalidData(name + ": is no file of tunings, which llmc compile --tune writes");
  if (json["llmc_tuning"] != kVersion)
    return llmrt::unsupported(
        fmt::format("{}: llmc_tuning is not {}: another version of llmc wrote "
                    "this file, measure again with llmc compile --tune",
                    name, kVersion));
  ObjectReader in(json, name);
  int64_t version = 0;
  in.number("llmc_tuning", kVersion, kVersion, version);
  const Json* cpus = in.list("cpus");
  LLMRT_RETURN_IF_ERROR(in.finish());
  TuningFile file;
  for (size_t i = 0; i < cpus->size(); ++i) {
    LLMRT_ASSIGN_OR_RETURN(CpuTuning tuning,
                           readCpu((*cpus)[i], fmt::format("{}: cpus[{}]", name, i)));
    for (const CpuTuning& other : file.cpus)
      if (identity(other) == identity(tuning))
        return in.fail(fmt::format("cpus has {}, {}, target {} twice", tuning.cpu, tuning.model,
                                   tuning.target));
    file.cpus.push_back(std::move(tuning));
  }
  return file;
}

Result<TuningFile> readTuning(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(const llmrt::MappedFile file, llmrt::openModelFile(path));
  constexpr uint64_t kMaxFileBytes = uint64_t{16} << 20;
  if (file.size() > kMaxFileBytes)
    return llmrt::invalidData(
        fmt::format("{}: {} bytes are too many for a file of tunings", path, file.size()));
  return parseTuning(file.text(), path);
}

const CpuTuning* builtinTuning(std::string_view cpu, std::string_view target) {
  static const std::vector<TuningFile> tables = [] {
    std::vector<TuningFile> parsed;
    for (const char* text : kTables)
      // A test reads each of them: a table that cannot be read does not get here.
      if (auto file = parseTuning(text, "a built-in tuning"); file.ok())
        parsed.push_back(*std::move(file));
    return parsed;
  }();
  for (const TuningFile& table : tables)
    for (const CpuTuning& tuning : table.cpus)
      if (tuning.cpu == cpu && tuning.target == target) return &tuning;
  return nullptr;
}

}  // namespace llmc
