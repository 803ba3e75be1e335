"""The file: what it refuses, and that nothing is lost in it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_examples import BODY, NETWORK, STEM, entry, make_table, network

from fednas.common import FednasError
from fednas.latency_tables import (
    BlockKind,
    BlockSpec,
    Calibration,
    Interval,
    Report,
    Shortcut,
    load_table,
    save_table,
    table_from_json,
)

positive = st.floats(min_value=1e-6, max_value=1e6)
counts = st.integers(min_value=1, max_value=4096)
stems = st.builds(
    BlockSpec,
    kind=st.just(BlockKind.STEM),
    in_channels=counts,
    mid_channels=st.just(0),
    out_channels=counts,
    in_hw=counts,
)
residuals = st.builds(
    BlockSpec,
    kind=st.just(BlockKind.RESIDUAL),
    in_channels=counts,
    mid_channels=counts,
    out_channels=counts,
    in_hw=counts,
    stride=st.integers(1, 4),
    shortcut=st.sampled_from([Shortcut.IDENTITY, Shortcut.PROJECTION]),
)
shares = st.floats(min_value=0, max_value=1)
reports = st.builds(
    Report,
    subnets=counts,
    mape=positive,
    within_5=shares,
    within_10=shares,
    kendall_tau=st.floats(-1, 1),
    interval_coverage=shares,
    repeatability_mape=positive,
)
calibrations = st.builds(
    Calibration, intercept_ms=positive, scale=positive, overhead_ms=positive, reorder_ms_per_number=positive
)


@given(
    specs=st.sets(st.one_of(stems, residuals), min_size=1, max_size=8),
    medians=st.lists(positive, min_size=8, max_size=8),
    report=st.none() | reports,
    calibration=calibrations,
    threads=counts,
)
def test_a_table_survives_the_round_trip(
    specs: set[BlockSpec], medians: list[float], report: Report | None, calibration: Calibration, threads: int
) -> None:
    entries = [entry(spec, ms) for spec, ms in zip(sorted(specs), medians, strict=False)]
    table = make_table(*entries, report=report, calibration=calibration, threads=threads)
    assert table_from_json(table.to_json(), "table") == table


def test_saving_and_loading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    save_table(make_table(), path)
    assert load_table(path) == make_table()
    assert [e.spec for e in load_table(path).entries] == list(NETWORK)


def edited(**changes: Any) -> str:
    document = json.loads(make_table().to_json())
    for place, value in changes.items():
        target = document
        *parents, last = place.split("__")
        for step in parents:
            target = target[int(step) if step.isdigit() else step]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (edited(batches=1), "unknown key 'batches'; did you mean batch"),
        (edited(entries__0__mean_ms=1.0), r"unknown key 'mean_ms'.*median_ms.*entries\[0\]"),
        (edited(device=None), "missing key device"),
        (edited(entries__0__median_ms="fast"), r"Expected float, got str.*entries\[0\]\.median_ms"),
        (edited(entries__1__median_ms=-1.0), r"Expected float >= 1e-09.*entries\[1\]\.median_ms"),
        (edited(entries__1__median_ms=0), r"Expected float >= 1e-09.*entries\[1\]\.median_ms"),
        (edited(entries__0__median_ms=float("nan")), r"the value of key median_ms in line 1 is NaN, no number; mend"),
        (edited(entries__0__p90_ms=float("-inf")), "the value of key p90_ms in line 1 is -Infinity, no number"),
        (edited(precision="fp33"), "key precision must be one of fp32, fp16, int8"),
        (edited(precision="fp32\n"), "key precision must be one of"),
        (edited(device=""), r"length >= 1 \(key device\)"),
        (edited(device="\x1b[2Jowned"), "key device must be text without control characters, in one line"),
        (edited(runtime="a\n"), "key runtime must be text without control characters"),
        (edited(machine__cpu_model="\x00"), "key machine.cpu_model must be text without control"),
        (edited(machine__governor="\x07"), "key machine.governor must be text without control"),
        (edited(session__remarks=["fine", "\x07"]), r"key session.remarks\[1\] must be text without control"),
        (
            edited(date="yesterday"),
            r"key date must be a date and time in UTC, such as 2026-01-02T03:04:05\+00:00",
        ),
        (edited(date="2026-13-02T03:04:05+00:00"), "key date must be a date and time in UTC"),
        (edited(date="2026-01-02T03:04:05+02:00"), "key date must be a date and time in UTC"),
        (edited(entries__0__samples=1.5), r"Expected int, got float.*samples"),
        (edited(entries__0__median_ms=1e300), r"Expected float <= 1000000000\.0.*entries\[0\]\.median_ms"),
        (edited(entries__0__p10_ms=2.0), "stem-in3-out8-hw4-s1: p10_ms <= median_ms <= p90_ms"),
        (edited(entries__0__mid_channels=8), "a stem block cannot have these fields"),
        (edited(entries__0__origin="guessed"), r"key entries\[0\]\.origin is 'guessed'; it must be one of measured"),
        (edited(report__within_5=1.2), r"Expected float <= 1\.0.*report\.within_5"),
        (edited(interval__factor=0.5), r"Expected float >= 1\.0.*interval\.factor"),
        (edited(entries=[]), "the table has no entries"),
    ],
)
def test_what_is_not_exactly_right_is_refused_by_its_key(content: str, message: str) -> None:
    with pytest.raises(FednasError, match=message) as caught:
        table_from_json(content, "latency table cpu.json")
    assert str(caught.value).startswith("latency table cpu.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; copy the file again, completely, or profile the device again"),
        ("\n", "is empty"),
        (make_table().to_json()[:-20], "is cut off; copy the file again, completely"),
        (make_table().to_json()[:101], "is cut off"),
        (make_table().to_json() + "x", "goes on behind its end; copy the file again"),
        (edited(schema=0), "has schema 0, this version reads 1; copy the file again"),
        (edited(schema=7), "has schema 7, newer than the 1 that this version reads; install the version of fednas-exp"),
        ('{"schema": 1, "space": ' + "[" * 100_000 + "]" * 100_000 + "}", "is nested too deep"),
    ],
)
def test_what_is_wrong_with_the_whole_file_is_said_in_one_line(content: str, message: str) -> None:
    with pytest.raises(FednasError, match=message) as caught:
        table_from_json(content, "latency table cpu.json")
    assert re.match(r"latency table cpu\.json (is|has|goes) ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_network_outside_its_own_percentiles_is_refused() -> None:
    kept = network("held-out", (0, 1, 2), 6.0, 6.0)
    document = json.loads(make_table(networks=(kept,)).to_json())
    document["networks"][0]["median_ms"] = 9.0
    with pytest.raises(FednasError, match=r"held-out network of 9\.0 ms: p10_ms <= median_ms <= p90_ms does not hold"):
        table_from_json(json.dumps(document), "table")


def test_text_that_is_not_utf_8_is_named() -> None:
    content = make_table(device="caf\u00e9").to_json().encode("latin-1")
    with pytest.raises(FednasError, match=r"latency table cpu\.json is not UTF-8 text"):
        table_from_json(content, "latency table cpu.json")


def test_a_block_that_stands_twice_is_refused() -> None:
    document = json.loads(make_table(entry(STEM, 1.0), entry(BODY, 2.0)).to_json())
    document["entries"].append(document["entries"][0])
    with pytest.raises(FednasError, match="block stem-in3-out8-hw4-s1 stands in the table twice"):
        table_from_json(json.dumps(document), "table")


def test_infinite_values_are_refused() -> None:
    with pytest.raises(FednasError, match=r"out of range|finite"):
        table_from_json(make_table().to_json().replace('"factor": 1.25', '"factor": 1e999'), "table")
    with pytest.raises(ValueError, match="factor is inf; it must be a finite number"):
        Interval(coverage=0.9, factor=float("inf"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"latency table .*none\.json does not exist"):
        load_table(tmp_path / "none.json")


def test_a_table_of_a_newer_version_says_so_before_its_new_keys_are_complained_about() -> None:
    newer = edited(schema=2, tool_version="9.1.0", thermal={"zones": 3})
    with pytest.raises(FednasError, match=r"schema 2, newer than the 1 .* fednas-export that wrote it \(9\.1\.0\)"):
        table_from_json(newer, "latency table cpu.json")


def test_the_search_space_survives_the_round_trip() -> None:
    space = {"num_stages": 2, "width_multiplier_choices": (0.5, 1.0), "stage_downsample_factors": (1, 2)}
    table = make_table(space=space)
    assert table_from_json(table.to_json(), "table") == table


def test_entries_of_a_merged_table_name_sources_that_exist() -> None:
    with pytest.raises(ValueError, match="names a source that is not among the sources"):
        make_table(entry(STEM, 1.0, sources=(0,)))
