#!/usr/bin/env bash
# Quality against size: perplexity and divergence of a model in uniform types, mixtures and allocations of every size, and of
# llama.cpp's quantizer on the same source where bench/llama_cpp.sh has been run before. A table and a plot. About 5 minutes on
# the demo with 2 cores.
#
#   bash bench/quality.sh                                      the demo: bench/QUALITY.md, bench/quality.svg
#   bash bench/quality.sh --model DIR|GGUF --calibration TEXT --text TEXT --sizes 8.8M,10M --out FOLDER
set -euo pipefail
exec python3 "$(dirname "${BASH_SOURCE[0]}")/quality.py" "$@"
