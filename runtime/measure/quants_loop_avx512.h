// AVX-512's part of the loops with and without VNNI.
#pragma once

#include "runtime/measure/quants_loop_body.h"

namespace llmrt {
namespace {

struct Avx512 {
  using Words = __m512i;
  using Floats = __m512;
  static constexpr TileSize kTiles[kQuantsTiles] = {{6, 2}, {4, 2}, {12, 1}, {8, 1}};

  LLMRT_INLINE static Floats zero() { return _mm512_setzero_ps(); }
  LLMRT_INLINE static Words zeroWords() { return _mm512_setzero_si512(); }
  LLMRT_INLINE static Words load(const uint8_t* from) { return _mm512_loadu_si512(from); }
  LLMRT_INLINE static void store(float* to, Floats v) { _mm512_storeu_ps(to, v); }
  LLMRT_INLINE static Words broadcast(int32_t v) { return _mm512_set1_epi32(v); }
  LLMRT_INLINE static Words broadcastFrom(const int32_t* from) { return _mm512_set1_epi32(*from); }
  LLMRT_INLINE static Words broadcastFrom(const int8_t* from) {
    int32_t v;
    __builtin_memcpy(&v, from, sizeof v);
    return _mm512_set1_epi32(v);
  }
  LLMRT_INLINE static Floats broadcastFrom(const float* from) { return _mm512_set1_ps(*from); }
  template <int kBits>
  LLMRT_INLINE static Words shiftRight(Words v) {
    return kBits ? _mm512_srli_epi32(v, kBits) : v;
  }
  template <int kBits>
  LLMRT_INLINE static Words shiftLeft(Words v) {
    return _mm512_slli_epi32(v, kBits);
  }
  LLMRT_INLINE static Words shiftRightBy(Words v, int bits) {
    return _mm512_srl_epi32(v, _mm_cvtsi32_si128(bits));
  }
  LLMRT_INLINE static Words andBytes(Words v, int mask) {
    return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask)));
  }
  /// a | (b & mask)
  LLMRT_INLINE static Words orAnd(Words a, Words b, int mask) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(static_cast<char>(mask)), 0xf8);
  }
  LLMRT_INLINE static Words flipSigns(Words v) {
    return _mm512_xor_si512(v, _mm512_set1_epi8(static_cast<char>(0x80)));
  }
  LLMRT_INLINE static Words lookUp(const int8_t* table, Words v) {
    const __m128i t = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), v);
  }
  LLMRT_INLINE static Words unsignedBytes(const uint8_t* from) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  LLMRT_INLINE static Words signedBytes(const uint8_t* from) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  LLMRT_INLINE static Floats halves(const uint8_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  /// 2^(byte - 128), of normal floats: bytes of 2 and more.
  LLMRT_INLINE static Floats powers(const uint8_t* from) {
    const Words exponents = _mm512_sub_epi32(unsignedBytes(from), _mm512_set1_epi32(1));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponents, 23));
  }
  LLMRT_INLINE static Words add(Words a, Words b) { return _mm512_add_epi32(a, b); }
  LLMRT_INLINE static Words multiply(Words a, Words b) { return _mm512_mullo_epi32(a, b); }
  LLMRT_INLINE static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  LLMRT_INLINE static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  LLMRT_INLINE static Floats toFloats(Words v) { return _mm512_cvtepi32_ps(v); }
};

}  // namespace
}  // namespace llmrt
