"""The board's one script, run for real by the Pythons that boards have, against stand-ins for TensorRT."""

import ast
import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board_stand_in import OPTIONS, calls, install, layers
from fake_tensorrt import VERSIONS, fake_tensorrt
from small_network import Ship, Trained

from fednas.common import FednasError
from fednas.export import BatchRange, OrtRunner, board_script, read_manifest
from fednas.export.board import check, cudart
from fednas.export.board.cudart import CudaRuntime
from fednas.export.board.trtexec import TrtVersion, parse_version
from fednas.export.folder import foreign_files

OTHER_PYTHONS = sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python"))


@dataclass(frozen=True)
class Board:
    """A shipped folder, and a PATH that holds nothing but what the test puts there."""

    folder: Path
    tools: Path
    logits: dict[str, list[float]]

    def run(self, *arguments: str, python: Path = Path(sys.executable)) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(python), "-W", "error", str(self.folder / "board_check.py"), "--way", "trtexec", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder.parent,
            env={"PATH": str(self.tools)},
        )

    def result(self) -> Any:
        return json.loads((self.folder / "board_result.json").read_text())


@pytest.fixture(scope="session")
def kit_once(ship: Ship, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ship(tmp_path_factory.mktemp("kit") / "a folder", "tensorrt", opset=13)


@pytest.fixture
def board(kit_once: Path, trained: Trained, tmp_path: Path) -> Board:
    folder = Path(shutil.copytree(kit_once, tmp_path / "a folder"))
    (tmp_path / "tools").mkdir()
    logits = {trained.images[i].tobytes().hex(): trained.logits[i].tolist() for i in range(16)}
    return Board(folder, tmp_path / "tools", logits)


def test_the_script_has_no_name_twice_and_nothing_of_ours() -> None:
    names: list[str] = []
    for node in ast.parse(board_script()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names += [
            each.id for target in targets for each in ast.walk(target or ast.Pass()) if isinstance(each, ast.Name)
        ]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert "import fednas" not in board_script()
    assert "from fednas" not in board_script()


@pytest.mark.parametrize("version", OPTIONS)
def test_every_version_gets_only_options_it_has(board: Board, version: str) -> None:
    install(board.tools, version, board.logits)
    done = board.run("--seconds", "2")
    assert done.returncode == 0, done.stderr
    result = board.result()
    (engine,) = result["engines"]
    assert (engine["passed"], engine["failed"]) == (True, "")
    assert engine["top1_agreement"] == 1.0
    assert engine["max_relative_error"] < 1e-5
    assert len(engine["logits"]) == len(engine["max_abs_errors"]) == 16
    assert len(engine["samples_ms"]) == 1000
    assert engine["strongly_typed"] == (not result["tensorrt"].startswith("8"))
    made = {path.name for path in board.folder.iterdir()}
    assert {"model.fp32.plan", "model.fp32.build.log", "model.fp32.bench.log", "board_result.json"} <= made
    assert not [name for name in made if name.endswith((".part", ".images.bin", ".logits.json"))]
    assert "median 0.499 ms" in done.stdout


@pytest.mark.parametrize("python", OTHER_PYTHONS, ids=lambda path: path.parent.parent.name)
def test_the_pythons_of_boards(board: Board, python: Path) -> None:
    install(board.tools, "v100300", board.logits)
    done = board.run("--max-batch", "16", python=python)
    assert done.returncode == 0, done.stderr
    assert board.result()["machine"]["python"] == python.parent.parent.name
    assert "agrees; 16 vectors" in done.stdout


SHAPES = ["--minShapes=input:1x1x8x8", "--optShapes=input:1x1x8x8", "--maxShapes=input:8x1x8x8"]
PINNED = ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]
DETAILED = "--profilingVerbosity=detailed"
LEVEL = ["--builderOptimizationLevel=3", "--skipInference"]
LAYERS = ["--exportLayerInfo=model.fp32.layers.json"]


@pytest.mark.parametrize(
    ("version", "number", "building", "timing"),
    [
        ("v8201", "8.2", ["--workspace=512", "--buildOnly"], PINNED),
        ("v8401", "8.4", ["--memPoolSize=workspace:512", "--buildOnly"], PINNED),
        ("v8502", "8.5", ["--memPoolSize=workspace:512", DETAILED, "--buildOnly"], LAYERS + PINNED),
        ("v8601", "8.6", ["--memPoolSize=workspace:512", DETAILED, *LEVEL], LAYERS + PINNED),
        ("v100300", "10.3", ["--stronglyTyped", "--memPoolSize=workspace:512", DETAILED, *LEVEL], LAYERS + PINNED),
        ("v110401", "11.4", ["--memPoolSize=workspace:512", DETAILED, *LEVEL], LAYERS),
    ],
)
def test_the_exact_command_lines(
    board: Board, version: str, number: str, building: list[str], timing: list[str]
) -> None:
    install(board.tools, version, board.logits)
    assert board.run().returncode == 0
    build, first, second, bench = calls(board.tools)
    cache = build.pop(2)
    assert re.fullmatch(rf"--timingCacheFile=timing-{re.escape(number)}-gpu-[0-9a-f]{{12}}\.cache", cache)
    assert build == ["--onnx=model.fp32.onnx", "--saveEngine=model.fp32.plan.part", *SHAPES, *building]
    run = ["--loadInputs=input:model.fp32.images.bin", "--exportOutput=model.fp32.logits.json"]
    once = ["--iterations=1", "--warmUp=0", "--duration=0"]
    assert first == second == ["--loadEngine=model.fp32.plan", "--shapes=input:8x1x8x8", *run, *once]
    assert bench == [
        *("--loadEngine=model.fp32.plan", "--shapes=input:1x1x8x8", "--warmUp=500", "--duration=10"),
        *("--exportTimes=model.fp32.times.json", *timing),
    ]


@pytest.mark.parametrize(
    ("version", "precision", "options"),
    [
        ("8.2", "fp16", ["--fp16"]),
        ("8.6", "int8", ["--int8", "--fp16"]),
        ("8.6", "fp32", []),
        ("10.3", "fp16", ["--stronglyTyped"]),
        ("11.4", "int8", []),
    ],
)
def test_commands_for_a_board_without_python(board: Board, version: str, precision: str, options: list[str]) -> None:
    manifest = json.loads((board.folder / "manifest.json").read_text())
    manifest["models"][0]["precision"] = precision
    (board.folder / "manifest.json").write_text(json.dumps(manifest))
    done = board.run("--commands", version)
    assert done.returncode == 0, done.stderr
    build = next(line for line in done.stdout.splitlines() if "--saveEngine" in line).split()
    assert [each for each in build if each in ("--fp16", "--int8", "--stronglyTyped")] == options
    assert build[0] == "trtexec"
    assert calls(board.tools) == []


def test_an_engine_that_disagrees(board: Board) -> None:
    install(board.tools, "v100300", board.logits, wrong_by=3.0)
    done = board.run()
    assert done.returncode == 4
    assert "DISAGREES with the network" in done.stdout
    assert board.result()["engines"][0]["passed"] is False


def test_logits_that_are_not_finite_are_null(board: Board) -> None:
    broken = {image: [float("nan"), float("-inf"), *row[2:]] for image, row in board.logits.items()}
    install(board.tools, "v100300", broken)
    assert board.run().returncode == 4
    engine = board.result()["engines"][0]
    assert engine["logits"][0][:2] == [None, None]
    assert engine["max_relative_error"] is None


def test_an_engine_silently_built_in_another_precision(board: Board) -> None:
    install(board.tools, "v100300", board.logits, layers=layers("fp16", "fp16"))
    done = board.run()
    assert done.returncode == 4
    assert "NOT AS ASKED: layer conv0 runs in fp16, not fp32" in done.stderr
    assert "layers of the engine: 2 fp16" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--precision", "fp16"], "--precision names 'fp16'; this folder holds: fp32"),
        (["--trtexec", "/nowhere"], "--trtexec is '/nowhere', which is no program"),
        (["--tensorrt-version", "10"], "TensorRT version '10' is not understood; write it like 10.3"),
        (["--tensorrt-version", "8.0"], "TensorRT 8.0 is too old; this script knows 8.2 and later"),
        (["--batch", "0"], "batch 0, 10 seconds or level 3 is out of range"),
        (["--level", "6"], "level 6 is out of range"),
    ],
)
def test_bad_settings(board: Board, arguments: list[str], complaint: str) -> None:
    install(board.tools, "v100300", board.logits)
    done = board.run(*arguments)
    assert done.returncode == (5 if "too old" in complaint else 1)
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert calls(board.tools) == []


def test_help_says_what_exit_codes_mean(board: Board) -> None:
    done = board.run("--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for code in ("0 all engines agree", "1 something that you can mend", "4 an engine disagrees", "5 cannot tell"):
        assert code in text
    assert board.run("--nonsense").returncode == 2


def test_nothing_here(board: Board) -> None:
    if Path("/usr/src/tensorrt/bin/trtexec").exists():
        pytest.skip("this machine has a real trtexec where the script looks")
    assert board.run("--way", "module").returncode == 5
    done = board.run("--way", "auto")
    assert done.returncode == 5
    assert re.match(
        r"board_check\.py: no engine can be built here: the Python module tensorrt cannot be imported.*; and "
        r"trtexec was not found in PATH or /usr/src/tensorrt/bin/trtexec; install TensorRT",
        done.stderr,
    )
    assert not (board.folder / "board_result.json").exists()


def test_a_version_that_trtexec_hides_can_be_told(board: Board) -> None:
    install(board.tools, "v8502", board.logits, banner="unknown")
    silent = board.run()
    assert (silent.returncode, "does not say its version; give --tensorrt-version" in silent.stderr) == (1, True)
    assert board.run("--tensorrt-version", "8.5.2").returncode == 0


@pytest.mark.parametrize(
    ("text", "version"),
    [("8201", (8, 2)), ("8601", (8, 6)), ("100300", (10, 3)), ("101602", (10, 16)), ("11.1.0.106", (11, 1))],
)
def test_versions(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == TrtVersion(*version)


def test_a_changed_or_missing_file(board: Board) -> None:
    install(board.tools, "v100300", board.logits)
    (board.folder / "model.fp32.onnx").write_bytes(b"another model")
    assert "model.fp32.onnx is not the file that was shipped" in board.run().stderr
    (board.folder / "model.fp32.onnx").unlink()
    assert "model.fp32.onnx is not beside this script; copy the whole folder" in board.run().stderr
    (board.folder / "manifest.json").write_text("{}")
    assert "is not of schema 1" in board.run().stderr
    assert calls(board.tools) == []


def test_a_failed_build_says_why_and_keeps_the_old_engine(board: Board) -> None:
    (board.folder / "model.fp32.plan").write_text("an older engine")
    install(board.tools, "v100300", board.logits, broken=True)
    done = board.run()
    assert done.returncode == 5
    assert "model.fp32.onnx: trtexec failed: something broke; see model.fp32.build.log" in done.stderr
    assert (board.folder / "model.fp32.plan").read_text() == "an older engine"
    assert board.result()["engines"][0]["failed"].startswith("trtexec failed: something broke")


def test_success_without_an_engine_is_no_success(board: Board) -> None:
    install(board.tools, "v100300", board.logits, writes=False)
    assert "trtexec wrote no engine" in board.run().stderr


def put_vectors(folder: Path, content: bytes) -> None:
    """Other test vectors, and a manifest that knows them."""
    (folder / "test_vectors.npz").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["name"] == "test_vectors.npz":
            file["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def archive(**arrays: np.ndarray) -> bytes:
    with io.BytesIO() as stream:
        np.savez(stream, **arrays)
        return stream.getvalue()


IMAGES, LOGITS = np.zeros((2, 1, 8, 8), np.float32), np.ones((2, 10), np.float32)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "test_vectors.npz cannot be read"),
        (b"PK\x03\x04 and no archive", "test_vectors.npz cannot be read"),
        (archive(inputs=IMAGES), "test_vectors.npz cannot be read"),
        (archive(inputs=IMAGES, logits=np.float32(1)), "test_vectors.npz cannot be read"),
        (archive(inputs=IMAGES[:0], logits=LOGITS[:0]), "an array of 0 numbers cannot have 0 rows"),
        (archive(inputs=IMAGES, logits=LOGITS.astype(np.float64)), "neither little-endian float32 nor uint8"),
        (archive(inputs=IMAGES, logits=LOGITS[:1]), "hold 2 images and 1 rows of logits"),
        (archive(inputs=IMAGES[..., :7], logits=LOGITS), "have 56 values an image, model.fp32.onnx takes 64"),
        (archive(inputs=IMAGES, logits=LOGITS[:, :0]), "rows of logits without a class"),
        (archive(inputs=IMAGES, logits=np.full_like(LOGITS, np.nan)), "numbers that are not finite"),
    ],
)
def test_vectors_that_cannot_be_used_end_with_one_line(board: Board, content: bytes, complaint: str) -> None:
    install(board.tools, "v100300", board.logits)
    put_vectors(board.folder, content)
    done = board.run()
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert complaint in done.stderr
    assert calls(board.tools) == []


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "[Errno 28] No space left on device"),
        (MemoryError(), 1, "memory is full; close other programs, or give a smaller --workspace-mib"),
        (ValueError("an odd\nnumber"), 70, "a bug in board_check.py (ValueError: an odd number); please report it"),
        (RecursionError("too deep"), 70, "a bug in board_check.py (RecursionError: too deep)"),
        (KeyboardInterrupt(), 130, "stopped; engines that were checked before are kept"),
    ],
)
def test_whatever_happens_ends_with_one_line_and_a_code(
    board: Board,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    line: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(check, "write_json", fail)
    install(board.tools, "v100300", board.logits)
    arguments = ["--way", "trtexec", "--trtexec", str(board.tools / "trtexec")]
    assert check.main(arguments, board.folder) == code
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"board_check.py: {line}")
    traceback = board.folder / "board_check.traceback.txt"
    assert traceback.exists() == (code == 70)
    if code == 70:
        assert str(error) in traceback.read_text()
        assert foreign_files(board.folder, read_manifest(board.folder)) == ()


def test_where_not_even_the_traceback_can_be_written(
    board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "read_kit", lambda _: 1 / 0)
    (board.folder / "board_check.traceback.txt").mkdir()
    assert check.main([], board.folder) == 70
    assert "(board_check.traceback.txt cannot be written: " in capsys.readouterr().err


def test_memory_that_one_model_lacks_is_told_and_the_result_kept(
    board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(check.TrtexecWay, "check", full)
    install(board.tools, "v100300", board.logits)
    assert check.main(["--way", "trtexec", "--trtexec", str(board.tools / "trtexec")], board.folder) == 5
    assert "model.fp32.onnx: memory is full" in capsys.readouterr().err
    assert board.result()["engines"][0]["failed"].startswith("memory is full")


def test_times_that_are_none(board: Board) -> None:
    install(board.tools, "v100300", board.logits)
    program = (board.tools / "trtexec").read_text()
    (board.tools / "trtexec").write_text(program.replace("0.4 + 0.001 * (i % 200)", "float('nan')"))
    done = board.run()
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1)
    assert "model.fp32.onnx: TensorRT was timed at nan ms; run it again" in done.stderr


@pytest.mark.parametrize(
    ("kept", "found", "code"),
    [
        ([], ("int8", "int8"), 0),
        ([], ("int8", "fp32"), 4),
        (["conv1"], ("int8", "fp32"), 0),
        (["conv1"], ("int8", "fp32", "fp32"), 4),
    ],
)
def test_layers_in_more_bits_than_asked_are_refused_but_for_those_kept(
    board: Board, kept: list[str], found: tuple[str, ...], code: int
) -> None:
    manifest = json.loads((board.folder / "manifest.json").read_text())
    manifest["models"][0] |= {"precision": "int8", "mixed": {"kept": kept}}
    (board.folder / "manifest.json").write_text(json.dumps(manifest))
    install(board.tools, "v100300", board.logits, layers=layers(*found))
    done = board.run()
    assert done.returncode == code
    assert ("NOT AS ASKED" in done.stderr) == (code == 4)


def test_an_opset_that_the_version_cannot_read(board: Board) -> None:
    manifest = json.loads((board.folder / "manifest.json").read_text())
    manifest["models"][0]["opset"] = 17
    (board.folder / "manifest.json").write_text(json.dumps(manifest))
    install(board.tools, "v8201", board.logits)
    assert "the model has opset 17, but TensorRT 8.2 reads at most 13; export for" in board.run().stderr


def test_it_writes_only_beside_itself(board: Board) -> None:
    install(board.tools, "v100300", board.logits)
    assert board.run().returncode == 0
    assert {path.name for path in board.folder.parent.iterdir()} == {"a folder", "tools"}
    assert {path.name for path in board.tools.iterdir()} == {"trtexec", "behaviour.json", "calls"}


def test_an_interruption_leaves_no_half_engine(board: Board) -> None:
    install(board.tools, "v100300", board.logits)
    waiting = (board.tools / "trtexec").read_text() + "import time; time.sleep(60)\n"
    (board.tools / "trtexec").write_text(waiting)
    command = [sys.executable, str(board.folder / "board_check.py"), "--way", "trtexec"]
    command += ["--tensorrt-version", "10.3"]
    # Its own session: the signal must reach script and trtexec together, as Ctrl-C in a terminal does.
    with subprocess.Popen(
        command,
        env={"PATH": str(board.tools)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as script:
        while not list(board.folder.glob("*.part")):
            assert script.poll() is None
            time.sleep(0.02)
        os.killpg(script.pid, signal.SIGINT)
    assert script.returncode == 130
    assert not list(board.folder.glob("*.p[al]*"))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_python_module_of_every_version(
    board: Board, trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    module, recording = fake_tensorrt(version)
    recording.profile = ((1, 1, 8, 8), (1, 1, 8, 8), (8, 1, 8, 8))
    recording.inspected = json.dumps(layers("fp32", "fp32"))
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(cudart, "_open_cudart", lambda: recording.cuda)
    with OrtRunner(board.folder / "model.fp32.onnx") as stand_in:
        recording.compute = lambda images, batch: stand_in.infer(
            np.frombuffer(images, np.float32).reshape(batch, 1, 8, 8)
        ).tobytes()
        assert check.main(["--way", "module", "--seconds", "1"], board.folder) == 0
    result = board.result()
    assert (result["way"], result["tensorrt"]) == ("module", version)
    assert result["machine"]["compute_capability"] == "8.7"
    engine = result["engines"][0]
    assert set(engine["samples_ms"]) == {0.5}
    assert engine["clock"] == "device events, no CUDA graph"
    assert [layer["precision"] for layer in engine["layers"]] == ["fp32", "fp32"]
    typed = "weak types" if version.startswith("8") else "strong types"
    assert f"Python module tensorrt {version}; {typed}" in capsys.readouterr().out
    assert len(list(board.folder.glob(f"timing-{version}-sm87-*.cache"))) == 1


def test_the_gpu_library_without_a_gpu() -> None:
    class NoDevice:
        class Words:
            def __call__(self, _error: int) -> bytes:
                return b"no CUDA-capable device is detected"

        cudaGetErrorString = Words()  # noqa: N815  (CUDA's own name)

        def cudaGetDeviceCount(self, _pointer: object) -> int:  # noqa: N802
            return 100

    with pytest.raises(Exception, match=r"no CUDA-capable device is detected \(error 100\)"):
        CudaRuntime(NoDevice())


def test_batches_in_order() -> None:
    with pytest.raises(FednasError, match="batch sizes 1, 4, 2 are not in order"):
        BatchRange(smallest=1, tuned=4, largest=2)
