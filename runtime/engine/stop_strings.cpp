#include "runtime/engine/stop_strings.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace llmrt {
namespace {

// Where the first stop string begins, or npos; and where the longest end of the text does with
// which one begins.
struct Found {
  size_t stop, beginning;
};
Found find(std::string_view text, const std::vector<std::string>& stops) {
  Found found{std::string::npos, text.size()};
  for (const std::string& stop : stops) {
    found.stop = std::min(found.stop, text.find(stop));
    for (size_t n = std::min(stop.size() - 1, text.size()); n > text.size() - found.beginning; --n)
      if (text.ends_with(std::string_view(stop).substr(0, n))) found.beginning = text.size() - n;
  }
  return found;
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

std::string StopStrings::add(std::string_view text, bool shown) {
  if (stopped_) return {};
  if (stops_.empty()) return shown ? std::string(text) : std::string();
  if (shown) held_ += text;
  all_ += text;
  all_shown_.resize(all_.size(), shown);
  const Found alone = find(held_, stops_), with_hidden = find(all_, stops_);
  // The shown bytes of all_ are the last ones of held_.
  const auto placeInHeld = [&](size_t at) {
    const auto begin = all_shown_.begin() + static_cast<ptrdiff_t>(at);
    return held_.size() - static_cast<size_t>(std::count(begin, all_shown_.end(), true));
  };
  stopped_ = alone.stop != std::string::npos || with_hidden.stop != std::string::npos;
  if (stopped_) {
    const size_t end = std::min(alone.stop, placeInHeld(std::min(with_hidden.stop, all_.size())));
    return std::exchange(held_, {}).substr(0, end);
  }
  const size_t certain = std::min(alone.beginning, placeInHeld(with_hidden.beginning));
  all_.erase(0, with_hidden.beginning);
  all_shown_.erase(all_shown_.begin(),
                   all_shown_.begin() + static_cast<ptrdiff_t>(with_hidden.beginning));
  std::string out = held_.substr(0, certain);
  held_.erase(0, certain);
  return out;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

}  // namespace llmrt
