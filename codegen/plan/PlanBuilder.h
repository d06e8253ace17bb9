// Puts a plan together: the scheduled module, machine code, tokenizer and defaults become schema
// tables.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "codegen/cpu/Codegen.h"
#include "codegen/cuda/Codegen.h"
#include "ir/LLM.h"
#include "models/ModelSpec.h"
#include "runtime/io/status.h"
#include "runtime/schema/plan_generated.h"

namespace llmc {

/// What a plan holds beside what the scheduled module says.
struct PlanParts {
  std::vector<cpu::TargetImage> images;                                        // one per CPU target
  std::vector<cuda::CudaImage> cuda_images;                                    // one per GPU target
  std::unique_ptr<llmrt::schema::TokenizerT> tokenizer;                        // null: none
  std::string chat_template;                                                   // empty: none
  std::vector<std::unique_ptr<llmrt::schema::NamedTemplateT>> chat_templates;  // beside it
  std::vector<std::unique_ptr<llmrt::schema::SpecialTokenT>> special_tokens;
  std::string fused_ir;  // text
  std::string command;   // flags, for people
  std::string producer;  // the compiler and its version
};

/// A code-only plan (has_weights is false, hashes are 0). `model` has been scheduled and checked;
/// `spec` is what it was imported from.
llmrt::Result<llmrt::schema::PlanT> buildPlan(llm::ModelOp model, const ModelSpec& spec,
                                              PlanParts parts);

}  // namespace llmc
