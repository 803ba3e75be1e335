"""The built-in devices: complete, sourced, and equal to values worked out by hand."""

import subprocess
import sys

import pytest

from fednas.common import FednasError
from fednas.profiles import EVIDENCE, DeviceProfile, Figure, find_profile, load_profiles

WANTED = {
    "cpu",
    "jetson-nano",
    "jetson-tx2",
    "jetson-xavier-nx",
    "jetson-agx-xavier",
    "jetson-orin-nano",
    "jetson-orin-nx",
    "jetson-agx-orin",
    "jetson-thor",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "intel-n100",
    "nvidia-l4",
    "nvidia-h100",
}


def figures_of(profile: DeviceProfile) -> list[Figure]:
    return [*profile.peak_tera_macs_per_s.values(), *([profile.dram_gb_per_s] if profile.dram_gb_per_s else [])]


def test_all_wanted_devices_are_there_and_the_local_one_stands_first() -> None:
    profiles = load_profiles()
    assert set(profiles) >= WANTED
    assert next(iter(profiles)) == "cpu"


@pytest.mark.parametrize("profile", load_profiles().values(), ids=lambda profile: profile.name)
def test_every_fact_is_sane_and_sourced(profile: DeviceProfile) -> None:
    assert profile.origin == "built-in"
    assert profile.precisions[0] == "fp32"
    # TensorRT 8.2 reads up to opset 13; everything else we know reads 17.
    assert profile.onnx_opset == (13 if profile.runtime_version == "8.2" else 17)
    for figure in figures_of(profile):
        assert figure.evidence in EVIDENCE
        assert len(figure.source) > 5
    # FLOPS were halved, so no peak can be a number that a data sheet states.
    assert {figure.evidence for figure in profile.peak_tera_macs_per_s.values()} <= {"derived", "assumed"}
    assert bool(profile.memory_source) == (profile.memory_bytes is not None)
    assert profile.dram_gb_per_s is not None
    if profile.name != "cpu":  # the peak of this machine may be unknown
        assert "fp32" in profile.peak_tera_macs_per_s
    if profile.tensorrt is not None:
        assert profile.tensorrt.version == profile.runtime_version
        assert profile.tensorrt.strong_typing == (int(profile.runtime_version.split(".")[0]) >= 10)
        assert len(profile.tensorrt.source) > 5


def test_no_name_or_alias_means_two_devices() -> None:
    names = [name for profile in load_profiles().values() for name in (profile.name, *profile.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "precision", "tera_macs"),
    [
        # FLOP a clock and SM x SMs x GHz / 2, by hand.
        pytest.param("jetson-nano", "fp32", 256 * 1 * 0.9216e-3 / 2, id="Nano fp32"),
        pytest.param("jetson-xavier-nx", "int8", 2048 * 6 * 1.1e-3 / 2, id="Xavier NX int8"),
        pytest.param("jetson", "fp16", 2048 * 8 * 1.02e-3 / 2, id="Orin Nano Super fp16"),
        pytest.param("jetson-agx-orin", "int8", 4096 * 16 * 1.3e-3 / 2, id="AGX Orin int8"),
        pytest.param("raspberry-pi-4", "fp32", 4 * 1.8 * 8 / 2e3, id="Pi 4 fp32"),
        pytest.param("intel-n100", "fp32", 4 * 3.4 * 16 / 2e3, id="N100 fp32"),
        pytest.param("nvidia-h100", "fp16", 1979 / 4, id="H100 fp16"),
    ],
)
def test_peaks_equal_hand_worked_values(name: str, precision: str, tera_macs: float) -> None:
    assert find_profile(name).peak_tera_macs_per_s[precision].value == pytest.approx(tera_macs, rel=5e-3)


def test_what_a_device_cannot_do_is_not_claimed() -> None:
    assert find_profile("jetson-nano").precisions == ("fp32", "fp16")
    assert find_profile("jetson-tx2").precisions == ("fp32", "fp16")
    assert find_profile("rpi4").precisions == ("fp32", "int8")
    assert "int8" not in find_profile("rpi4").peak_tera_macs_per_s
    assert find_profile("jetson-thor").peak_tera_macs_per_s["int8"].evidence == "assumed"


def test_aliases_lead_to_their_device() -> None:
    assert find_profile("jetson").name == "jetson-orin-nano"
    assert find_profile("server-gpu").name == "nvidia-l4"


@pytest.mark.parametrize("typo", ["jetsn", "rasberry-pi-5", "CPU"])
def test_an_unknown_device_gets_the_nearest_names(typo: str) -> None:
    near = {"jetsn": "jetson", "rasberry-pi-5": "raspberry-pi-5", "CPU": ""}[typo]
    message = f"unknown device '{typo}'.*{near}.*known: cpu, intel-n100.*fednas-export devices"
    with pytest.raises(FednasError, match=message):
        find_profile(typo)


def test_profiles_load_without_heavy_packages() -> None:
    code = (
        "import sys; from fednas.profiles import load_profiles; load_profiles();"
        "print([m for m in ('numpy', 'scipy', 'torch', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
