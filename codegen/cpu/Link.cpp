// Links kernels into a shared object with LLD as a library.
#include <fcntl.h>
#include <unistd.h>

#include "codegen/cpu/Lower.h"
#include "lld/Common/Driver.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

namespace llmc::cpu {

namespace {

/// A file in the temporary directory, removed at the end of its life.
class TemporaryFile {
 public:
  static llvm::Expected<TemporaryFile> create(llvm::StringRef suffix) {
    TemporaryFile file;
    int fd = -1;
    if (std::error_code ec = llvm::sys::fs::createTemporaryFile("llmc", suffix, fd, file.path_)) {
      llvm::SmallString<128> directory;
      llvm::sys::path::system_temp_directory(/*ErasedOnReboot=*/true, directory);
      return llvm::createStringError(ec, llvm::Twine(directory) +
                                             ": cannot create a temporary file: " + ec.message() +
                                             " (TMPDIR names another directory)");
    }
    ::close(fd);
    return file;
  }
  TemporaryFile(TemporaryFile&& other) : path_(std::move(other.path_)) { other.path_.clear(); }
  ~TemporaryFile() {
    if (!path_.empty()) llvm::sys::fs::remove(path_);
  }
  const char* path() { return path_.c_str(); }

 private:
  TemporaryFile() = default;
  llvm::SmallString<128> path_;
};

}  // namespace

llvm::Expected<std::vector<uint8_t>> linkShared(const std::vector<KernelObject>& objects,
                                                const CpuTarget& target) {
  std::vector<llvm::NewArchiveMember> members;
  for (const KernelObject& object : objects)
    members.emplace_back(llvm::MemoryBufferRef({object.data(), object.size()}, "kernel.o"));
  auto archive = llvm::writeArchiveToBuffer(members, llvm::SymtabWritingMode::NoSymtab,
                                            llvm::object::Archive::K_GNU, /*Deterministic=*/true,
                                            /*Thin=*/false);
  if (!archive) return archive.takeError();
  auto input = TemporaryFile::create("a");
  if (!input) return input.takeError();
  auto output = TemporaryFile::create("so");
  if (!output) return output.takeError();
  {
    std::error_code ec;
    llvm::raw_fd_ostream out(input->path(), ec);
    out << (*archive)->getBuffer();
    out.close();
    if (out.has_error()) {
      ec = out.error();
      out.clear_error();
      return llvm::createStringError(
          ec, llvm::Twine(input->path()) + ": cannot write: " + ec.message() +
                  " (TMPDIR names another directory for temporary files)");
    }
  }
  const bool arm = llvm::StringRef(target.triple).starts_with("aarch64");
  const char* args[] = {"ld.lld",
                        "-m",
                        arm ? "aarch64linux" : "elf_x86_64",
                        "-shared",
                        "--no-undefined",
                        "-z",
                        "now",
                        "-z",
                        "relro",
                        "--build-id=none",
                        "--hash-style=gnu",
                        "--strip-debug",
                        "--threads=1",
                        "-o",
                        output->path(),
                        "--whole-archive",
                        input->path()};
  std::string log;
  llvm::raw_string_ostream stream(log);
  lld::Result result = lld::lldMain(args, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   "linking the kernels failed: " + log);
  auto buffer = llvm::MemoryBuffer::getFile(output->path(), /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return llvm::createStringError(
        buffer.getError(),
        llvm::Twine(output->path()) + ": cannot read: " + buffer.getError().message());
  const char* begin = (*buffer)->getBufferStart();
  return std::vector<uint8_t>(begin, begin + (*buffer)->getBufferSize());
}

}  // namespace llmc::cpu
