#include "runtime/io/tensor_source.h"

#include "runtime/io/printable.h"
#include "runtime/io/stored_blocks.h"

namespace llmrt {

int64_t Tensor::storedRow(int64_t row) const {
  if (interleaved_heads == 0) return row;
  // llama.cpp's convert_hf_to_gguf.py, LlamaModel.permute: reshape(heads, 2, d/2).swapaxes(1, 2),
  // so that HF's row (half, pair) of a head is stored at (pair, half).
  const int64_t head_dim = shape[0] / interleaved_heads;
  const int64_t head = row / head_dim, in_head = row % head_dim;
  const int64_t half = in_head / (head_dim / 2), pair = in_head % (head_dim / 2);
  return head * head_dim + pair * 2 + half;
}

const WeightFormat& Tensor::format() const {
  return blocks ? *blocks->format : *plainFormat(dtype);
}

std::string TensorSource::placeOf(std::string_view) const { return ""; }

std::string TensorSource::storedName(std::string_view name) const { return std::string(name); }

Status missingTensor(const TensorSource& source, std::string_view name,
                     const std::vector<int64_t>& shape) {
  const std::string place = source.placeOf(name);
  return notFound(source.path() + ": tensor " + quotedName(source.storedName(name)) + " " +
                  shapeText(shape) + " is missing" +
                  (place.empty() ? "" : ": it should be in " + place));
}

std::string shapeText(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

}  // namespace llmrt
