#!/usr/bin/env bash
# Kernels of an ISA level may not define weak symbols: the linker could keep such a copy, compiled with AVX-512 say, of an inline
# function for the whole program, which then dies on a lesser machine.
#   check_kernel_symbols.sh BUILD_DIR
set -euo pipefail
build=${1:?usage: check_kernel_symbols.sh BUILD_DIR}
# The suffixes of kernel files: the names of cpu/isa.inc.
suffixes=$(sed -n 's/^ISA(\([a-z0-9_]*\),.*HAS.*/\1/p' "$(dirname "$0")/../../cpu/isa.inc" | paste -sd'|')
mapfile -t objects < <(find "$build" -regextype posix-extended -regex ".*_($suffixes)\.cpp\.o" | sort)
if [[ ${#objects[@]} -eq 0 ]]; then
  echo "no ISA objects under $build"
  exit 1
fi
problems=0
for object in "${objects[@]}"; do
  weak=$(nm --defined-only "$object" | awk '$2 ~ /^[WVu]$/ { print $3 }' | c++filt)
  if [[ -n $weak ]]; then
    echo "${object#"$build"/} defines weak symbols:"
    sed 's/^/  /' <<<"$weak"
    problems=$((problems + 1))
  fi
done
echo "kernel symbols: ${#objects[@]} objects, $problems with weak symbols"
[[ $problems -eq 0 ]]
