// The meaning of each op.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "llvm/ADT/TypeSwitch.h"
#include "runtime/io/float_convert.h"
#include "tests/ir/Evaluator.h"

using namespace mlir;
using namespace llmc::llm;

namespace llmc::test {
namespace {

int64_t width(Value v) { return cast<RankedTensorType>(v.getType()).getDimSize(1); }

float roundTo(Type type, float v) {
  if (type.isBF16()) return llmrt::bf16ToF32(llmrt::f32ToBf16(v));
  if (type.isF16()) return llmrt::f16ToF32(llmrt::f32ToF16(v));
  return v;
}

/// One op in one layer of one step. `Acc`: the type of sums.
template <typename Acc>
class OpEvaluator {
 public:
  OpEvaluator(Evaluator& evaluator, ModelOp model, const std::vector<Row>& rows, KvState& kv,
              int64_t layer, const SymbolMap& symbols)
      : evaluator_(evaluator),
        model_(model),
        rows_(rows),
        kv_(kv),
        layer_(layer),
        symbols_(symbols) {}

  Matrix evaluate(Operation* op, const std::vector<Matrix>& in) {
    return llvm::TypeSwitch<Operation*, Matrix>(op)
        .Case([&](EmbedOp o) { return embed(o.getWeightAttr(), width(o.getY())); })
        .Case([&](RmsNormOp o) { return rmsNorm(in[0], o.getWeightAttr(), o.getEps()); })
        .Case([&](LinearOp o) { return linear(in[0], o.getWeightAttr(), width(o.getY())); })
        .Case([&](BiasOp o) { return bias(in[0], o.getWeightAttr()); })
        .Case([&](RopeOp o) { return rope(in[0], o.getTableAttr(), o.getHeadDim()); })
        .Case([&](KvWriteOp o) { return kvWrite(in[0], in[1], o.getKv().getType()); })
        .Case([&](AttentionOp o) { return attention(in[0], o); })
        .Case([&](ActivationOp o) { return activation(in[0], o.getKind()); })
        .Case([&](MulOp) { return zip(in[0], in[1], [](Acc a, Acc b) { return a * b; }); })
        .Case([&](AddOp) { return add(in[0], in[1]); })
        .Case([&](LogitsOp o) {
          return linear(wantedRows(in[0]), o.getWeightAttr(), width(o.getY()));
        })
        .Case([&](NormQkvOp o) { return normQkv(in[0], o); })
        .Case([&](NormGluOp o) { return normGlu(in[0], o); })
        .Case([&](LinearResidualOp o) {
          return add(in[1], linear(in[0], o.getWeightAttr(), width(o.getY()), o.getBiasAttr()));
        })
        .Case([&](NormLogitsOp o) {
          return linear(rmsNorm(wantedRows(in[0]), o.getNormAttr(), o.getEps()), o.getWeightAttr(),
                        width(o.getY()));
        })
        .Default([](Operation* o) -> Matrix {
          throw std::invalid_argument("no meaning is written for " +
                                      o->getName().getStringRef().str());
        });
  }

 private:
  FlatSymbolRefAttr actual(FlatSymbolRefAttr symbol) {
    auto found = symbols_.find(symbol.getValue().str());
    return found == symbols_.end() ? symbol
                                   : FlatSymbolRefAttr::get(symbol.getContext(), found->second);
  }
  const std::vector<float>& weight(FlatSymbolRefAttr symbol) {
    return evaluator_.weight(actual(symbol), layer_);
  }

  template <typename F>
  Matrix zip(const Matrix& a, const Matrix& b, F f) {
    Matrix y(a.rows, a.cols);
    for (size_t i = 0; i < y.values.size(); ++i)
      y.values[i] = static_cast<float>(f(Acc(a.values[i]), Acc(b.values[i])));
    return y;
  }
  Matrix add(const Matrix& a, const Matrix& b) {
    return zip(a, b, [](Acc u, Acc v) { return u + v; });
  }

  Matrix wantedRows(const Matrix& x) {
    Matrix y(llvm::count_if(rows_, [](const Row& r) { return r.wanted; }), x.cols);
    int64_t next = 0;
    for (size_t i = 0; i < rows_.size(); ++i)
      if (rows_[i].wanted) std::copy_n(x.row(i), x.cols, y.row(next++));
    return y;
  }

  Matrix embed(FlatSymbolRefAttr symbol, int64_t hiddenSize) {
    const std::vector<float>& w = weight(symbol);
    int64_t vocabSize = model_.getVocabSize();
    Matrix y(rows_.size(), hiddenSize);
    for (size_t i = 0; i < rows_.size(); ++i) {
      int64_t id = rows_[i].tokenId;
      if (id < 0 || id >= vocabSize) throw std::invalid_argument("no token " + std::to_string(id));
      std::copy_n(w.begin() + id * hiddenSize, hiddenSize, y.row(i));
    }
    return y;
  }

  Matrix rmsNorm(const Matrix& x, FlatSymbolRefAttr symbol, APFloat eps) {
    const std::vector<float>& w = weight(symbol);
    Matrix y(x.rows, x.cols);
    for (int64_t i = 0; i < x.rows; ++i) {
      Acc sum = 0;
      for (int64_t c = 0; c < x.cols; ++c) sum += Acc(x.row(i)[c]) * Acc(x.row(i)[c]);
      Acc inverse = 1 / std::sqrt(sum / Acc(x.cols) + Acc(eps.convertToDouble()));
      for (int64_t c = 0; c < x.cols; ++c)
        y.row(i)[c] = static_cast<float>(Acc(x.row(i)[c]) * inverse * Acc(w[c]));
    }
    return y;
  }

  Matrix bias(Matrix x, FlatSymbolRefAttr symbol) {
    const std::vector<float>& b = weight(symbol);
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t c = 0; c < x.cols; ++c)
        x.row(i)[c] = static_cast<float>(Acc(x.row(i)[c]) + Acc(b[c]));
    return x;
  }

  /// y = x W^T (+ b), W [n, x.cols].
  Matrix linear(const Matrix& x, FlatSymbolRefAttr symbol, int64_t n,
                FlatSymbolRefAttr biasSymbol = {}) {
    const std::vector<float>& w = weight(symbol);
    Matrix y(x.rows, n);
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t j = 0; j < n; ++j) {
        Acc sum = 0;
        for (int64_t k = 0; k < x.cols; ++k) sum += Acc(x.row(i)[k]) * Acc(w[j * x.cols + k]);
        y.row(i)[j] = static_cast<float>(sum);
      }
    return biasSymbol ? bias(std::move(y), biasSymbol) : y;
  }

  /// cos and sin are computed in double and rounded to f32, as the session's tables are.
  Matrix rope(const Matrix& x, FlatSymbolRefAttr symbol, int64_t headDim) {
    auto table = cast<RopeTableOp>(SymbolTable::lookupSymbolIn(model_, actual(symbol).getAttr()));
    double scale = table.getScale().convertToDouble();
    int64_t half = headDim / 2;
    Matrix y(x.rows, x.cols);
    for (int64_t r = 0; r < x.rows; ++r)
      for (int64_t i = 0; i < half; ++i) {
        double angle = rows_[r].pos * table.getInvFreq()[i];
        Acc cos = static_cast<float>(std::cos(angle) * scale);
        Acc sin = static_cast<float>(std::sin(angle) * scale);
        for (int64_t head = 0; head < x.cols; head += headDim) {
          Acc a = x.row(r)[head + i], b = x.row(r)[head + i + half];
          y.row(r)[head + i] = static_cast<float>(a * cos - b * sin);
          y.row(r)[head + i + half] = static_cast<float>(b * cos + a * sin);
        }
      }
    return y;
  }

  Matrix kvWrite(const Matrix& k, const Matrix& v, Type type) {
    Type element = cast<KvCacheType>(type).getElementType();
    for (size_t i = 0; i < rows_.size(); ++i) {
      KvState::Sequence& sequence = kv_.at(layer_, rows_[i].seq);
      size_t begin = rows_[i].pos * k.cols, end = begin + k.cols;
      if (sequence.keys.size() < end) {
        // A position that nothing wrote is NaN, so attending to it shows.
        sequence.keys.resize(end, std::nanf(""));
        sequence.values.resize(end, std::nanf(""));
      }
      for (int64_t c = 0; c < k.cols; ++c) {
        sequence.keys[begin + c] = roundTo(element, k.row(i)[c]);
        sequence.values[begin + c] = roundTo(element, v.row(i)[c]);
      }
    }
    return {};
  }

  Matrix attention(const Matrix& q, AttentionOp op) {
    auto kv = cast<KvCacheType>(op.getKv().getType());
    int64_t headDim = kv.getHeadDim(), kvWidth = kv.getNumKvHeads() * headDim;
    int64_t numHeads = q.cols / headDim, group = numHeads / kv.getNumKvHeads();
    int64_t window = op.getWindow();
    Acc scale = static_cast<Acc>(op.getScale().convertToDouble());
    Matrix y(q.rows, q.cols);
    for (int64_t r = 0; r < q.rows; ++r) {
      const KvState::Sequence& sequence = kv_.at(layer_, rows_[r].seq);
      int64_t kvLen = rows_[r].pos + 1;
      if (static_cast<int64_t>(sequence.keys.size()) < kvLen * kvWidth)
        throw std::invalid_argument("attention to position " + std::to_string(kvLen - 1) +
                                    ", which nothing has written");
      int64_t begin = window > 0 ? std::max<int64_t>(0, kvLen - window) : 0;
      for (int64_t head = 0; head < numHeads; ++head) {
        const float* query = q.row(r) + head * headDim;
        int64_t column = head / group * headDim;
        std::vector<Acc> p(kvLen - begin);
        for (int64_t t = begin; t < kvLen; ++t) {
          Acc dot = 0;
          for (int64_t d = 0; d < headDim; ++d)
            dot += Acc(query[d]) * Acc(sequence.keys[t * kvWidth + column + d]);
          p[t - begin] = dot * scale;
        }
        Acc largest = *std::max_element(p.begin(), p.end());
        Acc sum = 0;
        for (Acc& v : p) sum += v = std::exp(v - largest);
        for (int64_t d = 0; d < headDim; ++d) {
          Acc out = 0;
          for (int64_t t = begin; t < kvLen; ++t)
            out += p[t - begin] * Acc(sequence.values[t * kvWidth + column + d]);
          y.row(r)[head * headDim + d] = static_cast<float>(out / sum);
        }
      }
    }
    return y;
  }

  static Acc activate(ActivationKind kind, Acc x) {
    switch (kind) {
      case ActivationKind::silu:
        return x / (1 + std::exp(-x));
      case ActivationKind::gelu:
        return x / 2 * (1 + std::erf(x * Acc(M_SQRT1_2)));
      case ActivationKind::gelu_tanh:
        return x / 2 *
               (1 + std::tanh(Acc(M_2_SQRTPI * M_SQRT1_2) * (x + Acc(0.044715) * x * x * x)));
      case ActivationKind::relu:
        return std::max(x, Acc(0));
    }
    return x;
  }
  Matrix activation(Matrix x, ActivationKind kind) {
    for (float& v : x.values) v = static_cast<float>(activate(kind, v));
    return x;
  }

  Matrix normQkv(const Matrix& x, NormQkvOp op) {
    auto type = cast<KvCacheType>(op.getKv().getType());
    int64_t kvSize = type.getNumKvHeads() * type.getHeadDim();
    Matrix n = rmsNorm(x, op.getNormAttr(), op.getEps());
    Matrix q = linear(n, op.getQProjAttr(), width(op.getQ()), op.getQBiasAttr());
    Matrix k = linear(n, op.getKProjAttr(), kvSize, op.getKBiasAttr());
    Matrix v = linear(n, op.getVProjAttr(), kvSize, op.getVBiasAttr());
    if (op.getRopeAttr()) {
      q = rope(q, op.getRopeAttr(), type.getHeadDim());
      k = rope(k, op.getRopeAttr(), type.getHeadDim());
    }
    kvWrite(k, v, type);
    return q;
  }

  Matrix normGlu(const Matrix& x, NormGluOp op) {
    Matrix n = rmsNorm(x, op.getNormAttr(), op.getEps());
    Matrix gate = linear(n, op.getGateProjAttr(), width(op.getY()), op.getGateBiasAttr());
    Matrix up = linear(n, op.getUpProjAttr(), width(op.getY()), op.getUpBiasAttr());
    return zip(activation(std::move(gate), op.getActivation()), up,
               [](Acc a, Acc b) { return a * b; });
  }

  Evaluator& evaluator_;
  ModelOp model_;
  const std::vector<Row>& rows_;
  KvState& kv_;
  int64_t layer_;
  const SymbolMap& symbols_;
};

}  // namespace

Matrix Evaluator::evaluateOp(Operation* op, const std::vector<Matrix>& inputs,
                             const std::vector<Row>& rows, KvState& kv, int64_t layer,
                             const SymbolMap& symbols) {
  size_t next = 0;
  for (Value v : op->getOperands()) {
    if (!isa<RankedTensorType>(v.getType())) continue;
    if (next >= inputs.size() || inputs[next].rows != static_cast<int64_t>(rows.size()) ||
        inputs[next].cols != width(v))
      throw std::invalid_argument("operand " + std::to_string(next) + " of " +
                                  op->getName().getStringRef().str() + " must be " +
                                  std::to_string(rows.size()) + "x" + std::to_string(width(v)));
    ++next;
  }
  if (accumulate_ == Accumulate::kFloat)
    return OpEvaluator<float>(*this, model_, rows, kv, layer, symbols).evaluate(op, inputs);
  return OpEvaluator<double>(*this, model_, rows, kv, layer, symbols).evaluate(op, inputs);
}

}  // namespace llmc::test
