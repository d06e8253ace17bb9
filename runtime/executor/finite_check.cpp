#include "runtime/executor/finite_check.h"

#include <fmt/format.h>

#include <cstring>

namespace llmrt {
namespace {

// An exponent of all ones is an infinity or NaN: adding its lowest bit carries into the sign. The
// loop has no branch, so that compilers make vectors of it.
template <typename Bits, Bits kExponent, Bits kLowest>
bool noneIsAllOnes(const uint8_t* elements, uint64_t count) {
  Bits carried = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, elements + i * sizeof bits, sizeof bits);
    carried |= static_cast<Bits>((bits & kExponent) + kLowest);
  }
  return carried >> (8 * sizeof(Bits) - 1) == 0;
}

}  // namespace

bool allFinite(DType dtype, const uint8_t* elements, uint64_t count) {
  switch (dtype) {
    case DType::kF32:
      return noneIsAllOnes<uint32_t, 0x7f800000, 0x00800000>(elements, count);
    case DType::kF16:
      return noneIsAllOnes<uint16_t, 0x7c00, 0x0400>(elements, count);
    case DType::kBF16:
      return noneIsAllOnes<uint16_t, 0x7f80, 0x0080>(elements, count);
    case DType::kI32:
    case DType::kI8:
    case DType::kU8:
    case DType::kHalfE8M0:
      return true;
  }
  return false;
}

bool allFinite(std::span<const float> values) {
  return allFinite(DType::kF32, reinterpret_cast<const uint8_t*>(values.data()), values.size());
}

Status notFiniteLogits(const std::string& plan_path, const std::string& first_op) {
  return invalidData(fmt::format(
      "{}: the model's logits are not finite numbers{}: its weights are damaged (`verify_weights` "
      "compares them with the plan), or values pass the range of its types (--dtype and --kv-dtype "
      "of llmc compile)",
      plan_path,
      first_op.empty() ? "" : fmt::format("; the first that are not were made by {}", first_op)));
}

}  // namespace llmrt
