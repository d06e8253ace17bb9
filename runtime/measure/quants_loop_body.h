// The loop of quants_loop.h over the instructions of an `Isa`, for files that are compiled for
// them. Nothing compiled for one CPU may be what another one runs: all that is defined here has
// internal linkage, and inline functions of others are called in constants alone.
#pragma once

#include <immintrin.h>

#include <utility>

#include "runtime/measure/quants_loop.h"

namespace llmrt {
namespace {

#define LLMRT_INLINE __attribute__((always_inline))

/// f(0), f(1), ..., f(kCount - 1), with constants.
template <int kCount, typename F>
LLMRT_INLINE inline void repeat(F f) {
  [&]<int... kI>(std::integer_sequence<int, kI...>) LLMRT_INLINE {
    (f(std::integral_constant<int, kI>{}), ...);
  }
  (std::make_integer_sequence<int, kCount>{});
}

template <typename Isa, int kIndex, int kRows, int kPanels>
class Loop {
  using Words = typename Isa::Words;
  using Floats = typename Isa::Floats;
  static constexpr const WeightFormat& kFormat = kWeightFormats[kIndex];
  static constexpr int kGroup = static_cast<int>(kFormat.block),
                       kPeriod = static_cast<int>(kFormat.subBlock()), kSubs = kGroup / kPeriod;
  static constexpr int kScales = kFormat.plane(PlaneRole::kScales),
                       kMins = kFormat.plane(PlaneRole::kMins),
                       kSubScales = kFormat.plane(PlaneRole::kSubScales),
                       kSubMins = kFormat.plane(PlaneRole::kSubMins),
                       kSubPairs = kFormat.plane(PlaneRole::kSubPairs);
  static constexpr bool kHasMins = kMins >= 0;
  static constexpr int kLow = static_cast<int>(kFormat.planes[0].bits ? kFormat.planes[0].bits : 8);
  static constexpr int kHighPlane = kFormat.plane(PlaneRole::kHighBits);
  // Bytes with a sign where the target has no need of unsigned ones (codegen/cpu/Quants.cpp).
  static constexpr bool kSigned = !Isa::kUnsigned && (kLow == 8 || kFormat.quant.codebook);

 public:
  static constexpr int32_t kOffset = kLow < 8 && !kFormat.quant.codebook ? kFormat.quant.offset
                                     : kSigned                           ? 0
                                                                         : 128;
  static void run(int64_t times, QuantsTile& tile) {
    Floats acc[kRows][kPanels];
    forOutputs([&](auto i, auto q) LLMRT_INLINE { acc[i][q] = Isa::zero(); });
    for (; times > 0; --times) {
      // Nothing is known from one pass to the next.
      asm volatile("" : : "r"(&tile), "r"(tile.planes[0]) : "memory");
      for (int64_t group = 0; group < QuantsTile::kCols / kGroup; ++group)
        addGroup(tile, group, acc);
    }
    forOutputs([&](auto i, auto q)
                   LLMRT_INLINE { Isa::store(&tile.outputs[i][q * kPanelLanes], acc[i][q]); });
  }

 private:
  template <typename F>
  LLMRT_INLINE static void forOutputs(F f) {
    repeat<kRows>([&](auto i)
                      LLMRT_INLINE { repeat<kPanels>([&](auto q) LLMRT_INLINE { f(i, q); }); });
  }

  template <int kPlane>
  LLMRT_INLINE static const uint8_t* panel(const QuantsTile& tile, int q) {
    constexpr int64_t kBytes = kFormat.unitBytes(kPlane, true, QuantsTile::kCols);
    return tile.planes[kPlane] + q * kBytes;
  }

  /// The words of a plane of quants that begin with value `at` + kJ, `at` a multiple of kPeriod.
  template <int kPlane, int kJ>
  LLMRT_INLINE static Words word(const QuantsTile& tile, int64_t at, int q) {
    constexpr int kBits =
        static_cast<int>(kFormat.planes[kPlane].bits ? kFormat.planes[kPlane].bits : 8);
    constexpr int kPerWord = 32 / kBits;
    const uint8_t* from = panel<kPlane>(tile, q);
    if constexpr (kPeriod % kPerWord == 0) {
      const Words words = Isa::load(from + (at / kPerWord + kJ / kPerWord) * 64);
      return Isa::template shiftRight<kJ % kPerWord / 4 * kBits>(words);
    } else {
      const int64_t k = at + kJ;
      return Isa::shiftRightBy(Isa::load(from + k / kPerWord * 64),
                               static_cast<int>(k % kPerWord / 4 * kBits));
    }
  }

  /// Four quants of each output, from `at` + kJ on, in the bytes of words.
  template <int kJ>
  LLMRT_INLINE static Words bytes(const QuantsTile& tile, int64_t at, int q) {
    Words w = word<0, kJ>(tile, at, q);
    if constexpr (kLow == 8) return kSigned ? w : Isa::flipSigns(w);
    w = Isa::andBytes(w, (1 << kLow) - 1);
    if constexpr (kHighPlane >= 0) {
      constexpr int kHigh = static_cast<int>(kFormat.planes[kHighPlane].bits);
      const Words high = Isa::template shiftLeft<kLow>(word<kHighPlane, kJ>(tile, at, q));
      w = Isa::orAnd(w, high, ((1 << kHigh) - 1) << kLow);
    }
    if constexpr (kFormat.quant.codebook != nullptr) {
      alignas(16) int8_t table[16];
      for (int i = 0; i < 16; ++i)
        table[i] = static_cast<int8_t>(kFormat.quant.codebook[i] + kOffset);
      w = Isa::lookUp(table, w);
    }
    return w;
  }

  /// sums = of the period from `at` on, weights times x.
  LLMRT_INLINE static void dots(const QuantsTile& tile, int64_t at, Words (&sums)[kRows][kPanels]) {
    forOutputs([&](auto i, auto q) LLMRT_INLINE {
      sums[i][q] = kOffset ? Isa::broadcast(tile.x_sums[i][at / kPeriod]) : Isa::zeroWords();
    });
    repeat<kPeriod / 4>([&](auto j) LLMRT_INLINE {
      Words w[kPanels];
      repeat<kPanels>([&](auto q) LLMRT_INLINE { w[q] = bytes<4 * j>(tile, at, q); });
      repeat<kRows>([&](auto i) LLMRT_INLINE {
        const Words x = Isa::broadcastFrom(&tile.x[i][at + 4 * j]);
        repeat<kPanels>([&](auto q) LLMRT_INLINE {
          sums[i][q] = Isa::template dot<kSigned>(w[q], x, sums[i][q]);
        });
      });
    });
  }

  LLMRT_INLINE static Words subScale(const QuantsTile& tile, int64_t sub, int q) {
    if constexpr (kSubPairs >= 0)
      return Isa::andBytes(Isa::unsignedBytes(panel<kSubPairs>(tile, q) + sub * kPanelLanes), 15);
    else
      return Isa::signedBytes(panel<kSubScales>(tile, q) + sub * kPanelLanes);
  }
  LLMRT_INLINE static Words subMin(const QuantsTile& tile, int64_t sub, int q) {
    if constexpr (kSubPairs >= 0)
      return Isa::template shiftRight<4>(
          Isa::unsignedBytes(panel<kSubPairs>(tile, q) + sub * kPanelLanes));
    else
      return Isa::signedBytes(panel<kSubMins>(tile, q) + sub * kPanelLanes);
  }

  LLMRT_INLINE static void clear(Words (&sums)[kRows][kPanels]) {
    forOutputs([&](auto i, auto q) LLMRT_INLINE { sums[i][q] = Isa::zeroWords(); });
  }

  LLMRT_INLINE static void addGroup(const QuantsTile& tile, int64_t group,
                                    Floats (&acc)[kRows][kPanels]) {
    Words sums[kRows][kPanels];
    if constexpr (kSubs == 1) {
      dots(tile, group * kGroup, sums);
    } else {
      clear(sums);
#pragma GCC unroll 1
      for (int64_t sub = group * kSubs; sub < (group + 1) * kSubs; ++sub) {
        Words parts[kRows][kPanels];
        dots(tile, sub * kPeriod, parts);
        repeat<kPanels>([&](auto q) LLMRT_INLINE {
          const Words scale = subScale(tile, sub, q);
          repeat<kRows>([&](auto i) LLMRT_INLINE {
            sums[i][q] = Isa::add(sums[i][q], Isa::multiply(parts[i][q], scale));
          });
        });
      }
    }
    repeat<kPanels>([&](auto q) LLMRT_INLINE {
      constexpr DType kType = kFormat.planes[kScales].dtype;
      const uint8_t* const at = panel<kScales>(tile, q) + group * kPanelLanes * dtypeBytes(kType);
      Floats scale;
      if constexpr (kType == DType::kHalfE8M0)
        scale = Isa::powers(at);
      else
        scale = Isa::halves(at);
      repeat<kRows>([&](auto i) LLMRT_INLINE {
        const Floats x_scale = Isa::broadcastFrom(&tile.x_scales[i][group]);
        Floats& c = acc[i][q];
        c = Isa::fma(Isa::toFloats(sums[i][q]), Isa::multiply(scale, x_scale), c);
      });
    });
    if constexpr (kHasMins) addMins(tile, group, acc);
  }

  LLMRT_INLINE static void addMins(const QuantsTile& tile, int64_t group,
                                   Floats (&acc)[kRows][kPanels]) {
    [[maybe_unused]] Words sums[kRows][kPanels];
    if constexpr (kSubs > 1) {
      clear(sums);
#pragma GCC unroll 1
      for (int64_t sub = group * kSubs; sub < (group + 1) * kSubs; ++sub)
        repeat<kPanels>([&](auto q) LLMRT_INLINE {
          const Words min = subMin(tile, sub, q);
          repeat<kRows>([&](auto i) LLMRT_INLINE {
            const Words x = Isa::broadcastFrom(&tile.x_sums[i][sub]);
            sums[i][q] = Isa::add(sums[i][q], Isa::multiply(x, min));
          });
        });
    }
    repeat<kPanels>([&](auto q) LLMRT_INLINE {
      const Floats min = Isa::halves(panel<kMins>(tile, q) + group * kPanelLanes * 2);
      repeat<kRows>([&](auto i) LLMRT_INLINE {
        Floats& c = acc[i][q];
        if constexpr (kSubs > 1) {
          const Floats x_scale = Isa::broadcastFrom(&tile.x_scales[i][group]);
          c = Isa::fma(Isa::toFloats(sums[i][q]), Isa::multiply(min, x_scale), c);
        } else {
          c = Isa::fma(min, Isa::broadcastFrom(&tile.x_scaled[i][group]), c);
        }
      });
    });
  }
};

/// Of kWeightFormats[index], with the register tile `number` of the Isa's.
template <typename Isa>
QuantsLoop loopAt(int index, int number) {
  constexpr int kCount = static_cast<int>(std::size(kWeightFormats));
  QuantsLoop loop;
  repeat<kCount>([&](auto i) {
    repeat<kQuantsTiles>([&](auto t) {
      constexpr int kRows = Isa::kTiles[t].rows, kPanels = Isa::kTiles[t].panels;
      if constexpr (!kWeightFormats[i].isPlain()) {
        using L = Loop<Isa, i, kRows, kPanels>;
        if (index == i && number == t) loop = {L::run, kRows, kPanels, L::kOffset};
      }
    });
  });
  return loop;
}

}  // namespace
}  // namespace llmrt
