# LLVM, MLIR and LLD 22. Their version files want major.minor: asking for "22" fails.
set(LLMC_LLVM_ROOT /usr/lib/llvm-22 CACHE PATH "Where LLVM 22 is installed")
find_package(MLIR 22.1 REQUIRED CONFIG HINTS ${LLMC_LLVM_ROOT}/lib/cmake/mlir)
find_package(ZLIB REQUIRED)
find_package(LLD 22.1 REQUIRED CONFIG HINTS ${LLMC_LLVM_ROOT}/lib/cmake/lld)
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)

# llmc_mlir_library: llmc_library with MLIR's headers (as system headers) and its two dylibs.
# Never also link a static MLIR target: that would be a second copy of the registry.
function(llmc_mlir_library name)
  llmc_library(${name} ${ARGN})
  target_include_directories(${name} SYSTEM PUBLIC ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
  target_link_libraries(${name} PUBLIC MLIR LLVM)
endfunction()
