// What a target's image tells about its kernels.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace llmc {

/// Bytes of code of each function an ELF shared object exports; empty where it cannot be read.
std::map<std::string, uint64_t> kernelSizes(std::span<const uint8_t> image);

}  // namespace llmc
