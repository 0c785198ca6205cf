#!/usr/bin/env bash
# clang-format, version 14 as pinned in bench/setup.sh, changes nothing. Exit code 77: that version is not here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
formatter=
for candidate in .deps/venv/bin/clang-format clang-format-14 clang-format; do
  if "$candidate" --version 2>/dev/null | grep -q 'version 14\.'; then formatter=$candidate; break; fi
done
if [[ -z $formatter ]]; then
  echo "clang-format 14 is not here (bash bench/setup.sh --tests installs it)"
  exit 77
fi
python3 - <<'PYTHON' | xargs -0 "$formatter" --dry-run -Werror
import sys
sys.path.insert(0, "tests/lint")
from repo_files import repo_files
sys.stdout.write("".join(p + "\0" for p in repo_files() if p.endswith((".cpp", ".hpp", ".cu"))))
PYTHON
echo "format: nothing to change"
