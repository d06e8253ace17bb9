#include "tests/e2e/greedy_hashes.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstdio>

namespace e2e {

std::string greedyHashes(llmrt::Session& session, std::span<const int32_t> prompt, int count) {
  std::string lines;
  llmrt::Status status = session.prefill(0, prompt);
  for (int i = 0; i < count; ++i) {
    if (!status.ok()) return "error: " + status.message() + '\n';
    const std::span<const float> logits = session.logits();
    uint64_t hash = 14695981039346656037u;  // FNV-1a over 32-bit words
    for (float logit : logits) hash = (hash ^ std::bit_cast<uint32_t>(logit)) * 1099511628211u;
    const auto id =
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    char line[64];
    std::snprintf(line, sizeof line, "%" PRId32 " %016" PRIx64 "\n", id, hash);
    lines += line;
    if (i + 1 < count) status = session.decode(0, id);
  }
  return lines;
}

}  // namespace e2e
