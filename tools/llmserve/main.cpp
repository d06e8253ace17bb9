// llmserve: serves plans to clients of OpenAI's API. Parses, then serve() does the rest.
#include "tools/llmserve/options.h"
#include "tools/llmserve/serve.h"

int main(int argc, char** argv) {
  llmrt::serve::Options options;
  return llmrt::runProgram(
      "llmserve", "Serves plans made by llmc to clients of OpenAI's API.", argc, argv,
      [](CLI::App& app, void* state) { static_cast<llmrt::serve::Options*>(state)->addTo(app); },
      [](void* state) { return llmrt::serve::serve(*static_cast<llmrt::serve::Options*>(state)); },
      &options);
}
