// What tools/check leaves out of a sweep, and tools/check --full does not (README.md).
//
// A sweep is a test for each of many values. Those of the short form are instantiated as always,
// the others as Full/SUITE, which CTest labels `full`. A loop within a test asks fullTests().
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <vector>

namespace llmc_tests {

/// LLMC_FULL_TESTS=1: loops within tests leave nothing out.
inline bool fullTests() {
  const char* const full = std::getenv("LLMC_FULL_TESTS");
  return full && std::strcmp(full, "1") == 0;
}

/// The values of a sweep, parted.
template <class T>
struct Sweep {
  std::vector<T> short_form, others;
};

/// Every `n`-th value is of the short form, from the one with index `first` on.
template <class T>
Sweep<T> everyNth(const std::vector<T>& values, size_t n, size_t first = 0) {
  Sweep<T> sweep;
  for (size_t i = 0; i < values.size(); ++i)
    (i % n == first ? sweep.short_form : sweep.others).push_back(values[i]);
  return sweep;
}

/// Of the short form of `sweep`, every `n`-th value stays there.
template <class T>
Sweep<T> everyNth(const Sweep<T>& sweep, size_t n, size_t first = 0) {
  Sweep<T> thinner = everyNth(sweep.short_form, n, first);
  thinner.others.insert(thinner.others.end(), sweep.others.begin(), sweep.others.end());
  return thinner;
}

/// All pairs of two axes. Of the short form are those of a diagonal that begins anew at the end of
/// an axis, until each value of both has been met.
template <class A, class B>
Sweep<std::tuple<A, B>> diagonal(const std::vector<A>& rows, const std::vector<B>& columns) {
  std::vector<size_t> met(rows.size() * columns.size());
  for (size_t i = 0; i < std::max(rows.size(), columns.size()); ++i)
    met[i % rows.size() * columns.size() + i % columns.size()] = 1;
  Sweep<std::tuple<A, B>> sweep;
  for (size_t i = 0; i < met.size(); ++i)
    (met[i] ? sweep.short_form : sweep.others)
        .push_back({rows[i / columns.size()], columns[i % columns.size()]});
  return sweep;
}

}  // namespace llmc_tests

/// Instantiates a suite for both parts of a sweep; behind it comes what names a test.
#define LLMC_INSTANTIATE_SWEEP(SUITE, SWEEP, ...)                                        \
  INSTANTIATE_TEST_SUITE_P(, SUITE, testing::ValuesIn((SWEEP).short_form), __VA_ARGS__); \
  INSTANTIATE_TEST_SUITE_P(Full, SUITE, testing::ValuesIn((SWEEP).others), __VA_ARGS__)
