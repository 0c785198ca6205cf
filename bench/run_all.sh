#!/usr/bin/env bash
# Measures this machine and writes every published table into one file per family of processors, bench/results/FAMILY.md, each
# with the command that made it. About 50 minutes on 2 cores; nothing is downloaded, models are shapes with random weights.
# Nothing else should run meanwhile.
#
#   bash bench/run_all.sh                        bench/results/FAMILY.md, with build/release/dodeca-bench
#   bash bench/run_all.sh --out my.md --bench path/to/dodeca-bench
#   bash bench/run_all.sh --quick                the same tables from short runs (minutes), to see that all is well
#   bash bench/run_all.sh --only kernels,tokens  some sections; --help lists them
#   bash bench/run_all.sh --repetitions 2        fewer repetitions of everything (default: 3)
#
# llama.cpp is measured beside it when bench/llama_cpp.sh has been run before (needs 7 GB in TMPDIR for a file).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sections=(memory barrier kernels attention tokens depth parallel trace models encoders peers)
bench=build/release/dodeca-bench
out=
quick=no
repetitions=3
only=$(IFS=,; echo "${sections[*]}")

usage() {
  echo "bench/run_all.sh: $1 (options: --out FILE, --bench PROGRAM, --quick, --repetitions N, --only SECTION,...; sections: ${sections[*]})" >&2
  exit 2
}
arguments=
while [[ $# -gt 0 ]]; do
  case $1 in
    --out|--bench|--only|--repetitions) [[ $# -ge 2 ]] || usage "$1 needs a value" ;;&
    --out) out=$2; shift 2 ;;
    --bench) bench=$2; shift 2 ;;
    --only) only=$2; arguments+=" --only $2"; shift 2 ;;
    --repetitions) [[ $2 =~ ^[1-9][0-9]?$ ]] || usage "--repetitions needs a number from 1 to 99"; repetitions=$2; arguments+=" --repetitions $2"; shift 2 ;;
    --quick) quick=yes; repetitions=1; arguments+=" --quick"; shift ;;
    -h|--help) sed -n '2,13s/^# \{0,1\}//p' "$0"; echo "sections: ${sections[*]}"; exit 0 ;;
    *) usage "unknown option $1" ;;
  esac
done
cpu() { sed -n "s/^$1[[:space:]]*: //p" /proc/cpuinfo | head -n 1; }
# epyc-zen4, xeon-amx: what decides which kernels run and how well.
family() {
  local model
  model=$(cpu model)
  case "$(cpu vendor_id) $(cpu 'cpu family')" in
    'AuthenticAMD 23') echo epyc-zen2 ;;
    'AuthenticAMD 25') if (( (model >= 16 && model < 32) || (model >= 96 && model < 128) || model >= 160 )); then echo epyc-zen4; else echo epyc-zen3; fi ;;
    'AuthenticAMD 26') echo epyc-zen5 ;;
    'GenuineIntel 6') if [[ $(cpu flags) == *amx_int8* ]]; then echo xeon-amx; elif [[ $(cpu flags) == *avx512_vnni* ]]; then echo xeon-avx512; else echo xeon-avx2; fi ;;
    *) echo other ;;
  esac
}
[[ -n $out ]] || out=bench/results/$(family).md
for name in ${only//,/ }; do [[ " ${sections[*]} " == *" $name "* ]] || usage "no section $name"; done
[[ -x $bench ]] || { echo "bench/run_all.sh: no program $bench: cmake --preset release && cmake --build --preset release" >&2; exit 1; }

page=$out.partial  # what was measured stays readable whatever happens after it
: >"$page"
trap 'rm -rf "${synthetic:-}"' EXIT
put() { printf '%s\n' "$@" >>"$page"; }
wanted() { [[ ,$only, == *,$1,* ]]; }
failed=0
# table COMMAND...: the command and what it prints; lines outside tables become a list. A failure is told and the rest goes on.
table() {
  echo "bench/run_all.sh: $*" >&2
  local begin=$SECONDS
  put "" "\`$(basename "$1") ${*:2}\`" ""
  if ! "$@" | sed '/^|/!{/./s/^/- /}' >>"$page"; then
    put "" "This command failed."
    echo "bench/run_all.sh: failed: $*" >&2
    failed=$((failed + 1))
  fi
  echo "bench/run_all.sh: $((SECONDS - begin)) s" >&2
}
section() {
  put "" "## $1"
  if [[ $# -gt 1 ]]; then put "" "${@:2}"; fi
}

free_gib=$(awk '/MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
seconds=0.1 depths=0,4096,16384,32768 prompt=512,2048 generate=64
long=8192
if [[ $quick == yes ]]; then seconds=0.01 depths=0,512 prompt=64 generate=8 long=512; fi
# The V3 slice of 1 dense and 2 MoE layers takes 10 GB.
shapes=(deepseek-v2-lite)
if [[ $free_gib -ge 12 && $quick == no ]]; then shapes+=(deepseek-v3); fi
slice_of() { if [[ $1 == deepseek-v3 ]]; then echo "--layers 3"; elif [[ $quick == yes ]]; then echo "--layers 4"; fi; }

put "# Results" "" "Made by \`bash bench/run_all.sh$arguments\`; GB are 10^9 bytes." ""
put "| | |" "|---|---|" "| date | $(date -u +%F) |" \
  "| CPU | $(cpu 'model name') ($(family): family $(cpu 'cpu family'), model $(cpu model)), $(nproc) processors |" \
  "| memory | $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), huge pages: $(sed 's/.*\[\(.*\)\].*/\1/' \
    /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo unknown) |" \
  "| program | $("$bench" --version | tr '\n' ';' | sed 's/;$//; s/;/; /g') |" \
  "| load when begun | $(cut -d ' ' -f 1 /proc/loadavg) |"

if wanted memory; then
  section "Memory" "What the threads of a node read at best."
  table "$bench" membw -q --seconds "$seconds"
fi
if wanted barrier; then
  section "Barriers" "Between two phases in which nothing is computed, and for a token of V3's 61 layers with 8 phases each."
  table "$bench" barrier -q --seconds "$seconds"
  put "" "What this means for 64 and 96 threads is estimated in cpu/NOTES.md."
fi
if wanted kernels; then
  section "Matrix products" "The variant of each type that this host takes; columns are activation rows."
  table "$bench" kernels -q --best --seconds "$seconds"
  section "Matrix products, AVX2" "What a host without AVX-512 takes."
  table "$bench" kernels -q --best --isa avx2 --types Q2_K,Q3_K,Q4_K,Q5_K,Q6_K,Q8_0,Q4_0,IQ4_NL --seconds "$seconds"
fi
if wanted attention; then
  section "Latent attention" "Microseconds of one thread for a chunk of 256 positions at DeepSeek-V3's sizes."
  table "$bench" attention -q --seconds "$seconds"
  table "$bench" attention -q --isa avx2 --seconds "$seconds"
fi
for shape in "${shapes[@]}"; do
  read -ra slice <<<"$(slice_of "$shape")"
  if wanted tokens; then
    section "Prompts and generation, $shape"
    table "$bench" --shape "$shape" "${slice[@]}" -q -p "$prompt" -n "$generate" -ub 2048 -r "$repetitions"
  fi
  if wanted depth; then
    section "By depth, $shape" "Tokens in the cache before the timed ones; the cache is q8_0, or i8 for speed."
    table "$bench" --shape "$shape" "${slice[@]}" -q -p 0 -n "$((generate / 4))" -d "$depths" -ctk q8_0,i8 -r "$repetitions"
    table "$bench" --shape "$shape" "${slice[@]}" -q -p "${prompt##*,}" -n 0 -d "$(cut -d , -f 1,3 <<<"$depths")" -ub 2048 \
      -ctk q8_0 -r 1 --no-warmup --trace
  fi
  if wanted parallel; then
    section "Sequences together, $shape" "Tokens per second of all sequences."
    table "$bench" --shape "$shape" "${slice[@]}" -q -p 0 -n "$((generate / 4))" --parallel 1-32*2 -r "$repetitions"
  fi
  if wanted trace; then
    section "Where the time goes, $shape" "Of a generated token, then of a prompt."
    table "$bench" --shape "$shape" "${slice[@]}" -q -p 0 -n "$generate" -r "$repetitions" --trace
    table "$bench" --shape "$shape" "${slice[@]}" -q -p "${prompt%%,*}" -n 0 -ub 2048 -r "$repetitions" --trace
  fi
done

if wanted models; then
  section "Other models" "Slices of a few layers with random weights, and what they say of the whole model; depths of an empty and a long context."
  models=(deepseek-v3.2:3 kimi-k2:2 glm-5:3 glm-4.7-flash:4 qwen3-30b-a3b:4 qwen3-235b:4 glm-4.5-air:4 minimax-m2:3 gpt-oss-120b:4 llama-3.1-405b:2)
  if [[ $free_gib -lt 12 || $quick == yes ]]; then models=(glm-4.7-flash:2 qwen3-30b-a3b:2 gpt-oss-20b:2); fi
  for model in "${models[@]}"; do
    table "$bench" --shape "${model%:*}" --layers "${model#*:}" -q -p "${prompt%%,*}" -n "$((generate / 4))" -d "$(cut -d , -f 1 <<<"$depths"),$long" \
      -ub 2048 -r "$repetitions"
  done
  section "Sparse and dense attention" "The same shape with the positions that its indexer chooses, and with all of them."
  if [[ $free_gib -ge 12 && $quick == no ]]; then
    for attention in "" --dense-attention; do
      table "$bench" --shape glm-5 --layers 3 -q -p 0 -n "$((generate / 4))" -d 32768 -r "$repetitions" --trace $attention
    done
  else
    put "Not measured: the slice takes 10 GB and minutes."
  fi
fi
if wanted encoders; then
  section "Encoders" "Weighted squared error of what quantize writes (gain restored, \`quant/gain.hpp\`) over that of llama.cpp's on the same \
rows, and how many times its weights per second of one core; last, millions of weights per second and core."
  if [[ -e .deps/llama.cpp/build/bin/libggml-base.so ]] && .deps/venv/bin/python -c 'import numpy' 2>/dev/null; then
    table .deps/venv/bin/python bench/encoders.py --dodeca-bench "$bench" --ggml .deps/llama.cpp/build/bin/libggml-base.so --runs "$repetitions"
  else
    put "Not measured: \`bash bench/llama_cpp.sh\` builds llama.cpp's, \`bash bench/setup.sh --peers\` installs numpy."
  fi
fi
if wanted peers; then
  section "Beside llama.cpp"
  if [[ -x .deps/llama.cpp/build/bin/llama-bench ]] && .deps/venv/bin/python -c 'import numpy' 2>/dev/null; then
    synthetic=$(mktemp -d)
    read -ra size <<<"$([[ $quick == yes ]] && echo '--layers 4')"
    .deps/venv/bin/python bench/synth_gguf.py lite "$synthetic/lite.gguf" "${size[@]}"
    put "The file is what \`bench/synth_gguf.py lite lite.gguf${size[*]:+ ${size[*]}}\` writes."
    table python3 bench/compare.py -m "$synthetic/lite.gguf" -p "${prompt%%,*}" -n "$generate" -r 1 \
      --rounds "$repetitions" --dodeca-bench "$bench"
  else
    put "Not measured: \`bash bench/llama_cpp.sh\` builds it, \`bash bench/setup.sh --peers\` installs what the comparison needs."
  fi
fi
if [[ -n ${synthetic:-} ]]; then sed -i "s|$synthetic/||g" "$page"; fi
mv "$page" "$out"
echo "bench/run_all.sh: $out, $((SECONDS / 60)) min $((SECONDS % 60)) s, $failed failed" >&2
[[ $failed -eq 0 ]]
