"""tegrastats beside the readings: its lines from JetPack 4 to 7, and programs of that name that behave badly."""

import json
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from board_stand_ins import PYTHONS, command, python_of, run, stand_in_onnxruntime
from processes import all_ended, runs

from fednas.toolchain.measure.kit import read_kit, read_results
from fednas.toolchain.measure.kit.board import energy, power
from fednas.toolchain.measure.kit.board.power import total_power
from fednas.toolchain.measure.kit.board.tegrastats import Tegrastats, tegra_line

MakeKit = Callable[..., Path]

# As jetson_stats, NVIDIA's forum and its manuals show them; no Jetson was at hand.
LINES = {
    "JetPack 4, Nano": "RAM 1573/3956MB (lfb 211x4MB) SWAP 0/1978MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [12%@1190,off,3%@102,0%@102] EMC_FREQ 0% GR3D_FREQ 0% PLL@28C CPU@31C PMIC@100C GPU@28.5C thermal@29.75C "
    "POM_5V_IN 1602/1650 POM_5V_GPU 0/0 POM_5V_CPU 240/240",
    "JetPack 4, TX2": "RAM 1012/7851MB (lfb 1439x4MB) CPU [6%@345,off,off,8%@345] EMC_FREQ 4%@1866 GR3D_FREQ 0%@114 "
    "APE 150 MTS fg 0% bg 0% BCPU@31C PMIC@100C thermal@30.6C VDD_IN 1038/1134 VDD_CPU 229/229 VDD_WIFI 0/3",
    "JetPack 4, AGX Xavier": "RAM 1200/31919MB (lfb 7000x4MB) CPU [1%@1190,0%@1190,off,off] EMC_FREQ 0%@1600 "
    "GR3D_FREQ 12%@318 AO@31C GPU@31.5C Tboard@32C GPU 1155/1155 CPU 462/462 SOC 2309/2309 CV 0/0 SYS5V 2033/2033",
    "JetPack 5, AGX Orin": "11-22-2026 10:00:00 RAM 4722/30536MB (lfb 5412x4MB) CPU [0%@729,0%@729,off,off] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 0%@[305,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@45.5C tj@45.5C "
    "VDD_GPU_SOC 2400mW/2400mW VDD_CPU_CV 0mW/0mW VIN_SYS_5V0 3232mW/3232mW NC 0mW/0mW",
    "JetPack 6, Orin Nano": "11-22-2026 10:00:00 RAM 2432/7620MB (lfb 2x4MB) CPU [2%@1510,0%@729] EMC_FREQ 1%@2133 "
    "GR3D_FREQ 98%@1300 NVJPG1_FREQ @0 cpu@45.5C gpu@46.3C VDD_IN 4654mW/4700mW VDD_CPU_GPU_CV 529mW/529mW",
    "JetPack 7, AGX Orin": "11-22-2026 10:00:00 RAM 5000/62000MB (lfb 5x4MB) CPU [1%@2201,off] EMC_FREQ 3%@3199 "
    "GR3D_FREQ 12%@[1300,1300] cpu@52.968C VDD_GPU_SOC 5139mW/5139mW/5139mW VIN_SYS_5V0 4000mW/4000mW/4000mW",
    "JetPack 7, Thor": "11-22-2026 10:00:00 RAM 5000/125000MB (lfb 5x4MB) CPU [1%@2601,2%@2601] "
    "GR3D_FREQ @[1000,1000,990] cpu@52.968C VDD_GPU 3000mW/3000mW VDD_CPU_SOC_MSS 9000mW/9000mW",
}


@pytest.mark.parametrize(
    ("board", "watts", "rail", "hottest_c", "cpu_mhz", "gpu", "memory"),
    [
        ("JetPack 4, Nano", 1.602, "POM_5V_IN", 31.0, 464.67, (None, 0.0), (None, 0.0)),
        ("JetPack 4, TX2", 1.038, "VDD_IN", 31.0, 345.0, (114.0, 0.0), (1866.0, 0.04)),
        ("JetPack 4, AGX Xavier", 5.959, "CPU+CV+GPU+SOC+SYS5V", 32.0, 1190.0, (318.0, 0.12), (1600.0, 0.0)),
        ("JetPack 5, AGX Orin", 5.632, "VDD_CPU_CV+VDD_GPU_SOC+VIN_SYS_5V0", 45.5, 729.0, (305.0, 0.0), (2133.0, 0.0)),
        ("JetPack 6, Orin Nano", 4.654, "VDD_IN", 46.3, 1119.5, (1300.0, 0.98), (2133.0, 0.01)),
        ("JetPack 7, AGX Orin", 9.139, "VDD_GPU_SOC+VIN_SYS_5V0", 52.968, 2201.0, (1300.0, 0.12), (3199.0, 0.03)),
        ("JetPack 7, Thor", 12.0, "VDD_CPU_SOC_MSS+VDD_GPU", 52.968, 2601.0, (1000.0, None), (None, None)),
    ],
)
def test_the_lines_of_every_jetpack(
    board: str,
    watts: float,
    rail: str,
    hottest_c: float,
    cpu_mhz: float,
    gpu: tuple[float | None, float | None],
    memory: tuple[float | None, float | None],
) -> None:
    line = tegra_line(LINES[board])
    assert line is not None
    total = total_power(line.rails_w, "tegrastats")
    assert (round(total.watts, 6), total.source) == (watts, f"tegrastats {rail}")
    assert max(line.zones_c.values()) == hottest_c
    assert line.cpu_mhz == pytest.approx(cpu_mhz, abs=0.01)
    assert (line.gpu_mhz, line.gpu_load) == gpu
    assert (line.memory_mhz, line.memory_load) == memory


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RAM 1573/3956MB",
        "sudo: a password is required",
        "CPU [off,off]",
        "\ufffd" * 100,
        "x 1/" * 3000,
        "CPU [" * 900,
    ],
)
def test_lines_that_say_nothing(text: str) -> None:
    assert tegra_line(text) is None


def test_numbers_beyond_all_bounds_are_not_taken() -> None:
    line = tegra_line("cpu@9999999C VDD_IN 99999999999mW/1mW GR3D_FREQ 5%@123456789 gpu@50C " + "A 1/1 " * 100)
    assert line is not None
    assert line.zones_c == {"gpu": 50.0}
    assert line.rails_w == {"A": 0.001}
    assert line.gpu_mhz is None


def stand_in(folder: Path, script: str) -> Path:
    """A tegrastats that notes its process, and then does as told."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "tegrastats"
    program.write_text(f'#!/bin/sh\necho $$ $2 >> "{folder}/pids"\n{textwrap.dedent(script)}\n')
    program.chmod(0o755)
    return folder


def talking(line: str) -> str:
    return f"while true; do echo '{line}'; sleep 0.05; done"


BAD = {
    "hangs": "trap '' TERM INT HUP PIPE; while true; do sleep 1; done",
    "garbage": "while true; do printf 'x\\000\\377\\033[2Jxxxxxxxxx\\n'; sleep 0.01; done",
    "one endless line": "cat /dev/zero",
    "flood": "yes",
    "fails": "echo 'sudo: a password is required' >&2; exit 1",
    "ends": f"echo '{LINES['JetPack 6, Orin Nano']}'",
    "stops talking": f"echo '{LINES['JetPack 6, Orin Nano']}'; trap '' TERM INT HUP; sleep 1000",
}


@pytest.fixture
def board(tmp_path: Path) -> dict[str, str]:
    found = stand_in_onnxruntime(tmp_path / "installed")
    return found | {"PATH": f"{tmp_path / 'jetson'}:{found['PATH']}"}


@pytest.fixture
def hurried(make_kit: MakeKit) -> Path:
    """A kit whose script spends tenths of a second on energy."""
    script = make_kit() / "measure.py"
    text = script.read_text()
    for setting, hurried in (("STRETCH_S = 5.0", 0.3), ("LOOK_EVERY_S = 0.25", 0.05), ("FIRST_LINE_S = 2.0", 0.5)):
        assert f"\n{setting}\n" in text
        text = text.replace(f"\n{setting}\n", f"\n{setting.split()[0]} = {hurried}\n")
    script.write_text(text)
    return script.parent


def started_by(folder: Path) -> list[int]:
    return [int(line.split()[0]) for line in (folder / "jetson" / "pids").read_text().splitlines()]


@pytest.mark.parametrize(("version", "jetpack"), list(zip(PYTHONS, [*LINES, "JetPack 6, Orin Nano"], strict=True)))
def test_every_format_comes_home_and_every_python_takes_it(
    version: str, jetpack: str, hurried: Path, board: dict[str, str], tmp_path: Path
) -> None:
    line = tegra_line(LINES[jetpack])
    assert line is not None
    total = total_power(line.rails_w, "tegrastats")
    stand_in(tmp_path / "jetson", talking(LINES[jetpack]))
    done = run(hurried, python=python_of(version), environment=board)
    assert (done.returncode, done.stderr) == (0, "")
    assert all_ended(started_by(tmp_path))
    document = json.loads((hurried / "results.json").read_text())
    assert document["power"]
    assert document["power"][0]["source"] == "tegrastats"
    assert document["power"][0]["rails_w"] == line.rails_w
    state = document["sittings"][0]["before"]
    assert (state["power_w"], state["power_source"]) == total
    collected = read_results(hurried / "results.json", kit=read_kit(hurried))
    assert collected.conditions.energy is not None
    assert " ".join((collected.conditions.energy.source, collected.conditions.energy.rail)) == total.source
    assert collected.conditions.energy.busy_w == pytest.approx(total.watts)


def test_checking_shows_what_it_says(make_kit: MakeKit, board: dict[str, str], tmp_path: Path) -> None:
    stand_in(tmp_path / "jetson", talking(LINES["JetPack 6, Orin Nano"]))
    checked = run(make_kit(), "--check", environment=board)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "\npower      4.654 W\n" in checked.stdout
    assert all_ended(started_by(tmp_path))


@pytest.mark.parametrize("script", BAD.values(), ids=BAD.keys())
def test_a_program_that_behaves_badly_harms_nothing(
    script: str, hurried: Path, board: dict[str, str], tmp_path: Path
) -> None:
    stand_in(tmp_path / "jetson", script)
    done = run(hurried, environment=board)
    assert (done.returncode, done.stderr) == (0, "")
    assert all_ended(started_by(tmp_path))
    assert (hurried / "results.json").stat().st_size < 300_000
    collected = read_results(hurried / "results.json")
    assert collected.conditions.energy is None


@pytest.mark.parametrize(
    ("ending", "script"),
    [(signal.SIGINT, "hangs"), (signal.SIGTERM, "hangs"), (signal.SIGKILL, "hangs"), (signal.SIGINT, "talks")],
)
def test_it_ends_with_the_script_however_that_ends(
    ending: signal.Signals, script: str, make_kit: MakeKit, board: dict[str, str], tmp_path: Path
) -> None:
    stand_in(tmp_path / "jetson", BAD.get(script, talking(LINES["JetPack 6, Orin Nano"])))
    running = subprocess.Popen(
        command(make_kit(), "--seconds", 60), env=board, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert running.stdout is not None
    while not running.stdout.readline().startswith("round"):
        pass
    assert any(map(runs, started_by(tmp_path)))
    running.send_signal(ending)
    running.communicate()
    assert all_ended(started_by(tmp_path))


def test_it_ends_with_an_error_too(make_kit: MakeKit, board: dict[str, str], tmp_path: Path) -> None:
    stand_in(tmp_path / "jetson", talking(LINES["JetPack 6, Orin Nano"]))
    kit = make_kit()
    (kit / "readings.partial").write_text("{}\n")
    done = run(kit, environment=board)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert all_ended(started_by(tmp_path))


def test_it_is_noted_when_it_ends_before_the_readings_do(hurried: Path, board: dict[str, str], tmp_path: Path) -> None:
    stand_in(tmp_path / "jetson", f"echo '{LINES['JetPack 6, Orin Nano']}'; sleep 0.2")
    assert run(hurried, "--seconds", 0.8, environment=board).returncode == 0
    events = json.loads((hurried / "results.json").read_text())["events"]
    assert [event["what"] for event in events] == ["tegrastats ended"]


def test_rows_survive_a_resume(hurried: Path, board: dict[str, str], tmp_path: Path) -> None:
    stand_in(tmp_path / "jetson", talking(LINES["JetPack 6, Orin Nano"]))
    assert run(hurried, "--seconds", 0.2, environment=board).returncode == 0
    before = json.loads((hurried / "results.json").read_text())["power"]
    assert run(hurried, "--seconds", 0.4, environment=board).returncode == 0
    after = json.loads((hurried / "results.json").read_text())["power"]
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_the_systems_files_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sys/class/hwmon/hwmon0").mkdir(parents=True)
    (tmp_path / "sys/class/hwmon/hwmon0/power1_input").write_text("4000000")
    monkeypatch.setattr(power, "SYSTEM", str(tmp_path))
    monkeypatch.setenv("PATH", str(stand_in(tmp_path / "jetson", talking("VDD_IN 1mW/1mW"))))
    monkeypatch.setattr(energy, "STRETCH_S", 0.3)
    found = energy.energy_of(SimpleNamespace(call=lambda _times: time.sleep(0.01)), 1)
    assert found is not None
    assert (found["source"], found["busy_w"]) == ("hwmon power", 4.0)
    assert not (tmp_path / "jetson" / "pids").exists()


def test_lines_that_have_waited_for_minutes_are_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Engines take long to build, and nobody looks meanwhile: the pipe fills up and the program waits."""
    script = f"""
        for number in $(seq 700); do echo 'VDD_IN 1mW/1mW {"x" * 100}'; done
        while true; do echo 'VDD_IN 2000mW/2000mW'; sleep 0.05; done"""
    monkeypatch.setenv("PATH", f"{stand_in(tmp_path, script)}:/usr/bin:/bin")
    with Tegrastats(1000) as tegrastats:
        time.sleep(0.5)
        assert not tegrastats.look()
        time.sleep(0.3)
        found = tegrastats.power()
    assert found is not None
    assert found.watts == 2.0


def test_an_old_line_is_not_taken_for_what_is_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = f"{stand_in(tmp_path, BAD['stops talking'])}:/usr/bin:/bin"
    monkeypatch.setenv("PATH", path)
    with Tegrastats(100) as tegrastats:
        tegrastats.wait()
        assert tegrastats.power() is not None
        assert tegrastats.power(since_s=time.perf_counter()) is None
        time.sleep(0.35)
        assert tegrastats.power() is None
    assert not any(map(runs, [int(line.split()[0]) for line in (tmp_path / "pids").read_text().splitlines()]))
