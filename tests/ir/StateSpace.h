// A layer of Mamba-2 as two kernels, its convolution and its state space, and what the oracle makes
// of the latter (tests/golden/ssd.json): for the evaluator's tests and those of code generation.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/ir/Evaluator.h"

namespace llmc::test {

struct SsdShape {
  int64_t heads, groups, stateSize, headDim;
  bool gated = false;    // both kernels have a gate
  std::string bounds;    // "from 0.25 to 1.5"
  std::string a = "@a";  // "@a rate"
  std::string activation = "silu";
  int64_t taps = 4;

  int64_t inner() const { return heads * headDim; }
  int64_t width() const { return inner() + 2 * groups * stateSize; }
};

/// Floats from one row of a buffer to the next.
inline int64_t ssdStride(int64_t width) { return (width + 15) / 16 * 16 + 16; }

/// Kernels @conv_KIND and @ssd_KIND of prefill, decode, verify and commit.
inline std::string ssdModel(const SsdShape& s) {
  auto n = [](int64_t v) { return std::to_string(v); };
  auto rows = [&](int64_t width) { return "tensor<?x" + n(width) + "xf32>"; };
  const std::string xbc = rows(s.width()), dt = rows(s.heads), inner = rows(s.inner());
  std::string text =
      "llm.model @m architecture \"x\" hidden_size 64 intermediate_size 64 num_heads 4 "
      "num_kv_heads 2 head_dim 16 num_layers 1 vocab_size 50 max_seq_len 256 max_batch 4 {\n"
      "  llm.weight @conv1d matrix \"c\" : tensor<" +
      n(s.taps) + "x" + n(s.width()) + "xf32>\n  llm.weight @conv_bias bias \"cb\" : tensor<" +
      n(s.width()) + "xf32>\n";
  for (const char* name : {"a", "dt_bias", "d"})
    text += "  llm.weight @" + std::string(name) + " bias \"" + name + "\" : tensor<" + n(s.heads) +
            "xf32>\n";
  text += "  llm.state @conv : !llm.recurrent<" + n(s.taps - 1) + "x" + n(s.width()) +
          "xf32> layers 0:1\n  llm.state @ssm : !llm.recurrent<" + n(s.heads) + "x" +
          n(s.stateSize) + "x" + n(s.headDim) + "xf32> layers 0:1\n";
  for (const auto& [kind, maxRows] :
       {std::pair{"prefill", "512"}, {"decode", "16"}, {"verify", "64"}, {"commit", "64"}}) {
    auto kernel = [&](const std::string& name, const std::string& strides,
                      const std::string& arguments, const std::string& op,
                      const std::string& type) {
      text += "  llm.kernel @" + name + "_" + kind + " " + kind + " max_rows " + maxRows +
              " row_strides [" + strides + "] {\n  ^bb0(" + arguments + "):\n    %y = " + op +
              "\n    llm.yield %y : " + type + "\n  }\n";
    };
    const std::string wide = n(ssdStride(s.width())), narrow = n(ssdStride(s.heads)),
                      out = n(ssdStride(s.inner())), times = s.gated ? " times %g" : "";
    auto gate = [&](const std::string& type, const std::string& before) {
      return s.gated ? before + type : std::string();
    };
    kernel("conv", wide + gate(wide, ", ") + ", " + wide,
           "%x: " + xbc + ", %rows: !llm.rows" + gate(xbc, ", %g: "),
           "llm.causal_conv %x, %rows, @conv, @conv1d bias @conv_bias " + s.activation + times +
               " : " + xbc + gate(xbc, ", "),
           xbc);
    kernel("ssd", wide + ", " + narrow + gate(out, ", ") + ", " + out,
           "%x: " + xbc + ", %dt: " + dt + ", %rows: !llm.rows" + gate(inner, ", %g: "),
           "llm.ssd %x, %dt, %rows, @ssm, " + s.a + ", @dt_bias, @d " + s.bounds + times + " : " +
               xbc + ", " + dt + gate(inner, ", ") + " -> " + inner,
           inner);
  }
  return text + "}\n";
}

/// What the oracle was given, and what it made of it: 4 heads of 20 in 2 groups, states of 12.
class SsdGolden {
 public:
  SsdGolden() { std::ifstream(LLMC_SSD_GOLDEN) >> json_; }

  SsdShape shape() const {
    return {json_.at("heads"), json_.at("groups"), json_.at("state_size"), json_.at("head_dim")};
  }
  std::string bounds() const {
    return "from " + std::to_string(json_.at("from").get<double>()) + " to " +
           std::to_string(json_.at("to").get<double>());
  }
  std::vector<float> values(const std::string& name) const { return json_.at(name); }
  Matrix rows(const char* name) const {
    Matrix m;
    m.values = values(name);
    m.rows = static_cast<int64_t>(values("dt").size()) / shape().heads;
    m.cols = static_cast<int64_t>(m.values.size()) / m.rows;
    return m;
  }
  WeightSource weights() const {
    return [this](llm::WeightOp weight, int64_t) {
      const std::string name = weight.getSymName().str();
      return json_.contains(name) ? values(name) : std::vector<float>();
    };
  }
  /// `got` is within the oracle's own error of what it gives, plus as much for ours.
  void expectNear(const std::string& name, const std::vector<float>& got) const {
    const std::vector<float> expected = values(name);
    const double error = json_.at("float32_error").at(name);
    ASSERT_EQ(got.size(), expected.size()) << name;
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], 2 * error) << name << " " << i;
  }

 private:
  nlohmann::json json_;
};

}  // namespace llmc::test
