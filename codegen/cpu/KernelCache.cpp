#include "codegen/cpu/KernelCache.h"

#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"

namespace llmc::cpu {

namespace {

constexpr uint64_t kMaxBytes = uint64_t{512} << 20;
constexpr size_t kChecksumDigits = 32;  // of hashOf()

std::string hashOf(llvm::StringRef bytes) {
  const llvm::XXH128_hash_t hash = llvm::xxh3_128bits(llvm::arrayRefFromStringRef(bytes));
  return llvm::utohexstr(hash.high64, /*LowerCase=*/true, 16) +
         llvm::utohexstr(hash.low64, /*LowerCase=*/true, 16);
}

/// A file's bytes; null where it cannot be read.
std::unique_ptr<llvm::MemoryBuffer> bytesOf(const llvm::Twine& path) {
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  return file ? std::move(*file) : nullptr;
}

/// Appends a line with path, size and times of a library of LLVM's.
int addLibrary(dl_phdr_info* library, size_t, void* text) {
  const llvm::StringRef path = library->dlpi_name;
  const llvm::StringRef name = llvm::sys::path::filename(path);
  struct stat s = {};
  if ((!name.starts_with("libLLVM") && !name.starts_with("libMLIR")) ||
      ::stat(library->dlpi_name, &s) != 0)
    return 0;
  llvm::raw_string_ostream(*static_cast<std::string*>(text))
      << path << ' ' << s.st_size << ' ' << s.st_mtim.tv_sec << ' ' << s.st_mtim.tv_nsec << ' '
      << s.st_ctim.tv_sec << ' ' << s.st_ctim.tv_nsec << '\n';
  return 0;
}

/// What makes objects of kernels: this program, by its bytes, and LLVM's libraries, which are too
/// large to be read each time. Empty: the program cannot be read.
const std::string& makers() {
  static const std::string text = [] {
    std::string made;
    if (const auto program = bytesOf("/proc/self/exe")) {
      made = hashOf(program->getBuffer()) + '\n';
      ::dl_iterate_phdr(addLibrary, &made);
    }
    return made;
  }();
  return text;
}

/// Why files cannot be made in the folder; empty where they can.
std::string problemWith(const std::string& folder) {
  std::error_code error = llvm::sys::fs::create_directories(folder);
  if (!error && !llvm::sys::fs::is_directory(folder))
    error = std::make_error_code(std::errc::not_a_directory);
  if (!error && ::access(folder.c_str(), R_OK | W_OK | X_OK) != 0)
    error = std::error_code(errno, std::generic_category());
  return error ? "LLMC_KERNEL_CACHE=" + folder + ": " + error.message() + ": no kernels are kept"
               : "";
}

}  // namespace

KernelCache KernelCache::open(std::string& problem) {
  KernelCache cache;
  const char* const folder = std::getenv("LLMC_KERNEL_CACHE");
  if (!folder || !*folder || makers().empty()) return cache;
  problem = problemWith(folder);
  if (!problem.empty()) return cache;
  cache.folder_ = folder;
  llvm::CachePruningPolicy policy;
  policy.MaxSizeBytes = kMaxBytes;
  llvm::pruneCache(cache.folder_, policy);
  return cache;
}

std::string KernelCache::nameOf(mlir::ModuleOp kernel, const CpuTarget& target) const {
  if (folder_.empty()) return "";
  std::string text = makers() + textForLowering(target) + '\n';
  llvm::raw_string_ostream out(text);
  // The generic form leaves nothing out, whatever the dialects' own syntax does.
  kernel->print(out, mlir::OpPrintingFlags().printGenericOpForm());
  return "llvmcache-" + hashOf(text);  // pruneCache() deletes what is called so
}

std::optional<KernelObject> KernelCache::find(const std::string& name) const {
  if (name.empty()) return std::nullopt;
  const auto file = bytesOf(folder_ + '/' + name);
  if (!file || file->getBufferSize() < kChecksumDigits) return std::nullopt;
  const llvm::StringRef checksum = file->getBuffer().take_front(kChecksumDigits);
  const llvm::StringRef object = file->getBuffer().drop_front(kChecksumDigits);
  if (checksum != hashOf(name + object.str())) return std::nullopt;
  return KernelObject(object.begin(), object.end());
}

void KernelCache::keep(const std::string& name, const KernelObject& object) const {
  if (name.empty()) return;
  auto file = llvm::sys::fs::TempFile::create(folder_ + '/' + name + ".%%%%%%%%.tmp");
  if (!file) return llvm::consumeError(file.takeError());
  const llvm::StringRef bytes(object.data(), object.size());
  llvm::raw_fd_ostream out(file->FD, /*shouldClose=*/false);
  out << hashOf(name + bytes.str()) << bytes;
  out.flush();
  const bool written = !out.has_error();
  out.clear_error();
  llvm::consumeError(written ? file->keep(folder_ + '/' + name) : file->discard());
}

}  // namespace llmc::cpu
