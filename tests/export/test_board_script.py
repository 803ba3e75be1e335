"""The board's build script, run for real by sh against a stand-in for trtexec of each version.

The stand-in knows the options of its version, as read in the sources of NVIDIA's trtexec, and refuses others as the
real one does. It says nothing about how a real engine behaves.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fednas.common import ContractError, FednasError
from fednas.export import BatchRange, BoardModel, build_script

ALWAYS = {
    *("--help", "--onnx", "--saveEngine", "--loadEngine", "--shapes", "--minShapes", "--optShapes", "--maxShapes"),
    *("--timingCacheFile", "--warmUp", "--duration", "--exportTimes"),
}
UNTIL_10 = {"--useCudaGraph", "--useSpinWait", "--noDataTransfers", "--fp16", "--int8"}
FROM_8_6 = {"--memPoolSize", "--skipInference", "--builderOptimizationLevel"}
OPTIONS = {
    "v8201": ALWAYS | UNTIL_10 | {"--workspace", "--buildOnly"},
    "v8401": ALWAYS | UNTIL_10 | {"--workspace", "--memPoolSize", "--buildOnly"},
    "v8502": ALWAYS | UNTIL_10 | {"--workspace", "--memPoolSize", "--buildOnly"},
    "v8601": ALWAYS | UNTIL_10 | FROM_8_6 | {"--workspace"},
    "v100300": ALWAYS | UNTIL_10 | FROM_8_6 | {"--stronglyTyped"},
    "v101303": ALWAYS | UNTIL_10 | FROM_8_6 | {"--stronglyTyped"},
    "v101602": ALWAYS | UNTIL_10 | FROM_8_6 | {"--stronglyTyped"},
    "v110401": ALWAYS | FROM_8_6,
    "v11.1.0.106": ALWAYS | FROM_8_6,
}

STAND_IN = """\
import json, os, sys
from pathlib import Path

arguments = sys.argv[1:]
print("&&&& RUNNING TensorRT.trtexec [TensorRT {version}] [b1] # trtexec " + " ".join(arguments))
unknown = [each for each in arguments if each.partition("=")[0] not in {options!r}]
values = dict(each.partition("=")[::2] for each in arguments)
if "--help" in values:
    sys.exit(0)
with open({calls!r}, "a") as stream:
    stream.write(json.dumps(arguments) + "\\n")
for each in unknown:
    print(f"[11/22/2026-10:00:00] [E] Unknown option: {{each}}")
if unknown or {broken!r}:
    print("[11/22/2026-10:00:00] [E] something broke")
    print("&&&& FAILED TensorRT.trtexec [TensorRT {version}]")
    sys.exit(1)
if "--saveEngine" in values and {writes!r}:
    Path(values["--saveEngine"]).write_text("an engine")
    Path(values["--timingCacheFile"]).write_text("timings")
if "--exportTimes" in values:
    Path(values["--exportTimes"]).write_text('[{{"computeMs": 0.5, "latencyMs": 0.6}}]')
    print("[11/22/2026-10:00:00] [I] GPU Compute Time: min = 0.4 ms, max = 0.6 ms, mean = 0.5 ms, median = 0.5 ms")
print("&&&& PASSED TensorRT.trtexec [TensorRT {version}]")
"""
SYSTEM_TOOLS = ("cut", "dirname", "grep", "mv", "rm", "sed", "sha256sum")


@dataclass(frozen=True)
class Board:
    """A folder with the model and the script, and a PATH that holds a stand-in for trtexec."""

    folder: Path
    tools: Path

    def install(self, version: str, *, broken: bool = False, writes: bool = True, banner: str | None = None) -> None:
        calls = str(self.tools.parent / "calls")
        source = STAND_IN.format(
            version=version if banner is None else banner,
            options=OPTIONS[version],
            calls=calls,
            broken=broken,
            writes=writes,
        )
        (self.tools / "trtexec").write_text(f"#!{sys.executable} -ES\n{source}")
        (self.tools / "trtexec").chmod(0o755)

    def write_script(self, *precisions: str, opset: int = 13) -> None:
        models = []
        for precision in precisions or ("fp32",):
            model = self.folder / f"model.{precision}.onnx"
            model.write_bytes(b"the model")
            sha256 = hashlib.sha256(b"the model").hexdigest()
            models.append(BoardModel(file=model.name, sha256=sha256, precision=precision))
        script = build_script(
            models,
            opset=opset,
            input_name="input",
            input_shape=(3, 32, 32),
        )
        (self.folder / "build_engine.sh").write_text(script)

    def run(self, **settings: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["/bin/sh", str(self.folder / "build_engine.sh")],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder.parent,
            env={"PATH": str(self.tools), **settings},
        )

    def calls(self) -> list[list[str]]:
        path = self.tools.parent / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def board(tmp_path: Path) -> Board:
    board = Board(tmp_path / "a folder", tmp_path / "tools")
    board.folder.mkdir()
    board.tools.mkdir()
    for tool in SYSTEM_TOOLS:
        (board.tools / tool).symlink_to(str(shutil.which(tool)))
    board.write_script()
    return board


def test_the_syntax_holds(board: Board) -> None:
    subprocess.run(["/bin/sh", "-n", str(board.folder / "build_engine.sh")], check=True)


@pytest.mark.parametrize("version", OPTIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_version_gets_only_options_it_has(board: Board, version: str, precision: str) -> None:
    board.install(version)
    board.write_script(precision)
    result = board.run()
    assert result.returncode == 0, result.stderr
    stem = f"model.{precision}"
    made = {path.name for path in board.folder.iterdir() if path.suffix != ".cache"}
    wanted = {"plan", "build.log", "bench.log", "times.json", "onnx"}
    assert made >= {f"{stem}.{kind}" for kind in wanted}
    assert (board.folder / f"{stem}.plan").read_text() == "an engine"
    assert "median = 0.5 ms" in result.stdout
    assert not list(board.folder.glob("*.part"))


SHAPES = ["--minShapes=input:1x3x32x32", "--optShapes=input:1x3x32x32", "--maxShapes=input:8x3x32x32"]
PINNED = ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]
LEVEL = ["--builderOptimizationLevel=3", "--skipInference"]


@pytest.mark.parametrize(
    ("version", "number", "building", "benching"),
    [
        ("v8201", "8.2", ["--workspace=512", "--buildOnly"], PINNED),
        ("v8401", "8.4", ["--memPoolSize=workspace:512", "--buildOnly"], PINNED),
        ("v8502", "8.5", ["--memPoolSize=workspace:512", "--buildOnly"], PINNED),
        ("v8601", "8.6", ["--memPoolSize=workspace:512", *LEVEL], PINNED),
        ("v100300", "10.3", ["--stronglyTyped", "--memPoolSize=workspace:512", *LEVEL], PINNED),
        ("v101303", "10.13", ["--stronglyTyped", "--memPoolSize=workspace:512", *LEVEL], PINNED),
        ("v110401", "11.4", ["--memPoolSize=workspace:512", *LEVEL], []),
        ("v11.1.0.106", "11.1", ["--memPoolSize=workspace:512", *LEVEL], []),
    ],
)
def test_the_exact_command_lines(
    board: Board, version: str, number: str, building: list[str], benching: list[str]
) -> None:
    board.install(version)
    assert board.run().returncode == 0
    build, bench = board.calls()
    build[1] = re.sub(r"\.\d+\.part", "", build[1])
    assert build == [
        "--onnx=model.fp32.onnx",
        "--saveEngine=model.fp32.plan",
        f"--timingCacheFile=timing-{number}.cache",
        *SHAPES,
        *building,
    ]
    assert bench == [
        "--loadEngine=model.fp32.plan",
        "--shapes=input:1x3x32x32",
        "--warmUp=500",
        "--duration=10",
        "--exportTimes=model.fp32.times.json",
        *benching,
    ]


@pytest.mark.parametrize(
    ("version", "precision", "flags"),
    [
        ("v8201", "fp16", ["--fp16"]),
        ("v8601", "int8", ["--int8", "--fp16"]),
        ("v8601", "fp32", []),
        ("v100300", "fp16", ["--stronglyTyped"]),
        ("v110401", "int8", []),
    ],
)
def test_precision_flags_only_where_types_are_weak(
    board: Board, version: str, precision: str, flags: list[str]
) -> None:
    board.install(version)
    board.write_script(precision)
    assert board.run().returncode == 0
    known = ("--fp16", "--int8", "--stronglyTyped")
    assert [each for each in board.calls()[0] if each in known] == flags


def test_each_precision_gets_its_engine(board: Board) -> None:
    board.install("v8601")
    board.write_script("fp32", "fp16", "int8")
    assert board.run().returncode == 0
    calls = board.calls()
    assert [call[0] for call in calls if call[0].startswith("--onnx")] == [
        "--onnx=model.fp32.onnx",
        "--onnx=model.fp16.onnx",
        "--onnx=model.int8.onnx",
    ]
    flags = [[each for each in call if each in ("--fp16", "--int8")] for call in calls[::2]]
    assert flags == [[], ["--fp16"], ["--int8", "--fp16"]]
    assert {path.name for path in board.folder.glob("*.plan")} == {f"model.{p}.plan" for p in ("fp32", "fp16", "int8")}


def test_one_precision_can_be_chosen(board: Board) -> None:
    board.install("v100300")
    board.write_script("fp32", "int8")
    assert board.run(PRECISIONS="int8").returncode == 0
    assert [path.name for path in board.folder.glob("*.plan")] == ["model.int8.plan"]
    refused = board.run(PRECISIONS="fp16")
    assert refused.returncode == 1
    assert refused.stderr == "build_engine.sh: PRECISIONS names 'fp16'; this folder holds: fp32 int8\n"


def test_nothing_is_built_if_any_model_is_damaged(board: Board) -> None:
    board.install("v100300")
    board.write_script("fp32", "int8")
    (board.folder / "model.int8.onnx").write_bytes(b"another model")
    assert "model.int8.onnx is not the file that was shipped" in board.run().stderr
    assert board.calls() == []


def test_settings_reach_trtexec(board: Board) -> None:
    board.install("v100300")
    assert board.run(MAX_BATCH="32", WORKSPACE_MIB="2048", SECONDS_TIMED="3").returncode == 0
    build, bench = board.calls()
    assert "--maxShapes=input:32x3x32x32" in build
    assert "--memPoolSize=workspace:2048" in build
    assert "--duration=3" in bench


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"MAX_BATCH": "0"}, "MAX_BATCH is '0', which is no whole number above zero"),
        ({"WORKSPACE_MIB": "1G"}, "WORKSPACE_MIB is '1G'"),
        ({"SECONDS_TIMED": "-1"}, "SECONDS_TIMED is '-1'"),
        ({"TRTEXEC": "/nowhere"}, "TRTEXEC is '/nowhere', which is no program"),
        ({"TRT_VERSION": "10"}, "TensorRT version '10' is not understood"),
        ({"TRT_VERSION": "10.x"}, "TensorRT version '10.x' is not understood"),
        ({"TRT_VERSION": "8.0"}, "TensorRT 8.0 is too old; this script knows 8.2 and later"),
    ],
)
def test_bad_settings(board: Board, settings: dict[str, str], complaint: str) -> None:
    board.install("v100300")
    result = board.run(**settings)
    assert result.returncode == 1
    assert result.stderr.startswith(f"build_engine.sh: {complaint}")
    assert len(result.stderr.splitlines()) == 1
    assert board.calls() == []


def test_a_version_that_trtexec_hides_can_be_told(board: Board) -> None:
    board.install("v8502", banner="unknown")
    assert "does not say its version; set TRT_VERSION" in board.run().stderr
    assert board.run(TRT_VERSION="8.5.2").returncode == 0


def test_without_trtexec(board: Board) -> None:
    if Path("/usr/src/tensorrt/bin/trtexec").exists():
        pytest.skip("this machine has a real trtexec where the script looks")
    assert "trtexec was not found in PATH or /usr/src/tensorrt/bin" in board.run().stderr


@pytest.mark.parametrize(("version", "opset", "highest"), [("v8201", 17, 13), ("v8502", 18, 17), ("v100300", 21, 20)])
def test_an_opset_that_the_version_cannot_read(board: Board, version: str, opset: int, highest: int) -> None:
    board.install(version)
    board.write_script(opset=opset)
    assert f"has opset {opset}, but TensorRT" in board.run().stderr
    assert f"reads at most {highest};" in board.run().stderr
    assert board.calls() == []


def test_a_changed_or_missing_model(board: Board) -> None:
    board.install("v100300")
    (board.folder / "model.fp32.onnx").write_bytes(b"another model")
    assert "is not the file that was shipped" in board.run().stderr
    (board.folder / "model.fp32.onnx").unlink()
    assert "is not beside this script; copy the whole folder" in board.run().stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")
def test_the_hash_is_checked_by_what_the_board_has(board: Board) -> None:
    board.install("v100300")
    (board.tools / "sha256sum").unlink()
    assert "neither sha256sum nor shasum nor openssl is here" in board.run().stderr
    (board.tools / "openssl").symlink_to(str(shutil.which("openssl")))
    assert board.run().returncode == 0


def test_a_failed_build_says_why_and_keeps_the_old_engine(board: Board) -> None:
    (board.folder / "model.fp32.plan").write_text("an older engine")
    board.install("v100300", broken=True)
    result = board.run()
    assert result.returncode == 1
    assert "[E] something broke" in result.stderr
    assert "trtexec failed; the whole log is model.fp32.build.log" in result.stderr
    assert (board.folder / "model.fp32.plan").read_text() == "an older engine"
    assert not list(board.folder.glob("*.part"))


def test_success_without_an_engine_is_no_success(board: Board) -> None:
    board.install("v100300", writes=False)
    result = board.run()
    assert result.returncode == 1
    assert "trtexec wrote no engine" in result.stderr


def test_a_newer_version_is_tried_and_said(board: Board) -> None:
    board.install("v110401", banner="v120000")
    assert "newer than this script" in board.run().stdout


def test_it_writes_only_beside_itself(board: Board) -> None:
    board.install("v100300")
    assert board.run().returncode == 0
    assert {path.name for path in board.folder.parent.iterdir()} == {"a folder", "calls", "tools"}


def test_an_interruption_leaves_no_half_engine(board: Board) -> None:
    board.install("v100300")
    waiting = (board.tools / "trtexec").read_text() + "import time; time.sleep(60)\n"
    (board.tools / "trtexec").write_text(waiting)
    command = ["/bin/sh", str(board.folder / "build_engine.sh")]
    # Its own session: the signal must reach script and trtexec together, as Ctrl-C in a terminal does.
    with subprocess.Popen(
        command, env={"PATH": str(board.tools)}, stdout=subprocess.DEVNULL, start_new_session=True
    ) as script:
        while not list(board.folder.glob("*.part")):
            assert script.poll() is None
            time.sleep(0.02)
        os.killpg(script.pid, signal.SIGTERM)
    assert script.returncode == 143
    assert not list(board.folder.glob("*.p*"))


def test_batches_in_order() -> None:
    with pytest.raises(FednasError, match="batch sizes 1, 4, 2 are not in order"):
        BatchRange(smallest=1, tuned=4, largest=2)


def test_nothing_unsafe_gets_into_the_script() -> None:
    with pytest.raises(ContractError, match="cannot stand in a shell script"):
        build_script(
            [BoardModel(file="$(reboot).onnx", sha256="0", precision="fp32")],
            opset=17,
            input_name="input",
            input_shape=(1, 8, 8),
        )
