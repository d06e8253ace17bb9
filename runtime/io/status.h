// Status and Result<T>: how every part of llmc outside MLIR says that something failed.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace llmrt {

/// What kind of failure; the message says which file, field or flag, and what to do.
enum class StatusCode {
  kOk = 0,
  kInvalidArgument,  // the caller's flag or value
  kInvalidData,      // a file that is broken, truncated or lies about itself
  kNotFound,
  kUnsupported,  // valid, but not something this version or machine can do
  kOutOfMemory,
  kIo,
  kCancelled,
  kInternal,  // a bug of ours
};

/// A code and one line of text. Cheap when ok. The message has no trailing newline or full stop.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  /// Prepends "context: " to the message of a failure; an ok status stays as it is.
  Status withContext(const std::string& context) && {
    if (!ok()) message_ = context + ": " + message_;
    return std::move(*this);
  }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

/// A T, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }

  bool ok() const { return value_.has_value(); }
  const Status& status() const& { return status_; }
  Status status() && { return std::move(status_); }

  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

inline Status invalidArgument(std::string m) { return {StatusCode::kInvalidArgument, std::move(m)}; }
inline Status invalidData(std::string m) { return {StatusCode::kInvalidData, std::move(m)}; }
inline Status notFound(std::string m) { return {StatusCode::kNotFound, std::move(m)}; }
inline Status unsupported(std::string m) { return {StatusCode::kUnsupported, std::move(m)}; }
inline Status outOfMemory(std::string m) { return {StatusCode::kOutOfMemory, std::move(m)}; }
inline Status ioError(std::string m) { return {StatusCode::kIo, std::move(m)}; }
inline Status internalError(std::string m) { return {StatusCode::kInternal, std::move(m)}; }

}  // namespace llmrt

/// Returns from the enclosing function when `expr` is a failed Status.
#define LLMRT_RETURN_IF_ERROR(expr)                                \
  do {                                                             \
    if (::llmrt::Status llmrt_status_ = (expr); !llmrt_status_.ok()) \
      return llmrt_status_;                                        \
  } while (0)

#define LLMRT_CONCAT_INNER_(a, b) a##b
#define LLMRT_CONCAT_(a, b) LLMRT_CONCAT_INNER_(a, b)

/// `LLMRT_ASSIGN_OR_RETURN(auto x, f())`: binds x to f()'s value or returns its Status.
#define LLMRT_ASSIGN_OR_RETURN(lhs, expr) \
  LLMRT_ASSIGN_OR_RETURN_IMPL_(LLMRT_CONCAT_(llmrt_result_, __LINE__), lhs, expr)
#define LLMRT_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                 \
  if (!tmp.ok()) return std::move(tmp).status();     \
  lhs = *std::move(tmp)
