"""When the main job builds a TensorRT engine itself, how it proves it, and when it leaves that to the board."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fednas.common import FednasError
from fednas.export import (
    ArtefactEvidence,
    BoardRecord,
    EngineFile,
    EngineOptions,
    EngineRecord,
    OrtRunner,
    Runner,
    TensorRTStatus,
    judge_logits,
    read_manifest,
    tolerance_for,
    verify_folder,
)
from fednas.export.manifest import status_of
from fednas.profiles import find_profile
from fednas.toolchain.cli import app
from fednas.toolchain.doctor import Gpu
from fednas.toolchain.ship import engine as ship_engine

LAYERS = [{"Name": "conv", "LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "Row major Int8 format"}]}]


class FakeRunner:
    """Stands for `TensorRTRunner`, which has tests of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "FakeRunner":
        return self

    def __exit__(self, *_: object) -> None: ...

    def time_ms(self, *, seconds: float) -> list[float]:  # noqa: ARG002
        return [0.5] * 100

    def layers(self) -> object:
        from fednas.export.board.inspector import read_inspector

        return read_inspector(json.dumps({"Layers": LAYERS}))


def evidence(_runner: Runner) -> ArtefactEvidence:
    logits = np.eye(10, dtype=np.float32)
    return judge_logits("tensorrt 10.3 Orin", logits, logits, tolerance=tolerance_for("int8"))


def machine(
    monkeypatch: pytest.MonkeyPatch, *, tensorrt: bool, capability: str | None
) -> list[tuple[Path, EngineOptions]]:
    """Pretend to be a machine; the engines it builds are recorded as (plan, options)."""
    built: list[tuple[Path, EngineOptions]] = []
    reasons = () if tensorrt else ("The Python module tensorrt cannot be imported.",)

    def build(model: Path, plan: Path, options: EngineOptions) -> EngineFile:
        built.append((plan, options))
        return EngineFile(
            path=plan, size_bytes=1, sha256="0", tensorrt_version="10.3", strongly_typed=True, builder_flags=()
        )

    monkeypatch.setattr(ship_engine, "tensorrt_status", lambda: TensorRTStatus(version="10.3", gpus=1, reasons=reasons))
    monkeypatch.setattr(ship_engine, "nvidia_gpu", lambda: Gpu(name="GPU", compute_capability=capability))
    monkeypatch.setattr(ship_engine, "engine_from_onnx", build)
    monkeypatch.setattr(ship_engine, "TensorRTRunner", FakeRunner)
    return built


@pytest.mark.parametrize(
    ("device", "tensorrt", "capability", "built", "says"),
    [
        pytest.param("jetson", True, "8.7", True, "runs only with TensorRT 10.3", id="the board"),
        pytest.param("jetson", True, None, True, "runs only with", id="a board without nvidia-smi"),
        pytest.param("jetson", True, "9.0", False, "this GPU has capability 9.0, the device 8.7", id="another GPU"),
        pytest.param("jetson", False, "8.7", False, "", id="no TensorRT"),
        pytest.param("cpu", True, "8.7", False, "", id="no TensorRT device"),
    ],
)
def test_an_engine_is_built_only_on_the_devices_own_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, tensorrt: bool, capability: str | None, built: bool, says: str
) -> None:
    engines = machine(monkeypatch, tensorrt=tensorrt, capability=capability)
    found, said = ship_engine.engine_here(Path("model.int8.onnx"), find_profile(device), "int8", evidence, seconds=1.0)
    assert [(plan, options.precision) for plan, options in engines] == (
        [(Path("model.int8.plan"), "int8")] if built else []
    )
    assert says in " ".join(said)
    assert bool(said) == bool(says)
    assert (found is not None) == built


def test_it_is_proven_measured_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, tensorrt=True, capability="8.7")
    found, _ = ship_engine.engine_here(Path("model.int8.onnx"), find_profile("jetson"), "int8", evidence, seconds=1.0)
    assert isinstance(found, EngineRecord)
    assert found.latency is not None
    assert (found.latency.median_ms, found.latency.p99_ms, found.latency.runs) == (0.5, 0.5, 100)
    assert (found.layers.int8, found.layers.multiplying, found.reasons) == (1, {"int8": 1}, ())
    assert str(found.layers) == "1 int8 (of these multiply: 1 int8)"
    found, _ = ship_engine.engine_here(Path("model.fp16.onnx"), find_profile("jetson"), "fp16", evidence, seconds=1.0)
    assert found is not None
    assert found.reasons == ("no layer of the engine runs in fp16, of 1 whose precision is known",)


class EngineOfTheFile(FakeRunner):
    """Gives the logits of the ONNX file, in 0.5 ms, with all layers in ``precision``."""

    name = "tensorrt 10.3 Orin"
    precision = "fp32"

    def infer_all(self, images: np.ndarray) -> np.ndarray:
        with OrtRunner(self.path.with_suffix(".onnx")) as runner:
            return runner.infer_all(images)

    def layers(self) -> object:
        from fednas.export.board.inspector import EngineLayer

        return [EngineLayer("conv", "CaskConvolution", self.precision)]


def ship_there(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> tuple[int, list[EngineOptions]]:
    engines = machine(monkeypatch, tensorrt=True, capability="8.7")
    monkeypatch.setattr(ship_engine, "TensorRTRunner", EngineOfTheFile)
    done = CliRunner().invoke(app, ["--device", "jetson", "--out", str(out), *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, [options for _, options in engines]


@pytest.mark.parametrize(("limit", "verdict", "code"), [("1ms", "met", 0), ("0.3ms", "missed", 3)])
def test_a_latency_budget_is_judged_on_the_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, verdict: str, code: int
) -> None:
    found, options = ship_there(
        *(monkeypatch, tmp_path, "--max-latency", limit, "--workspace", "1GiB", "--optimization-level", "5"),
        *("--engine-batches", "1,4,16", "--timing-caches", str(tmp_path / "timings")),
    )
    assert found == code
    assert [(each.workspace_bytes, each.optimization_level) for each in options] == [(2**30, 5)]
    assert (options[0].batches.smallest, options[0].batches.tuned, options[0].batches.largest) == (1, 4, 16)
    assert options[0].timing_caches == tmp_path / "timings"
    budget = read_manifest(tmp_path / "jetson").shipment.budgets[0]
    assert (budget.basis, budget.value, budget.verdict) == ("measured", 0.5, verdict)
    report = (tmp_path / "jetson" / "report.md").read_text()
    assert "engine 0.5 ms measured" in report.splitlines()[2]
    assert "The TensorRT engine:" not in report
    assert "| measured on the exporting machine | 0.5 ms | 0.5 ms to 0.5 ms | TensorRT 10.3 engine; 95%" in report
    card = (tmp_path / "jetson" / "MODEL_CARD.md").read_text()
    assert "One image took 0.5 ms (0.5 ms to 0.5 ms) by an engine of TensorRT 10.3 on the machine that exp" in card
    assert verify_folder(tmp_path / "jetson").passed


def test_nothing_is_measured_where_nothing_is_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*_: object, **__: object) -> list[float]:
        raise AssertionError("an engine was measured")

    monkeypatch.setattr(FakeRunner, "time_ms", never)
    code, options = ship_there(monkeypatch, tmp_path, "--max-macs", "1M", "--profile-seconds", "0")
    assert (code, len(options)) == (0, 1)
    engine = read_manifest(tmp_path / "jetson").models[0].engine
    assert engine is not None
    assert (engine.latency, engine.evidence.passed) == (None, True)
    report = (tmp_path / "jetson" / "report.md").read_text()
    assert "Latency: it was not to be measured." in report
    assert "engine 0.5 ms measured" not in report
    assert verify_folder(tmp_path / "jetson").passed


def test_an_engine_is_timed_as_long_as_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def time_ms(_: object, *, seconds: float) -> list[float]:
        asked.append(seconds)
        return [0.5]

    monkeypatch.setattr(FakeRunner, "time_ms", time_ms)
    ship_there(monkeypatch, tmp_path, "--max-macs", "1M", "--profile-seconds", "2.5")
    assert asked == [2.5]


def test_an_engine_whose_layers_say_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(EngineOfTheFile, "precision", "unknown")
    assert ship_there(monkeypatch, tmp_path, "--max-macs", "1M")[0] == 0
    report = (tmp_path / "jetson" / "report.md").read_text()
    assert "model.fp32.plan: TensorRT does not say in which precision its layers run." in report


def failing_builds(monkeypatch: pytest.MonkeyPatch, *precisions: str) -> None:
    """TensorRT refuses files of these precisions, after it has written something."""
    works = ship_engine.engine_from_onnx

    def build(model: Path, plan: Path, options: EngineOptions) -> EngineFile:
        if options.precision in precisions:
            plan.write_bytes(b"half an engine")
            raise FednasError("TensorRT built no engine: out of workspace\nin layer conv", hint="more workspace")
        return works(model, plan, options)

    monkeypatch.setattr(ship_engine, "engine_from_onnx", build)


def ship_with_failures(monkeypatch: pytest.MonkeyPatch, out: Path, failing: str, *arguments: str) -> Result:
    machine(monkeypatch, tensorrt=True, capability="8.7")
    monkeypatch.setattr(ship_engine, "TensorRTRunner", EngineOfTheFile)
    failing_builds(monkeypatch, *failing.split(","))
    done = CliRunner().invoke(app, ["--max-macs", "1M", "--out", str(out), *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done


def test_an_engine_that_cannot_be_built_leaves_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = ship_with_failures(monkeypatch, tmp_path, "fp16", "--device", "jetson", "--precision", "fp32,fp16")
    assert done.exit_code == 4
    assert "FAILED, not shipped: TensorRT built no engine: out of workspace in layer" in " ".join(done.stdout.split())
    folder = tmp_path / "jetson"
    manifest = read_manifest(folder)
    fp32, fp16 = manifest.models
    assert (fp32.engine is not None, fp32.failed) == (True, ())
    assert (fp16.engine, fp16.evidence.passed, fp16.failed[0].runtime) == (None, True, "tensorrt")
    assert manifest.status == "rejected"
    assert manifest.reasons == (
        "model.fp16.onnx: nothing could be made for tensorrt: TensorRT built no engine: out of workspace in layer conv",
    )
    assert not (folder / "model.fp16.plan").exists()
    report = (folder / "report.md").read_text()
    assert "- tensorrt, of `model.fp16.onnx`: TensorRT built no engine" in report.partition("## Could not be made")[2]
    assert report.count("| passed |") >= 2, "the ONNX files are not blamed for it"
    assert [check.name for check in verify_folder(folder).checks if not check.passed] == ["status"]


def test_a_board_that_builds_the_engine_makes_good_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ship_with_failures(monkeypatch, tmp_path, "fp16", "--device", "jetson", "--precision", "fp32,fp16")
    manifest = read_manifest(tmp_path / "jetson")
    for built, status in (("model.fp16.onnx", "verified"), ("model.fp32.onnx", "rejected")):
        board = cast("BoardRecord", SimpleNamespace(engines=[SimpleNamespace(model=built)], reasons=()))
        assert status_of(manifest.models, manifest.shipment.dataset, board)[0] == status


def test_a_single_device_without_any_engine_ships_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = ship_with_failures(monkeypatch, tmp_path, "fp32", "--device", "jetson")
    assert done.exit_code == 4
    manifest = read_manifest(tmp_path / "jetson")
    assert (manifest.status, manifest.models[0].evidence.passed) == ("rejected", True)
    assert {"model.fp32.onnx", "board_check.py"} <= {file.name for file in manifest.files}
    board = cast("BoardRecord", SimpleNamespace(engines=[SimpleNamespace(model="model.fp32.onnx")], reasons=()))
    assert status_of(manifest.models, manifest.shipment.dataset, board)[0] == "verified"


def test_other_devices_are_shipped_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = ship_with_failures(monkeypatch, tmp_path, "fp32", "--device", "jetson", "--device", "raspberry-pi-5")
    assert done.exit_code == 4
    assert read_manifest(tmp_path / "jetson").status == "rejected"
    assert read_manifest(tmp_path / "raspberry-pi-5").status == "verified"
    assert "1 verified, 1 rejected" in (tmp_path / "index.md").read_text()


@pytest.mark.parametrize(("tensorrt", "capability"), [(False, None), (True, "9.0")])
def test_engine_options_are_said_to_come_to_nothing_where_no_engine_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tensorrt: bool, capability: str | None
) -> None:
    machine(monkeypatch, tensorrt=tensorrt, capability=capability)
    options = ["--workspace", "1GiB", "--timing-caches", str(tmp_path / "timings")]
    arguments = ["--device", "jetson", "--device", "cpu", "--max-macs", "1M", "--profile-seconds", "0"]
    done = CliRunner().invoke(app, [*arguments, *options, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "warning: --workspace, --timing-caches: without effect, since no engine is built on this" in done.stderr
    assert not (tmp_path / "timings").exists()


@pytest.mark.parametrize("batches", ["1,2", "1,b,3", "4,2,8", "0,1,1", "-1,1,1"])
def test_batches_that_cannot_be(tmp_path: Path, batches: str) -> None:
    done = CliRunner().invoke(app, ["--device", "jetson", "--out", str(tmp_path / "out"), "--engine-batches", batches])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "batch" in done.stderr


@pytest.mark.parametrize(("option", "value"), [("--workspace", "1kB"), ("--workspace", "much")])
def test_a_workspace_that_cannot_be(tmp_path: Path, option: str, value: str) -> None:
    done = CliRunner().invoke(app, ["--device", "jetson", "--out", str(tmp_path / "out"), option, value])
    assert done.exit_code == 1
    assert "workspace" in done.stderr
