"""The training curriculum: a cache of the fittest subnets from the smallest to the largest network.

The published cache is made by one genetic search a row, covers 459 M MACs upwards, and holds duplicates and a
hand-edited row (method Q10, Q17, Q19, Q24). Here all rows come from one proven frontier, the whole range is
covered by default, and the smallest and the largest network are always in.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from fednas.common import FednasError, Progress, silent, write_atomic
from fednas.toolchain.search.frontier import FrontierPoint, find_frontier
from fednas.toolchain.search.limits import Quantity, macs_quantity
from fednas.toolchain.space.architecture import (
    Architecture,
    largest_architecture,
    smallest_architecture,
)
from fednas.toolchain.space.blocks import blocks_of
from fednas.toolchain.space.cost import population_cost
from fednas.toolchain.space.fitness import FitnessSettings, population_fitness
from fednas.toolchain.space.population import Floats, Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

COLUMNS = ("macs", "params", "fitness_score", "effectiveness", "entropy", "d", "e", "w_indices")
Spacing = Literal["equidistant", "frontier"]
"""``equidistant``: budgets at equal steps of the axis, as published. ``frontier``: equal steps along the curve of
fitness over the axis, both scaled to their range, which puts more rows where fitness rises steeply."""
SPACINGS: dict[str, Spacing] = {"equidistant": "equidistant", "frontier": "frontier"}
HALVINGS = 12
"""Rounds of budgets between the budgets, for rows that turned out equal."""


@dataclass(frozen=True, slots=True)
class CacheRow:
    """One subnet with its metrics."""

    architecture: Architecture
    macs: int
    params: int
    fitness: float
    effectiveness: float
    entropy: float
    latency_ms: float | None = None
    """Predicted, where latency was the axis."""


def make_cache(
    space: SearchSpace,
    count: int,
    *,
    axis: Quantity | None = None,
    low: float | None = None,
    high: float | None = None,
    spacing: Spacing = "equidistant",
    accounting: Accounting = "network",
    progress: Progress = silent,
) -> list[CacheRow]:
    """Up to ``count`` distinct subnets, sorted by MACs, spread over ``low`` .. ``high`` of the axis.

    The axis is MACs unless another is given. The smallest and the largest network of the space are always in.
    Fewer rows come back only if the frontier does not hold ``count`` distinct networks in that range.
    """
    axis = axis or macs_quantity(space, accounting)
    ends = [smallest_architecture(space), largest_architecture(space)]
    smallest, largest = map(float, _values(space, axis, ends))
    low = smallest if low is None else low
    high = largest if high is None else high
    if count < 2:
        raise FednasError(f"count is {count}; a cache needs at least 2 rows", hint="use --count 60")
    if low > high:
        raise FednasError(
            f"the smallest {axis.name} {low:g} is above the largest {high:g}",
            hint=f"the networks of the space have {smallest:g} to {largest:g}",
        )
    points = find_frontier(
        space, FitnessSettings.of_space(space), axis, accounting=accounting, low=low, high=high, progress=progress
    )
    # Two architectures may be one network, where widths or ratios round to the same channels.
    found = {blocks_of(space, arch): arch for arch in ends}
    most = len(found.keys() | {blocks_of(space, point.architecture) for point in points})
    picker = _Picker(points, low, high, spacing)
    for share in _shares(count):
        if len(found) >= min(count, most):
            break
        for point in picker.at(share):
            found.setdefault(blocks_of(space, point.architecture), point.architecture)
    rows = rows_of(space, list(found.values()), accounting)
    if not axis.name.startswith("latency_ms"):
        return rows
    latencies = _values(space, axis, [row.architecture for row in rows])
    return [replace(row, latency_ms=float(value)) for row, value in zip(rows, latencies, strict=True)]


def _values(space: SearchSpace, axis: Quantity, archs: Sequence[Architecture]) -> Floats:
    return axis.values(Population.from_architectures(space, archs))


def _shares(count: int) -> Iterator[float]:
    """Positions between 0 and 1: first evenly spaced, then round after round those half way between them."""
    yield from np.linspace(0.0, 1.0, count)[1:-1]
    steps = count - 1
    for _ in range(HALVINGS):
        yield from (np.arange(steps) + 0.5) / steps
        steps *= 2


class _Picker:
    """Which point of a frontier stands at a share of the way from its beginning to its end."""

    def __init__(self, points: Sequence[FrontierPoint], low: float, high: float, spacing: Spacing) -> None:
        self._points = points
        self._values = np.array([point.value for point in points])
        self._low, self._span = low, high - low
        self._middles: Floats | None = None
        if spacing == "frontier" and points:
            fitness: Floats = np.array([point.fitness for point in points])
            along = np.r_[0.0, np.cumsum(np.hypot(_scaled_steps(self._values), _scaled_steps(fitness)))]
            self._low, self._span = 0.0, float(along[-1])
            self._middles = (along[1:] + along[:-1]) / 2

    def at(self, share: float) -> Sequence[FrontierPoint]:
        """One point, or none: the fittest within the budget there, or the nearest along the curve."""
        place = self._low + share * self._span
        if self._middles is not None:
            index = int(np.searchsorted(self._middles, place))
            return self._points[index : index + 1]
        index = int(np.searchsorted(self._values, place, side="right"))
        return self._points[max(index - 1, 0) : index]


def _scaled_steps(values: Floats) -> Floats:
    span = values[-1] - values[0]
    steps: Floats = np.diff(values) / (span if span > 0 else 1.0)
    return steps


def rows_of(space: SearchSpace, archs: Sequence[Architecture], accounting: Accounting) -> list[CacheRow]:
    """Metrics of architectures, sorted by MACs, then parameters."""
    return sorted(metrics_of(space, archs, accounting), key=lambda row: (row.macs, row.params))


def metrics_of(space: SearchSpace, archs: Sequence[Architecture], accounting: Accounting) -> list[CacheRow]:
    """Metrics of architectures, in their order."""
    population = Population.from_architectures(space, archs)
    macs, params = population_cost(space, population, accounting)
    terms = population_fitness(space, population, None, accounting)
    columns = zip(archs, macs, params, terms.fitness, terms.effectiveness, terms.entropy, strict=True)
    return [CacheRow(a, int(m), int(p), float(f), float(r), float(h)) for a, m, p, f, r, h in columns]


def write_cache(path: Path, rows: Sequence[CacheRow]) -> None:
    """Write the published columns; plain numbers, lists as JSON, so that every reader can load it (Q18).

    A predicted latency is one more column at the end.
    """
    latency = any(row.latency_ms is not None for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "latency_ms"] if latency else COLUMNS)
    for row in rows:
        genes = [
            json.dumps(list(part)) for part in (row.architecture.d, row.architecture.e, row.architecture.w_indices)
        ]
        metrics = [row.macs, row.params, row.fitness, row.effectiveness, row.entropy]
        writer.writerow([*metrics, *genes, row.latency_ms] if latency else [*metrics, *genes])
    write_atomic(path, text.getvalue())
