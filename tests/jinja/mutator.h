// Templates that are almost right, from ones that are.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "runtime/jinja/template.h"

namespace llmrt::jinja {

/// The same templates for the same seed.
class Mutator {
 public:
  Mutator(std::vector<std::string> corpus, uint64_t seed);
  std::string next();

 private:
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  std::vector<std::string> corpus_;
  std::mt19937_64 random_;
};

/// Parses and renders within tight limits: nullopt where that ends in text or an error of one line,
/// as it must. `texts` counts the former.
std::optional<std::string> whatIsWrong(const std::string& source, const Value& context, int* texts);

/// The templates of tests/golden/jinja/snippets.json, and the files in a folder.
std::vector<std::string> snippets(const nlohmann::json& golden);
std::vector<std::string> filesIn(const std::string& folder);

}  // namespace llmrt::jinja
