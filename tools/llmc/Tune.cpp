#include "tools/llmc/Tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "codegen/cpu/Codegen.h"
#include "codegen/tuning/Candidates.h"
#include "codegen/tuning/Choose.h"
#include "runtime/executor/cpu_features.h"
#include "runtime/measure/bandwidth.h"
#include "runtime/measure/compute_peak.h"
#include "runtime/measure/parallel.h"
#include "tools/llmc/ProductBench.h"
#include "tools/llmc/Tunings.h"

namespace llmc {
namespace {

using cpu::ProductKey;
using cpu::ProductRows;
using cpu::ProductTuning;
using llmrt::Result;
using llmrt::Status;

// Rounds of all candidates, of the best of them, and of the best one and the default alone. Those
// of many rows take some 20 ms each, the others about 5.
struct Rounds {
  int all, finals, last;
};
constexpr Rounds kFewRounds = {5, 15, 31}, kManyRounds = {3, 7, 15};
constexpr size_t kFinalists = 4;
/// Rows for which pieces are measured, in steps of few rows: as many as the first-level cache is
/// made for.
constexpr int64_t kPieceRows = 16;
constexpr int64_t kPrefillRows = 512;

/// One product of the model and the kernels that compute it.
struct Product {
  ProductKey key;
  llm::KernelOp kernel;  // the one for the most rows
};

/// Kernels are distinct in more than what tunings tell apart: of each key one is measured.
std::vector<Product> productsOf(llm::ModelOp model) {
  std::map<ProductKey, llm::KernelOp> byKey;
  for (auto kernel : model.getOps<llm::KernelOp>()) {
    const std::optional<ProductKey> key = cpu::productKeyOf(kernel);
    if (!key) continue;
    auto [at, isNew] = byKey.try_emplace(*key, kernel);
    if (!isNew && kernel.getMaxRows() > at->second.getMaxRows()) at->second = kernel;
  }
  std::vector<Product> products;
  for (const auto& [key, kernel] : byKey) products.push_back({key, kernel});
  return products;
}

/// The machine's limits, to hold the kernels against. Each is one sample, taken beside theirs.
class Limits {
 public:
  static Result<Limits> create(const cpu::CpuTarget& target, int threads) {
    LLMRT_ASSIGN_OR_RETURN(llmrt::BandwidthMeter meter, llmrt::BandwidthMeter::create(threads));
    Limits limits(target, threads, std::move(meter));
    LLMRT_RETURN_IF_ERROR(limits.chooseStreams());
    return limits;
  }
  uint64_t bufferBytes() const { return meter_.bufferBytes(); }
  Result<double> bytesPerSecond() const { return meter_.measure(streams_); }
  Result<double> flopsPerSecond(bool bf16) const {
    return llmrt::measureComputePeak(target_.name, bf16, threads_);
  }

 private:
  Limits(const cpu::CpuTarget& target, int threads, llmrt::BandwidthMeter meter)
      : target_(target), threads_(threads), meter_(std::move(meter)) {}

  // Once for all: the best of several reads at different moments is more than the memory gives,
  // where what it gives moves.
  Status chooseStreams() {
    constexpr int kTimes = 5;
    std::vector<std::vector<double>> speeds(meter_.kStreams.size());
    for (int i = 0; i < kTimes; ++i)
      for (size_t s = 0; s < speeds.size(); ++s) {
        LLMRT_ASSIGN_OR_RETURN(const double speed, meter_.measure(meter_.kStreams[s]));
        speeds[s].push_back(speed);
      }
    size_t best = 0;
    for (size_t s = 1; s < speeds.size(); ++s)
      if (medianOf(speeds[s]) > medianOf(speeds[best])) best = s;
    streams_ = meter_.kStreams[best];
    return {};
  }

  const cpu::CpuTarget& target_;
  const int threads_;
  llmrt::BandwidthMeter meter_;
  int streams_ = 1;
};

/// What is measured: a tuning, and its code.
struct Candidate {
  ProductTuning tuning;
  KernelCode code;
};

/// One product, measured with a number of rows.
class Search {
 public:
  Search(const Product& product, int64_t rows, const cpu::CpuTarget& target, const Limits& limits)
      : product_(product), rows_(rows), target_(target), limits_(limits) {
    // Code for few rows has a tile for each number of them: only those that are measured.
    auto whole = product.kernel->getParentOfType<mlir::ModuleOp>();
    module_ = whole.clone();
    llm::ModelOp model = *module_->getOps<llm::ModelOp>().begin();
    for (auto kernel : llvm::make_early_inc_range(model.getOps<llm::KernelOp>())) {
      if (kernel.getSymName() != llm::KernelOp(product.kernel).getSymName())
        kernel.erase();
      else
        kernel_ = kernel;
    }
    kernel_.setMaxRows(rows);
  }

  Status prepare(std::span<uint8_t> weights, llmrt::ThreadTeam& team) {
    LLMRT_ASSIGN_OR_RETURN(ProductBench bench, ProductBench::create(kernel_, rows_, weights, team));
    bench_ = std::make_unique<ProductBench>(std::move(bench));
    return {};
  }

  /// The best of `tunings` beside `start`, which is the first of all: candidates and those that
  /// `more` makes from the best of them. `start` where none is certainly better.
  using More = std::function<std::vector<ProductTuning>(const std::vector<ProductTuning>& better)>;
  Result<cpu::TunedProduct> best(const ProductTuning& start, std::vector<ProductTuning> tunings,
                                 const More& more) {
    const Rounds rounds = product_.key.rows == ProductRows::few ? kFewRounds : kManyRounds;
    std::vector<Candidate> all;
    tunings.insert(tunings.begin(), start);
    LLMRT_RETURN_IF_ERROR(compile(all, tunings));
    LLMRT_ASSIGN_OR_RETURN(Times times, measure(all, rounds.all));
    std::vector<ProductTuning> better;
    for (size_t c : bestCandidates(times, all.size()))
      if (gainOf(times, c).median > 1) better.push_back(all[c].tuning);

    std::vector<Candidate> finalists;
    finalists.push_back(std::move(all[0]));
    for (size_t c : bestCandidates(times, kFinalists)) finalists.push_back(std::move(all[c]));
    all.clear();
    LLMRT_RETURN_IF_ERROR(compile(finalists, more(better)));
    LLMRT_ASSIGN_OR_RETURN(times, measure(finalists, rounds.finals));

    // What won among many has had luck, too: it is measured once more, beside the default alone.
    std::vector<Candidate> last;
    last.push_back(std::move(finalists[0]));
    for (size_t c : bestCandidates(times, 1)) last.push_back(std::move(finalists[c]));
    std::vector<double> limits;
    LLMRT_ASSIGN_OR_RETURN(times, measure(last, rounds.last, &limits));
    const Gain gain = last.size() > 1 ? gainOf(times, 1) : Gain();
    const size_t chosen = gain.certain() ? 1 : 0;
    std::vector<double> shares;
    for (size_t r = 0; r < limits.size(); ++r)
      shares.push_back(work() / times[chosen][r] / limits[r]);
    return cpu::TunedProduct{.key = product_.key,
                             .tuning = last[chosen].tuning,
                             .gain = chosen ? gain.median : 1,
                             .ofLimit = medianOf(shares)};
  }

 private:
  bool few() const { return product_.key.rows == ProductRows::few; }
  double work() const { return few() ? bench_->bytesOfPass() : bench_->flopsOfPass(); }

  /// Appends the candidates that are not there yet.
  Status compile(std::vector<Candidate>& all, const std::vector<ProductTuning>& tunings) {
    for (const ProductTuning& tuning : tunings) {
      if (std::any_of(all.begin(), all.end(),
                      [&](const Candidate& c) { return c.tuning == tuning; }))
        continue;
      cpu::CpuTuning one;
      one.products.push_back({.key = product_.key, .tuning = tuning});
      auto compiled = cpu::compileKernels(*module_->getOps<llm::ModelOp>().begin(), target_,
                                          cpu::Emit::none, &one);
      if (!compiled) return llmrt::internalError(llvm::toString(compiled.takeError()));
      Candidate candidate{tuning};
      LLMRT_ASSIGN_OR_RETURN(candidate.code.image, llmrt::CodeImage::load(compiled->image));
      candidate.code.run = candidate.code.image.find(kernel_.getSymName().str());
      candidate.code.scratchBytes = static_cast<uint64_t>(compiled->scratchBytes);
      if (!candidate.code.run) return llmrt::internalError("a kernel's code lacks its symbol");
      all.push_back(std::move(candidate));
    }
    return {};
  }

  /// Times of all candidates in `rounds` rounds, in each of which another one is first. `limits`:
  /// the machine's, measured in the middle of each.
  Result<Times> measure(const std::vector<Candidate>& all, int rounds,
                        std::vector<double>* limits = nullptr) {
    for (const Candidate& candidate : all)  // brings code and tables into the caches
      LLMRT_RETURN_IF_ERROR(bench_->run(candidate.code).status());
    Times times(all.size());
    for (int r = 0; r < rounds; ++r) {
      for (size_t i = 0; i < all.size(); ++i) {
        const size_t c = (i + static_cast<size_t>(r)) % all.size();
        LLMRT_ASSIGN_OR_RETURN(const double seconds, bench_->run(all[c].code));
        times[c].push_back(seconds);
        if (!limits || i != all.size() / 2) continue;
        LLMRT_RETURN_IF_ERROR(addLimit(*limits));
      }
    }
    return times;
  }

  Status addLimit(std::vector<double>& limits) const {
    // Products of int8 have no peak of their own here.
    if (!few() && product_.key.int8) return {};
    LLMRT_ASSIGN_OR_RETURN(
        const double limit,
        few() ? limits_.bytesPerSecond() : limits_.flopsPerSecond(product_.key.weights == "bf16"));
    limits.push_back(limit);
    return {};
  }

  const Product& product_;
  const int64_t rows_;
  const cpu::CpuTarget& target_;
  const Limits& limits_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  llm::KernelOp kernel_;
  std::unique_ptr<ProductBench> bench_;
};

class Tuner {
 public:
  Tuner(const cpu::CpuTarget& target, Limits limits, std::unique_ptr<llmrt::ThreadTeam> team)
      : target_(target), limits_(std::move(limits)), team_(std::move(team)) {}

  /// Weights for all: what they say does not matter, but that they are numbers (0x3c3c is one in
  /// every type) and no page of zeros that all addresses share.
  Status allocate(const std::vector<Product>& products) {
    uint64_t bytes = limits_.bufferBytes();
    for (const Product& product : products)
      bytes = std::max(bytes, ProductBench::weightBytes(product.kernel));
    LLMRT_RETURN_IF_ERROR(llmrt::checkMemoryAvailable(bytes, "weights to measure with"));
    LLMRT_ASSIGN_OR_RETURN(weights_,
                           llmrt::AnonymousMemory::allocate(bytes, "weights to measure with"));
    const uint64_t threads = static_cast<uint64_t>(team_->size());
    return llmrt::timeOnThreads(team_->size(),
                                [&](int t) {
                                  const auto thread = static_cast<uint64_t>(t);
                                  const uint64_t begin = bytes * thread / threads,
                                                 end = bytes * (thread + 1) / threads;
                                  std::memset(weights_.data() + begin, 0x3c, end - begin);
                                })
        .status();
  }

  Result<cpu::TunedProduct> tune(const Product& product) {
    TunedShape shape{target_, product.key, tilePanels(product.kernel),
                     product.key.weights == "bf16" && target_.bf16Product == cpu::Bf16Product::amx};
    if (product.key.rows == ProductRows::many) return tunePieces(product, shape, {});
    Search rows(product, 1, target_, limits_);
    LLMRT_RETURN_IF_ERROR(rows.prepare(span(), *team_));
    LLMRT_ASSIGN_OR_RETURN(cpu::TunedProduct tuned,
                           rows.best({}, streamCandidates(shape), [&](const auto& better) {
                             return better.empty() ? std::vector<ProductTuning>()
                                                   : aheadCandidates(shape, better.front());
                           }));
    // Decode of one sequence has one row, and no trees have more.
    llm::KernelOp kernel = product.kernel;
    const bool rowsOccur = kernel.getKind() == llm::StepKind::verify ||
                           kernel->getParentOfType<llm::ModelOp>().getMaxBatch() > 1;
    if (!rowsOccur || kernel.getMaxRows() < kPieceRows) return tuned;
    // Of more rows, beside what is known of one; people want to know of that one.
    LLMRT_ASSIGN_OR_RETURN(const cpu::TunedProduct pieces,
                           tunePieces(product, shape, tuned.tuning));
    tuned.tuning = pieces.tuning;
    return tuned;
  }

 private:
  Result<cpu::TunedProduct> tunePieces(const Product& product, const TunedShape& shape,
                                       const ProductTuning& start) {
    const auto most = static_cast<int64_t>(llm::KernelOp(product.kernel).getMaxRows());
    Search rows(product,
                std::min(most, shape.key.rows == ProductRows::few ? kPieceRows : kPrefillRows),
                target_, limits_);
    LLMRT_RETURN_IF_ERROR(rows.prepare(span(), *team_));
    return rows.best(start, pieceCandidates(shape, start), [&](const auto& better) {
      return std::vector<ProductTuning>{combine(start, better)};
    });
  }

  static int64_t tilePanels(llm::KernelOp kernel) {
    for (const llm::KernelOperand& operand : kernel.getComputeOp().getKernelOperands())
      if (operand.layout == llm::Layout::panels && operand.headRows)
        return (operand.headRows + 15) / 16;
    return llm::kTilePanels;
  }
  std::span<uint8_t> span() const { return {weights_.data(), weights_.size()}; }

  const cpu::CpuTarget& target_;
  Limits limits_;
  std::unique_ptr<llmrt::ThreadTeam> team_;
  llmrt::AnonymousMemory weights_;
};

}  // namespace

Result<cpu::CpuTuning> measureTuning(llm::ModelOp model, const cpu::CpuTarget& target,
                                     const std::function<void(const std::string&)>& onStage) {
  LLMRT_RETURN_IF_ERROR(llmrt::enableCpuTarget(target.name));
  const int threads = llmrt::defaultThreads();
  const HostCpu host = hostCpu();
  cpu::CpuTuning tuning{
      .cpu = host.cpu, .model = host.model, .target = target.name, .threads = threads};
  const std::vector<Product> products = productsOf(model);
  onStage("measuring the memory");
  LLMRT_ASSIGN_OR_RETURN(Limits limits, Limits::create(target, threads));
  LLMRT_ASSIGN_OR_RETURN(auto team, llmrt::ThreadTeam::create(threads));
  Tuner tuner(target, std::move(limits), std::move(team));
  LLMRT_RETURN_IF_ERROR(tuner.allocate(products));
  for (size_t i = 0; i < products.size(); ++i) {
    onStage(fmt::format("tuning {} ({} of {})", products[i].key.text(), i + 1, products.size()));
    LLMRT_ASSIGN_OR_RETURN(cpu::TunedProduct tuned, tuner.tune(products[i]));
    tuning.products.push_back(std::move(tuned));
  }
  return tuning;
}

}  // namespace llmc
