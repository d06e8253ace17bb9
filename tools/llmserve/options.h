// llmserve's command line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/common/load_model.h"

namespace llmrt::serve {

struct Options {
  ModelOptions model;
  std::string host = "127.0.0.1";
  uint16_t port = 8080;
  std::string alias;              // the name of the model; empty: that of its file
  std::vector<std::string> more;  // NAME=PLAN|MODEL
  std::string template_file;      // instead of the plan's; empty: none
  int64_t max_seqs = 0;           // sequences at once; 0: the plan's, of a model kDefaultSeqs
  int64_t max_waiting = 256;
  std::string api_key_file, cors_origin;
  bool allow_anyone = false;
  uint64_t max_body_bytes = 8 << 20;
  size_t max_connections = 1024;
  std::string cache_dir;
  uint64_t cache_bytes = uint64_t{8} << 30;
  bool log_prompts = false, quiet = false;

  void addTo(CLI::App& app);
};

}  // namespace llmrt::serve
