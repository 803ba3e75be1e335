"""Run shipped folders on an emulated 64-bit Arm userland and compare with this machine: correctness only, never speed.

    python benchmarks/shipped_on_arm64.py [--root DIR] [--cpus cortex-a72,neoverse-n1] [--folder DIR ...]

Ships the embedded supernet for `cpu` (fp32, int8) and `jetson` (fp32, fp16, int8; the ONNX files of its engines), or
takes folders that were shipped. For each emulated processor it then runs, inside the userland: the folder's own
example.py, `fednas-export verify`, and every model file on the test vectors, whose logits it holds against those of the
same file here and of the source network. The tool itself is installed there from its wheel, as on a board.

Needs what `arm64_emulation.py` needs, and a package index with wheels for aarch64. Exits with 1 if anything disagrees.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arm64_emulation import PACKAGES, arm64_command, arm64_environment, install, make_userland

from fednas.export import Parity, compare_logits, read_manifest, tolerance_for

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = {"cpu": "fp32,int8", "jetson": "fp32,fp16,int8"}
LOGITS = """
import sys
import numpy, onnxruntime
folder, target, *files = sys.argv[1:]
inputs, found = numpy.load(folder + "/test_vectors.npz")["inputs"], {}
for file in files:
    session = onnxruntime.InferenceSession(folder + "/" + file, providers=["CPUExecutionProvider"])
    found[file] = session.run(None, {session.get_inputs()[0].name: inputs})[0].astype("float32")
numpy.savez(target, **found)
"""
SYSTEM = "import platform; print(platform.machine(), 'Python', platform.python_version())"
TOOL = "from fednas.toolchain.entry import main; main()"


@dataclass(frozen=True, slots=True)
class Board:
    """An emulated processor on which the tool and the runtime are installed."""

    root: Path
    site: Path
    cpu: str

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Python there with these words."""
        command = arm64_command(self.root, self.cpu, list(words))
        return subprocess.run(command, env=arm64_environment(self.site), capture_output=True, text=True, check=False)


@dataclass(frozen=True, slots=True)
class Here:
    """This machine, behind the same method."""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Python here with these words."""
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def main() -> int:
    """Make what is missing, run everything, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path.home() / ".cache" / "fednas-arm64")
    parser.add_argument("--cpus", default="cortex-a72,neoverse-n1", help="as qemu calls them")
    parser.add_argument("--folder", type=Path, action="append", help="a shipped device folder; may be repeated")
    options = parser.parse_args()
    make_userland(options.root)
    with tempfile.TemporaryDirectory(prefix="fednas-arm64-") as name:
        scratch = Path(name)
        site = scratch / "site"
        install(site, [str(wheel_of_the_tool(scratch)), *PACKAGES])
        folders = [folder.resolve() for folder in options.folder or ship(scratch)]
        boards = [Board(options.root.resolve(), site, cpu) for cpu in options.cpus.split(",")]
        print(f"Here: {platform.machine()}, onnxruntime {version(Here())}, numpy {np.__version__}")
        print(f"There: {boards[0].run('-c', SYSTEM).stdout.strip()}, onnxruntime {version(boards[0])}\n")
        agreed = [check_folder(folder, boards, scratch) for folder in folders]
    return 0 if all(agreed) else 1


def wheel_of_the_tool(folder: Path) -> Path:
    """Built from what was committed, away from the working tree."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=REPOSITORY, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    pip = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(pip, check=True)
    return next(folder.glob("*.whl"))


def ship(scratch: Path) -> list[Path]:
    """The fittest network of the embedded supernet, for each device of `SHIPPED`."""
    for device, precisions in SHIPPED.items():
        words = ["--quiet", "--device", device, "--precision", precisions, "--profile-seconds", "0"]
        command = [sys.executable, "-c", TOOL, *words, "--out", str(scratch / device)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [scratch / device / device for device in SHIPPED]


def check_folder(folder: Path, boards: Sequence[Board], scratch: Path) -> bool:
    """Print what the folder does on each emulated processor; returns whether everything agreed."""
    print(f"{folder.name}:\n")
    agreed = True
    for board in boards:
        example, verify = board.run(str(folder / "example.py")), board.run("-c", TOOL, "verify", str(folder))
        print(f"- {board.cpu}: example.py: {said(example)}; verify: {said(verify)}")
        agreed &= example.returncode == verify.returncode == 0
    print(
        "\n| file | logits against | allowed | " + " | ".join(f"there, {board.cpu}" for board in boards) + " | here |"
    )
    print("| --- | --- | --- |" + " --- |" * (len(boards) + 1))
    here = logits_of(Here(), folder, scratch)
    there = [logits_of(board, folder, scratch) for board in boards]
    with np.load(folder / "test_vectors.npz") as vectors:
        source = vectors["logits"]
    for model in read_manifest(folder).models:
        tolerance = tolerance_for(model.precision)
        for name, reference in (("the source network", source), ("the same file here", here[model.file])):
            compared = [compare_logits(reference, logits[model.file], tolerance) for logits in (*there, here)]
            cells = [f"{error_of(found)}, {found.top1_agreement:.0%}" for found in compared]
            print(f"| {model.file} | {name} | {tolerance.max_relative_error:g} | {' | '.join(cells)} |")
            agreed &= all(found.passed for found in compared)
    print()
    return agreed


def error_of(found: Parity) -> str:
    """The largest logit error, as a share of the largest logit."""
    return "not finite" if found.max_relative_error is None else f"{found.max_relative_error:.2g}"


def logits_of(machine: Board | Here, folder: Path, scratch: Path) -> dict[str, Any]:
    """The logits of each model file on the folder's test vectors, by the file's name."""
    files, target = [model.file for model in read_manifest(folder).models], scratch / "logits.npz"
    if (done := machine.run("-c", LOGITS, str(folder), str(target), *files)).returncode:
        sys.exit(f"{folder} does not run: {done.stderr}")
    with np.load(target) as found:
        return dict(found)


def version(machine: Board | Here) -> str:
    """Of ONNX Runtime there."""
    return machine.run("-c", "import onnxruntime; print(onnxruntime.__version__)").stdout.strip()


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The last line, or the error."""
    if done.returncode:
        return f"FAILED with {done.returncode}: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}"
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
