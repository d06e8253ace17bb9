#include "frontend/tokenizer/ImportTokenizer.h"

#include <filesystem>

#include "frontend/tokenizer/TokenizerConfig.h"
#include "frontend/tokenizer/TokenizerFile.h"
#include "runtime/io/gguf.h"
#include "runtime/io/model_file.h"
#include "runtime/schema/tokenizer_generated.h"

namespace llmc {

using llmrt::Result;
using llmrt::Status;
namespace fs = std::filesystem;

namespace {

Result<TokenizerTable> importFile(const fs::path& path) {
  std::string name = path.filename().string();
  LLMRT_ASSIGN_OR_RETURN(auto config, TokenizerConfig::read(path.parent_path().string()));
  if (name.ends_with(".json")) {
    return name.find("vocab") != name.npos ? readTokenizerVocabMerges(path.string(), config)
                                           : readTokenizerJson(path.string(), config);
  }
  LLMRT_ASSIGN_OR_RETURN(auto file, llmrt::openModelFile(path.string()));
  auto table = looksLikeTiktoken(file.text()) ? readTokenizerTiktoken(file.text(), config)
                                              : readTokenizerSentencePiece(file.text(), config);
  if (!table.ok()) return std::move(table).status().withContext(path.string());
  return table;
}

Result<TokenizerTable> importFromDirectory(const fs::path& directory, const std::string& model) {
  fs::path file = findTokenizerFile(directory);
  if (file.empty()) {
    return llmrt::notFound(model +
                           ": no tokenizer.json, tokenizer.model, *.tiktoken or vocab.json with "
                           "merges.txt beside the config (give one with --tokenizer)");
  }
  return importFile(file);
}

Result<TokenizerTable> readAny(const std::string& named) {
  LLMRT_ASSIGN_OR_RETURN(const std::string model, llmrt::resolveGgufFolder(named));
  std::error_code error;
  fs::path path(model);
  if (!fs::exists(path, error)) return llmrt::noSuchModel(model);
  if (fs::is_directory(path, error)) return importFromDirectory(path, model);
  bool gguf = false;
  {
    LLMRT_ASSIGN_OR_RETURN(auto file, llmrt::openModelFile(model));
    gguf = llmrt::GgufFile::looksLikeGguf(file);
  }
  if (gguf) {
    LLMRT_ASSIGN_OR_RETURN(auto file, llmrt::GgufFile::open(model));
    return readTokenizerGguf(*file);
  }
  bool config = path.extension() == ".json" && !path.filename().string().starts_with("tokenizer") &&
                path.filename().string().find("vocab") == std::string::npos;
  return config ? importFromDirectory(path.parent_path(), model) : importFile(path);
}

}  // namespace

Result<llmrt::Tokenizer> makeTokenizer(const llmrt::schema::TokenizerT& table) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(llmrt::schema::Tokenizer::Pack(builder, &table));
  return llmrt::Tokenizer::create(
      flatbuffers::GetRoot<llmrt::schema::Tokenizer>(builder.GetBufferPointer()));
}

Result<TokenizerTable> importTokenizer(const std::string& model) {
  LLMRT_ASSIGN_OR_RETURN(auto table, readAny(model));
  auto tokenizer = makeTokenizer(*table);
  if (!tokenizer.ok()) return std::move(tokenizer).status().withContext(model);
  return table;
}

}  // namespace llmc
