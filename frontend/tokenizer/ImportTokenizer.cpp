#include "frontend/tokenizer/ImportTokenizer.h"

#include <filesystem>

#include "runtime/io/gguf.h"
#include "runtime/io/mapped_file.h"
#include "runtime/schema/tokenizer_generated.h"

namespace llmc {

using llmrt::Result;
using llmrt::Status;
namespace fs = std::filesystem;

namespace {

Result<TokenizerTable> importFromDirectory(const fs::path& directory, const std::string& model) {
  std::error_code error;
  fs::path file = directory / "tokenizer.json";
  if (!fs::exists(file, error)) {
    return llmrt::notFound(model +
                           ": no tokenizer.json beside the config (give one with --tokenizer)");
  }
  fs::path config = directory / "tokenizer_config.json";
  return readTokenizerJson(file.string(), fs::exists(config, error) ? config.string() : "");
}

Result<TokenizerTable> readAny(const std::string& model) {
  std::error_code error;
  fs::path path(model);
  if (!fs::exists(path, error)) return llmrt::notFound(model + ": no such file or directory");
  if (fs::is_directory(path, error)) return importFromDirectory(path, model);
  bool gguf = false;
  {
    LLMRT_ASSIGN_OR_RETURN(auto file, llmrt::MappedFile::open(model));
    gguf = llmrt::GgufFile::looksLikeGguf(file);
  }
  if (gguf) {
    LLMRT_ASSIGN_OR_RETURN(auto file, llmrt::GgufFile::open(model));
    return readTokenizerGguf(*file);
  }
  fs::path directory = path.parent_path();
  if (path.filename().string().starts_with("tokenizer")) {
    fs::path config = directory / "tokenizer_config.json";
    return readTokenizerJson(model, fs::exists(config, error) ? config.string() : "");
  }
  return importFromDirectory(directory, model);
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
