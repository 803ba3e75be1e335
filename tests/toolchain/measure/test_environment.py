"""The state of a machine, read from trees of files that stand for other machines."""

from pathlib import Path

import pytest
from board_files import CORES, CPU, cpufreq, orin_nano, proc_stat, write

from fednas.toolchain.measure.conditions import Watch
from fednas.toolchain.measure.counters import Counters, Usage, read_counters, usage_between
from fednas.toolchain.measure.environment import read_machine
from fednas.toolchain.measure.jetson import power_mode


def test_a_jetson_says_its_power_mode_by_name_its_clocks_and_its_heat(tmp_path: Path) -> None:
    machine = read_machine(write(tmp_path, orin_nano()))
    assert (machine.power_mode, machine.governor, machine.locked) == ("25W", "schedutil", False)
    clocks = (machine.current_mhz, machine.min_mhz, machine.limit_mhz, machine.max_mhz)
    assert clocks == (1344.0, 729.6, 1344.0, 1728.0)
    assert machine.temperature_c == pytest.approx(54.125)
    assert machine.affinity == CORES


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    machine = read_machine(tmp_path)
    unknown = (machine.power_mode, machine.governor, machine.locked, machine.current_mhz, machine.temperature_c)
    assert unknown == (None,) * 5
    assert (machine.throttle_events, machine.capacities) == (None, ())


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        ({"var/lib/nvpmodel/status": "pmode:0007 fmode:fanNull"}, "mode 7"),
        ({"var/lib/nvpmodel/status": "something new"}, "something new"),
        ({"sys/firmware/acpi/platform_profile": "low-power"}, "low-power"),
    ],
    ids=["number without a name", "unknown form", "PC"],
)
def test_power_modes_without_a_table(tmp_path: Path, files: dict[str, object], mode: str) -> None:
    assert power_mode(write(tmp_path, files)) == mode


@pytest.mark.parametrize(
    ("files", "locked"),
    [
        (cpufreq(scaling_governor="performance"), True),
        (cpufreq(scaling_min_freq=1510400, scaling_max_freq=1510400), True),
        (cpufreq(scaling_governor="ondemand", scaling_min_freq=1, scaling_max_freq=2), False),
    ],
)
def test_clocks_are_locked_if_they_cannot_move(tmp_path: Path, files: dict[str, object], locked: bool) -> None:
    assert read_machine(write(tmp_path, files)).locked is locked


def test_throttling_is_counted(tmp_path: Path) -> None:
    name = "thermal_throttle/core_throttle_count"
    write(tmp_path, {f"{CPU.format(0)}/{name}": 3, f"{CPU.format(1)}/{name}": 4})
    assert read_machine(tmp_path).throttle_events == 7


def test_a_raspberry_pi_keeps_flags(tmp_path: Path) -> None:
    # 0x50005: under-voltage and throttled, now and before.
    write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "0x50005"})
    assert read_machine(tmp_path).throttle_events == 4


@pytest.mark.skipif(len(CORES) < 2, reason="one core is of one kind")
def test_cores_of_two_kinds_are_named(tmp_path: Path) -> None:
    files = {f"{CPU.format(core)}/cpu_capacity": 1024 if core == CORES[0] else 446 for core in CORES}
    assert read_machine(write(tmp_path, files)).capacities == (446, 1024)
    assert read_machine(write(tmp_path, dict.fromkeys(files, 1024))).capacities == ()


def test_counters_of_the_processor(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": proc_stat(user=1000, idle=5000, steal=250)})
    found = read_counters(tmp_path)
    assert (found.working_s, found.stolen_s) == (len(CORES) * 10.0, len(CORES) * 2.5)
    assert found.total_s == len(CORES) * 62.5
    assert found.throttled_s is None


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        (
            {
                "proc/self/cgroup": "0::/box",
                "sys/fs/cgroup/cpu.stat": "nr_throttled 0",
                "sys/fs/cgroup/box/cpu.stat": "nr_throttled 3\nthrottled_usec 2500000",
            },
            2.5,
        ),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.stat": "throttled_usec 1000000"}, 1.0),
        (
            {
                "proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/box\n0::/",
                "sys/fs/cgroup/cpu/box/cpu.stat": "nr_throttled 3\nthrottled_time 4000000000",
            },
            4.0,
        ),
        ({"proc/self/cgroup": "nonsense\n0::/../..", "sys/fs/cgroup/cpu.stat": "throttled_usec many"}, None),
    ],
    ids=["version 2", "root of version 2", "version 1", "unreadable"],
)
def test_quotas_of_control_groups(tmp_path: Path, files: dict[str, object], seconds: float | None) -> None:
    assert read_counters(write(tmp_path, files)).throttled_s == seconds


def counters(**values: float | None) -> Counters:
    start: dict[str, float | None] = {"wall_s": 0.0, "own_s": 0.0, "working_s": 0.0}
    rest: dict[str, float | None] = {"stolen_s": 0.0, "total_s": 0.0, "throttled_s": 0.0}
    return Counters(**{**start, **rest, **values})  # type: ignore[arg-type]


def test_what_others_took() -> None:
    # In ten seconds on two cores ours took 9 s and all together 14 s; the host took 1 s, a quota half a second.
    after = counters(wall_s=10.0, own_s=9.0, working_s=14.0, stolen_s=1.0, total_s=20.0, throttled_s=0.5)
    assert usage_between(counters(), after) == Usage(others_cores=0.5, stolen=0.05, throttled=0.05)


def test_counters_that_are_missing_or_were_reset_say_nothing() -> None:
    nothing = Usage(others_cores=None, stolen=None, throttled=None)
    gone = counters(wall_s=10.0, working_s=None, stolen_s=None, throttled_s=None)
    assert usage_between(counters(), gone) == nothing
    before = counters(working_s=5.0, stolen_s=5.0, throttled_s=5.0)
    assert usage_between(before, counters(wall_s=10.0, total_s=1.0)) == nothing


def test_the_watch_keeps_the_extremes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.conditions.LOOK_EVERY_S", 0.0)
    watch = Watch(root=tmp_path)
    for khz, temperature in ((1344000, 50000), (1200000, 71000), (1300000, 60000)):
        write(tmp_path, {**cpufreq(scaling_cur_freq=khz), "sys/class/thermal/thermal_zone0/temp": temperature})
        watch.look()
    seen = watch.conditions()
    assert (seen.clock_low_mhz, seen.clock_high_mhz, seen.hottest_c) == (1200.0, 1344.0, 71.0)


def test_the_watch_looks_once_a_second(tmp_path: Path) -> None:
    watch = Watch(root=write(tmp_path, cpufreq(scaling_cur_freq=1344000)))
    watch.look()
    write(tmp_path, cpufreq(scaling_cur_freq=600000))
    watch.look()
    assert watch.conditions().clock_low_mhz == 1344.0
