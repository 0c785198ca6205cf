#!/usr/bin/env bash
# Builds, measures this machine for ten minutes and writes ONE anonymous file of results to send to us: bench/share.py.
#
#   bash bench/share.sh                          dodeca-share.json in this folder
#   bash bench/share.sh --minutes 20 -o epyc.json
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for argument in "$@"; do
  if [[ $argument == -h || $argument == --help ]]; then exec python3 "$root/bench/share.py" --help; fi
done

bash "$root/bench/setup.sh"
mkdir -p "$root/build"
echo "share: building (a few minutes)" >&2
if ! (cd "$root" && cmake --preset release -DDODECA_CUDA=OFF && cmake --build --preset release --target dodeca dodeca-bench) >"$root/build/share.log" 2>&1
then
  tail -n 40 "$root/build/share.log" >&2
  echo "share: the build failed; the whole output is in build/share.log" >&2
  exit 1
fi
exec python3 "$root/bench/share.py" "$@"
