// By which name the tokenizer of a model lies in its directory.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

namespace llmc {

/// The file to import, empty where `directory` has none: tokenizer.json, else SentencePiece's or
/// tiktoken's tokenizer.model, else a *.tiktoken file, else vocab.json (merges.txt lies beside it).
/// tokenizer.json is first because it says all that the others leave to a program.
inline std::filesystem::path findTokenizerFile(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  std::error_code error;
  for (std::string_view name : {"tokenizer.json", "tokenizer.model"}) {
    if (fs::path file = directory / name; fs::exists(file, error)) return file;
  }
  std::vector<fs::path> tiktoken;
  for (fs::directory_iterator it(directory.empty() ? fs::path(".") : directory, error), end;
       !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".tiktoken")
      tiktoken.push_back(directory / it->path().filename());
  }
  // The directory's own order is any order.
  if (!tiktoken.empty()) return *std::min_element(tiktoken.begin(), tiktoken.end());
  fs::path vocab = directory / "vocab.json";
  if (fs::exists(vocab, error) && fs::exists(directory / "merges.txt", error)) return vocab;
  return {};
}

}  // namespace llmc
