# shellcheck shell=bash
# What the scripts beside this file share: where they work, how they speak and how they stop. Sourced, never run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
logs=build/logs

say() { printf '==> %s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# step NAME COMMAND...: runs the command quietly. If it fails, shows the end of its output, from the first complaint of
# ninja or CMake on where there is one, and stops. The whole output stays in build/logs/NAME.log.
step() {
  local log=$logs/$1.log
  shift
  mkdir -p "$logs"
  if "$@" >"$log" 2>&1 </dev/null; then return; fi
  { sed -n '/^FAILED:\|^CMake Error/,$p' "$log" | grep . || tail -n 40 "$log"; } | head -n 80 >&2 || true
  fail "'$*' failed; all it said is in $log"
}

# Compile jobs at once: one per core, if each can have the 1.5 GB that a file full of MLIR headers takes.
jobs_for_memory() {
  local cores by_memory
  cores=$(nproc)
  by_memory=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo)
  echo $((by_memory < 1 ? 1 : by_memory < cores ? by_memory : cores))
}
