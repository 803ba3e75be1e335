"""Entries that the rest of the table contradicts."""

import random
import re
from dataclasses import replace
from itertools import product
from typing import Any

import msgspec
import pytest
from table_examples import BODY, HEAD, STEM, entry, make_table, widths

from fednas.latency_tables import Finding, LatencyTable, Shortcut, lint

SPECS = [
    *(replace(STEM, out_channels=channels) for channels in (8, 16, 24)),
    *(
        replace(BODY, in_channels=entering, mid_channels=middle, out_channels=leaving, in_hw=side)
        for side, entering, middle, leaving in product((4, 8), (8, 16, 24), (8, 16, 32), (16, 32))
    ),
    *(replace(BODY, in_channels=c, out_channels=c, stride=1, shortcut=Shortcut.IDENTITY) for c in (8, 16, 32)),
    *(replace(HEAD, in_channels=channels) for channels in (16, 32)),
]


def device(noise: float = 0.02, *, seed: int = 0, **changes: Any) -> LatencyTable:
    """Five microseconds a call, 10 G MAC/s, and 3 ns for each number that is written."""
    rng = random.Random(seed)  # noqa: S311 - noise, not a secret
    entries = [
        entry(s, (0.005 + s.macs / 1e7 + 3e-6 * s.out_channels * s.out_hw**2) * rng.gauss(1, noise), **changes)
        for s in SPECS
    ]
    return make_table(*entries)


def edited(table: LatencyTable, place: int, factor: float, *keys: str) -> LatencyTable:
    entries = list(table.entries)
    scaled = {key: getattr(entries[place], key) * factor for key in keys}
    entries[place] = msgspec.structs.replace(entries[place], **scaled)
    return msgspec.structs.replace(table, entries=tuple(entries))


def outliers(table: LatencyTable) -> list[Finding]:
    return [finding for finding in lint(table) if finding.rule == "outlier"]


READING = ("median_ms", "p10_ms", "p90_ms")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.08])
def test_a_table_as_it_was_measured_has_none(noise: float, seed: int) -> None:
    assert outliers(device(noise, seed=seed)) == []


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
@pytest.mark.parametrize("place", [0, 5, 20, 38, 40])
def test_one_entry_edited_by_hand(place: int, factor: float) -> None:
    (found,) = outliers(edited(device(), place, factor, *READING))
    assert found.level == "error"
    assert found.message.startswith("1 entry lies far off what the others say of such blocks, edited or misread; ")
    off = re.search(rf"{SPECS[place].key} at ([0-9.]+) times that", found.message)
    assert off
    assert float(off[1]) == pytest.approx(factor, rel=0.15)
    assert "where the others scatter by" in found.message


def test_an_entry_that_is_wildly_off_is_told_in_plain_figures() -> None:
    (found,) = outliers(edited(device(), 20, 1000.0, *READING))
    assert re.search(r" at [0-9,]{3,} times that", found.message)


def test_half_as_much_again_is_a_warning_and_a_little_is_nothing() -> None:
    assert [each.level for each in outliers(edited(device(), 20, 1.7, *READING))] == ["warning"]
    assert outliers(edited(device(), 20, 1.2, *READING)) == []


def test_of_two_heads_that_disagree_nothing_tells_which_is_wrong() -> None:
    (found,) = outliers(edited(device(), len(SPECS) - 1, 4.0, *READING))
    assert found.level == "warning"
    assert found.message.startswith("2 entries lie far off")


def test_what_predictions_use_is_looked_at_too() -> None:
    drawn = device()
    entries = tuple(msgspec.structs.replace(each, smoothed_ms=each.median_ms) for each in drawn.entries)
    table = msgspec.structs.replace(drawn, entries=entries)
    assert outliers(table) == []
    (found,) = outliers(edited(table, 20, 3.0, "smoothed_ms"))
    assert f"{SPECS[20].key} at 3" in found.message


def test_an_entry_that_says_it_is_hardly_known_is_believed() -> None:
    entries = list(device().entries)
    unsure = {"p10_ms": entries[20].median_ms / 3, "spread": 0.5, "median_ms": entries[20].median_ms * 3}
    entries[20] = msgspec.structs.replace(entries[20], **unsure, p90_ms=entries[20].median_ms * 9)
    assert outliers(make_table(*entries)) == []


def test_a_few_entries_say_nothing_and_extreme_ones_break_nothing() -> None:
    assert outliers(make_table(*(entry(s, 1.0 + i) for i, s in enumerate(widths(BODY, (8, 16, 32)))))) == []
    (found,) = outliers(edited(device(), 20, 1e290, *READING))
    assert (found.level, found.message[:11]) == ("error", "1 entry lie")
    wide = [entry(s, 10.0 ** (i * 12 - 280)) for i, s in enumerate(SPECS)]
    assert isinstance(outliers(make_table(*wide)), list)


def test_a_reading_is_not_held_against_what_a_model_filled_in() -> None:
    table = device()
    filled_in: dict[str, Any] = {"origin": "modelled", "samples": 0, "p10_ms": None, "p90_ms": None}
    entries = [msgspec.structs.replace(each, **filled_in) for each in table.entries]
    # The only reading: three times what the model says of such blocks.
    entries[20] = edited(table, 20, 3.0, *READING).entries[20]
    assert outliers(msgspec.structs.replace(table, entries=tuple(entries))) == []
    entries[20] = msgspec.structs.replace(entries[20], **filled_in)
    (found,) = outliers(msgspec.structs.replace(table, entries=tuple(entries)))
    assert found.level == "error"
