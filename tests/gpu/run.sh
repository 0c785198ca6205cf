#!/usr/bin/env bash
# Builds what a machine with a card needs to test and measure dodeca, as one file: dodeca-gpu.tar.gz, at most 60 MiB. There,
# nothing is installed:
#
#   tar xf dodeca-gpu.tar.gz && bash dodeca-gpu/device.sh        under 8 minutes; writes result.json
#
#   bash tests/gpu/run.sh                           into build/gpu-card
#   bash tests/gpu/run.sh -o FOLDER
#   bash tests/gpu/run.sh --architectures "80;90"   for these cards alone (default: 80;86;89;90;120)
#
# The file is unpacked and tried before this ends: each program's libraries, --version, and device.sh on the emulation.
# compute-sanitizer goes along where it is found: beside nvcc or in .deps/cuda-tools (bash bench/setup.sh --cuda-tools).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

most_bytes=$((60 << 20))
build=$PWD/build/gpu-card
out=$build
architectures="80;86;89;90;120"
programs=(dodeca dodeca-bench test_gpu)
# What every Linux has; all other libraries are carried.
system_libraries="^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|libpthread|librt)\.so"

say() { printf 'gpu: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

while [[ $# -gt 0 ]]; do
  case $1 in
    -o) out=${2:?-o needs a folder}; shift 2 ;;
    --architectures) architectures=${2:?--architectures needs a list such as 80;90}; shift 2 ;;
    *) die "unknown option $1; known: -o, --architectures" ;;
  esac
done
mkdir -p "$out" "$build"
out=$(cd "$out" && pwd)
export LD_LIBRARY_PATH=$PWD/.deps/onednn/lib  # of programs that find their libraries beside themselves later

build_programs() {
  if [[ -d .deps/onednn/lib ]]; then  # for programs that run where they are built
    mkdir -p "$build/lib"
    ln -sfn "$PWD/.deps/onednn/lib/libdnnl.so.3" "$build/lib/libdnnl.so.3"
  fi
  cmake --preset cuda -B "$build" -DDODECA_TESTS=ON "-DDODECA_CUDA_ARCHITECTURES=$architectures" \
    -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON '-DCMAKE_INSTALL_RPATH=$ORIGIN/lib' \
    -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags >"$build/configure.log" || die "see $build/configure.log"
  cmake --build "$build" --parallel "${JOBS:-$(nproc)}" --target "${programs[@]}"
}

# Paths of the libraries that a program or library takes.
libraries_of() { ldd "$1" | sed -nE 's/^\s*(\S+) => (\/\S+) .*/\1 \2/p'; }

carry_libraries() {  # carry_libraries FOLDER
  local name path system
  mkdir -p "$1/lib/glibc"
  for program in "${programs[@]}"; do libraries_of "$1/$program"; done | sort -u | while read -r name path; do
    if [[ $name =~ $system_libraries ]]; then system=$1/lib/glibc; else system=$1/lib; fi
    [[ -e $system/$name ]] || cp -L "$path" "$system/$name"
  done
  # The C library of this machine, for one whose own is older; device.sh takes it only there. The driver's library opens
  # the two last ones, which are empty since they are part of libc.
  local loader
  loader=$(ldd "$1/dodeca" | sed -nE 's/^\s*(\/\S*ld-linux\S+) .*/\1/p')
  cp -L "$loader" "$1/lib/glibc/"
  for name in libdl.so.2 libpthread.so.0 librt.so.1; do
    path=$(dirname "$(ldconfig -p | sed -nE 's/^\s*libc\.so\.6 .*x86-64.* => (.*)/\1/p' | head -n 1)")/$name
    [[ -e $1/lib/glibc/$name || ! -e $path ]] || cp -L "$path" "$1/lib/glibc/$name"
  done
}

carry_sanitizer() {  # carry_sanitizer FOLDER
  local tool
  for tool in "$(dirname "$(readlink -f "$(PATH=$PATH:/usr/local/cuda/bin command -v nvcc)")")/compute-sanitizer" \
              /usr/local/cuda/compute-sanitizer/compute-sanitizer .deps/cuda-tools/bin/compute-sanitizer; do
    if [[ ! -d $tool && -x $tool ]] && file_count=$(find "$(dirname "$tool")" -name 'libsanitizer-collection.so' | wc -l) &&
       [[ $file_count -gt 0 ]]; then
      mkdir -p "$1/sanitizer"
      local folder
      folder=$(dirname "$tool")
      cp -L "$tool" "$folder/libsanitizer-collection.so" "$1/sanitizer/"
      for library in libsanitizer-public.so libTreeLauncherTargetInjection.so libTreeLauncherPlaceholder.so \
                     libTreeLauncherTargetUpdatePreloadInjection.so libInterceptorInjectionTarget.so; do
        for folder in "$(dirname "$tool")" "$(dirname "$tool")/../lib"; do
          [[ ! -e $folder/$library ]] || cp -L "$folder/$library" "$1/sanitizer/"
        done
      done
      return
    fi
  done
  say "compute-sanitizer is not here (bash bench/setup.sh --cuda-tools gets it): the card's machine needs its own"
}

make_bundle() {  # make_bundle FOLDER
  local program
  cp "$build/dodeca" "$build/dodeca-bench" "$build/tests/test_gpu" tests/gpu/device.sh "$1/"
  for program in "${programs[@]}"; do strip "$1/$program"; done
  carry_libraries "$1"
  carry_sanitizer "$1"
  cp -r bench/demo/model "$1/demo"
  cp bench/demo/valid.txt "$1/valid.txt"
  git rev-parse HEAD >"$1/commit"
}

# pack FOLDER: the programs hold the same kernels, which a compressor with a large window keeps once; it comes along, since
# not every Linux has it. device.sh unpacks what it packed.
pack() {
  local outside=(device.sh commit lib/glibc unpack) rest=("${programs[@]}" lib demo valid.txt)
  mkdir "$1/unpack"
  cp -L "$(command -v xz)" "$1/unpack/"
  cp -L "$(libraries_of "$1/unpack/xz" | sed -n 's/^liblzma\S* //p')" "$1/unpack/"
  [[ ! -d $1/sanitizer ]] || rest+=(sanitizer)
  tar -C "$1" --owner=0 --group=0 --exclude=lib/glibc -cf - "${rest[@]}" |
    xz --lzma2=preset=4,dict=64MiB >"$1/rest.tar.xz"
  (cd "$1" && tar --owner=0 --group=0 --transform 's#^#dodeca-gpu/#' -cf - "${outside[@]}" rest.tar.xz) | gzip -1 >"$out/dodeca-gpu.tar.gz"
}

# Each library from the bundle, or from every Linux.
check_libraries() {  # check_libraries FOLDER
  local program name path bad=0
  for program in "${programs[@]}"; do
    if ldd "$1/$program" | grep 'not found'; then bad=1; fi
    while read -r name path; do
      [[ $name =~ $system_libraries || $path == "$1"/lib/* ]] && continue
      say "$program takes $name from $path"
      bad=1
    done < <(libraries_of "$1/$program")
  done
  [[ $bad -eq 0 ]] || die "the bundle is not whole"
}

build_programs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/dodeca-gpu"
make_bundle "$work/dodeca-gpu"
pack "$work/dodeca-gpu"
bytes=$(stat -c %s "$out/dodeca-gpu.tar.gz")
rm -rf "$work/dodeca-gpu"

unset LD_LIBRARY_PATH
mkdir "$work/elsewhere"
tar -C "$work/elsewhere" -xf "$out/dodeca-gpu.tar.gz"
bundle=$work/elsewhere/dodeca-gpu
bash "$bundle/device.sh" --gpu emulation --seconds 0 -o "$work/result.json" >/dev/null  # unpacks
check_libraries "$bundle"
(cd / && "$bundle/dodeca" --version) >&2
bash "$bundle/device.sh" --gpu emulation --seconds 240 -o "$work/result.json" >&2 || die "device.sh fails on the emulation"
DODECA_OWN_LIBC=yes bash "$bundle/device.sh" --gpu emulation --seconds 0 -o "$work/result.json" >&2 ||
  die "device.sh fails with the carried C library"
python3 -m json.tool "$work/result.json" >/dev/null || die "result.json is not JSON"

du -a -d 2 "$bundle" | sort -rn | head -n 12 | sed "s#$bundle#dodeca-gpu#" >&2
say "$out/dodeca-gpu.tar.gz: $(awk "BEGIN { printf \"%.1f\", $bytes / 1048576 }") MiB for $(sed -n 's/^DODECA_CUDA_ARCHITECTURES:STRING=//p' "$build/CMakeCache.txt")"
[[ $bytes -le $most_bytes ]] || die "that is more than 60 MiB; --architectures with fewer makes it smaller"
