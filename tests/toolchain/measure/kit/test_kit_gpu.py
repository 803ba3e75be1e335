"""The state of the GPU in kits for TensorRT: read beside the readings, and taken home as a stranger's word."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from board_stand_ins import python_of, run, stand_in_nvidia_smi, stand_in_onnxruntime, stand_in_trtexec
from results_changes import GPU, Change, Document, changed, set_key
from stand_in_cuda import stand_in_tensorrt

from fednas.common import FednasError
from fednas.latency_tables import GpuState
from fednas.toolchain.measure.kit import read_results
from fednas.toolchain.measure.kit.board import gpu as board_gpu
from fednas.toolchain.measure.kit.board import power
from fednas.toolchain.measure.kit.board.gpu import GpuReading, GpuWatch, gpu_words
from fednas.toolchain.measure.kit.board.state import BoardReader
from fednas.toolchain.measure.unfit import sitting_remarks

MakeKit = Callable[..., Path]
CARD = "NVIDIA L4, 580.65.06, Enabled, 72.00, 2040, 1995, 61, P0, 0x0000000000000004"
HOT = CARD.replace("0004", "0020")
STATE = GpuState(**{name: value for name, value in GPU.items() if name != "name"} | {"slowed_by": ("its power limit",)})


def environment(folder: Path, answer: str) -> dict[str, str]:
    """A board with trtexec 10.3 and a card that answers so."""
    found = stand_in_trtexec(folder, "100300")
    stand_in_nvidia_smi(folder, answer)
    return found


@pytest.fixture(scope="module")
def measured(kits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Results of a card at its power limit."""
    kit = tmp_path_factory.mktemp("kit") / "measured"
    shutil.copytree(kits["tensorrt"], kit)
    done = run(kit, environment=environment(tmp_path_factory.mktemp("installed"), CARD))
    assert (done.returncode, done.stderr) == (0, "")
    return (kit / "results.json").read_bytes()


def test_clocks_heat_and_what_slows_the_card_come_home(measured: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(measured)
    found = read_results(path)
    assert (found.before.gpu, found.before.gpu_state) == ("NVIDIA L4", STATE)
    assert (found.after.gpu, found.after.gpu_state) == ("NVIDIA L4", STATE)
    seen = found.conditions
    assert (seen.gpu_low_mhz, seen.gpu_high_mhz, seen.gpu_hottest_c) == (1995.0, 1995.0, 61.0)
    assert seen.gpu_slowed_by == ("its power limit",)
    assert not [remark for remark in sitting_remarks(found) if "GPU" in remark]


@pytest.mark.parametrize("version", ["3.6", "3.13"])
def test_a_card_that_heat_slowed_makes_the_board_unfit(version: str, make_kit: MakeKit, tmp_path: Path) -> None:
    kit = make_kit("tensorrt")
    done = run(kit, python=python_of(version), environment=environment(tmp_path / "installed", HOT))
    assert (done.returncode, done.stderr) == (0, "")
    remarks = list(sitting_remarks(read_results(kit / "results.json")))
    assert "the clock of the GPU was lowered by heat (software)" in remarks


def test_checking_shows_the_card_that_would_measure(make_kit: MakeKit, tmp_path: Path) -> None:
    done = run(make_kit("tensorrt"), "--check", environment=environment(tmp_path / "installed", CARD))
    assert "\ngpu        NVIDIA L4, driver 580.65.06, 1995 MHz, 61 C, 72 W at most\n" in done.stdout


@pytest.mark.parametrize("answer", ["No devices were found", CARD.replace("L4", "T4")], ids=["none", "another"])
def test_nothing_is_said_of_a_card_that_does_not_answer_or_does_not_measure(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_nvidia_smi(tmp_path, answer)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert GpuWatch("/", "NVIDIA L4").now() is None


def test_the_processor_is_measured_without_asking_for_a_card(make_kit: MakeKit, tmp_path: Path) -> None:
    kit, found = make_kit(), stand_in_onnxruntime(tmp_path / "installed")
    stand_in_nvidia_smi(tmp_path / "installed", CARD)
    assert run(kit, environment=found | {"PATH": f"{tmp_path / 'installed'}:{found['PATH']}"}).returncode == 0
    collected = read_results(kit / "results.json")
    assert (collected.before.gpu, collected.before.gpu_state, collected.conditions.gpu_high_mhz) == (None, None, None)


def test_a_library_that_does_not_name_its_gpu_leaves_that_to_the_driver(make_kit: MakeKit, tmp_path: Path) -> None:
    kit, found = make_kit("tensorrt"), stand_in_tensorrt(tmp_path / "installed")
    stand_in_nvidia_smi(tmp_path / "installed", CARD)
    done = run(kit, environment=found | {"PATH": f"{tmp_path / 'installed'}:{found['PATH']}"})
    assert (done.returncode, done.stderr) == (0, "")
    assert read_results(kit / "results.json").before.gpu == "NVIDIA L4"


def test_a_jetson_is_read_in_its_files_and_by_tegrastats(
    measured: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "SYSTEM", str(tmp_path))
    for name, content in {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
        "sys/class/devfreq/17000000.gpu/cur_freq": "918000000",
        "sys/class/devfreq/17000000.gpu/min_freq": "306000000",
        "sys/class/devfreq/17000000.gpu/max_freq": "1020000000",
        "sys/class/thermal/thermal_zone0/type": "gpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "55500",
    }.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    reader = BoardReader(None, GpuWatch(power.system(""), "Orin"))
    state, moment = reader.state(None)["gpu"], reader.moment(0, 1.0)
    expected: dict[str, Any] = {"driver": "L4T 36.4.3", "min_mhz": 306.0, "max_mhz": 1020.0}
    expected |= {"current_mhz": 918.0, "temperature_c": 55.5}
    assert {key: value for key, value in state.items() if value} == expected
    assert (moment["gpu_mhz"], moment["gpu_c"], reader.gpu_slowed_by()) == (918.0, 55.5, [])

    def on_a_jetson(document: Document) -> None:
        for sitting in document["sittings"]:
            sitting["before"]["gpu"], sitting["after"]["gpu"] = state, state
            sitting["around"]["gpu_slowed_by"] = []
        row = {"source": "tegrastats", "group": 0, "elapsed_s": 0.1, "rails_w": {}, "cpu_mhz": None, "gpu_load": 0.5}
        row |= {"zones_c": {"gpu": 71.5, "cpu": 90.0}, "gpu_mhz": 612.0, "memory_mhz": None, "memory_load": None}
        document["power"] = [row, row | {"gpu_mhz": 0.0}]

    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, on_a_jetson))
    found = read_results(path)
    assert found.before.gpu_state == GpuState(**expected)
    assert (found.conditions.gpu_low_mhz, found.conditions.gpu_hottest_c) == (612.0, 71.5)


def test_a_slow_card_is_asked_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [100.0], []

    def slowly(_root: str, _name: str | None) -> GpuReading:
        now[0] += 1.0
        asked.append(now[0])
        return GpuReading(None, None, None, None, None, None, 1.0, None, None, ("heat (software)",))

    monkeypatch.setattr(board_gpu, "read_gpu", slowly)
    monkeypatch.setattr(board_gpu, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    watch = GpuWatch("/", None)
    for _ in range(60):
        watch.look()
        now[0] += 1.0
    assert asked == [101.0, 152.0]  # a fiftieth of the time
    assert watch.slowed_by == ["heat (software)"]
    assert gpu_words(slowly("/", None)) == "1 MHz"


BEFORE = ("sittings", 0, "before", "gpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_key(*BEFORE, "current_mhz", to=-1.0), r"Expected float > 0.0 \(key sittings.*before.gpu.current_mhz"),
        (set_key(*BEFORE, "temperature_c", to=1e9), "Expected float <= 300"),
        (set_key(*BEFORE, "driver", to="\x1b[2J"), "Expected str matching regex|text without control"),
        (set_key(*BEFORE, "driver", to="x" * 400), "Expected str of length <= 300"),
        (set_key(*BEFORE, "slowed_by", to=["a gnome"]), "must be one of its power limit, the hardware|matching regex"),
        (set_key(*BEFORE, "slowed_by", to=["the hardware"] * 9), "Expected array of length <= 6"),
        (set_key(*BEFORE, "rm", to="-rf"), r"unknown key 'rm'.*before.gpu"),
        (set_key(*BEFORE, to={}), "missing key name"),
        (set_key("sittings", 0, "around", "gpu_slowed_by", to=["a gnome"]), "one of its power limit|matching regex"),
        (set_key("moments", 0, "gpu_mhz", to=0.0), "Expected float > 0.0"),
        (set_key("moments", 0, "gpu_c", to=-400), "Expected float >= -100"),
        (set_key("settings", "gpu", to="NVIDIA T4"), "name 2 GPUs: NVIDIA L4 and NVIDIA T4"),
    ],
)
def test_edited_words_about_a_gpu_are_refused(change: Change, message: str, measured: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, change))
    with pytest.raises(FednasError, match=message) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)


def test_sittings_of_two_drivers_are_no_one_run(measured: bytes, tmp_path: Path) -> None:
    def again(document: Document) -> None:
        second: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document["sittings"][0]))
        second["before"]["gpu"]["driver"] = "535.1"
        document["sittings"].append(second)

    path = tmp_path / "results.json"
    path.write_bytes(changed(measured, again))
    with pytest.raises(FednasError, match=r"gpu driver was 580.65.06, then 535.1 \(sitting 2\)"):
        read_results(path)
