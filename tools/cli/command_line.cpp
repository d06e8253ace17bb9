#include "tools/cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <stdexcept>

#include "runtime/io/printable.h"
#include "tools/cli/foreign_flags.h"

namespace llmrt {
namespace {

// Edits between two names; a swap of neighbours is one.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

bool isHelp(const CLI::App& app, const CLI::Option* option) {
  return option == app.get_help_ptr() || option == app.get_version_ptr();
}

// Whether its value is the next word: flags take one only behind '='.
bool takesValue(const CLI::Option& option) { return option.get_items_expected_min() > 0; }

// As many words as a command line can have, for a positional that takes any number of them.
constexpr int kMostWords = 1 << 20;

// How the upper bound of a range begins that has none.
constexpr const char* kWithoutEnd = " to 17976931348623157";

/// Walks the words as CLI11 will, which reports what it declared first, not what was typed first.
class Scan {
 public:
  Scan(CLI::App& app, std::vector<std::string> words) : words_(std::move(words)) { enter(app); }

  /// The words that CLI11 shall parse; throws CLI::ParseError.
  std::vector<std::string> run() {
    while (at_ < words_.size() && !help_ && words_[at_] != "--") {
      const std::string word = words_[at_++];
      if (word.size() > 1 && word[0] == '-')
        flag(word);
      else
        positional(word);
    }
    done_.insert(done_.end(), words_.begin() + static_cast<ptrdiff_t>(at_), words_.end());
    return std::move(done_);
  }

  /// "llmc compile": as far as the words have named a subcommand.
  const std::string& program() const { return program_; }

 private:
  void enter(CLI::App& app) {
    app_ = &app;
    program_ += (program_.empty() ? "" : " ") + app.get_name();
    options_.clear();
    positionals_ = 0;
    collect(app);
  }

  // Groups of options are nameless subcommands of CLI11.
  void collect(CLI::App& app) {
    for (CLI::Option* option : app.get_options()) {
      options_.push_back(option);
      if (option->get_positional())
        positionals_ += std::min(option->get_items_expected_max(), kMostWords);
    }
    for (CLI::App* group :
         app.get_subcommands([](CLI::App* sub) { return sub->get_name().empty(); }))
      collect(*group);
  }

  CLI::Option* find(std::string_view name) const {
    for (CLI::Option* option : options_) {
      const bool is_long = name.starts_with("--");
      const auto& names = is_long ? option->get_lnames() : option->get_snames();
      if (std::find(names.begin(), names.end(), name.substr(is_long ? 2 : 1)) != names.end())
        return option;
    }
    return nullptr;
  }

  // "--name", "--name=value", "-n", "-nvalue", "-n value", "-abc".
  void flag(const std::string& word) {
    const bool is_long = word.starts_with("--");
    const size_t equals = is_long ? word.find('=') : std::string::npos;
    const std::string name = word.substr(0, equals);
    if (CLI::Option* option = find(name); option && (is_long || word.size() == 2))
      return take(*option, word, equals);
    for (const ForeignFlag& foreign : foreignFlags(program_)) {
      if (foreign.spelling == name) return takeForeign(foreign, word, equals);
    }
    if (is_long) unknown(name);
    for (size_t i = 1; i < word.size(); ++i) {
      CLI::Option* option = find(std::string("-") + word[i]);
      if (!option) unknown(word);
      if (!takesValue(*option)) continue;
      if (i + 1 < word.size()) {
        done_.push_back(word);
        return check(*option, word.substr(i + 1));
      }
      return take(*option, word, std::string::npos);
    }
    done_.push_back(word);
  }

  void take(CLI::Option& option, const std::string& word, size_t equals) {
    help_ = help_ || isHelp(*app_, &option);
    done_.push_back(word);
    if (!takesValue(option)) {
      if (equals != std::string::npos)
        check(option, option.get_flag_value(word.substr(2, equals - 2), word.substr(equals + 1)));
      return;
    }
    if (equals != std::string::npos) return check(option, word.substr(equals + 1));
    if (at_ == words_.size()) return;  // CLI11 says what is missing
    done_.push_back(words_[at_]);
    check(option, words_[at_++]);
  }

  void takeForeign(const ForeignFlag& foreign, const std::string& word, size_t equals) {
    if (foreign.ours.empty())
      fail(fmt::format("{} is not a flag here: {}", foreign.spelling, foreign.advice));
    if (foreign.ours.starts_with("--")) {
      CLI::Option* option = find(foreign.ours);
      if (!option) unknown(word);
      const std::string value = equals == std::string::npos ? "" : word.substr(equals);
      return take(*option, std::string(foreign.ours) + value,
                  value.empty() ? std::string::npos : foreign.ours.size());
    }
    if (equals != std::string::npos) return positional(word.substr(equals + 1));
    if (at_ == words_.size()) fail(fmt::format("{}: needs a value, the {}", word, foreign.ours));
    positional(words_[at_++]);
  }

  void positional(const std::string& word) {
    const auto subs = app_->get_subcommands([](CLI::App* sub) { return !sub->get_name().empty(); });
    for (CLI::App* sub : subs) {
      if (sub->get_name() != word) continue;
      done_.push_back(word);
      return enter(*sub);
    }
    if (!subs.empty()) {
      std::vector<std::string> names;
      for (CLI::App* sub : subs) names.push_back(sub->get_name());
      fail(fmt::format("there is no command {}{}", quotedName(word),
                       suggestion(nearestName(word, names))));
    }
    if (positionals_-- == 0) {
      const std::string_view advice = strayWordAdvice(program_);
      fail(fmt::format("{} is a word too many{}{}", quotedName(word), advice.empty() ? "" : ": ",
                       advice));
    }
    done_.push_back(word);
  }

  // Whether the value will do. Throws what CLI11 would throw once everything is read.
  static void check(CLI::Option& option, const std::string& value) {
    option.clear();
    option.add_result(value);
    try {
      option.run_callback();
    } catch (const CLI::ValidationError& e) {
      // CLI11 writes the bounds of a double's range in 600 digits.
      char* end = nullptr;
      const bool number = !value.empty() && (std::strtod(value.c_str(), &end), *end == '\0');
      if (std::string(e.what()).find(" not in range ") == std::string::npos) throw;
      if (!number) notANumber(option, value);
      if (std::string(e.what()).find(kWithoutEnd) == std::string::npos) throw;
      fail(fmt::format("{}: {} is too small", option.get_name(), value));
    } catch (const std::logic_error&) {  // of the C++ library's number parsing
      notANumber(option, value);
    }
    option.clear();
  }

  [[noreturn]] static void notANumber(const CLI::Option& option, const std::string& value) {
    fail(fmt::format("{}: {} is not a number, or out of range", option.get_name(),
                     quotedName(value)));
  }

  [[noreturn]] void unknown(const std::string& name) const {
    std::vector<std::string> names;
    for (const CLI::Option* option : options_)
      for (const std::string& known : option->get_lnames()) names.push_back("--" + known);
    std::string typed = name;
    if (!typed.starts_with("--")) typed = "-" + typed;  // -temperature
    fail(fmt::format("there is no flag {}{}", quotedName(name),
                     suggestion(nearestName(typed, names))));
  }

  static std::string suggestion(std::string_view name) {
    return name.empty() ? std::string() : fmt::format(": did you mean {}?", name);
  }

  [[noreturn]] static void fail(std::string message) {
    throw CLI::ParseError(std::move(message), CLI::ExitCodes::ExtrasError);
  }

  std::vector<std::string> words_, done_;
  size_t at_ = 0;
  CLI::App* app_ = nullptr;
  std::string program_;
  std::vector<CLI::Option*> options_;  // of app_
  int positionals_ = 0;                // words that it still takes
  bool help_ = false;
};

}  // namespace

std::string_view nearestName(std::string_view typed, const std::vector<std::string>& known) {
  std::string_view nearest;
  // Half a name wrong is another name.
  size_t least = std::max<size_t>(1, typed.size() / 3) + 1;
  for (const std::string& name : known) {
    if (const size_t d = distance(typed, name); d < least) {
      least = d;
      nearest = name;
    }
  }
  constexpr size_t kPrefix = 5;  // "--tem"
  if (nearest.empty() && typed.size() >= kPrefix) {
    for (const std::string& name : known)
      if (name.starts_with(typed)) return name;
  }
  return nearest;
}

std::string withFlags(std::string_view message) {
  std::string out;
  while (true) {
    const size_t begin = message.find('`');
    const size_t end = message.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", begin + 1);
    out += message.substr(0, begin);
    if (begin == std::string_view::npos) return out;
    if (end == std::string_view::npos || end == begin + 1 || message[end] != '`') {
      out += '`';
      message.remove_prefix(begin + 1);
      continue;
    }
    std::string flag(message.substr(begin + 1, end - begin - 1));
    std::replace(flag.begin(), flag.end(), '_', '-');
    out += "--" + flag;
    message.remove_prefix(end + 1);
  }
}

std::string shellQuoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

Result<bool> parseCommandLine(CLI::App& app, int argc, char** argv) {
  Scan scan(app, {argv + std::min(argc, 1), argv + argc});
  const auto failure = [&](const std::string& message) {
    return invalidArgument(fmt::format("{} ({} --help)", message, scan.program()));
  };
  try {
    std::vector<std::string> words = scan.run();
    std::reverse(words.begin(), words.end());  // as CLI11 wants them
    app.parse(std::move(words));
    return true;
  } catch (const CLI::Success& e) {
    app.exit(e);
    return false;
  } catch (const CLI::ParseError& e) {
    return failure(e.what());
  } catch (const std::logic_error&) {  // what the C++ library's number parsing throws
    return failure("a flag's value is not a number or out of range");
  }
}

}  // namespace llmrt
