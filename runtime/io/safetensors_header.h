// The header of one safetensors file: parsed and validated, without a JSON document in between.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/io/mapped_file.h"
#include "runtime/io/status.h"

namespace llmrt {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as written: "F32", "I64", ...
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // in bytes from the start of the data
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  // by offset
  std::map<std::string, std::string, std::less<>> metadata;
  uint64_t data_offset = 0;  // of the data in the file
};

/// The rules are those of the reference implementation (safetensors/src/tensor.rs: read_metadata,
/// validate), plus: no name twice. Errors start with the file's path.
Result<SafetensorsHeader> parseSafetensorsHeader(const MappedFile& file);

}  // namespace llmrt
