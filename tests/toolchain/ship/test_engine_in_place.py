"""When the main job builds a TensorRT engine itself, and when it leaves that to the board."""

from pathlib import Path

import pytest

from fednas.export import EngineFile, EngineOptions, TensorRTStatus
from fednas.profiles import find_profile
from fednas.toolchain.doctor import Gpu
from fednas.toolchain.ship import engine as ship_engine


def machine(monkeypatch: pytest.MonkeyPatch, *, tensorrt: bool, capability: str | None) -> list[tuple[Path, str]]:
    """Pretend to be a machine; the engines it builds are recorded as (plan, precision)."""
    built: list[tuple[Path, str]] = []
    reasons = () if tensorrt else ("The Python module tensorrt cannot be imported.",)

    def build(model: Path, plan: Path, options: EngineOptions) -> EngineFile:
        built.append((plan, options.precision))
        return EngineFile(
            path=plan, size_bytes=1, sha256="0", tensorrt_version="10.3", strongly_typed=True, builder_flags=()
        )

    monkeypatch.setattr(ship_engine, "tensorrt_status", lambda: TensorRTStatus(version="10.3", gpus=1, reasons=reasons))
    monkeypatch.setattr(ship_engine, "nvidia_gpu", lambda: Gpu(name="GPU", compute_capability=capability))
    monkeypatch.setattr(ship_engine, "engine_from_onnx", build)
    return built


@pytest.mark.parametrize(
    ("device", "tensorrt", "capability", "built", "says"),
    [
        pytest.param("jetson", True, "8.7", True, "built here with TensorRT 10.3; neither its parity", id="the board"),
        pytest.param("jetson", True, None, True, "built here", id="a board without nvidia-smi"),
        pytest.param("jetson", True, "9.0", False, "this GPU has capability 9.0, the device 8.7", id="another GPU"),
        pytest.param("jetson", False, "8.7", False, "", id="no TensorRT"),
        pytest.param("cpu", True, "8.7", False, "", id="no TensorRT device"),
    ],
)
def test_an_engine_is_built_only_on_the_devices_own_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, tensorrt: bool, capability: str | None, built: bool, says: str
) -> None:
    engines = machine(monkeypatch, tensorrt=tensorrt, capability=capability)
    said = ship_engine.build_engine_here(Path("model.fp32.onnx"), find_profile(device), "fp32")
    assert engines == ([(Path("model.fp32.plan"), "fp32")] if built else [])
    assert says in " ".join(said)
    assert bool(said) == bool(says)
