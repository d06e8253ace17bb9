# Compiler flags, ccache and sanitizers, and the one function every folder declares its library with.

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

set(LLMC_SANITIZE "" CACHE STRING "Sanitizers for every target, for example address,undefined")
if(LLMC_SANITIZE)
  # What GCC 12 takes for uninitialized in std::regex is not, once it is instrumented (GCC bug 105562).
  add_compile_options(-fsanitize=${LLMC_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    -Wno-maybe-uninitialized)
  add_link_options(-fsanitize=${LLMC_SANITIZE})
endif()

# bfd needs minutes and gigabytes for MLIR programs; lld needs seconds.
find_program(LLD_PROGRAM NAMES ld.lld-22 ld.lld PATHS /usr/lib/llvm-22/bin)
if(LLD_PROGRAM)
  get_filename_component(LLD_DIR ${LLD_PROGRAM} DIRECTORY)
  add_link_options(-fuse-ld=lld)
  if(EXISTS /usr/lib/llvm-22/bin/ld.lld)
    add_link_options(-B/usr/lib/llvm-22/bin)
  endif()
endif()

# llmc_library(NAME SOURCES... [PUBLIC libs...] [PRIVATE libs...])
# A static library with the project's warnings; includes are written from the project's root.
function(llmc_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  llmc_warnings(${name})
endfunction()

function(llmc_warnings name)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wno-unused-parameter
    -Wno-missing-field-initializers)  # designated initialisers leave out what has a default
  if(LLMC_WARNINGS_AS_ERRORS)
    target_compile_options(${name} PRIVATE -Werror)
  endif()
endfunction()
