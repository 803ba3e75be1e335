"""Faults that were met in published tables, rebuilt small."""

import re
from typing import Any

import pytest
from table_examples import BODY, HEAD, REPORT, STEM, entry, make_table, widths

from fednas.latency_tables import Calibration, LatencyTable, Report, lint

MIDDLES = (8, 16, 32, 64, 128, 256)
FAMILY = widths(BODY, MIDDLES)


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
        ({"repeatability_mape": 0.08}, "warning", "repeats only to 8.0%"),
        ({"interval_coverage": 0.7}, "error", "claim 90% and hold 70%"),
    ],
)
def test_poor_reports(changes: dict[str, float], level: str, message: str) -> None:
    (finding,) = lint(make_table(report=report(**changes)))
    assert (finding.level, finding.rule) == (level, "report")
    assert message in finding.message


def test_coverage_within_its_scatter_is_no_finding() -> None:
    assert lint(make_table(report=report(interval_coverage=0.8))) == []


def test_impossible_spread() -> None:
    flat = {"p10_ms": 1.0, "p90_ms": 1.0}
    one = make_table(entry(STEM, 1.0, **flat), entry(BODY, 2.0), entry(HEAD, 3.0))
    assert rules(one) == [("warning", "spread")]
    assert rules(make_table(entry(STEM, 1.0, **flat))) == [("error", "spread")]
    wide = lint(make_table(entry(STEM, 1.0, spread=0.3), entry(BODY, 2.0)))
    assert wide[0].message == "1 medians are known to no better than 5%; worst: stem-in3-out8-hw4-s1 to 30%"


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
    table = make_table(entry(STEM, 1.0, spread=0.3, samples=0), entry(BODY, 2.0, spread=0.3), interval=None)
    levels = [finding.level for finding in lint(table)]
    assert levels == sorted(levels)
