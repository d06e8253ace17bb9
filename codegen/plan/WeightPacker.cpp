#include "codegen/plan/WeightPacker.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include "codegen/plan/MappedPages.h"
#include "codegen/plan/PanelPacking.h"
#include "runtime/io/printable.h"
#include "runtime/io/tensor_name.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/same_case.h"
#include "runtime/schema/stored_weights.h"
#include "runtime/schema/version.h"
#include "runtime/schema/weight_view.h"

namespace llmc {
namespace {

namespace schema = llmrt::schema;
using llmrt::PanelRow;
using llmrt::Result;
using llmrt::Status;
using llmrt::Tensor;

// Large enough that handing a block from thread to thread costs nothing beside packing it (about 1
// ms), small enough to be still in the last-level cache when it is hashed and written.
constexpr int64_t kBlockBytes = 4 << 20;
constexpr int kMaxThreads = 8;

/// One layer of one weight; of a weight of experts, one of them.
struct Item {
  schema::WeightT* weight = nullptr;
  uint64_t offset = 0;  // in the file, of the layer
  uint32_t expert = 0;
  PackedTensor tensor;

  uint64_t planeAt(size_t plane) const {
    return offset + (weight->planes.empty() ? 0 : weight->planes[plane]->offset_bytes);
  }
};

/// Units [begin, end) of an item: what a thread packs at once.
struct Block {
  const Item* item = nullptr;
  int64_t begin = 0, end = 0;
  uint64_t bytes() const { return static_cast<uint64_t>((end - begin) * item->tensor.unitBytes()); }
  uint64_t bytes(int plane) const {
    return static_cast<uint64_t>((end - begin) * item->tensor.unitBytes(plane));
  }
  bool beginsLayer() const { return begin == 0 && item->expert == 0; }
  bool endsLayer() const {
    return end == item->tensor.units() &&
           item->expert + 1 == std::max(1u, item->weight->num_experts);
  }
};

Status checkView(const schema::WeightSourceT& s, const llmrt::WeightView& view, uint32_t experts) {
  if (view.isInside(static_cast<int64_t>(s.rows), static_cast<int64_t>(s.cols), experts)) return {};
  return llmrt::invalidData("the plan's weight source " + llmrt::quotedName(s.name) +
                            " has a view that leaves its tensor");
}

std::string tensorText(const llmrt::TensorSource& source, std::string_view name) {
  return source.path() + ": tensor " + llmrt::quotedName(source.storedName(name));
}

/// Quantised values are packed as they are stored, in whole blocks; plain ones become quants where
/// the plan wants those.
Status checkFormat(const std::string& what, const Tensor& tensor, const llmrt::WeightFormat& format,
                   int64_t cols, const llmrt::WeightView* view) {
  const llmrt::WeightFormat& stored = tensor.format();
  if (stored.isPlain() && format.isPlain()) return {};
  if (&stored != &format && !(stored.isPlain() && cols % format.block == 0))
    return llmrt::invalidData(
        fmt::format("{} is stored in {}, the plan is for {}: compile it again with these weights",
                    what, stored.name, format.name));
  if (!view || view->takesWholeBlocks(cols, format.block)) return {};
  return llmrt::unsupported(fmt::format(
      "{} is stored in {}, in blocks of {} values, and the model would need it cut inside of them",
      what, format.name, format.block));
}

Result<const Tensor*> findTensor(const llmrt::TensorSource& source,
                                 const schema::WeightSourceT& wanted, uint32_t layer,
                                 uint32_t expert, const llmrt::WeightFormat& format,
                                 const llmrt::WeightView* view) {
  const std::string name = llmrt::tensorName(wanted.name, layer, expert);
  LLMRT_ASSIGN_OR_RETURN(const Tensor* tensor, source.find(name));
  std::vector<int64_t> shape = {static_cast<int64_t>(wanted.rows)};
  if (wanted.kind == 0) shape.push_back(static_cast<int64_t>(wanted.cols));
  if (view) shape = view->stored;
  if (!tensor) return llmrt::missingTensor(source, name, shape);
  const std::string what = tensorText(source, name);
  if (tensor->shape != shape) {
    return llmrt::invalidData(fmt::format("{} has shape [{}], the plan needs [{}]", what,
                                          fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")));
  }
  LLMRT_RETURN_IF_ERROR(
      checkFormat(what, *tensor, format, static_cast<int64_t>(wanted.cols), view));
  return tensor;
}

/// Every layer and expert of every weight in the order of the file. `lanes` keeps the row maps of
/// weights in panels, `views` those of their sources.
Result<std::vector<Item>> collect(schema::PlanT& plan, const llmrt::TensorSource& source,
                                  std::deque<std::vector<PanelRow>>& lanes,
                                  std::deque<llmrt::WeightView>& views) {
  std::vector<Item> items;
  for (auto& weight : plan.weights) {
    schema::WeightT& w = *weight;
    const size_t first_item = items.size();
    const uint32_t experts = std::max(1u, w.num_experts);
    const llmrt::WeightFormat* format = llmrt::formatOf(w);
    if (!format ||
        (format->num_planes > 1 && w.planes.size() != static_cast<size_t>(format->num_planes)))
      return llmrt::invalidData("the plan's weight " + llmrt::quotedName(w.name) +
                                " has a format that llmc does not know");
    std::vector<const llmrt::WeightView*> weight_views;
    for (const auto& s : w.sources) {
      weight_views.push_back(s->view ? &views.emplace_back(llmrt::viewOf(*s->view)) : nullptr);
      const bool own_tensors = llmrt::namesExpert(s->name);
      if (s->view)
        LLMRT_RETURN_IF_ERROR(checkView(*s, *weight_views.back(), own_tensors ? 1 : experts));
    }
    for (uint32_t l = 0; l < std::max(1u, w.num_layers); ++l) {
      for (uint32_t e = 0; e < experts; ++e) {
        PackedTensor tensor{format, static_cast<int64_t>(w.cols), {}, nullptr};
        for (size_t i = 0; i < w.sources.size(); ++i) {
          const schema::WeightSourceT& s = *w.sources[i];
          LLMRT_ASSIGN_OR_RETURN(const Tensor* stored, findTensor(source, s, w.first_layer + l, e,
                                                                  *format, weight_views[i]));
          const bool sliced = !llmrt::namesExpert(s.name);
          tensor.sources.push_back({stored, static_cast<int64_t>(s.rows), weight_views[i],
                                    sliced ? e : 0, static_cast<float>(s.plus)});
        }
        items.push_back({&w, w.offset_bytes + l * w.layer_stride_bytes, e, std::move(tensor)});
      }
    }
    // Only now are the plan's sizes known to be those of real tensors: a row map takes memory by
    // them.
    const std::vector<PanelRow>* weight_lanes = nullptr;
    if (w.layout == schema::Layout::panels) {
      std::vector<int64_t> rows;
      for (const auto& s : w.sources) rows.push_back(static_cast<int64_t>(s->rows));
      weight_lanes = &lanes.emplace_back(
          llmrt::panelRows(rows, llmrt::sameCase<llmrt::PanelOrder>(w.order), w.head_rows));
    }
    for (Item& item : std::span(items).subspan(first_item)) {
      item.tensor.lanes = weight_lanes;
      for (int p = 0; p < format->num_planes; ++p) {
        const uint64_t planned =
            w.planes.empty() ? w.bytes : w.planes[static_cast<size_t>(p)]->bytes;
        if (static_cast<uint64_t>(item.tensor.units() * item.tensor.unitBytes(p)) * experts !=
            planned)
          return llmrt::invalidData("the plan's weight " + llmrt::quotedName(w.name) +
                                    " has a size that its shape does not give");
      }
    }
  }
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.offset < b.offset; });
  return items;
}

/// Packs blocks on several threads; next() hands them out in order. Its threads allocate nothing.
class PackingTeam {
 public:
  explicit PackingTeam(const std::vector<Block>& blocks) : blocks_(blocks) {
    uint64_t slot_bytes = 0;
    size_t sources = 0;
    for (const Block& b : blocks_) {
      slot_bytes = std::max(slot_bytes, b.bytes());
      sources = std::max(sources, b.item->tensor.sources.size());
    }
    const int threads =
        std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
    // Two blocks for each packer: one in work, one waiting to be written.
    slots_.resize(std::min<size_t>(blocks_.size(), static_cast<size_t>(2 * threads)));
    for (Slot& slot : slots_) {
      slot.data.resize(slot_bytes);
      slot.ranges.resize(sources);
    }
    try {
      for (int i = 0; i < threads && i < static_cast<int>(blocks_.size()); ++i)
        threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // Fewer threads than wanted; next() packs by itself when there is none.
    }
  }

  ~PackingTeam() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    free_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  /// The next block's planes, one behind another, valid until the call after. `corrupt`: as
  /// packUnits() says.
  std::span<const uint8_t> next(const PackedSource*& corrupt) {
    std::unique_lock lock(mutex_);
    if (written_ > 0) slotOf(written_ - 1).ready = false;
    const size_t index = written_++;
    free_.notify_all();
    Slot& slot = slotOf(index);
    if (threads_.empty()) {
      pack(index, slot);
    } else {
      ready_.wait(lock, [&] { return slot.ready; });
    }
    corrupt = slot.corrupt;
    return {slot.data.data(), blocks_[index].bytes()};
  }

 private:
  struct Slot {
    std::vector<uint8_t> data;
    std::vector<std::span<const uint8_t>> ranges;  // what was read for it
    const PackedSource* corrupt = nullptr;
    bool ready = false;
  };

  Slot& slotOf(size_t index) { return slots_[index % slots_.size()]; }

  void pack(size_t index, Slot& slot) {
    const Block& block = blocks_[index];
    const PackedTensor& tensor = block.item->tensor;
    const std::span ranges(slot.ranges.data(), tensor.sources.size());
    bytesRead(tensor, block.begin, block.end, ranges);
    // One call maps what otherwise 16 rows at a time would fault in page by page.
    for (auto range : ranges) advise(range, MADV_POPULATE_READ);
    std::array<uint8_t*, llmrt::WeightFormat::kMaxPlanes> planes;
    uint8_t* to = slot.data.data();
    for (int p = 0; p < tensor.format->num_planes; to += block.bytes(p++))
      planes[static_cast<size_t>(p)] = to;
    slot.corrupt = packUnits(tensor, block.begin, block.end, planes.data());
    // Mapped pages count as ours: give them back (the page cache keeps them), or a large checkpoint
    // fills the memory.
    for (size_t i = 0; i < ranges.size(); ++i)
      if (tensor.sources[i].tensor->file_backed) advise(ranges[i], MADV_DONTNEED);
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      // A slot is free once its last block was handed out and the next one asked for.
      free_.wait(lock, [&] {
        return stop_ || claimed_ == blocks_.size() ||
               (claimed_ + 1 < written_ + slots_.size() || claimed_ < slots_.size());
      });
      if (stop_ || claimed_ == blocks_.size()) return;
      const size_t index = claimed_++;
      Slot& slot = slotOf(index);
      lock.unlock();
      pack(index, slot);
      lock.lock();
      slot.ready = true;
      ready_.notify_one();
    }
  }

  const std::vector<Block>& blocks_;
  std::vector<Slot> slots_;
  std::mutex mutex_;
  std::condition_variable free_, ready_;
  size_t claimed_ = 0;  // blocks taken by packers
  size_t written_ = 0;  // blocks handed out by next()
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

/// xxh3 of each weight over its layers, which come in order but between those of other weights.
class Hashes {
 public:
  explicit Hashes(const schema::PlanT& plan) : states_(plan.weights.size()) {
    for (XXH3_state_t& state : states_) XXH3_64bits_reset(&state);
    for (size_t i = 0; i < plan.weights.size(); ++i) index_.emplace_back(plan.weights[i].get(), i);
    std::sort(index_.begin(), index_.end());
  }
  void update(const schema::WeightT* weight, std::span<const uint8_t> bytes) {
    const auto found = std::lower_bound(index_.begin(), index_.end(), std::pair(weight, size_t{0}));
    XXH3_64bits_update(&states_[found->second], bytes.data(), bytes.size());
  }
  /// Into the plan; what they make together is what the weights are known by.
  uint64_t store(schema::PlanT& plan) {
    std::vector<uint64_t> hashes;
    for (size_t i = 0; i < states_.size(); ++i)
      hashes.push_back(plan.weights[i]->hash = XXH3_64bits_digest(&states_[i]));
    return llmrt::weightsContent(hashes);
  }

 private:
  std::vector<XXH3_state_t> states_;
  std::vector<std::pair<const schema::WeightT*, size_t>> index_;
};

/// Writes packed blocks in the order of the file, hashed. The first plane of a layer is written as
/// it comes; its other planes, which follow all of that, are kept until the layer's last block: an
/// eighth of the layer's bytes in q4_k, two fifths in q6_k.
class LayerWriter {
 public:
  LayerWriter(llmrt::AtomicFile& file, const schema::PlanT& plan) : file_(file), hashes_(plan) {}

  Status write(const Block& block, std::span<const uint8_t> bytes) {
    const Item& item = *block.item;
    const int planes = item.tensor.format->num_planes;
    for (int p = 0; p < planes; ++p) {
      const std::span<const uint8_t> plane = bytes.first(block.bytes(p));
      bytes = bytes.subspan(plane.size());
      if (p > 0) {
        kept_[static_cast<size_t>(p)].insert(kept_[static_cast<size_t>(p)].end(), plane.begin(),
                                             plane.end());
      } else {
        if (block.beginsLayer()) LLMRT_RETURN_IF_ERROR(file_.padTo(item.planeAt(0)));
        LLMRT_RETURN_IF_ERROR(write(item, plane));
      }
    }
    if (!block.endsLayer()) return {};
    for (size_t p = 1; p < static_cast<size_t>(planes); ++p) {
      LLMRT_RETURN_IF_ERROR(file_.padTo(item.planeAt(p)));
      LLMRT_RETURN_IF_ERROR(write(item, kept_[p]));
      kept_[p].clear();
    }
    return {};
  }
  /// Bytes of the file that were written, or are kept for it.
  uint64_t done() const {
    uint64_t bytes = file_.position();
    for (const std::vector<uint8_t>& plane : kept_) bytes += plane.size();
    return bytes;
  }
  /// Of all weights, into the plan.
  uint64_t storeHashes(schema::PlanT& plan) { return hashes_.store(plan); }

 private:
  Status write(const Item& item, std::span<const uint8_t> bytes) {
    hashes_.update(item.weight, bytes);
    return file_.write(bytes.data(), bytes.size());
  }

  llmrt::AtomicFile& file_;
  Hashes hashes_;
  std::array<std::vector<uint8_t>, llmrt::WeightFormat::kMaxPlanes> kept_;
};

Status unusableTensor(const llmrt::TensorSource& source, const Tensor& tensor) {
  return llmrt::invalidData(
      tensorText(source, tensor.name) +
      (tensor.blocks ? " is corrupt: a block of it has a scale or minimum that is not finite"
                     : " has a value that is not finite"));
}

}  // namespace

Result<llmrt::AtomicFile> packWeights(schema::PlanT& plan, const llmrt::TensorSource& source,
                                      const std::string& path, const PackProgress& progress) {
  std::deque<std::vector<PanelRow>> lanes;
  std::deque<llmrt::WeightView> views;
  LLMRT_ASSIGN_OR_RETURN(const std::vector<Item> items, collect(plan, source, lanes, views));
  std::vector<Block> blocks;
  for (const Item& item : items) {
    const int64_t units = item.tensor.units();
    const int64_t step = std::max<int64_t>(1, kBlockBytes / item.tensor.unitBytes());
    for (int64_t begin = 0; begin < units; begin += step)
      blocks.push_back({&item, begin, std::min(begin + step, units)});
  }

  LLMRT_ASSIGN_OR_RETURN(llmrt::AtomicFile file, llmrt::AtomicFile::create(path));
  llmrt::WeightsHeader header{};
  std::memcpy(header.magic, llmrt::kWeightsMagic, sizeof header.magic);
  header.version = llmrt::kWeightsVersion;
  header.plan_id = plan.id;
  header.bytes = plan.weights_bytes;
  LLMRT_RETURN_IF_ERROR(file.write(&header, sizeof header));

  LayerWriter writer(file, plan);
  PackingTeam team(blocks);
  for (const Block& block : blocks) {
    const PackedSource* corrupt = nullptr;
    const std::span<const uint8_t> bytes = team.next(corrupt);
    if (corrupt) return unusableTensor(source, *corrupt->tensor);
    LLMRT_RETURN_IF_ERROR(writer.write(block, bytes));
    if (progress && !progress(writer.done(), plan.weights_bytes))
      return Status(llmrt::StatusCode::kCancelled, path + ": interrupted, nothing was written");
  }
  LLMRT_RETURN_IF_ERROR(file.padTo(plan.weights_bytes));
  header.content = writer.storeHashes(plan);
  LLMRT_RETURN_IF_ERROR(file.overwrite(0, &header, sizeof header));
  plan.has_weights = true;
  return file;
}

}  // namespace llmc
