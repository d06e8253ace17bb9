#include "runtime/cuda/upload.h"

#include <algorithm>
#include <cstring>

#include "runtime/abi/cuda_abi.h"
#include "runtime/executor/thread_team.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/stored_weights.h"

namespace llmrt::cuda {
namespace {

constexpr uint64_t kBufferBytes = uint64_t{32} << 20;
// One core fills about 10 GB/s; PCIe 5 takes 55.
constexpr int kFillThreads = 8;
constexpr unsigned kMostRelayoutBlocks = 4096;

// How one weight (of one layer) is cut: whole groups of panels can be laid out anew on their own.
struct Cut {
  bool panels = false;
  uint64_t unit_bytes = 0;         // of a group of panels in the file, or of a row
  uint64_t device_unit_bytes = 0;  // of the same on the device
  uint64_t units = 0;
  uint64_t panels_per_unit = 1;
};

Cut cutOf(const schema::Weight& w) {
  Cut cut;
  const WeightFormat& format = *formatOf(w);  // verified
  const auto unitBytes = [&](bool in_panels) {
    return static_cast<uint64_t>(format.unitBytes(0, in_panels, static_cast<int64_t>(w.cols())));
  };
  const uint64_t experts = std::max<uint64_t>(w.num_experts(), 1);  // one after another
  if (w.layout() == schema::Layout::rows) {
    for (const schema::WeightSource* s : *w.sources()) cut.units += s->rows() * experts;
    cut.unit_bytes = cut.device_unit_bytes = unitBytes(false);
    return cut;
  }
  cut.panels = true;
  if (w.order() == schema::PanelOrder::interleave) cut.panels_per_unit = 2;
  if (w.order() == schema::PanelOrder::heads) cut.panels_per_unit = (w.head_rows() + 15) / 16;
  const uint64_t block_cols = 32 / static_cast<uint64_t>(dtypeBytes(format.planes[0].dtype));
  cut.units = w.panels() / cut.panels_per_unit * experts;
  cut.unit_bytes = cut.panels_per_unit * unitBytes(true);
  cut.device_unit_bytes = cut.panels_per_unit * ((w.cols() + block_cols - 1) / block_cols) * 512;
  return cut;
}

struct FillTask {
  uint8_t* to;
  const uint8_t* from;
  uint64_t bytes;
  int threads;
};

void fillShare(void* context, int worker) {
  const FillTask& task = *static_cast<const FillTask*>(context);
  const auto part = [&](int i) {
    return task.bytes * static_cast<uint64_t>(i) / static_cast<uint64_t>(task.threads);
  };
  std::memcpy(task.to + part(worker), task.from + part(worker), part(worker + 1) - part(worker));
}

class Uploader {
 public:
  Uploader(const Driver& driver, CuStream stream) : driver_(driver), stream_(stream) {}

  Status start(uint64_t buffer_bytes) {
    buffer_bytes_ = buffer_bytes;
    LLMRT_ASSIGN_OR_RETURN(team_, ThreadTeam::create(std::min(kFillThreads, defaultThreads())));
    for (Slot& slot : slots_) {
      LLMRT_ASSIGN_OR_RETURN(slot.host,
                             PinnedMemory::allocate(driver_, buffer_bytes, "uploading weights"));
      LLMRT_ASSIGN_OR_RETURN(slot.device,
                             DeviceMemory::allocate(driver_, buffer_bytes, "uploading weights"));
      CuEvent event = nullptr;
      LLMRT_CUDA_CHECK(driver_, driver_.event_create(&event, kCuEventDisableTiming),
                       "cuEventCreate");
      slot.free = Owned<CuEvent>(event, driver_.event_destroy);
    }
    return {};
  }

  Status upload(const schema::Weight& w, const uint8_t* from, CuDevicePtr to, CuFunction relayout) {
    const Cut cut = cutOf(w);
    const uint64_t at_once =
        std::max<uint64_t>(buffer_bytes_ / std::max(cut.unit_bytes, cut.device_unit_bytes), 1);
    for (uint64_t begin = 0; begin < cut.units; begin += at_once) {
      const uint64_t units = std::min(at_once, cut.units - begin), bytes = units * cut.unit_bytes;
      Slot& slot = slots_[next_];
      next_ ^= 1;
      LLMRT_CUDA_CHECK(driver_, driver_.event_synchronize(slot.free.get()), "uploading weights");
      FillTask task{slot.host.data(), from + begin * cut.unit_bytes, bytes, team_->size()};
      team_->run(fillShare, &task);
      const CuDevicePtr place = to + begin * cut.device_unit_bytes;
      const CuDevicePtr first = cut.panels ? slot.device.address() : place;
      LLMRT_CUDA_CHECK(driver_, driver_.copy_to_device(first, slot.host.data(), bytes, stream_),
                       "uploading weights");
      if (cut.panels) {
        LlmcCudaRelayout args{first,
                              place,
                              static_cast<int64_t>(units * cut.panels_per_unit),
                              static_cast<int64_t>(w.cols()),
                              static_cast<int32_t>(w.order()),
                              static_cast<int32_t>(w.head_rows())};
        void* pointers[] = {&args};
        const uint64_t warps = units * cut.device_unit_bytes / 512;
        const auto blocks = static_cast<unsigned>(
            std::clamp<uint64_t>(warps * 32 / LLMC_CUDA_RELAYOUT_THREADS, 1, kMostRelayoutBlocks));
        LLMRT_CUDA_CHECK(driver_,
                         driver_.launch(relayout, blocks, 1, 1, LLMC_CUDA_RELAYOUT_THREADS, 1, 1, 0,
                                        stream_, pointers, nullptr),
                         "laying out weights");
      }
      LLMRT_CUDA_CHECK(driver_, driver_.event_record(slot.free.get(), stream_),
                       "uploading weights");
    }
    return {};
  }

 private:
  struct Slot {
    PinnedMemory host;
    DeviceMemory device;
    Owned<CuEvent> free;  // what was in the slot has been used
  };
  const Driver& driver_;
  CuStream stream_;
  uint64_t buffer_bytes_ = 0;
  std::unique_ptr<ThreadTeam> team_;
  Slot slots_[2];
  int next_ = 0;
};

}  // namespace

DeviceWeights::DeviceWeights(const schema::Plan& plan) {
  if (!plan.weights()) return;
  for (const schema::Weight* w : *plan.weights()) {
    const Cut cut = cutOf(*w);
    Place place;
    place.offset = bytes;
    place.first_layer = w->first_layer();
    const uint64_t one = deviceAlignUp(cut.units * cut.device_unit_bytes);
    place.layer_stride = w->num_layers() ? one : 0;
    bytes += one * std::max<uint64_t>(w->num_layers(), 1);
    places.push_back(place);
  }
}

uint64_t uploadBufferBytes(const schema::Plan& plan) {
  uint64_t bytes = kBufferBytes, largest = 0;
  if (!plan.weights()) return bytes;
  for (const schema::Weight* w : *plan.weights()) {
    const Cut cut = cutOf(*w);
    bytes = std::max({bytes, cut.unit_bytes, cut.device_unit_bytes});
    largest = std::max({largest, cut.units * cut.unit_bytes, cut.units * cut.device_unit_bytes});
  }
  return std::min(bytes,
                  deviceAlignUp(largest));  // small models: no more than their largest weight
}

Status checkFormats(const schema::Plan& plan) {
  for (uint32_t i = 0; plan.weights() && i < plan.weights()->size(); ++i) {
    const schema::Weight& w = *plan.weights()->Get(i);
    if (!w.format()) continue;
    return unsupported("weights of the format " + quotedName(w.format()->string_view()) +
                       " are not laid out for a GPU: " + quotedName(w.name()->string_view()));
  }
  return {};
}

Status uploadWeights(const Driver& driver, const schema::Plan& plan, const Weights& weights,
                     const DeviceWeights& layout, const RelayoutFunctions& relayout, CuDevicePtr to,
                     CuStream stream) {
  Uploader uploader(driver, stream);
  LLMRT_RETURN_IF_ERROR(uploader.start(uploadBufferBytes(plan)));
  Status status;
  // Layer by layer, as the file lies: it is read once, from front to back.
  const uint32_t layers = plan.model()->num_layers();
  for (uint32_t layer = 0; status.ok() && layer <= layers; ++layer) {
    for (uint32_t i = 0; status.ok() && plan.weights() && i < plan.weights()->size(); ++i) {
      const schema::Weight& w = *plan.weights()->Get(i);
      const bool here = w.num_layers() == 0
                            ? layer == layers
                            : layer >= w.first_layer() && layer - w.first_layer() < w.num_layers();
      if (here) {
        status = uploader.upload(w, weights.data(i, layer), to + layout.at(i, layer),
                                 relayout.by_dtype[static_cast<int>(w.dtype())]);
      }
    }
  }
  // Also after a failure: the buffers must not be given back while they are copied from.
  const Status arrived = driver.check(driver.stream_synchronize(stream), "uploading weights");
  return status.ok() ? arrived : status;
}

}  // namespace llmrt::cuda
