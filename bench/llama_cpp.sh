#!/usr/bin/env bash
# Builds llama.cpp's tools for comparison, from the pinned PyPI source archive of llama-cpp-python, into .deps/llama.cpp.
# Prints the folder that holds them; does nothing when they are there. 10 to 20 minutes on 2 cores.
#
#   bin=$(bash bench/llama_cpp.sh)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=llama-cpp-python==0.3.36  # llama.cpp of August 2026
root=.deps/llama.cpp
bin=$root/build/bin
tools=(llama-bench llama-perplexity llama-quantize llama-imatrix llama-tokenize llama-completion)

complete() {
  local tool
  for tool in "${tools[@]}"; do [[ -x $bin/$tool ]] || return 1; done
  [[ -e $bin/libllama.so ]]
}
if ! complete; then
  bash bench/setup.sh --peers
  if [[ ! -d $root/source/vendor/llama.cpp ]]; then
    rm -rf "$root/download" "$root/source"
    mkdir -p "$root/download" "$root/source"
    .deps/venv/bin/pip --disable-pip-version-check download --no-deps --no-binary llama-cpp-python \
      --dest "$root/download" "$package" >&2
    tar -xzf "$root"/download/llama_cpp_python-*.tar.gz -C "$root/source" --strip-components=1
  fi
  options=(-DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
           -DLLAMA_OPENSSL=OFF)
  # With AMX a build of August 2026 aborts on models of this class: on such a CPU name the levels one by one, without it.
  if grep -qw amx_tile /proc/cpuinfo; then
    options+=(-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON
              -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON)
  fi
  cmake -S "$root/source/vendor/llama.cpp" -B "$root/build" -G Ninja "${options[@]}" >&2
  ninja -C "$root/build" "${tools[@]}" >&2
  complete || { echo "bench/llama_cpp.sh: the build left out some of ${tools[*]}" >&2; exit 1; }
fi
readlink -f "$bin"
