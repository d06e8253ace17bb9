#include "runtime/measure/quants_loop_body.h"

namespace llmrt {
namespace {

/// Of sixteen lanes, two registers.
struct Avx2 {
  struct Words {
    __m256i half[2];
  };
  struct Floats {
    __m256 half[2];
  };
  static constexpr TileSize kTiles[kQuantsTiles] = {{3, 1}, {2, 1}, {4, 1}, {6, 1}};
  static constexpr bool kUnsigned = false;

  template <typename F>
  LLMRT_INLINE static Words words(F f) {
    return {f(0), f(1)};
  }
  template <typename F>
  LLMRT_INLINE static Floats floats(F f) {
    return {f(0), f(1)};
  }
  LLMRT_INLINE static __m256i load256(const uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }

  LLMRT_INLINE static Floats zero() {
    return floats([](int) LLMRT_INLINE { return _mm256_setzero_ps(); });
  }
  LLMRT_INLINE static Words zeroWords() {
    return words([](int) LLMRT_INLINE { return _mm256_setzero_si256(); });
  }
  LLMRT_INLINE static Words load(const uint8_t* from) {
    return words([&](int i) LLMRT_INLINE { return load256(from + 32 * i); });
  }
  LLMRT_INLINE static void store(float* to, Floats v) {
    _mm256_storeu_ps(to, v.half[0]);
    _mm256_storeu_ps(to + 8, v.half[1]);
  }
  LLMRT_INLINE static Words broadcast(int32_t v) {
    return words([&](int) LLMRT_INLINE { return _mm256_set1_epi32(v); });
  }
  LLMRT_INLINE static Words broadcastFrom(const int32_t* from) { return broadcast(*from); }
  LLMRT_INLINE static Words broadcastFrom(const int8_t* from) {
    int32_t v;
    __builtin_memcpy(&v, from, sizeof v);
    return broadcast(v);
  }
  LLMRT_INLINE static Floats broadcastFrom(const float* from) {
    return floats([&](int) LLMRT_INLINE { return _mm256_set1_ps(*from); });
  }
  template <int kBits>
  LLMRT_INLINE static Words shiftRight(Words v) {
    return words([&](int i) LLMRT_INLINE {
      return kBits ? _mm256_srli_epi32(v.half[i], kBits) : v.half[i];
    });
  }
  template <int kBits>
  LLMRT_INLINE static Words shiftLeft(Words v) {
    return words([&](int i) LLMRT_INLINE { return _mm256_slli_epi32(v.half[i], kBits); });
  }
  LLMRT_INLINE static Words shiftRightBy(Words v, int bits) {
    return words([&](int i)
                     LLMRT_INLINE { return _mm256_srl_epi32(v.half[i], _mm_cvtsi32_si128(bits)); });
  }
  LLMRT_INLINE static Words andBytes(Words v, int mask) {
    return words([&](int i) LLMRT_INLINE {
      return _mm256_and_si256(v.half[i], _mm256_set1_epi8(static_cast<char>(mask)));
    });
  }
  LLMRT_INLINE static Words orAnd(Words a, Words b, int mask) {
    const Words masked = andBytes(b, mask);
    return words([&](int i) LLMRT_INLINE { return _mm256_or_si256(a.half[i], masked.half[i]); });
  }
  LLMRT_INLINE static Words flipSigns(Words v) {
    return words([&](int i) LLMRT_INLINE {
      return _mm256_xor_si256(v.half[i], _mm256_set1_epi8(static_cast<char>(0x80)));
    });
  }
  LLMRT_INLINE static Words lookUp(const int8_t* table, Words v) {
    const __m256i t =
        _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
    return words([&](int i) LLMRT_INLINE { return _mm256_shuffle_epi8(t, v.half[i]); });
  }
  LLMRT_INLINE static Words unsignedBytes(const uint8_t* from) {
    return words([&](int i) LLMRT_INLINE {
      return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * i)));
    });
  }
  LLMRT_INLINE static Words signedBytes(const uint8_t* from) {
    return words([&](int i) LLMRT_INLINE {
      return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * i)));
    });
  }
  LLMRT_INLINE static Floats halves(const uint8_t* from) {
    return floats([&](int i) LLMRT_INLINE {
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * i)));
    });
  }
  /// 2^(byte - 128), of normal floats: bytes of 2 and more.
  LLMRT_INLINE static Floats powers(const uint8_t* from) {
    const Words bytes = unsignedBytes(from);
    return floats([&](int i) LLMRT_INLINE {
      const __m256i exponent = _mm256_sub_epi32(bytes.half[i], _mm256_set1_epi32(1));
      return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
    });
  }
  LLMRT_INLINE static Words add(Words a, Words b) {
    return words([&](int i) LLMRT_INLINE { return _mm256_add_epi32(a.half[i], b.half[i]); });
  }
  LLMRT_INLINE static Words multiply(Words a, Words b) {
    return words([&](int i) LLMRT_INLINE { return _mm256_mullo_epi32(a.half[i], b.half[i]); });
  }
  LLMRT_INLINE static Floats multiply(Floats a, Floats b) {
    return floats([&](int i) LLMRT_INLINE { return _mm256_mul_ps(a.half[i], b.half[i]); });
  }
  LLMRT_INLINE static Floats fma(Floats a, Floats b, Floats c) {
    return floats([&](int i)
                      LLMRT_INLINE { return _mm256_fmadd_ps(a.half[i], b.half[i], c.half[i]); });
  }
  LLMRT_INLINE static Floats toFloats(Words v) {
    return floats([&](int i) LLMRT_INLINE { return _mm256_cvtepi32_ps(v.half[i]); });
  }
  /// sums + a * b: a without signs below 64, or with them within +-127, as b.
  template <bool kSigned>
  LLMRT_INLINE static Words dot(Words a, Words b, Words sums) {
    return words([&](int i) LLMRT_INLINE {
      __m256i left = a.half[i], right = b.half[i];
      if constexpr (kSigned) {
        right = _mm256_sign_epi8(right, left);
        left = _mm256_abs_epi8(left);
      }
      const __m256i pairs = _mm256_maddubs_epi16(left, right);
      return _mm256_add_epi32(sums.half[i], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    });
  }
};

}  // namespace

QuantsLoop quantsLoopAvx2(int index, int tile) { return loopAt<Avx2>(index, tile); }

}  // namespace llmrt
