"""Whose readings those of this machine are."""

from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.profiles import find_profile
from fednas.toolchain.measure import here, profile_space, require_this_machine
from fednas.toolchain.space import SearchSpace

OWN = """\
schema = 1
family = "my-boards"

[[device]]
name = "door-camera"
title = "Door camera"
processor = "cpu"
runtime = "ncnn"
runtime_version = "1.0"
onnx_opset = 17
precisions = ["fp32"]
"""


def test_the_processor_of_this_machine_is_at_hand() -> None:
    require_this_machine(find_profile("cpu"))
    with pytest.raises(FednasError, match="not intel-n100; run this command on the Intel N100 itself"):
        require_this_machine(find_profile("intel-n100"))


def test_a_profile_of_the_users_own_is_believed_whatever_its_runtime(tmp_path: Path) -> None:
    (tmp_path / "camera.toml").write_text(OWN)
    require_this_machine(find_profile("door-camera", tmp_path))


@pytest.mark.parametrize(
    ("device", "gpu", "complaint"),
    [
        ("nvidia-h100", "NVIDIA H100 80GB HBM3", None),
        ("nvidia-l4", "NVIDIA L4", None),
        ("nvidia-l4", "NVIDIA L40", "this machine is not nvidia-l4: its GPU is 'NVIDIA L40'"),
        ("nvidia-l4", None, "no NVIDIA GPU answers here, so this is not nvidia-l4"),
        ("jetson", "Orin", "does not look like jetson-orin-nano"),
        ("cpu", "NVIDIA L4", "cpu is no GPU"),
    ],
)
def test_a_gpu_must_show_in_what_its_driver_says(
    device: str, gpu: str | None, complaint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "gpu_name", lambda: gpu)
    if complaint is None:
        require_this_machine(find_profile(device), on_gpu=True)
        return
    with pytest.raises(FednasError, match=complaint):
        require_this_machine(find_profile(device), on_gpu=True)


def test_a_gpu_is_not_measured_by_a_runtime_of_the_processor(tiny_space: SearchSpace) -> None:
    with pytest.raises(FednasError, match="nvidia-l4 runs tensorrt on its gpu, which cannot be measured"):
        profile_space(tiny_space, find_profile("nvidia-l4"))


def test_runtimes_of_whole_networks_need_the_plan_for_them(
    tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "gpu_name", lambda: "NVIDIA L4")
    with pytest.raises(FednasError, match="trtexec times whole networks only, not single blocks; use --plan network"):
        profile_space(tiny_space, find_profile("nvidia-l4"), runtime="trtexec")
