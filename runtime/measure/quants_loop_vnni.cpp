#include "runtime/measure/quants_loop_avx512.h"

namespace llmrt {
namespace {

struct Vnni : Avx512 {
  static constexpr bool kUnsigned = true;  // what vpdpbusd takes of weights
  template <bool kSigned>
  LLMRT_INLINE static Words dot(Words a, Words b, Words sums) {
    return _mm512_dpbusd_epi32(sums, a, b);
  }
};

}  // namespace

QuantsLoop quantsLoopVnni(int index, int tile) { return loopAt<Vnni>(index, tile); }

}  // namespace llmrt
