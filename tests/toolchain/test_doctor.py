"""What doctor concludes from what it finds, for machines that are not at hand."""

import importlib.util
import stat
from pathlib import Path

import pytest

from fednas.profiles import find_profile
from fednas.toolchain import doctor
from fednas.toolchain.doctor import Gpu, device_path, nvidia_gpu, packages_of_project

NO_GPU = Gpu(name=None, compute_capability=None)


def test_every_requirement_of_the_project_is_named_with_its_extra() -> None:
    packages = {package.name: package for package in packages_of_project()}
    assert packages["onnxruntime"].extra == ""
    assert packages["onnxruntime"].wanted == ">=1.20"
    assert packages["onnxruntime"].version is not None
    assert packages["torch"].extra == "torch"
    assert {name: packages[name].extra for name in ("openvino", "ncnn", "pnnx")} == {
        "openvino": "openvino",
        "ncnn": "ncnn",
        "pnnx": "ncnn",
    }


def test_without_a_checkout_the_installed_package_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_checkout", lambda: tmp_path)
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["numpy>=2.0", 'ncnn>=1.0; extra == "ncnn"'])
    assert [(each.name, each.wanted, each.extra) for each in packages_of_project()] == [
        ("numpy", ">=2.0", ""),
        ("ncnn", ">=1.0", "ncnn"),
    ]


@pytest.mark.parametrize(
    ("device", "gpu", "can_build", "engine", "why"),
    [
        pytest.param("cpu", NO_GPU, False, None, "", id="cpu"),
        pytest.param("rpi5", NO_GPU, False, None, "latency must be measured on the device", id="another board"),
        pytest.param("jetson", NO_GPU, False, False, "built on the device: no TensorRT runs here", id="no GPU"),
        pytest.param("nvidia-l4", Gpu(name="L4", compute_capability="8.9"), True, True, "", id="the same GPU"),
        pytest.param(
            "jetson",
            Gpu(name="L4", compute_capability="8.9"),
            True,
            False,
            "built on the device: an engine fits one GPU, and the one here has capability 8.9",
            id="another GPU",
        ),
        pytest.param("jetson", NO_GPU, True, True, "", id="on a board without nvidia-smi"),
    ],
)
def test_what_can_be_done_for_a_device(device: str, gpu: Gpu, can_build: bool, engine: bool | None, why: str) -> None:
    path = device_path(find_profile(device), gpu, can_build)
    assert (path.engine, path.why) == (engine, why)
    assert path.measure == (device == "cpu")


def test_without_torch_nothing_is_exported_and_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    path = device_path(find_profile("cpu"), NO_GPU, False)
    assert (path.export, path.measure) == (False, True)
    assert path.why == "export needs torch: pip install 'fednas-export[torch]'"


@pytest.mark.parametrize(
    ("script", "gpu"),
    [
        pytest.param("echo 'NVIDIA L4, 8.9'", Gpu(name="NVIDIA L4", compute_capability="8.9"), id="one GPU"),
        pytest.param("echo 'no driver'; exit 9", NO_GPU, id="driver does not answer"),
        pytest.param("true", NO_GPU, id="no output"),
    ],
)
def test_the_drivers_tool_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, gpu: Gpu) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert nvidia_gpu() == gpu


@pytest.mark.parametrize(
    ("content", "processors"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None)], ids=str
)
def test_a_containers_limit_is_read(tmp_path: Path, content: str, processors: float | None) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert doctor._cpu_quota(tmp_path / "cpu.max") == processors


def test_each_runtime_is_said_to_run_or_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))
    runtimes = {runtime.name: runtime for runtime in doctor.diagnose().runtimes}
    assert runtimes["onnxruntime"].can_run
    assert runtimes["openvino"].why_not == "openvino is not installed; pip install 'fednas-export[openvino]'"
    assert all(runtime.evidence for runtime in runtimes.values())
