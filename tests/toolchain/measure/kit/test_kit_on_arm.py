"""A kit on an emulated 64-bit Arm userland: that it works, never how fast."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fednas.toolchain.measure.kit import read_results


def test_a_kit_is_measured_on_64_bit_arm(make_kit: Callable[..., Path]) -> None:
    root = os.environ.get("FEDNAS_ARM64_ROOT")
    if root is None:
        pytest.skip("FEDNAS_ARM64_ROOT names no userland; benchmarks/arm64_emulation.py makes one")
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("qemu-aarch64-static is not installed")
    kit, script = make_kit(), Path(__file__).parents[4] / "benchmarks" / "arm64_emulation.py"
    command = [sys.executable, str(script), "--root", root, str(kit / "measure.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    collected = read_results(kit / "results.json")
    assert collected.before.architecture == "aarch64"
    assert collected.runtime_version == "1.23.2"
