"""Run a Python script on an emulated 64-bit Arm userland: correctness only, never speed.

    python benchmarks/arm64_emulation.py [--root DIR] [--cpu cortex-a72] SCRIPT [ARGUMENT ...]

Makes, once, a Debian userland for arm64 with Python 3.11 in DIR, and beside it a folder with numpy and onnxruntime for
it, and runs SCRIPT there with qemu's user-mode emulation. Needs Linux, the Debian packages qemu-user-static and
debootstrap, the package mirror that apt is set up with, and pip; needs no binfmt registration and no second stage.
With a kit: `python benchmarks/arm64_emulation.py KIT/measure.py`. The tests take DIR as FEDNAS_ARM64_ROOT.

onnxruntime is 1.23.2 because 1.32.0 crashes at import under qemu 7.2.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import zipfile
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
    if missing := [
        f"{program} (package {package})" for program, package in NEEDED.items() if not shutil.which(program)
    ]:
        print(f"not here: {', '.join(missing)}", file=sys.stderr)
        return 1
    make_userland(options.root)
    make_site(site_of(options.root))
    command = arm64_command(options.root, options.cpu, [str(options.script), *options.arguments])
    return subprocess.run(command, env=arm64_environment(options.root), check=False).returncode


def arm64_command(root: Path, cpu: str, words: list[str]) -> list[str]:
    """What runs Python of the userland with these words."""
    return ["qemu-aarch64-static", "-cpu", cpu, "-L", str(root), str(root / PYTHON), *words]


def arm64_environment(root: Path) -> dict[str, str]:
    """With the wheels on the path of modules, and one thread."""
    return {**os.environ, "PYTHONPATH": str(site_of(root)), "OMP_NUM_THREADS": "1"}


def site_of(root: Path) -> Path:
    """Where the wheels are unpacked: beside the userland."""
    return root.with_name(root.name + "-site")


def make_userland(root: Path) -> None:
    """First stage of debootstrap, then every package unpacked; about a minute."""
    if (root / PYTHON).exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    wanted = "--include=python3-minimal,python3,libstdc++6,libgomp1"
    words = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", wanted, SUITE, str(root), mirror()]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    for archive in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(archive), str(root)], check=True)


def make_site(site: Path) -> None:
    """numpy and onnxruntime for it."""
    if site.exists():
        return
    wheels = site.with_name(site.name + "-wheels")
    words = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
    for name in PLATFORMS:
        words += ["--platform", f"{name}_aarch64"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
    subprocess.run([*pip, *words, *PACKAGES], check=True)
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)


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
