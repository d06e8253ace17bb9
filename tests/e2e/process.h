// Runs a program without a shell, so that arguments may hold any byte.
#pragma once

#include <string>
#include <vector>

namespace e2e {

struct Output {
  int status = -1;  // exit status; -1 when a signal ended it or it did not start
  std::string out, err;
};

/// `args[0]` is the program's path; stdin holds `input`.
Output run(const std::vector<std::string>& args, const std::string& input = "");

/// `args` as a person would read them, for messages.
std::string commandLine(const std::vector<std::string>& args);

std::string readFile(const std::string& path);
void writeFile(const std::string& path, const std::string& bytes);

/// A folder of its own for the running test, removed at the end.
class ScratchDir {
 public:
  ScratchDir();
  ~ScratchDir();
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace e2e
