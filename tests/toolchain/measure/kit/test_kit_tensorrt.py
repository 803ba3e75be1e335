"""The kit on boards with TensorRT: six recorded versions of its interface, and a library called through ctypes.

No engine was ever built by these tests: there is no TensorRT and no GPU where they run.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_stand_ins import python_of, run, stand_in_trtexec
from stand_in_cuda import stand_in_tensorrt

from fednas.export import Precision
from fednas.export.board.cudart import CudaGraphs
from fednas.export.board.problem import BoardProblem
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.kit import read_kit, read_results, write_kit
from fednas.toolchain.measure.kit.board.folder import BoardJob, read_job
from fednas.toolchain.measure.kit.board.on_tensorrt import PRECISION_UNSAID, TensorRTBoard
from fednas.toolchain.measure.kit.board.on_trtexec import build_options, run_options
from fednas.toolchain.measure.runtimes.trtexec_command import BuildOrder, TrtexecVersion, build_command, timing_command

sys.path.insert(0, str(Path(__file__).parents[3] / "export"))
from fake_tensorrt import VERSIONS, Recording, fake_tensorrt

MakeKit = Callable[..., Path]
IN_HALF = '{"Layers": [{"Name": "c", "LayerType": "Conv", "Weights": {"Type": "Half", "Count": 1}}]}'


@pytest.fixture
def order(make_kit: MakeKit) -> BoardJob:
    return read_job(str(make_kit("tensorrt")))


def board(monkeypatch: pytest.MonkeyPatch, version: str, order: BoardJob) -> tuple[TensorRTBoard, Recording]:
    module, recording = fake_tensorrt(version)
    recording.tensors = {"input": ("INPUT", "FLOAT", (1, 1, 8, 8)), "output": ("OUTPUT", "FLOAT", (1, 4))}
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr("fednas.toolchain.measure.kit.board.on_tensorrt.CudaGraphs", lambda: CudaGraphs(recording.cuda))
    return TensorRTBoard(order), recording


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_an_engine_once_and_times_it_by_events(
    version: str, monkeypatch: pytest.MonkeyPatch, order: BoardJob
) -> None:
    tensorrt, recording = board(monkeypatch, version, order)
    model = tensorrt.load(order.models[0])
    assert model.graphed
    assert model.call(4) == pytest.approx(0.5)
    assert recording.builder_flags == []
    assert recording.settings["WORKSPACE"] == 1 << 30
    assert {path.suffix for path in (Path(order.folder) / "engines").iterdir()} == {".plan", ".cache"}
    fed = next(content for content in recording.cuda.memory.values() if len(content) == 4 * 64)
    assert len(set(fed)) > 30  # random numbers, not zeros
    model.close()
    cuda = recording.cuda
    assert (cuda.memory, cuda.events, cuda.streams, cuda.graphs) == ({}, {}, set(), set())
    recording.plan = None  # could not be built again, and need not be
    tensorrt.load(order.models[0]).close()


def test_without_graphs_runs_are_enqueued_one_by_one_and_the_settings_say_so(
    monkeypatch: pytest.MonkeyPatch, order: BoardJob
) -> None:
    tensorrt, recording = board(monkeypatch, VERSIONS[0], order)
    recording.cuda.fails["cudaStreamBeginCapture"] = 2
    model = tensorrt.load(order.models[0])
    assert not model.graphed
    assert model.call(4) == pytest.approx(0.5)
    assert tensorrt.settings["cuda graph"] == "off for some: it could not be captured"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"plan": None}, "could not build an engine of 0000.onnx"),
        ({"plan": b"torn"}, "does not take an engine of its own: .*delete the folder engines"),
        ({"gives_context": False}, "gave no execution context"),
        ({"runs": False}, "could not enqueue a run"),
        ({"parse_errors": ["no Conv"]}, "cannot parse 0000.onnx: no Conv"),
        ({"inspected": IN_HALF}, "the engine of 0000.onnx is not fp32: layer c runs in fp16"),
    ],
)
def test_what_tensorrt_refuses_is_said(
    spoil: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, order: BoardJob
) -> None:
    tensorrt, recording = board(monkeypatch, VERSIONS[0], order)
    for name, value in spoil.items():
        setattr(recording, name, value)
    with pytest.raises(BoardProblem, match=message):
        tensorrt.load(order.models[0])


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.12"])
def test_the_script_calls_the_library_through_ctypes(version: str, make_kit: MakeKit, tmp_path: Path) -> None:
    kit = make_kit("tensorrt")
    done = run(kit, python=python_of(version), environment=stand_in_tensorrt(tmp_path / "installed"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "compute capability 8.7" in done.stdout
    assert "cuda graph on" in done.stdout
    collected = read_results(kit / "results.json")
    assert {round(reading.latency_ms, 6) for reading in collected.readings} == {0.5}
    assert (collected.job.runtime, collected.runtime_version) == ("tensorrt", "10.3.0")
    assert collected.before.numpy_version == "none"


def test_a_kit_for_trtexec_is_measured_by_the_module_where_there_is_no_trtexec(
    small_job: MeasuringJob, tmp_path: Path
) -> None:
    kit = write_kit(replace(small_job, runtime="trtexec"), tmp_path / "kit").folder
    done = run(kit, environment=stand_in_tensorrt(tmp_path / "installed"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "not used: trtexec: not found in PATH" in done.stdout
    collected = read_results(kit / "results.json", kit=read_kit(kit))
    assert (collected.job.runtime, collected.runtime_version) == ("tensorrt", "10.3.0")


def test_engines_that_are_gone_are_missed(make_kit: MakeKit, tmp_path: Path) -> None:
    kit, environment = make_kit("tensorrt"), stand_in_tensorrt(tmp_path / "installed")
    assert run(kit, environment=environment).returncode == 0
    (kit / "results.json").unlink()
    next((kit / "engines").glob("*.plan")).unlink()
    done = run(kit, environment=environment)
    assert done.returncode == 1
    assert "is gone, and the results must say which engine was measured; delete readings.partial" in done.stderr


def test_a_gpu_that_cannot_capture_still_measures(make_kit: MakeKit, tmp_path: Path) -> None:
    kit = make_kit("tensorrt")
    done = run(kit, environment=stand_in_tensorrt(tmp_path / "installed", capture_error=900))
    assert (done.returncode, done.stderr) == (0, "")
    settings = json.loads((kit / "results.json").read_text())["settings"]
    assert settings["cuda graph"] == "off for some: it could not be captured"


WORKSPACE, VERBOSE = "--memPoolSize=workspace:1024", "--profilingVerbosity=detailed"
LEVEL, SKIP = "--builderOptimizationLevel=3", "--skipInference"


@pytest.mark.parametrize(
    ("version", "precision", "expected"),
    [
        ((8, 2, 1), "fp32", ["--workspace=1024", "--buildOnly"]),
        ((8, 5, 2), "fp16", [WORKSPACE, "--buildOnly", "--fp16", VERBOSE]),
        ((8, 6, 1), "int8", [WORKSPACE, SKIP, LEVEL, "--int8", "--fp16", VERBOSE]),
        ((10, 3, 0), "fp16", [WORKSPACE, SKIP, LEVEL, "--stronglyTyped", VERBOSE]),
        ((11, 0, 0), "int8", [WORKSPACE, SKIP, LEVEL, VERBOSE]),
    ],
)
def test_trtexec_is_given_the_options_that_its_version_has(
    version: tuple[int, int, int], precision: str, expected: list[str]
) -> None:
    assert build_options(version, precision) == expected
    timed = ["--warmUp=200", "--duration=1", "--iterations=10"]
    pinned = [] if version >= (11, 0, 0) else ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]
    assert run_options(version) == pinned + timed


@pytest.mark.parametrize("version", [(8, 5, 2), (8, 6, 1), (10, 3, 0), (10, 16, 1), (11, 0, 0)])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_kit_and_measuring_on_the_spot_ask_trtexec_for_the_same(
    version: tuple[int, int, int], precision: Precision
) -> None:
    release, files = TrtexecVersion(*version), Path("0000.onnx")
    order = BuildOrder(
        onnx=files, engine=files, precision=precision, input_name="i", input_shape=(1, 3, 8, 8), dynamic_batch=False
    )
    here = {word for word in build_command("trtexec", release, order)[1:] if "=" not in word}
    assert {word for word in build_options(version, precision) if "=" not in word} == here
    timed = timing_command("trtexec", release, files, files, runs=10, seconds=1.0)[1:]
    assert set(run_options(version)) == {word for word in timed if not word.startswith(("--load", "--export"))}


UNSAID = '{"Layers": ["conv"]}'


@pytest.mark.parametrize(("precision", "doubt"), [("fp32", ""), ("fp16", PRECISION_UNSAID), ("int8", PRECISION_UNSAID)])
def test_an_engine_that_does_not_say_its_precision_is_doubted(
    precision: str, doubt: str, monkeypatch: pytest.MonkeyPatch, order: BoardJob
) -> None:
    tensorrt, recording = board(monkeypatch, VERSIONS[0], order._replace(precision=precision))
    assert tensorrt.doubt == ""
    recording.inspected = UNSAID
    tensorrt.load(order.models[0]).close()
    assert tensorrt.doubt == doubt


@pytest.mark.parametrize("silent", ["names only", "no file"])
def test_results_of_doubtful_engines_are_marked(silent: str, small_job: MeasuringJob, tmp_path: Path) -> None:
    """Also where an earlier run built them: the words about an engine lie beside it."""
    kit = write_kit(replace(small_job, runtime="trtexec", precision="fp16"), tmp_path / "kit").folder
    environment = stand_in_trtexec(tmp_path / "bin", "100300", layer="Row major linear FP16")
    assert run(kit, environment=environment).returncode == 0
    assert read_results(kit / "results.json").conditions.doubts == ()
    (said, *_) = sorted((kit / "engines").glob("*.layers.json"))
    if silent == "no file":
        said.unlink()
    else:
        said.write_text(UNSAID)
    (kit / "results.json").unlink()
    (kit / "readings.partial").unlink()
    done = run(kit, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("note: an engine does not say the precision of its layers") == 1
    doubts = read_results(kit / "results.json").conditions.doubts
    assert doubts == ("an engine does not say whether its layers run in fp16",)
