// A plan may lie in every field: each lie ends in a Status, or in a tokenizer that says something
// harmless.
#include <functional>
#include <random>

#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using testing::addAdded;
using testing::addMerge;
using testing::byteTable;
using testing::tryBuild;

schema::TokenizerT goodTable() {
  auto table = byteTable();
  addMerge(table, 'a', 'b', "ab");
  addAdded(table, "<s>", 1);
  return table;
}

TEST(TokenizerCorrupt, NoTable) {
  auto result = Tokenizer::create(nullptr);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
}

TEST(TokenizerCorrupt, EveryLieIsNamed) {
  struct Lie {
    const char* message;
    std::function<void(schema::TokenizerT&)> tell;
  };
  auto normalize = [](schema::TokenizerT& t, int kind, const char* pattern) {
    auto step = std::make_unique<schema::NormalizerStepT>();
    step->kind = static_cast<schema::NormalizerKind>(kind);
    step->pattern = pattern;
    t.normalizer.push_back(std::move(step));
  };
  auto decode = [](schema::TokenizerT& t, schema::DecoderKind kind) {
    auto step = std::make_unique<schema::DecoderStepT>();
    step->kind = kind;
    t.decoder.push_back(std::move(step));
  };
  const Lie lies[] = {
      {"unknown kind", [](auto& t) { t.kind = static_cast<schema::TokenizerKind>(9); }},
      {"no vocabulary", [](auto& t) { t.piece_offsets.clear(); }},
      {"piece_offsets", [](auto& t) { t.piece_offsets[3] = 9999; }},
      {"piece_offsets", [](auto& t) { t.piece_offsets.back() += 1; }},
      {"piece_offsets", [](auto& t) { t.piece_offsets[0] = 1; }},
      {"token_flags", [](auto& t) { t.token_flags.pop_back(); }},
      {"byte_ids are not 256", [](auto& t) { t.byte_ids.pop_back(); }},
      {"byte_ids out of range", [](auto& t) { t.byte_ids[7] = 258; }},
      {"byte_ids out of range", [](auto& t) { t.byte_ids[7] = -2; }},
      {"without byte_ids", [](auto& t) { t.byte_ids.clear(); }},
      {"merge arrays", [](auto& t) { t.merge_left.clear(); }},
      {"merge arrays",
       [](auto& t) {
         t.merge_ranks = {1, 2};
       }},
      {"merge out of range", [](auto& t) { t.merge_left[0] = 258; }},
      {"merge out of range", [](auto& t) { t.merge_right[0] = UINT32_MAX; }},
      {"merge out of range", [](auto& t) { t.merge_result[0] = 258; }},
      {"merge out of range", [](auto& t) { t.merge_ranks = {UINT32_MAX}; }},
      {"unk_id", [](auto& t) { t.unk_id = 258; }},
      {"unk_id", [](auto& t) { t.unk_id = -3; }},
      {"bos_id or eos_id", [](auto& t) { t.bos_id = 258; }},
      {"bos_id or eos_id", [](auto& t) { t.eos_id = -7; }},
      {"prefix or suffix", [](auto& t) { t.prefix_ids = {258}; }},
      {"prefix or suffix", [](auto& t) { t.suffix_ids = {UINT32_MAX}; }},
      {"added token arrays", [](auto& t) { t.added_flags.clear(); }},
      {"added token arrays", [](auto& t) { t.added_offsets.pop_back(); }},
      {"added token arrays", [](auto& t) { t.added_offsets.clear(); }},
      {"added token 0", [](auto& t) { t.added_offsets[1] = 100; }},
      {"added token 0", [](auto& t) { t.added_offsets[0] = 3; }},
      {"added token 0", [](auto& t) { t.added_ids[0] = 258; }},
      {"added token 0", [](auto& t) { t.added_contents[1] = 0xFF; }},
      {"normalizer step of unknown kind", [&](auto& t) { normalize(t, 77, "a"); }},
      {"replaces nothing", [&](auto& t) { normalize(t, 1, ""); }},
      {"not UTF-8", [&](auto& t) { normalize(t, 1, "\xFF"); }},
      {"regular expression is broken", [&](auto& t) { normalize(t, 2, "["); }},
      {"decoder step", [&](auto& t) { decode(t, schema::DecoderKind::fuse); }},
      {"decoder step",
       [&](auto& t) {
         t.decoder.clear();
         decode(t, schema::DecoderKind::strip);
       }},
      {"unknown decoder step",
       [&](auto& t) {
         t.decoder.clear();
         decode(t, static_cast<schema::DecoderKind>(50));
       }},
      {"out of range",
       [](auto& t) {
         t.pre_tokenizer.push_back(std::make_unique<schema::PreTokenizerStepT>());
         t.pre_tokenizer[0]->kind = static_cast<schema::PreTokenizerKind>(9);
       }},
  };
  ASSERT_TRUE(tryBuild(goodTable()).ok());
  for (const Lie& lie : lies) {
    auto table = goodTable();
    lie.tell(table);
    auto result = tryBuild(table);
    ASSERT_FALSE(result.ok()) << lie.message;
    EXPECT_THAT(result.status().message(), ::testing::HasSubstr(lie.message));
    EXPECT_THAT(result.status().message(), ::testing::StartsWith("tokenizer"));
  }
}

// Bytes flipped at random in a whole buffer: what the verifier lets through, create() and encode()
// survive.
TEST(TokenizerCorrupt, RandomBytesDoNoHarm) {
  flatbuffers::FlatBufferBuilder builder;
  auto table = goodTable();
  builder.Finish(schema::Tokenizer::Pack(builder, &table));
  const std::vector<uint8_t> good(builder.GetBufferPointer(),
                                  builder.GetBufferPointer() + builder.GetSize());
  std::mt19937 random(3);
  int built = 0;
  for (int round = 0; round < 5000; ++round) {
    auto bytes = good;
    for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    }
    flatbuffers::Verifier verifier(bytes.data(), bytes.size());
    if (!verifier.VerifyBuffer<schema::Tokenizer>(nullptr)) continue;
    auto tokenizer = Tokenizer::create(flatbuffers::GetRoot<schema::Tokenizer>(bytes.data()));
    if (!tokenizer.ok()) continue;
    ++built;
    auto ids = tokenizer->encode("<s>ab abab \u00e9");
    if (ids.ok()) tokenizer->decode(*ids);
  }
  EXPECT_GT(built, 0);
}

}  // namespace
}  // namespace llmrt
