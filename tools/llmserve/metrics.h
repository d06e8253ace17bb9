// What monitoring reads: counts and times of requests, and what the engines are at, for Prometheus.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "tools/llmserve/generation.h"
#include "tools/llmserve/served_model.h"

namespace llmrt::serve {

/// All functions may be called from several threads at once.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  /// A request to an endpoint was answered.
  void countRequest(const std::string& path, unsigned status);
  void countGeneration(const ServedModel& model, const Answered& answered);
  /// All of it in Prometheus' text format.
  std::string text(std::span<const std::unique_ptr<ServedModel>> models);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmrt::serve
