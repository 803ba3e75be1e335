"""Everything known about an architecture without building it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fednas.latency_tables import LatencyModel
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

    def as_document(self) -> dict[str, float | int]:
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
        latency = {}
        if model is not None:
            predicted = model.predict(blocks_of(space, arch))
            latency = {
                "latency_ms": predicted.latency_ms,
                "latency_low_ms": predicted.low_ms,
                "latency_high_ms": predicted.high_ms,
                "coverage": predicted.coverage,
            }
        scores.append(
            Score(
                macs=int(macs[row]),
                params=int(params[row]),
                fitness=float(terms.fitness[row]),
                entropy=float(terms.entropy[row]),
                effectiveness=float(terms.effectiveness[row]),
                depth_penalty=float(terms.depth_penalty[row]),
                channel_penalty=float(terms.channel_penalty[row]),
                **latency,
            )
        )
    return scores
