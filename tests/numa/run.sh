#!/usr/bin/env bash
# The laboratory for machines with several memory nodes: boots Linux in QEMU, by pure emulation, on machines that are not here
# (1, 2, 4 and 8 nodes, nodes with much and little memory, a node without processors), and runs the built program in them.
# Memory policies, page tables, cpusets and huge pages are those of a real kernel; speed means nothing.
#
#   bash tests/numa/run.sh [BUILD_DIR] [--only MACHINE] [--keep FOLDER] [--list]
#
# Prints a line for each check and "N passed, N failed, N skipped" at the end. Exit code 1: a check failed; 77: there is no
# QEMU here (bash bench/setup.sh --tests brings it in).
#
#   machines.py     the machines, what runs on them, what is checked
#   checks.py       what a check can ask
#   emulator.py     the disk that all machines boot from, QEMU, what comes back
#   guest/          the first process of a machine, and what it needs
#
# Each machine has one thread of this computer, where its processors take turns: members that wait at a barrier cost
# nothing then, where threads of their own would spin against each other. So many machines run at a time as there are processors.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PATH=$PATH:/usr/sbin:/sbin  # of mke2fs
for tool in qemu-system-x86_64 mke2fs; do
  command -v $tool >/dev/null || { echo "$tool is not here (bash bench/setup.sh --tests installs it)"; exit 77; }
done
for file in /bin/busybox .deps/guest-kernel/vmlinuz; do
  [[ -e $file ]] || { echo "$file is not here (bash bench/setup.sh --tests brings it in)"; exit 77; }
done
exec python3 tests/numa/laboratory.py "$@"
