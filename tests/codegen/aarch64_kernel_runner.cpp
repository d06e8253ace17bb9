// aarch64_kernel_runner IMAGE SYMBOL CALL: calls a kernel of a shared object as the file CALL says
// (emulated_call.h), on its bytes. Cross-compiled, for qemu-user.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdio>

#include "tests/codegen/emulated_call.h"

int main(int argc, char** argv) {
  const auto fail = [](const char* what) {
    std::fprintf(stderr, "aarch64_kernel_runner: error: %s\n", what);
    return 1;
  };
  if (argc != 4) return fail("usage: aarch64_kernel_runner IMAGE SYMBOL CALL");
  void* image = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!image) return fail(dlerror());
  const auto kernel = reinterpret_cast<LlmcKernelFn>(dlsym(image, argv[2]));
  if (!kernel) return fail(dlerror());
  const int fd = open(argv[3], O_RDWR);
  struct stat status = {};
  if (fd < 0 || fstat(fd, &status) != 0) return fail("cannot open the call");
  void* mapped =
      mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return fail("cannot map the call");
  auto* const bytes = static_cast<uint8_t*>(mapped);
  const auto& call = *static_cast<const llmc::test::EmulatedCall*>(mapped);
  void* operands[llmc::test::EmulatedCall::kMaxOperands];
  for (int64_t i = 0; i < call.num_operands; ++i) operands[i] = bytes + call.operands[i];
  return kernel(&call.step, operands, call.begin, call.end, bytes + call.scratch);
}
