// How well a model predicts a text.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "runtime/io/status.h"
#include "runtime/session/session.h"

namespace llmrt {

struct Perplexity {
  int64_t tokens = 0;   // predicted: all but the first of each window
  double nll_mean = 0;  // mean negative log-likelihood, in nats
  double ppl = 0;       // exp(nll_mean)
};

/// Cuts `ids` into disjoint windows of the session's max_seq_len, each starting with an empty cache
/// of sequence 0. `progress` (may be empty) is told how many ids are done. Needs two
/// ids and a max_seq_len of two.
Result<Perplexity> measurePerplexity(Session& session, std::span<const int32_t> ids,
                                     const std::atomic<bool>* cancel = nullptr,
                                     const std::function<void(int64_t done)>& progress = {});

/// How far one model's predictions of a text are from another's, its base.
struct Divergence {
  Perplexity perplexity, base;
  double kl_mean = 0;   // Kullback-Leibler divergence from the base, in nats: of all predictions
  double kl_p99 = 0;    // and what 99 % of them are at most
  double same_top = 0;  // share of predictions with the base's most probable token
};

/// The same of two sessions over models of one vocabulary, in windows that both can hold.
Result<Divergence> measureDivergence(Session& session, Session& base, std::span<const int32_t> ids,
                                     const std::atomic<bool>* cancel = nullptr,
                                     const std::function<void(int64_t done)>& progress = {});

}  // namespace llmrt
