#include "runtime/io/tensor_source.h"

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

}  // namespace llmrt
