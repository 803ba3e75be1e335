"""Entries that the rest of the table contradicts: edited by hand, copied wrongly, or read at a bad moment.

What every block should cost is asked of the others: a sum over a few amounts of work (calls, multiplications, numbers
read and written, weights, channels rounded up to a register), fitted to all entries so that single wild ones do not
pull it. It is coarser than the block model of the tables and fits ten thousand entries in an instant.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fednas.latency_tables.blocks import BlockKind, BlockSpec, Shortcut
from fednas.latency_tables.finding import Finding
from fednas.latency_tables.table import LatencyTable, TableEntry

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

ODD, WRONG = 1.5, 2.0
"""Factors off the expected latency from which an entry is warned of, and from which it is an error."""
SCATTERS = 8
"""Of the table's own scatter that an entry must lie off; real tables keep within six."""
ERRORS = 3
"""Of the entry's own standard error."""
LEAST_ENTRIES = 20
"""The fit has 14 coefficients."""
SWEEPS, HUBER, RIDGE = 8, 2.0, 1e-6
LANES = 16
FARTHEST = 14.0
"""Logarithm of a latency over the median of all, beyond which it counts as that: sums stay finite."""


def outlying(table: LatencyTable) -> Iterator[Finding]:
    """Entries that lie off what the others say by far more than the table scatters.

    Readings are held against readings, and what a model filled in against the rest of that: where the two disagree,
    as on tiny blocks of which few were read, it is the model that is rough.
    """
    for origin in dict.fromkeys(entry.origin for entry in table.entries):
        entries = [entry for entry in table.entries if entry.origin == origin]
        if len(entries) >= LEAST_ENTRIES:
            yield from _outlying(entries)


def _outlying(entries: Sequence[TableEntry]) -> Iterator[Finding]:
    import numpy as np

    specs = [entry.spec for entry in entries]
    off, scatter = _off(specs, np.array([entry.median_ms for entry in entries]))
    if any(entry.smoothed_ms is not None for entry in entries):
        drawn, _ = _off(specs, np.array([entry.alone_ms for entry in entries]))
        off = np.where(np.abs(drawn) > np.abs(off), drawn, off)
    noise = np.maximum(SCATTERS * scatter, ERRORS * np.array([entry.spread for entry in entries]))
    certain = np.abs(off) > np.maximum(noise, math.log(WRONG))
    odd = (np.abs(off) > np.maximum(noise, math.log(ODD))) & ~certain
    for level, found in (("error", certain), ("warning", odd)):
        if found.any():
            worst = max(map(int, np.flatnonzero(found)), key=lambda place: abs(off[place]))
            message = _message(int(found.sum()), entries[worst], math.exp(off[worst]), scatter)
            yield Finding("error" if level == "error" else "warning", "outlier", message)


def _message(count: int, worst: TableEntry, factor: float, scatter: float) -> str:
    entries = "1 entry lies" if count == 1 else f"{count} entries lie"
    which = "" if count == 1 else "worst: "
    return (
        f"{entries} far off what the others say of such blocks, edited or misread; "
        f"{which}{worst.spec.key} at {_times(factor)} times that, where the others scatter by {scatter:.0%}"
    )


def _times(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:#.2g}"


def _off(specs: Sequence[BlockSpec], latency_ms: "Array") -> tuple["Array", float]:
    """Logarithm of each latency over the expected one, (n,), and how these scatter.

    Kinds of block are compared among themselves: that all stems are dearer than the fit says is no fault. Of two
    that disagree nothing tells which is wrong, so each lies off by half of it; one alone cannot be judged.
    """
    import numpy as np

    work, macs, kinds = _work(specs)
    logs = np.log(latency_ms)
    logs = np.clip(logs - np.median(logs), -FARTHEST, FARTHEST)
    off = logs - np.log(_expected(work, np.log(macs), logs))
    for kind in range(kinds.max() + 1):
        members = kinds == kind
        if members.any():
            off[members] -= np.median(off[members])
    return off, _deviation(off)


def _expected(work: "Array", log_macs: "Array", logs: "Array") -> "Array":
    """Latencies by a sum over the work, (n,); rows that fit badly count less (Huber), and errors are relative."""
    import numpy as np

    spread = log_macs - log_macs.mean()
    slope = (spread @ logs) / max(float(spread @ spread), 1e-9)
    expected: Array = np.exp(np.clip(logs.mean() + slope * spread, -FARTHEST, FARTHEST))
    latency, trust = np.exp(logs), np.ones(len(logs))
    for _ in range(SWEEPS):
        rows = work / expected[:, None]
        size = np.sqrt((rows**2).mean(axis=0))
        size[size == 0] = 1.0
        rows = rows / size
        weighted = rows * trust[:, None]
        ridge = RIDGE * len(logs) * np.eye(rows.shape[1])
        solution = np.linalg.solve(weighted.T @ rows + ridge, weighted.T @ np.clip(latency / expected, 0.1, 10))
        expected = np.maximum(work @ (solution / size), expected / 4)
        off = np.abs(logs - np.log(expected))
        trust = np.minimum(1, HUBER * _deviation(off) / np.maximum(off, 1e-12)) ** 2
    return expected


def _deviation(values: "Array") -> float:
    """Standard deviation of all but the wild ones; above zero."""
    import numpy as np

    return 1.4826 * float(np.median(np.abs(values))) + 1e-9


def _work(specs: Sequence[BlockSpec]) -> tuple["Array", "Array", "Array"]:
    """Amounts of work, (n, 14); MACs, (n,); and the kind of each, numbers from 0 on, (n,)."""
    import numpy as np

    sizes = [(s.in_channels, s.mid_channels, s.out_channels, s.in_hw, s.out_hw, s.stride) for s in specs]
    entering, middle, leaving, side, out_side, stride = np.array(sizes, dtype=float).T
    residual, stem, head, projection = (
        np.array(flags, dtype=float)
        for flags in (
            [spec.kind is BlockKind.RESIDUAL for spec in specs],
            [spec.kind is BlockKind.STEM for spec in specs],
            [spec.kind is BlockKind.HEAD for spec in specs],
            [spec.shortcut is Shortcut.PROJECTION for spec in specs],
        )
    )
    area = out_side**2
    first, second, small = entering * middle, middle * leaving, entering * leaving * (projection + head)
    large = (first + second + stem * entering * leaving) * area
    strided = residual * projection * (stride > 1)
    columns = (
        np.ones(len(specs)),
        residual,
        projection,
        large,
        strided * first * area,
        small * area,
        middle * area,
        residual * leaving * area,
        (first + second) * out_side,
        first + second,
        entering * side**2,
        leaving * area,
        strided * entering * side**2,
        residual * _padded(middle) * (_padded(entering) + _padded(leaving)) * area,
    )
    kinds = np.select([stem > 0, head > 0, projection == 0, strided == 0], [0, 1, 2, 3], default=4)
    return np.stack(columns, axis=1), 9 * large + small * area, kinds


def _padded(channels: "Array") -> "Array":
    import numpy as np

    rounded: Array = np.ceil(channels / LANES) * LANES
    return rounded
