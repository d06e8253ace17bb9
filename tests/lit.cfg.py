# Settings of lit for every folder of tests/ that holds .mlir files. CMake's llmc_lit_test() gives the parameters:
#   programs    where llmc-opt is
#   llvm_tools  where FileCheck and not are
#   out         where to write
import os

import lit.formats

config.name = "llmc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = lit_config.params["out"]
config.environment["PATH"] = os.pathsep.join(
    [lit_config.params["programs"], lit_config.params["llvm_tools"], os.environ["PATH"]])
# What a sanitized build is told to overlook (leaks of MLIR itself), and how its reports read.
for name in ("ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
