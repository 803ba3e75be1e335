"""The machine at hand: arithmetic on what the system reports, never called more than assumed."""

import dataclasses

import pytest

from fednas.profiles import LocalMachine, find_profile, this_machine
from fednas.profiles.local_machine import peaks_of, with_local_facts

MACHINE = LocalMachine(
    model="test",
    threads=8,
    threads_per_core=2,
    clock_ghz=2.5,
    clock_source="test",
    features=frozenset({"avx2", "fma", "sse2"}),
    vendor="GenuineIntel",
    memory_bytes=None,
)


@pytest.mark.parametrize(
    ("features", "vendor", "macs_per_clock"),
    [
        pytest.param({"sse2", "avx2", "fma"}, "GenuineIntel", 16, id="AVX2"),
        pytest.param({"sse2", "avx2", "fma", "avx512f"}, "GenuineIntel", 32, id="AVX-512"),
        pytest.param({"sse2", "avx2", "fma", "avx512f"}, "AuthenticAMD", 16, id="AVX-512 at half rate"),
        pytest.param({"asimd", "asimddp"}, "", 8, id="Cortex-A76 and later"),
        pytest.param({"asimd"}, "", 4, id="Cortex-A72"),
        pytest.param({"sse2"}, "", 4, id="old x86"),
    ],
)
def test_the_peak_is_cores_times_clock_times_lanes(features: set[str], vendor: str, macs_per_clock: int) -> None:
    machine = dataclasses.replace(MACHINE, features=frozenset(features), vendor=vendor)
    peak = peaks_of(machine)["fp32"]
    assert peak.value == pytest.approx(4 * 2.5 * macs_per_clock / 1e3)  # 8 threads are 4 cores
    assert peak.evidence == "assumed"
    assert "4 cores x 2.50 GHz" in peak.source


def test_int8_has_a_peak_only_with_dot_products() -> None:
    assert "int8" not in peaks_of(MACHINE)
    peaks = peaks_of(dataclasses.replace(MACHINE, features=MACHINE.features | {"avx_vnni"}))
    assert peaks["int8"].value == pytest.approx(4 * peaks["fp32"].value)


@pytest.mark.parametrize("change", [{"clock_ghz": None}, {"features": frozenset()}], ids=["clock", "features"])
def test_an_unreadable_machine_has_no_peak_and_says_so(change: dict[str, object]) -> None:
    machine = dataclasses.replace(MACHINE, **change)  # type: ignore[arg-type]
    profile = with_local_facts(find_profile("cpu"), machine)
    assert profile.peak_tera_macs_per_s == {}
    assert "no peak is known" in profile.notes[-1]


def test_this_machine_can_be_read() -> None:
    machine = this_machine()
    assert machine.threads >= machine.cores >= 1
    assert find_profile("cpu").title.startswith("this machine: ")
