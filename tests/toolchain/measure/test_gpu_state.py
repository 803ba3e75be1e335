"""The state of a GPU: of a card by a stand-in for nvidia-smi, of a Jetson by trees of files."""

import stat
import sys
from pathlib import Path

import pytest
from board_files import write

from fednas.latency_tables import GpuState
from fednas.toolchain.measure.conditions import Watch
from fednas.toolchain.measure.gpu import read_gpu_state
from fednas.toolchain.measure.jetson import power_mode
from fednas.toolchain.measure.system_files import ROOT

CARD = "NVIDIA L4, 580.65.06, Enabled, 72.00, 2040, 1995, 61, P0"
"""As the queries up to the reasons are answered."""
STAND_IN = """#!{python}
import sys
query = next(option for option in sys.argv if option.startswith("--query-gpu="))
assert sys.argv[2:] == ["--format=csv,noheader,nounits", "--id=0"], sys.argv
if {unknown!r} and {unknown!r} in query:
    print('Field "{unknown}" is not a valid field to query.')
    sys.exit(2)
print({answer!r})
"""


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, unknown: str = "") -> None:
    """Put a stand-in with this answer into PATH, which does not know one of the fields."""
    program = folder / "nvidia-smi"
    program.write_text(STAND_IN.format(python=sys.executable, unknown=unknown, answer=answer))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("unknown", ["", "clocks_event_reasons"], ids=["since 535", "before"])
def test_a_card_says_its_settings_and_what_slows_it(
    unknown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0x24: the power limit and the driver's own limit of heat.
    nvidia_smi(tmp_path, monkeypatch, f"{CARD}, 0x0000000000000024", unknown)
    assert read_gpu_state(ROOT, name="NVIDIA L4") == GpuState(
        driver="580.65.06",
        persistence=True,
        power_limit_w=72.0,
        max_mhz=2040.0,
        current_mhz=1995.0,
        temperature_c=61.0,
        performance_state="P0",
        slowed_by=("its power limit", "heat (software)"),
    )


def test_what_a_card_does_not_say_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(
        tmp_path, monkeypatch, "GeForce, 470.1, [N/A], [Not Supported], [N/A], [N/A], 40, [Unknown Error], [N/A]"
    )
    assert read_gpu_state(ROOT) == GpuState(driver="470.1", temperature_c=40.0)


@pytest.mark.parametrize("answer", ["", "No devices were found", f"{CARD}"], ids=["nothing", "no card", "cut off"])
def test_answers_that_are_none(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, answer)
    assert read_gpu_state(ROOT) is None


def test_another_card_than_the_one_that_measures_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, f"{CARD}, 0x0")
    assert read_gpu_state(ROOT, name="NVIDIA T400") is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert read_gpu_state(ROOT, name="NVIDIA L4") is None


@pytest.mark.parametrize("folder", ["17000000.gpu", "17000000.ga10b", "gpu-gpc-0"])
def test_a_jetson_says_its_clocks_its_release_and_its_heat(folder: str, tmp_path: Path) -> None:
    zones = "sys/class/thermal/thermal_zone"
    files = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
        f"sys/class/devfreq/{folder}/cur_freq": 918000000,
        f"sys/class/devfreq/{folder}/min_freq": 306000000,
        f"sys/class/devfreq/{folder}/max_freq": 1020000000,
        f"{zones}0/type": "cpu-thermal",
        f"{zones}0/temp": 70000,
        f"{zones}1/type": "gpu-thermal",
        f"{zones}1/temp": 55500,
    }
    expected = GpuState(driver="L4T 36.4.3", min_mhz=306.0, max_mhz=1020.0, current_mhz=918.0, temperature_c=55.5)
    assert read_gpu_state(write(tmp_path, files)) == expected


def test_a_machine_without_either_says_nothing(tmp_path: Path) -> None:
    assert read_gpu_state(tmp_path) is None


def test_nvpmodel_is_asked_where_its_file_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvpmodel"
    program.write_text(f"#!{sys.executable}\nprint('NV Power Mode: MAXN_SUPER')\nprint(2)\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("fednas.toolchain.measure.jetson.STATUS", "no/such/file")
    assert power_mode(ROOT) == "MAXN_SUPER"


def test_the_watch_keeps_what_it_saw_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_EVERY_S", "GPU_LOOK_EVERY_S"):
        monkeypatch.setattr(f"fednas.toolchain.measure.conditions.{name}", -1.0)
    states = iter([(1980.0, ()), (1410.0, ("heat (software)",)), (1500.0, ("heat (software)", "its power limit"))])

    def read() -> GpuState:
        clock, causes = next(states)
        return GpuState(current_mhz=clock, temperature_c=clock / 20, slowed_by=causes)

    monkeypatch.setattr("fednas.toolchain.measure.conditions.GPU_LOOK_SHARE", 1e9)
    watch = Watch(root=tmp_path, gpu=read)
    for _ in range(3):
        watch.look()
    seen = watch.conditions()
    assert (seen.gpu_low_mhz, seen.gpu_high_mhz, seen.gpu_hottest_c) == (1410.0, 1980.0, 99.0)
    assert seen.gpu_slowed_by == ("heat (software)", "its power limit")


def test_a_slow_answer_is_asked_for_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.conditions.LOOK_EVERY_S", -1.0)
    seconds = iter(range(0, 1000, 5))
    monkeypatch.setattr("fednas.toolchain.measure.conditions.time.monotonic", lambda: next(seconds))
    asked: list[None] = []
    watch = Watch(root=tmp_path, gpu=lambda: asked.append(None))
    for _ in range(20):  # each look takes five seconds by this clock, and an answer five more
        watch.look()
    assert len(asked) == 1
