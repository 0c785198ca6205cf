#!/usr/bin/env python3
"""A machine without a card: the program starts, and says in one sentence what is missing, whatever the driver is."""
import os
import re

from program import BUILD, DODECA, check, finish, must, skip

FAKE_DRIVER = os.path.join(BUILD, "tests", "fake_driver")


def gpu_line(**env):
    return re.search(r"^GPU: +(.*)$", must(DODECA, "--version", env=env).out, re.MULTILINE)[1]


def main():
    line = gpu_line()
    check(line != "", f"--version names what kernels were compiled for: {line}")
    cards = re.search(r"^cards: (.*)$", must(DODECA, "plan", "--shape", "deepseek-v3").out, re.MULTILINE)
    check(cards is not None, "plan says which cards there are")
    if cards[1].startswith("none: "):
        check(line.endswith(f"({cards[1][6:]})"), f"plan and --version give the same reason: {line}; {cards[1]}")
    if line.startswith("none"):
        check(line == "none (this program was built without CUDA)", f"without CUDA: {line}")
        skip("what is said of a driver that is missing, old or broken needs a build with CUDA")
    else:
        built = re.match(r"CUDA (\d+)\.\d+, sm_", line)
        check(built is not None, f"the version of CUDA and the architectures: {line}")
        old = gpu_line(LD_LIBRARY_PATH=FAKE_DRIVER, FAKE_DRIVER_VERSION="11040")
        check(f"driver of this machine is for CUDA 11.4 and older, this program needs CUDA {built[1]}." in old,
              f"a driver that is too old: {old}")
        broken = gpu_line(LD_LIBRARY_PATH=FAKE_DRIVER, FAKE_DRIVER_VERSION="99000")
        check("the NVIDIA driver " in broken, f"a driver without a card: {broken}")
    finish("gpu")


main()
