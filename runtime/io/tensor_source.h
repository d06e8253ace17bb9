// Named read-only tensors of a checkpoint, wherever they are stored.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/io/weight_layout.h"

namespace llmrt {

struct StoredBlocks;  // runtime/io/stored_blocks.h
struct WeightFormat;

/// One tensor, mapped. `data` lives as long as its TensorSource.
struct Tensor {
  std::string name;                    // HF name
  DType dtype = DType::kF32;           // of plain values
  const StoredBlocks* blocks = nullptr;  // not null: rows are blocks of quantised values, not of `dtype`
  const uint8_t* scales = nullptr;     // of blocks whose scales lie apart: one byte of each, in their order
  std::vector<int64_t> shape;          // outermost first
  const uint8_t* data = nullptr;       // row-major, any alignment
  uint64_t bytes = 0;
  bool file_backed = false;            // data lies in a read-only mapping: its pages can be dropped and come back
  // GGUF stores q_proj and k_proj of llama with the rows of each head reordered for interleaved RoPE (pairs 2i, 2i+1)
  // where HF rotates halves (pairs i, i + head_dim/2). When not 0: the number of heads to undo that for.
  int64_t interleaved_heads = 0;

  /// The stored row that holds HF's row `row` (identity unless interleaved_heads).
  int64_t storedRow(int64_t row) const;
  /// Of the stored values.
  const WeightFormat& format() const;
};

/// Thread-safe once constructed.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// Null when the checkpoint has no such tensor. A tensor of a dtype that is not supported is an error.
  virtual Result<const Tensor*> find(std::string_view name) const = 0;
  /// Every tensor's name, sorted.
  virtual std::vector<std::string> names() const = 0;
  /// What to call it in an error message (the file or directory).
  virtual const std::string& path() const = 0;
  /// In which of several files a tensor that find() does not have was said to be; "" where nobody said.
  virtual std::string placeOf(std::string_view name) const;
  /// What the checkpoint calls the tensor that find() finds, or would, as `name`: for messages.
  virtual std::string storedName(std::string_view name) const;
};

/// "PATH: tensor 'NAME' [2, 3] is missing", and where it should be.
Status missingTensor(const TensorSource& source, std::string_view name, const std::vector<int64_t>& shape);

/// "[2, 3]"
std::string shapeText(const std::vector<int64_t>& shape);

}  // namespace llmrt
