#!/usr/bin/env bash
# Tests and measures dodeca on this machine's card. Made by tests/gpu/run.sh; needs bash, coreutils, and no rights.
#
#   bash device.sh                          under 8 minutes: result.json here, a table on standard output
#   bash device.sh -o FILE --gpu 1 --vram 24GiB --layers 25 --seconds 460
#   bash device.sh --gpu emulation          what can be tried without a card
#
# Exit code 1 when a check failed. result.json is whole after every step; what had no time left is in it by name. It has no
# host name, user name or serial number.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

gpu=0 vram=24GiB layers=25 budget=460 out=result.json
while [[ $# -gt 0 ]]; do
  case $1 in
    --gpu) gpu=$2 ;;
    --vram) vram=$2 ;;
    --layers) layers=$2 ;;
    --seconds) budget=$2 ;;
    -o) out=$2 ;;
    *) echo "device.sh: unknown option $1; known: --gpu, --vram, --layers, --seconds, -o" >&2; exit 2 ;;
  esac
  shift 2 || { echo "device.sh: the last option needs a value" >&2; exit 2; }
done
emulated=no
[[ $gpu == emulation ]] && emulated=yes
SECONDS=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DODECA_TUNING=none LC_ALL=C

# ---- unpacking: with the xz that came along -----------------------------------------------------------------------------
if [[ ! -x $here/dodeca ]]; then
  xz=("$here/unpack/xz")
  LD_LIBRARY_PATH=$here/unpack "${xz[@]}" --version >/dev/null 2>&1 ||
    xz=("$here/lib/glibc/ld-linux-x86-64.so.2" --library-path "$here/lib/glibc:$here/unpack" "$here/unpack/xz")
  LD_LIBRARY_PATH=$here/unpack "${xz[@]}" -dc "$here/rest.tar.xz" | tar -C "$here" -xf - ||
    { echo "device.sh: $here/rest.tar.xz cannot be unpacked" >&2; exit 1; }
  rm "$here/rest.tar.xz"
fi

# ---- programs: on this machine's C library, or, where that is older than they are, on the one that came along -----------
loader=() own_libc=no
if [[ ${DODECA_OWN_LIBC:-} == yes ]] || ! "$here/dodeca" --version >/dev/null 2>&1; then
  loader=("$here/lib/glibc/ld-linux-x86-64.so.2" --library-path "$here/lib/glibc:$here/lib")
  own_libc=yes
fi
dodeca=("${loader[@]}" "$here/dodeca")
bench=("${loader[@]}" "$here/dodeca-bench")
test_gpu=("${loader[@]}" "$here/test_gpu")

# Types that have products on cards, as in files that people have.
[[ -e $here/demo-q4_k_m.gguf ]] || "${dodeca[@]}" quantize -q "$here/demo" "$here/demo-q4_k_m.gguf" Q4_K_M ||
  { echo "device.sh: the demo cannot be quantized" >&2; exit 1; }

# ---- result.json --------------------------------------------------------------------------------------------------------
facts='{}' complete=false failures=0
fragments=()
# A JSON string of what is on standard input.
quoted() {
  printf '"'
  tr -cd '\11\12\40-\176' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\t/\\t/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
  printf '"'
}
quote() { printf '%s' "$1" | quoted; }
save() {
  local i comma=
  {
    printf '{"dodeca_device": 1, "complete": %s, "seconds": %d, "failures": %d,\n"facts": %s,\n"steps": [' \
      "$complete" "$SECONDS" "$failures" "$facts"
    for i in "${fragments[@]}"; do
      printf '%s\n' "$comma"
      cat "$i"
      comma=,
    done
    printf ']}\n'
  } >"$out.partial" && mv "$out.partial" "$out"
}
# add NAME STATUS SECONDS REASON OUTPUT-FILE RESULT-FILE: the result is JSON, or an empty file.
add() {
  local file=$work/step-${#fragments[@]}.json result=null
  [[ -s $6 ]] && result=$(cat "$6")
  printf '{"name": %s, "status": "%s", "seconds": %d, "reason": %s, "output": %s, "result": %s}' "$(quote "$1")" "$2" "$3" \
    "$(quote "$4")" "$(tail -c 20000 "$5" | quoted)" "$result" >"$file"
  fragments+=("$file")
  printf '%-46s %-8s %4d s  %s\n' "$1" "$2" "$3" "$4"
  [[ $2 == FAILED ]] && failures=$((failures + 1))
  save
}
skip() { : >"$work/none"; add "$1" skipped 0 "$2" "$work/none" "$work/none"; }
left() { echo $((budget - SECONDS)); }
# run LEAST MOST COMMAND...: within the time that is left, at most MOST seconds; sets status, took, and stdout, stderr.
# Returns 1 when there is no time: less than LEAST seconds. Not a check by itself.
run() {
  local least=$1 most=$2 limit begin=$SECONDS
  limit=$(left)
  [[ $limit -ge $least ]] || return 1
  [[ $limit -le $most ]] || limit=$most
  limit_of_step=$most
  shift 2
  timeout -k 5 "$limit" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
  status=$?
  took=$((SECONDS - begin))
  return 0
}
no_time() { echo "$(left) s are left of $budget s, it takes $1 s"; }
# The state of what run has done: ok, FAILED or cut off, with the reason. "must": all the time that it may have was there.
outcome() {
  case $status in
    0) state=ok reason="" ;;
    124|137)
      state="cut off" reason="it took longer than $took s"
      [[ ${1:-} != must || $took -lt $limit_of_step ]] || state=FAILED ;;
    *) state=FAILED reason="exit code $status: $(tail -n 1 "$work/stderr")" ;;
  esac
}
# step NAME LEAST MOST RESULT(json|jsonl|none, or test: one that fails when it takes longer) COMMAND...
step() {
  local name=$1 least=$2 most=$3 kind=$4
  shift 4
  if ! run "$least" "$most" "$@"; then skip "$name" "$(no_time "$least")"; return; fi
  case $kind in
    test) outcome must ;;
    *) outcome ;;
  esac
  : >"$work/result"
  case $kind in
    json) [[ $state != ok ]] || cp "$work/stdout" "$work/result" ;;
    jsonl) grep -E '^\{.*\}$' "$work/stdout" | sed '$!s/$/,/' | { lines=$(cat); [[ -z $lines ]] || printf '[%s]' "$lines"; } >"$work/result" ;;
    test | none) cat "$work/stdout" >>"$work/stderr" ;;
  esac
  add "$name" "$state" "$took" "$reason" "$work/stderr" "$work/result"
}

# ---- the machine --------------------------------------------------------------------------------------------------------
gather_facts() {
  local smi=missing query
  query=name,driver_version,memory.total,memory.used,compute_cap,pcie.link.gen.max,pcie.link.width.max,pcie.link.gen.current,clocks.max.sm,clocks.max.mem,power.limit,ecc.mode.current
  command -v nvidia-smi >/dev/null && smi=$(timeout 20 nvidia-smi --query-gpu=$query --format=csv 2>&1)
  printf '{"date": "%s", "commit": %s, "program": %s, "cards": %s, "nvidia_smi": %s, "processor": %s, "cores": %d, "memory": %s, "kernel": %s, "distribution": %s, "libc": %s, "own_libc": "%s", "gpu": %s, "vram": %s}' \
    "$(date -u +%F)" "$(quoted <"$here/commit")" "$("${dodeca[@]}" --version 2>&1 | quoted)" \
    "$("${dodeca[@]}" plan --shape deepseek-v3 2>/dev/null | sed -n 's/^cards: //p' | quoted)" "$(quote "$smi")" \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | quoted)" "$(nproc)" \
    "$(grep -E 'MemTotal|MemAvailable' /proc/meminfo | quoted)" "$(uname -r | quoted)" \
    "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release | tr -d '"' | quoted)" "$(ldd --version 2>&1 | head -n 1 | quoted)" \
    "$own_libc" "$(quote "$gpu")" "$(quote "$vram")"
}

# ---- checks -------------------------------------------------------------------------------------------------------------
kernel_tests() {
  if [[ $emulated == yes ]]; then skip "kernels against scalar" "the emulation is tested where it is built"; return; fi
  DODECA_TEST_DEVICE=$gpu step "kernels against scalar" 10 120 test \
    "${test_gpu[@]}" '--source-file=*tests/gpu/kernels/*' --duration=true
  DODECA_TEST_DEVICE=$gpu step "streams, graphs and flags" 5 30 test \
    "${test_gpu[@]}" '--test-case=a graph keeps*,host and device meet*'
}

prompts=("It is a truth universally acknowledged" "She had been" "Mr. Darcy" "The next morning" "\"My dear,\" said")
# greedy MODEL OPTION...: the same text on the card as on the processors, for every prompt. -cmoe: the experts are here, and
# every layer meets the card through flags.
greedy() {
  local model=$1 name="greedy text, $*" prompt text want same=0 n=0 begin=$SECONDS length=48 count=${#prompts[@]}
  local options=("${@:2}")
  [[ $emulated == yes ]] && length=3 count=1
  : >"$work/notes" && : >"$work/empty"
  for prompt in "${prompts[@]:0:count}"; do
    local common=(-m "$here/$model" -p "$prompt" -n "$length" --temp 0 --ignore-eos -q -c 256)
    run 5 30 "${dodeca[@]}" run "${common[@]}" || { skip "$name" "$(no_time 5)"; return; }
    outcome
    [[ $state == ok ]] || { add "$name" "$state" "$took" "processors: $reason" "$work/stderr" "$work/empty"; return; }
    want=$(cat "$work/stdout")
    run 5 60 "${dodeca[@]}" run "${common[@]}" --gpu "$gpu" "${options[@]}" || { skip "$name" "$(no_time 5)"; return; }
    outcome must
    [[ $state == ok ]] || { add "$name" "$state" "$took" "$reason" "$work/stderr" "$work/empty"; return; }
    text=$(cat "$work/stdout")
    n=$((n + 1))
    if [[ $text == "$want" ]]; then same=$((same + 1)); else printf 'processors: %s\ncard: %s\n' "$want" "$text" >>"$work/notes"; fi
  done
  state=ok
  [[ $same -eq $n ]] || state=FAILED
  add "$name" "$state" $((SECONDS - begin)) "$same of $n prompts as on the processors" "$work/notes" "$work/empty"
}

# perplexity MODEL PERCENT OPTION...: at most so far from the processors'. Prompts are multiplied in another form on the card
# (absorbed), so other numbers are rounded to int8 where weights have few bits: that differs by chance, the less the more
# tokens there are. With --compute f32 nothing is rounded.
perplexity() {
  local name="perplexity, $1 ${*:3}" begin=$SECONDS percent=$2 mine theirs chunks=8 context=512
  [[ $emulated == yes ]] && chunks=1 context=16
  : >"$work/empty"
  local common=(-m "$here/$1" -f "$here/valid.txt" -c "$context" --chunks "$chunks" -q "${@:3}")
  run 5 60 "${dodeca[@]}" ppl "${common[@]}" || { skip "$name" "$(no_time 5)"; return; }
  theirs=$(estimate)
  run 5 120 "${dodeca[@]}" ppl "${common[@]}" --gpu "$gpu" || { skip "$name" "$(no_time 5)"; return; }
  outcome must
  [[ $state == ok ]] || { add "$name" "$state" "$took" "$reason" "$work/stderr" "$work/empty"; return; }
  mine=$(estimate)
  awk -v mine="${mine:-0}" -v theirs="${theirs:-0}" -v percent="$percent" \
    'BEGIN { d = 100 * (mine - theirs); exit !(mine > 0 && theirs > 0 && d <= percent * theirs && -d <= percent * theirs) }' ||
    state=FAILED
  printf '{"card": %s, "processors": %s, "allowed_percent": %s}' "${mine:-null}" "${theirs:-null}" "$percent" >"$work/result"
  add "$name" "$state" $((SECONDS - begin)) "card ${mine:-nothing}, processors ${theirs:-nothing}, $percent % allowed" \
    "$work/stderr" "$work/result"
}
estimate() { sed -nE 's/.*PPL = ([0-9.]+).*/\1/p' "$work/stdout" | tail -n 1; }

sanitizer() {  # sanitizer TOOL
  local name="compute-sanitizer $1" tool=$here/sanitizer/compute-sanitizer
  if [[ $emulated == yes ]]; then skip "$name" "the emulation has no kernels of a card"; return; fi
  [[ -x $tool ]] || tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  [[ -x $tool ]] || { skip "$name" "compute-sanitizer is neither in the bundle nor on this machine"; return; }
  step "$name" 15 60 none "$tool" --tool "$1" --error-exitcode 99 \
    "${dodeca[@]}" run -m "$here/demo-q4_k_m.gguf" -p "It is" -n 3 --temp 0 -q -c 128 --gpu "$gpu"
}

# ---- tokens of DeepSeek-V3's size ---------------------------------------------------------------------------------------
# Fills and tries slices of 2 and 4 layers, and takes as many layers as memory and half of the time allow for two runs.
choose_layers() {
  local two four each free most
  run 30 90 "${bench[@]}" --shape deepseek-v3 --layers 2 -p 0 -n 1 -r 1 --no-membw --no-warmup -o jsonl -q || return 1
  [[ $status -eq 0 ]] || return 1
  two=$took
  run 30 90 "${bench[@]}" --shape deepseek-v3 --layers 4 -p 0 -n 1 -r 1 --no-membw --no-warmup -o jsonl -q || return 1
  [[ $status -eq 0 ]] || return 1
  four=$took
  each=$(((four - two + 2) / 2))
  [[ $each -ge 1 ]] || each=1
  free=$(awk '/MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
  most=$(((free - 12) / 4))  # a layer has 3.6 GiB of experts, in ud-q2_k_xl
  [[ $most -le $layers ]] || most=$layers
  [[ $most -le $(($1 / 4 / each)) ]] || most=$(($1 / 4 / each))
  [[ $most -ge 2 ]] || return 1
  chosen=$most
}
tokens() {  # tokens SECONDS
  local depths=0,4096,16384,32768 test=(-p 0 -n 16 -r 2) shape=(--shape deepseek-v3) device=(--gpu "$gpu" --vram "$vram" -ncmoe 99)
  if [[ $emulated == yes ]]; then
    skip "deepseek-v3 on processors" "the emulation is no card"
    skip "deepseek-v3 on card and processors" "the emulation is no card"
    return
  fi
  if ! choose_layers "$1"; then
    for name in "deepseek-v3 on processors" "deepseek-v3 on card and processors"; do
      skip "$name" "memory or time does not allow 2 layers ($(left) s are left; $(tail -n 1 "$work/stderr" 2>/dev/null))"
    done
    return
  fi
  step "deepseek-v3 on card and processors" 20 $(($1 / 2)) jsonl \
    "${bench[@]}" "${shape[@]}" --layers "$chosen" "${test[@]}" -d "$depths" "${device[@]}" --trace -o jsonl -oe md
  step "deepseek-v3 on processors" 20 $(($1 / 2)) jsonl \
    "${bench[@]}" "${shape[@]}" --layers "$chosen" "${test[@]}" -d "$depths" --trace -o jsonl -oe md
}
# Prompts of the same layers, whose experts stream to the card, and without.
prompts() {  # prompts SECONDS
  local test=(-p 512,2048,8192 -n 0 -r 1 --no-warmup -b 8192 -ub 8192) shape=(--shape deepseek-v3)
  if [[ $emulated == yes || -z ${chosen:-} ]]; then
    for name in "prompts on card and processors" "prompts on processors"; do skip "$name" "no layers were chosen"; done
    return
  fi
  step "prompts on card and processors" 20 $(($1 * 2 / 3)) jsonl \
    "${bench[@]}" "${shape[@]}" --layers "$chosen" "${test[@]}" --gpu "$gpu" --vram "$vram" -ncmoe 99 --stream-experts auto --trace -o jsonl -oe md
  step "prompts on processors" 20 $(($1 / 3)) jsonl \
    "${bench[@]}" "${shape[@]}" --layers "$chosen" -p 512,2048 -n 0 -r 1 --no-warmup -ub 2048 -o jsonl -oe md
}

table_of_tokens() {
  local name
  for name in "on processors" "on card and processors"; do
    for i in "${fragments[@]}"; do
      grep -q "\"name\": \"deepseek-v3 $name\"" "$i" || continue
      grep -oE '"(n_depth|avg_ts|whole_model_ts|model_type)": ?("[^"]*"|[0-9.]+)' "$i" | sed 's/"//g' | paste -sd ' ' |
        sed "s/model_type/\n$name: model_type/g" | sed '/^ *$/d'
    done
  done
}

facts=$(gather_facts)
save
kernel_tests
greedy demo-q4_k_m.gguf
greedy demo-q4_k_m.gguf -cmoe
greedy demo -cmoe
perplexity demo-q4_k_m.gguf 0.01 --compute f32
perplexity demo-q4_k_m.gguf "$([[ $emulated == yes ]] && echo 5 || echo 0.5)"  # 8 tokens, 2048
perplexity demo 0.1
step "rooflines" 10 90 json "${bench[@]}" gpu --gpu "$gpu" -o json -q
tokens 200
prompts 100
sanitizer memcheck
sanitizer racecheck
complete=true
save
echo
table_of_tokens
echo "$out: ${#fragments[@]} steps, $failures failed, $SECONDS s"
[[ $failures -eq 0 ]]
