#include "tools/cli/foreign_flags.h"

#include <string>

namespace llmrt {
namespace {

constexpr std::string_view kGpu =
    "--device cuda runs a plan on a GPU, all of it (llmc compile --target cuda:...)";
constexpr std::string_view kKvType =
    "the plan has the KV cache's dtype: llmc compile --kv-dtype f32|f16|bf16";
constexpr std::string_view kMapped = "weights are mapped, and shared between processes, always";
constexpr std::string_view kAttention = "attention is fused always";
constexpr std::string_view kSteps = "--prefill-chunk N is the most tokens of a prompt in one step";

constexpr ForeignFlag kRun[] = {
    {"-m", "PLAN", ""},
    {"--model", "PLAN", ""},
    {"-p", "--prompt", ""},
    {"-f", "--prompt-file", ""},
    {"--file", "--prompt-file", ""},
    {"--predict", "--max-tokens", ""},
    {"--n-predict", "--max-tokens", ""},
    {"--max-new-tokens", "--max-tokens", ""},
    {"--ctx-size", "--max-seq-len", ""},
    {"--temp", "--temperature", ""},
    {"-s", "--seed", ""},
    {"-cnv", "--chat", ""},
    {"--conversation", "--chat", ""},
    {"-sys", "--system", ""},
    {"--system-prompt", "--system", ""},
    {"--chat-template-file", "--chat-template", ""},
    {"-r", "--stop", ""},
    {"--reverse-prompt", "--stop", ""},
    {"-i", "", "--chat is a conversation"},
    {"--interactive", "", "--chat is a conversation"},
    {"--repeat-penalty", "", "--repetition-penalty R divides the logits of all tokens seen"},
    {"-b", "", kSteps},
    {"--batch-size", "", kSteps},
    {"-ub", "", kSteps},
    {"--ubatch-size", "", kSteps},
    {"-ngl", "", kGpu},
    {"--gpu-layers", "", kGpu},
    {"--n-gpu-layers", "", kGpu},
    {"-ctk", "", kKvType},
    {"--cache-type-k", "", kKvType},
    {"-ctv", "", kKvType},
    {"--cache-type-v", "", kKvType},
    {"-fa", "", kAttention},
    {"--flash-attn", "", kAttention},
    {"--mlock", "", kMapped},
    {"--mmap", "", kMapped},
    {"--no-mmap", "", kMapped},
    {"--jinja", "", "--chat renders the model's Jinja template always"},
    {"--no-display-prompt", "", "the prompt is never printed"},
    {"-hf", "", "nothing is downloaded: fetch the model, then llmc compile DIRECTORY"},
    {"--hf-repo", "", "nothing is downloaded: fetch the model, then llmc compile DIRECTORY"},
    {"-tb", "", "--threads is for prompts and decoding alike"},
    {"--threads-batch", "", "--threads is for prompts and decoding alike"},
};

constexpr std::string_view kLayers = "--device cuda runs a plan on a GPU, all of it";

constexpr ForeignFlag kBench[] = {
    {"-m", "PLAN", ""},
    {"--model", "PLAN", ""},
    {"--n-prompt", "--prefill", ""},
    {"--n-gen", "--decode", ""},
    {"--n-depth", "--depth", ""},
    {"--repetitions", "--repeat", ""},
    {"-pg", "",
     "-p N measures a prompt of N tokens and -n N the decoding of N, each by itself; --depth N "
     "decodes behind N tokens"},
    {"-b", "",
     "--prefill-chunk N is the most tokens of a prompt in one step; --batch N decodes N sequences"},
    {"--batch-size", "",
     "--prefill-chunk N is the most tokens of a prompt in one step; --batch N decodes N sequences"},
    {"-ub", "", kSteps},
    {"--ubatch-size", "", kSteps},
    {"-ngl", "", kLayers},
    {"--n-gpu-layers", "", kLayers},
    {"-ctk", "", kKvType},
    {"--cache-type-k", "", kKvType},
    {"-ctv", "", kKvType},
    {"--cache-type-v", "", kKvType},
    {"-fa", "", kAttention},
    {"--flash-attn", "", kAttention},
    {"-mmp", "", kMapped},
    {"--mmap", "", kMapped},
};

constexpr ForeignFlag kCompile[] = {
    {"-m", "MODEL", ""},
    {"--model", "MODEL", ""},
    {"--outfile", "--output", ""},
    {"-c", "--max-seq-len", ""},
    {"--ctx-size", "--max-seq-len", ""},
    {"--max-model-len", "--max-seq-len", ""},
    {"--outtype", "", "--dtype bf16|f16|f32 is what weights are kept as"},
    {"-march", "", "--target NAME[,NAME...]; llmc targets lists the names"},
    {"-mcpu", "", "--target NAME[,NAME...]; llmc targets lists the names"},
    {"--cpu-target", "", "--target NAME[,NAME...]; llmc targets lists the names"},
    {"--device", "", "--target host,cuda:sm_90a adds code for a GPU; llmc targets lists the names"},
    {"-ngl", "", "--target host,cuda:sm_90a adds code for a GPU; llmc targets lists the names"},
    {"-b", "",
     "--max-batch N is the most sequences in flight, --prefill-chunk N the most rows of a step"},
    {"-ctk", "", "--kv-dtype f32|f16|bf16 is of keys and values"},
    {"-ctv", "", "--kv-dtype f32|f16|bf16 is of keys and values"},
};

}  // namespace

std::span<const ForeignFlag> foreignFlags(std::string_view program) {
  if (program == "llmrun") return kRun;
  if (program == "llmbench") return kBench;
  if (program == "llmc compile") return kCompile;
  return {};
}

std::string foreignFlagsHelp(std::string_view program) {
  std::string text;
  for (const ForeignFlag& flag : foreignFlags(program)) {
    if (flag.ours.empty()) continue;
    text += text.empty() ? "Taken as well: " : ", ";
    text += std::string(flag.spelling) + " (" + std::string(flag.ours) + ")";
  }
  return text;
}

std::string_view strayWordAdvice(std::string_view program) {
  if (program == "llmrun") return "the text to continue goes behind --prompt, in quotes";
  if (program == "llmc tokenize") return "a text goes behind --text, in quotes";
  return "";
}

}  // namespace llmrt
