// Weights on their way to a GPU: read, staged in pinned memory, copied and laid out as its kernels
// want them.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/cuda/memory.h"
#include "runtime/executor/weights.h"

namespace llmrt::cuda {

/// Where each weight of a plan lies in one allocation on the device.
struct DeviceWeights {
  struct Place {
    uint64_t offset = 0, layer_stride = 0;
    uint32_t first_layer = 0;
  };
  std::vector<Place> places;  // of Plan.weights
  uint64_t bytes = 0;

  explicit DeviceWeights(const schema::Plan& plan);
  /// Offset of weight `index` for `layer`.
  uint64_t at(uint32_t index, uint32_t layer) const {
    const Place& p = places[index];
    return p.offset + (p.layer_stride ? (layer - p.first_layer) * p.layer_stride : 0);
  }
};

/// An error that names the first weight of a format that has no layout on a GPU.
Status checkFormats(const schema::Plan& plan);

/// What uploading takes beside the weights: two pinned buffers and two on the device, each this
/// large.
uint64_t uploadBufferBytes(const schema::Plan& plan);

/// The functions llmc_relayout_* of a plan's image, by schema::DType.
struct RelayoutFunctions {
  CuFunction by_dtype[3] = {};
};

/// Copies every weight to `to`. While one buffer travels, the next is filled by several threads.
/// Returns when all has arrived.
Status uploadWeights(const Driver& driver, const schema::Plan& plan, const Weights& weights,
                     const DeviceWeights& layout, const RelayoutFunctions& relayout, CuDevicePtr to,
                     CuStream stream);

}  // namespace llmrt::cuda
