#include "tests/runtime/plan_fields.h"

#include <flatbuffers/reflection_generated.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>

#include "runtime/schema/plan_generated.h"
#include "runtime/schema/plan_hash.h"

namespace llmrt::example {
namespace {

using reflection::BaseType;

bool isScalar(BaseType t) { return t >= BaseType::UType && t <= BaseType::Double; }
bool isFloat(BaseType t) { return t == BaseType::Float || t == BaseType::Double; }

size_t bytesOf(BaseType t) {
  switch (t) {
    case BaseType::Short:
    case BaseType::UShort:
      return 2;
    case BaseType::Int:
    case BaseType::UInt:
    case BaseType::Float:
      return 4;
    case BaseType::Long:
    case BaseType::ULong:
    case BaseType::Double:
      return 8;
    default:
      return 1;
  }
}

class Walk {
 public:
  explicit Walk(std::span<const uint8_t> file) : file_(file) {
    std::ifstream in(PLAN_SCHEMA, std::ios::binary);
    schema_bytes_.assign(std::istreambuf_iterator<char>(in), {});
    schema_ = reflection::GetSchema(schema_bytes_.data());
  }
  std::vector<PlanField> run() {
    table(*flatbuffers::GetRoot<flatbuffers::Table>(file_.data()), *schema_->root_table(), "");
    return std::move(fields_);
  }

 private:
  void add(const std::string& path, const uint8_t* at, BaseType type) {
    fields_.push_back({path, static_cast<size_t>(at - file_.data()), bytesOf(type), isFloat(type)});
  }

  void table(const flatbuffers::Table& t, const reflection::Object& object,
             const std::string& path) {
    for (const reflection::Field* field : *object.fields()) {
      const reflection::Type& type = *field->type();
      const std::string here = (path.empty() ? "" : path + ".") + field->name()->str();
      if (isScalar(type.base_type())) {
        if (const uint8_t* at = t.GetAddressOf(field->offset())) add(here, at, type.base_type());
      } else if (type.base_type() == BaseType::Obj) {
        if (const auto* child = t.GetPointer<const flatbuffers::Table*>(field->offset()))
          table(*child, *schema_->objects()->Get(static_cast<uint32_t>(type.index())), here);
      } else if (type.base_type() == BaseType::Vector) {
        list(t, *field, here);
      }
    }
  }

  void list(const flatbuffers::Table& t, const reflection::Field& field, const std::string& path) {
    const reflection::Type& type = *field.type();
    if (type.element() == BaseType::Obj) {
      using Tables = flatbuffers::Vector<flatbuffers::Offset<flatbuffers::Table>>;
      const auto* tables = t.GetPointer<const Tables*>(field.offset());
      for (uint32_t i = 0; tables && i < tables->size(); ++i)
        table(*tables->Get(i), *schema_->objects()->Get(static_cast<uint32_t>(type.index())),
              path + "[" + std::to_string(i) + "]");
    } else if (isScalar(type.element())) {
      const auto* bytes = t.GetPointer<const flatbuffers::Vector<uint8_t>*>(field.offset());
      if (!bytes || bytes->size() == 0) return;
      const size_t last = bytes->size() - 1;  // elements
      for (size_t i : {size_t{0}, last}) {
        add(path + "[" + std::to_string(i) + "]", bytes->Data() + i * bytesOf(type.element()),
            type.element());
        if (last == 0) break;
      }
    }
  }

  std::span<const uint8_t> file_;
  std::string schema_bytes_;
  const reflection::Schema* schema_ = nullptr;
  std::vector<PlanField> fields_;
};

}  // namespace

std::vector<uint8_t> withAllFields(std::span<const uint8_t> file) {
  const std::unique_ptr<schema::PlanT> plan(schema::GetPlan(file.data())->UnPack());
  flatbuffers::FlatBufferBuilder builder;
  builder.ForceDefaults(true);
  schema::FinishPlanBuffer(builder, schema::Plan::Pack(builder, plan.get()));
  std::vector<uint8_t> all(builder.GetBufferPointer(),
                           builder.GetBufferPointer() + builder.GetSize());
  storePlanHash(all);
  return all;
}

std::vector<PlanField> fieldsOf(std::span<const uint8_t> file) { return Walk(file).run(); }

std::vector<uint64_t> hostileValues(const PlanField& field, std::span<const uint8_t> file) {
  if (field.is_float) {
    std::vector<uint64_t> values;
    for (double v : {0.0, -1.0, 1e30, std::numeric_limits<double>::infinity(),
                     std::numeric_limits<double>::quiet_NaN()}) {
      const auto f = static_cast<float>(v);
      uint64_t bits = 0;
      if (field.bytes == 4) std::memcpy(&bits, &f, sizeof f);
      if (field.bytes == 8) std::memcpy(&bits, &v, sizeof v);
      values.push_back(bits);
    }
    return values;
  }
  uint64_t old = 0;
  std::memcpy(&old, file.data() + field.offset, field.bytes);
  const uint64_t most = ~uint64_t{0};
  // Also where a signed number is largest, and beside which other numbers of a plan are multiples.
  return {0,       1,       most,     most >> 1, most >> (65 - 8 * field.bytes), old + 1, old - 1,
          old * 2, old / 2, old + 64, old - 64};
}

}  // namespace llmrt::example
