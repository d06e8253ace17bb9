// llmrun's command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/common/load_model.h"

namespace llmrt {

/// What is to be continued or answered: at most one of these; stdin where there is none.
struct PromptOptions {
  std::optional<std::string> text, file;
  std::optional<std::vector<int32_t>> ids;
};

struct ChatOptions {
  bool lines = false;         // each line of stdin is a message
  std::string system;         // empty: none
  std::string template_file;  // instead of the plan's; empty: none
};

/// How an output is made, and where it ends. Absent: what the plan's generation config says.
struct GenerationOptions {
  std::optional<int64_t> max_tokens;
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  std::optional<int32_t> top_k;
  uint64_t seed = 0;
  std::vector<std::string> stops;
  bool ignore_eos = false;
  int32_t top_logits = 0;
};

struct RunOptions {
  ModelOptions model;
  PromptOptions prompt;
  std::optional<std::string> perplexity;  // a file to measure, in place of a prompt
  std::string against;                    // the plan that its predictions are compared with
  bool is_chat = false;
  ChatOptions chat;
  GenerationOptions generation;
  bool json = false;
  bool profile = false;

  void addTo(CLI::App& app);
};

}  // namespace llmrt
