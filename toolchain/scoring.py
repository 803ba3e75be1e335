"""Everything known about an architecture without building it, held against what a file claims."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fednas.common import FednasError, read_text
from fednas.latency_tables import LatencyModel, LatencyPrediction
from fednas.toolchain.space import Accounting, Architecture, SearchSpace, blocks_of
from fednas.toolchain.space.cost import population_cost
from fednas.toolchain.space.fitness import population_fitness
from fednas.toolchain.space.population import Population


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One architecture; the terms of the fitness are before their weights (method section 3)."""

    macs: int
    params: int
    fitness: float
    entropy: float
    effectiveness: float
    depth_penalty: float
    channel_penalty: float
    latency_ms: float | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    coverage: float | None = None
    """Share of networks that the latency interval holds; None without a latency model."""
    latency_kind: str | None = None
    """``measured``: by a table measured on the device; ``estimate``: from its datasheet."""
    modelled: float | None = None
    """Share of the latency from entries that nobody measured."""

    def as_document(self) -> dict[str, float | int | str]:
        """For JSON; latencies are left out where none was predicted."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def score_rows(
    space: SearchSpace, archs: Sequence[Architecture], accounting: Accounting, model: LatencyModel | None
) -> list[Score]:
    """Scores in the order of ``archs``; raises `FednasError` if ``model`` lacks a block of one of them."""
    population = Population.from_architectures(space, archs)
    macs, params = population_cost(space, population, accounting)
    terms = population_fitness(space, population, None, accounting)
    scores = []
    for row, arch in enumerate(archs):
        score = Score(
            macs=int(macs[row]),
            params=int(params[row]),
            fitness=float(terms.fitness[row]),
            entropy=float(terms.entropy[row]),
            effectiveness=float(terms.effectiveness[row]),
            depth_penalty=float(terms.depth_penalty[row]),
            channel_penalty=float(terms.channel_penalty[row]),
        )
        scores.append(score if model is None else _with_latency(score, model.predict(blocks_of(space, arch))))
    return scores


def _with_latency(score: Score, predicted: LatencyPrediction) -> Score:
    return replace(
        score,
        latency_ms=predicted.latency_ms,
        latency_low_ms=predicted.low_ms,
        latency_high_ms=predicted.high_ms,
        coverage=predicted.coverage,
        latency_kind=predicted.kind,
        modelled=predicted.modelled,
    )


LOGGED_COLUMNS = {
    "macs": "macs",
    "params": "params",
    "fitness_score": "fitness",
    "effectiveness": "effectiveness",
    "entropy": "entropy",
}
"""Column of a cache -> the metric that it claims."""
ROUNDING = 1e-6
"""Relative; what a file may have rounded away."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A row of a file whose logged metric is not that of its architecture."""

    row: int
    """0-based."""
    column: str
    logged: float
    recomputed: float


def disagreements(path: Path, scores: Sequence[Score]) -> list[Disagreement]:
    """Where the metrics logged in a cache differ from the recomputed ones (method Q10: row 59 of the published one).

    Columns that the file does not have are not compared, nor are empty cells. Raises `FednasError` for a cell
    that holds no number.
    """
    rows = csv.DictReader(io.StringIO(read_text(path, "architecture file")), skipinitialspace=True)
    rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
    found = []
    for number, (row, score) in enumerate(zip(rows, scores, strict=True)):
        for column, metric in LOGGED_COLUMNS.items():
            logged = _logged(path, number, column, row)
            recomputed = float(getattr(score, metric))
            if logged is not None and not math.isclose(logged, recomputed, rel_tol=ROUNDING):
                found.append(Disagreement(number, column, logged, recomputed))
    return found


def _logged(path: Path, number: int, column: str, row: Mapping[str, str | None]) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError as err:
        raise FednasError(
            f"architecture file {path}, row {number}: column {column} holds {text!r}, which is no number",
            hint="mend or remove that column",
        ) from err
