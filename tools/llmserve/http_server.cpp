#include "tools/llmserve/http_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <csignal>
#include <deque>
#include <set>

namespace llmrt::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr auto kResult = asio::as_tuple(asio::use_awaitable);
constexpr size_t kWriteBytes =
    64 << 10;  // at once: a client must take up so many within Limits.write_time

class Connection;

/// What a connection has to send, handed over from any thread.
class QueuedReply : public Reply, public std::enable_shared_from_this<QueuedReply> {
 public:
  QueuedReply(asio::any_io_executor executor, size_t most_bytes)
      : executor_(std::move(executor)),
        news_(executor_, asio::steady_timer::time_point::max()),
        most_bytes_(most_bytes) {}

  void send(Response response) override {
    post([response = std::move(response)](QueuedReply& r) mutable {
      if (r.head_ || r.ended_) return;
      r.head_ = std::move(response);
      r.ended_ = r.whole_ = true;
    });
  }
  void begin(Response head, std::string idle_bytes) override {
    post([head = std::move(head), idle = std::move(idle_bytes)](QueuedReply& r) mutable {
      if (r.head_ || r.ended_) return;
      r.head_ = std::move(head);
      r.idle_bytes_ = std::move(idle);
    });
  }
  void write(std::string bytes) override {
    post([bytes = std::move(bytes)](QueuedReply& r) mutable {
      if (!r.ended_) r.pending_ += bytes;
    });
  }
  void end() override {
    post([](QueuedReply& r) { r.ended_ = true; });
  }
  void onGone(std::function<void()> gone) override {
    post([gone = std::move(gone)](QueuedReply& r) mutable {
      if (r.gone_)
        gone();
      else if (!r.ended_)
        r.on_gone_ = std::move(gone);
    });
  }

  // The connection's, on the server's thread.
  bool isGone() const { return gone_; }
  void setGone() {
    if (std::exchange(gone_, true)) return;
    pending_.clear();
    news_.cancel();
    if (const auto call = std::exchange(on_gone_, nullptr); call && !ended_) call();
  }
  bool hasHead() const { return head_.has_value(); }
  /// Everything is there, and fits one message.
  bool isWhole() const { return whole_; }
  bool hasEnded() const { return ended_; }
  Response takeHead() { return *std::exchange(head_, Response()); }
  std::string takePending() { return std::exchange(pending_, {}); }
  bool hasPending() const { return !pending_.empty(); }
  const std::string& idleBytes() const { return idle_bytes_; }
  /// Waits until something has been handed over, or tell() was called.
  asio::awaitable<void> wait() { co_await news_.async_wait(kResult); }
  void tell() { news_.cancel(); }

 private:
  template <typename Change>
  void post(Change change) {
    asio::post(executor_, [self = shared_from_this(), change = std::move(change)]() mutable {
      change(*self);
      if (self->pending_.size() > self->most_bytes_) self->setGone();
      // Whoever is told holds this reply, mostly.
      if (self->ended_) self->on_gone_ = nullptr;
      self->news_.cancel();
    });
  }

  asio::any_io_executor executor_;
  asio::steady_timer news_;
  const size_t most_bytes_;
  std::optional<Response> head_;
  std::string pending_, idle_bytes_;
  bool ended_ = false, whole_ = false, gone_ = false;
  std::function<void()> on_gone_;
};

std::string lowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view viewOf(beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

const std::string* Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return &value;
  return nullptr;
}

struct Server::Impl {
  explicit Impl(const Limits& its_limits) : limits(its_limits) {}

  asio::awaitable<void> accept();
  /// One timer for all connections: those that send bit by bit set none of their own.
  void tickLater();
  void take(tcp::socket socket);

  /// Where nothing is left to do, run() ends.
  void connectionEnded(Connection* connection) {
    connections.erase(connection);
    endIfDrained();
  }
  void endIfDrained();
  /// Those that came later, and ask how the server is, keep nobody waiting.
  bool isDrained() const { return draining && numConnections() == 0; }
  size_t numConnections() const;

  const Limits limits;
  Handler* handler = nullptr;
  std::set<Connection*> connections;  // outlives the context, whose end ends them
  uint64_t body_bytes = 0;            // of all requests that are read or answered
  bool draining = false, ended = false;
  asio::io_context context{1};
  tcp::acceptor acceptor{context};
  asio::signal_set signals{context};
  asio::steady_timer ticks{context};
};

namespace {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Server::Impl& server)
      : stream_(std::move(socket)), server_(server), is_late_(server.draining) {
    error_code ignored;
    stream_.socket().set_option(tcp::no_delay(true), ignored);
    stream_.socket().non_blocking(true, ignored);
    const auto peer = stream_.socket().remote_endpoint(ignored);
    peer_ = peer.address().to_string();
    server_.connections.insert(this);
  }
  ~Connection() {
    if (reply_) reply_->setGone();
    (void)holdBody(0);
    server_.connectionEnded(this);
  }

  /// Reads requests and sends their answers, one after another, until either side ends it. One that
  /// came while the server is draining has one.
  asio::awaitable<void> run() {
    for (bool is_first = true; !server_.draining || (is_late_ && is_first); is_first = false) {
      if (buffer_.size() == 0) {
        waits_ = true;
        stream_.expires_after(server_.limits.idle_time);
        const auto [error, bytes] =
            co_await stream_.async_read_some(buffer_.prepare(4096), kResult);
        waits_ = false;
        if (error) break;
        buffer_.commit(bytes);
      }
      const bool goes_on = co_await serveOne();
      if (!goes_on) break;
    }
    close();
  }

  void drain() {
    if (waits_) close();
  }
  /// Looks whether it is time for idle bytes, and whether the client has gone behind what it has
  /// sent too early.
  void tick() {
    if (!reply_) return;
    pollfd socket{stream_.socket().native_handle(), POLLRDHUP, 0};
    if (has_more_ && ::poll(&socket, 1, 0) > 0) reply_->setGone();
    reply_->tell();
  }
  bool isLate() const { return is_late_; }
  void close() {
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
    stream_.socket().close(ignored);
  }

 private:
  using Parser = bhttp::request_parser<bhttp::string_body>;

  Request requestOf(const Parser::value_type& message) const {
    Request request;
    request.received = std::chrono::steady_clock::now();
    request.method = viewOf(message.method_string());
    const std::string_view target = viewOf(message.target());
    const size_t query = std::min(target.find('?'), target.size());
    request.path = target.substr(0, query);
    if (query < target.size()) request.query = target.substr(query + 1);
    for (const auto& field : message)
      request.headers.emplace_back(lowerCase(viewOf(field.name_string())), viewOf(field.value()));
    request.peer = peer_;
    return request;
  }

  /// Counts the body of the request at hand among those of all; false: that would be too many.
  bool holdBody(uint64_t bytes) {
    server_.body_bytes -= std::exchange(body_bytes_, 0);
    if (bytes > server_.limits.all_body_bytes - server_.body_bytes) return false;
    server_.body_bytes += bytes;
    body_bytes_ = bytes;
    return true;
  }

  /// Whether the connection may be used for another request.
  asio::awaitable<bool> serveOne() {
    (void)holdBody(0);
    Parser parser;
    parser.header_limit(server_.limits.header_bytes);
    parser.body_limit(server_.limits.body_bytes);
    stream_.expires_after(server_.limits.header_time);
    auto [error, bytes] = co_await bhttp::async_read_header(stream_, buffer_, parser, kResult);
    if (!error) {
      const auto refusal = server_.handler->refuse(requestOf(parser.get()));
      if (refusal) {
        co_await sendAndClose(*refusal, parser.get().version());
        co_return false;
      }
      const uint64_t announced = parser.content_length() ? *parser.content_length()
                                 : parser.chunked()      ? server_.limits.body_bytes
                                                         : 0;
      if (!holdBody(announced)) {
        co_await sendAndClose(server_.handler->error(503, "too many large requests at once"),
                              parser.get().version());
        co_return false;
      }
      if (lowerCase(viewOf(parser.get()[bhttp::field::expect])) == "100-continue") {
        bhttp::response<bhttp::empty_body> go_on{bhttp::status::continue_, parser.get().version()};
        const auto [write_error, sent] = co_await bhttp::async_write(stream_, go_on, kResult);
        if (write_error) co_return false;
      }
      stream_.expires_after(server_.limits.body_time);
      std::tie(error, bytes) = co_await bhttp::async_read(stream_, buffer_, parser, kResult);
    }
    if (error) {
      co_await sendReadError(error);
      co_return false;
    }
    stream_.expires_never();
    const unsigned version = parser.get().version();
    const bool keep_alive = parser.keep_alive();
    Request request = requestOf(parser.get());
    request.body = std::move(parser.get().body());
    (void)holdBody(request.body.size());
    has_more_ = false;
    reply_ = std::make_shared<QueuedReply>(stream_.get_executor(), server_.limits.unsent_bytes);
    asio::co_spawn(stream_.get_executor(), watch(shared_from_this(), reply_), asio::detached);
    server_.handler->handle(std::move(request), reply_);
    const bool sent = co_await sendAnswer(version, keep_alive);
    error_code ignored;
    stream_.socket().cancel(ignored);  // watch()
    const bool gone = std::exchange(reply_, nullptr)->isGone();
    co_return sent&& keep_alive && !gone;
  }

  /// Notes that the client goes away while it waits for an answer. Of one that has sent the
  /// beginning of its next request tick() does.
  static asio::awaitable<void> watch(std::shared_ptr<Connection> self,
                                     std::shared_ptr<QueuedReply> reply) {
    auto& socket = self->stream_.socket();
    const auto [error] = co_await socket.async_wait(tcp::socket::wait_read, kResult);
    if (error || reply != self->reply_) co_return;
    char byte;
    const ssize_t n = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) reply->setGone();
    self->has_more_ = n > 0;
  }

  template <typename Body>
  bhttp::response<Body> headOf(const Response& response, unsigned version, bool keep_alive) const {
    bhttp::response<Body> head{static_cast<bhttp::status>(response.status), version};
    head.set(bhttp::field::content_type, response.content_type);
    for (const auto& [name, value] : response.headers) head.set(name, value);
    head.keep_alive(keep_alive && !server_.draining);
    return head;
  }

  asio::awaitable<bool> sendWhole(Response response, unsigned version, bool keep_alive) {
    auto message = headOf<bhttp::string_body>(response, version, keep_alive);
    message.body() = std::move(response.body);
    message.prepare_payload();
    bhttp::response_serializer<bhttp::string_body> serializer{message};
    serializer.limit(kWriteBytes);
    while (!serializer.is_done()) {
      stream_.expires_after(server_.limits.write_time);
      const auto [error, bytes] = co_await bhttp::async_write_some(stream_, serializer, kResult);
      if (error) co_return false;
    }
    co_return true;
  }

  /// One chunk, or the bytes as they are. Nearly always the socket takes all of it at once, and no
  /// timer is set.
  asio::awaitable<bool> sendBytes(std::string bytes, bool chunked) {
    if (chunked) bytes = fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
    last_sent_ = std::chrono::steady_clock::now();
    error_code error;
    size_t sent = stream_.socket().write_some(asio::buffer(bytes), error);
    if (error && error != asio::error::would_block) co_return false;
    while (sent < bytes.size()) {
      const asio::const_buffer piece(bytes.data() + sent,
                                     std::min(kWriteBytes, bytes.size() - sent));
      stream_.expires_after(server_.limits.write_time);
      const auto [write_error, written] = co_await asio::async_write(stream_, piece, kResult);
      if (write_error) co_return false;
      sent += written;
    }
    stream_.expires_never();
    co_return true;
  }

  /// The answer as it comes. False: the client has gone, or the end of the answer is the end of the
  /// connection.
  asio::awaitable<bool> sendAnswer(unsigned version, bool keep_alive) {
    const std::shared_ptr<QueuedReply> reply = reply_;
    while (!reply->hasHead() && !reply->hasEnded() && !reply->isGone()) co_await reply->wait();
    if (reply->isGone() || !reply->hasHead()) co_return false;
    Response head = reply->takeHead();
    bool sent = false;
    if (reply->isWhole()) {
      sent = co_await sendWhole(std::move(head), version, keep_alive);
    } else {
      // HTTP/1.0 knows no chunks: there the end of the connection ends the answer.
      const bool chunked = version >= 11;
      auto message = headOf<bhttp::empty_body>(head, version, keep_alive && chunked);
      if (chunked) message.chunked(true);
      bhttp::response_serializer<bhttp::empty_body> serializer{message};
      stream_.expires_after(server_.limits.write_time);
      const auto [error, bytes] = co_await bhttp::async_write_header(stream_, serializer, kResult);
      sent = !error;
      last_sent_ = std::chrono::steady_clock::now();
      while (sent && !reply->isGone()) {
        if (reply->hasPending()) {
          sent = co_await sendBytes(reply->takePending(), chunked);
        } else if (reply->hasEnded()) {
          break;
        } else {
          co_await reply->wait();
          const bool idle =
              std::chrono::steady_clock::now() - last_sent_ >= server_.limits.idle_bytes_after;
          if (idle && !reply->hasPending() && !reply->hasEnded() && !reply->idleBytes().empty())
            sent = co_await sendBytes(reply->idleBytes(), chunked);
        }
      }
      sent = sent && !reply->isGone() && chunked;
      if (sent) {
        stream_.expires_after(server_.limits.write_time);
        const auto [end_error, end_bytes] =
            co_await asio::async_write(stream_, bhttp::make_chunk_last(), kResult);
        sent = !end_error;
      }
    }
    stream_.expires_never();
    if (!sent && !reply->hasEnded()) reply->setGone();
    co_return sent;
  }

  /// Where the rest of a request is not read, closing at once would take the answer with it: what
  /// the client still sends is read for a moment and dropped.
  asio::awaitable<void> sendAndClose(Response response, unsigned version) {
    const bool sent = co_await sendWhole(std::move(response), version, false);
    if (!sent) co_return;
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream_.expires_after(std::chrono::seconds(2));
    std::vector<char> dropped(kWriteBytes);
    for (size_t total = 0; total < (64u << 20);) {
      const auto [error, bytes] = co_await stream_.async_read_some(asio::buffer(dropped), kResult);
      if (error) break;
      total += bytes;
    }
  }

  asio::awaitable<void> sendReadError(error_code error) {
    unsigned status = 400;
    std::string message = "the request is not HTTP/1.1: " + error.message();
    if (error == bhttp::error::body_limit) {
      status = 413;
      message = fmt::format("the body is larger than {} bytes", server_.limits.body_bytes);
    } else if (error == bhttp::error::header_limit) {
      status = 431;
      message = fmt::format("the headers are larger than {} bytes", server_.limits.header_bytes);
    } else if (error.category() != bhttp::make_error_code(bhttp::error::bad_version).category() ||
               error == bhttp::error::end_of_stream || error == bhttp::error::partial_message) {
      co_return;  // the client has gone, or its time was over, which has closed the connection
    }
    co_await sendAndClose(server_.handler->error(status, message), 11);
  }

  beast::tcp_stream stream_;
  Server::Impl& server_;
  beast::flat_buffer buffer_;
  std::string peer_;
  std::shared_ptr<QueuedReply> reply_;
  uint64_t body_bytes_ = 0;  // of the request at hand, among the server's
  bool waits_ = false;       // for the first byte of a request
  bool has_more_ = false;    // bytes behind the request at hand
  const bool is_late_;       // it came when the server was draining already
  std::chrono::steady_clock::time_point last_sent_;
};

asio::awaitable<void> runConnection(std::shared_ptr<Connection> connection) {
  co_await connection->run();
}

}  // namespace

size_t Server::Impl::numConnections() const {
  return static_cast<size_t>(std::count_if(connections.begin(), connections.end(),
                                           [](const Connection* c) { return !c->isLate(); }));
}

void Server::Impl::endIfDrained() {
  if (!isDrained() || std::exchange(ended, true)) return;
  error_code ignored;
  acceptor.close(ignored);
  signals.cancel(ignored);
  ticks.cancel();
  for (Connection* connection : std::set<Connection*>(connections)) connection->close();
}

void Server::Impl::take(tcp::socket socket) {
  if (connections.size() >= limits.connections) return;  // which closes it
  try {
    asio::co_spawn(context, runConnection(std::make_shared<Connection>(std::move(socket), *this)),
                   asio::detached);
  } catch (const std::bad_alloc&) {
    // There is no room for one more.
  }
}

asio::awaitable<void> Server::Impl::accept() {
  while (acceptor.is_open()) {
    auto [error, socket] = co_await acceptor.async_accept(kResult);
    if (!error) {
      take(std::move(socket));
    } else if (error == asio::error::operation_aborted) {
      break;
    } else {  // no descriptor is free, or the client has gone already
      asio::steady_timer pause(context, std::chrono::milliseconds(50));
      co_await pause.async_wait(kResult);
    }
  }
}

void Server::Impl::tickLater() {
  ticks.expires_after(std::chrono::seconds(1));
  ticks.async_wait([this](const error_code& error) {
    if (error) return;
    for (Connection* connection : connections) connection->tick();
    tickLater();
  });
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::listen(const std::string& host, uint16_t port,
                                               const Limits& limits) {
  auto impl = std::make_unique<Impl>(limits);
  error_code error;
  tcp::resolver resolver(impl->context);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty())
    return invalidArgument(fmt::format("--host {}: {}", host, error.message()));
  const tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor& acceptor = impl->acceptor;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return ioError(fmt::format("--host {} --port {}: {}", host, port, error.message()));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

uint16_t Server::port() const { return impl_->acceptor.local_endpoint().port(); }

bool Server::isLoopback() const { return impl_->acceptor.local_endpoint().address().is_loopback(); }

void Server::run(Handler& handler, std::function<void()> signalled) {
  impl_->handler = &handler;
  asio::co_spawn(impl_->context, impl_->accept(), asio::detached);
  impl_->tickLater();
  std::function<void(const error_code&, int)> on_signal = [&](const error_code& error, int) {
    if (error) return;
    signalled();
    if (!impl_->isDrained()) impl_->signals.async_wait(on_signal);
  };
  impl_->signals.add(SIGINT);
  impl_->signals.add(SIGTERM);
  impl_->signals.async_wait(on_signal);
  for (bool ended = false; !ended;) {
    try {
      impl_->context.run();
      ended = true;
    } catch (const std::exception&) {
      // Memory, for one: what it was for is lost, the others go on.
    }
  }
}

void Server::post(std::function<void()> function) {
  asio::post(impl_->context, std::move(function));
}

void Server::drain() {
  impl_->draining = true;
  for (Connection* connection : std::set<Connection*>(impl_->connections)) connection->drain();
  impl_->endIfDrained();
}

size_t Server::numConnections() const { return impl_->numConnections(); }

}  // namespace llmrt::http
