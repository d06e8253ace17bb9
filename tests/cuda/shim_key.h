// What kernels compiled against the shim depend on, besides their source.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "tests/cache/test_cache.h"

namespace llmc::test {

/// Adds the shim's headers, shim*.h of the folder.
inline void addShim(llmc_tests::CacheKey& key, const std::string& folder) {
  std::set<std::string> headers;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("shim")) headers.insert(entry.path().string());
  for (const std::string& header : headers) key.addContents(header);
}

}  // namespace llmc::test
