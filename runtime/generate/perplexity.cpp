#include "runtime/generate/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace llmrt {
namespace {

// -log softmax(logits)[id], in double: sums over a vocabulary lose too much in f32.
double negativeLogLikelihood(std::span<const float> logits, int32_t id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - largest);
  return std::log(sum) + largest - logits[static_cast<size_t>(id)];
}

}  // namespace

Result<Perplexity> measurePerplexity(Session& session, std::span<const int32_t> ids,
                                     const std::atomic<bool>* cancel,
                                     const std::function<void(int64_t)>& progress) {
  const auto count = static_cast<int64_t>(ids.size());
  if (count < 2) return invalidArgument("perplexity needs a text of at least two tokens");
  if (session.options().max_seq_len < 2) {
    return invalidArgument("perplexity needs a context of at least two tokens (`max_seq_len`)");
  }
  const int64_t chunk = std::min(session.options().prefill_chunk, session.maxLogitsRows());
  std::vector<StepToken> tokens;
  Perplexity result;
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += session.options().max_seq_len) {
    const int64_t end = std::min(count, begin + session.options().max_seq_len);
    session.reset(0);
    for (int64_t at = begin; at < end;) {
      if (cancel && cancel->load(std::memory_order_relaxed))
        return Status(StatusCode::kCancelled, "cancelled");
      const int64_t n = std::min(chunk, end - at);
      tokens.clear();
      for (int64_t i = at; i < at + n; ++i) {
        tokens.push_back({0, ids[static_cast<size_t>(i)], i + 1 < end});
      }
      LLMRT_RETURN_IF_ERROR(session.step(tokens));
      for (int64_t i = 0; i < session.numLogitsRows(); ++i) {
        sum += negativeLogLikelihood(session.logits(i), ids[static_cast<size_t>(at + i + 1)]);
        ++result.tokens;
      }
      at += n;
      if (progress) progress(at);
    }
  }
  session.reset(0);
  result.nll_mean = sum / static_cast<double>(result.tokens);
  result.ppl = std::exp(result.nll_mean);
  return result;
}

}  // namespace llmrt
