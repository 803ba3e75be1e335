"""A small space is really measured here; what the numbers are is the machine's business, not the test's."""

import functools
from pathlib import Path

import pytest

from fednas.common import ExitCode, FednasError, sha256_of
from fednas.latency_tables import LatencyTable, MeasuredLatencyModel, table_from_json
from fednas.profiles import DeviceProfile, find_profile
from fednas.toolchain.measure import profile_space
from fednas.toolchain.measure.journal import Journal
from fednas.toolchain.measure.power import GaugeMeter, measure_energy
from fednas.toolchain.measure.rounds import LEAST_ROUNDS
from fednas.toolchain.space import SearchSpace, blocks_of, distinct_blocks, smallest_architecture


@pytest.fixture(scope="module")
def cpu() -> DeviceProfile:
    return find_profile("cpu")


@pytest.fixture(scope="module")
def table(tiny_space: SearchSpace, cpu: DeviceProfile) -> LatencyTable:
    return profile_space(tiny_space, cpu, seconds=0.5, batch=2, accept_unfit=True)


def test_the_table_prices_every_block_of_the_space(table: LatencyTable, tiny_space: SearchSpace) -> None:
    model = MeasuredLatencyModel(table)
    assert model.missing(distinct_blocks(tiny_space)) == ()
    prediction = model.predict(blocks_of(tiny_space, smallest_architecture(tiny_space)))
    assert 0 < prediction.low_ms <= prediction.latency_ms <= prediction.high_ms


def test_the_table_says_what_was_measured_how_and_how_well(table: LatencyTable) -> None:
    assert (table.device, table.runtime, table.precision) == ("cpu", "onnxruntime", "fp32")
    assert (table.batch, table.threads) == (2, 1)
    assert {entry.origin for entry in table.entries} == {"measured"}
    assert all(entry.samples >= LEAST_ROUNDS for entry in table.entries)
    assert table.report is not None
    assert table.report.subnets == 21
    assert table.calibration.networks == 40
    assert table.interval is not None
    assert table.session.readings >= LEAST_ROUNDS * len(table.entries)
    assert table.session.seconds > 0
    assert table.session.build_s is not None
    assert table.session.load_s is not None
    assert table.machine_after is not None
    assert table.machine.cores >= 1
    assert table_from_json(table.to_json(), "table") == table


def test_a_killed_run_goes_on(tiny_space: SearchSpace, cpu: DeviceProfile, tmp_path: Path) -> None:
    partial = tmp_path / "cpu.partial"

    class KilledError(Exception):
        pass

    def kill(done: float, total: float, what: str = "") -> None:
        if what == "round 4":
            raise KilledError

    with pytest.raises(KilledError):
        profile_space(tiny_space, cpu, seconds=30.0, partial=partial, progress=kill)
    before = partial.read_bytes()
    assert before.count(b"\n") > 4 * len(distinct_blocks(tiny_space))
    resumed = profile_space(tiny_space, cpu, seconds=0.1, partial=partial, resume=True, accept_unfit=True)
    assert partial.read_bytes().startswith(before)
    assert min(entry.samples for entry in resumed.entries) >= LEAST_ROUNDS
    assert resumed.session.readings == partial.read_bytes().count(b"\n[")
    assert resumed.session.sittings == 2


def test_readings_of_other_settings_do_not_count(tiny_space: SearchSpace, cpu: DeviceProfile, tmp_path: Path) -> None:
    partial = tmp_path / "cpu.partial"
    with Journal(partial, job="something else", resume=False):
        pass
    with pytest.raises(FednasError, match="another job"):
        profile_space(tiny_space, cpu, seconds=0.1, partial=partial, resume=True)


@pytest.mark.usefixtures("steady_machine")
def test_an_unfit_machine_is_said_with_exit_code_5(
    tiny_space: SearchSpace, cpu: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.unfit.UNFIT_LOADED_AGAIN", -1.0)
    partial = tmp_path / "cpu.partial"
    with pytest.raises(FednasError, match=r"not fit to measure: .*repeat only to .*--resume") as caught:
        profile_space(tiny_space, cpu, seconds=0.1, partial=partial)
    assert caught.value.exit_code is ExitCode.CANNOT_TELL
    accepted = profile_space(tiny_space, cpu, seconds=0.1, partial=partial, resume=True, accept_unfit=True)
    assert "repeat only to" in accepted.session.remarks[0]


def test_groups_measured_apart_make_one_table(
    tiny_space: SearchSpace, cpu: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.rounds.GROUP_WEIGHTS", 200_000)
    monkeypatch.setattr("fednas.toolchain.measure.rounds.WARM_LIMIT_S", 0.1)
    table = profile_space(tiny_space, cpu, seconds=0.1, accept_unfit=True)
    assert len(table.entries) == len(distinct_blocks(tiny_space))
    # The reference is read in every group, so it has more readings than there are rounds in one.
    assert table.session.readings > LEAST_ROUNDS * (len(table.entries) + 41)


def test_an_unknown_plan_is_named_with_the_known_ones(tiny_space: SearchSpace, cpu: DeviceProfile) -> None:
    with pytest.raises(FednasError, match=r"plan 'exhaustiv'.*exhaustive"):
        profile_space(tiny_space, cpu, plan="exhaustiv")


def test_the_table_keeps_what_its_networks_took_and_how_the_machine_drifted(table: LatencyTable) -> None:
    assert [n.role for n in table.networks] == ["calibration"] * 40 + ["held-out"] * 21
    model = MeasuredLatencyModel(table)
    held_out = [n for n in table.networks if n.role == "held-out"]
    errors = [abs(n.predicted_ms / n.median_ms - 1) for n in held_out]
    assert table.report is not None
    assert table.report.mape == pytest.approx(sum(errors) / 21)
    specs = [table.entries[place].spec for place in held_out[0].blocks]
    assert model.predict(specs).latency_ms == pytest.approx(held_out[0].predicted_ms)
    assert 10 <= len(table.session.slowness) <= 100


def test_the_table_names_its_raw_readings(tiny_space: SearchSpace, cpu: DeviceProfile, tmp_path: Path) -> None:
    partial = tmp_path / "cpu.partial"
    made = profile_space(tiny_space, cpu, seconds=0.1, partial=partial, accept_unfit=True)
    assert made.session.readings_sha256 == sha256_of(partial)


def test_a_board_with_a_power_meter_says_what_an_inference_takes(
    tiny_space: SearchSpace, cpu: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = GaugeMeter("board sensor", "VDD_IN", lambda: 6.0)
    monkeypatch.setattr("fednas.toolchain.measure.power.find_meter", lambda gpu: None if gpu else meter)
    monkeypatch.setattr(
        "fednas.toolchain.measure.power.measure_energy", functools.partial(measure_energy, stretch_s=0.2)
    )
    table = profile_space(tiny_space, cpu, seconds=0.1, accept_unfit=True)
    assert table.energy is not None
    assert table.energy.busy_w == pytest.approx(6.0)
    # Watts times milliseconds; the loop's own share of such a small network is seen.
    assert table.energy.millijoules > 6.0 * table.session.reference_ms / 2


def test_more_threads_than_cores_are_refused(tiny_space: SearchSpace) -> None:
    message = r"--threads is 999; this process may use \d+ cores?; give \d+ or fewer"
    with pytest.raises(FednasError, match=message):
        profile_space(tiny_space, find_profile("cpu"), threads=999)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jetson", "jetson-orin-nano runs tensorrt on its gpu, which cannot be measured on this machine"),
        ("raspberry-pi-5", "not raspberry-pi-5; run this command on the Raspberry Pi 5 itself"),
    ],
)
def test_another_device_is_not_measured_here(tiny_space: SearchSpace, name: str, message: str) -> None:
    with pytest.raises(FednasError, match=message):
        profile_space(tiny_space, find_profile(name))
