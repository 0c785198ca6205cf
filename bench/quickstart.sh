#!/usr/bin/env bash
# From a bare machine to a running model: installs packages, builds, makes the dynamically quantized GGUF of the demo model,
# measures prompt processing and token generation against the memory bandwidth, generates a paragraph.
#
#   bash bench/quickstart.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
start=$SECONDS
say() { printf '\n== %s\n' "$*"; }

demo=bench/demo/model
out=build/demo
gguf=$out/austen-ud-q2_k_xl.gguf

say "1/5 packages"
bash bench/setup.sh

say "2/5 build (a few minutes)"
mkdir -p build "$out"
if ! { cmake --preset release && cmake --build --preset release --target dodeca dodeca-bench; } >build/quickstart.log 2>&1
then
  tail -n 40 build/quickstart.log >&2
  echo "quickstart: the build failed; the whole output is in build/quickstart.log" >&2
  exit 1
fi
dodeca=build/release/dodeca
bench=build/release/dodeca-bench
"$dodeca" --version

say "3/5 quantize the FP8 checkpoint $demo to the dynamic mixture ud-q2_k_xl"
"$dodeca" quantize "$demo" "$gguf" --recipe ud-q2_k_xl
"$dodeca" ppl -m "$gguf" -f bench/demo/valid.txt -c 512 -q | tail -n 1

say "4/5 speed: prompt processing (pp512), token generation (tg128), share of the memory bandwidth"
"$bench" -m "$gguf" -p 512 -n 128

say "5/5 a paragraph in Austen's manner"
"$dodeca" run -m "$gguf" -p "It is a truth universally acknowledged" -n 120 --seed 1811 --temp 0.7

say "done in $(( (SECONDS - start) / 60 )) min $(( (SECONDS - start) % 60 )) s"
cat <<TEXT
checkpoint       $demo ($(du -sm "$demo" | cut -f1) MB)
quantized file   $gguf ($(stat -c %s "$gguf") bytes)
programs         $dodeca, $bench
next             bash tests/run.sh runs all tests; README.md shows real use
TEXT
