// llmrun's command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/common/load_model.h"

namespace llmrt {

struct RunOptions {
  ModelOptions model;
  std::optional<std::string> prompt, prompt_file, perplexity;
  std::optional<std::vector<int32_t>> prompt_ids;
  bool chat = false;
  bool chat_lines = false;    // each line of stdin is a message
  std::string system;         // of a chat; empty: none
  std::string chat_template;  // a file, instead of the plan's; empty: none
  std::optional<int64_t> max_tokens;
  // Absent: what the plan's generation config says.
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  std::optional<int32_t> top_k;
  uint64_t seed = 0;
  std::vector<std::string> stops;
  bool ignore_eos = false;
  bool json = false;
  int32_t top_logits = 0;
  bool profile = false;

  void addTo(CLI::App& app);
};

}  // namespace llmrt
