#!/usr/bin/env bash
# A longer hunt with clang's libFuzzer: one process at a time, each target for some minutes, its corpus kept in
# build/fuzz/corpus and what it finds in build/fuzz/found. Exit code 1 when something was found.
#
#   bash tests/fuzz/hunt.sh                        every target of tests/fuzz/targets.inc, 10 minutes each
#   bash tests/fuzz/hunt.sh TARGET... [--minutes N]
#
# Needs clang 15 or later (older ones have no _Float16) with its runtime libraries: apt-get install clang-16
# libclang-rt-16-dev. To see a finding again: DODECA_FUZZ_TARGET=TARGET build/libfuzzer/tests/libfuzzer FILE
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() { printf 'hunt: %s\n' "$*" >&2; exit 2; }
mapfile -t known < <(sed -n 's/^FUZZ_TARGET(\([a-z_]*\),.*/\1/p' tests/fuzz/targets.inc)
minutes=10 targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --minutes) [[ ${2:-} =~ ^[0-9]+$ ]] || die "--minutes needs a whole number"; minutes=$2; shift 2 ;;
    *) [[ " ${known[*]} " == *" $1 "* ]] || die "there is no target $1; there are: ${known[*]}"; targets+=("$1"); shift ;;
  esac
done
[[ ${#targets[@]} -gt 0 ]] || targets=("${known[@]}")
compiler=
for candidate in clang++ clang++-{15..22}; do
  version=$("$candidate" -dumpversion 2>/dev/null) && [[ ${version%%.*} -ge 15 ]] && compiler=$candidate
done
[[ -n $compiler ]] || die "clang 15 or later is not here: apt-get install clang-16 libclang-rt-16-dev"

program=build/libfuzzer/tests/libfuzzer
mkdir -p build/fuzz/found
{ cmake --preset libfuzzer -DDODECA_TESTS=ON -DCMAKE_CXX_COMPILER="$compiler" && cmake --build build/libfuzzer --parallel "$(nproc)" --target libfuzzer fuzz; } >build/fuzz/build.log 2>&1 ||
  { tail -n 30 build/fuzz/build.log >&2; die "the build failed: build/fuzz/build.log"; }
build/libfuzzer/tests/fuzz --seeds build/fuzz/seeds

# The limits of a target, as tests/fuzz/targets.inc has them; memory is counted with the sanitizer's own.
limit_of() { sed -n "s/^FUZZ_TARGET($1, *\([0-9]*\), *\([0-9]*\))/\\$2/p" tests/fuzz/targets.inc; }

export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 ASAN_OPTIONS=quarantine_size_mb=32
found=0
for target in "${targets[@]}"; do
  corpus=build/fuzz/corpus/$target log=build/fuzz/$target.log
  mkdir -p "$corpus"
  DODECA_FUZZ_TARGET=$target "$program" -max_total_time=$((minutes * 60)) -timeout="$(limit_of "$target" 1)" \
    -rss_limit_mb=$((1024 + $(limit_of "$target" 2))) -max_len=65536 -print_final_stats=1 -close_fd_mask=1 \
    -artifact_prefix="build/fuzz/found/$target-" "$corpus" "build/fuzz/seeds/$target" >"$log" 2>&1 </dev/null
  status=$?
  stat() { sed -n "s/^stat::$1: *//p" "$log"; }
  printf '%-18s %10s inputs, %5s in the corpus, at most %s MiB: %s\n' "$target" "$(stat number_of_executed_units)" \
    "$(find "$corpus" -type f | wc -l)" "$(stat peak_rss_mb)" \
    "$([[ $status -eq 0 ]] && echo nothing found || echo "FOUND, exit code $status, see $log")"
  [[ $status -eq 0 ]] || found=1
done
exit $found
