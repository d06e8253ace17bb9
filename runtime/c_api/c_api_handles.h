// What the files of the C interface share: handles, and a wall that no exception passes.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/executor/plan.h"
#include "runtime/executor/weights.h"
#include "runtime/generate/generate.h"
#include "runtime/include/llmrt.h"
#include "runtime/session/session.h"
#include "runtime/text/tokenizer.h"

struct llmrt_plan {
  std::unique_ptr<llmrt::Plan> plan;
  std::optional<llmrt::Tokenizer> tokenizer;
};
struct llmrt_weights {
  const llmrt_plan* plan;
  std::unique_ptr<llmrt::Weights> weights;
};
struct llmrt_session {
  const llmrt_plan* plan;
  std::unique_ptr<llmrt::Session> session;
  std::vector<llmrt::StepToken> step;        // room for llmrt_step
  std::vector<std::vector<int32_t>> tokens;  // of each sequence, those that it has

  /// Behind a call that gave sequence `seq` these tokens: notes as many as it has taken.
  void note(int32_t seq, std::span<const int32_t> more) noexcept;
  /// Behind all that a call has done, however it ended: a sequence of whose tokens not all are known
  /// begins anew.
  void settle(int32_t seq) noexcept;
};

namespace llmrt::c_api {

/// Settles a sequence at the end of a call, also where it throws.
struct Settled {
  llmrt_session& session;
  int32_t seq;
  ~Settled() { session.settle(seq); }
};

/// Keeps a failure's message for llmrt_last_error().
llmrt_status report(const Status& status) noexcept;
const char* lastError() noexcept;

/// Runs `body`, a function that returns Status; exceptions of the C++ library become one too.
template <typename Body>
llmrt_status guarded(Body&& body) noexcept {
  try {
    return report(body());
  } catch (const std::bad_alloc&) {
    return report(outOfMemory("out of memory"));
  } catch (const std::exception& e) {
    return report(internalError(e.what()));
  } catch (...) {
    return report(internalError("unknown exception"));
  }
}

inline Status notNull(std::initializer_list<std::pair<const void*, const char*>> pointers) {
  for (const auto& [pointer, name] : pointers)
    if (!pointer) return invalidArgument(std::string(name) + " is NULL");
  return {};
}

/// The caller's options over the defaults: only the bytes that the caller's version of the struct
/// has.
template <typename T>
Status readOptions(const T* given, T& options) {
  if (!given) return {};
  if (given->struct_size < sizeof(size_t) || given->struct_size > sizeof(T))
    return invalidArgument("struct_size of an options struct is not set: call its _init function");
  std::memcpy(&options, given, given->struct_size);
  return {};
}

/// Whether the caller has set the struct_size of a struct to be filled in, the header's `name`.
template <typename T>
Status checkSize(const T* to, const char* name) {
  if (to->struct_size >= sizeof(size_t) && to->struct_size <= sizeof(T)) return {};
  return invalidArgument(std::string("struct_size of ") + name + " is not set");
}
/// Fills in, of a struct whose size is checked, the bytes that the caller's version of it has.
template <typename T>
void writeOut(T full, T* to) {
  full.struct_size = to->struct_size;
  std::memcpy(to, &full, to->struct_size);
}

template <typename T>
void copyOut(const T* from, size_t size, T* to, size_t capacity, size_t* count) {
  if (const size_t n = std::min(size, capacity); n > 0) std::memcpy(to, from, n * sizeof(T));
  *count = size;
}

Result<const Tokenizer*> tokenizerOf(const llmrt_plan* plan);

/// The caller's options as generate() takes them, but for the ids that end it. `generate` points
/// into this.
struct CallersOptions {
  GenerateOptions generate;
  std::atomic<bool> cancel{false};
  bool ignore_eos = false;
  bool has_sampler = false;  // the caller gave one

  /// `sampler`: what counts where the caller gives nothing else.
  Status read(const llmrt_plan* plan, const llmrt_generate_options* options,
              SamplerOptions sampler);
};

}  // namespace llmrt::c_api
