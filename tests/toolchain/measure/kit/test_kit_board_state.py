"""What the script reads of a board: recorded files of Jetsons, Raspberry Pis and PCs, in a folder of the test's own."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fednas.export.board.problem import BoardProblem
from fednas.toolchain.measure.kit.board import energy, measuring, partial, power, state
from fednas.toolchain.measure.kit.board.folder import BoardJob, BoardModel, UnfitBoard, groups_on_board
from fednas.toolchain.measure.kit.board.measuring import Measuring
from fednas.toolchain.measure.kit.board.partial import BoardReading, Partial, write_results
from fednas.toolchain.measure.kit.board.power import PowerMeter, hwmon_rails, iio_rails
from fednas.toolchain.measure.kit.board.state import BoardReader, plain, power_mode, throttled, zones_c

Put = Callable[[str, str], Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put a file where the system would have it."""
    monkeypatch.setattr(power, "SYSTEM", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def write(path: str, text: str) -> Path:
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    return write


def test_a_board_that_tells_nothing_is_read_as_nothing(put: Put) -> None:
    found = BoardReader().state(None)
    unknown = {key for key, value in found.items() if value is None}
    assert unknown >= {"governor", "power_mode", "current_mhz", "temperature_c", "throttled", "power_w", "board"}
    assert found["zones_c"] == {}


def test_the_rails_of_a_jetson_orin_are_one_total(put: Put) -> None:
    folder = "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/"
    rails = (("1", "VDD_IN", 5000, 930), ("2", "VDD_CPU_GPU_CV", 5000, 200), ("3", "VDD_SOC", 5000, 100))
    for channel, name, millivolts, milliamperes in (*rails, ("4", "NC", 1, 1), ("7", "sum of shunts", 1, 1)):
        put(f"{folder}in{channel}_label", f"{name}\n")
        put(f"{folder}in{channel}_input", f"{millivolts}\n")
        put(f"{folder}curr{channel}_input", f"{milliamperes}\n")
    assert hwmon_rails() == {"VDD_IN": 4.65, "VDD_CPU_GPU_CV": 1.0, "VDD_SOC": 0.5}
    read = PowerMeter().read()
    assert read is not None
    assert (read.watts, read.source) == (4.65, "hwmon VDD_IN")


def test_rails_without_a_total_are_added(put: Put) -> None:
    for channel, name in (("1", "GPU"), ("2", "CPU")):
        put(f"sys/class/hwmon/hwmon0/in{channel}_label", name)
        put(f"sys/class/hwmon/hwmon0/in{channel}_input", "19000")
        put(f"sys/class/hwmon/hwmon0/curr{channel}_input", "100")
    read = PowerMeter().read()
    assert read is not None
    assert (round(read.watts, 6), read.source) == (3.8, "hwmon CPU+GPU")


def test_the_rails_of_jetpack_4(put: Put) -> None:
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/"
    put(f"{folder}rail_name_0", "POM_5V_IN\n")
    put(f"{folder}in_power0_input", "2130\n")
    assert iio_rails() == {"POM_5V_IN": 2.13}


def test_a_counter_of_energy_gives_the_mean_power_in_between(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(power, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    counter = put("sys/class/powercap/intel-rapl:0/energy_uj", "1000000")
    meter = PowerMeter()
    assert meter.read() is None
    now[0] = 102.0
    counter.write_text("13000000")
    read = meter.read()
    assert read is not None
    assert (read.watts, read.source) == (6.0, "powercap package-0")
    now[0] = 103.0
    counter.write_text("5")  # wrapped around
    assert meter.read() is None


def test_power_modes_of_a_jetson_have_names(put: Put) -> None:
    put("var/lib/nvpmodel/status", "pmode:0002 fmode:fanNull\n")
    assert power_mode() == "mode 2"
    put(
        "etc/nvpmodel.conf",
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    )
    assert power_mode() == "MAXN_SUPER"


def test_nvpmodel_is_asked_where_its_files_are_not_there(put: Put) -> None:
    put("bin/nvpmodel", "#!/bin/sh\necho 'NV Power Mode: MODE_10W'\necho 1\n").chmod(0o755)
    assert power_mode() == "MODE_10W"


def test_temperatures_and_throttling(put: Put) -> None:
    for number, name, value in ((0, "cpu-thermal", "52968"), (1, "gpu-thermal", "48000"), (2, "cv0", "-256000")):
        put(f"sys/class/thermal/thermal_zone{number}/type", name)
        put(f"sys/class/thermal/thermal_zone{number}/temp", value)
    put("sys/class/thermal/thermal_zone3/type", "cpu-thermal")
    put("sys/class/thermal/thermal_zone3/temp", "50000")
    assert zones_c() == {"cpu-thermal": 52.968, "gpu-thermal": 48.0, "cpu-thermal 2": 50.0}
    assert throttled() is None
    put("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    assert throttled() == 4
    put("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3")
    put("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "4")
    assert throttled() == 7


def test_texts_of_the_system_are_made_harmless(put: Put) -> None:
    put("proc/cpuinfo", "processor : 0\nmodel name : Evil\x1b[2J\x07 CPU\n")
    assert state.cpu_model() == "Evil\x1b[2J\x07 CPU"
    assert BoardReader().state(None)["cpu_model"] == "Evil [2J CPU"
    assert len(plain("x" * 1000)) == 200


class Model:
    """Takes a millisecond by its own clock, and no time."""

    samples = ()
    latency_ms = 1.0

    def call(self, _times: int) -> float:
        return self.latency_ms

    def close(self) -> None: ...


def measuring_of(folder: Path, said: list[str]) -> tuple[Measuring, Partial]:
    model = BoardModel(path="0000.onnx", sha256="0", size_bytes=1, shape=(1, 1), weights=10, macs=10)
    job = BoardJob(
        folder=str(folder),
        kit="k",
        runtime="onnxruntime",
        precision="fp32",
        threads=1,
        batch=1,
        seconds=0.001,
        seed=0,
        least_rounds=3,
        group_weights=25,
        candidates=(0, 1, 2),
        models=(model, model, model),
        document={"plan": {"passes": 1, "visits": 1, "blocks": []}},
    )
    runtime = SimpleNamespace(
        name="onnxruntime", fewest_rounds=0, reading_ms=0.1, warming_calls=2, doubt="", load=lambda _model: Model()
    )
    kept = Partial(str(folder), {"kit": "k"}, {})
    return Measuring(job, runtime, kept, BoardReader(), 1e-9, said.append), kept


def test_a_board_of_little_memory_loads_fewer_models_at_a_time(tmp_path: Path) -> None:
    sitting, kept = measuring_of(tmp_path, [])
    with kept:
        job = sitting._job
    assert groups_on_board(job, None, 1) == [[0, 1, 2]]
    assert groups_on_board(job, 8 * 4 * 10, 1) == [[0, 1], [0, 2]]
    assert groups_on_board(job, 8, 1) == [[0, 1], [0, 2]]
    twice = groups_on_board(job, None, 2)
    assert [sorted(group) for group in twice] == [[0, 1, 2], [0, 1, 2]]
    assert twice == groups_on_board(job, None, 2)


def test_readings_of_a_suspended_machine_are_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sitting, kept = measuring_of(tmp_path, [])
    asked = iter([0.0, 0.0, 0.0, 30.0])
    monkeypatch.setattr(measuring, "slept_s", lambda: next(asked, 30.0))
    with kept:
        assert sitting.run()
    assert kept.events[0] == {"what": "suspended", "seconds": 30.0}
    assert len(kept.readings) == 9
    assert sum(line.startswith("[") for line in (tmp_path / "readings.partial").read_text().splitlines()) == 9


def test_a_wall_clock_that_jumps_is_noted_and_touches_no_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sitting, kept = measuring_of(tmp_path, [])
    real = time.time
    monkeypatch.setattr(measuring.time, "time", lambda: real() - 86400)
    with kept:
        sitting.run()
    assert [(event["what"], round(event["seconds"])) for event in kept.events] == [("wall clock was set", -86400)]
    assert {reading.latency_ms for reading in kept.readings} == {1.0}


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_clock_that_stands_still_or_runs_back_is_not_fit(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sitting, kept = measuring_of(tmp_path, [])
    monkeypatch.setattr(Model, "latency_ms", value)
    with kept, pytest.raises(UnfitBoard, match="its clock gave a reading of"):
        sitting.run()
    assert kept.readings == []


class FullDisk:
    """A stream on a disk that takes half a line more."""

    def __init__(self, stream: object) -> None:
        self._stream = stream
        self.full = False

    def write(self, content: bytes) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        self.full = True
        return self._stream.write(content[: len(content) // 2])  # type: ignore[attr-defined, no-any-return]

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    reading = BoardReading(0, 1, 0.25, 1.5, False)
    with Partial(str(tmp_path), {"kit": "k"}, {}) as kept:
        kept.add(reading)
        kept._stream = FullDisk(kept._stream)  # type: ignore[assignment]
        with pytest.raises(BoardProblem, match=r"disk is full: readings.partial cannot be written; free some space"):
            kept.add(reading)
    with Partial(str(tmp_path), {"kit": "k"}, {}) as again:
        assert again.readings == [reading]
        again.add(reading)
    with Partial(str(tmp_path), {"kit": "k"}, {}) as last:
        assert last.readings == [reading, reading]


def test_samples_survive_a_resume(tmp_path: Path) -> None:
    reading = BoardReading(0, 1, 0.5, 1.5, False, (0.25, 0.5, 8.0))
    with Partial(str(tmp_path), {"kit": "k"}, {}) as kept:
        kept.add(reading)
    with Partial(str(tmp_path), {"kit": "k"}, {}) as again:
        assert again.readings == [reading]


def test_results_on_a_full_disk_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partial.os, "fsync", full)
    with pytest.raises(BoardProblem, match=r"the disk is full: results.json cannot be written"):
        write_results(str(tmp_path), {"schema": 1})
    assert list(tmp_path.iterdir()) == []


class Working:
    """Half a millisecond a run, during which the board draws more."""

    def __init__(self, clock: list[float], meter: Path) -> None:
        self._clock, self._meter = clock, meter

    def call(self, times: int) -> float:
        self._clock[0] += times * 0.5e-3
        self._meter.write_text("9000000")
        return 0.5


def test_energy_is_power_of_a_stretch_beside_an_idle_one(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = put("sys/class/hwmon/hwmon0/power1_input", "4000000")
    put("sys/class/hwmon/hwmon0/name", "board\n")
    clock = [0.0]
    fake = SimpleNamespace(perf_counter=lambda: clock[0], sleep=lambda s: clock.__setitem__(0, clock[0] + s))
    monkeypatch.setattr(energy, "time", fake)
    found = energy.energy_of(Working(clock, meter), 100)
    assert found is not None
    assert (found["source"], found["idle_w"], found["busy_w"]) == ("hwmon board", 4.0, 9.0)
    # Five seconds of half a millisecond each: 9 W for 0.5 ms are 4.5 mJ.
    assert found["inferences"] == pytest.approx(10_000, rel=0.02)
    assert found["busy_w"] * found["busy_s"] / found["inferences"] == pytest.approx(4.5e-3)


def test_a_board_without_a_meter_is_not_kept_waiting(put: Put) -> None:
    start = time.perf_counter()
    assert energy.energy_of(Model(), 1) is None
    assert time.perf_counter() - start < energy.STRETCH_S / 2


def test_a_sitting_is_noted_down_with_its_first_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sitting, kept = measuring_of(tmp_path, [])
    with kept:
        sitting.begin({})
        assert kept.sittings == []
        monkeypatch.setattr(Model, "latency_ms", 0.0)
        with pytest.raises(UnfitBoard):
            sitting.run()
        assert kept.sittings == []
        monkeypatch.undo()
        sitting.run()
        sitting.end({})
        assert [each["after"] for each in kept.sittings] == [{}]
