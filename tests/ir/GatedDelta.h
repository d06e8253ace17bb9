// A layer of linear attention as two kernels, and what the oracle makes of one
// (tests/golden/gated_delta.json): for the evaluator's tests and those of code generation.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/ir/Evaluator.h"

namespace llmc::test {

struct DeltaShape {
  int64_t keyHeads, valueHeads, keyDim, valueDim;
  int64_t taps = 4;  // of the convolution
  bool tiled = false;

  int64_t qkvWidth() const { return 2 * keyHeads * keyDim + valueHeads * valueDim; }
  int64_t outputWidth() const { return valueHeads * valueDim; }
};

/// Floats from one row of a buffer to the next.
inline int64_t deltaStride(int64_t width) { return (width + 15) / 16 * 16 + 16; }

/// Kernels @conv_KIND and @delta_KIND of prefill, decode, verify and commit, the convolution's
/// weight in `convType`.
inline std::string deltaModel(const DeltaShape& s, const std::string& convType = "f32") {
  auto n = [](int64_t v) { return std::to_string(v); };
  auto rows = [&](int64_t width) { return "tensor<?x" + n(width) + "xf32>"; };
  const std::string heads = n(s.valueHeads), qkv = rows(s.qkvWidth()), gate = rows(s.valueHeads),
                    y = rows(s.outputWidth());
  std::string text =
      "llm.model @m architecture \"x\" hidden_size 64 intermediate_size 64 num_heads 4 "
      "num_kv_heads "
      "2 head_dim 16 num_layers 1 vocab_size 50 max_seq_len 256 max_batch 4 {\n"
      "  llm.weight @conv1d matrix \"c\" : tensor<" +
      n(s.taps) + "x" + n(s.qkvWidth()) + "x" + convType +
      ">\n  llm.weight @a_log bias \"a\" : tensor<" + heads + "xf32>\n" +
      "  llm.weight @dt_bias bias \"d\" : tensor<" + heads + "xf32>\n" +
      "  llm.state @conv : !llm.recurrent<" + n(s.taps - 1) + "x" + n(s.qkvWidth()) +
      "xf32> layers 0:1\n  llm.state @delta : !llm.recurrent<" + heads + "x" + n(s.keyDim) + "x" +
      n(s.valueDim) + "xf32> layers 0:1\n";
  for (const auto& [kind, maxRows] :
       {std::pair{"prefill", "512"}, {"decode", "16"}, {"verify", "64"}, {"commit", "64"}}) {
    auto kernel = [&](const std::string& name, const std::string& strides,
                      const std::string& arguments, const std::string& op,
                      const std::string& type) {
      text += "  llm.kernel @" + name + "_" + kind + " " + kind + " max_rows " + maxRows +
              " row_strides [" + strides + "] {\n  ^bb0(" + arguments +
              ", %rows: !llm.rows):\n    %y = " + op + "\n    llm.yield %y : " + type + "\n  }\n";
    };
    const std::string wide = n(deltaStride(s.qkvWidth())), narrow = n(deltaStride(s.valueHeads));
    kernel("conv", wide + ", " + wide, "%x: " + qkv,
           "llm.causal_conv %x, %rows, @conv, @conv1d silu : " + qkv, qkv);
    kernel("delta", wide + ", " + narrow + ", " + narrow + ", " + n(deltaStride(s.outputWidth())),
           "%qkv: " + qkv + ", %gate: " + gate + ", %beta: " + gate,
           "llm.gated_delta %qkv, %gate, %beta, %rows, @delta, @a_log, @dt_bias eps 1.0e-6" +
               std::string(s.tiled ? " tiled : " : " : ") + qkv + ", " + gate + " -> " + y,
           y);
  }
  return text + "}\n";
}

/// The op of the kernel `name`.
inline llm::KernelOpInterface kernelOpOf(llm::ModelOp model, llvm::StringRef name) {
  return llvm::cast<llm::KernelOp>(mlir::SymbolTable::lookupSymbolIn(model, name)).getComputeOp();
}

/// The oracle's layer: 2 heads of q and k of 12, 4 of v of 20.
class GatedDeltaGolden {
 public:
  GatedDeltaGolden() { std::ifstream(LLMC_GATED_DELTA_GOLDEN) >> json_; }

  DeltaShape shape() const {
    return {.keyHeads = json_.at("linear_num_key_heads"),
            .valueHeads = json_.at("linear_num_value_heads"),
            .keyDim = json_.at("linear_key_head_dim"),
            .valueDim = json_.at("linear_value_head_dim")};
  }
  std::vector<float> values(const char* name) const { return json_.at(name); }
  Matrix rows(const char* name) const {
    Matrix m;
    m.values = values(name);
    m.rows = static_cast<int64_t>(values("beta").size()) / shape().valueHeads;
    m.cols = static_cast<int64_t>(m.values.size()) / m.rows;
    return m;
  }
  /// What the oracle itself errs by at most, in floats, in the numbers `name`.
  double error(const char* name) const { return json_.at("float32_error").at(name); }
  WeightSource weights() const {
    return
        [this](llm::WeightOp weight, int64_t) { return values(weight.getSymName().str().c_str()); };
  }

  /// `got` is within the oracle's own error of what it gives, plus as much for ours.
  void expectNear(const char* name, const std::vector<float>& got) const {
    const std::vector<float> expected = values(name);
    ASSERT_EQ(got.size(), expected.size()) << name;
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], 2 * error(name)) << name << " " << i;
  }

 private:
  nlohmann::json json_;
};

}  // namespace llmc::test
