#include "tools/llmc/Units.h"

#include <fmt/format.h>

#include <array>

namespace llmc {
namespace {

std::string scaled(double value, const std::array<const char*, 5>& units) {
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  // Three digits: more are noise, fewer hide a difference of a few per cent.
  const int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, digits, units[unit]);
}

std::string trimmed(std::string text) {
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

std::string bytesText(double bytes) { return scaled(bytes, {"B", "KB", "MB", "GB", "TB"}); }
std::string countText(double count) { return trimmed(scaled(count, {"", "K", "M", "B", "T"})); }
std::string flopsText(double flops) {
  return scaled(flops, {"FLOP", "KFLOP", "MFLOP", "GFLOP", "TFLOP"});
}

}  // namespace llmc
