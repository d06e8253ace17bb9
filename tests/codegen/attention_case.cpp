#include "attention_case.h"

namespace llmc::test {

std::string AttentionCase::name() const {
  return std::string(llmrt::dtypeName(dtype)) + "_h" + std::to_string(heads) + "_kv" +
         std::to_string(kvHeads) + "_d" + std::to_string(headDim) + "_w" + std::to_string(window) +
         (valueDim ? "_v" + std::to_string(valueDim) : "") + (softcap ? "_softcap" : "") +
         (sinks ? "_sinks" : "");
}

std::string attentionModel(const AttentionCase& c) {
  const int64_t keyWidth = c.kvHeads * c.headDim, valueWidth = c.kvHeads * c.valuesOfHead();
  const int64_t qWidth = c.heads * c.headDim, width = c.heads * c.valuesOfHead();
  const std::string kv = "!llm.kv<" + std::to_string(c.kvHeads) + "x" + std::to_string(c.headDim) +
                         "x" + (c.valueDim ? std::to_string(c.valueDim) + "x" : "") +
                         llmrt::dtypeName(c.dtype) + ">";
  auto tensor = [](int64_t w) { return "tensor<?x" + std::to_string(w) + "xf32>"; };
  const std::string tk = tensor(keyWidth), tv = tensor(valueWidth), tq = tensor(qWidth),
                    ty = tensor(width);
  auto stride = [](int64_t w) { return std::to_string(attentionStride(w)); };
  std::string text =
      "llm.model @m architecture \"llama\" hidden_size 64 intermediate_size 64 num_heads " +
      std::to_string(c.heads) + " num_kv_heads " + std::to_string(c.kvHeads) + " head_dim " +
      std::to_string(c.headDim) +
      " num_layers 1 vocab_size 64 max_seq_len 256 max_batch 2 {\n  llm.state @kv : " + kv +
      (c.window ? " window " + std::to_string(c.window) : "") + " layers 0:1\n";
  if (c.sinks)
    text += "  llm.weight @sinks bias \"sinks\" : tensor<" + std::to_string(c.heads) + "xf32>\n";
  for (const std::string kind : {"decode", "verify", "prefill"}) {
    const std::string step = kind + " max_rows " +
                             (kind == "decode"   ? "16"
                              : kind == "verify" ? "64"
                                                 : "512");
    text += "  llm.kernel @write_" + kind + " " + step + " row_strides [" + stride(keyWidth) +
            ", " + stride(valueWidth) + "] {\n  ^bb0(%k: " + tk + ", %v: " + tv +
            ", %rows: !llm.rows):\n    llm.kv_write %k, %v, %rows, @kv : " + tk + ", " + tv +
            "\n    llm.yield\n  }\n";
    text += "  llm.kernel @" + kind + " " + step + " row_strides [" + stride(qWidth) + ", " +
            stride(width) + "] {\n  ^bb0(%q: " + tq +
            ", %rows: !llm.rows):\n    %y = llm.attention %q, %rows, @kv scale 0.25" +
            (c.softcap ? " softcap " + std::to_string(c.softcap) : "") +
            (c.sinks ? " sinks @sinks" : "") + " : " + tq + " -> " + ty +
            "\n    llm.yield %y : " + ty + "\n  }\n";
  }
  text +=
      "  llm.kernel @move commit max_rows 64 row_strides [] {\n  ^bb0(%rows: !llm.rows):\n"
      "    llm.kv_move %rows, @kv\n    llm.yield\n  }\n";
  return text + "}\n";
}

}  // namespace llmc::test
