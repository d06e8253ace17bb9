#include "runtime/core/stop_strings.h"

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
  held_ += text;
  shown_.resize(held_.size(), shown);
  Found found = find(held_, stops_);
  // And in what is shown alone.
  std::string visible;
  std::vector<size_t> at;  // its bytes' places in held_
  for (size_t i = 0; i < held_.size(); ++i) {
    if (!shown_[i]) continue;
    visible += held_[i];
    at.push_back(i);
  }
  if (visible.size() < held_.size()) {
    const Found alone = find(visible, stops_);
    if (alone.stop < at.size()) found.stop = std::min(found.stop, at[alone.stop]);
    if (alone.beginning < at.size())
      found.beginning = std::min(found.beginning, at[alone.beginning]);
  }
  if (found.stop == std::string::npos) return take(found.beginning);
  stopped_ = true;
  std::string out = take(found.stop);
  held_.clear();
  shown_.clear();
  return out;
}

std::string StopStrings::take(size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i)
    if (shown_[i]) out += held_[i];
  held_.erase(0, size);
  shown_.erase(shown_.begin(), shown_.begin() + static_cast<ptrdiff_t>(size));
  return out;
}

}  // namespace llmrt
