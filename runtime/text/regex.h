// PCRE2, compiled once, matched over valid UTF-8.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// Immutable and thread-safe. Unicode semantics (UTF and UCP), compiled to machine code where the
/// system permits it. Characters newer than PCRE2's tables are seen as StandIns says.
class Regex {
 public:
  struct Match {
    size_t begin, end;  // begin < end
  };

  /// What matching needs to write to. One for each thread; worth keeping where many short texts are
  /// matched.
  class Scratch {
   public:
    Scratch();
    Scratch(Scratch&&) noexcept;
    ~Scratch();

   private:
    friend class Regex;
    struct Buffers;
    std::unique_ptr<Buffers> buffers_;
  };

  /// kInvalidData where the pattern is not a regular expression.
  static Result<Regex> compile(std::string_view pattern);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  /// Appends all matches in `text` that are not empty, left to right, none overlapping. `text` must
  /// be valid UTF-8: it is not checked again, since checking the whole text at each match is
  /// quadratic. Fails only where the pattern needs more steps or stack than a text of this size can
  /// ask for.
  Status findAll(std::string_view text, std::vector<Match>& matches, Scratch& scratch) const;
  Status findAll(std::string_view text, std::vector<Match>& matches) const {
    Scratch scratch;
    return findAll(text, matches, scratch);
  }

 private:
  struct Code;
  explicit Regex(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace llmrt
