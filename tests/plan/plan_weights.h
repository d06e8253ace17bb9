// Weights of a plan and tensors in memory to pack into them.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runtime/io/float_convert.h"
#include "runtime/io/stored_blocks.h"
#include "runtime/io/tensor_source.h"
#include "runtime/schema/plan_generated.h"

namespace llmc_tests {

namespace schema = llmrt::schema;

inline void addSource(schema::WeightT& w, const std::string& name, uint64_t rows, uint64_t cols,
                      uint8_t kind = 0) {
  w.sources.push_back(std::make_unique<schema::WeightSourceT>());
  w.sources.back()->name = name;
  w.sources.back()->rows = rows;
  w.sources.back()->cols = cols;
  w.sources.back()->kind = kind;
}

inline schema::WeightT& addWeight(schema::PlanT& plan, const std::string& name, llmrt::DType dtype,
                                  schema::Layout layout,
                                  schema::PanelOrder order = schema::PanelOrder::concat) {
  plan.weights.push_back(std::make_unique<schema::WeightT>());
  schema::WeightT& w = *plan.weights.back();
  w.name = name;
  w.dtype = static_cast<schema::DType>(dtype);
  w.layout = layout;
  w.order = order;
  return w;
}

/// Tensors whose elements are given by a function of row and column.
class MemoryTensors : public llmrt::TensorSource {
 public:
  /// Values that every dtype holds exactly, different for neighbours.
  static float value(int64_t seed, int64_t row, int64_t col) {
    return static_cast<float>((seed + row * 7 + col * 3) % 251 - 125);
  }
  static int64_t seedOf(const std::string& name) {
    return static_cast<int64_t>(std::hash<std::string>{}(name) % 50);
  }
  static float value(const std::string& name, int64_t row, int64_t col) {
    return value(seedOf(name), row, col);
  }

  llmrt::Tensor& add(const std::string& name, llmrt::DType dtype, std::vector<int64_t> shape) {
    const int64_t cols = shape.size() > 1 ? shape[1] : 1;
    auto& bytes = data_[name];
    bytes.resize(static_cast<size_t>(shape[0] * cols * llmrt::dtypeBytes(dtype)));
    const int64_t seed = seedOf(name);
    for (int64_t r = 0; r < shape[0]; ++r)
      for (int64_t c = 0; c < cols; ++c)
        llmrt::storeFromF32(dtype, bytes.data(), r * cols + c, value(seed, r, c));
    llmrt::Tensor& t = tensors_[name];
    t.name = name;
    t.dtype = dtype;
    t.shape = std::move(shape);
    t.data = bytes.data();
    t.bytes = bytes.size();
    return t;
  }

  /// Blocks of random bits with scales that are finite.
  llmrt::Tensor& addBlocks(const std::string& name, const llmrt::StoredBlocks& blocks,
                           std::vector<int64_t> shape) {
    auto& bytes = data_[name];
    bytes.resize(static_cast<size_t>(shape[0] * blocks.rowBytes(shape[1])));
    std::mt19937 rng(static_cast<uint32_t>(seedOf(name)));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng());
    const auto& scales = blocks.format->planes[blocks.format->plane(llmrt::PlaneRole::kScales)];
    for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(blocks.bytes))
      for (const int64_t value : {blocks.scale_at, blocks.min_at})
        if (value >= 0)  // below 2
          bytes[at + static_cast<size_t>(value + llmrt::dtypeBytes(scales.dtype) - 1)] &=
              scales.dtype == llmrt::DType::kHalfE8M0 ? 0x7f : 0xbf;
    llmrt::Tensor& t = tensors_[name];
    t.name = name;
    t.blocks = &blocks;
    t.shape = std::move(shape);
    t.data = bytes.data();
    t.bytes = bytes.size();
    return t;
  }
  uint8_t* bytesOf(const std::string& name) { return data_.at(name).data(); }

  llmrt::Result<const llmrt::Tensor*> find(std::string_view name) const override {
    const auto found = tensors_.find(std::string(name));
    return found == tensors_.end() ? nullptr : &found->second;
  }
  std::vector<std::string> names() const override { return {}; }
  const std::string& path() const override { return path_; }

 private:
  std::string path_ = "checkpoint";
  std::map<std::string, llmrt::Tensor> tensors_;
  std::map<std::string, std::vector<uint8_t>> data_;
};

}  // namespace llmc_tests
