#include "runtime/io/stored_blocks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace llmrt {
namespace {

static_assert(std::endian::native == std::endian::little, "four bytes are taken as a word");

/// Bits [shift, shift + kBits) of each quant, as weight_format.h has them lie in bytes: four quants
/// at a time.
template <int kBits>
void packBits(const uint8_t* quants, int64_t count, int shift, uint8_t* out) {
  constexpr int kWords = 8 / kBits;
  constexpr uint32_t kMask = 0x01010101 * ((1U << kBits) - 1);
  for (int64_t at = 0; at < count; at += 4 * kWords, out += 4) {
    uint32_t packed = 0;
    for (int i = 0; i < kWords; ++i) {
      uint32_t word = 0;
      std::memcpy(&word, quants + at + 4 * i, sizeof word);
      packed |= (word >> shift & kMask) << (i * kBits);
    }
    std::memcpy(out, &packed, sizeof packed);
  }
}

void packBits(int64_t bits, const uint8_t* quants, int64_t count, int shift, uint8_t* out) {
  switch (bits) {
    case 1:
      return packBits<1>(quants, count, shift, out);
    case 2:
      return packBits<2>(quants, count, shift, out);
    default:
      return packBits<4>(quants, count, shift, out);
  }
}

//===----------------------------------------------------------------------===//
// ggml: ggml-common.h has the blocks, dequantize_row_*() of ggml-quants.c what they mean
//===----------------------------------------------------------------------===//

/// Low halves of `count` bytes, then their high halves.
void readHalves(const uint8_t* bytes, int64_t count, uint8_t* quants) {
  for (int64_t i = 0; i < count; ++i) {
    quants[i] = bytes[i] & 15;
    quants[count + i] = bytes[i] >> 4;
  }
}

template <int kQuantsAt>
void halves32(const uint8_t* block, uint8_t* quants) {
  readHalves(block + kQuantsAt, 16, quants);
}

template <int kHighAt, int kQuantsAt>
void halves32WithHighBit(const uint8_t* block, uint8_t* quants) {
  readHalves(block + kQuantsAt, 16, quants);
  uint32_t high = 0;
  std::memcpy(&high, block + kHighAt, sizeof high);
  for (int i = 0; i < 32; ++i) quants[i] |= static_cast<uint8_t>((high >> i & 1) << 4);
}

void bytes32(const uint8_t* block, uint8_t* quants) { std::copy_n(block + 2, 32, quants); }

/// Two bits a value: of 32 bytes, the lowest pairs, then those above.
template <int kQuantsAt>
void pairsOfBits(const uint8_t* block, uint8_t* quants) {
  for (int half = 0; half < 2; ++half)
    for (int part = 0; part < 4; ++part)
      for (int i = 0; i < 32; ++i)
        quants[128 * half + 32 * part + i] = block[kQuantsAt + 32 * half + i] >> (2 * part) & 3;
}

void quants3K(const uint8_t* block, uint8_t* quants) {
  pairsOfBits<32>(block, quants);
  for (int part = 0; part < 8; ++part)
    for (int i = 0; i < 32; ++i)
      quants[32 * part + i] |= static_cast<uint8_t>((block[i] >> part & 1) << 2);
}

template <int kQuantsAt>
void halves256(const uint8_t* block, uint8_t* quants) {
  for (int i = 0; i < 4; ++i) readHalves(block + kQuantsAt + 32 * i, 32, quants + 64 * i);
}

void quants5K(const uint8_t* block, uint8_t* quants) {
  halves256<48>(block, quants);
  for (int part = 0; part < 8; ++part)
    for (int i = 0; i < 32; ++i)
      quants[32 * part + i] |= static_cast<uint8_t>((block[16 + i] >> part & 1) << 4);
}

void quants6K(const uint8_t* block, uint8_t* quants) {
  for (int half = 0; half < 2; ++half) {
    readHalves(block + 64 * half, 64, quants + 128 * half);
    const uint8_t* high = block + 128 + 32 * half;
    for (int part = 0; part < 4; ++part)
      for (int i = 0; i < 32; ++i)
        quants[128 * half + 32 * part + i] |=
            static_cast<uint8_t>((high[i] >> (2 * part) & 3) << 4);
  }
}

void quants4XS(const uint8_t* block, uint8_t* quants) {
  for (int i = 0; i < 8; ++i) readHalves(block + 8 + 16 * i, 16, quants + 32 * i);
}

void subs2K(const uint8_t* block, PlaneRole, uint8_t* subs) { std::copy_n(block, 16, subs); }

/// Six bits each: the low four of 16 scales in 8 bytes, then the others in 4.
void subs3K(const uint8_t* block, PlaneRole, uint8_t* subs) {
  const uint8_t* at = block + 96;
  for (int i = 0; i < 16; ++i) {
    const int low = i < 8 ? at[i] & 15 : at[i - 8] >> 4;
    const int high = at[8 + i % 4] >> (2 * (i / 4)) & 3;
    subs[i] = static_cast<uint8_t>((low | high << 4) - 32);
  }
}

/// Six bits each, of 8 scales and 8 minimums in 12 bytes (get_scale_min_k4()).
void subs45K(const uint8_t* block, PlaneRole role, uint8_t* subs) {
  const uint8_t* at = block + 4;
  const bool mins = role == PlaneRole::kSubMins;
  const uint8_t* first = mins ? at + 4 : at;  // of four, whose top bits belong to the next four
  for (int i = 0; i < 4; ++i) {
    subs[i] = first[i] & 63;
    const int low = mins ? at[8 + i] >> 4 : at[8 + i] & 15;
    subs[4 + i] = static_cast<uint8_t>(low | first[i] >> 6 << 4);
  }
}

void subs6K(const uint8_t* block, PlaneRole, uint8_t* subs) { std::copy_n(block + 192, 16, subs); }

void subs4XS(const uint8_t* block, PlaneRole, uint8_t* subs) {
  uint16_t high = 0;
  std::memcpy(&high, block + 2, sizeof high);
  for (int i = 0; i < 8; ++i) {
    const int low = block[4 + i / 2] >> (i % 2 * 4) & 15;
    subs[i] = static_cast<uint8_t>((low | (high >> (2 * i) & 3) << 4) - 32);
  }
}

struct GgmlBlocks {
  uint32_t type = 0;
  StoredBlocks blocks;
};

constexpr const WeightFormat* format(std::string_view name) {
  return std::ranges::find(kWeightFormats, name, &WeightFormat::name);
}

// type, format, bytes; where scale and minimum lie, whether that is subtracted; the rest.
constexpr GgmlBlocks kGgmlBlocks[] = {
    {2, {format("q4_0"), 18, 0, -1, false, halves32<2>}},
    {3, {format("q4_1"), 20, 0, 2, false, halves32<4>}},
    {6, {format("q5_0"), 22, 0, -1, false, halves32WithHighBit<2, 6>}},
    {7, {format("q5_1"), 24, 0, 2, false, halves32WithHighBit<4, 8>}},
    {8, {format("q8_0"), 34, 0, -1, false, bytes32}},
    {10, {format("q2_k"), 84, 80, 82, true, pairsOfBits<16>, subs2K}},
    {11, {format("q3_k"), 110, 108, -1, false, quants3K, subs3K}},
    {12, {format("q4_k"), 144, 0, 2, true, halves256<16>, subs45K}},
    {13, {format("q5_k"), 176, 0, 2, true, quants5K, subs45K}},
    {14, {format("q6_k"), 210, 208, -1, false, quants6K, subs6K}},
    {20, {format("iq4_nl"), 18, 0, -1, false, halves32<2>}},
    {23, {format("iq4_xs"), 136, 0, -1, false, quants4XS, subs4XS}},
    {39, {format("mxfp4"), 17, 0, -1, false, halves32<1>}},
};

// transformers/integrations/mxfp4.py: of each byte the low half is first.
void pairs32(const uint8_t* block, uint8_t* quants) {
  for (int i = 0; i < 16; ++i) readHalves(block + i, 1, quants + 2 * i);
}
constexpr StoredBlocks kSafetensorsMxfp4 = {format("mxfp4"), 16, -1, -1, false, pairs32};

}  // namespace

void StoredBlocks::readPlanes(const uint8_t* block, uint8_t* const* planes,
                              const uint8_t* scale) const {
  std::array<uint8_t, WeightFormat::kMaxBlock> quants;
  read_quants(block, format->planes[0].bits == 0 ? planes[0] : quants.data());
  for (int p = 0; p < format->num_planes; ++p) {
    const FormatPlane& to = format->planes[p];
    switch (to.role) {
      case PlaneRole::kValues:
        break;
      case PlaneRole::kQuants:
        if (to.bits) packBits(to.bits, quants.data(), format->block, 0, planes[p]);
        break;
      case PlaneRole::kHighBits:
        packBits(to.bits, quants.data(), format->block, static_cast<int>(format->planes[0].bits),
                 planes[p]);
        break;
      case PlaneRole::kScales:
        std::memcpy(planes[p], scale ? scale : block + scale_at,
                    static_cast<size_t>(dtypeBytes(to.dtype)));
        break;
      case PlaneRole::kMins:
        std::memcpy(planes[p], block + min_at, 2);
        if (subtracts_min) planes[p][1] ^= 0x80;
        break;
      case PlaneRole::kSubScales:
      case PlaneRole::kSubMins:
      case PlaneRole::kSubPairs:
        read_subs(block, to.role, planes[p]);
        break;
    }
  }
}

const StoredBlocks* ggmlBlocks(uint32_t type) {
  for (const GgmlBlocks& entry : kGgmlBlocks)
    if (entry.type == type) return &entry.blocks;
  return nullptr;
}

const StoredBlocks& safetensorsMxfp4() { return kSafetensorsMxfp4; }

}  // namespace llmrt
