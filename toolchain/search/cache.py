"""The training curriculum: a cache of the fittest subnets from the smallest to the largest network.

The published cache is made by one genetic search a row, covers 459 M MACs upwards, and holds duplicates and a
hand-edited row (method Q10, Q17, Q19, Q24). Here every row is proven optimal for its budget, the whole range
is covered by default, and the smallest and the largest network are always in.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fednas.common import FednasError, Progress, silent, write_atomic
from fednas.toolchain.search.exact import ExactSearch
from fednas.toolchain.search.limits import macs_quantity
from fednas.toolchain.space.architecture import (
    Architecture,
    largest_architecture,
    smallest_architecture,
)
from fednas.toolchain.space.cost import cost_of, population_cost
from fednas.toolchain.space.fitness import FitnessSettings, population_fitness
from fednas.toolchain.space.population import Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

COLUMNS = ("macs", "params", "fitness_score", "effectiveness", "entropy", "d", "e", "w_indices")


@dataclass(frozen=True, slots=True)
class CacheRow:
    """One subnet with its metrics."""

    architecture: Architecture
    macs: int
    params: int
    fitness: float
    effectiveness: float
    entropy: float


def make_cache(
    space: SearchSpace,
    count: int,
    *,
    min_macs: int | None = None,
    max_macs: int | None = None,
    accounting: Accounting = "network",
    progress: Progress = silent,
) -> list[CacheRow]:
    """Up to ``count`` distinct subnets, sorted by MACs, at equidistant budgets of MACs.

    The smallest and the largest network within the bounds of the space are always in. Fewer rows come back
    only if the space does not hold ``count`` distinct optimal networks in that range.
    """
    smallest, largest = smallest_architecture(space), largest_architecture(space)
    low = cost_of(space, smallest, accounting).macs if min_macs is None else min_macs
    high = cost_of(space, largest, accounting).macs if max_macs is None else max_macs
    if count < 2:
        raise FednasError(f"count is {count}; a cache needs at least 2 rows", hint="use --count 60")
    if low >= high:
        raise FednasError(f"min MACs {low} is not below max MACs {high}", hint="mend --min-macs or --max-macs")
    search = ExactSearch(
        space, FitnessSettings.of_space(space), [macs_quantity(space, accounting)], accounting=accounting
    )
    found = {smallest: None, largest: None}
    budgets = _halving(low, high, count)
    for done, budget in enumerate(budgets):
        if len(found) >= count:
            break
        architecture = search.best([budget]).architecture
        if architecture is not None:
            found[architecture] = None
        progress(done, len(budgets), f"{len(found)} of {count} rows")
    return rows_of(space, list(found), accounting)


def _halving(low: int, high: int, count: int) -> list[float]:
    """Equidistant budgets first; then the midpoints between them, for rows that turned out equal."""
    first = np.linspace(low, high, count)
    between = (first[:-1] + first[1:]) / 2
    return [*first[1:-1], *between]


def rows_of(space: SearchSpace, archs: Sequence[Architecture], accounting: Accounting) -> list[CacheRow]:
    """Metrics of architectures, sorted by MACs, then parameters."""
    population = Population.from_architectures(space, archs)
    macs, params = population_cost(space, population, accounting)
    terms = population_fitness(space, population, None, accounting)
    columns = zip(archs, macs, params, terms.fitness, terms.effectiveness, terms.entropy, strict=True)
    rows = [CacheRow(a, int(m), int(p), float(f), float(r), float(h)) for a, m, p, f, r, h in columns]
    return sorted(rows, key=lambda row: (row.macs, row.params))


def write_cache(path: Path, rows: Sequence[CacheRow]) -> None:
    """Write the published columns; plain numbers, lists as JSON, so that every reader can load it (Q18)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        genes = [
            json.dumps(list(part)) for part in (row.architecture.d, row.architecture.e, row.architecture.w_indices)
        ]
        writer.writerow([row.macs, row.params, row.fitness, row.effectiveness, row.entropy, *genes])
    write_atomic(path, text.getvalue())
