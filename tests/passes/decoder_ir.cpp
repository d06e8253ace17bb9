#include "tests/passes/decoder_ir.h"

#include <sstream>

#include "ir/LLM.h"
#include "mlir/Parser/Parser.h"

namespace llmc::test {
namespace {

constexpr int kHidden = 24, kHeadDim = 8, kIntermediate = 40, kVocab = 50, kLayers = 2;

std::string rowsType(int width) { return "tensor<?x" + std::to_string(width) + "xf32>"; }

/// Writes ops one below the other; `x` names are SSA values without the percent sign.
class Writer {
 public:
  explicit Writer(const DecoderForm& form) : form_(form) {}

  std::string model() {
    os_ << "llm.model @m architecture \"llama\" hidden_size " << kHidden << " intermediate_size "
        << kIntermediate << " num_heads " << form_.numHeads << " num_kv_heads " << form_.numKvHeads
        << " head_dim " << kHeadDim << " num_layers " << kLayers << " vocab_size " << kVocab
        << " max_seq_len 64 max_batch 3 {\n";
    const int q = form_.numHeads * kHeadDim, kv = form_.numKvHeads * kHeadDim;
    matrix("embed_tokens", kVocab, kHidden, false);
    norm("input_norm", true);
    matrix("q_proj", q, kHidden);
    matrix("k_proj", kv, kHidden);
    matrix("v_proj", kv, kHidden);
    matrix("o_proj", kHidden, q);
    norm("post_attention_norm", true);
    matrix("gate_proj", kIntermediate, kHidden);
    matrix("up_proj", kIntermediate, kHidden);
    matrix("down_proj", kHidden, kIntermediate);
    norm("norm", false);
    if (!form_.tied) matrix("lm_head", kVocab, kHidden, false);
    if (form_.attentionBias) {
      biasWeight("q_bias", q);
      biasWeight("k_bias", kv);
      biasWeight("v_bias", kv);
    }
    if (form_.outputBias) biasWeight("o_bias", kHidden);
    if (form_.mlpBias) {
      biasWeight("gate_bias", kIntermediate);
      biasWeight("up_bias", kIntermediate);
      biasWeight("down_bias", kHidden);
    }
    if (form_.rope) os_ << "llm.rope_table @rope [1.0, 0.1, 0.01, 0.001]\n";
    const int windowed = form_.window ? form_.windowedLayers : 0;
    if (windowed) state(windowName(), 0, windowed);
    if (windowed < kLayers) state("kv", windowed, kLayers);
    entry("decode", 4);
    entry("prefill", 20);
    os_ << "}\n";
    return os_.str();
  }

 private:
  void matrix(const std::string& name, int n, int k, bool perLayer = true) {
    os_ << "llm.weight @" << name << " matrix \"" << name << (perLayer ? ".{layer}" : "")
        << "\" : tensor<";
    if (perLayer) os_ << kLayers << "x";
    os_ << n << "x" << k << "x" << form_.type << ">\n";
  }
  void norm(const std::string& name, bool perLayer) {
    os_ << "llm.weight @" << name << " norm \"" << name << (perLayer ? ".{layer}" : "")
        << "\" : tensor<";
    if (perLayer) os_ << kLayers << "x";
    os_ << kHidden << "x" << form_.type << ">\n";
  }
  void biasWeight(const std::string& name, int n) {
    os_ << "llm.weight @" << name << " bias \"" << name << ".{layer}\" : tensor<" << kLayers << "x"
        << n << "x" << form_.type << ">\n";
  }

  std::string windowName() const { return "kv_window" + std::to_string(form_.window); }
  void state(const std::string& name, int begin, int end) {
    os_ << "llm.state @" << name << " : !llm.kv<" << form_.numKvHeads << "x" << kHeadDim << "x"
        << form_.kvType << ">";
    if (name != "kv") os_ << " window " << form_.window;
    os_ << " layers " << begin << ":" << end << "\n";
  }

  void linear(const std::string& y, const std::string& x, const std::string& w, int k, int n,
              const std::string& bias = "") {
    const std::string product = bias.empty() ? y : y + "_product";
    os_ << "%" << product << " = llm.linear %" << x << ", @" << w << " : " << rowsType(k) << " -> "
        << rowsType(n) << "\n";
    if (!bias.empty())
      os_ << "%" << y << " = llm.bias %" << product << ", @" << bias << " : " << rowsType(n)
          << "\n";
  }
  void rmsNorm(const std::string& y, const std::string& x, const std::string& w) {
    os_ << "%" << y << " = llm.rms_norm %" << x << ", @" << w
        << " eps 1.0e-5 : " << rowsType(kHidden) << "\n";
  }
  std::string rope(const std::string& x, int width) {
    if (!form_.rope) return x;
    os_ << "%" << x << "_rope = llm.rope %" << x << ", %rows, @rope head_dim " << kHeadDim << " : "
        << rowsType(width) << "\n";
    return x + "_rope";
  }
  void add(const std::string& y, const std::string& residual, const std::string& x) {
    os_ << "%" << y << " = llm.add %" << (form_.residualFirst ? residual : x) << ", %"
        << (form_.residualFirst ? x : residual) << " : " << rowsType(kHidden) << "\n";
  }

  /// The kind of its steps is its name.
  void entry(const std::string& name, int maxRows) {
    os_ << "llm.entry @" << name << "(%rows: !llm.rows) " << name << " max_rows " << maxRows
        << " {\n";
    os_ << "%x = llm.embed %rows, @embed_tokens : " << rowsType(kHidden) << "\n";
    const int windowed = form_.window ? form_.windowedLayers : 0;
    const bool two = form_.regions() == 2;
    if (two) layers("x0", "x", 0, windowed, windowName());
    layers("y", two ? "x0" : "x", two ? windowed : 0, kLayers,
           windowed && !two ? windowName() : "kv");
    rmsNorm("f", "y", "norm");
    os_ << "%l = llm.logits %f, %rows, @" << (form_.tied ? "embed_tokens" : "lm_head") << " : "
        << rowsType(kHidden) << " -> " << rowsType(kVocab) << "\n";
    os_ << "llm.return %l : " << rowsType(kVocab) << "\n}\n";
  }

  /// Layers [begin, end) on `state`.
  void layers(const std::string& y, const std::string& x, int begin, int end,
              const std::string& state) {
    const int q = form_.numHeads * kHeadDim, kv = form_.numKvHeads * kHeadDim;
    auto biasOr = [](bool has, const char* bias) { return std::string(has ? bias : ""); };
    os_ << "%" << y << " = llm.layers %h = %" << x << " first " << begin << " count " << end - begin
        << " : " << rowsType(kHidden) << " {\n";
    rmsNorm("n", "h", "input_norm");
    linear("q", "n", "q_proj", kHidden, q, biasOr(form_.attentionBias, "q_bias"));
    linear("k", "n", "k_proj", kHidden, kv, biasOr(form_.attentionBias, "k_bias"));
    linear("v", "n", "v_proj", kHidden, kv, biasOr(form_.attentionBias, "v_bias"));
    const std::string qr = rope("q", q), kr = rope("k", kv);
    os_ << "llm.kv_write %" << kr << ", %v, %rows, @" << state << " : " << rowsType(kv) << ", "
        << rowsType(kv) << "\n";
    os_ << "%a = llm.attention %" << qr << ", %rows, @" << state
        << " scale 0.35355339 : " << rowsType(q) << " -> " << rowsType(q) << "\n";
    linear("o", "a", "o_proj", q, kHidden, biasOr(form_.outputBias, "o_bias"));
    add("r", "h", "o");
    rmsNorm("n2", "r", "post_attention_norm");
    linear("g", "n2", "gate_proj", kHidden, kIntermediate, biasOr(form_.mlpBias, "gate_bias"));
    linear("u", "n2", "up_proj", kHidden, kIntermediate, biasOr(form_.mlpBias, "up_bias"));
    os_ << "%s = llm.activation %g " << form_.activation << " : " << rowsType(kIntermediate)
        << "\n";
    os_ << "%m = llm.mul " << (form_.swappedGlu ? "%u, %s" : "%s, %u") << " : "
        << rowsType(kIntermediate) << "\n";
    linear("d", "m", "down_proj", kIntermediate, kHidden, biasOr(form_.mlpBias, "down_bias"));
    add("z", "r", "d");
    os_ << "llm.yield %z : " << rowsType(kHidden) << "\n}\n";
  }

  const DecoderForm& form_;
  std::ostringstream os_;
};

}  // namespace

std::string decoderText(const DecoderForm& form) { return Writer(form).model(); }

mlir::OwningOpRef<mlir::ModuleOp> decoderModule(mlir::MLIRContext& context,
                                                const DecoderForm& form) {
  context.loadDialect<llm::LLMDialect>();
  return mlir::parseSourceString<mlir::ModuleOp>(decoderText(form), &context);
}

}  // namespace llmc::test
