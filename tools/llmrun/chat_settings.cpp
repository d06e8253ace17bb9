#include "tools/llmrun/chat_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "runtime/io/printable.h"

namespace llmrt {
namespace {

constexpr std::string_view kDefault = "default";

// A field that is read from and written as text. `write` is false where the text is no such value.
struct Setting {
  std::string_view name, meaning;
  std::function<std::string(const ChatSettings&)> read;
  std::function<bool(ChatSettings&, std::string_view)> write;
  std::function<void(ChatSettings&, const GenerateOptions& start)> reset;
};

template <typename T>
bool parse(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

template <typename T>
Setting number(std::string_view name, std::string_view meaning, T& (*field)(GenerateOptions&)) {
  return {name, meaning,
          [field](const ChatSettings& s) {
            GenerateOptions options = s.options;
            return fmt::format("{}", field(options));
          },
          [field](ChatSettings& s, std::string_view text) { return parse(text, field(s.options)); },
          [field](ChatSettings& s, const GenerateOptions& start) {
            GenerateOptions options = start;
            field(s.options) = field(options);
          }};
}

Setting onOff(std::string_view name, std::string_view meaning, bool ChatSettings::*field) {
  return {name, meaning, [field](const ChatSettings& s) { return s.*field ? "on" : "off"; },
          [field](ChatSettings& s, std::string_view text) {
            s.*field = text == "on";
            return text == "on" || text == "off";
          },
          [field](ChatSettings& s, const GenerateOptions&) { s.*field = true; }};
}

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all = {
      number<float>("temperature", "0: always the most probable token",
                    [](GenerateOptions& o) -> float& { return o.sampler.temperature; }),
      number<int32_t>("top_k", "from the K most probable tokens; 0: all",
                      [](GenerateOptions& o) -> int32_t& { return o.sampler.top_k; }),
      number<float>("top_p", "from the fewest tokens of this probability; 1: all",
                    [](GenerateOptions& o) -> float& { return o.sampler.top_p; }),
      number<float>("min_p", "no token below this share of the most probable one; 0: all",
                    [](GenerateOptions& o) -> float& { return o.sampler.min_p; }),
      number<float>("repetition_penalty", "against tokens seen; 1: off",
                    [](GenerateOptions& o) -> float& { return o.sampler.repetition_penalty; }),
      number<uint64_t>("seed", "of the next answer; each answer takes the next one",
                       [](GenerateOptions& o) -> uint64_t& { return o.sampler.seed; }),
      number<int64_t>("max_tokens", "most tokens of an answer",
                      [](GenerateOptions& o) -> int64_t& { return o.max_tokens; }),
      onOff("think", "whether a model's thinking is shown, on or off", &ChatSettings::think),
      onOff("figures", "a line of figures behind each answer, on or off", &ChatSettings::figures),
  };
  return all;
}

}  // namespace

Status ChatSettings::set(std::string_view words) {
  const size_t space = std::min(words.find(' '), words.size());
  std::string name(words.substr(0, space));
  std::replace(name.begin(), name.end(), '-', '_');  // as the flags are written
  const size_t begin = std::min(words.find_first_not_of(' ', space), words.size());
  const std::string_view value = words.substr(begin);
  const auto& all = settings();
  const auto setting =
      std::find_if(all.begin(), all.end(), [&](const Setting& s) { return s.name == name; });
  if (setting == all.end())
    return invalidArgument(fmt::format("/set {}: there is no such setting; /set alone lists them",
                                       quotedName(words.substr(0, space))));
  if (value.empty())
    return invalidArgument(
        fmt::format("/set {}: is {}; give a value, or {}", name, setting->read(*this), kDefault));
  ChatSettings changed = *this;
  if (value == kDefault) {
    setting->reset(changed, start_);
  } else if (!setting->write(changed, value) || changed.options.max_tokens < 0) {
    return invalidArgument(fmt::format("/set {} {}: is no value of it ({})", name,
                                       quotedName(value), setting->meaning));
  }
  // The sampler knows its bounds, and names its field first.
  if (const Result<Sampler> s = Sampler::create(vocab_size_, changed.options.sampler); !s.ok()) {
    std::string_view message = s.status().message();
    if (const size_t colon = message.find(": "); message.starts_with("`") && colon < message.size())
      message.remove_prefix(colon + 2);
    return invalidArgument(fmt::format("/set {} {}: {}", name, quotedName(value), message));
  }
  *this = std::move(changed);
  return {};
}

std::string ChatSettings::list() const {
  std::string out;
  for (const Setting& s : settings())
    out += fmt::format("{:<20}{:<10}{}\n", s.name, s.read(*this), s.meaning);
  return out;
}

std::vector<std::string> ChatSettings::names() {
  std::vector<std::string> out;
  for (const Setting& s : settings()) out.emplace_back(s.name);
  return out;
}

}  // namespace llmrt
