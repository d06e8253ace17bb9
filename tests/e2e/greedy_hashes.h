// A greedy run as numbers that two processors can be compared by. Plain C++, since it is
// cross-compiled too.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/session/session.h"

namespace e2e {

/// Continues sequence 0 of `session` with `prompt` and `count` greedy tokens. One line a token: its
/// id and the hash of the bits of the logits that it was chosen from; or "error: ...".
std::string greedyHashes(llmrt::Session& session, std::span<const int32_t> prompt, int count);

}  // namespace e2e
