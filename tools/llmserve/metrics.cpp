#include "tools/llmserve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace llmrt::serve {
namespace {

using prometheus::Labels;
using Buckets = prometheus::Histogram::BucketBoundaries;

const Buckets kSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
const Buckets kSecondsPerToken = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04,
                                  0.08,  0.16,   0.32,  0.64, 1.3};

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("llmserve_requests_total")
                                                          .Help("Requests answered")
                                                          .Register(registry);
  prometheus::Family<prometheus::Counter>& gone =
      prometheus::BuildCounter()
          .Name("llmserve_clients_gone_total")
          .Help("Requests whose client left before the end")
          .Register(registry);
  prometheus::Family<prometheus::Histogram>& ttft =
      prometheus::BuildHistogram()
          .Name("llmserve_time_to_first_token_seconds")
          .Help("From a request to its first token")
          .Register(registry);
  prometheus::Family<prometheus::Histogram>& tpot =
      prometheus::BuildHistogram()
          .Name("llmserve_time_per_output_token_seconds")
          .Help("Between tokens behind the first, mean of a request")
          .Register(registry);
  prometheus::Family<prometheus::Histogram>& seconds = prometheus::BuildHistogram()
                                                           .Name("llmserve_request_seconds")
                                                           .Help("From a request to its end")
                                                           .Register(registry);
  prometheus::Family<prometheus::Gauge>& running = prometheus::BuildGauge()
                                                       .Name("llmserve_running_requests")
                                                       .Help("Sequences that run")
                                                       .Register(registry);
  prometheus::Family<prometheus::Gauge>& waiting = prometheus::BuildGauge()
                                                       .Name("llmserve_waiting_requests")
                                                       .Help("Sequences that wait")
                                                       .Register(registry);
  // Counters of the engine: they only grow, and are read rather than counted here.
  prometheus::Family<prometheus::Gauge>& totals =
      prometheus::BuildGauge()
          .Name("llmserve_engine")
          .Help("What the engine has done since it began, by kind")
          .Register(registry);
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::countRequest(const std::string& path, unsigned status) {
  impl_->requests.Add({{"endpoint", path}, {"code", std::to_string(status)}}).Increment();
}

void Metrics::countGeneration(const ServedModel& model, const Answered& answered) {
  const Labels labels = {{"model", model.name()}};
  if (answered.gone) impl_->gone.Add(labels).Increment();
  if (answered.ttft_seconds == 0) return;
  impl_->ttft.Add(labels, kSeconds).Observe(answered.ttft_seconds);
  impl_->seconds.Add(labels, kSeconds).Observe(answered.seconds);
  if (answered.tokens > 1)
    impl_->tpot.Add(labels, kSecondsPerToken)
        .Observe((answered.seconds - answered.ttft_seconds) /
                 static_cast<double>(answered.tokens - 1));
}

std::string Metrics::text(std::span<const std::unique_ptr<ServedModel>> models) {
  for (const auto& model : models) {
    const EngineStats stats = model->stats();
    const Labels labels = {{"model", model->name()}};
    impl_->running.Add(labels).Set(static_cast<double>(stats.running));
    impl_->waiting.Add(labels).Set(static_cast<double>(stats.waiting));
    for (const auto& [kind, value] :
         {std::pair("steps", stats.steps), std::pair("prompt_tokens", stats.prompt_tokens),
          std::pair("cached_tokens", stats.cached_tokens), std::pair("tokens", stats.tokens),
          std::pair("preemptions", stats.preemptions), std::pair("finished", stats.finished),
          std::pair("failed", stats.failed)})
      impl_->totals.Add({{"model", model->name()}, {"kind", kind}}).Set(static_cast<double>(value));
  }
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace llmrt::serve
