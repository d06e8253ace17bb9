// The meaning of each op.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <stdexcept>

#include "llvm/ADT/TypeSwitch.h"
#include "runtime/io/float_convert.h"
#include "tests/ir/Evaluator.h"
#include "tests/ir/Int8Product.h"

using namespace mlir;
using namespace llmc::llm;

namespace llmc::test {
namespace {

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
              int64_t layer, const SymbolMap& symbols, StepKind kind)
      : evaluator_(evaluator),
        model_(model),
        rows_(rows),
        kv_(kv),
        layer_(layer),
        symbols_(symbols),
        inTrees_(kind == StepKind::verify || kind == StepKind::commit),
        verifies_(kind == StepKind::verify) {}

  Matrix evaluate(Operation* op, const std::vector<Matrix>& in) {
    return llvm::TypeSwitch<Operation*, Matrix>(op)
        .Case([&](EmbedOp o) { return embed(o); })
        .Case([&](RmsNormOp o) { return rmsNorm(in[0], o.getWeightAttr(), o.getEps()); })
        .Case([&](LayerNormOp o) {
          return layerNorm(in[0], o.getWeightAttr(), o.getBiasAttr(), o.getEps());
        })
        .Case([&](QkNormOp o) {
          return qkNorm(in[0], o.getWeightAttr(), o.getEps(), o.getHeadDim(), o.getLayer());
        })
        .Case([&](ScaleOp o) { return scale(in[0], o.getFactor()); })
        .Case([&](ScaleByOp o) { return scaleBy(in[0], o.getWeightAttr()); })
        .Case([&](LayerSliceOp o) { return layerSlice(in[0], widthOf(o.getY())); })
        .Case([&](ScaleRowsOp o) { return scaleRows(in[0], in[1]); })
        .Case([&](ConcatOp o) { return concat(in[0], in[1], o.getHeads()); })
        .Case([&](HeadLinearOp o) {
          return headLinear(in[0], o.getWeightAttr(), widthOf(o.getY()), o.getHeads());
        })
        .Case([&](RouteOp o) { return route(in[0], o); })
        .Case([&](ExpertGluOp o) { return expertGlu(in[0], in[1], o); })
        .Case([&](ExpertDownOp o) { return expertDown(in[0], in[1], o); })
        .Case([&](ScaleByPosOp o) { return scaleByPos(in[0], o); })
        .Case([&](NormLinearOp o) {
          Matrix y = activation(
              linear(norm(in[0], o), o.getWeightAttr(), widthOf(o.getY()), o.getBiasAttr()),
              o.getActivation());
          return o.getGated() ? zip(in[1], y, [](Acc a, Acc b) { return a * b; }) : y;
        })
        .Case([&](NormProjectionsOp o) { return normProjections(norm(in[0], o), o); })
        .Case([&](NormResidualOp o) {
          Matrix y = add(in[1], rmsNorm(in[0], o.getNormAttr(), o.getEps()));
          return o.getScaleAttr() ? scaleBy(std::move(y), o.getScaleAttr()) : y;
        })
        .Case([&](LinearOp o) { return linear(in[0], o.getWeightAttr(), widthOf(o.getY())); })
        .Case([&](BiasOp o) { return bias(in[0], o.getWeightAttr()); })
        .Case([&](RopeOp o) { return rope(in[0], o.getTableAttr(), o.getHeadDim()); })
        .Case([&](KvWriteOp o) { return kvWrite(in[0], in[1], o.getStateAttr()); })
        .Case([&](KvMoveOp o) { return kvMove(o.getStateAttr()); })
        .Case([&](KeepOp o) { return keep(in[0], o); })
        .Case([&](KeptOp o) { return kept(o); })
        .Case([&](HiddenOp o) { return hidden(widthOf(o.getY())); })
        .Case([&](AttentionOp o) { return attention(in[0], o); })
        .Case([&](CausalConvOp o) { return gated(causalConv(in[0], o), o.getGate(), in); })
        .Case([&](GatedDeltaOp o) { return gatedDelta(in[0], in[1], in[2], o); })
        .Case([&](SsdOp o) { return gated(ssd(in[0], in[1], o), o.getGate(), in); })
        .Case([&](ActivationOp o) { return activation(in[0], o.getKind()); })
        .Case([&](MulOp) { return zip(in[0], in[1], [](Acc a, Acc b) { return a * b; }); })
        .Case([&](AddOp) { return add(in[0], in[1]); })
        .Case([&](LogitsOp o) { return logits(wantedRows(in[0]), o); })
        .Case([&](NormQkvOp o) { return normQkv(in[0], o); })
        .Case([&](NormGluOp o) { return normGlu(in[0], o); })
        .Case([&](LinearResidualOp o) {
          return add(in[1],
                     scale(linear(in[0], o.getWeightAttr(), widthOf(o.getY()), o.getBiasAttr()),
                           o.getScale()));
        })
        .Case([&](NormLogitsOp o) { return logits(norm(wantedRows(in[0]), o), o); })
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
  StateOp state(FlatSymbolRefAttr symbol) {
    return cast<StateOp>(SymbolTable::lookupSymbolIn(model_, actual(symbol).getAttr()));
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

  Matrix embed(EmbedOp op) {
    const std::vector<float>& w = weight(op.getWeightAttr());
    int64_t vocabSize = model_.getVocabSize(), hiddenSize = widthOf(op.getY());
    Acc factor = static_cast<float>(op.getScale().convertToDouble());
    Matrix y(rows_.size(), hiddenSize);
    for (size_t i = 0; i < rows_.size(); ++i) {
      int64_t id = rows_[i].tokenId;
      if (id < 0 || id >= vocabSize) throw std::invalid_argument("no token " + std::to_string(id));
      for (int64_t c = 0; c < hiddenSize; ++c)
        y.row(i)[c] = static_cast<float>(Acc(w[id * hiddenSize + c]) * factor);
      if (!op.getPositionsAttr()) continue;
      const std::vector<float>& p = weight(op.getPositionsAttr());
      for (int64_t c = 0; c < hiddenSize; ++c)
        y.row(i)[c] =
            static_cast<float>(Acc(y.row(i)[c]) + Acc(p.at(rows_[i].pos * hiddenSize + c)));
    }
    return y;
  }

  Matrix scale(Matrix x, APFloat factor) {
    Acc f = static_cast<float>(factor.convertToDouble());
    if (f != 1)
      for (float& v : x.values) v = static_cast<float>(Acc(v) * f);
    return x;
  }
  Matrix scaleRows(Matrix x, const Matrix& by) {
    for (int64_t r = 0; r < x.rows; ++r)
      for (int64_t c = 0; c < x.cols; ++c)
        x.row(r)[c] = static_cast<float>(Acc(x.row(r)[c]) * Acc(by.row(r)[c / (x.cols / by.cols)]));
    return x;
  }
  Matrix scaleBy(Matrix x, FlatSymbolRefAttr symbol) {
    const Acc factor = weight(symbol).at(0);
    for (float& v : x.values) v = static_cast<float>(Acc(v) * factor);
    return x;
  }
  Matrix scaleByPos(Matrix x, ScaleByPosOp op) {
    for (int64_t r = 0; r < x.rows; ++r) {
      const Acc times = std::floor(Acc(rows_[r].pos) / Acc(op.getEvery()));
      const auto factor = static_cast<float>(
          1 + Acc(static_cast<float>(op.getGrowth().convertToDouble())) * std::log1p(times));
      for (int64_t c = 0; c < x.cols; ++c)
        x.row(r)[c] = static_cast<float>(Acc(x.row(r)[c]) * Acc(factor));
    }
    return x;
  }
  /// The results side by side.
  Matrix normProjections(const Matrix& n, NormProjectionsOp op) {
    int64_t width = 0;
    for (Value y : op.getYs()) width += widthOf(y);
    Matrix all(n.rows, width);
    int64_t first = 0;
    for (auto [projection, result] : llvm::zip(op.projections(), op.getYs())) {
      Matrix y =
          activation(linear(n, projection.getWeight(), widthOf(result), projection.getBias()),
                     projection.getActivation());
      for (int64_t r = 0; r < y.rows; ++r) std::copy_n(y.row(r), y.cols, all.row(r) + first);
      first += y.cols;
    }
    return all;
  }
  Matrix layerSlice(const Matrix& x, int64_t width) {
    Matrix y(x.rows, width);
    for (int64_t r = 0; r < x.rows; ++r) std::copy_n(x.row(r) + layer_ * width, width, y.row(r));
    return y;
  }
  Matrix concat(const Matrix& a, const Matrix& b, int64_t heads) {
    Matrix y(a.rows, a.cols + b.cols);
    int64_t na = a.cols / heads, nb = b.cols / heads;
    for (int64_t r = 0; r < a.rows; ++r)
      for (int64_t h = 0; h < heads; ++h) {
        std::copy_n(a.row(r) + h * na, na, y.row(r) + h * (na + nb));
        std::copy_n(b.row(r) + h * nb, nb, y.row(r) + h * (na + nb) + na);
      }
    return y;
  }

  /// softcap(scale * (x W^T + b)), of logits and norm_logits.
  template <typename Op>
  Matrix logits(const Matrix& x, Op op) {
    Matrix y =
        scale(linear(x, op.getWeightAttr(), widthOf(op.getY()), op.getBiasAttr()), op.getScale());
    Acc cap = static_cast<float>(op.getSoftcap().convertToDouble());
    if (cap != 0)
      for (float& v : y.values) v = static_cast<float>(cap * std::tanh(Acc(v) / cap));
    return y;
  }

  /// The norm that a fused op begins with.
  template <typename Op>
  Matrix norm(const Matrix& x, Op op) {
    if (op.getLayer()) return layerNorm(x, op.getNormAttr(), op.getNormBiasAttr(), op.getEps());
    return rmsNorm(x, op.getNormAttr(), op.getEps());
  }

  /// One row (or head) by itself. `w`, `b`: null for none.
  void normRow(float* x, int64_t n, const float* w, const float* b, Acc eps, bool layer) {
    Acc mean = 0, squares = 0;
    if (layer) {
      for (int64_t c = 0; c < n; ++c) mean += Acc(x[c]);
      mean /= Acc(n);
    }
    for (int64_t c = 0; c < n; ++c) squares += (Acc(x[c]) - mean) * (Acc(x[c]) - mean);
    Acc inverse = 1 / std::sqrt(squares / Acc(n) + eps);
    for (int64_t c = 0; c < n; ++c) {
      Acc v = (Acc(x[c]) - mean) * inverse;
      if (w) v *= Acc(w[c]);
      if (b) v += Acc(b[c]);
      x[c] = static_cast<float>(v);
    }
  }

  Matrix layerNorm(Matrix x, FlatSymbolRefAttr symbol, FlatSymbolRefAttr biasSymbol, APFloat eps) {
    const float* w = symbol ? weight(symbol).data() : nullptr;
    const float* b = biasSymbol ? weight(biasSymbol).data() : nullptr;
    for (int64_t i = 0; i < x.rows; ++i)
      normRow(x.row(i), x.cols, w, b, Acc(eps.convertToDouble()), true);
    return x;
  }

  Matrix qkNorm(Matrix x, FlatSymbolRefAttr symbol, APFloat eps, int64_t headDim, bool layer) {
    const std::vector<float> none;
    const std::vector<float>& w = symbol ? weight(symbol) : none;
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t c = 0; c < x.cols; c += headDim) {
        const float* own = w.data() + (c < static_cast<int64_t>(w.size()) ? c : 0);
        normRow(x.row(i) + c, headDim, symbol ? own : nullptr, nullptr, Acc(eps.convertToDouble()),
                layer);
      }
    return x;
  }

  Matrix headLinear(const Matrix& x, FlatSymbolRefAttr symbol, int64_t n, int64_t heads) {
    const std::vector<float>& w = weight(symbol);
    int64_t k = x.cols / heads, perHead = n / heads;
    Matrix y(x.rows, n);
    for (int64_t r = 0; r < x.rows; ++r)
      for (int64_t j = 0; j < n; ++j) {
        Acc sum = 0;
        for (int64_t c = 0; c < k; ++c)
          sum += Acc(x.row(r)[j / perHead * k + c]) * Acc(w[j * k + c]);
        y.row(r)[j] = static_cast<float>(sum);
      }
    return y;
  }

  Matrix route(const Matrix& x, RouteOp op) {
    int64_t experts = x.cols, topK = op.getTopK(), groups = op.getNumGroups();
    Matrix y(x.rows, 2 * topK);
    for (int64_t r = 0; r < x.rows; ++r) {
      std::vector<Acc> scores(x.row(r), x.row(r) + experts);
      if (op.getScoring() == RouteScoring::softmax) softmax(scores);
      if (op.getScoring() == RouteScoring::sigmoid)
        for (Acc& s : scores) s = 1 / (1 + std::exp(-s));
      std::vector<Acc> choice = scores;
      if (op.getBiasAttr())
        for (int64_t e = 0; e < experts; ++e) choice[e] += Acc(weight(op.getBiasAttr())[e]);
      std::vector<bool> open(experts, true);
      if (groups) {
        int64_t size = experts / groups;
        std::vector<Acc> best(groups, 0);
        for (int64_t g = 0; g < groups; ++g) {
          std::vector<Acc> own(choice.begin() + g * size, choice.begin() + (g + 1) * size);
          std::sort(own.rbegin(), own.rend());
          for (uint64_t i = 0; i < op.getGroupTop(); ++i) best[g] += own[i];
        }
        std::vector<bool> kept(groups, false);
        for (uint64_t i = 0; i < op.getKeepGroups(); ++i) kept[largest(best, kept)] = true;
        for (int64_t e = 0; e < experts; ++e) open[e] = kept[e / size];
      }
      std::vector<Acc> weights;
      std::vector<bool> taken(experts);
      for (int64_t e = 0; e < experts; ++e) taken[e] = !open[e];
      for (int64_t i = 0; i < topK; ++i) {
        int64_t e = largest(choice, taken);
        taken[e] = true;
        y.row(r)[i] = static_cast<float>(e);
        weights.push_back(scores[e]);
      }
      if (op.getScoring() == RouteScoring::softmax_chosen) softmax(weights);
      Acc sum = 0, factor = static_cast<Acc>(op.getScale().convertToDouble());
      for (Acc w : weights) sum += w;
      for (int64_t i = 0; i < topK; ++i)
        y.row(r)[topK + i] = static_cast<float>(
            weights[i] * (op.getNormalize() ? factor / sum : factor) *
            (op.getExpertScaleAttr()
                 ? Acc(weight(op.getExpertScaleAttr())[static_cast<int64_t>(y.row(r)[i])])
                 : Acc(1)));
    }
    return y;
  }
  static void softmax(std::vector<Acc>& x) {
    Acc most = *std::max_element(x.begin(), x.end()), sum = 0;
    for (Acc& v : x) sum += v = std::exp(v - most);
    for (Acc& v : x) v /= sum;
  }
  /// The first of the largest that is not taken.
  static int64_t largest(const std::vector<Acc>& x, const std::vector<bool>& taken) {
    int64_t best = -1;
    for (size_t i = 0; i < x.size(); ++i)
      if (!taken[i] && (best < 0 || x[i] > x[best])) best = static_cast<int64_t>(i);
    return best;
  }

  /// y[0..n) = x times rows [first, first + n) of a weight.
  void product(const float* x, int64_t k, FlatSymbolRefAttr symbol, int64_t first, int64_t n,
               float* y) {
    const StoredQuants& quants = evaluator_.quants(actual(symbol), layer_);
    if (quants.format && hasInt8Activations(model_)) {
      const Int8Row row({x, static_cast<size_t>(k)}, quants.format->block);
      for (int64_t j = 0; j < n; ++j) y[j] = int8Product(quants, first + j, row);
      return;
    }
    const float* w = weight(symbol).data() + first * k;
    for (int64_t j = 0; j < n; ++j) {
      Acc sum = 0;
      for (int64_t c = 0; c < k; ++c) sum += Acc(x[c]) * Acc(w[j * k + c]);
      y[j] = static_cast<float>(sum);
    }
  }

  /// y[0..n) = x W_e^T + b_e
  void expertRow(const float* x, int64_t k, FlatSymbolRefAttr symbol, FlatSymbolRefAttr biasSymbol,
                 int64_t expert, int64_t n, float* y) {
    product(x, k, symbol, expert * n, n, y);
    if (!biasSymbol) return;
    for (int64_t j = 0; j < n; ++j)
      y[j] = static_cast<float>(Acc(y[j]) + Acc(weight(biasSymbol)[expert * n + j]));
  }

  Matrix expertGlu(const Matrix& x, const Matrix& route, ExpertGluOp op) {
    int64_t topK = route.cols / 2, n = widthOf(op.getY()) / topK;
    Acc limit = static_cast<float>(op.getLimit().convertToDouble());
    Matrix y(x.rows, topK * n);
    std::vector<float> gate(n), up(n);
    for (int64_t r = 0; r < x.rows; ++r)
      for (int64_t s = 0; s < topK; ++s) {
        auto e = static_cast<int64_t>(route.row(r)[s]);
        expertRow(x.row(r), x.cols, op.getGateProjAttr(), op.getGateBiasAttr(), e, n, gate.data());
        if (op.getUpProjAttr())
          expertRow(x.row(r), x.cols, op.getUpProjAttr(), op.getUpBiasAttr(), e, n, up.data());
        for (int64_t j = 0; j < n; ++j) {
          Acc g = gate[j], u = op.getUpProjAttr() ? up[j] : Acc(1);
          if (limit != 0) {
            g = std::min(g, limit);
            u = std::clamp(u, -limit, limit) + 1;
          }
          y.row(r)[s * n + j] = static_cast<float>(activate(op.getActivation(), g) * u);
        }
      }
    return y;
  }

  Matrix expertDown(const Matrix& x, const Matrix& route, ExpertDownOp op) {
    int64_t topK = route.cols / 2, k = x.cols / topK, n = widthOf(op.getY());
    Matrix y(x.rows, n);
    std::vector<float> part(n);
    for (int64_t r = 0; r < x.rows; ++r) {
      std::map<int64_t, int64_t> slots;  // ascending experts
      for (int64_t s = 0; s < topK; ++s) slots[static_cast<int64_t>(route.row(r)[s])] = s;
      for (auto [expert, s] : slots) {
        expertRow(x.row(r) + s * k, k, op.getWeightAttr(), op.getBiasAttr(), expert, n,
                  part.data());
        for (int64_t j = 0; j < n; ++j)
          y.row(r)[j] =
              static_cast<float>(Acc(y.row(r)[j]) + Acc(part[j]) * Acc(route.row(r)[topK + s]));
      }
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
    Matrix y(x.rows, n);
    for (int64_t i = 0; i < x.rows; ++i) product(x.row(i), x.cols, symbol, 0, n, y.row(i));
    return biasSymbol ? bias(std::move(y), biasSymbol) : y;
  }

  /// cos and sin are computed in double and rounded to f32, as the session's tables are.
  Matrix rope(const Matrix& x, FlatSymbolRefAttr symbol, int64_t headDim) {
    auto table = cast<RopeTableOp>(SymbolTable::lookupSymbolIn(model_, actual(symbol).getAttr()));
    double scale = table.getScale().convertToDouble();
    auto half = static_cast<int64_t>(table.getInvFreq().size());
    Matrix y = x;
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

  /// Where the row's keys and values lie, in tokens.
  int64_t placeOf(size_t row) const { return inTrees_ ? rows_[row].slot : rows_[row].pos; }

  Matrix kvWrite(const Matrix& k, const Matrix& v, FlatSymbolRefAttr symbol) {
    StateOp to = state(symbol);
    Type element = to.getKvType().getElementType();
    for (size_t i = 0; i < rows_.size(); ++i) {
      KvState::Sequence& sequence = kv_.at(to.getSymName(), layer_, rows_[i].seq);
      auto store = [&](std::vector<float>& cache, const Matrix& from) {
        size_t begin = placeOf(i) * from.cols, end = begin + from.cols;
        // A position that nothing wrote is NaN, so attending to it shows.
        if (cache.size() < end) cache.resize(end, std::nanf(""));
        for (int64_t c = 0; c < from.cols; ++c) cache[begin + c] = roundTo(element, from.row(i)[c]);
      };
      store(sequence.keys, k);
      store(sequence.values, v);
    }
    return {};
  }

  Matrix kvMove(FlatSymbolRefAttr symbol) {
    StateOp of = state(symbol);
    const KvCacheType type = of.getKvType();
    for (const Row& row : rows_) {
      KvState::Sequence& sequence = kv_.at(of.getSymName(), layer_, row.seq);
      auto move = [&](std::vector<float>& cache, int64_t width) {
        const int64_t from = row.slot * width, to = row.pos * width;
        if (from < to || static_cast<int64_t>(cache.size()) < from + width)
          throw std::invalid_argument("a move from slot " + std::to_string(row.slot) +
                                      " to position " + std::to_string(row.pos) +
                                      ": not back, or nothing is there");
        std::copy_n(cache.begin() + from, width, cache.begin() + to);
      };
      move(sequence.keys, type.getNumKvHeads() * type.getHeadDim());
      move(sequence.values, type.getNumKvHeads() * type.getValueDim());
    }
    return {};
  }

  /// Where the tokens lie that a row may attend to, by position: those of its sequence before the
  /// step, then, in a tree, its ancestors' and its own.
  std::vector<int64_t> placesFor(int64_t row) const {
    std::vector<int64_t> places(rows_[row].pos + 1);
    for (size_t t = 0; t < places.size(); ++t) places[t] = static_cast<int64_t>(t);
    if (!inTrees_) return places;
    for (int64_t i = row; i >= 0; i = rows_[i].parent) {
      places[rows_[i].pos] = rows_[i].slot;
      const int64_t parent = rows_[i].parent;
      if (parent >= i || (parent >= 0 && (rows_[parent].seq != rows_[i].seq ||
                                          rows_[parent].pos + 1 != rows_[i].pos)))
        throw std::invalid_argument("row " + std::to_string(i) + " does not continue row " +
                                    std::to_string(parent));
    }
    return places;
  }

  Matrix attention(const Matrix& q, AttentionOp op) {
    StateOp from = state(op.getStateAttr());
    KvCacheType kv = from.getKvType();
    int64_t headDim = kv.getHeadDim(), kvWidth = kv.getNumKvHeads() * headDim;
    int64_t numHeads = q.cols / headDim, group = numHeads / kv.getNumKvHeads();
    int64_t valueDim = kv.getValueDim(), valueWidth = kv.getNumKvHeads() * valueDim;
    int64_t window = from.getWindow();
    Acc scale = static_cast<Acc>(op.getScale().convertToDouble());
    Acc cap = static_cast<Acc>(op.getSoftcap().convertToDouble());
    Matrix y(q.rows, numHeads * valueDim);
    for (int64_t r = 0; r < q.rows; ++r) {
      const KvState::Sequence& sequence =
          kv_.at(from.getSymName(), from.getLayerReadBy(layer_), rows_[r].seq);
      int64_t kvLen = rows_[r].pos + 1;
      const std::vector<int64_t> places = placesFor(r);
      if (static_cast<int64_t>(sequence.keys.size()) < (llvm::max_element(places)[0] + 1) * kvWidth)
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
            dot += Acc(query[d]) * Acc(sequence.keys[places[t] * kvWidth + column + d]);
          p[t - begin] = cap != 0 ? cap * std::tanh(dot * scale / cap) : dot * scale;
        }
        Acc most = *std::max_element(p.begin(), p.end());
        Acc sum = 0;
        if (op.getSinksAttr()) {
          Acc sink = weight(op.getSinksAttr())[head];
          most = std::max(most, sink);
          sum = std::exp(sink - most);
        }
        for (Acc& v : p) sum += v = std::exp(v - most);
        for (int64_t d = 0; d < valueDim; ++d) {
          Acc out = 0;
          for (int64_t t = begin; t < kvLen; ++t)
            out += p[t - begin] *
                   Acc(sequence.values[places[t] * valueWidth + head / group * valueDim + d]);
          y.row(r)[head * valueDim + d] = static_cast<float>(out / sum);
        }
      }
    }
    return y;
  }

  Matrix keep(const Matrix& x, KeepOp op) {
    kv_.kept(state(op.getStateAttr()), layer_) = x;
    return {};
  }
  Matrix hidden(int64_t width) {
    Matrix y(static_cast<int64_t>(rows_.size()), width);
    for (int64_t r = 0; r < y.rows; ++r) {
      if (static_cast<int64_t>(rows_[r].hidden.size()) != width)
        throw std::invalid_argument("row " + std::to_string(r) + " is given no hidden row");
      std::copy_n(rows_[r].hidden.begin(), width, y.row(r));
    }
    return y;
  }
  Matrix kept(KeptOp op) {
    Matrix& from = kv_.kept(state(op.getStateAttr()), layer_);
    Matrix y(static_cast<int64_t>(rows_.size()), widthOf(op.getY()));
    for (int64_t r = 0; r < y.rows; ++r) {
      if (rows_[r].keptRow < 0 || rows_[r].keptRow >= from.rows)
        throw std::invalid_argument("row " + std::to_string(r) + " was not kept");
      std::copy_n(from.row(rows_[r].keptRow), y.cols, y.row(r));
    }
    return y;
  }

  /// body(row, slot) for every row: in a verify step after those of its branch, in a copy of the
  /// slot that is dropped.
  void forRecurrent(FlatSymbolRefAttr symbol,
                    const std::function<void(int64_t, std::vector<float>&)>& body) {
    for (int64_t r = 0; r < static_cast<int64_t>(rows_.size()); ++r) {
      std::vector<float>& slot = kv_.recurrent(state(symbol), layer_, rows_[r].seq);
      if (!verifies_) {
        body(r, slot);
        continue;
      }
      std::vector<int64_t> branch;
      for (int64_t i = r; i >= 0; i = rows_[i].parent) branch.push_back(i);
      std::vector<float> copy = slot;
      for (int64_t row : llvm::reverse(branch)) body(row, copy);
    }
  }

  /// y times the gate, the last of the inputs, where there is one.
  Matrix gated(Matrix y, Value gate, const std::vector<Matrix>& in) {
    return gate ? zip(y, in.back(), [](Acc a, Acc b) { return a * b; }) : y;
  }

  Matrix causalConv(const Matrix& x, CausalConvOp op) {
    const std::vector<float>& w = weight(op.getWeightAttr());
    const auto taps = static_cast<int64_t>(w.size()) / x.cols;
    Matrix y(x.rows, x.cols);
    // `past`: the last tokens before the row, oldest first.
    forRecurrent(op.getStateAttr(), [&](int64_t r, std::vector<float>& past) {
      past.insert(past.end(), x.row(r), x.row(r) + x.cols);
      for (int64_t c = 0; c < x.cols; ++c) {
        Acc sum = 0;
        for (int64_t t = 0; t < taps; ++t)
          sum += Acc(past[t * x.cols + c]) * Acc(w[t * x.cols + c]);
        if (op.getBiasAttr()) sum += Acc(weight(op.getBiasAttr())[c]);
        y.row(r)[c] = static_cast<float>(activate(op.getActivation(), sum));
      }
      past.erase(past.begin(), past.begin() + x.cols);
    });
    return y;
  }

  /// x / sqrt(|x|^2 + eps)
  static std::vector<Acc> unit(const float* x, int64_t n, Acc eps) {
    Acc squares = 0;
    for (int64_t i = 0; i < n; ++i) squares += Acc(x[i]) * Acc(x[i]);
    std::vector<Acc> y(x, x + n);
    for (Acc& v : y) v /= std::sqrt(squares + eps);
    return y;
  }

  /// The state is rounded to f32 after each token: where a step ends does not show.
  Matrix gatedDelta(const Matrix& qkv, const Matrix& gate, const Matrix& beta, GatedDeltaOp op) {
    const auto [keyHeads, heads, keyDim, valueDim] = op.getHeads();
    const std::vector<float>&aLog = weight(op.getALogAttr()), &dtBias = weight(op.getDtBiasAttr());
    const Acc eps = static_cast<Acc>(op.getEps().convertToDouble());
    Matrix y(qkv.rows, heads * valueDim);
    forRecurrent(op.getStateAttr(), [&](int64_t r, std::vector<float>& slot) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t keyHead = op.getTiled() ? h % keyHeads : h / (heads / keyHeads);
        const float* q = qkv.row(r) + keyHead * keyDim;
        const float* v = qkv.row(r) + 2 * keyHeads * keyDim + h * valueDim;
        const std::vector<Acc> query = unit(q, keyDim, eps);
        const std::vector<Acc> key = unit(q + keyHeads * keyDim, keyDim, eps);
        const Acc decay =
            std::exp(-std::exp(Acc(aLog[h])) * softplus(Acc(gate.row(r)[h]) + Acc(dtBias[h])));
        const Acc strength = activate(ActivationKind::sigmoid, beta.row(r)[h]);
        float* s = slot.data() + h * keyDim * valueDim;
        for (int64_t c = 0; c < valueDim; ++c) {
          Acc known = 0, out = 0;
          for (int64_t i = 0; i < keyDim; ++i) known += key[i] * decay * Acc(s[i * valueDim + c]);
          const Acc delta = strength * (Acc(v[c]) - known);
          for (int64_t i = 0; i < keyDim; ++i) {
            float& element = s[i * valueDim + c];
            element = static_cast<float>(decay * Acc(element) + key[i] * delta);
            out += query[i] * Acc(element);
          }
          y.row(r)[h * valueDim + c] = static_cast<float>(out / std::sqrt(Acc(keyDim)));
        }
      }
    });
    return y;
  }

  static Acc softplus(Acc x) { return std::max(x, Acc(0)) + std::log1p(std::exp(-std::abs(x))); }

  /// The state is rounded to f32 after each token.
  Matrix ssd(const Matrix& xbc, const Matrix& dt, SsdOp op) {
    const auto [heads, groups, headDim, stateSize] = op.getHeads();
    const std::vector<float>&a = weight(op.getAAttr()), &dtBias = weight(op.getDtBiasAttr()),
          &d = weight(op.getDAttr());
    Matrix y(xbc.rows, heads * headDim);
    forRecurrent(op.getStateAttr(), [&](int64_t r, std::vector<float>& slot) {
      for (int64_t h = 0; h < heads; ++h) {
        const float* x = xbc.row(r) + h * headDim;
        const float* b = xbc.row(r) + heads * headDim + h / (heads / groups) * stateSize;
        const float* c = b + groups * stateSize;
        Acc time = softplus(Acc(dt.row(r)[h]) + Acc(dtBias[h]));
        if (op.getFrom())
          time = std::max(time, static_cast<Acc>(float(op.getFrom()->convertToDouble())));
        if (op.getTo())
          time = std::min(time, static_cast<Acc>(float(op.getTo()->convertToDouble())));
        const Acc rate = op.getRate() ? Acc(a[h]) : -std::exp(Acc(a[h]));
        const Acc decay = std::exp(rate * time);
        float* s = slot.data() + h * stateSize * headDim;
        for (int64_t p = 0; p < headDim; ++p) {
          Acc out = 0;
          for (int64_t i = 0; i < stateSize; ++i) {
            float& element = s[i * headDim + p];
            element = static_cast<float>(decay * Acc(element) + Acc(b[i]) * time * Acc(x[p]));
            out += Acc(element) * Acc(c[i]);
          }
          y.row(r)[h * headDim + p] = static_cast<float>(out + Acc(d[h]) * Acc(x[p]));
        }
      }
    });
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
      case ActivationKind::relu2:
        return std::max(x, Acc(0)) * std::max(x, Acc(0));
      case ActivationKind::sigmoid:
        return 1 / (1 + std::exp(-x));
      case ActivationKind::quick_gelu:
        return x / (1 + std::exp(Acc(-1.702) * x));
      case ActivationKind::none:
        return x;
    }
    return x;
  }
  Matrix activation(Matrix x, ActivationKind kind) {
    for (float& v : x.values) v = static_cast<float>(activate(kind, v));
    return x;
  }

  Matrix normQkv(const Matrix& x, NormQkvOp op) {
    KvCacheType type = state(op.getStateAttr()).getKvType();
    int64_t kvSize = type.getNumKvHeads() * type.getHeadDim();
    Matrix n = norm(x, op);
    Matrix q = linear(n, op.getQProjAttr(), widthOf(op.getQ()), op.getQBiasAttr());
    auto rotated = [&](Matrix heads, FlatSymbolRefAttr norm) {
      if (norm) heads = qkNorm(std::move(heads), norm, *op.getQkEps(), type.getHeadDim(), false);
      return op.getRopeAttr() ? rope(heads, op.getRopeAttr(), type.getHeadDim()) : heads;
    };
    q = rotated(std::move(q), op.getQNormAttr());
    if (!op.getKProjAttr()) return q;
    Matrix k = linear(n, op.getKProjAttr(), kvSize, op.getKBiasAttr());
    Matrix v = op.getVProjAttr() ? linear(n, op.getVProjAttr(), kvSize, op.getVBiasAttr()) : k;
    if (op.getVNorm()) v = qkNorm(std::move(v), {}, *op.getQkEps(), type.getHeadDim(), false);
    kvWrite(rotated(std::move(k), op.getKNormAttr()), v, op.getStateAttr());
    return q;
  }

  Matrix normGlu(const Matrix& x, NormGluOp op) {
    Matrix n = norm(x, op);
    Matrix gate = linear(n, op.getGateProjAttr(), widthOf(op.getY()), op.getGateBiasAttr());
    Matrix up = linear(n, op.getUpProjAttr(), widthOf(op.getY()), op.getUpBiasAttr());
    return zip(activation(std::move(gate), op.getActivation()), up,
               [](Acc a, Acc b) { return a * b; });
  }

  Evaluator& evaluator_;
  ModelOp model_;
  const std::vector<Row>& rows_;
  KvState& kv_;
  int64_t layer_;
  const SymbolMap& symbols_;
  const bool inTrees_;   // rows have slots and parents
  const bool verifies_;  // recurrent states stay as they are
};

}  // namespace

Matrix Evaluator::evaluateOp(Operation* op, const std::vector<Matrix>& inputs,
                             const std::vector<Row>& rows, KvState& kv, int64_t layer,
                             const SymbolMap& symbols) {
  size_t next = 0;
  for (Value v : op->getOperands()) {
    if (!isa<RankedTensorType>(v.getType())) continue;
    if (next >= inputs.size() || inputs[next].rows != static_cast<int64_t>(rows.size()) ||
        inputs[next].cols != widthOf(v))
      throw std::invalid_argument("operand " + std::to_string(next) + " of " +
                                  op->getName().getStringRef().str() + " must be " +
                                  std::to_string(rows.size()) + "x" + std::to_string(widthOf(v)));
    ++next;
  }
  const StepKind kind = stepKindOf(op);
  if (accumulate_ == Accumulate::kFloat)
    return OpEvaluator<float>(*this, model_, rows, kv, layer, symbols, kind).evaluate(op, inputs);
  return OpEvaluator<double>(*this, model_, rows, kv, layer, symbols, kind).evaluate(op, inputs);
}

}  // namespace llmc::test
