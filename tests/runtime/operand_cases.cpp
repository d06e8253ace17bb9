#include "tests/runtime/operand_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace llmrt::example {
namespace {

using schema::Access;
using schema::Axis;
using schema::PlanT;
using schema::Space;

constexpr Access kWrite = Access::write;
using Ids = std::vector<int32_t>;
using Floats = std::vector<float>;

template <typename T>
std::span<const std::byte> bytes(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}
template <typename T>
void set(Session& session, const char* name, const std::vector<T>& values) {
  const Status s = session.setInput(name, bytes(values));
  EXPECT_TRUE(s.ok()) << s.message();
}
void run(Session& session, std::span<const StepToken> tokens) {
  const Status s = session.step(tokens);
  ASSERT_TRUE(s.ok()) << s.message();
}
Floats logitsOf(const Session& session, int64_t i = 0) {
  return {session.logits(i).begin(), session.logits(i).end()};
}
/// Row `row` of an output.
template <typename T = float>
std::vector<T> rowOf(const Session& session, const char* name, int64_t row) {
  const StepOutput out = session.output(name);
  EXPECT_LT(row, out.rows) << name;
  if (row >= out.rows) return {};
  const auto* begin =
      reinterpret_cast<const T*>(out.data + static_cast<uint64_t>(row) * out.row_bytes);
  return {begin, begin + out.width};
}

void addOutput(schema::EntryPointT& entry, const char* name, Axis axis, uint32_t buffer) {
  entry.outputs.push_back(std::make_unique<schema::OutputT>());
  entry.outputs.back()->name = name;
  entry.outputs.back()->axis = axis;
  entry.outputs.back()->buffer = buffer;
}
uint32_t addInput(schema::EntryPointT& entry, const char* name, Axis axis,
                  schema::DType dtype = schema::DType::i32, uint32_t width = 1) {
  entry.inputs.push_back(input(name, axis, dtype, width));
  return static_cast<uint32_t>(entry.inputs.size() - 1);
}
/// The only phase of a new last section, or of the first one.
schema::PhaseT& addSection(schema::EntryPointT& entry, std::unique_ptr<schema::PhaseT> of) {
  auto section = std::make_unique<schema::SectionT>();
  section->num_layers = 1;
  section->phases.push_back(std::move(of));
  entry.sections.push_back(std::move(section));
  return *entry.sections.back()->phases.back();
}

/// A kernel of (token_id, an input by row) -> an output of one number by row.
void addRowOp(PlanT& p, const char* symbol, const char* input_name) {
  const uint32_t kernel = addKernel(p, symbol);
  for (auto& entry : p.entry_points) {
    const uint32_t given = addInput(*entry, input_name, Axis::row);
    const uint32_t out = addBuffer(*entry, "out", entry->max_rows, 1);
    addSection(
        *entry,
        phase(symbol, kernel,
              {{Space::input, 0}, {Space::input, given}, {Space::arena, out, kWrite}}, 1, 0));
    addOutput(*entry, "out", Axis::row, out);
  }
}

OperandCase parents() {
  return {"ParentRows",
          [](PlanT& p) { addRowOp(p, "operand_path_sum", "parent"); },
          {{"parent", DType::kI32, Axis::row}},
          [](const Model&, Session& session) {
            //   5 - 7 - 9
            //     \ 8
            set(session, "parent", Ids{-1, 0, 1, 0});
            const StepToken tokens[] = {{1, 5}, {1, 7}, {1, 9}, {1, 8, true}};
            run(session, tokens);
            EXPECT_EQ(rowOf(session, "out", 2), Floats{21});
            EXPECT_EQ(rowOf(session, "out", 3), Floats{13});
            // Values are of as many rows as the step has.
            const Status s = session.decode(1, 5);
            EXPECT_EQ(
                s.message(),
                "input 'parent' of entry point decode has values for 4, the step has 1 by row");
            EXPECT_EQ(session.kvLen(1), 4);
          }};
}

OperandCase ranges() {
  return {"ARangePastTheRow",
          [](PlanT& p) { addRowOp(p, "operand_range_sum", "range_end"); },
          {{"range_end", DType::kI32, Axis::row}},
          [](const Model&, Session& session) {
            set(session, "range_end", Ids{3, 3, 3, 5, 5});
            const StepToken tokens[] = {{0, 1}, {0, 2}, {0, 3}, {2, 4}, {2, 5, true}};
            run(session, tokens);
            EXPECT_EQ(rowOf(session, "out", 0), Floats{6});
            EXPECT_EQ(rowOf(session, "out", 2), Floats{3});
            EXPECT_EQ(rowOf(session, "out", 3), Floats{9});
          }};
}

OperandCase threePositions() {
  return {"ThreePositionsARow",
          [](PlanT& p) {
            const uint32_t kernel = addKernel(p, "operand_positions");
            for (auto& entry : p.entry_points) {
              const uint32_t given =
                  addInput(*entry, "positions", Axis::row, schema::DType::i32, 3);
              const uint32_t out = addBuffer(*entry, "out", entry->max_rows, 1);
              addSection(*entry, phase("positions", kernel,
                                       {{Space::input, given}, {Space::arena, out, kWrite}}, 1, 0));
              addOutput(*entry, "out", Axis::row, out);
            }
          },
          {{"positions", DType::kI32, Axis::row, 3}},
          [](const Model&, Session& session) {
            set(session, "positions", Ids{1, 2, 3, 4, 5, 6});
            const StepToken tokens[] = {{0, 1}, {0, 2, true}};
            run(session, tokens);
            EXPECT_EQ(rowOf(session, "out", 0), Floats{10203});
            EXPECT_EQ(rowOf(session, "out", 1), Floats{40506});
          }};
}

/// The row of a token in the first weight.
Floats embeddingOf(const Model& model, int32_t token) {
  const auto* table = reinterpret_cast<const float*>(model.weights->data(0, 0));
  return {table + token * kHidden, table + (token + 1) * kHidden};
}

OperandCase embeddings() {
  return {"EmbeddingsIn",
          [](PlanT& p) {
            const uint32_t kernel = addKernel(p, "operand_embeddings");
            for (auto& entry : p.entry_points) {
              const uint32_t given =
                  addInput(*entry, "embeddings", Axis::row, schema::DType::f32, kHidden);
              entry->sections[0]->phases[0] =
                  phase("embed", kernel, {{Space::input, given}, {Space::arena, kX, kWrite}}, 1, 0);
            }
          },
          {{"embeddings", DType::kF32, Axis::row, kHidden}},
          [](const Model& model, Session& session) {
            const Ids ids = {4, 7, 11, 30, 2, 9};
            Floats rows;
            std::vector<StepToken> tokens;
            for (const int32_t id : ids) {
              const Floats row = embeddingOf(model, id);
              rows.insert(rows.end(), row.begin(), row.end());
              tokens.push_back({0, 0, id == ids.back()});  // whatever their ids
            }
            set(session, "embeddings", rows);
            run(session, tokens);
            const Floats got = logitsOf(session), want = referenceLogits(model, ids);
            for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4) << i;
          }};
}

OperandCase pooled() {
  return {
      "HiddenRowsPooledVectorsAndScoresOut",
      [](PlanT& p) {
        // An entry point of a kind of its own, without logits.
        auto entry = std::make_unique<schema::EntryPointT>(*p.entry_points[1]);
        entry->name = "embed";
        entry->kind = schema::StepKind::embed;
        entry->sections.pop_back();
        entry->outputs.clear();
        const uint32_t pooled = addBuffer(*entry, "pooled", kMaxBatch, kHidden);
        addSection(
            *entry,
            phase("pool", addKernel(p, "operand_pool"),
                  {{Space::arena, kX}, {Space::input, 2}, {Space::arena, pooled, kWrite}}, 1, 0))
            .axis = Axis::sequence;
        const uint32_t scores = addBuffer(*entry, "scores", entry->max_rows, 1);
        addSection(
            *entry,
            phase("score", addKernel(p, "operand_score"),
                  {{Space::arena, kX}, {Space::input, 3}, {Space::arena, scores, kWrite}}, 1, 0))
            .axis = Axis::logits_row;
        addOutput(*entry, "hidden", Axis::row, kX);
        addOutput(*entry, "pooled", Axis::sequence, pooled);
        addOutput(*entry, "scores", Axis::logits_row, scores);
        p.entry_points.push_back(std::move(entry));
      },
      {},
      [](const Model&, Session& session) {
        const StepToken tokens[] = {{0, 5}, {0, 6, true}, {2, 7, true}};
        const Status s = session.step(tokens, schema::StepKind::embed);
        ASSERT_TRUE(s.ok()) << s.message();
        EXPECT_EQ(session.numLogitsRows(), 0);
        EXPECT_EQ(session.output("logits").data, nullptr);
        const StepOutput pooled = session.output("pooled");
        EXPECT_EQ(pooled.rows, kMaxBatch);
        EXPECT_EQ(pooled.width, kHidden);
        EXPECT_EQ(session.output("scores").rows, 2);
        const Floats a = rowOf(session, "hidden", 0), b = rowOf(session, "hidden", 1),
                     c = rowOf(session, "hidden", 2);
        const Floats first = rowOf(session, "pooled", 0);
        for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i], a[i] + b[i]);
        EXPECT_EQ(rowOf(session, "pooled", 1), Floats(kHidden));
        EXPECT_EQ(rowOf(session, "pooled", 2), c);
        EXPECT_EQ(rowOf(session, "scores", 0), Floats{b[0] - b[1]});
        EXPECT_EQ(rowOf(session, "scores", 1), Floats{c[0] - c[1]});
        // Steps of text go through the others.
        ASSERT_TRUE(session.decode(1, 3).ok());
        EXPECT_EQ(session.output("pooled").data, nullptr);
        EXPECT_EQ(session.output("logits").rows, 1);
      }};
}

constexpr uint32_t kMostRank = 3, kTables = 2 * 2 * kMostRank * kHidden;

OperandCase adapters() {
  return {"AnAdapterTableWithRanks",
          [](PlanT& p) {
            const uint32_t kernel = addKernel(p, "operand_adapter");
            for (auto& entry : p.entry_points) {
              const uint32_t adapter = addInput(*entry, "adapter", Axis::sequence);
              const uint32_t ranks =
                  addInput(*entry, "adapter_ranks", Axis::step, schema::DType::i32, 2);
              const uint32_t tables =
                  addInput(*entry, "adapters", Axis::step, schema::DType::f32, kTables);
              auto& phases = entry->sections[0]->phases;
              phases.push_back(phase("adapter", kernel,
                                     {{Space::input, 2},
                                      {Space::input, adapter},
                                      {Space::input, ranks},
                                      {Space::input, tables},
                                      {Space::arena, kX, Access::read_write}},
                                     1, 0));
            }
          },
          {{"adapter", DType::kI32, Axis::sequence},
           {"adapter_ranks", DType::kI32, Axis::step, 2},
           {"adapters", DType::kF32, Axis::step, kTables}},
          [](const Model& model, Session& session) {
            Floats tables(kTables);
            for (size_t i = 0; i < tables.size(); ++i)
              tables[i] = static_cast<float>(i * 37 % 11) / 11 - 0.4f;
            set(session, "adapters", tables);
            set(session, "adapter_ranks", Ids{1, 3});
            set(session, "adapter", Ids{-1, 0, 1});
            const StepToken tokens[] = {{0, 5, true}, {1, 5, true}, {2, 5, true}};
            run(session, tokens);
            const Floats plain = logitsOf(session, 0), one = logitsOf(session, 1),
                         three = logitsOf(session, 2);
            const Floats want = referenceLogits(model, {5});
            for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(plain[i], want[i], 1e-4);
            EXPECT_NE(one, plain);
            EXPECT_NE(three, plain);
            EXPECT_NE(three, one);
            // Values stay, and so do sequences that have none.
            session.reset(0);
            set(session, "adapter", Ids{1, 0, -1});
            ASSERT_TRUE(session.decode(0, 5).ok());
            EXPECT_EQ(logitsOf(session), three);
          }};
}

constexpr uint32_t kMostBlocks = 4;

OperandCase blockLists() {
  return {"BlockListsPerRowAndHead",
          [](PlanT& p) {
            const uint32_t kernel = addKernel(p, "operand_block_lists");
            for (auto& entry : p.entry_points) {
              const uint32_t lists = addInput(*entry, "blocks", Axis::row, schema::DType::i32,
                                              kNumHeads * kMostBlocks);
              // The last layer's a, as it was made.
              entry->sections[1]->phases[1] = phase("attention", kernel,
                                                    {{Space::input, 1},
                                                     {Space::input, 2},
                                                     {Space::block_table, 0},
                                                     {Space::keys, 0},
                                                     {Space::values, 0},
                                                     {Space::input, lists},
                                                     {Space::arena, kA, kWrite}},
                                                    1, 0);
              addOutput(*entry, "attended", Axis::row, kA);
            }
          },
          {{"blocks", DType::kI32, Axis::row, kNumHeads * kMostBlocks}},
          [](const Model& model, Session& session) {
            // 130 tokens of one sequence: three blocks. The values of layer 0 are embeddings, but
            // what is seen is the last layer's, so lists that name no block leave x as it is.
            const Ids none(kNumHeads * kMostBlocks, -1);
            for (int i = 0; i < 129; ++i) {
              set(session, "blocks", none);
              ASSERT_TRUE(session.decode(1, (i * 7 + 3) % kVocab).ok());
            }
            // Head 0 sees block 1 alone, head 1 blocks 2 and 0.
            set(session, "blocks", Ids{1, -1, -1, -1, 2, 0, -1, -1});
            ASSERT_TRUE(session.decode(1, (129 * 7 + 3) % kVocab).ok());
            const Floats got = rowOf(session, "attended", 0);
            // The last layer's values of earlier tokens are their embeddings, this one's is not: it
            // lies in block 2, so only the rest of that is known.
            Floats want(kHidden);
            for (int t = 64; t < 128; ++t) {
              const Floats row = embeddingOf(model, (t * 7 + 3) % kVocab);
              for (int d = 0; d < kHeadDim; ++d) want[d] += row[d];
            }
            for (int d = 0; d < kHeadDim; ++d) EXPECT_NEAR(got[d], want[d], 1e-4) << d;
            EXPECT_NE(got[kHeadDim], 0);
          }};
}

constexpr uint32_t kTop = 4;

OperandCase choices() {
  return {"MaskBiasAndCountsInIdAndLogprobsOut",
          [](PlanT& p) {
            const uint32_t kernel = addKernel(p, "operand_choose");
            for (auto& entry : p.entry_points) {
              const uint32_t rows = entry->max_logits_rows;
              const uint32_t mask =
                  addInput(*entry, "grammar_mask", Axis::logits_row, schema::DType::i32, 2);
              const uint32_t bias =
                  addInput(*entry, "logit_bias", Axis::logits_row, schema::DType::f32, kVocab);
              const uint32_t counts =
                  addInput(*entry, "token_counts", Axis::logits_row, schema::DType::i32, kVocab);
              const uint32_t id = addBuffer(*entry, "id", rows, 1, schema::DType::i32);
              const uint32_t logprob = addBuffer(*entry, "logprob", rows, 1);
              const uint32_t top_ids = addBuffer(*entry, "top_ids", rows, kTop, schema::DType::i32);
              const uint32_t top = addBuffer(*entry, "top_logprobs", rows, kTop);
              addSection(*entry, phase("choose", kernel,
                                       {{Space::arena, kLogitsBuffer},
                                        {Space::input, mask},
                                        {Space::input, bias},
                                        {Space::input, counts},
                                        {Space::arena, id, kWrite},
                                        {Space::arena, logprob, kWrite},
                                        {Space::arena, top_ids, kWrite},
                                        {Space::arena, top, kWrite}},
                                       1, 0))
                  .axis = Axis::logits_row;
              addOutput(*entry, "id", Axis::logits_row, id);
              addOutput(*entry, "logprob", Axis::logits_row, logprob);
              addOutput(*entry, "top_ids", Axis::logits_row, top_ids);
              addOutput(*entry, "top_logprobs", Axis::logits_row, top);
            }
          },
          {{"grammar_mask", DType::kI32, Axis::logits_row, 2},
           {"logit_bias", DType::kF32, Axis::logits_row, kVocab},
           {"token_counts", DType::kI32, Axis::logits_row, kVocab}},
          [](const Model&, Session& session) {
            Ids mask = {-1, -1, -1, -1};
            mask[0] &= ~(1 << 6);  // of the first row, 6 is not allowed
            Floats bias(2 * kVocab);
            bias[9] = 20;
            bias[6] = 40;
            Ids counts(2 * kVocab);
            counts[kVocab + 3] = 30;  // of the second, 3 has come often
            bias[kVocab + 3] = 25;
            set(session, "grammar_mask", mask);
            set(session, "logit_bias", bias);
            set(session, "token_counts", counts);
            const StepToken tokens[] = {{0, 5, true}, {0, 8}, {2, 7, true}};
            run(session, tokens);
            for (int64_t row = 0; row < 2; ++row) {
              Floats value = logitsOf(session, row);
              for (int i = 0; i < kVocab; ++i) {
                const auto at = static_cast<size_t>(row * kVocab + i);
                value[static_cast<size_t>(i)] += bias[at] - static_cast<float>(counts[at]);
              }
              if (row == 0) value[6] = -INFINITY;
              double sum = 0;
              for (const float v : value) sum += std::exp(static_cast<double>(v));
              Ids order(kVocab);
              for (int i = 0; i < kVocab; ++i) order[static_cast<size_t>(i)] = i;
              std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
                return value[static_cast<size_t>(a)] > value[static_cast<size_t>(b)];
              });
              order.resize(kTop);
              EXPECT_EQ(rowOf<int32_t>(session, "top_ids", row), order);
              EXPECT_EQ(rowOf<int32_t>(session, "id", row), Ids{order[0]});
              const Floats logprobs = rowOf(session, "top_logprobs", row);
              for (size_t n = 0; n < kTop; ++n)
                EXPECT_NEAR(logprobs[n], value[static_cast<size_t>(order[n])] - std::log(sum),
                            0.01);
              EXPECT_EQ(rowOf(session, "logprob", row), Floats{logprobs[0]});
            }
            EXPECT_EQ(rowOf<int32_t>(session, "id", 0), Ids{9});
            EXPECT_NE(rowOf<int32_t>(session, "id", 1), Ids{3});
          }};
}

}  // namespace

const std::vector<OperandCase>& operandCases() {
  static const std::vector<OperandCase> cases = {parents(),    ranges(), threePositions(),
                                                 embeddings(), pooled(), adapters(),
                                                 blockLists(), choices()};
  return cases;
}

}  // namespace llmrt::example
