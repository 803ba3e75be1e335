"""Energy of an inference from power meters that are trees of files; no machine with a meter was at hand."""

import time
from pathlib import Path

import pytest
from board_files import write
from processes import all_ended

from fednas.toolchain.measure.kit.board import power as board_power
from fednas.toolchain.measure.power import CounterMeter, GaugeMeter, TegrastatsMeter, find_meter, measure_energy

RAPL = "sys/class/powercap/intel-rapl:{}/{}"
HWMON = "sys/class/hwmon/hwmon2/{}"


class Time:
    """A clock that stands still but for what is done."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(board_power, "SYSTEM", str(tmp_path))
    return tmp_path


def rapl(number: str, name: str, energy_uj: int) -> dict[str, object]:
    values = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": 1_000_000}
    return {RAPL.format(number, key): value for key, value in values.items()}


def jetson_rails(milliamperes: int) -> dict[str, object]:
    """An INA3221 of an Orin Nano at 5 V; its third channel is not connected."""
    rails = {1: "VDD_IN", 2: "VDD_CPU_GPU_CV", 3: "NC"}
    files: dict[str, object] = {HWMON.format("name"): "ina3221"}
    for channel, label in rails.items():
        files[HWMON.format(f"in{channel}_label")] = label
        files[HWMON.format(f"in{channel}_input")] = 5000
        files[HWMON.format(f"curr{channel}_input")] = milliamperes // channel
    return files


def test_a_machine_without_a_meter_has_none(machine: Path) -> None:
    assert find_meter(machine) is None


def test_the_rail_that_holds_all_others_is_taken(machine: Path) -> None:
    write(machine, jetson_rails(1200))
    meter = find_meter(machine)
    assert isinstance(meter, GaugeMeter)
    assert meter.rail == "VDD_IN"
    meter.start()
    assert meter.mean_w() is None
    meter.sample()
    write(machine, jetson_rails(1400))
    meter.sample()
    assert meter.mean_w() == pytest.approx(6.5)


def test_packages_are_counted_and_their_parts_are_not(machine: Path) -> None:
    write(
        machine, rapl("0", "package-0", 5) | rapl("0:0", "core", 5) | rapl("1", "package-1", 5) | rapl("2", "psys", 5)
    )
    meter = find_meter(machine)
    assert meter is not None
    assert (meter.source, meter.rail) == ("RAPL", "package-0+package-1")


def test_a_counter_that_only_root_may_read_is_no_meter(machine: Path) -> None:
    write(machine, rapl("0", "package-0", 5))
    (machine / RAPL.format("0", "energy_uj")).unlink()
    assert find_meter(machine) is None


def test_a_counter_that_is_full_starts_again(machine: Path) -> None:
    write(machine, rapl("0", "package-0", 900_000))
    clock = Time()
    meter = CounterMeter([machine / RAPL.format("0", "")], clock)
    meter.start()
    # 0.3 J up to the full mark of 1 J and beyond, then another 0.5 J, in 4 s.
    for energy_uj in (200_000, 700_000):
        clock.pass_by(2.0)
        write(machine, rapl("0", "package-0", energy_uj))
        meter.sample()
    assert meter.mean_w() == pytest.approx(0.8 / 4)


TEGRASTATS = """#!/bin/sh
echo $$ >> "{folder}/pids"
while true; do
    if test -e "{folder}/busy"; then echo 'VDD_IN 9000mW/5000mW'; else echo 'VDD_IN 4000mW/4000mW'; fi
    sleep 0.05
done
"""


def test_tegrastats_is_asked_where_the_files_say_nothing(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = machine / "tegrastats"
    program.write_text(TEGRASTATS.format(folder=machine))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{machine}:/usr/bin:/bin")
    meter = find_meter(machine)
    assert isinstance(meter, TegrastatsMeter)
    assert (meter.source, meter.rail) == ("tegrastats", "VDD_IN")

    def infer() -> None:
        (machine / "busy").touch()
        time.sleep(0.02)

    energy = measure_energy(meter, infer, stretch_s=0.6)
    assert energy is not None
    # The line that was under way when the work began may still say idle.
    assert (energy.idle_w, energy.busy_w) == (4.0, pytest.approx(9.0, abs=1.7))
    assert all_ended(int(line) for line in (machine / "pids").read_text().split())


def test_a_tegrastats_that_says_nothing_is_no_meter(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = machine / "tegrastats"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{machine}:/usr/bin:/bin")
    assert find_meter(machine) is None


def test_energy_of_an_inference_with_and_without_idle_power() -> None:
    clock = Time()
    drawn_w = 4.0

    def infer() -> None:
        nonlocal drawn_w
        drawn_w = 6.0
        clock.pass_by(0.02)

    meter = GaugeMeter("board sensor", "VDD_IN", lambda: drawn_w)
    energy = measure_energy(meter, infer, stretch_s=5.0, clock=clock, sleep=clock.pass_by)
    assert energy is not None
    assert (energy.idle_w, energy.busy_w, energy.rail) == (4.0, 6.0, "VDD_IN")
    assert energy.inferences == pytest.approx(250, abs=1)
    assert energy.millijoules == pytest.approx(6.0 * 20)
    assert energy.millijoules_above_idle == pytest.approx(2.0 * 20)


def test_a_meter_that_sees_no_difference_gives_zero_above_idle() -> None:
    clock = Time()
    meter = GaugeMeter("board sensor", "VDD_IN", lambda: 5.0 - clock.now_s / 1e3)
    energy = measure_energy(meter, lambda: clock.pass_by(0.02), clock=clock, sleep=clock.pass_by)
    assert energy is not None
    assert energy.millijoules_above_idle == 0.0


def test_a_meter_that_falls_silent_gives_nothing() -> None:
    clock = Time()
    meter = GaugeMeter("board sensor", "VDD_IN", lambda: None)
    assert measure_energy(meter, lambda: clock.pass_by(0.02), clock=clock, sleep=clock.pass_by) is None
