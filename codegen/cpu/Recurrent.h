// What ops over recurrent states share: a step's sequences, the branches of its trees, and tiles of
// a state's columns.
#pragma once

#include "codegen/cpu/KernelBuilder.h"

namespace llmc::cpu {

/// body(first row, row behind the last, its slot) for each sequence of the step.
void forSequences(KernelBuilder& k, int64_t slotElements,
                  const std::function<void(Value, Value, Value)>& body);

/// Whether the rows are tokens of trees, and slots are only read.
bool verifies(const KernelBuilder& k);

/// The row that `row` continues; -1 of one that continues none, or where `row` is -1 itself.
Value parentOf(KernelBuilder& k, Value row);

/// token(r) of every row of a sequence in a verify step, each after its ancestors, which come
/// before it in the step. A row that continues the one before it finds its state in place; another
/// begins anew by begin(), and its ancestors write their results again, the same bits.
void forTree(KernelBuilder& k, Value first, Value end, const std::function<void()>& begin,
             const std::function<void(Value)>& token);

/// Copies `rows` rows of `columns` floats, whose rows are so many floats apart.
void copyColumns(KernelBuilder& k, int64_t rows, int64_t columns, Value from, int64_t fromStride,
                 Value to, int64_t toStride);

}  // namespace llmc::cpu
