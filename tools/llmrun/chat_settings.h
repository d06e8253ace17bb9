// What /set changes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/generate/generate.h"
#include "runtime/io/status.h"

namespace llmrt {

class ChatSettings {
 public:
  /// `start`: what "default" goes back to. `vocab_size`: of the model, to check what is set.
  ChatSettings(GenerateOptions start, int64_t vocab_size)
      : options(start), start_(std::move(start)), vocab_size_(vocab_size) {}

  GenerateOptions options;
  bool think = true;    // whether thinking is shown
  bool figures = true;  // whether each answer has a line of figures

  /// "temperature 0.7" sets; kInvalidArgument says what is wrong, and nothing is changed.
  Status set(std::string_view words);
  /// All of them with their values, a line each.
  std::string list() const;
  static std::vector<std::string> names();

 private:
  GenerateOptions start_;
  int64_t vocab_size_;
};

}  // namespace llmrt
