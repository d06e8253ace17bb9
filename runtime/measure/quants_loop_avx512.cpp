#include "runtime/measure/quants_loop_avx512.h"

namespace llmrt {
namespace {

struct NoVnni : Avx512 {
  static constexpr bool kUnsigned = false;
  /// sums + a * b: a without signs below 64, or with them within +-127, as b.
  template <bool kSigned>
  LLMRT_INLINE static Words dot(Words a, Words b, Words sums) {
    if constexpr (kSigned) {
      b = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
      a = _mm512_abs_epi8(a);
    }
    const Words pairs = _mm512_maddubs_epi16(a, b);
    return _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
};

}  // namespace

QuantsLoop quantsLoopAvx512(int index, int tile) { return loopAt<NoVnni>(index, tile); }

}  // namespace llmrt
