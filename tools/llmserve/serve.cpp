#include "tools/llmserve/serve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"
#include "tools/llmserve/api.h"
#include "tools/llmserve/http_server.h"

namespace llmrt::serve {
namespace {

constexpr int64_t kDefaultSeqs = 8;

/// "mistral" of "/models/mistral.fb" and of "/models/mistral/".
std::string nameOf(const std::string& path) {
  std::filesystem::path p = std::filesystem::path(path).lexically_normal();
  if (!p.has_filename()) p = p.parent_path();
  const std::string stem = p.stem().string();
  return stem.empty() || stem == "." ? "model" : stem;
}

/// From any thread. Not fmt::print(), which throws where nobody reads it.
void sayLater(const std::string& line) {
  const std::string all = "llmserve: " + printableLine(line) + "\n";
  std::fwrite(all.data(), 1, all.size(), stderr);
}

Result<std::vector<ServedModelOptions>> modelsOf(const Options& o) {
  std::vector<ServedModelOptions> models;
  if (!o.cache_dir.empty() && o.model.device != "cpu")
    return invalidArgument("--cache-dir " + o.cache_dir + ": is of --device cpu");
  const auto add = [&](const std::string& name, const std::string& path) {
    ServedModelOptions& m = models.emplace_back();
    m.name = name;
    m.model = o.model;
    m.model.plan_path = path;
    m.model.most_batch = o.max_seqs > 0 ? o.max_seqs : kDefaultSeqs;
    m.model.session.max_batch = o.max_seqs;  // 0: the plan's
    m.model.session.store = {o.cache_dir, o.cache_bytes, sayLater};
    m.max_waiting = o.max_waiting;
    m.template_file = o.template_file;
  };
  add(o.alias.empty() ? nameOf(o.model.plan_path) : o.alias, o.model.plan_path);
  for (const std::string& one : o.more) {
    const size_t equals = one.find('=');
    if (equals == 0 || equals == one.npos || equals + 1 == one.size())
      return invalidArgument(fmt::format("--model {}: takes NAME=PLAN", one));
    add(one.substr(0, equals), one.substr(equals + 1));
  }
  for (size_t i = 0; i < models.size(); ++i) {
    for (size_t j = 0; j < i; ++j)
      if (models[i].name == models[j].name)
        return invalidArgument(
            fmt::format("--model {}: there are two of this name", models[i].name));
  }
  return models;
}

std::string sizeText(uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return size < 0x1p30 ? fmt::format("{:.0f} MiB", size / 0x1p20)
                       : fmt::format("{:.2f} GiB", size / 0x1p30);
}

void sayWhatIsServed(const ServedModel& model, const std::string& address) {
  const SessionOptions& s = model.session().options();
  const auto memory = Session::memory(model.plan(), s);
  fmt::print(stderr,
             "{}: serving {} ({}, {} of weights): {} sequences at once, {} tokens of context in "
             "all, {} at most of "
             "one{}\n",
             address, printableLine(model.name()), model.plan().targetName(),
             sizeText(model.plan().schema().weights_bytes()), s.max_batch,
             s.kv_tokens > 0 ? s.kv_tokens : s.max_batch * s.max_seq_len, s.max_seq_len,
             memory.ok() ? fmt::format("; {} beside the weights", sizeText(memory->total())) : "");
}

}  // namespace

Result<int> serve(const Options& o) {
  Access access{.cors_origin = o.cors_origin, .hosts = {o.host}};
  if (!o.api_key_file.empty()) {
    LLMRT_ASSIGN_OR_RETURN(access.keys, ApiKeys::read(o.api_key_file));
  }
  const bool has_keys = !access.keys.empty();
  LLMRT_ASSIGN_OR_RETURN(std::vector<ServedModelOptions> wanted, modelsOf(o));
  // Before models are loaded, which may take minutes.
  const http::Limits limits{.body_bytes = o.max_body_bytes, .connections = o.max_connections};
  LLMRT_ASSIGN_OR_RETURN(const auto server, http::Server::listen(o.host, o.port, limits));
  if (!server->isLoopback() && !has_keys && !o.allow_anyone) {
    return invalidArgument(
        fmt::format("--host {}: others can reach this address, so it needs --api-key-file FILE (or "
                    "--allow-anyone)",
                    o.host));
  }
  access.checks_host = server->isLoopback() && !has_keys;
  std::vector<std::unique_ptr<ServedModel>> models;
  for (ServedModelOptions& one : wanted) {
    // Memory is shared alike. On this machine what a session has set aside still counts as free, on
    // a device it does not.
    SessionOptions& session = one.model.session;
    session.memory_shares =
        one.model.device == "cpu" ? wanted.size() : wanted.size() - models.size();
    if (session.memory_bytes > 0) session.memory_bytes /= wanted.size();
    LLMRT_ASSIGN_OR_RETURN(auto model, ServedModel::load(one));
    models.push_back(std::move(model));
  }
  Api api(std::move(models),
          {.access = std::move(access), .log_requests = !o.quiet, .log_prompts = o.log_prompts});
  const std::string address =
      fmt::format("http://{}:{}", o.host.find(':') == o.host.npos ? o.host : "[" + o.host + "]",
                  server->port());
  for (const auto& model : api.servedModels()) {
    model->start([&server](std::function<void()> function) { server->post(std::move(function)); });
    sayWhatIsServed(*model, address);
  }
  int signals = 0;
  server->run(api, [&] {
    // Threads may be at a long text, and clients at a long answer.
    if (++signals > 1) std::_Exit(kExitInterrupted);
    api.drain();
    server->drain();
    // Not fmt::print(), which throws where nobody reads it.
    const std::string line =
        fmt::format("llmserve: ending: {} connections are still open; a second signal ends them\n",
                    server->numConnections());
    std::fputs(line.c_str(), stderr);
  });
  api.stop();
  return 0;
}

}  // namespace llmrt::serve
