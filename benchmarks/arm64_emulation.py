"""Run a Python script on an emulated 64-bit Arm userland: correctness only, never speed.

    python benchmarks/arm64_emulation.py [--root DIR] [--cpu cortex-a72] SCRIPT [ARGUMENT ...]

Makes, once, a Debian userland for arm64 with Python 3.11 in DIR, and beside it a folder with numpy and onnxruntime for
it, and runs SCRIPT there with qemu's user-mode emulation. Needs Linux, the Debian packages qemu-user-static and
debootstrap, the package mirror that apt is set up with, and pip; needs no binfmt registration and no second stage.
With a kit: `python benchmarks/arm64_emulation.py KIT/measure.py`. The tests take DIR as FEDNAS_ARM64_ROOT.

onnxruntime is 1.23.2 because 1.32.0 crashes at import under qemu 7.2. What runs with it: `shipped_on_arm64.py`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SUITE, PYTHON = "bookworm", "usr/bin/python3.11"
PACKAGES = ("numpy==2.4.6", "onnxruntime==1.23.2")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
NEEDED = {"qemu-aarch64-static": "qemu-user-static", "debootstrap": "debootstrap", "dpkg-deb": "dpkg"}


def main() -> int:
    """Make what is missing, then run the script; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path.home() / ".cache" / "fednas-arm64")
    parser.add_argument("--cpu", default="cortex-a72", help="as qemu calls it")
    parser.add_argument("script", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    make_userland(options.root)
    site = options.root.with_name(options.root.name + "-site")
    if not site.exists():
        install(site, PACKAGES)
    command = arm64_command(options.root, options.cpu, [str(options.script), *options.arguments])
    return subprocess.run(command, env=arm64_environment(site), check=False).returncode


def arm64_command(root: Path, cpu: str, words: list[str]) -> list[str]:
    """What runs Python of the userland with these words."""
    return ["qemu-aarch64-static", "-cpu", cpu, "-L", str(root), str(root / PYTHON), *words]


def arm64_environment(site: Path) -> dict[str, str]:
    """With the packages in ``site`` on the path of modules, and one thread."""
    return {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}


def make_userland(root: Path) -> None:
    """First stage of debootstrap, then every package unpacked, about a minute; nothing if it is there.

    Exits with one line where a program, the rights or the mirror are missing.
    """
    missing = [f"{program} (package {package})" for program, package in NEEDED.items() if not shutil.which(program)]
    if missing:
        sys.exit(f"not here: {', '.join(missing)}")
    if (root / PYTHON).exists():
        return
    if os.geteuid() != 0:
        sys.exit(f"debootstrap makes {root} only for root; name a userland that is there with --root")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        sys.exit(f"the folder {root} cannot be made ({err.strerror}); give another --root")
    wanted = "--include=python3-minimal,python3,libstdc++6,libgomp1"
    words = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", wanted, SUITE, str(root), mirror()]
    if subprocess.run(words, check=False, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"debootstrap failed; is there a mirror? {root}/debootstrap/debootstrap.log says why")
    for archive in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(archive), str(root)], check=True)


def install(site: Path, requirements: Sequence[str]) -> None:
    """These packages with all that they need, as wheels for 64-bit Arm, in the folder ``site``."""
    words = ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
    for name in PLATFORMS:
        words += ["--platform", f"{name}_aarch64"]
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--target", str(site), *words, *requirements]
    if subprocess.run(pip, check=False).returncode:
        sys.exit("pip found no wheels for aarch64")


def mirror() -> str:
    """The first Debian archive that apt is set up with."""
    files = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(path.read_text() for path in files if path.is_file())
    found = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?)\s+(\S+/debian/?)(?:\s|$)", text, re.M)
    if found is None:
        raise SystemExit("apt is set up with no Debian archive here")
    return found[1]


if __name__ == "__main__":
    sys.exit(main())
