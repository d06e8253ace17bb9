// What the goldens were made with.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

#include "runtime/jinja/template.h"

namespace llmrt::jinja {

/// The clock of the goldens: Thursday, 2025-07-10 12:00.
inline RenderOptions goldenOptions() {
  RenderOptions options;
  options.now.tm_year = 125;
  options.now.tm_mon = 6;
  options.now.tm_mday = 10;
  options.now.tm_hour = 12;
  options.now.tm_wday = 4;
  options.now.tm_yday = 190;
  return options;
}

inline std::string readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace llmrt::jinja
