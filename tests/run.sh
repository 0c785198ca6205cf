#!/usr/bin/env bash
# Set-up, build and all tests; the last line is "N passed, N failed" (", N skipped" when something was, named above it).
# Exit code 1 when anything failed. Logs of every step are in build/test-logs.
#
#   bash tests/run.sh            everything
#   bash tests/run.sh --quick    without the debug, sanitizer and scalar-only builds
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quick=no
[[ ${1:-} == --quick ]] && quick=yes
jobs=$(nproc)
logs=$PWD/build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
passed=0 failed=0 skipped=0 start=$SECONDS
failures=() skips=()

say() { printf '%s\n' "$*"; }
finish() {
  say ""
  local line
  for line in "${skips[@]}"; do say "skipped: $line"; done
  for line in "${failures[@]}"; do say "FAILED: $line"; done
  say "time: $(( (SECONDS - start) / 60 )) min $(( (SECONDS - start) % 60 )) s"
  if [[ $skipped -gt 0 ]]; then say "$passed passed, $failed failed, $skipped skipped"; else say "$passed passed, $failed failed"; fi
  [[ $failed -eq 0 ]]
  exit
}
fail() { failed=$((failed + 1)); failures+=("$1"); }
skip() { skipped=$((skipped + 1)); skips+=("$1"); }

log_of() { printf '%s/%s.log' "$logs" "${1//[^a-zA-Z0-9._-]/_}"; }

# run NAME COMMAND...: output to a log, shown when it fails; sets log and status
run() {
  local name=$1 begin=$SECONDS
  shift
  log=$(log_of "$name")
  "$@" >"$log" 2>&1 </dev/null
  status=$?
  say "$(printf '%-52s %4d s  %s' "$name" $((SECONDS - begin)) "$([[ $status -eq 0 ]] && echo ok || echo "exit code $status")")"
  return $status
}
show_log() { tail -n "${1:-60}" "$log" | sed 's/^/    /'; }

# One check: exit code 77 means skipped, the log's last line says why.
check() {
  if run "$@"; then passed=$((passed + 1))
  elif [[ $status -eq 77 ]]; then skip "$1: $(tail -n 1 "$log")"
  else show_log; fail "$1"; fi
}

# A step without which nothing after it makes sense.
require() {
  run "$@" && return
  show_log
  fail "$1"
  finish
}

# What run has just run was a doctest program: its test cases are counted one by one; a crash counts as one failure.
count_cases() {
  local name=$1 summary
  summary=$(grep -aE '^\[doctest\] test cases:' "$log" | tail -n 1)
  if [[ $summary =~ \|\ +([0-9]+)\ passed\ +\|\ +([0-9]+)\ failed ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    if [[ ${BASH_REMATCH[2]} -gt 0 || $status -ne 0 ]]; then
      failed=$((failed + (BASH_REMATCH[2] > 0 ? BASH_REMATCH[2] : 1)))
      failures+=("$name")
      show_log
    fi
  else
    show_log
    fail "$name"
  fi
}

doctest() {
  run "$@"
  count_cases "$1"
}

# start NAME COMMAND...: run in the background, as many at a time as there are processors; for what is not timed closely.
start() {
  while [[ $(jobs -pr | wc -l) -ge $jobs ]]; do wait -n; done
  { run "$@"; echo "$status" >"$log.status"; } &
}
# After wait: what run would have left for NAME.
collect() {
  log=$(log_of "$1")
  status=$(<"$log.status")
}

# doctests PRESET PROGRAM...: at the same time, results in order.
doctests() {
  local preset=$1 program
  shift
  for program; do start "$preset: $program" "${unrandomised[@]}" "build/$preset/tests/$program"; done
  wait
  for program; do
    collect "$preset: $program"
    count_cases "$preset: $program"
  done
}

# fuzz SECONDS: of processor time for each target of tests/fuzz/targets.inc.
fuzz() {
  local target targets
  mapfile -t targets < <(build/asan/tests/fuzz --list)
  [[ ${#targets[@]} -gt 0 ]] || fail "fuzz: no targets"
  for target in "${targets[@]}"; do
    start "fuzz: $target" "${unrandomised[@]}" build/asan/tests/fuzz "$target" --seconds "$1"
  done
  wait
  for target in "${targets[@]}"; do
    collect "fuzz: $target"
    if [[ $status -eq 0 ]]; then passed=$((passed + 1)); else show_log; fail "fuzz: $target"; fi
  done
}

build() {  # build PRESET TARGET...
  local preset=$1 targets=() cuda=OFF mpi=OFF  # nvcc compiles the same kernels for every preset: once is enough
  shift
  [[ $preset == release ]] && cuda=AUTO
  [[ $preset == release ]] && command -v mpirun mpicxx >/dev/null && mpi=ON  # one file more; other presets build without
  cmake --preset "$preset" -DDODECA_TESTS=ON "-DDODECA_MPI=$mpi" "-DDODECA_CUDA=$cuda" "-DDODECA_CUDA_ARCHITECTURES=80;90" || return
  [[ $# -gt 0 ]] && targets=(--target "$@")
  cmake --build "build/$preset" --parallel "$jobs" "${targets[@]}"
}

# Address space randomisation with many bits confuses the sanitizers of older compilers.
unrandomised=()
setarch "$(uname -m)" -R true 2>/dev/null && unrandomised=(setarch "$(uname -m)" -R)

require "set-up" bash bench/setup.sh --tests

for lint in check_includes check_file_size check_doc_paths; do check "lint: $lint" python3 "tests/lint/$lint.py"; done
check "lint: check_format" bash tests/lint/check_format.sh

# ---- release: every test ----------------------------------------------------------------------------------------------
require "release: build" build release
no_cuda=$(sed -n 's/^DODECA_CUDA_MISSING:INTERNAL=//p' build/release/CMakeCache.txt)
if [[ -n $no_cuda ]]; then
  skip "cuda: kernels for sm_80 and sm_90: $no_cuda"
  skip "cuda: no kernel spills registers: $no_cuda"
else
  check "cuda: kernels for sm_80 and sm_90" cmake --build build/release --parallel "$jobs" --target cuda_kernels
  check "cuda: no kernel spills registers" python3 tests/gpu/static_evidence.py build/release --check
fi
check "lint: check_kernel_symbols" bash tests/lint/check_kernel_symbols.sh build/release
# Every folder that has tests has its program: one that was not built is a failure.
# Programs with teams of threads wait for one another on all processors and run one at a time, the others beside each other.
mapfile -t programs < <(find tests -name '*_test.cpp' | sed -E 's#^tests/(runtime/[^/]+|[^/]+)/.*#test_\1#; s#/#_#g' | sort -u)
teamless=(test_runtime_text test_runtime_load test_runtime_sample test_runtime_base test_runtime_model test_quant test_fuzz
       test_support test_gpu)  # those without teams, the longest first
doctests release "${teamless[@]}"
for program in "${programs[@]}"; do
  [[ " ${teamless[*]} " == *" $program "* ]] || doctest "release: $program" "build/release/tests/$program"
done
grep -ahE 'MESSAGE: .*skipped' "$logs"/release__test_*.log | sed 's/.*MESSAGE: */not run here: /' | sort -u
for script in tests/*_test.py; do
  check "program: $(basename "$script" .py)" python3 "$script" build/release
done
check "numa: machines in QEMU" bash tests/numa/run.sh build/release

# ---- debug: every file and every header compiled alone, run-time checks on ----------------------------------------------
if [[ $quick == no ]]; then
  # The longest first. The sanitizers' build below has the same checks on for quant, base and model.
  debug_targets=(test_runtime_exec test_runtime_device test_runtime_weights test_runtime_engine test_runtime_plan)
  require "debug: build" build debug dodeca dodeca-bench all_verify_interface_header_sets "${debug_targets[@]}"
  doctests debug "${debug_targets[@]}"
  check "lint: check_tidy" python3 tests/lint/check_tidy.py build/debug
fi

# ---- sanitizers: what reads files and text, and the team ---------------------------------------------------------------
if [[ $quick == no ]]; then
  export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
  # The longest first.
  asan_targets=(test_cpu test_runtime_text test_gpu test_quant test_runtime_load test_runtime_base test_runtime_model)
  require "asan: build" build asan "${asan_targets[@]}" fuzz
  doctests asan "${asan_targets[@]}"
  fuzz 15  # tests/fuzz/hunt.sh is for long runs

  require "tsan: build" build tsan test_team
  TSAN_OPTIONS=halt_on_error=1 doctest "tsan: the thread team" "${unrandomised[@]}" build/tsan/tests/test_team

  require "scalar-only: build" build scalar-only dodeca
  check "scalar-only: golden outputs" python3 tests/golden_test.py build/scalar-only --cases
else
  for what in debug asan tsan scalar-only; do skip "$what (--quick)"; done
fi
finish
