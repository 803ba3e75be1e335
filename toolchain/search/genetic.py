"""The published genetic search (method section 4.1), kept as the baseline that the exact search is held against.

Bit-equal to the public implementation for the same seed: every random number is drawn in the published order.
What changes no result was repaired: an architecture is scored once (Q12), no process pool is made, a weighted
latency counts everywhere (Q13), and a population of fewer than 3 ends with an error instead of a crash (Q15).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fednas.common import FednasError
from fednas.toolchain.search.exact import Best, ExactSearch
from fednas.toolchain.search.limits import Limit
from fednas.toolchain.space.fitness import FitnessSettings, fitness_of, population_fitness
from fednas.toolchain.space.population import Floats, Population
from fednas.toolchain.space.search_space import Accounting, SearchSpace

Genes = npt.NDArray[np.int64]
"""(n, genes): depths, expansion indices, width indices."""
OVER_A_LIMIT, OVER_RHO0 = -1e9, -1e8
"""Published fitness of what is not allowed."""
USABLE = -1e7
TOURNAMENT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneticSettings:
    """Defaults are those of the published cache script."""

    population: int = 256
    generations: int = 512
    mutation: float = 0.3
    seed: int = 42

    def __post_init__(self) -> None:
        if self.population < TOURNAMENT or self.generations < 1 or not 0 <= self.mutation <= 1 or self.seed < 0:
            raise FednasError(
                f"genetic settings {self.population} individuals, {self.generations} generations, mutation "
                f"{self.mutation}, seed {self.seed} cannot work",
                hint="use at least 3 individuals, 1 generation, a mutation rate of 0 to 1 and a seed of 0 or more",
            )


def find_genetically(
    space: SearchSpace,
    weights: FitnessSettings,
    limits: Sequence[Limit],
    settings: GeneticSettings,
    *,
    accounting: Accounting = "network",
    price: Sequence[float] | None = None,
) -> Best:
    """The best architecture that the genetic search meets, with no proof; the upper bound is the exact search's.

    ``price``: what a unit of each limited quantity takes off the fitness. Status is always ``feasible``; without
    an architecture, no network within the limits was drawn, which does not prove that there is none.
    """
    started = time.perf_counter()
    search = _Search(space, weights, limits, settings, accounting, price)
    genes, value = search.run()
    seconds = time.perf_counter() - started
    bound = ExactSearch(space, weights, [limit.quantity for limit in limits], accounting=accounting, price=price)
    upper = bound.bound([limit.at_most for limit in limits])
    if genes is None:
        return Best("feasible", None, -np.inf, upper, seconds)
    architecture = search.population(genes[None]).architecture(space, 0)
    fitness = fitness_of(space, architecture, weights, accounting)
    return Best("feasible", architecture, value, max(upper, value), seconds, fitness)


class _Search:
    def __init__(
        self,
        space: SearchSpace,
        weights: FitnessSettings,
        limits: Sequence[Limit],
        settings: GeneticSettings,
        accounting: Accounting,
        price: Sequence[float] | None,
    ) -> None:
        self._space, self._weights = space, weights
        self._limits = list(zip(limits, [0.0] * len(limits) if price is None else price, strict=True))
        self._settings, self._accounting = settings, accounting
        self._rng = np.random.default_rng(settings.seed)
        stages, slots = space.num_stages, space.expansion_slots
        choices = (space.blocks_per_stage, len(space.expansion_ratio_choices), len(space.width_multiplier_choices))
        self._domain = np.repeat(choices, (stages, slots, stages + 1))
        """Number of values of each gene."""
        self._scores: dict[bytes, float] = {}

    def population(self, genes: Genes) -> Population:
        """The genes as index arrays."""
        stages, slots = self._space.num_stages, self._space.expansion_slots
        shape = (len(genes), stages, self._space.blocks_per_stage)
        depths, ratios, widths = np.split(genes.astype(np.int8), (stages, stages + slots), axis=1)
        return Population(depths, ratios.reshape(shape), widths)

    def run(self) -> tuple[Genes | None, float]:
        """(best genes, their value), or (None, -inf) if no allowed network was drawn."""
        people = self._first_population()
        if len(people) == 0:
            return None, -np.inf
        if len(people) < TOURNAMENT:
            raise FednasError(
                f"the genetic search drew only {len(people)} networks within the limits, and needs {TOURNAMENT}",
                hint="use --method exact, or a larger budget",
            )
        best, best_value = people[0], -np.inf
        for _ in range(self._settings.generations):
            values = self._values(people)
            top = int(values.argmax())
            if values[top] > best_value:
                best, best_value = people[top].copy(), float(values[top])
            children = self._mutated(self._crossed(people[self._tournament(values)]))
            child_values = self._values(children)
            worst = int(child_values.argmin())
            if best_value > child_values[worst]:
                children[worst] = best
            people = children
        # The last generation's children are never considered, as published (Q11).
        return best, best_value

    def _first_population(self) -> Genes:
        wanted, attempts = self._settings.population, 0
        kept: list[Genes] = []
        count = 0
        while count < wanted and attempts < 2000 * wanted:
            batch = max(1, 5 * (wanted - count))
            attempts += batch
            drawn = self._rng.integers(0, np.tile(self._domain, (batch, 1)))
            usable = drawn[self._values(drawn) > USABLE][: wanted - count]
            kept.append(usable)
            count += len(usable)
        return np.concatenate(kept)

    def _tournament(self, values: Floats) -> npt.NDArray[np.intp]:
        """Winners of n tournaments of three different individuals; the first of equals wins."""
        n = len(values)
        drawn = np.array([self._rng.choice(n, TOURNAMENT, replace=False) for _ in range(n)])
        winners: npt.NDArray[np.intp] = drawn[np.arange(n), values[drawn].argmax(axis=1)]
        return winners

    def _crossed(self, parents: Genes) -> Genes:
        """Neighbours swap their tails at one cut; an odd last parent is copied."""
        children = parents.copy()
        length = parents.shape[1]
        for i in range(0, len(parents) - 1, 2):
            cut = int(self._rng.integers(1, length))
            children[i, cut:], children[i + 1, cut:] = parents[i + 1, cut:], parents[i, cut:]
        return children

    def _mutated(self, people: Genes) -> Genes:
        """Each individual, with the mutation's probability, draws one gene anew."""
        for person in people:
            if self._rng.random() < self._settings.mutation:
                gene = int(self._rng.integers(0, len(self._domain)))
                person[gene] = self._rng.integers(0, self._domain[gene])
        return people

    def _values(self, people: Genes) -> Floats:
        keys = [person.tobytes() for person in people]
        new = {key: row for row, key in enumerate(keys) if key not in self._scores}
        if new:
            rows = np.fromiter(new.values(), np.intp)
            self._scores.update(zip(new, self._score(people[rows]).tolist(), strict=True))
        return np.array([self._scores[key] for key in keys])

    def _score(self, people: Genes) -> Floats:
        population = self.population(people)
        terms = population_fitness(self._space, population, self._weights, self._accounting)
        values = np.where(terms.effectiveness > self._weights.rho0, OVER_RHO0, terms.fitness)
        for limit, price in self._limits:
            total = limit.quantity.values(population)
            values = np.where(total > limit.at_most, OVER_A_LIMIT, values - price * total)
        return values
