// tokenizer.model, rank files, vocab.json with merges.txt: what is read, and what is refused.
#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "frontend/tokenizer/Base64.h"
#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/ProtoReader.h"
#include "frontend/tokenizer/SentencePieceModel.h"
#include "frontend/tokenizer/TokenizerFile.h"
#include "runtime/io/json.h"
#include "runtime/io/mapped_file.h"
#include "runtime/schema/tokenizer_generated.h"
#include "tests/io/checkpoint_files.h"
#include "tests/text/temp_file.h"

namespace llmc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;
const fs::path kGoldens = LLMC_TOKENIZER_GOLDEN_DIR;

llmrt::Result<llmrt::Tokenizer> load(const std::string& model) {
  LLMRT_ASSIGN_OR_RETURN(auto table, importTokenizer(model));
  return makeTokenizer(*table);
}

std::string errorOf(const std::string& model) {
  auto tokenizer = load(model);
  return tokenizer.ok() ? "loaded" : tokenizer.status().message();
}

TEST(Base64, DecodesWholeGroupsOnly) {
  EXPECT_EQ(decodeBase64("aGk="), "hi");
  EXPECT_EQ(decodeBase64("/+8A"), std::string("\xff\xef\0", 3));
  EXPECT_EQ(decodeBase64(""), "");
  for (const char* bad : {"a", "aGk", "a-k=", "=aGk", "aG k"})
    EXPECT_FALSE(decodeBase64(bad)) << bad;
}

// Wire format, by hand: field << 3 | type.
std::string lengthDelimited(int field, const std::string& bytes) {
  return std::string{static_cast<char>(field << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}
/// Of fields above 15 the tag takes two bytes.
std::string varint(int field, int value) {
  int tag = field << 3;
  if (tag < 0x80) return {static_cast<char>(tag), static_cast<char>(value)};
  return {static_cast<char>(tag | 0x80), static_cast<char>(tag >> 7), static_cast<char>(value)};
}
std::string piece(const std::string& text, int type) {
  return lengthDelimited(
      1, lengthDelimited(1, text) + std::string("\x15\0\0\x80\xbf", 5) + varint(3, type));
}

TEST(ProtoReader, ReadsFieldsAndNoticesWhatIsBroken) {
  std::string message =
      varint(3, 7) + lengthDelimited(1, "text") + std::string("\x15\0\0\x80\x3f", 5);
  ProtoReader in(message);
  ASSERT_TRUE(in.next());
  EXPECT_EQ(in.field(), 3u);
  EXPECT_EQ(in.int32(), 7);
  ASSERT_TRUE(in.next());
  EXPECT_EQ(in.bytes(), "text");
  ASSERT_TRUE(in.next());
  EXPECT_EQ(in.float32(), 1);
  EXPECT_FALSE(in.next());
  EXPECT_TRUE(in.ok());
  for (size_t cut : {1u, 3u, 5u, 9u, 12u}) {
    ProtoReader broken(std::string_view(message).substr(0, cut));
    while (broken.next()) {
    }
    EXPECT_FALSE(broken.ok()) << cut;
  }
  ProtoReader other_type(message);
  ASSERT_TRUE(other_type.next());
  EXPECT_EQ(other_type.bytes(), "");
  EXPECT_FALSE(other_type.ok());
  EXPECT_FALSE(other_type.next());
}

std::string modelError(const std::string& file) {
  auto model = SentencePieceModel::parse(file);
  return model.ok() ? "parsed" : model.status().message();
}

TEST(SentencePieceModel, NamesWhatItCannotDo) {
  std::string pieces = piece("<unk>", SentencePieceModel::kUnknown) + piece("a", 1);
  EXPECT_EQ(modelError(pieces), "parsed");
  EXPECT_THAT(modelError(""), HasSubstr("no pieces"));
  EXPECT_THAT(modelError("{\"model\": 1}"), HasSubstr("neither a SentencePiece model nor"));
  EXPECT_THAT(modelError(pieces.substr(0, pieces.size() - 1)), HasSubstr("cut off"));
  EXPECT_THAT(modelError(piece("a", 1)), HasSubstr("0 unknown pieces"));
  EXPECT_THAT(modelError(pieces + piece("", 1)), HasSubstr("is empty"));
  EXPECT_THAT(modelError(pieces + piece("b", 9)), HasSubstr("type 9"));
  EXPECT_THAT(modelError(pieces + lengthDelimited(2, varint(3, 4))),
              HasSubstr("trainer_spec.model_type 4"));
  EXPECT_THAT(modelError(pieces + lengthDelimited(2, varint(24, 1))),
              HasSubstr("treat_whitespace_as_suffix"));
  EXPECT_THAT(modelError(pieces + lengthDelimited(3, varint(5, 0))),
              HasSubstr("escape_whitespaces"));
  EXPECT_THAT(modelError(pieces + lengthDelimited(5, lengthDelimited(2, "x"))),
              HasSubstr("denormalizer_spec"));
}

// Any prefix and any flipped byte of a real model ends in a tokenizer or an error.
TEST(SentencePieceModel, BrokenFilesEndInAnError) {
  auto file = llmrt::MappedFile::open((kGoldens / "spm_gemma.model").string());
  ASSERT_TRUE(file.ok());
  std::string bytes(file->text());
  for (size_t i = 0; i < bytes.size(); i += 1 + bytes.size() / 300) {
    (void)SentencePieceModel::parse(bytes.substr(0, i));
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x55);
    (void)SentencePieceModel::parse(flipped);
  }
}

TEST(TokenizerFiles, AModelNeedsNoConfigAndFollowsOne) {
  testing::TempDir dir;
  fs::copy(kGoldens / "spm_gemma.model", fs::path(dir.path()) / "tokenizer.model");
  auto bare = load(dir.path());
  ASSERT_TRUE(bare.ok()) << bare.status().message();
  EXPECT_EQ(bare->bosId(), 1);
  EXPECT_EQ(bare->eosId(), 2);
  auto ids = bare->encode("");
  EXPECT_THAT(*ids, ElementsAre(1)) << "BOS, as Llama's own program has it";
  dir.write("tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": true,
      "eos_token": "<end>", "added_tokens_decoder": {"5000": {"content": "<end>", "special": true}}})");
  auto configured = load(dir.path());
  ASSERT_TRUE(configured.ok()) << configured.status().message();
  EXPECT_THAT(*configured->encode("<end>"), ElementsAre(5000, 5000));
  EXPECT_TRUE(configured->isSpecial(5000));
}

std::string rankFile(size_t ranks) {
  auto file = llmrt::MappedFile::open((kGoldens / "ranks.tiktoken").string());
  std::string text(file->text());
  size_t lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (; lines < ranks; ++lines) {  // 0xff in front: in no text
    std::string digits;
    for (int shift = 0; shift < 24; shift += 6) digits += kBase64[lines >> shift & 63];
    text += "////" + digits + " " + std::to_string(lines) + "\n";
  }
  return text;
}

TEST(TokenizerFiles, ARankFileIsKnownByItsSize) {
  testing::TempDir dir;
  std::string model = dir.write("tokenizer.model", rankFile(128000));
  auto llama3 = load(model);
  ASSERT_TRUE(llama3.ok()) << llama3.status().message();
  EXPECT_EQ(llama3->vocabSize(), 128256);
  EXPECT_EQ(llama3->bosId(), 128000);
  auto ids = llama3->encode("<|start_header_id|>a<|eot_id|>");
  ASSERT_EQ(ids->size(), 4u);
  EXPECT_EQ((*ids)[0], 128000);
  EXPECT_EQ((*ids)[1], 128006);
  EXPECT_EQ((*ids)[3], 128009);
  EXPECT_EQ(llama3->piece(128255), "<|reserved_special_token_246|>");
}

TEST(TokenizerFiles, TokensAddedToARankFileMoveNoSpecialToken) {
  testing::TempDir dir;
  const std::string model = dir.write("tokenizer.model", rankFile(128000));
  dir.write("added_tokens.json",
            R"({"<|mine|>": 128300, "<|eot_id|>": 128009, "<|renamed|>": 128006})");
  auto llama3 = load(dir.path());
  ASSERT_TRUE(llama3.ok()) << llama3.status().message();
  EXPECT_EQ(llama3->vocabSize(), 128301);
  EXPECT_EQ(llama3->bosId(), 128000);
  EXPECT_THAT(*llama3->encode("<|mine|><|eot_id|><|end_header_id|><|renamed|>"),
              ::testing::ElementsAre(128000, 128300, 128009, 128007, 128006));
  EXPECT_EQ(llama3->piece(128255), "<|reserved_special_token_246|>");
}

TEST(TokenizerFiles, ARankFileOfNoKnownModelIsRefused) {
  testing::TempDir dir;
  std::string model = dir.write("x.tiktoken", rankFile(0));
  EXPECT_THAT(errorOf(model), HasSubstr("of no known model"));
  EXPECT_THAT(errorOf(dir.path()), HasSubstr("of no known model")) << "found by its name";
  dir.write("x.tiktoken", "aGk= 0\nnonsense\n");
  EXPECT_THAT(errorOf(model), HasSubstr("line 2"));
  dir.write("x.tiktoken", "aGk= 0\naGg= 0\n");
  EXPECT_THAT(errorOf(model), HasSubstr("two tokens"));
  dir.write("x.tiktoken", "aGk= 2000000000\n");
  EXPECT_THAT(errorOf(model), HasSubstr("out of range"));
}

TEST(TokenizerFiles, VocabAndMergesNeedAKnownClass) {
  testing::TempDir dir;
  std::string vocab = dir.write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<e>": 3})");
  EXPECT_THAT(errorOf(vocab), HasSubstr("merges.txt"));
  EXPECT_THAT(errorOf(dir.path()), HasSubstr("no tokenizer.json, tokenizer.model"));
  dir.write("merges.txt", "#version: 0.2\na b\n");
  dir.write("added_tokens.json", R"({"<x>": 4})");
  dir.write("special_tokens_map.json",
            R"({"eos_token": "<e>", "additional_special_tokens": ["<x>"]})");
  auto tokenizer = load(dir.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_THAT(*tokenizer->encode("ab<x>ba<e>"), ElementsAre(2, 4, 1, 0, 3));
  EXPECT_TRUE(tokenizer->isSpecial(4));
  EXPECT_EQ(tokenizer->eosId(), 3);
  dir.write("tokenizer_config.json", R"({"tokenizer_class": "BartTokenizer"})");
  EXPECT_THAT(errorOf(vocab), HasSubstr("'BartTokenizer'"));
  fs::remove(fs::path(dir.path()) / "tokenizer_config.json");
  dir.write("merges.txt", "a b\nab\n");
  EXPECT_THAT(errorOf(vocab), HasSubstr("merges.txt line 2: is not two tokens"));
  dir.write("merges.txt", "a c\n");
  EXPECT_THAT(errorOf(vocab), HasSubstr("line 1: merge 'a' 'c'"));
}

// The model and its texts are sentencepiece's; GGUF keeps the same numbers under other names.
TEST(TokenizerFiles, AGgufOfT5IsItsSentencePieceModel) {
  auto file = llmrt::MappedFile::open((kGoldens / "spm_unigram_nmt.model").string());
  ASSERT_TRUE(file.ok());
  auto model = SentencePieceModel::parse(file->text());
  ASSERT_TRUE(model.ok()) << model.status().message();
  using llmc_tests::rawBytes;
  auto arrayOf = [](uint32_t type, size_t count, const std::string& bytes) {
    return rawBytes(type) + rawBytes(static_cast<uint64_t>(count)) + bytes;
  };
  std::vector<std::string> tokens;
  std::string scores, types;
  for (const auto& piece : model->pieces) {
    tokens.emplace_back(piece.text);
    scores += rawBytes(piece.score);
    types += rawBytes(piece.type);
  }
  constexpr uint32_t kUint8 = 0, kInt32 = 5, kFloat32 = 6, kBool = 7, kArray = 9;
  llmc_tests::GgufWriter gguf;
  gguf.addString("tokenizer.ggml.model", "t5").addStrings("tokenizer.ggml.tokens", tokens);
  gguf.value("tokenizer.ggml.scores", kArray, arrayOf(kFloat32, tokens.size(), scores));
  gguf.value("tokenizer.ggml.token_type", kArray, arrayOf(kInt32, tokens.size(), types));
  std::string charsmap(model->normalizer.charsmap);
  gguf.value("tokenizer.ggml.precompiled_charsmap", kArray,
             arrayOf(kUint8, charsmap.size(), charsmap));
  gguf.value("tokenizer.ggml.add_space_prefix", kBool, "\1");
  gguf.value("tokenizer.ggml.remove_extra_whitespaces", kBool, "\1");
  gguf.addUint("tokenizer.ggml.unknown_token_id", 0).addUint("tokenizer.ggml.eos_token_id", 2);
  testing::TempDir dir;
  auto tokenizer = load(dir.write("t5.gguf", gguf.bytes()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_THAT(*tokenizer->encode(""), ElementsAre(2)) << "EOS behind the text";
  auto golden = llmrt::readJsonFile((kGoldens / "spm_unigram_nmt.json").string());
  auto texts = llmrt::readJsonFile((kGoldens / "texts.json").string());
  ASSERT_TRUE(golden.ok() && texts.ok());
  for (size_t i = 0; i < texts->size(); ++i) {
    auto ids = tokenizer->encode((*texts)[i].get<std::string>(), {false, false});
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(*ids, (*golden)["ids"][i].get<std::vector<int32_t>>()) << (*texts)[i];
  }
}

// Its tokenizer.json says rstrip of all added tokens but three; GGUF has no place for it, and
// llama.cpp goes by the model's name.
TEST(TokenizerFiles, AGgufOfPhi3TakesTheSpaceBehindItsAddedTokens) {
  using llmc_tests::rawBytes;
  const std::vector<std::string> tokens = {"<unk>", "<s>",           "</s>",     "\u2581",
                                           "a",     "<|endoftext|>", "<|user|>", "<x>"};
  std::string scores, types;
  for (int32_t type : {2, 3, 3, 1, 1, 3, 3, 4}) {
    scores += rawBytes(0.f);
    types += rawBytes(type);
  }
  constexpr uint32_t kInt32 = 5, kFloat32 = 6, kBool = 7, kArray = 9;
  const std::string count = rawBytes(static_cast<uint64_t>(tokens.size()));
  auto idsOf = [&](const char* name, const char* architecture, const char* text) {
    llmc_tests::GgufWriter gguf;
    gguf.addString("general.name", name).addString("general.architecture", architecture);
    gguf.addString("tokenizer.ggml.model", "llama").addStrings("tokenizer.ggml.tokens", tokens);
    gguf.value("tokenizer.ggml.scores", kArray, rawBytes(kFloat32) + count + scores);
    gguf.value("tokenizer.ggml.token_type", kArray, rawBytes(kInt32) + count + types);
    gguf.value("tokenizer.ggml.add_space_prefix", kBool, std::string(1, '\0'));
    testing::TempDir dir;
    auto tokenizer = load(dir.write("phi.gguf", gguf.bytes()));
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    return *tokenizer->encode(text, {.add_bos = false});
  };
  const char* text = "<|user|> \n a</s> a<x>  a<s> a<|endoftext|> a";
  for (auto [name, architecture] : {std::pair("Phi-3-mini-4k-instruct", "llama"),
                                    {"my phi3 tune", "other"},
                                    {"a tune", "phi3"}}) {
    EXPECT_THAT(idsOf(name, architecture, text), ElementsAre(6, 4, 2, 4, 7, 4, 1, 3, 4, 5, 3, 4))
        << name;
  }
  EXPECT_THAT(idsOf("Llama", "llama", "<|user|> a"), ElementsAre(6, 3, 4));
}

// SentencePiece's pieces and bytes, and merges as tokenizer.json lists them. The ids are those of
// tokenizers 0.23.3 with the same merges.
TEST(TokenizerFiles, AGgufOfGemma4HasItsMerges) {
  using llmc_tests::rawBytes;
  std::vector<std::string> tokens = {"<pad>", "<eos>", "<bos>", "<unk>"};
  std::string types;
  for (int32_t type : {3, 3, 3, 2}) types += rawBytes(type);
  for (int byte = 0; byte < 256; ++byte) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    tokens.push_back(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">");
    types += rawBytes(int32_t{6});
  }
  const std::string mark = "\u2581";
  for (const char* token : {"\u2581", "a", "b", "ab", "\u2581a", "\u2581ab", "\u2581\u2581"}) {
    tokens.emplace_back(token);
    types += rawBytes(int32_t{1});
  }
  tokens.emplace_back("<|x>");
  types += rawBytes(int32_t{4});
  constexpr uint32_t kInt32 = 5, kArray = 9;
  llmc_tests::GgufWriter gguf;
  gguf.addString("tokenizer.ggml.model", "gemma4").addStrings("tokenizer.ggml.tokens", tokens);
  gguf.value("tokenizer.ggml.token_type", kArray,
             rawBytes(kInt32) + rawBytes(static_cast<uint64_t>(tokens.size())) + types);
  gguf.addStrings("tokenizer.ggml.merges", {mark + " " + mark, mark + " a", "a b", mark + "a b"});
  testing::TempDir dir;
  auto tokenizer = load(dir.write("gemma4.gguf", gguf.bytes()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_THAT(*tokenizer->encode("ab  ab aba\u00e9 <|x> a"),
              ElementsAre(2, 263, 266, 263, 265, 261, 199, 173, 260, 267, 264));
}

TEST(TokenizerFiles, TokenizerJsonComesFirst) {
  testing::TempDir dir;
  EXPECT_EQ(findTokenizerFile(dir.path()), "");
  dir.write("merges.txt", "");
  for (const char* name :
       {"vocab.json", "b.tiktoken", "a.tiktoken", "tokenizer.model", "tokenizer.json"}) {
    std::string file = dir.write(name, "");
    EXPECT_EQ(findTokenizerFile(dir.path()), file);
  }
}

}  // namespace
}  // namespace llmc
