#include "runtime/schema/same_case.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace llmrt {
namespace {

enum class Style : uint8_t { kF32, kBF16, kKeepAll };
enum class Schema : int8_t { f32, bf16, keep_all, MIN = f32, MAX = keep_all };
enum class Fewer : uint32_t { f32, bf16 };
enum class Swapped : uint32_t { bf16, f32, keep_all };
enum class Other : uint32_t { f32, bf16, keep };
enum class None : uint32_t {};

static_assert(haveSameCases<Style, Schema>() && haveSameCases<Schema, Style>());
static_assert(!haveSameCases<Style, Fewer>() && !haveSameCases<Fewer, Style>());
static_assert(!haveSameCases<Style, Swapped>());
static_assert(!haveSameCases<Style, Other>());
static_assert(!haveSameCases<None, None>(), "nothing was compared");

TEST(SameCase, KeepsTheName) {
  EXPECT_EQ(sameCase<Schema>(Style::kBF16), Schema::bf16);
  EXPECT_EQ(sameCase<Style>(Schema::keep_all), Style::kKeepAll);
}

}  // namespace
}  // namespace llmrt
