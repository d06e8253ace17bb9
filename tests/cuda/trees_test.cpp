// Rows of trees as device functions under the shim: each gives the bits that its branch gives
// decoded alone, and a move leaves the cache that decoding the branch leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "tests/cuda/device_fixture.h"

namespace llmc::test {
namespace {

/// Rows of a step over trees.
struct Tree {
  std::vector<int> pos, slot, parent, seq;
  int size() const { return static_cast<int>(pos.size()); }
  /// From the tree's beginning to `row`.
  std::vector<int> branchOf(int row) const {
    std::vector<int> rows;
    for (; row >= 0; row = parent[static_cast<size_t>(row)]) rows.insert(rows.begin(), row);
    return rows;
  }
};

enum Shape { kChain, kBushes, kStar };

/// Adds a tree of sequence `seq`, which has `length` tokens.
void addTree(Tree& tree, int seq, int length, int size, Shape shape, Random& random) {
  const int first = tree.size();
  for (int row = first; row < first + size; ++row) {
    // Mostly one of the last few, so that there are long branches.
    int parent = shape == kStar ? -1 : row - 1;
    if (shape == kBushes) parent -= static_cast<int>(random.rng() % 4);
    if (parent < first) parent = -1;
    tree.parent.push_back(parent);
    tree.pos.push_back(parent < 0 ? length : tree.pos[static_cast<size_t>(parent)] + 1);
    tree.slot.push_back(length + row - first);
    tree.seq.push_back(seq);
  }
}

/// Two sequences' caches, whose blocks lie out of order. What nobody has written is NaN, but for
/// what pads heads.
template <class Pool>
struct Cache {
  static constexpr int kSequences = 2, kBlocksPerSeq = 7, kBlocks = kSequences * kBlocksPerSeq;
  typedef typename Pool::Element Element;
  std::vector<Line> keys, values;
  Cache() : keys(lines(Pool::kPadded)), values(lines(Pool::kValuePadded)) {
    fill(keys, Pool::kDim, Pool::kPadded);
    fill(values, Pool::kValueDim, Pool::kValuePadded);
  }
  static void fill(std::vector<Line>& pool, int width, int padded) {
    std::memset(pool.data(), 0xff, pool.size() * sizeof(Line));
    for (int i = 0; i < kBlocks * Pool::kHeads * kBlockTokens; ++i) {
      auto* const vector = reinterpret_cast<Element*>(pool.data()) + i * padded;
      std::fill(vector + width, vector + padded, Element{});
    }
  }
  static size_t lines(int width) {
    return static_cast<size_t>(kBlocks) * Pool::kHeads * kBlockTokens * width * sizeof(Element) /
           sizeof(Line);
  }
};

/// Attention of one form, and the tokens that it works on.
template <class Pool, int kHeads, int kWindow, int kParts>
class Trees {
 public:
  static constexpr int kDim = Pool::kDim, kValueDim = Pool::kValueDim, kMostPrefix = 330;
  static constexpr int kTokens = Cache<Pool>::kSequences * kMostPrefix + kTreeRows;
  static constexpr int kKStride = Pool::kHeads * kDim, kVStride = Pool::kHeads * kValueDim;
  static constexpr int kQStride = kHeads * kDim + 8, kYStride = kHeads * kValueDim + 4;
  typedef Attention<Pool, kHeads, kWindow, kQStride, kYStride, kParts> A;

  Trees(float cap, bool sinks) : cap_(cap) {
    for (std::vector<float>* v : {&k_, &v_, &q_}) {
      v->resize(static_cast<size_t>(kTokens) * (v == &k_   ? kKStride
                                                : v == &v_ ? kVStride
                                                           : kQStride));
      for (float& f : *v) f = random_(3);
    }
    if (sinks)
      for (int h = 0; h < kHeads; ++h) sinks_.push_back(random_(2));
    for (size_t i = 0; i < table_.size(); ++i) table_[i] = static_cast<int>((5 * i + 3) % 14);
  }
  Random& random() { return random_; }

  /// Tokens of a prefix; of a row.
  static int prefixToken(int seq, int pos) { return seq * kMostPrefix + pos; }
  static int rowToken(int row) { return Cache<Pool>::kSequences * kMostPrefix + row; }

  Cache<Pool> prefixes(const int (&lengths)[2]) {
    Cache<Pool> cache;
    for (int seq = 0; seq < 2; ++seq) {
      Tree rows;
      std::vector<int> tokens;
      for (int pos = 0; pos < lengths[seq]; ++pos) {
        rows.pos.push_back(pos);
        rows.seq.push_back(seq);
        tokens.push_back(prefixToken(seq, pos));
      }
      write(cacheRows(rows), tokens, cache);
    }
    return cache;
  }
  CacheRows cacheRows(const Tree& t) const { return {t.pos.data(), t.seq.data(), table_.data()}; }
  TreeRows treeRows(const Tree& t) const { return {cacheRows(t), t.slot.data(), t.parent.data()}; }

  template <class Rows>
  void write(const Rows& rows, const std::vector<int>& tokens, Cache<Pool>& cache) {
    if (tokens.empty()) return;
    const Call call(tokens.size());
    const auto k = gather(k_, kKStride, tokens), v = gather(v_, kVStride, tokens);
    launch({1, static_cast<unsigned>(tokens.size())}, 32, 0, [&] {
      kvWriteRow<Pool, kKStride, kVStride>(call.args, k.data(), v.data(), rows, cache.keys.data(),
                                           cache.values.data());
    });
  }
  /// A row's outputs each, of sequences that have up to `most` tokens with the step's.
  template <class Rows>
  std::vector<std::vector<float>> attend(const Rows& rows, const std::vector<int>& tokens, int most,
                                         Cache<Pool>& cache) {
    const Call call(tokens.size());
    const auto count = static_cast<unsigned>(tokens.size());
    const auto q = gather(q_, kQStride, tokens);
    const int chunks = (most - 1) / A::kChunk + 1;
    Bytes y(count * kYStride * 4);
    std::vector<u32> counters(count * Pool::kHeads * kParts);
    std::vector<float> partials(
        count * Pool::kHeads * static_cast<unsigned>(chunks) * A::kRounds * A::kPartialFloats, NAN);
    launch({Pool::kHeads * kParts, count, static_cast<unsigned>(chunks)}, 256, 0, [&] {
      A::split(call.args, q.data(), rows, cache.keys.data(), cache.values.data(), y.floats(), 0.3f,
               counters.data(), partials.data(), chunks, cap_,
               sinks_.empty() ? nullptr : sinks_.data());
    });
    EXPECT_EQ(std::count(counters.begin(), counters.end(), 0u), std::ssize(counters));
    std::vector<std::vector<float>> rows_of_y;
    for (unsigned m = 0; m < count; ++m)
      rows_of_y.emplace_back(y.floats() + m * kYStride,
                             y.floats() + m * kYStride + kHeads * kValueDim);
    return rows_of_y;
  }
  void move(const Tree& tree, Cache<Pool>& cache) {
    const Call call(tree.pos.size());
    TreeRows rows = treeRows(tree);
    rows.parent = nullptr;
    launch({Pool::kHeads}, 128, 0,
           [&] { kvMove<Pool>(call.args, rows, cache.keys.data(), cache.values.data()); });
  }
  /// What the cache has of a token.
  std::vector<typename Pool::Element> tokenOf(Cache<Pool>& cache, int seq, int pos) const {
    std::vector<typename Pool::Element> out;
    Tree none;
    const Call call(1);
    for (int head = 0; head < Pool::kHeads; ++head) {
      const auto *k = Pool::at(cache.keys.data(), call.step, cacheRows(none), seq, pos, head),
                 *v =
                     Pool::valueAt(cache.values.data(), call.step, cacheRows(none), seq, pos, head);
      out.insert(out.end(), k, k + kDim);
      out.insert(out.end(), v, v + kValueDim);
    }
    return out;
  }

 private:
  struct Call {
    Step step{};
    Args args{};
    explicit Call(size_t rows) {
      step.num_rows = static_cast<i64>(rows);
      step.num_sequences = Cache<Pool>::kSequences;
      step.blocks_per_seq = Cache<Pool>::kBlocksPerSeq;
      args.step = &step;
    }
    Call(const Call&) = delete;
  };
  static std::vector<float> gather(const std::vector<float>& from, int stride,
                                   const std::vector<int>& tokens) {
    std::vector<float> to;
    for (int t : tokens)
      to.insert(to.end(), from.begin() + t * stride, from.begin() + (t + 1) * stride);
    return to;
  }

  Random random_;
  const float cap_;
  std::vector<float> k_, v_, q_, sinks_;
  std::vector<int> table_ = std::vector<int>(Cache<Pool>::kBlocks);
};

std::vector<int> rowTokens(const std::vector<int>& rows, int (*token)(int)) {
  std::vector<int> tokens;
  for (int row : rows) tokens.push_back(token(row));
  return tokens;
}

template <class Pool, int kHeads, int kWindow = 0, int kParts = 1>
void expectBranches(float cap = 0, bool sinks = false) {
  typedef Trees<Pool, kHeads, kWindow, kParts> Form;
  Form form(cap, sinks);
  Random& random = form.random();
  // Around the edges of blocks and of chunks (256), and between.
  const int kLengths[] = {0, 1, 17, 62, 63, 64, 65, 90, 127, 128, 130, 192, 225, 255, 256, 300};
  const int count = static_cast<int>(std::size(kLengths));
  for (int n = 0; n < count; ++n) {
    const int lengths[] = {kLengths[n], kLengths[(5 * n + 3) % count]};
    SCOPED_TRACE(testing::Message() << "after " << lengths[0] << " and " << lengths[1]);
    Tree tree;
    if (n % 8 == 4) {
      addTree(tree, 0, lengths[0], kTreeRows, kChain, random);
    } else {
      addTree(tree, 0, lengths[0], 1 + static_cast<int>(random.rng() % 20),
              n % 8 == 2 ? kStar : kBushes, random);
      addTree(tree, 1, lengths[1], 1 + static_cast<int>(random.rng() % 8), kBushes, random);
    }
    std::vector<int> all(static_cast<size_t>(tree.size()));
    std::iota(all.begin(), all.end(), 0);
    Cache<Pool> prefix = form.prefixes(lengths), cache = prefix;
    form.write(form.treeRows(tree), rowTokens(all, Form::rowToken), cache);
    const int most = *std::max_element(tree.pos.begin(), tree.pos.end()) + 1;
    const auto verified =
        form.attend(form.treeRows(tree), rowTokens(all, Form::rowToken), most, cache);
    std::vector<bool> continued(all.size());
    for (int parent : tree.parent)
      if (parent >= 0) continued[static_cast<size_t>(parent)] = true;
    for (int end : all) {
      if (continued[static_cast<size_t>(end)]) continue;
      Tree branch;
      Cache<Pool> alone = prefix;
      for (int row : tree.branchOf(end)) {
        const auto r = static_cast<size_t>(row);
        Tree one;
        one.pos = {tree.pos[r]};
        one.seq = {tree.seq[r]};
        form.write(form.cacheRows(one), {Form::rowToken(row)}, alone);
        ASSERT_EQ(
            form.attend(form.cacheRows(one), {Form::rowToken(row)}, tree.pos[r] + 1, alone)[0],
            verified[r])
            << "row " << row;
      }
    }
  }
}

TEST(CudaTrees, ARowGivesTheBitsOfItsBranchDecodedAlone) {
  expectBranches<KvPool<BF16, 2, 64>, 4>();
  expectBranches<KvPool<F32, 1, 20>, 3, 50>(6.0f, true);
  expectBranches<KvPool<F16, 1, 24>, 6, 200, 2>(0, true);  // two blocks a head
}

TEST(CudaTrees, SoItDoesOverLatents) {
  expectBranches<KvPool<BF16, 1, 40, 24>, 9, 0, 2>(2.0f);
  expectBranches<KvPool<BF16, 1, 272, 256>, 3>();  // wide: two heads at once
}

template <class Pool>
void expectMoves() {
  typedef Trees<Pool, Pool::kHeads, 0, 1> Form;
  Form form(0, false);
  Random& random = form.random();
  for (int length : {0, 1, 40, 63, 120}) {
    SCOPED_TRACE(length);
    const int lengths[] = {length, 300 - length};
    Tree tree;
    addTree(tree, 0, lengths[0], 40, kBushes, random);
    addTree(tree, 1, lengths[1], 24, kBushes, random);
    std::vector<int> all(static_cast<size_t>(tree.size()));
    std::iota(all.begin(), all.end(), 0);
    Cache<Pool> alone = form.prefixes(lengths), cache = alone;
    form.write(form.treeRows(tree), rowTokens(all, Form::rowToken), cache);
    std::vector<int> accepted = tree.branchOf(20 + static_cast<int>(random.rng() % 20));
    for (int row : tree.branchOf(40 + static_cast<int>(random.rng() % 24))) accepted.push_back(row);
    Tree kept;
    int ends[] = {lengths[0], lengths[1]};
    for (int row : accepted) {
      const auto r = static_cast<size_t>(row);
      kept.pos.push_back(tree.pos[r]);
      kept.slot.push_back(tree.slot[r]);
      kept.seq.push_back(tree.seq[r]);
      ends[tree.seq[r]] = tree.pos[r] + 1;
    }
    form.move(kept, cache);
    form.write(form.cacheRows(kept), rowTokens(accepted, Form::rowToken), alone);
    for (int seq = 0; seq < 2; ++seq)
      for (int pos = 0; pos < ends[seq]; ++pos)
        ASSERT_TRUE(form.tokenOf(cache, seq, pos) == form.tokenOf(alone, seq, pos))
            << "position " << pos << " of sequence " << seq;
  }
}

TEST(CudaTrees, AMoveLeavesTheCacheOfTheBranchDecodedAlone) {
  expectMoves<KvPool<BF16, 2, 64>>();
  expectMoves<KvPool<F32, 3, 20>>();
  expectMoves<KvPool<F16, 1, 576, 512>>();
}

/// Trees of two sequences, one of which has a few tokens only.
Tree twoTrees(Shape shape, Random& random) {
  Tree tree;
  addTree(tree, 1, 0, 24, shape, random);
  addTree(tree, 0, 0, 7, kBushes, random);
  return tree;
}

/// Random values of a tree's rows.
struct RowsOf {
  std::vector<float> values;
  int stride;
  RowsOf(int rows, int stride, float scale, Random& random) : stride(stride) {
    while (std::ssize(values) < rows * stride) values.push_back(random(scale));
  }
  std::vector<float> of(const std::vector<int>& rows) const {
    std::vector<float> out;
    for (int row : rows)
      out.insert(out.end(), values.begin() + row * stride, values.begin() + (row + 1) * stride);
    return out;
  }
};

/// run(rows of the tree, SlotRows or TreeSlotRows, state) gives their outputs, so wide. Each row of
/// a step over the tree has to have that of its branch alone, and the state has to stay.
template <class Run>
void expectSameAlone(const Tree& tree, const std::vector<float>& state, int width, Run run) {
  const int slots[] = {2, 0};
  std::vector<int> all(tree.pos.size());
  std::iota(all.begin(), all.end(), 0);
  std::vector<float> kept = state;
  const std::vector<float> verified =
      run(all, TreeSlotRows{{tree.seq.data(), slots}, tree.parent.data()}, kept);
  EXPECT_EQ(kept, state);
  for (int row : all) {
    const std::vector<int> branch = tree.branchOf(row);
    const std::vector<int> seq(branch.size(), tree.seq[static_cast<size_t>(row)]);
    std::vector<float> alone = state;
    const std::vector<float> y = run(branch, SlotRows{seq.data(), slots}, alone);
    ASSERT_TRUE(std::equal(y.end() - width, y.end(), verified.begin() + row * width))
        << "row " << row << ", " << branch.size() << " deep";
    ASSERT_NE(alone, state);
  }
}

/// kOthers: with a bias and a gate.
template <class T, int kCols, int kTaps, bool kOthers = false>
void expectConvolutions() {
  constexpr int kStride = kCols + 3, kGateStride = kCols + 1;
  Random random;
  std::vector<float> state(3 * (kTaps - 1) * kCols), bias(kCols);
  for (std::vector<float>* v : {&state, &bias})
    for (float& f : *v) f = random(2);
  Bytes weight(kTaps * kCols * 4);
  for (int i = 0; i < kTaps * kCols; ++i)
    llmrt::storeFromF32(kDType<T>, weight.data(), i, random(1));
  for (const Shape shape : {kChain, kBushes, kStar}) {
    const Tree tree = twoTrees(shape, random);
    const RowsOf x(tree.size(), kStride, 2, random), gate(tree.size(), kGateStride, 1, random);
    expectSameAlone(
        tree, state, kCols,
        [&](const std::vector<int>& rows, const auto& of, std::vector<float>& slots) {
          const TestStep step(static_cast<int>(rows.size()));
          const std::vector<float> in = x.of(rows), gates = gate.of(rows);
          std::vector<float> y(rows.size() * kCols);
          launch({(kCols + kConvThreads - 1) / kConvThreads, static_cast<unsigned>(rows.size())},
                 kConvThreads, 0, [&] {
                   causalConv<T, kCols, kTaps, kSilu, kStride, kCols, kGateStride>(
                       step.args, in.data(), weight.data(), of, slots.data(), y.data(),
                       kOthers ? bias.data() : nullptr, kOthers ? gates.data() : nullptr);
                 });
          return y;
        });
  }
}

TEST(CudaTrees, ConvolutionsGoBackThroughAncestors) {
  expectConvolutions<BF16, 150, 4>();
  expectConvolutions<F32, 33, 2>();
  expectConvolutions<BF16, 40, 4, true>();
}

template <int kKeyHeads, int kHeads, int kKeyDim, int kValueDim, bool kTiled = false>
void expectDeltas() {
  constexpr int kQkv = 2 * kKeyHeads * kKeyDim + kHeads * kValueDim + 1, kGate = kHeads + 3,
                kBeta = kHeads + 2, kOut = kHeads * kValueDim;
  Random random;
  std::vector<float> state(3 * kHeads * kKeyDim * kValueDim), a_log(kHeads), dt_bias(kHeads);
  for (std::vector<float>* v : {&state, &a_log, &dt_bias})
    for (float& f : *v) f = random(1);
  for (const Shape shape : {kChain, kBushes, kStar}) {
    const Tree tree = twoTrees(shape, random);
    const RowsOf qkv(tree.size(), kQkv, 2, random), gate(tree.size(), kGate, 9, random),
        beta(tree.size(), kBeta, 5, random);
    expectSameAlone(
        tree, state, kOut,
        [&](const std::vector<int>& rows, const auto& of, std::vector<float>& slots) {
          const TestStep step(static_cast<int>(rows.size()));
          const std::vector<float> in = qkv.of(rows), gates = gate.of(rows), betas = beta.of(rows);
          std::vector<float> y(rows.size() * kOut);
          launch(
              {kHeads * ((kValueDim + 31) / 32), static_cast<unsigned>(rows.size())}, kStateThreads,
              0, [&] {
                gatedDelta<kKeyHeads, kHeads, kTiled, kKeyDim, kValueDim, kQkv, kGate, kBeta, kOut>(
                    step.args, in.data(), gates.data(), betas.data(), a_log.data(), dt_bias.data(),
                    of, slots.data(), y.data(), 1e-6f);
              });
          return y;
        });
  }
}

TEST(CudaTrees, TheGatedDeltaRuleGoesDownTheBranch) {
  expectDeltas<1, 2, 128, 64>();
  expectDeltas<2, 4, 12, 20>();
  expectDeltas<2, 6, 12, 20, true>();
}

template <int kHeads, int kGroups, int kStateSize, int kHeadDim>
void expectStateSpaces() {
  constexpr int kInner = kHeads * kHeadDim, kXbc = kInner + 2 * kGroups * kStateSize + 1,
                kDt = kHeads + 3, kGate = kInner + 2;
  Random random;
  std::vector<float> state(3 * kHeads * kStateSize * kHeadDim), a(kHeads), dt_bias(kHeads),
      d(kHeads);
  for (std::vector<float>* v : {&state, &a, &dt_bias, &d})
    for (float& f : *v) f = random(1);
  for (const Shape shape : {kChain, kBushes, kStar}) {
    const Tree tree = twoTrees(shape, random);
    const RowsOf xbc(tree.size(), kXbc, 2, random), dt(tree.size(), kDt, 4, random),
        gate(tree.size(), kGate, 1, random);
    expectSameAlone(
        tree, state, kInner,
        [&](const std::vector<int>& rows, const auto& of, std::vector<float>& slots) {
          const TestStep step(static_cast<int>(rows.size()));
          const std::vector<float> in = xbc.of(rows), times = dt.of(rows), gates = gate.of(rows);
          std::vector<float> y(rows.size() * kInner);
          launch(
              {kHeads * ((kHeadDim + 31) / 32), static_cast<unsigned>(rows.size())}, kStateThreads,
              0, [&] {
                stateSpace<kHeads, kGroups, kStateSize, kHeadDim, false, kXbc, kDt, kInner, kGate>(
                    step.args, in.data(), times.data(), gates.data(), a.data(), dt_bias.data(),
                    d.data(), of, slots.data(), y.data(), 0.001f, infinity());
              });
          return y;
        });
  }
}

TEST(CudaTrees, StateSpacesGoDownTheBranch) {
  expectStateSpaces<2, 1, 128, 64>();
  expectStateSpaces<4, 2, 12, 20>();
}

TEST(CudaTrees, RowsAreKeptAndTakenUpByNumber) {
  constexpr int kCols = 300, kStride = 304;
  Random random;
  const RowsOf x(5, kStride, 1, random);
  std::vector<float> kept(8 * kCols, NAN), y(3 * kStride, NAN);
  const TestStep five(5), three(3);
  launch({1, 5}, 128, 0,
         [&] { copyRow<kCols, kStride, kCols>(five.args, x.values.data(), nullptr, kept.data()); });
  const int of_row[] = {0, 2, 3};
  launch({1, 3}, 128, 0,
         [&] { copyRow<kCols, kCols, kStride>(three.args, kept.data(), of_row, y.data()); });
  for (int row = 0; row < 3; ++row)
    for (int col = 0; col < kStride; ++col) {
      const float v = y[static_cast<size_t>(row * kStride + col)];
      if (col < kCols)
        ASSERT_EQ(v, x.values[static_cast<size_t>(of_row[row] * kStride + col)]);
      else
        ASSERT_TRUE(std::isnan(v)) << "behind a row";
    }
}

}  // namespace
}  // namespace llmc::test
