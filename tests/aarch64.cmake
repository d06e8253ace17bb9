# Programs for aarch64, to run under qemu-user. Objects by hand, since a CMake build has one compiler per language.
find_program(LLMC_AARCH64_CXX NAMES aarch64-linux-gnu-g++-12 aarch64-linux-gnu-g++)
find_program(LLMC_QEMU_AARCH64 NAMES qemu-aarch64 qemu-aarch64-static)
set(llmc_runs_aarch64 OFF)
if(LLMC_AARCH64_CXX AND LLMC_QEMU_AARCH64)
  set(llmc_runs_aarch64 ON)
endif()

# llmc_aarch64_program(PROGRAM DEPENDENCY SOURCES...): builds PROGRAM, a file in the calling folder's build folder, as part of
# `all`, by the target PROGRAM_program. SOURCES are relative to the project; before them DEPENDENCY is built, a target, or "".
function(llmc_aarch64_program program dependency)
  set(objects)
  foreach(source IN LISTS ARGN)
    string(REPLACE "/" "_" object ${source})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/aarch64/${object}.o)
    # What the program does not call may need sources that are not listed: it is left out by sections.
    # -idirafter: fmt, FlatBuffers and xxHash are headers that know no architecture; everything else is the cross compiler's.
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/aarch64
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${LLMC_AARCH64_CXX} -std=c++20 -O1 -ffunction-sections -DFMT_HEADER_ONLY -I${PROJECT_SOURCE_DIR}
              -I${PROJECT_BINARY_DIR} -idirafter /usr/include -MD -MF ${object}.d -c ${PROJECT_SOURCE_DIR}/${source}
              -o ${object}
      DEPENDS ${PROJECT_SOURCE_DIR}/${source} ${dependency}
      DEPFILE ${object}.d)
    list(APPEND objects ${object})
  endforeach()
  add_custom_command(
    OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${program}
    COMMAND ${LLMC_AARCH64_CXX} -static-libstdc++ -static-libgcc -Wl,--gc-sections ${objects} -ldl -lpthread
            -o ${CMAKE_CURRENT_BINARY_DIR}/${program}
    DEPENDS ${objects})
  add_custom_target(${program}_program ALL DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/${program})
endfunction()
