// Numbers for people.
#pragma once

#include <cstdint>
#include <string>

namespace llmc {

std::string bytesText(double bytes);  // "14.50 GB", "182 KB", "17 B" (powers of 1000)
std::string countText(double count);  // "7.24 B", "656 K"
std::string flopsText(double flops);  // "14.48 GFLOP"

}  // namespace llmc
