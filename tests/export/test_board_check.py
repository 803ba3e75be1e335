"""The board's one script, run for real by the Pythons that boards have, against stand-ins for TensorRT."""

import ast
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_folder import Board
from board_stand_in import OPTIONS, calls, install, layers
from fake_tensorrt import VERSIONS, fake_tensorrt
from small_network import Trained

from fednas.common import FednasError
from fednas.export import BatchRange, OrtRunner, board_script
from fednas.export.board import check, cudart
from fednas.export.board.cudart import CudaRuntime
from fednas.export.board.kit import PRODUCTS
from fednas.export.board.trtexec import TrtVersion, parse_version
from fednas.export.float_layers import WEIGHTED_OPS

OTHER_PYTHONS = sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python"))


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


def test_help_says_what_exit_codes_mean(board: Board) -> None:
    done = board.run("--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for code in ("0 all engines agree", "1 something that you can mend", "4 an engine disagrees", "5 cannot tell"):
        assert code in text
    assert board.run("--nonsense").returncode == 2


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


@pytest.mark.parametrize("named", [True, False])
def test_trtexec_may_be_named_from_where_the_script_is_called(board: Board, named: bool) -> None:
    install(board.tools, "v100300", board.logits)
    nearby = replace(board, tools=Path("nowhere" if named else "tools"))
    done = nearby.run(*(["--trtexec", "tools/trtexec"] if named else []))
    assert done.returncode == 0, done.stderr


def test_it_writes_only_beside_itself(board: Board) -> None:
    install(board.tools, "v100300", board.logits)
    assert board.run().returncode == 0
    assert {path.name for path in board.folder.parent.iterdir()} == {"a folder", "tools"}
    assert {path.name for path in board.tools.iterdir()} == {"trtexec", "behaviour.json", "calls"}


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


def test_the_script_means_the_same_layers_by_products_as_the_export() -> None:
    assert PRODUCTS == WEIGHTED_OPS
