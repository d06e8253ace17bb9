// Trees of tokens: each row of a verify step gives the bits that its branch gives decoded alone, by
// the kernels of decode, and kv_move leaves the cache that decoding the branch leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "attention_case.h"
#include "kernel_harness.h"

namespace llmc::test {
namespace {

using llmrt::DType;

constexpr int64_t kBlock = LLMC_KV_BLOCK_TOKENS, kBlocksPerSeq = 4, kSequences = 2;
constexpr int64_t kMaxPrefix = 130;

/// Rows of a step, as its inputs have them.
struct Rows {
  std::vector<int32_t> pos, slot, parent, seq;
  std::vector<int32_t> token;  // row of the tables of q, k and v

  int64_t size() const { return static_cast<int64_t>(pos.size()); }
  void add(const Rows& from, size_t i) {
    pos.push_back(from.pos[i]);
    slot.push_back(from.slot[i]);
    parent.push_back(from.parent[i]);
    seq.push_back(from.seq[i]);
    token.push_back(from.token[i]);
  }
  /// The rows from the root to row `i`.
  Rows branch(int32_t i) const {
    std::vector<int32_t> path;
    for (; i >= 0; i = parent[i]) path.insert(path.begin(), i);
    Rows rows;
    for (int32_t r : path) rows.add(*this, r);
    return rows;
  }
};

/// How the tokens of a tree hang together.
enum class Shape { chain, bushes, star };

/// Appends a tree of `size` rows of sequence `seq`, which has `length` tokens.
void addTree(Rows& rows, int32_t seq, int64_t length, int64_t size, Shape shape,
             std::mt19937& rng) {
  const auto first = static_cast<int32_t>(rows.size());
  for (int32_t i = first; i < first + size; ++i) {
    int32_t parent = -1;
    if (shape == Shape::chain && i > first) parent = i - 1;
    // Mostly one of the last few, so that there are long branches.
    if (shape == Shape::bushes) parent = i - 1 - static_cast<int32_t>(rng() % 4);
    if (parent < first) parent = -1;
    rows.pos.push_back(parent < 0 ? static_cast<int32_t>(length) : rows.pos[parent] + 1);
    rows.slot.push_back(static_cast<int32_t>(length) + i - first);
    rows.parent.push_back(parent);
    rows.seq.push_back(seq);
    rows.token.push_back(static_cast<int32_t>(kSequences * kMaxPrefix + i));
  }
}

struct Cache {
  Buffer keys, values;
};

/// The kernels of a case, compiled for one target, and the tokens that they work on.
class Attention {
 public:
  Attention(const AttentionCase& c, LoadedKernels& kernels)
      : case_(c),
        kernels_(kernels),
        q_(table(c.heads * c.headDim)),
        k_(table(c.kvHeads * c.headDim)),
        v_(table(c.kvHeads * c.valuesOfHead())),
        sinks_(attentionStride(c.heads) * 4) {
    for (int64_t h = 0; h < c.heads; ++h) sinks_.floats()[h] = static_cast<float>(h) - 1;
  }

  Cache empty() const {
    const int64_t heads = kSequences * kBlocksPerSeq * case_.kvHeads * kBlock;
    return {Buffer(heads * keyDim() * bytes()), Buffer(heads * valueDim() * bytes())};
  }
  /// Both sequences' first tokens.
  Cache prefixes(const int64_t (&lengths)[kSequences]) {
    Cache cache = empty();
    Rows rows;
    for (int32_t seq = 0; seq < kSequences; ++seq)
      for (int32_t pos = 0; pos < lengths[seq]; ++pos) {
        rows.pos.push_back(pos);
        rows.seq.push_back(seq);
        rows.token.push_back(static_cast<int32_t>(seq * kMaxPrefix + pos));
      }
    write("prefill", rows, cache);
    return cache;
  }
  static Cache copyOf(Cache& cache, const Attention& a) {
    Cache copy = a.empty();
    const int64_t heads = kSequences * kBlocksPerSeq * a.case_.kvHeads * kBlock;
    std::memcpy(copy.keys.data(), cache.keys.data(), heads * a.keyDim() * a.bytes());
    std::memcpy(copy.values.data(), cache.values.data(), heads * a.valueDim() * a.bytes());
    return copy;
  }

  /// kv_write in steps of this kind.
  void write(const std::string& kind, Rows rows, Cache& cache) {
    if (rows.size() == 0) return;
    Buffer k = gather(k_, rows), v = gather(v_, rows);
    std::map<std::string, void*> operands = cacheOperands(rows, cache);
    operands["k"] = k.data();
    operands["v"] = v.data();
    operands[kind == "verify" ? "slot" : "pos"] =
        kind == "verify" ? rows.slot.data() : rows.pos.data();
    kernels_.run(("write_" + kind).c_str(), stepOf(rows), operands, 0, rows.size());
  }

  /// Attention of each row; "verify" or "decode".
  std::vector<std::vector<float>> attend(const std::string& kind, Rows rows, Cache& cache) {
    const int64_t width = case_.heads * case_.valuesOfHead(), stride = attentionStride(width);
    Buffer q = gather(q_, rows), y(rows.size() * stride * 4);
    std::map<std::string, void*> operands = cacheOperands(rows, cache);
    operands["pos"] = rows.pos.data();
    if (kind == "verify") {
      operands["slot"] = rows.slot.data();
      operands["parent"] = rows.parent.data();
    }
    operands["q"] = q.data();
    operands["y"] = y.data();
    if (case_.sinks) operands["sinks"] = sinks_.data();
    int64_t heads = std::min(case_.heads / case_.kvHeads, llm::kAttentionHeads);  // of a tile
    while (case_.heads / case_.kvHeads % heads != 0) --heads;
    const int64_t tiles = case_.heads / heads * rows.size();
    kernels_.run(kind.c_str(), stepOf(rows), operands, 0, tiles / 2);
    kernels_.run(kind.c_str(), stepOf(rows), operands, tiles / 2, tiles);
    std::vector<std::vector<float>> out;
    for (int64_t r = 0; r < rows.size(); ++r)
      out.emplace_back(y.floats() + r * stride, y.floats() + r * stride + width);
    return out;
  }

  /// kv_move.
  void move(Rows rows, Cache& cache) {
    std::map<std::string, void*> operands = cacheOperands(rows, cache);
    operands["pos"] = rows.pos.data();
    operands["slot"] = rows.slot.data();
    kernels_.run("move", stepOf(rows), operands, 0, case_.kvHeads);
  }

  /// What a cache has of a token.
  std::vector<uint8_t> tokenOf(Cache& cache, int64_t seq, int64_t pos) const {
    std::vector<uint8_t> out;
    const int64_t perStep = case_.dtype == DType::kBF16 ? 2 : 1, lane = pos % kBlock;
    const int64_t block = blockTable_[seq * kBlocksPerSeq + pos / kBlock];
    auto add = [&](Buffer& from, int64_t element) {
      const auto* at = static_cast<const uint8_t*>(from.data()) + element * bytes();
      out.insert(out.end(), at, at + bytes());
    };
    for (int64_t head = block * case_.kvHeads; head < (block + 1) * case_.kvHeads; ++head) {
      for (int64_t i = 0; i < case_.headDim; ++i)
        add(cache.keys,
            head * keyDim() * kBlock + (i / perStep * kBlock + lane) * perStep + i % perStep);
      for (int64_t i = 0; i < case_.valuesOfHead(); ++i)
        add(cache.values, head * valueDim() * kBlock + (lane / perStep * valueDim() + i) * perStep +
                              lane % perStep);
    }
    return out;
  }

  /// Makes the token of a row one whose values are infinite, or normal again.
  void poison(const Rows& rows, int64_t i, bool on) {
    const int64_t stride = attentionStride(case_.kvHeads * case_.valuesOfHead());
    float* v = v_.floats() + rows.token[i] * stride;
    std::fill(v, v + stride, on ? std::numeric_limits<float>::infinity() : 1.0f);
  }

 private:
  /// Random rows of every token there may be.
  static Buffer table(int64_t width) {
    std::mt19937 rng(static_cast<uint32_t>(width));
    const int64_t tokens = kSequences * kMaxPrefix + llm::kTreeMaxRows;
    Buffer rows(tokens * attentionStride(width) * 4);
    std::vector<float> values = randomFloats(tokens * attentionStride(width), rng);
    for (float& f : values) f *= 3;
    std::copy(values.begin(), values.end(), rows.floats());
    return rows;
  }
  static Buffer gather(Buffer& table, const Rows& rows, int64_t stride) {
    Buffer out(rows.size() * stride * 4);
    for (int64_t r = 0; r < rows.size(); ++r)
      std::copy_n(table.floats() + rows.token[r] * stride, stride, out.floats() + r * stride);
    return out;
  }
  Buffer gather(Buffer& table, const Rows& rows) {
    const int64_t width = &table == &q_   ? case_.heads * case_.headDim
                          : &table == &k_ ? case_.kvHeads * case_.headDim
                                          : case_.kvHeads * case_.valuesOfHead();
    return gather(table, rows, attentionStride(width));
  }
  std::map<std::string, void*> cacheOperands(Rows& rows, Cache& cache) {
    return {{"seq", rows.seq.data()},
            {"block_table", blockTable_.data()},
            {"keys", cache.keys.data()},
            {"values", cache.values.data()}};
  }
  static LlmcStep stepOf(const Rows& rows) {
    return {.num_rows = rows.size(), .num_sequences = kSequences, .blocks_per_seq = kBlocksPerSeq};
  }
  int64_t bytes() const { return llmrt::dtypeBytes(case_.dtype); }
  int64_t keyDim() const {
    return case_.dtype == DType::kBF16 ? (case_.headDim + 1) / 2 * 2 : case_.headDim;
  }
  int64_t valueDim() const { return attentionStride(case_.valuesOfHead()); }

  const AttentionCase case_;
  LoadedKernels& kernels_;
  Buffer q_, k_, v_, sinks_;
  std::vector<int32_t> blockTable_ = {5, 0, 3, 6, 2, 7, 1, 4};  // out of order
};

class TreeTest : public testing::TestWithParam<AttentionCase> {};

/// Lengths of the sequence before the step: around the edges of blocks, and between.
constexpr int64_t kLengths[] = {0,  1,  2,  17,  37,  62,  63,  64, 65,
                                66, 90, 99, 126, 127, 128, 129, 130};

TEST_P(TreeTest, ARowGivesTheBitsOfItsBranchDecodedAlone) {
  for (const cpu::CpuTarget& target : targetsOfTest(GetParam().dtype == DType::kBF16)) {
    SCOPED_TRACE(target.name);
    auto kernels = LoadedKernels::compile(attentionModel(GetParam()), target);
    ASSERT_TRUE(kernels);
    Attention attention(GetParam(), *kernels);
    std::mt19937 rng(3);
    for (size_t n = 0; n < std::size(kLengths); ++n) {
      const int64_t lengths[] = {kLengths[n], kLengths[(5 * n + 3) % std::size(kLengths)]};
      SCOPED_TRACE(testing::Message() << "after " << lengths[0] << " and " << lengths[1]);
      Rows rows;
      if (n % 8 == 1) {
        addTree(rows, 0, lengths[0], 64, Shape::chain, rng);
      } else {
        const auto size = static_cast<int64_t>(1 + rng() % 48);
        addTree(rows, 0, lengths[0], size, n % 8 == 2 ? Shape::star : Shape::bushes, rng);
        addTree(rows, 1, lengths[1], static_cast<int64_t>(1 + rng() % 16), Shape::bushes, rng);
      }
      // A leaf that is infinite: nobody but itself is to notice.
      auto leaf = static_cast<int32_t>(rows.size()) - 1;
      attention.poison(rows, leaf, true);
      Cache prefix = attention.prefixes(lengths), cache = Attention::copyOf(prefix, attention);
      attention.write("verify", rows, cache);
      const auto verified = attention.attend("verify", rows, cache);
      attention.poison(rows, leaf, false);

      std::vector<bool> continued(rows.pos.size());
      for (int32_t parent : rows.parent)
        if (parent >= 0) continued[parent] = true;
      for (int32_t end = 0; end < rows.size(); ++end) {
        if (continued[end]) continue;
        const Rows branch = rows.branch(end);
        Cache alone = Attention::copyOf(prefix, attention);
        attention.write("decode", branch, alone);
        for (size_t i = 0; i < branch.pos.size(); ++i) {
          const auto row = static_cast<size_t>(branch.token[i] - kSequences * kMaxPrefix);
          if (static_cast<int32_t>(row) == leaf) continue;
          Rows last;
          last.add(branch, i);
          ASSERT_EQ(verified[row], attention.attend("decode", last, alone)[0]) << "row " << row;
        }
      }
    }
  }
}

TEST_P(TreeTest, AMoveLeavesTheCacheOfTheBranchDecodedAlone) {
  const cpu::CpuTarget target = runnableTargets().front();
  auto kernels = LoadedKernels::compile(attentionModel(GetParam()), target);
  ASSERT_TRUE(kernels);
  Attention attention(GetParam(), *kernels);
  std::mt19937 rng(4);
  for (int64_t length : {int64_t{0}, int64_t{1}, int64_t{40}, int64_t{63}, int64_t{120}}) {
    const int64_t lengths[] = {length, kMaxPrefix - length};
    Rows rows;
    addTree(rows, 0, lengths[0], 40, Shape::bushes, rng);
    addTree(rows, 1, lengths[1], 24, Shape::bushes, rng);
    Cache prefix = attention.prefixes(lengths), cache = Attention::copyOf(prefix, attention);
    attention.write("verify", rows, cache);
    Rows accepted = rows.branch(static_cast<int32_t>(20 + rng() % 20));
    const Rows second = rows.branch(static_cast<int32_t>(40 + rng() % 24));
    for (size_t i = 0; i < second.pos.size(); ++i) accepted.add(second, i);
    attention.move(accepted, cache);
    attention.write("decode", accepted, prefix);
    int64_t ends[] = {lengths[0], lengths[1]};
    for (int64_t i = 0; i < accepted.size(); ++i) ends[accepted.seq[i]] = accepted.pos[i] + 1;
    for (int64_t seq = 0; seq < kSequences; ++seq)
      for (int64_t pos = 0; pos < ends[seq]; ++pos)
        ASSERT_EQ(attention.tokenOf(cache, seq, pos), attention.tokenOf(prefix, seq, pos))
            << "position " << pos << " of sequence " << seq << " after " << length << " tokens";
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, TreeTest,
                         testing::Values(AttentionCase{DType::kF32, 4, 2, 16, 0},
                                         AttentionCase{DType::kF16, 8, 1, 24, 0},
                                         AttentionCase{DType::kBF16, 4, 1, 64, 0},
                                         AttentionCase{DType::kBF16, 4, 2, 20, 50, 0, 6.0, true},
                                         AttentionCase{DType::kF16, 6, 3, 16, 33, 0, 0, true},
                                         AttentionCase{DType::kF32, 4, 1, 28, 3, 20},
                                         AttentionCase{DType::kBF16, 3, 1, 9, 0},
                                         AttentionCase{DType::kBF16, 6, 2, 32, 70, 20, 6.0, true},
                                         AttentionCase{DType::kBF16, 24, 1, 32, 0}),
                         [](const auto& info) { return info.param.name(); });

// norm_qkv rotates by position and writes at the slot.
TEST(TreeQkv, RotatesByPositionAndWritesAtTheSlot) {
  std::string text =
      "llm.model @m architecture \"llama\" hidden_size 32 intermediate_size 64 num_heads 2 "
      "num_kv_heads 1 head_dim 16 num_layers 1 vocab_size 64 max_seq_len 256 max_batch 1 {\n"
      "  llm.weight @norm norm \"n\" : tensor<32xf32>\n"
      "  llm.weight @q matrix \"q\" : tensor<32x32xf32>\n"
      "  llm.weight @k matrix \"k\" : tensor<16x32xf32>\n"
      "  llm.rope_table @rope [1.0, 0.5, 0.25, 0.125, 0.1, 0.05, 0.02, 0.01]\n"
      "  llm.state @kv : !llm.kv<1x16xf32> layers 0:1\n";
  for (const std::string kind : {"decode", "verify"})
    text += "  llm.kernel @" + kind + " " + kind +
            " max_rows 16 row_strides [32, 32] {\n"
            "  ^bb0(%x: tensor<?x32xf32>, %rows: !llm.rows):\n"
            "    %y = llm.norm_qkv %x, %rows, @kv norm @norm eps 1.0e-5 proj @q, @k, @k rope @rope "
            ": tensor<?x32xf32> -> tensor<?x32xf32>\n    llm.yield %y : tensor<?x32xf32>\n  }\n";
  text += "}\n";
  std::mt19937 rng(5);
  constexpr int64_t kRows = 4;
  Buffer x(kRows * 32 * 4), norm(32 * 4), rope(2 * kBlock * 16 * 4);
  for (Buffer* b : {&x, &norm, &rope}) {
    const int64_t size = b == &x ? kRows * 32 : b == &norm ? 32 : 2 * kBlock * 16;
    const std::vector<float> values = randomFloats(size, rng);
    std::copy(values.begin(), values.end(), b->floats());
  }
  const PackedMatrix weight =
      packRandom(DType::kF32, {32, 16, 16}, 32, llmrt::PanelOrder::kHeads, 16, rng);
  std::vector<int32_t> pos = {63, 64, 64, 65}, slot = {63, 64, 65, 66}, seq = {0, 0, 0, 0},
                       table = {1, 0};
  for (const cpu::CpuTarget& target : runnableTargets()) {
    SCOPED_TRACE(target.name);
    auto kernels = LoadedKernels::compile(text, target);
    ASSERT_TRUE(kernels);
    auto run = [&](const char* kind, int64_t row, Buffer& keys, Buffer& values) {
      Buffer q(32 * 4);
      std::map<std::string, void*> operands = {{"x", x.floats() + row * 32},
                                               {"norm", norm.data()},
                                               {"weight", weight.packed->data()},
                                               {"rope", rope.data()},
                                               {"pos", &pos[row]},
                                               {"seq", seq.data()},
                                               {"block_table", table.data()},
                                               {"keys", keys.data()},
                                               {"values", values.data()},
                                               {"q", q.data()}};
      if (kind == std::string("verify")) operands["slot"] = &slot[row];
      kernels->run(kind, {.num_rows = 1, .num_sequences = 1, .blocks_per_seq = 2}, operands, 0, 4);
      return std::vector<float>(q.floats(), q.floats() + 32);
    };
    for (int64_t row = 0; row < kRows; ++row) {
      const int64_t bytes = 2 * kBlock * 16 * 4;
      Buffer keys(bytes), values(bytes), treeKeys(bytes), treeValues(bytes);
      EXPECT_EQ(run("verify", row, treeKeys, treeValues), run("decode", row, keys, values));
      auto token = [&](Buffer& k, Buffer& v, int32_t at) {
        std::vector<float> out;
        const float *block = k.floats() + table[at / kBlock] * 16 * kBlock,
                    *own = v.floats() + (table[at / kBlock] * kBlock + at % kBlock) * 16;
        for (int64_t i = 0; i < 16; ++i) out.push_back(block[i * kBlock + at % kBlock]);
        out.insert(out.end(), own, own + 16);
        return out;
      };
      EXPECT_EQ(token(treeKeys, treeValues, slot[row]), token(keys, values, pos[row]));
      EXPECT_NE(token(keys, values, pos[row]), std::vector<float>(32));
    }
  }
}

}  // namespace
}  // namespace llmc::test
