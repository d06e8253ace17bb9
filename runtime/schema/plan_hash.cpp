#include "runtime/schema/plan_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>

#include "runtime/schema/checking.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/version.h"

namespace llmrt {
namespace {

// The eight bytes of Plan.hash; null where the file has none.
const uint8_t* hashField(std::span<const uint8_t> file) {
  return flatbuffers::GetRoot<flatbuffers::Table>(file.data())->GetAddressOf(schema::Plan::VT_HASH);
}

/// Numbers and texts as bytes that no other sequence of them has.
class Key {
 public:
  void add(uint64_t value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  template <typename Enum>
  requires std::is_enum_v<Enum>
  void add(Enum value) { add(static_cast<uint64_t>(value)); }
  void add(const flatbuffers::String* text) {
    const std::string_view view = text ? text->string_view() : std::string_view();
    add(uint64_t{view.size()});
    bytes_ += view;
  }
  uint64_t hash() const { return XXH3_64bits(bytes_.data(), bytes_.size()); }

 private:
  std::string bytes_;
};

uint64_t weightKey(const schema::Weight& w) {
  Key key;
  uint64_t rows = 0;
  for (uint32_t i = 0; i < sizeOf(w.sources()); ++i) rows += w.sources()->Get(i)->rows();
  key.add(w.dtype());
  key.add(w.layout());
  key.add(w.order());
  key.add(rows);
  if (w.format()) key.add(w.format());
  for (uint64_t value : {w.panels(), w.cols(), w.bytes()}) key.add(value);
  // Not whether it is a layer's: a norm without fusion is one kernel for the layers' and the last.
  for (uint32_t value : {w.head_rows(), w.num_experts()}) key.add(uint64_t{value});
  for (uint32_t i = 0; i < sizeOf(w.planes()); ++i) {
    const schema::Plane& plane = *w.planes()->Get(i);
    key.add(plane.name());
    key.add(plane.offset_bytes());
    key.add(plane.bytes());
  }
  return key.hash();
}

// What a kernel that gets keys or values has built in. Who writes or moves them knows no window:
// one kernel serves layers with and without.
void addState(Key& key, const schema::State& s, bool reads) {
  key.add(s.kind());
  key.add(s.dtype());
  for (uint32_t value : {s.num_kv_heads(), s.head_dim(), s.head_dim_padded(), s.value_dim_padded(),
                         reads ? s.window() : 0})
    key.add(uint64_t{value});
  key.add(s.elements());
}

void addInput(Key& key, const schema::Input& input) {
  key.add(input.name());
  key.add(input.dtype());
  key.add(input.axis());
  key.add(uint64_t{input.width()});
}

// Whether PhaseContracts may follow every index of a phase: a plan that is written has not been
// verified yet.
bool indicesHold(const schema::Plan& plan, const schema::EntryPoint& entry,
                 const schema::Phase& phase) {
  if (phase.kernel() >= sizeOf(plan.kernels())) return false;
  for (uint32_t i = 0; i < sizeOf(phase.operands()); ++i) {
    const schema::Operand& o = *phase.operands()->Get(i);
    const uint32_t states = sizeOf(plan.states());
    const uint32_t sizes[] = {sizeOf(entry.buffers()),
                              sizeOf(plan.weights()),
                              states,
                              states,
                              sizeOf(plan.rope_tables()),
                              sizeOf(entry.inputs()),
                              states,
                              states,
                              states,
                              states};
    static_assert(std::size(sizes) == static_cast<size_t>(schema::Space::MAX) + 1);
    if (o.space() < schema::Space::MIN || o.space() > schema::Space::MAX ||
        o.index() >= sizes[static_cast<size_t>(o.space())])
      return false;
  }
  return true;
}

// Where phases disagree about a kernel the last one's contract stays, and verifyPlan() names the
// others.
void storeContracts(std::span<uint8_t> file) {
  const schema::Plan& plan = *schema::GetPlan(file.data());
  const PhaseContracts contracts(plan);
  for (uint32_t e = 0; e < sizeOf(plan.entry_points()); ++e) {
    const schema::EntryPoint& entry = *plan.entry_points()->Get(e);
    for (uint32_t s = 0; s < sizeOf(entry.sections()); ++s) {
      const auto* phases = entry.sections()->Get(s)->phases();
      for (uint32_t p = 0; p < sizeOf(phases); ++p) {
        const schema::Phase& phase = *phases->Get(p);
        if (!indicesHold(plan, entry, phase)) continue;
        auto* const kernel =
            reinterpret_cast<const flatbuffers::Table*>(plan.kernels()->Get(phase.kernel()));
        const uint8_t* const field = kernel->GetAddressOf(schema::Kernel::VT_CONTRACT);
        flatbuffers::WriteScalar(file.data() + (field - file.data()), contracts.of(entry, phase));
      }
    }
  }
}

}  // namespace

std::vector<uint8_t> packPlan(const schema::PlanT& plan) {
  // FlatBuffers leaves out what has its default: the fields that are filled in need a place.
  schema::PlanT placed = plan;
  placed.hash = 1;
  for (auto& kernel : placed.kernels)
    if (kernel) kernel->contract = 1;
  flatbuffers::FlatBufferBuilder builder(1 << 20);
  schema::FinishPlanBuffer(builder, schema::Plan::Pack(builder, &placed));
  std::vector<uint8_t> file(builder.GetBufferPointer(),
                            builder.GetBufferPointer() + builder.GetSize());
  storeContracts(file);
  storePlanHash(file);
  return file;
}

bool hasPlanHash(std::span<const uint8_t> file) { return hashField(file) != nullptr; }

uint64_t planHash(std::span<const uint8_t> file) {
  constexpr uint8_t kZero[sizeof(uint64_t)] = {};
  const auto at = static_cast<size_t>(hashField(file) - file.data());
  const auto after = file.subspan(at + sizeof kZero);
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, file.data(), at);
  XXH3_64bits_update(&state, kZero, sizeof kZero);
  XXH3_64bits_update(&state, after.data(), after.size());
  return XXH3_64bits_digest(&state);
}

void storePlanHash(std::span<uint8_t> file) {
  const uint64_t hash = planHash(file);
  flatbuffers::WriteScalar(file.data() + (hashField(file) - file.data()), hash);
}

uint64_t weightsContent(std::span<const uint64_t> hashes) {
  return XXH3_64bits(hashes.data(), hashes.size_bytes());
}

bool weightsBelong(const schema::Plan& plan, const WeightsHeader& header) {
  if (std::memcmp(header.magic, kWeightsMagic, sizeof kWeightsMagic) != 0 ||
      header.version != kWeightsVersion || header.plan_id != plan.id() ||
      header.bytes != plan.weights_bytes())
    return false;
  if (!plan.has_weights()) return true;
  std::vector<uint64_t> hashes;
  for (uint32_t i = 0; i < sizeOf(plan.weights()); ++i)
    hashes.push_back(plan.weights()->Get(i)->hash());
  return header.content == weightsContent(hashes);
}

PhaseContracts::PhaseContracts(const schema::Plan& plan) : plan_(plan) {
  for (uint32_t i = 0; i < sizeOf(plan.weights()); ++i)
    weights_.push_back(weightKey(*plan.weights()->Get(i)));
  Key targets;
  for (uint32_t i = 0; i < sizeOf(plan.targets()); ++i) {
    targets.add(plan.targets()->Get(i)->scratch_bytes());
    targets.add(uint64_t{plan.targets()->Get(i)->cuda_operands()});
  }
  targets_ = targets.hash();
}

uint64_t PhaseContracts::of(const schema::EntryPoint& entry, const schema::Phase& phase) const {
  Key key;
  key.add(targets_);
  key.add(phase.op());
  key.add(phase.tiles());
  key.add(uint64_t{phase.rows_per_tile()});
  key.add(phase.kind());
  key.add(phase.axis());
  for (uint32_t k = 0; k < sizeOf(phase.operands()); ++k) {
    const schema::Operand& operand = *phase.operands()->Get(k);
    key.add(operand.space());
    key.add(operand.access());
    const uint32_t i = operand.index();
    switch (operand.space()) {
      case schema::Space::arena:
        key.add(uint64_t{entry.buffers()->Get(i)->width()});
        key.add(uint64_t{entry.buffers()->Get(i)->row_stride()});
        key.add(entry.buffers()->Get(i)->dtype());
        if (operand.layer_columns() > 0) key.add(uint64_t{operand.layer_columns()});
        break;
      case schema::Space::weights:
        key.add(weights_[i]);
        key.add(uint64_t{operand.plane()});
        break;
      case schema::Space::keys:
      case schema::Space::values:
      case schema::Space::recurrent:
      case schema::Space::kept:
        addState(key, *plan_.states()->Get(i), operand.access() == schema::Access::read);
        break;
      case schema::Space::input:
        addInput(key, *entry.inputs()->Get(i));
        break;
      case schema::Space::block_table:
      case schema::Space::slots:
        break;  // numbers, whatever the state
      case schema::Space::rope:
        key.add(uint64_t{sizeOf(plan_.rope_tables()->Get(i)->inv_freq())});
        break;
    }
  }
  return key.hash();
}

}  // namespace llmrt
