// What binds a plan's bytes together: a hash of the whole file, and for each kernel a hash of the
// operands it was compiled for.
//
// The file's hash finds every accident, any changed bit. The kernels' hashes find a field that is
// wrong although the file's hash is right: machine code has the shapes of its operands as
// constants, so a phase that hands a kernel other operands, or other tiles, is refused before the
// kernel runs. Neither is a signature: who changes the code can change both.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace llmrt {

namespace schema {
struct EntryPoint;
struct Phase;
struct Plan;
struct PlanT;
}  // namespace schema
struct WeightsHeader;

/// The bytes of a plan's file, with the contract of every kernel and the hash filled in.
std::vector<uint8_t> packPlan(const schema::PlanT& plan);

/// Plan.hash as it should be. `file`: its structure is verified and it has the field.
uint64_t planHash(std::span<const uint8_t> file);
bool hasPlanHash(std::span<const uint8_t> file);
/// Stores planHash() in a file that has the field.
void storePlanHash(std::span<uint8_t> file);

/// WeightsHeader.content of weights whose tensors have these hashes, in the plan's order.
uint64_t weightsContent(std::span<const uint64_t> hashes);
/// Whether a weights file is this plan's. A plan without hashes of its weights only tells whether
/// the file has the same tensors at the same places.
bool weightsBelong(const schema::Plan& plan, const WeightsHeader& header);

/// What a phase hands to its kernel, as one number: its op and tiles, the shape and type of each
/// operand, and every target's scratch memory and number of operands. It does not tell weights of
/// one shape apart, nor where anything lies.
class PhaseContracts {
 public:
  /// `plan` must outlive it.
  explicit PhaseContracts(const schema::Plan& plan);
  /// The phase's indices are verified.
  uint64_t of(const schema::EntryPoint& entry, const schema::Phase& phase) const;

 private:
  const schema::Plan& plan_;
  // A weight may have a million sources, and a million operands: each is looked at once.
  std::vector<uint64_t> weights_;
  uint64_t targets_ = 0;
};

}  // namespace llmrt
