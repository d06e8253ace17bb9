#include "tools/cli/user_folders.h"

#include <cstdlib>

namespace llmrt {

std::string userFolder(const char* variable, const char* in_home) {
  // The XDG specification: a relative path is as good as none.
  if (const char* folder = std::getenv(variable); folder && *folder == '/')
    return std::string(folder) + "/llmc";
  if (const char* home = std::getenv("HOME"); home && *home == '/')
    return std::string(home) + '/' + in_home + "/llmc";
  return "";
}

}  // namespace llmrt
