// HTTP/1.1 on Boost.Beast: connections, their limits, and answers that may come piece by piece.
// Knows no API.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method, path, query;  // query: behind the '?'
  Headers headers;                  // names in lower case
  std::string body;
  std::string peer;  // the address that it came from
  std::chrono::steady_clock::time_point received;

  /// Null where there is none; the first of several.
  const std::string* header(std::string_view lower_case_name) const;
};

struct Response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers;
};

/// The answer to one request: either send(), or begin(), any number of write() and end(). All may
/// be called from any thread, at any time; what comes after the end, or after the client has gone,
/// is dropped.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void send(Response response) = 0;
  /// The head of an answer whose body follows. `idle_bytes` are sent where nothing else was for a
  /// while, so that nobody on the way takes the connection for dead.
  virtual void begin(Response head, std::string idle_bytes) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void end() = 0;
  /// `gone` is called, on the server's thread, if the client leaves before the end; at once, if it
  /// has left.
  virtual void onGone(std::function<void()> gone) = 0;
};

/// What is served. Called on the server's thread, which it must not hold up.
class Handler {
 public:
  virtual ~Handler() = default;
  /// Refuses a request before its body is read; nullopt: handle() will answer.
  virtual std::optional<Response> refuse(const Request& head) = 0;
  virtual void handle(Request request, std::shared_ptr<Reply> reply) = 0;
  /// The answer to what is not HTTP, or beyond a limit.
  virtual Response error(unsigned status, std::string_view message) = 0;
};

struct Limits {
  uint32_t header_bytes = 16 << 10;
  uint64_t body_bytes = 8 << 20;
  uint64_t all_body_bytes = 256 << 20;  // of all requests that are read or answered
  size_t connections = 1024;
  /// Of an answer that the client does not take up; beyond that it is gone.
  size_t unsent_bytes = 16 << 20;
  std::chrono::seconds header_time{10};  // from a request's first byte to the end of its headers
  std::chrono::seconds body_time{60};    // and from there to the end of its body
  std::chrono::seconds idle_time{75};    // until the first byte of the next request
  std::chrono::seconds write_time{60};   // in which a client takes up nothing at all
  std::chrono::seconds idle_bytes_after{15};
};

class Server {
 public:
  /// Listens at `host` (an address, or a name of one) and `port` (0: any that is free). Who
  /// connects waits for run().
  static Result<std::unique_ptr<Server>> listen(const std::string& host, uint16_t port,
                                                const Limits& limits);
  ~Server();

  uint16_t port() const;
  /// Whether only programs of this machine can reach it.
  bool isLoopback() const;
  /// Serves until stop() has been called and every connection has ended. `signalled` is called for
  /// each SIGINT and SIGTERM, on this thread.
  void run(Handler& handler, std::function<void()> signalled);
  /// Runs a function on the server's thread, soon. From any thread.
  void post(std::function<void()> function);
  /// Takes no more requests on the connections there are, whose end is the server's. Until then
  /// later ones have one request each, to ask how it is. From the server's thread.
  void drain();
  /// Those that run() waits for.
  size_t numConnections() const;

  struct Impl;  // for the source file alone

 private:
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmrt::http
