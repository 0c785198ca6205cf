#!/usr/bin/env bash
# From a bare machine to a running model: installs packages, builds, makes dynamically quantized GGUF files of the demo model,
# measures prompt processing and token generation against the memory bandwidth, generates a paragraph.
#
#   bash bench/quickstart.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
start=$SECONDS
say() { printf '\n== %s\n' "$*"; }

demo=bench/demo/model
out=build/demo
mixture=$out/austen-ud-q2_k_xl.gguf
gguf=$out/austen-dynamic.gguf

say "1/5 packages"
bash bench/setup.sh

say "2/5 build (a few minutes)"
mkdir -p build "$out"
# Kernels for cards take longer than all the rest: for the cards that are here, and none where there are none.
cards=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d '. ' | sort -u | paste -sd ';' || true)
cuda=(-DDODECA_CUDA=OFF)
[[ $cards =~ ^[0-9\;]+$ ]] && cuda=(-DDODECA_CUDA=AUTO "-DDODECA_CUDA_ARCHITECTURES=$cards")
if ! { cmake --preset release "${cuda[@]}" && cmake --build --preset release --target dodeca dodeca-bench; } >build/quickstart.log 2>&1
then
  tail -n 40 build/quickstart.log >&2
  echo "quickstart: the build failed; the whole output is in build/quickstart.log" >&2
  exit 1
fi
dodeca=build/release/dodeca
bench=build/release/dodeca-bench
"$dodeca" --version

say "3/5 quantize the FP8 checkpoint $demo: the mixture ud-q2_k_xl, then types chosen for this model within the same size"
perplexity() { "$dodeca" ppl -m "$1" -f bench/demo/valid.txt -c 512 -q | tail -n 1; }
"$dodeca" quantize "$demo" "$mixture" --recipe ud-q2_k_xl
perplexity "$mixture"
"$dodeca" imatrix -m "$demo" -f bench/demo/calibration.txt -o "$out/imatrix.gguf" --chunks 60 --no-ppl
"$dodeca" quantize "$demo" "$gguf" --target-size "$(stat -c %s "$mixture")" --imatrix "$out/imatrix.gguf" \
  --calibration bench/demo/calibration.txt --calibration-chunks 2
perplexity "$gguf"

say "4/5 speed: prompt processing (pp512), token generation (tg128), share of the memory bandwidth"
"$bench" -m "$gguf" -p 512 -n 128

say "5/5 a paragraph in Austen's manner"
"$dodeca" run -m "$gguf" -p "It is a truth universally acknowledged" -n 120 --seed 1811 --temp 0.7

say "done in $(( (SECONDS - start) / 60 )) min $(( (SECONDS - start) % 60 )) s"
cat <<TEXT
checkpoint       $demo ($(du -sm "$demo" | cut -f1) MB)
quantized files  $gguf ($(stat -c %s "$gguf") bytes), $mixture ($(stat -c %s "$mixture") bytes)
programs         $dodeca, $bench
next             bash tests/run.sh runs all tests; README.md shows real use
TEXT
