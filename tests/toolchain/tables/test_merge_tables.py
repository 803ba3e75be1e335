"""Merging: what is refused, what becomes of the entries, and that no error is claimed that was not measured."""

import math
import random
from typing import Any

import msgspec
import pytest
from table_examples import BODY, HEAD, STEM, entry, make_table, network, widths

from fednas.common import FednasError
from fednas.latency_tables import BlockSpec, Energy, Interval, LatencyTable, MeasuredLatencyModel, NetworkReading, lint
from fednas.toolchain.tables.merge import MergeInput, merge

SPECS = [STEM, *widths(BODY, tuple(range(8, 200, 8))), HEAD]
QUIET = Interval(coverage=0.9, factor=1.1, machine_factor=1.05)


def given(table: LatencyTable, name: str = "a.json") -> MergeInput:
    return MergeInput(name=name, sha256=name.ljust(64, "0"), table=table)


def measured(
    seed: int, specs: list[BlockSpec], *, speed: float = 1.0, networks: int = 24, **changes: Any
) -> LatencyTable:
    """Blocks of 1, 2, 3 ... tenths of a millisecond, and networks of six of them that take their sum."""
    rng = random.Random(seed)  # noqa: S311 - noise, not a secret
    price = {spec: 0.1 * (i + 1) for i, spec in enumerate(SPECS)}
    entries = [entry(spec, price[spec] * speed * rng.gauss(1, 0.002), samples=50) for spec in specs]
    drawn: list[NetworkReading] = []
    for i in range(networks):
        blocks = tuple(rng.randrange(len(specs)) for _ in range(6))
        total = sum(price[specs[b]] for b in blocks) * speed * rng.gauss(1, 0.01)
        drawn.append(network("held-out" if i % 2 else "calibration", blocks, total, total))
    fields = {"interval": QUIET, "networks": tuple(drawn)} | changes
    return make_table(*entries, **fields)


def test_blocks_in_both_are_weighted_by_their_samples() -> None:
    three = {"samples": 30, "loads": 3}
    first = make_table(entry(STEM, 1.0, spread=0.01, **three), entry(HEAD, 1.0, **three), interval=QUIET)
    stem = entry(STEM, 1.02, samples=10, spread=0.02, loads=2)
    second = make_table(stem, entry(HEAD, 1 / 1.02, samples=10), interval=QUIET)
    found = merge(given(first), given(second, "b.json"))
    stem, head = found.table.entries
    # The ratios 1.02 and 1 / 1.02 leave the machine at the same speed; 30 to 10 samples.
    assert found.speed == pytest.approx(1)
    assert stem.median_ms == pytest.approx(1.02**0.25)
    assert head.median_ms == pytest.approx(1.02**-0.25)
    assert (stem.samples, stem.loads, stem.sources) == (40, 5, (0, 1))
    assert head.loads == 0  # the second does not say
    assert stem.spread == pytest.approx(math.hypot(0.75 * 0.01, 0.25 * 0.02))
    assert (found.shared, found.from_first, found.from_second) == (2, 0, 0)


def test_entries_that_claim_no_samples_weigh_alike() -> None:
    tables = (make_table(entry(STEM, ms, samples=0), entry(HEAD, 1 / ms, samples=0)) for ms in (1.0, 1.02))
    first, second = (msgspec.structs.replace(table, interval=QUIET) for table in tables)
    stem, _ = merge(given(first), given(second, "b.json")).table.entries
    assert (stem.samples, stem.median_ms) == (0, pytest.approx(1.02**0.5))


def test_a_second_session_on_a_slower_machine_is_brought_to_the_first_ones_speed() -> None:
    found = merge(given(measured(0, SPECS)), given(measured(1, SPECS, speed=1.06), "b.json"))
    assert found.speed == pytest.approx(1.06, rel=0.002)
    assert [each.median_ms for each in found.table.entries] == [
        pytest.approx(0.1 * (i + 1), rel=0.01) for i in range(len(SPECS))
    ]
    assert [source.speed for source in found.table.sources] == [1.0, found.speed]
    interval = found.table.interval
    assert interval is not None
    assert interval.machine_factor == pytest.approx(1.06, rel=0.002)  # more than either wandered by itself


def test_the_error_is_made_anew_from_the_networks_of_both() -> None:
    found = merge(given(measured(0, SPECS)), given(measured(1, SPECS), "b.json"))
    table = found.table
    assert found.why_no_error == ""
    assert table.report is not None
    assert table.interval is not None
    assert table.report.subnets == 24
    assert table.report.mape == pytest.approx(0.008, abs=0.006)  # 1 % normal noise: 0.8 % on average
    assert table.calibration.networks == 24
    assert not [each for each in lint(table) if each.rule == "edited"]
    assert MeasuredLatencyModel(table).predict(SPECS[:3]).latency_ms == pytest.approx(0.6, rel=0.02)


def test_disjoint_tables_keep_their_entries_and_where_each_came_from() -> None:
    first, second = measured(0, SPECS[:14]), measured(1, SPECS[14:])
    found = merge(given(first), given(second, "b.json"))
    assert (found.shared, found.from_first, found.from_second, found.speed) == (0, 14, len(SPECS) - 14, 1.0)
    assert [each.sources for each in found.table.entries] == [(0,)] * 14 + [(1,)] * (len(SPECS) - 14)
    assert [source.name for source in found.table.sources] == ["a.json", "b.json"]
    assert found.table.sources[1].session == second.session
    assert found.table.session.readings == first.session.readings + second.session.readings


def test_the_session_of_a_merged_table_is_the_worst_of_its_sources() -> None:
    session = make_table().session
    first = msgspec.structs.replace(session, drift_low=0.8, halves_ratio=0.7, stops=1, remarks=("hot",))
    second = msgspec.structs.replace(
        session, drift_high=1.5, halves_ratio=1.2, stolen=0.1, stops=2, remarks=("hot", "busy")
    )
    found = merge(given(measured(0, SPECS, session=first)), given(measured(1, SPECS, session=second), "b.json"))
    worst = found.table.session
    assert (worst.drift_low, worst.drift_high, worst.halves_ratio) == (0.8, 1.5, 0.7)
    assert (worst.stolen, worst.hottest_c, worst.stops, worst.remarks) == (0.1, None, 3, ("hot", "busy"))
    assert (worst.readings, worst.readings_sha256) == (300, "")
    assert [source.session for source in found.table.sources] == [first, second]


def test_a_merged_table_merges_again_with_all_its_sources() -> None:
    once = merge(given(measured(0, SPECS)), given(measured(1, SPECS), "b.json")).table
    twice = merge(given(once, "ab.json"), given(measured(2, SPECS), "c.json")).table
    assert [source.name for source in twice.sources] == ["a.json", "b.json", "c.json"]
    assert twice.entries[0].sources == (0, 1, 2)
    with pytest.raises(FednasError, match=r"ab\.json and a\.json hold the same readings"):
        merge(given(once, "ab.json"), given(measured(0, SPECS)))


def test_a_network_that_calibrated_one_table_is_held_out_of_neither() -> None:
    def turned(table: LatencyTable) -> LatencyTable:
        other = {"calibration": "held-out", "held-out": "calibration"}
        networks = (msgspec.structs.replace(n, role=other[n.role]) for n in table.networks)
        return msgspec.structs.replace(table, networks=tuple(networks))

    first = measured(0, SPECS)
    found = merge(given(first), given(turned(first), "b.json"))
    assert found.table.report is None
    assert found.why_no_error == "only 0 networks are held out of both calibrations"


def test_without_kept_networks_no_error_is_claimed_and_nothing_is_predicted() -> None:
    found = merge(given(measured(0, SPECS)), given(measured(1, SPECS, networks=0), "b.json"))
    assert "not both tables keep the networks" in found.why_no_error
    assert (found.table.report, found.table.interval, found.table.networks) == (None, None, ())
    with pytest.raises(FednasError, match="holds no error of its own"):
        MeasuredLatencyModel(found.table).predict(SPECS[:3])


def test_spaces_that_differ_are_not_passed_on() -> None:
    space = {"num_stages": 2}
    one, other = measured(0, SPECS, space=space), measured(1, SPECS, space={"num_stages": 3})
    assert merge(given(one), given(other, "b.json")).table.space is None
    same = measured(1, SPECS, space=space)
    assert merge(given(one), given(same, "b.json")).table.space == space


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runtime_version": "1.1"}, r"not of one machine and job: runtime version: 1\.0 and 1\.1"),
        ({"precision": "fp16"}, "precision: fp32 and fp16"),
        ({"batch": 8}, "batch: 1 and 8"),
        ({"threads": 2}, "threads: 1 and 2"),
        ({"device": "board"}, "device: cpu and board"),
    ],
)
def test_another_job_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FednasError, match=message):
        merge(given(make_table()), given(make_table(**changes), "b.json"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cpu_model": "other"}, "cpu model: test processor and other"),
        ({"power_mode": "15W"}, "power mode: not readable and 15W"),
        ({"governor": "powersave"}, "governor: not readable and powersave"),
    ],
)
def test_another_machine_or_power_mode_is_refused(changes: dict[str, Any], message: str) -> None:
    machine = msgspec.structs.replace(make_table().machine, **changes)
    with pytest.raises(FednasError, match=message):
        merge(given(make_table()), given(make_table(machine=machine), "b.json"))


def test_contradictions_beyond_noise_are_refused() -> None:
    second = measured(1, SPECS)
    entries = [entry(e.spec, e.median_ms * (1.3 if i == 5 else 1)) for i, e in enumerate(second.entries)]
    changed = msgspec.structs.replace(second, entries=tuple(entries))
    with pytest.raises(FednasError, match=rf"contradict each other beyond noise: {SPECS[5].key} by \+"):
        merge(given(measured(0, SPECS)), given(changed, "b.json"))
    with pytest.raises(FednasError, match=r"took 1\.50 times as long in the second session"):
        merge(given(measured(0, SPECS)), given(measured(1, SPECS, speed=1.5), "b.json"))


def test_modelled_entries_belong_to_the_fit_of_one_session() -> None:
    modelled = make_table(entry(STEM, 1.0), entry(HEAD, 1.0, origin="modelled", samples=0))
    with pytest.raises(FednasError, match=r"b\.json holds 1 modelled .* no readings to be weighed .* --seconds; only"):
        merge(given(make_table()), given(modelled, "b.json"))


METER = Energy(
    source="INA3221",
    rail="VDD_IN",
    busy_w=10.0,
    idle_w=4.0,
    busy_s=5.0,
    idle_s=5.0,
    inferences=100,
    millijoules=500.0,
    millijoules_above_idle=300.0,
)


def metered(energy: Energy | None, space: Any = ("num_stages", 2)) -> LatencyTable:
    kept = dict([space]) if space else None
    return make_table(entry(STEM, 1.0), entry(HEAD, 2.0), interval=QUIET, energy=energy, space=kept)


def test_energy_of_both_sessions_is_weighted_by_their_inferences() -> None:
    other = {"busy_w": 13.0, "idle_w": 5.0, "busy_s": 10.0, "idle_s": 15.0, "inferences": 300}
    second = msgspec.structs.replace(METER, **other, millijoules=540.0, millijoules_above_idle=320.0)
    found = merge(given(metered(METER)), given(metered(second), "b.json"))
    energy = found.table.energy
    assert energy is not None
    assert found.why_no_energy == ""
    assert (energy.busy_w, energy.idle_w) == pytest.approx((12.0, 4.75))  # by 5 to 10 and by 5 to 15 seconds
    assert (energy.millijoules, energy.millijoules_above_idle) == pytest.approx((530.0, 315.0))
    assert (energy.inferences, energy.busy_s, energy.idle_s) == (400, 15.0, 20.0)


def test_energy_that_one_session_measured_is_kept() -> None:
    found = merge(given(metered(None)), given(metered(METER), "b.json"))
    assert (found.table.energy, found.why_no_energy) == (METER, "")
    assert merge(given(metered(None)), given(metered(None), "b.json")).why_no_energy == ""


@pytest.mark.parametrize(
    ("changes", "space", "message"),
    [
        ({"rail": "VDD_CPU"}, ("num_stages", 2), "measured by two meters: INA3221 VDD_IN and INA3221 VDD_CPU"),
        ({"millijoules": 900.0}, ("num_stages", 2), "the sessions disagree: 500 mJ and 900 mJ for one call"),
        ({}, ("num_stages", 3), "the largest network, which it is measured on, is not known to be the same"),
        ({}, None, "is not known to be the same in both"),
    ],
)
def test_energy_of_different_things_is_left_out_and_said_to_be(
    changes: dict[str, Any], space: Any, message: str
) -> None:
    second = metered(msgspec.structs.replace(METER, **changes), space)
    found = merge(given(metered(METER)), given(second, "b.json"))
    assert found.table.energy is None
    assert message in found.why_no_energy
