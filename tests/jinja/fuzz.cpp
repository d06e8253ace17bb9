// jinja_fuzz SECONDS [SEED]: mutated templates until the time is over or one of them does what none
// may, which it prints. Best under sanitizers.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/jinja/json_text.h"
#include "tests/jinja/golden_options.h"
#include "tests/jinja/mutator.h"

namespace llmrt::jinja {
namespace {

struct Corpus {
  Mutator mutator;
  Document context;
};

int run(double seconds, uint64_t seed) {
  const auto golden = nlohmann::json::parse(readFile(JINJA_GOLDENS));
  std::vector<Corpus> corpora;
  corpora.push_back({Mutator(snippets(golden), seed),
                     *parseJsonValue(golden["context"].get<std::string>(), "context")});
  const std::string folder = std::string(LLMC_MATERIAL_DIR) + "/chat-templates/";
  if (std::filesystem::exists(folder)) {
    for (const char* context : {"simple", "system", "tool_use"}) {
      const std::string file = folder + "contexts/" + context + ".json";
      if (!std::filesystem::exists(file)) continue;
      corpora.push_back(
          {Mutator(filesIn(folder + "jinja"), seed), *parseJsonValue(readFile(file), file)});
    }
  }
  int count = 0, texts = 0;
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < std::chrono::duration<double>(seconds)) {
    for (Corpus& corpus : corpora) {
      const std::string source = corpus.mutator.next();
      ++count;
      if (const auto wrong = whatIsWrong(source, corpus.context.value, &texts)) {
        std::printf("%s\n%s\n", wrong->c_str(), source.c_str());
        return 1;
      }
    }
  }
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("%d templates, %d of them rendered; at most %ld MB of memory\n", count, texts,
              usage.ru_maxrss / 1024);
  return 0;
}

}  // namespace
}  // namespace llmrt::jinja

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: jinja_fuzz SECONDS [SEED]\n"), 2;
  return llmrt::jinja::run(std::atof(argv[1]), argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
}
