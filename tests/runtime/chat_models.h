// Example models that can chat, of the tests of llmrun --chat.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/runtime/example_plan.h"

namespace llmrt {

inline void addTemplate(schema::PlanT& plan) {
  plan.chat_template =
      "{% for m in messages %}{{ m.role[0] }} {{ m.content }}!{% endfor %}"
      "{% if add_generation_prompt %}a {% endif %}";
}

// A model whose step fails at the letter l.
inline void refuseAnL(schema::PlanT& plan) {
  addTemplate(plan);
  for (auto& entry : plan.entry_points) {
    auto phase = std::make_unique<schema::PhaseT>(*entry->sections[1]->phases[0]);
    example::refuse13(*phase);
    entry->sections[1]->phases.push_back(std::move(phase));
  }
}

// Gives the token of a letter another byte.
inline void respell(schema::PlanT& plan, char letter, char byte) {
  const size_t at = std::string_view(example::kCharacters).find(letter);
  plan.tokenizer->pieces[7 + at] = static_cast<uint8_t>(byte);  // behind <s> and </s>
  plan.tokenizer->byte_ids[static_cast<uint8_t>(letter)] = -1;
  plan.tokenizer->byte_ids[static_cast<uint8_t>(byte)] = static_cast<int32_t>(2 + at);
}

inline std::string readText(const std::string& path) {
  const std::vector<uint8_t> bytes = example::readFile(path);
  return {bytes.begin(), bytes.end()};
}

}  // namespace llmrt
