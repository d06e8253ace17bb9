// Preloaded: a machine that has neither NVRTC nor a driver, whatever is installed.
#include <dlfcn.h>

#include <cstring>

extern "C" void* dlopen(const char* name, int flags) {
  if (name && (std::strstr(name, "libnvrtc") || std::strstr(name, "libcuda"))) return nullptr;
  static const auto real =
      reinterpret_cast<void* (*)(const char*, int)>(dlsym(RTLD_NEXT, "dlopen"));
  return real(name, flags);
}
