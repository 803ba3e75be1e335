"""Faults that were met in published tables, rebuilt small."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from table_examples import BODY, HEAD, NETWORK, REPORT, STEM, entry, network, source, widths
from table_examples import make_table as bare_table

from fednas.latency_tables import (
    Calibration,
    Interval,
    LatencyTable,
    MeasuredLatencyModel,
    Report,
    TableEntry,
    lint,
    lint_readings,
    save_table,
)

MIDDLES = (8, 16, 32, 64, 128, 256)
FAMILY = widths(BODY, MIDDLES)


def make_table(*entries: TableEntry, **changes: Any) -> LatencyTable:
    """A table with a space, and with networks that its report is true of: each is wrong by the mean error."""
    table = bare_table(*entries, **({"space": {"num_stages": 2}} | changes))
    if table.report is None or "networks" in changes:
        return table
    mape, blocks = table.report.mape, tuple(range(len(table.entries)))
    predicted = MeasuredLatencyModel(table).additive_terms([each.spec for each in table.entries]).total_ms
    held_out = [network("held-out", blocks, predicted / (1 + mape), predicted)] * table.report.subnets
    within = {"within_5": float(mape <= 0.05), "within_10": float(mape <= 0.1)}
    report = msgspec.structs.replace(table.report, **within)
    return msgspec.structs.replace(table, networks=tuple(held_out), report=report)


def family_table(latencies_ms: tuple[float, ...], **changes: Any) -> LatencyTable:
    return make_table(*(entry(s, ms) for s, ms in zip(FAMILY, latencies_ms, strict=True)), **changes)


def rules(table: LatencyTable) -> list[tuple[str, str]]:
    return [(finding.level, finding.rule) for finding in lint(table)]


def report(**changes: Any) -> Report:
    fields = {name: getattr(REPORT, name) for name in REPORT.__struct_fields__}
    return Report(**(fields | changes))


def test_a_sound_table_has_no_findings() -> None:
    assert lint(make_table()) == []
    assert lint(family_table((1, 1.9, 3.7, 7, 14, 27))) == []


def test_larger_blocks_that_are_faster() -> None:
    one = lint(make_table(*(entry(s, ms) for s, ms in zip(FAMILY, (1, 2, 1.8, 7, 14, 27), strict=True))))
    # One of five steps is the most that is put down to alignment.
    assert [(f.level, f.rule) for f in one] == [("warning", "monotonic")]
    assert "5% faster in 1 of 5 steps" in one[0].message
    assert "mid32-out16-hw4-s2-projection takes 0.90 of residual-in8-mid16" in one[0].message
    assert ("error", "monotonic") in rules(family_table((1, 2, 1.8, 7, 3, 27)))
    assert rules(family_table((1, 2, 1.95, 7, 14, 27))) == []
    # Medians that are known to no better than 4 % say nothing of 10 %.
    unsure = [entry(s, ms, spread=0.04, loads=3) for s, ms in zip(FAMILY, (1, 2, 1.8, 7, 14, 27), strict=True)]
    assert rules(make_table(*unsure)) == []


def test_a_launch_bound_table_carries_no_signal() -> None:
    findings = lint(family_table((1, 1.001, 1.002, 1.003, 1.004, 1.005)))
    assert [(f.level, f.rule) for f in findings] == [("error", "launch-bound")]
    assert re.search(r"1\.3 times the MACs take 1\.001 times as long", findings[0].message)


def test_copied_entries() -> None:
    table = make_table(entry(STEM, 1.0), entry(BODY, 1.0), entry(HEAD, 3.0))
    assert [f.message for f in lint(table)] == ["2 measured entries agree with another one to the last digit"]


@pytest.mark.parametrize("changes", [{"report": None}, {"interval": None}])
def test_a_table_that_does_not_state_its_error(changes: dict[str, Any]) -> None:
    assert rules(make_table(**changes)) == [("error", "report")]


@pytest.mark.parametrize(
    ("changes", "level", "message"),
    [
        ({"mape": 0.2}, "warning", "mean error 20.0% on 20 held-out networks"),
        ({"mape": 0.0001}, "error", "look like sums"),
        ({"repeatability_mape": 0.09}, "warning", "repeats only to 9.0%"),
    ],
)
def test_poor_reports(changes: dict[str, float], level: str, message: str) -> None:
    (finding,) = lint(make_table(report=report(**changes)))
    assert (finding.level, finding.rule) == (level, "report")
    assert message in finding.message


def holding(inside: int, **changes: Any) -> LatencyTable:
    """A table whose interval, a factor of 1.25, holds so many of its 20 held-out networks and says so."""
    # The others take 1.3 times what the entries add up to, 6 ms.
    measured = [6.06] * inside + [7.8] * (20 - inside)
    errors = [1 - 6 / ms for ms in measured]
    honest = {
        "mape": sum(errors) / 20,
        "within_5": inside / 20,
        "within_10": inside / 20,
        "interval_coverage": inside / 20,
    }
    networks = tuple(network("held-out", (0, 1, 2), ms, 6.0) for ms in measured)
    return make_table(networks=networks, **({"report": report(**honest)} | changes))


def test_coverage_below_the_claim_is_found_beyond_its_scatter() -> None:
    assert lint(holding(16)) == []
    (finding,) = lint(holding(14))
    assert (finding.level, finding.rule) == ("error", "report")
    assert "claim 90% and hold 70%" in finding.message


def test_an_interval_that_was_changed_no_longer_follows_from_the_networks() -> None:
    (narrowed,) = lint(holding(19, interval=Interval(coverage=0.9, factor=1.001)))
    assert (narrowed.level, narrowed.rule) == ("error", "edited")
    assert "states that 95% of the held-out networks lie in the interval" in narrowed.message
    assert "by the table's own error 0% of the 20 do" in narrowed.message
    boasting = msgspec.structs.replace(holding(17).report or REPORT, interval_coverage=1.0)
    assert rules(holding(17, report=boasting)) == [("error", "edited")]
    (unequal,) = lint(holding(19, interval=Interval(coverage=0.9, factor=1.25, machine_factor=5.0)))
    assert unequal.message.startswith("the interval is x/1.250, its part from the machine x/5.000")
    (vast,) = lint(holding(20, interval=Interval(coverage=0.9, factor=1e9)))
    assert (vast.level, vast.message) == ("warning", "predictions are known to no better than a factor of 1e+09")


def test_impossible_spread() -> None:
    flat = {"p10_ms": 1.0, "p90_ms": 1.0, "spread": 0.0}
    one = make_table(entry(STEM, 1.0, **flat), entry(BODY, 2.0), entry(HEAD, 3.0))
    assert rules(one) == [("warning", "spread")]
    assert rules(make_table(entry(STEM, 1.0, **flat))) == [("error", "spread")]
    wide = lint(make_table(entry(STEM, 1.0, spread=0.06, samples=9), entry(BODY, 2.0)))
    assert wide[0].message.endswith("medians known to no better than 5%; worst: stem-in3-out8-hw4-s1 to 6%")
    # Half of the readings would lie 0.11 ms away, four fifths of them within 0.1 ms.
    ruled_out = lint(make_table(entry(STEM, 1.0, spread=0.03), entry(BODY, 2.0)))
    assert [(f.level, f.rule) for f in ruled_out] == [("error", "spread")]
    assert "spread that their own percentiles rule out, such as stem-in3" in ruled_out[0].message
    # Of what was loaded several times the spread may be that of its loads, whatever its own readings agree to.
    assert rules(make_table(entry(STEM, 1.0, spread=0.03, loads=3), entry(BODY, 2.0))) == []
    flat_loads = {"p10_ms": 1.0, "p90_ms": 1.0, "spread": 0.02, "loads": 3}
    assert rules(make_table(entry(STEM, 1.0, **flat_loads), entry(BODY, 2.0), entry(HEAD, 3.0))) == [
        ("warning", "spread")
    ]
    modes = lint(make_table(entry(STEM, 1.0, p10_ms=0.5, p90_ms=1.6), entry(BODY, 2.0)))
    assert [f.level for f in modes] == ["warning"]
    assert "differ by more than a factor of 3" in modes[0].message


def test_origins_that_do_not_agree_with_samples_and_mixtures() -> None:
    assert rules(make_table(entry(STEM, 1.0, samples=0))) == [("error", "origin")]
    mixed = make_table(entry(STEM, 1.0), entry(BODY, 2.0, origin="modelled", samples=0))
    assert [f.message for f in lint(mixed)] == ["entries are of different origin: 1 measured, 1 modelled"]


def test_remarks_of_the_session_and_a_calibration_that_eats_the_entries() -> None:
    session = make_table().session
    fields = {name: getattr(session, name) for name in session.__struct_fields__} | {"remarks": ("too hot",)}
    (finding,) = lint(make_table(session=type(session)(**fields)))
    assert (finding.level, finding.rule) == ("warning", "unfit")
    assert "too hot" in finding.message
    assert rules(make_table(calibration=Calibration(overhead_ms=10.0))) == [("warning", "calibration")]


def test_errors_come_first() -> None:
    table = make_table(entry(STEM, 1.0, samples=0), entry(BODY, 2.0, spread=0.06, samples=9), interval=None)
    levels = [finding.level for finding in lint(table)]
    assert levels == sorted(levels)


def jetson_like(faster: int) -> LatencyTable:
    """Twelve blocks, each at two middle widths; the wider is 3 % faster in ``faster`` of them, else 3 % slower."""
    entries = []
    for i in range(12):
        small, large = widths(replace(BODY, in_channels=8 + i, out_channels=100 + 20 * i), (32, 64))
        entries += [entry(small, 1 + i / 7), entry(large, (1 + i / 7) * (0.97 if i < faster else 1.03))]
    return make_table(*entries)


def test_a_launch_bound_gpu_where_most_larger_blocks_are_a_little_faster() -> None:
    # As the public Jetson table at 160 px: 41 of 60 steps to a larger kernel are faster by more than 2 %.
    (found,) = [f for f in lint(jetson_like(8)) if f.rule == "monotonic"]
    assert found.level == "error"
    assert "more work is more than 2% faster in 8 of 12 steps" in found.message
    # As the phone's table: none of 60.
    assert [f for f in lint(jetson_like(0)) if f.rule == "monotonic"] == []


def test_a_step_within_the_medians_own_doubt_is_no_finding() -> None:
    unsure = {"spread": 0.04, "p10_ms": 0.5, "p90_ms": 1.2}
    small, large = widths(BODY, (8, 16))
    assert "monotonic" not in {
        f.rule for f in lint(make_table(entry(small, 1.0, **unsure), entry(large, 0.93, **unsure)))
    }
    assert "monotonic" in {f.rule for f in lint(make_table(entry(small, 1.0), entry(large, 0.93)))}


def test_entries_copied_from_another_table() -> None:
    # As the public Jetson table that holds six entries of a phone: stem, first block, head.
    phone = make_table(entry(STEM, 1.123456789012), entry(HEAD, 0.2), device="note10")
    board = make_table(entry(STEM, 1.123456789012), entry(BODY, 2.0), entry(HEAD, 0.3))
    (found,) = lint(board, others={"note10.json": phone})
    assert (found.level, found.rule) == ("error", "copied")
    assert found.message == "1 measured entries agree with note10.json to the last digit, such as stem-in3-out8-hw4-s1"


def test_blocks_of_the_space_that_are_missing_and_entries_that_are_foreign() -> None:
    table = make_table(entry(STEM, 1.0), entry(widths(BODY, (64,))[0], 2.0))
    found = {f.rule: f for f in lint(table, blocks=NETWORK)}
    assert found["missing"].level == "error"
    assert "2 of the 3 blocks of the space have no entry, such as head-in16-out10" in found["missing"].message
    assert found["foreign"].level == "warning"
    assert lint(make_table(), blocks=NETWORK) == []


def test_a_table_that_was_edited_no_longer_adds_up() -> None:
    # Without calibration the prediction is the sum of the entries: 1 + 2 + 3 ms.
    whole = (network("held-out", (0, 1, 2), 6.3, 6.0), network("held-out", (0, 2), 4.0, 4.0))
    honest = report(subnets=2, mape=(1 - 6 / 6.3) / 2, within_5=1.0)
    assert lint(make_table(networks=whole, report=honest)) == []
    other = (network("held-out", (0, 1, 2), 6.3, 6.3), whole[1])
    found = [f.message for f in lint(make_table(networks=other, report=honest)) if f.rule == "edited"]
    assert "1 of 2 networks were predicted with other entries" in found[0]
    for change, message in (
        ({"mape": 0.01}, "states a mean error of 1.0%, but its 2 held-out networks give 2.4%"),
        ({"within_5": 0.5}, "states within 5 % 50.0%, but its 2 held-out networks give 100.0%"),
        ({"within_10": 0.9}, "states within 10 % 90.0%, but its 2 held-out networks give 100.0%"),
    ):
        (flattered,) = lint(make_table(networks=whole, report=msgspec.structs.replace(honest, **change)))
        assert (flattered.level, flattered.rule) == ("error", "edited")
        assert message in flattered.message


def test_claims_whose_networks_are_gone() -> None:
    (emptied,) = lint(make_table(networks=()))
    assert (emptied.level, emptied.rule) == ("error", "edited")
    assert emptied.message.startswith("the report claims 20 held-out networks, the table keeps none: nothing bears")
    fewer = make_table(networks=make_table().networks[:7])
    assert "claims 20 held-out networks, the table keeps 7:" in lint(fewer)[0].message
    (lost,) = lint(make_table(calibration=Calibration(networks=20)))
    assert lost.message.startswith("the calibration claims 20 networks, the table keeps 0: without the others")


@pytest.mark.parametrize(
    ("changes", "rule", "message"),
    [
        ({"runtime": "onxruntime"}, "runtime", "'onxruntime' is none that this version measures with (onnxruntime, "),
        ({"space": None}, "space", "does not keep its search space"),
        ({"date": "2999-01-02T03:04:05+00:00"}, "date", "2999-01-02T03:04:05+00:00, lies in the future"),
        ({"date": "1970-01-01T00:00:09+00:00"}, "date", "lies before this program: the clock of what measured"),
        ({"date": "2026-02-30T00:00:00+00:00"}, "date", "is none of the calendar"),
    ],
)
def test_names_and_dates_that_make_no_sense(changes: dict[str, Any], rule: str, message: str) -> None:
    (found,) = lint(make_table(**changes))
    assert (found.level, found.rule) == ("warning", rule)
    assert message in found.message


def test_sources_of_several_machines_or_states() -> None:
    machine = make_table().machine
    hot, other = (msgspec.structs.replace(machine, **c) for c in ({"limit_mhz": 800.0}, {"cpu_model": "another"}))
    sources = (source("a.json", machine), source("b.json", hot), source("c.json", other))
    found = [f for f in lint(make_table(sources=sources)) if f.rule == "fingerprints"]
    assert [f.level for f in found] == ["error", "warning", "warning"]
    assert found[0].message == "b.json and c.json differ in cpu model: test processor and another"
    assert found[1].message == "a.json and b.json differ in limit mhz: not readable and 800"


def test_cores_of_two_kinds() -> None:
    machine = msgspec.structs.replace(make_table().machine, capacities=(446, 1024))
    (found,) = lint(make_table(machine=machine))
    assert (found.level, found.rule) == ("warning", "cores")
    assert "cores of 2 kinds at once, of speeds 446 and 1024: pin the run" in found.message


def test_raw_readings_that_are_not_those_of_the_table(tmp_path: Path) -> None:
    session = msgspec.structs.replace(make_table().session, readings_sha256=hashlib.sha256(b"raw").hexdigest())
    table, path = make_table(session=session), tmp_path / "cpu.json"
    save_table(table, path)
    assert lint_readings(table, path) == []  # not kept beside it: nothing to hold against it
    readings = tmp_path / "cpu.readings.jsonl"
    readings.write_bytes(b"raw")
    assert lint_readings(table, path) == []
    readings.write_bytes(b"row")
    (found,) = lint_readings(table, path)
    assert (found.level, found.rule) == ("error", "readings")
    assert "cpu.readings.jsonl is not the file of raw readings" in found.message
