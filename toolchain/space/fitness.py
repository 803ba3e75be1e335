"""The zero-cost fitness F(A) of DeepFedNAS (Khan and Daneshtalab, arXiv 2601.15127; method section 3).

F = entropy - beta * Q + gamma * rho - lambda * V, maximised. It stands in for accuracy: no training, no data.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fednas.common import FednasError
from fednas.toolchain.space.architecture import Architecture
from fednas.toolchain.space.population import Floats, Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

Mask = npt.NDArray[np.bool_]

EPSILON = 1e-9
"""Added inside every logarithm, as published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitnessSettings:
    """The weights of F; stored with every cache and search result."""

    alpha: tuple[float, ...]
    """Weight of the entropy of each stage."""
    beta: float = 10.0
    """Weight of the depth penalty Q."""
    gamma: float = 1000.0
    """Weight of the effectiveness rho."""
    channel_penalty_weight: float = 1.0
    """Lambda, the weight of the channel penalty V; 0 switches it off."""
    rho0: float = math.inf
    """Architectures with rho above it are not allowed; equality passes."""

    def __post_init__(self) -> None:
        numbers = (*self.alpha, self.beta, self.gamma, self.channel_penalty_weight)
        if not all(map(math.isfinite, numbers)) or math.isnan(self.rho0):
            raise FednasError(f"fitness settings must be finite numbers, not {self}")
        if self.gamma < 0 or self.rho0 <= 0:
            raise FednasError(
                f"fitness settings gamma {self.gamma} and rho0 {self.rho0} must not be negative",
                hint="mend supernet_effectiveness_fitness_weight or supernet_rho0_constraint in the search space",
            )

    @classmethod
    def of_space(cls, space: SearchSpace) -> "FitnessSettings":
        """The settings of the search space file, with the published defaults for what it leaves out."""
        monotonic = space.non_decreasing_channels is not False
        coefficient = space.non_decreasing_penalty_coeff
        gamma = space.supernet_effectiveness_fitness_weight
        return cls(
            alpha=space.alpha_weights or (1.0,) * space.num_stages,
            beta=10.0 if space.beta_depth_penalty is None else space.beta_depth_penalty,
            gamma=1000.0 if gamma is None else gamma,
            channel_penalty_weight=(1.0 if coefficient is None else coefficient) if monotonic else 0.0,
            rho0=math.inf if space.supernet_rho0_constraint is None else space.supernet_rho0_constraint,
        )


@dataclass(frozen=True, slots=True)
class FitnessTerms:
    """F and its terms, each (n,), before their weights."""

    fitness: Floats
    entropy: Floats
    """H."""
    effectiveness: Floats
    """rho: layers over the geometric mean of their fan-ins."""
    depth_penalty: Floats
    """Q = exp(variance of the stage depths), 1 at uniform depth."""
    channel_penalty: Floats
    """V: channels lost from stage to stage, summed."""

    def allowed(self, settings: FitnessSettings) -> Mask:
        """Which architectures keep rho <= rho0."""
        return self.effectiveness <= settings.rho0


@dataclass(frozen=True, slots=True)
class LogTables:
    """The logarithms of which entropy and effectiveness are made, by choice index."""

    stem: float
    """ln of the stem's fan-in."""
    fan_in: tuple[Floats, ...]
    """[stage][width index before]: ln(9 * channels) of conv1 of the first block; [stage + 1] for later blocks."""
    middle: tuple[Floats, ...]
    """[stage][width index, expansion index]: ln(9 * middle) of conv2."""
    projection: tuple[Floats, ...]
    """[stage][width index before]: ln(channels) of the shortcut."""
    volume: tuple[Floats, ...]
    """[stage][width index]: ln(side^2 * channels), the factor of the stage's entropy."""


@lru_cache(maxsize=32)
def log_tables(space: SearchSpace, accounting: Accounting = "network") -> LogTables:
    """Every logarithm that F needs, for each choice of the space."""
    sides = space.sides(accounting)
    entering = (space.stem_widths, *space.stage_widths)
    stages = range(space.num_stages)
    return LogTables(
        stem=_ln(9 * space.initial_input_channels),
        fan_in=tuple(_lns([9 * c for c in widths]) for widths in entering),
        middle=tuple(_lns([[9 * m for m in row] for row in space.middle_widths(s, accounting)]) for s in stages),
        projection=tuple(_lns(widths) for widths in entering[:-1]),
        volume=tuple(_lns([sides[s + 1] ** 2 * c for c in space.stage_widths[s]]) for s in stages),
    )


def _ln(value: float) -> float:
    return math.log(value + EPSILON)


def _lns(values: object) -> Floats:
    # math.log entry by entry: numpy's vectorised logarithm may differ in the last bit.
    array = np.array(values, np.float64)
    return np.array([_ln(value) for value in array.ravel()]).reshape(array.shape)


def layers_of(stage_blocks: int, num_stages: int) -> int:
    """Layers L that rho counts: the stem, two a block, one projection a stage."""
    return 1 + 2 * stage_blocks + num_stages


def population_fitness(
    space: SearchSpace,
    population: Population,
    settings: FitnessSettings | None = None,
    accounting: Accounting = "network",
) -> FitnessTerms:
    """F and its terms of every architecture; hard constraints are the caller's to apply."""
    settings = settings or FitnessSettings.of_space(space)
    tables = log_tables(space, accounting)
    entropy = np.zeros(len(population))
    log_sum = np.full(len(population), tables.stem)
    for stage in range(space.num_stages):
        width = population.widths[:, stage + 1]
        bracket = np.zeros(len(population))
        # Layer by layer, in the published order: that makes the sums equal to the last bit.
        for logs, active in _layer_logs(tables, population, stage):
            bracket += np.where(active, logs, 0.0)
            log_sum += np.where(active, logs, 0.0)
        entropy += settings.alpha[stage] * (tables.volume[stage][width] * bracket)
    blocks = population.depths.sum(axis=1, dtype=np.int64) + space.num_stages
    layers = layers_of(1, space.num_stages) - 2 + 2 * blocks
    rho = layers / np.exp(log_sum / layers)
    penalty = depth_penalty(population.depths)
    lost = _channel_penalty(space, population)
    weighted = settings.gamma * rho - settings.channel_penalty_weight * lost
    return FitnessTerms(entropy - settings.beta * penalty + weighted, entropy, rho, penalty, lost)


def _layer_logs(tables: LogTables, population: Population, stage: int) -> Iterator[tuple[Floats, Mask]]:
    """The logarithm of every layer of a stage, (n,), and which architectures have that layer."""
    before, width = population.widths[:, stage], population.widths[:, stage + 1]
    for block in range(population.ratios.shape[2]):
        active = population.depths[:, stage] >= block
        yield (tables.fan_in[stage][before] if block == 0 else tables.fan_in[stage + 1][width]), active
        yield tables.middle[stage][width, population.ratios[:, stage, block]], active
        if block == 0:
            yield tables.projection[stage][before], active


def depth_penalty(depths: npt.NDArray[np.int8]) -> Floats:
    """Q = exp(population variance of the blocks a stage), (n,)."""
    variance: Floats = np.var(depths.astype(np.float64) + 1.0, axis=1)
    return np.exp(variance)


def _channel_penalty(space: SearchSpace, population: Population) -> Floats:
    lost = np.zeros(len(population))
    channels = [np.array(widths)[population.widths[:, s + 1]] for s, widths in enumerate(space.stage_widths)]
    for wide, narrow in itertools.pairwise(channels):
        lost += np.maximum(0, wide - narrow)
    return lost


def fitness_of(
    space: SearchSpace,
    arch: Architecture,
    settings: FitnessSettings | None = None,
    accounting: Accounting = "network",
) -> float:
    """F of one architecture."""
    population = Population.from_architectures(space, [arch])
    return float(population_fitness(space, population, settings, accounting).fitness[0])
