// Flags that people know from other programs, llama.cpp's above all.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace llmrt {

struct ForeignFlag {
  std::string_view spelling;  // "--temp", "-ngl"
  // The flag of ours that means exactly the same, or the positional that its value becomes;
  // empty: there is none.
  std::string_view ours;
  std::string_view advice;  // where `ours` is empty: what to do here instead
};

/// `program`: "llmrun", "llmbench", "llmc compile"; others have none.
std::span<const ForeignFlag> foreignFlags(std::string_view program);

/// A line of --help: those that are taken as ours; empty where there are none.
std::string foreignFlagsHelp(std::string_view program);

/// What to do with a word that is no flag and of which there is one too many; may be empty.
std::string_view strayWordAdvice(std::string_view program);

}  // namespace llmrt
