#!/usr/bin/env bash
# Installs what building and testing need: packages with apt on Debian 12, Debian 13 and Ubuntu 24.04 (only what is
# missing), and oneDNN 3 into .deps/ where the distribution's own is older. Running it again changes nothing.
#
#   bash bench/setup.sh            what the build and bench/quickstart.sh need
#   bash bench/setup.sh --tests    and what tests/run.sh needs beyond that, all of it optional: pinned clang-format and clang-tidy,
#                                  Open MPI, QEMU and the kernel that tests/numa/run.sh boots
#   bash bench/setup.sh --cuda     and nvcc 12 or 13 for kernels on NVIDIA cards: from the distribution where that has it (from
#                                  its part for software that is not free), otherwise it says what to do
#   bash bench/setup.sh --cuda-tools   and cuobjdump, nvdisasm and compute-sanitizer into .deps/cuda-tools, from PyPI: what
#                                  tests/gpu/static_evidence.py reads kernels with, and what tests/gpu/run.sh carries to a card
#   bash bench/setup.sh --peers    and numpy, for bench/compare.py, bench/parity.py and bench/synth_gguf.py
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(g++ cmake ninja-build pkg-config python3 python3-venv ca-certificates git
          libhwloc-dev doctest-dev nlohmann-json3-dev libcli11-dev libfmt-dev libpcre2-dev)
onednn_wheels=(onednn-cpu-gomp==2023.2.0 onednn-devel-cpu-gomp==2023.2.0)  # oneDNN 3.2 on GNU OpenMP, with its CMake package
cuda_tool_wheels=(nvidia-cuda-cuobjdump==13.5.37 nvidia-cuda-nvdisasm==13.5.37 nvidia-cuda-sanitizer-api==13.0.85)
onednn_config=.deps/onednn/lib/cmake/dnnl/dnnl-config.cmake

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

installed() { [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]; }
installed_version() { dpkg-query -W -f='${Version}' "$1" 2>/dev/null || true; }
candidate_version() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -v '(none)' || true; }
is_version_3() { [[ -n "$1" ]] && dpkg --compare-versions "$1" ge 3; }

as_root=()
need_root() {  # sets as_root, or explains what an administrator has to run
  if [[ $EUID -eq 0 ]]; then return; fi
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then as_root=(sudo); return; fi
  die "these packages are missing and neither root nor sudo is available; ask an administrator to run: apt-get install --no-install-recommends $*"
}
apt_get() {  # quiet when it works, the whole output when it does not
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 "$@" </dev/null >.deps/apt.log 2>&1 ||
    { cat .deps/apt.log >&2; return 1; }
}

install_packages() {
  local missing=() package
  for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
  local onednn=no  # have: there already; no: find out
  if [[ -e $onednn_config ]] || { installed libdnnl-dev && is_version_3 "$(installed_version libdnnl-dev)"; }; then onednn=have; fi
  if [[ ${#missing[@]} -eq 0 && $onednn == have ]]; then say "all packages are there"; return; fi

  if [[ ${#missing[@]} -gt 0 ]]; then
    need_root "${missing[@]}"
    say "reading the package lists"
    apt_get update || say "apt-get update failed; going on with the lists that are here"
  fi
  if [[ $onednn == no ]] && is_version_3 "$(candidate_version libdnnl-dev)"; then
    [[ ${#missing[@]} -gt 0 ]] || need_root libdnnl-dev
    missing+=(libdnnl-dev)
  fi
  if [[ ${#missing[@]} -gt 0 ]]; then
    say "installing ${missing[*]}"
    apt_get install -y --no-install-recommends "${missing[@]}"
  fi
}

# Version 14 alone: others find other things. Without it the check is skipped.
install_tidy() {
  local package=clang-tidy-14
  if installed $package; then return; fi
  if [[ -z "$(candidate_version $package)" ]]; then say "$package is not packaged here: its check will be skipped"; return; fi
  need_root $package
  say "installing $package"
  apt_get install -y --no-install-recommends $package || say "$package could not be installed: its check will be skipped"
}

# What tests/numa/run.sh boots machines with.
install_emulator() {
  local package missing=()
  for package in qemu-system-x86 busybox-static e2fsprogs; do installed $package || missing+=("$package"); done
  if [[ ${#missing[@]} -gt 0 ]]; then
    need_root "${missing[@]}"
    say "installing ${missing[*]}"
    apt_get install -y --no-install-recommends "${missing[@]}" || { apt_get update && apt_get install -y --no-install-recommends "${missing[@]}"; } ||
      { say "${missing[*]} could not be installed: tests/numa/run.sh will be skipped"; return; }
  fi
  unpack_guest_kernel || { apt_get update && unpack_guest_kernel; } || say "no kernel could be downloaded: tests/numa/run.sh will be skipped"
}

# Unpacked and not installed: installing a kernel would change what this machine boots.
unpack_guest_kernel() {
  local folder=.deps/guest-kernel work=.deps/guest-kernel.part meta package=
  [[ -e $folder/vmlinuz && -e $folder/config ]] && return
  for meta in linux-image-cloud-amd64 linux-image-virtual; do  # Debian's and Ubuntu's, which depend on the newest version
    [[ -z $package ]] && package=$(LC_ALL=C apt-cache depends $meta 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
  done
  [[ -n $package ]] || return
  say "unpacking $package"
  rm -rf "$work"
  mkdir -p "$work"
  (cd "$work" && apt-get -q download "$package" >apt.log 2>&1 && dpkg -x ./*.deb .) || { cat "$work/apt.log" >&2; return 1; }
  mkdir -p "$folder"
  mv "$work"/boot/vmlinuz-* "$folder/vmlinuz"
  # Ubuntu has it in a package of its own.
  mv "$work"/boot/config-* "$folder/config" 2>/dev/null || : >"$folder/config"
  rm -rf "$work"
}

# For a model on several machines (DODECA_MPI).
install_mpi() {
  if installed libopenmpi-dev && installed openmpi-bin; then return; fi
  need_root libopenmpi-dev openmpi-bin
  say "installing libopenmpi-dev openmpi-bin"
  apt_get install -y --no-install-recommends libopenmpi-dev openmpi-bin ||
    say "Open MPI could not be installed: the test of several processes will be skipped"
}

# A private Python environment for pip: distributions forbid pip outside one.
venv() {
  [[ -x .deps/venv/bin/pip ]] || python3 -m venv .deps/venv
}
pip() { .deps/venv/bin/pip --disable-pip-version-check --quiet "$@" </dev/null >&2; }

nvcc_version() { { PATH="$PATH:/usr/local/cuda/bin" nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p'; } || true; }
is_cuda() { [[ -n "$1" ]] && dpkg --compare-versions "$1" ge 12 && dpkg --compare-versions "$1" lt 14; }

# What NVIDIA's own repository takes; nothing of it is done here, since it changes where the system gets its packages.
say_nvidia_repository() {
  local id version
  id=$(. /etc/os-release && printf %s "$ID")
  version=$(. /etc/os-release && printf %s "${VERSION_ID//./}")
  say "NVIDIA's repository has CUDA 13 for Debian 12 and for Ubuntu 22.04 and 24.04; an administrator adds it with:"
  say "  wget https://developer.download.nvidia.com/compute/cuda/repos/$id$version/x86_64/cuda-keyring_1.1-1_all.deb"
  say "  dpkg -i cuda-keyring_1.1-1_all.deb && apt-get update"
  say "  apt-get install cuda-nvcc-13-0 cuda-cudart-dev-13-0"
  say "and on machines with a card: apt-get install libcublas-13-0, and a driver of version 580 or newer"
}

install_cuda() {
  local package=nvidia-cuda-toolkit have candidate
  have=$(nvcc_version)
  if is_cuda "$have"; then say "nvcc $have is there"; return; fi
  [[ -z $have ]] || say "nvcc $have is there, which is too old or too new: 12 or 13 is needed"
  candidate=$(candidate_version $package)
  if is_cuda "${candidate%%~*}"; then
    need_root $package
    say "installing $package $candidate"
    apt_get install -y --no-install-recommends $package
    return
  fi
  if [[ -n $candidate ]]; then
    say "$package is $candidate here, which is too old: 12 or 13 is needed"
  elif [[ -e /etc/debian_version ]] && ! grep -qi ubuntu /etc/os-release; then
    say "$package is in Debian's part non-free: CUDA 12.4 in Debian 13, 11.8 (too old) in Debian 12; with Debian 13, add"
    say "  \"contrib non-free\" to the components in /etc/apt/sources.list.d/debian.sources, run apt-get update, and this again"
  else
    say "$package is in Ubuntu's part multiverse: CUDA 12.0 in Ubuntu 24.04; an administrator runs: add-apt-repository multiverse"
  fi
  say_nvidia_repository
  die "there is no nvcc 12 or 13; everything but kernels on cards builds and runs without it"
}

# The wheels hold headers, library and CMake package under *.data/data; no wheel is installed into Python.
unpack_onednn() {
  say "the distribution's oneDNN is older than 3: unpacking ${onednn_wheels[*]} from PyPI"
  [[ "$(uname -m)" == x86_64 ]] || die "oneDNN 3 is not packaged for $(uname -m) here; build it and set CMAKE_PREFIX_PATH"
  venv
  local work=.deps/onednn.part
  rm -rf "$work"
  mkdir -p "$work/wheels" "$work/root"
  pip download --no-deps --only-binary=:all: --dest "$work/wheels" "${onednn_wheels[@]}"
  local wheel
  for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/unpacked"; done
  local data
  for data in "$work"/unpacked/*.data/data; do cp -r "$data/." "$work/root/"; done
  # zip knows no links: three copies of a 54 MB library become one and two names
  ln -sf libdnnl.so.3.2 "$work/root/lib/libdnnl.so.3"
  ln -sf libdnnl.so.3 "$work/root/lib/libdnnl.so"
  rm -rf .deps/onednn
  mv "$work/root" .deps/onednn
  rm -rf "$work"
}

# Programs with their libraries beside them; no wheel is installed into Python.
unpack_cuda_tools() {
  if [[ -x .deps/cuda-tools/bin/cuobjdump ]]; then say "the CUDA tools are there"; return; fi
  venv
  local work=.deps/cuda-tools.part wheel
  rm -rf "$work"
  mkdir -p "$work/wheels"
  pip download --no-deps --only-binary=:all: --dest "$work/wheels" "${cuda_tool_wheels[@]}"
  for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/unpacked"; done
  chmod +x "$work"/unpacked/nvidia/cu13/bin/*  # zip keeps no modes
  rm -rf .deps/cuda-tools
  mv "$work/unpacked/nvidia/cu13" .deps/cuda-tools
  rm -rf "$work"
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  die "this script knows apt only (Debian 12 and 13, Ubuntu 24.04); install the equivalents of: ${packages[*]} and oneDNN 3, then use cmake --preset release"
fi
mkdir -p .deps
install_packages
if [[ ! -e $onednn_config ]] && ! is_version_3 "$(installed_version libdnnl-dev)"; then unpack_onednn; fi

cmake_version=$(cmake --version | sed -n '1s/.* //p')
dpkg --compare-versions "$cmake_version" ge 3.25 || die "cmake 3.25 is needed, this is $cmake_version"
compiler_version=$(g++ -dumpfullversion)
dpkg --compare-versions "$compiler_version" ge 12 || die "g++ 12 is needed, this is $compiler_version"

for option in "$@"; do
  case $option in
    --tests)
      venv
      [[ -x .deps/venv/bin/clang-format ]] || pip install clang-format==14.0.6 ||
        say "clang-format could not be installed: the format check will be skipped"
      install_tidy
      install_emulator
      install_mpi ;;
    --cuda) install_cuda ;;
    --cuda-tools) unpack_cuda_tools ;;
    --peers)
      venv
      .deps/venv/bin/python -c 'import numpy, typing_extensions' 2>/dev/null || pip install numpy typing_extensions ;;
    *) die "unknown option $option; known: --tests, --cuda, --cuda-tools, --peers" ;;
  esac
done
say "done"
