// Runs a program and keeps what it says.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace llmc_tests {

struct Ran {
  int status = -1;  // exit status; 128 + signal when it was killed
  std::string out, err;

  size_t errLines() const { return static_cast<size_t>(std::count(err.begin(), err.end(), '\n')); }
};

struct Limits {
  rlim_t file_bytes = RLIM_INFINITY;
  rlim_t address_bytes = RLIM_INFINITY;
  rlim_t stack_bytes = RLIM_INFINITY;
};

inline std::string readWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// `scratch`: a directory for the two files that collect stdout and stderr; they are removed.
/// `input`: the file that is standard input; `directory`: where the program runs, empty: here.
inline Ran runProgram(std::vector<std::string> command, const std::string& scratch,
                      Limits limits = {}, const std::string& input = "/dev/null",
                      const std::string& directory = "") {
  const std::string out = scratch + "/.stdout", err = scratch + "/.stderr";
  const pid_t child = ::fork();
  if (child == 0) {
    const auto redirect = [](const std::string& path, int fd) {
      const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(file, fd);
    };
    ::dup2(::open(input.c_str(), O_RDONLY), STDIN_FILENO);
    redirect(out, STDOUT_FILENO);
    redirect(err, STDERR_FILENO);
    const auto limit = [](auto resource, rlim_t bytes) {
      const rlimit value = {bytes, bytes};
      if (bytes != RLIM_INFINITY) ::setrlimit(resource, &value);
    };
    limit(RLIMIT_FSIZE, limits.file_bytes);
    limit(RLIMIT_AS, limits.address_bytes);
    limit(RLIMIT_STACK, limits.stack_bytes);
    if (!directory.empty() && ::chdir(directory.c_str()) != 0) ::_exit(126);
    std::vector<char*> argv;
    for (std::string& argument : command) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  Ran ran;
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ran.out = readWhole(out);
  ran.err = readWhole(err);
  ::unlink(out.c_str());
  ::unlink(err.c_str());
  return ran;
}

}  // namespace llmc_tests
