// What is free in how a product with weights is computed: numbers that change its speed and no bit
// of its result. They are measured on a CPU (llmc compile --tune) and looked up by what a kernel
// multiplies.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ir/LLM.h"

namespace llmc::cpu {

/// The free numbers of one product. What is not given follows from the target (FmaProduct.cpp).
struct ProductTuning {
  // Of one row or few, whose weights stream by:
  std::optional<int64_t> streamPanels;  // panels read side by side, if the rows leave registers
  std::optional<int64_t> aheadBytes;    // asked for ahead, over all panels; 0: nothing
  std::optional<int64_t> aheadLevel;    // the nearest cache that these come to: 1 or 2
  // Of more rows, for which a piece of the weights stays in the cache:
  std::optional<int64_t> tileRows, tilePanels;  // of the register tile
  std::optional<int64_t> pieceCols;             // values of k of a piece
  std::optional<int64_t> blockRows;             // in prefill: rows that a piece is used for
  // Of both:
  std::optional<int64_t> joinTiles;  // tiles of a call that are worked on as one

  bool operator==(const ProductTuning&) const = default;
};

/// A number of ProductTuning: its name in files, and which values kernels are written for. The
/// bounds keep code and scratch small.
struct TuningField {
  const char* name;
  std::optional<int64_t> ProductTuning::*value;
  int64_t least, most, multiple;
  bool powerOfTwo = false;

  bool allows(int64_t v) const {
    return v >= least && v <= most && v % multiple == 0 && (!powerOfTwo || (v & (v - 1)) == 0);
  }
};
extern const std::array<TuningField, 8> kTuningFields;

/// Two kinds of kernels multiply a matrix: those of decode and verify steps, and those of prefill.
enum class ProductRows { few, many };

/// The product that a tuning is for.
struct ProductKey {
  std::string op;                   // "norm_glu"
  int64_t outputs = 0, inputs = 0;  // of its matrices, side by side
  std::string weights;              // the format's name
  bool int8 = false;                // the left operand is rounded to int8
  ProductRows rows = ProductRows::few;

  auto operator<=>(const ProductKey&) const = default;
  /// "norm_glu 16384x2048 q4_0 int8, few rows".
  std::string text() const;
};
/// Empty: the kernel multiplies no weights in panels.
std::optional<ProductKey> productKeyOf(llm::KernelOp kernel);

struct TunedProduct {
  ProductKey key;
  ProductTuning tuning;
  double gain = 1;     // how much faster it was than without, for people
  double ofLimit = 0;  // of the bandwidth or the peak measured beside it, for people

  /// "stream_panels 8, ahead_bytes 8192".
  std::string text() const;
};

/// What was measured on one CPU for one target.
struct CpuTuning {
  std::string cpu;     // LLVM's name of the CPU: "znver4"
  std::string model;   // the CPU's own name, for people
  std::string target;  // CpuTarget::name
  int64_t threads = 0;
  std::vector<TunedProduct> products;  // sorted by key, each once

  /// Of that product; else of the one nearest in size with the same weights, left operand and rows,
  /// the same op before others, if one has at most eight times as many weights or as few. Null:
  /// there is none.
  const TunedProduct* find(const ProductKey& key) const;
};

}  // namespace llmc::cpu
