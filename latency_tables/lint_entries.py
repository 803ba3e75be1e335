"""What speaks against the entries of a table."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fednas.latency_tables.blocks import BlockSpec
from fednas.latency_tables.finding import Finding, Level
from fednas.latency_tables.measured import LEAST_SHARE, contribution_ms
from fednas.latency_tables.table import LatencyTable, TableEntry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

FASTER = 0.05
"""A block with more work in one dimension may be this much faster before it counts (alignment helps some widths)."""
MANY_FASTER = 0.2
"""Share of such steps that makes the table worthless."""
SLIGHTLY_FASTER = 0.02
MANY_SLIGHTLY_FASTER = 1 / 3
"""In a public table of a launch-bound GPU 41 of 60 larger kernels were faster by more than 2 %; on a phone, none."""
BIG_STEP = 1.3
"""Ratio of MACs from which a latency that stays the same says that the device is launch-bound."""
NO_SIGNAL = 1.02
"""Ratio of latencies that is no more than noise."""
WIDE_SPREAD = 0.05
WIDE_READINGS = 3.0
"""Ratio of the 90th to the 10th percentile of readings from which the median of two modes may be anywhere."""
MEDIAN_ERROR = 1.2533 * 1.4826
"""Standard error of a median, times the root of the samples, over their median absolute deviation."""


def _monotonic(table: LatencyTable) -> Iterator[Finding]:
    import numpy as np

    small, large = _steps(table.entries)
    spread = np.array([entry.spread for entry in table.entries])
    # Beyond a spread of 1 nothing is surely faster.
    ratio, noise = _ratios(table, small, large), 2 * np.hypot(*spread.clip(max=1.0)[[small, large]])
    # Faster by more than that share, and by more than the two medians are unsure of.
    wrong, slightly = (ratio < 1 - np.maximum(share, noise) for share in (FASTER, SLIGHTLY_FASTER))
    if slightly.sum() > MANY_SLIGHTLY_FASTER * len(ratio):
        message = f"more work is more than {SLIGHTLY_FASTER:.0%} faster in {slightly.sum()} of {len(ratio)} steps"
        yield Finding("error", "monotonic", f"{message}: the readings follow something else than the work")
    elif wrong.any():
        place = np.argmin(np.where(wrong, ratio, np.inf))
        one, other = table.entries[small[place]], table.entries[large[place]]
        worst = f"worst: {other.spec.key} takes {ratio[place]:.2f} of {one.spec.key}"
        level: Level = "error" if wrong.sum() > MANY_FASTER * len(ratio) else "warning"
        message = f"more work is more than {FASTER:.0%} faster in {wrong.sum()} of {len(ratio)} steps; {worst}"
        yield Finding(level, "monotonic", message)


def launch_dominated(table: LatencyTable) -> Iterator[Finding]:
    """Whether larger blocks take no longer: the entries are of launches rather than of work."""
    import numpy as np

    small, large = _steps(table.entries)
    macs = np.array([entry.spec.macs for entry in table.entries], dtype=float)
    big = macs[large] >= BIG_STEP * macs[small]
    if big.sum() < 5:
        return
    ratio = np.median(_ratios(table, small[big], large[big]))
    if ratio < NO_SIGNAL:
        message = f"blocks with at least {BIG_STEP:g} times the MACs take {ratio:.3f} times as long: launches dominate"
        yield Finding("error", "launch-bound", message)


def _copied(table: LatencyTable) -> Iterator[Finding]:
    counts = Counter(map(_reading, _measured(table)))
    copies = sum(count for count in counts.values() if count > 1)
    if copies:
        yield Finding("error", "copied", f"{copies} measured entries agree with another one to the last digit")


def _origins(table: LatencyTable) -> Iterator[Finding]:
    counts = Counter(entry.origin for entry in table.entries)
    if len(counts) > 1:
        parts = ", ".join(f"{count} {origin}" for origin, count in sorted(counts.items()))
        yield Finding("warning", "mixed", f"entries are of different origin: {parts}")
    if bad := [e for e in table.entries if (e.origin == "measured") != (e.samples > 0)]:
        message = f"{len(bad)} entries are called {bad[0].origin} with {bad[0].samples} samples, such as"
        yield Finding("error", "origin", f"{message} {bad[0].spec.key}")


def _spread(table: LatencyTable) -> Iterator[Finding]:
    measured = [entry for entry in table.entries if entry.samples > 1]
    flat = [entry for entry in measured if _flat(entry)]
    if flat:
        message = f"{len(flat)} entries have no spread over several samples: a coarse clock, or not readings at all"
        yield Finding("error" if len(flat) > len(measured) / 2 else "warning", "spread", message)
    if impossible := [entry for entry in measured if _impossible(entry)]:
        message = f"{len(impossible)} entries state a spread that their own percentiles rule out, such as"
        yield Finding("error", "spread", f"{message} {impossible[0].spec.key}")
    if wide := [entry for entry in measured if entry.spread > WIDE_SPREAD]:
        worst = max(wide, key=lambda entry: entry.spread)
        message = f"{len(wide)} of {len(measured)} medians known to no better than {WIDE_SPREAD:.0%}"
        yield Finding("warning", "spread", f"{message}; worst: {worst.spec.key} to {worst.spread:.0%}")
    if scattered := [entry for entry in measured if _range(entry) > WIDE_READINGS]:
        worst = max(scattered, key=_range)
        message = f"the readings of {len(scattered)} entries differ by more than a factor of {WIDE_READINGS:g}"
        yield Finding("warning", "spread", f"{message}; worst: {worst.spec.key}")


def _swallowed(table: LatencyTable) -> Iterator[Finding]:
    floors = [
        entry
        for entry in table.entries
        if contribution_ms(entry.spec, entry.alone_ms, table.calibration) <= LEAST_SHARE * entry.alone_ms
    ]
    if len(floors) > len(table.entries) / 4:
        message = f"calibration takes nearly all of {len(floors)} of {len(table.entries)} entries off as overhead"
        yield Finding("warning", "calibration", message)


ENTRY_RULES: tuple[Callable[[LatencyTable], Iterator[Finding]], ...] = (
    _monotonic,
    launch_dominated,
    _copied,
    _origins,
    _spread,
    _swallowed,
)


def copied_from(table: LatencyTable, name: str, other: LatencyTable) -> Iterator[Finding]:
    """Measured entries that agree with one of another table to the last digit."""
    theirs = {_reading(entry): entry for entry in _measured(other)}
    if copies := [entry for entry in _measured(table) if _reading(entry) in theirs]:
        message = f"{len(copies)} measured entries agree with {name} to the last digit, such as"
        yield Finding("error", "copied", f"{message} {copies[0].spec.key}")


def missing(table: LatencyTable, blocks: Sequence[BlockSpec]) -> Iterator[Finding]:
    """Blocks of a space that the table does not price, and entries that no network of the space needs."""
    if not blocks:
        return
    priced, wanted = {entry.spec for entry in table.entries}, set(blocks)
    if lacking := sorted(wanted - priced):
        message = f"{len(lacking)} of the {len(wanted)} blocks of the space have no entry, such as {lacking[0].key}"
        yield Finding("error", "missing", message)
    if idle := sorted(priced - wanted):
        message = f"{len(idle)} entries are of no block of the space, such as {idle[0].key}"
        yield Finding("warning", "foreign", message)


def _measured(table: LatencyTable) -> Iterator[TableEntry]:
    return (entry for entry in table.entries if entry.origin == "measured")


def _reading(entry: TableEntry) -> tuple[float, float, float | None, float | None]:
    return entry.median_ms, entry.spread, entry.p10_ms, entry.p90_ms


def _range(entry: TableEntry) -> float:
    """Of the readings: ninetieth percentile over tenth; 1 where they are too few to say."""
    return 1.0 if entry.p10_ms is None or entry.p90_ms is None else entry.p90_ms / entry.p10_ms


def _flat(entry: TableEntry) -> bool:
    """Whether its readings are all the same; the spread may be that of blocks like it from load to load."""
    return entry.p10_ms == entry.p90_ms and (entry.spread == 0 or entry.p10_ms is not None)


def _impossible(entry: TableEntry) -> bool:
    """Half of the readings lie within the median absolute deviation of the median, 80 % between the percentiles.

    What was loaded several times says nothing here: its spread may be that of its loads, which other blocks tell.
    """
    if entry.p10_ms is None or entry.p90_ms is None or entry.loads > 1:
        return False
    deviation_ms = entry.spread * entry.median_ms * math.sqrt(entry.samples) / MEDIAN_ERROR
    reach_ms = max(entry.median_ms - entry.p10_ms, entry.p90_ms - entry.median_ms)
    return deviation_ms > 1.01 * reach_ms


def _steps(entries: Sequence[TableEntry]) -> tuple["Array", "Array"]:
    """Neighbours in one dimension (input, middle or output channels), all else equal: places of the smaller, larger."""
    import numpy as np

    known: dict[tuple[str, str], int] = {}
    sizes = [(e.in_channels, e.mid_channels, e.out_channels, e.in_hw, e.stride) for e in entries]
    kinds = [known.setdefault((e.kind, e.shortcut), len(known)) for e in entries]
    shapes = np.column_stack([np.array(sizes, dtype=float), kinds])
    small, large = [], []
    for column in range(3):
        others = np.delete(shapes, column, axis=1)
        order = np.lexsort((shapes[:, column], *others.T))
        neighbours = (others[order[1:]] == others[order[:-1]]).all(axis=1)
        small.append(order[:-1][neighbours])
        large.append(order[1:][neighbours])
    return np.concatenate(small), np.concatenate(large)


def _ratios(table: LatencyTable, small: "Array", large: "Array") -> "Array":
    """Latencies of the larger over those of the smaller blocks."""
    import numpy as np

    median_ms = np.array([entry.median_ms for entry in table.entries])
    with np.errstate(over="ignore"):  # a table may hold any numbers
        ratios: Array = median_ms[large] / median_ms[small]
    return ratios
