"""One code path for six versions of TensorRT, each restricted to the members that it really has."""

import ctypes
import re
import sys
from pathlib import Path

import pytest
from fake_tensorrt import PLAN, VERSIONS, Recording, fake_tensorrt
from small_network import METADATA, Trained

from fednas.common import FednasError
from fednas.export import (
    BatchRange,
    EngineOptions,
    engine_from_onnx,
    onnx_from_module,
    tensorrt_status,
)
from fednas.export.board import cudart
from fednas.export.board.timing_key import TimingKey, timing_cache_name


@pytest.fixture
def model(trained: Trained, tmp_path: Path) -> Path:
    return onnx_from_module(trained.network, tmp_path / "model.onnx", opset=17, metadata=METADATA).path


def install(monkeypatch: pytest.MonkeyPatch, version: str) -> Recording:
    module, recording = fake_tensorrt(version)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return recording


def test_all_six_recorded_versions_are_tested() -> None:
    assert VERSIONS == ["10.13.3.9", "10.16.1.11", "10.3.0", "11.0.0.114", "11.4.0.106", "8.6.1"]


# Bit 0 is EXPLICIT_BATCH up to 10; STRONGLY_TYPED is bit 1 in 10 and bit 0 in 11.
@pytest.mark.parametrize(
    ("version", "network_flags", "strongly_typed"),
    [
        ("8.6.1", 0b01, False),
        ("10.3.0", 0b11, True),
        ("10.13.3.9", 0b11, True),
        ("10.16.1.11", 0b11, True),
        ("11.0.0.114", 0b01, True),
        ("11.4.0.106", 0b01, True),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_flags_are_exactly_those_of_the_version(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    network_flags: int,
    strongly_typed: bool,
    precision: str,
) -> None:
    recording = install(monkeypatch, version)
    plan = model.with_suffix(".plan")
    engine = engine_from_onnx(model, plan, EngineOptions(precision=precision))
    weak = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}[precision]
    assert recording.network_flags == network_flags
    assert recording.builder_flags == list(() if strongly_typed else weak)
    assert (engine.strongly_typed, engine.builder_flags) == (strongly_typed, () if strongly_typed else weak)
    assert (engine.tensorrt_version, engine.size_bytes) == (version, len(PLAN))
    assert plan.read_bytes() == PLAN
    assert recording.parser_alive_at_build == [True]


@pytest.mark.parametrize("version", VERSIONS)
def test_settings_and_shapes(model: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    recording = install(monkeypatch, version)
    options = EngineOptions(
        batches=BatchRange(smallest=1, tuned=4, largest=16), workspace_bytes=2**20, optimization_level=5
    )
    engine_from_onnx(model, model.with_suffix(".plan"), options)
    assert recording.profiles == [("input", (1, 1, 8, 8), (4, 1, 8, 8), (16, 1, 8, 8))]
    assert recording.settings["WORKSPACE"] == 2**20
    assert recording.settings["builder_optimization_level"] == 5
    assert recording.settings["profiling_verbosity"].name == "DETAILED"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_timing_cache_is_read_and_written(model: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    recording = install(monkeypatch, version)
    monkeypatch.setattr(cudart, "_open_cudart", lambda: recording.cuda)
    options = EngineOptions(timing_caches=model.parent)
    engine_from_onnx(model, model.with_suffix(".plan"), options)
    assert recording.given_cache == b""
    (cache,) = model.parent.glob("*.cache")
    assert re.fullmatch(rf"timing-{re.escape(version)}-sm87-[0-9a-f]{{12}}\.cache", cache.name)
    engine_from_onnx(model, model.with_suffix(".plan"), options)
    assert recording.given_cache == b"new timings"
    # Another optimisation level times other kernels, so it starts a cache of its own.
    engine_from_onnx(model, model.with_suffix(".plan"), EngineOptions(timing_caches=model.parent, optimization_level=5))
    assert recording.given_cache == b""
    assert len(list(model.parent.glob("*.cache"))) == 2
    recording.cache_fits = False
    with pytest.raises(FednasError, match="belongs to another TensorRT version or GPU; delete it"):
        engine_from_onnx(model, model.with_suffix(".plan"), options)


def test_every_part_of_the_key_names_another_cache() -> None:
    key = TimingKey("10.3.0", "Orin", "8.7", "12.6", "12.6", 512, 3, "fp32", True)
    others = [
        key._replace(**{field: "other" if isinstance(value, str) else 7}) for field, value in key._asdict().items()
    ]
    assert len({timing_cache_name(each) for each in (key, *others)}) == 1 + len(others) == 10


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_parser_says_reaches_the_user(model: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    recording = install(monkeypatch, version)
    recording.parse_errors = ["No importer registered for op: Foo", "second\nline"]
    with pytest.raises(FednasError, match=f"TensorRT {version} cannot parse .*op: Foo; second line"):
        engine_from_onnx(model, model.with_suffix(".plan"))
    assert not model.with_suffix(".plan").exists()


@pytest.mark.parametrize("version", VERSIONS)
def test_no_engine_is_an_error_and_writes_nothing(model: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    recording = install(monkeypatch, version)
    recording.plan = None
    recording.log_on_build = ["Could not find any implementation for node Conv_0"]
    monkeypatch.setattr(cudart, "_open_cudart", lambda: recording.cuda)
    with pytest.raises(FednasError, match=r"could not build an engine of .*any implementation for node Conv_0"):
        engine_from_onnx(model, model.with_suffix(".plan"), EngineOptions(timing_caches=model.parent))
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]


def test_without_a_gpu_it_says_what_tensorrt_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0").starts = False
    with pytest.raises(FednasError, match=r"cannot start here: CUDA initialization failure.*needs an NVIDIA GPU"):
        engine_from_onnx(model, model.with_suffix(".plan"))


def test_without_the_module_the_ways_out_are_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(FednasError, match=r"pip install tensorrt.*board_check\.py on the board"):
        engine_from_onnx(model, model.with_suffix(".plan"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"precision": "fp61"}, "unknown precision 'fp61'; did you mean fp16"),
        ({"optimization_level": 6}, "level 0 to 5"),
        ({"workspace_bytes": 0}, "at least 1 MiB"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(FednasError, match=complaint):
        EngineOptions(**options)


class Driver:
    """Answers like libcuda."""

    def __init__(self, error: int, count: int) -> None:
        self.cuInit = lambda _flags: error
        self.cuDeviceGetCount = lambda pointer: setattr(pointer._obj, "value", count) or 0


class TestStatus:
    def test_nothing_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(name: str) -> None:
            raise OSError(name)

        monkeypatch.setitem(sys.modules, "tensorrt", None)
        monkeypatch.setattr(ctypes, "CDLL", missing)
        status = tensorrt_status()
        assert (status.can_build, status.version, status.gpus) == (False, None, 0)
        text = " ".join(status.sentences)
        assert "The Python module tensorrt cannot be imported" in text
        assert "the driver library libcuda.so.1 is not here" in text
        assert "board_check.py for the board" in text
        assert "never run on TensorRT itself" in text

    def test_a_driver_without_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, "10.3.0")
        monkeypatch.setattr(ctypes, "CDLL", lambda _name: Driver(100, 0))
        status = tensorrt_status()
        assert (status.can_build, status.version) == (False, "10.3.0")
        assert status.reasons == ("No NVIDIA GPU can be used: the driver reports error 100.",)

    def test_all_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, "10.3.0")
        monkeypatch.setattr(ctypes, "CDLL", lambda _name: Driver(0, 2))
        status = tensorrt_status()
        assert (status.can_build, status.gpus) == (True, 2)
        assert status.sentences[0] == "TensorRT 10.3.0 and 2 GPU(s): engines can be built here."
