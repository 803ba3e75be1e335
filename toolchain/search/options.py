"""Every way to fill one stage, and what the stages still to come can add."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from fednas.toolchain.search.problem import Problem
from fednas.toolchain.space.population import Floats, Ints


@dataclass(frozen=True, slots=True)
class StageOptions:
    """Every way to fill one stage of given width before, width and depth."""

    cost: Floats
    """(k, m)."""
    logs: Floats
    """(m,)."""
    ratios: Ints
    """(m, blocks a stage): expansion index of each block; 0 where there is no block."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the stages not yet done can add."""

    least_cost: tuple[Floats, ...]
    """[stages done]: (k, width)."""
    most_cost: tuple[Floats, ...]
    """[stages done]: (width,), of the first cost."""
    least_log: tuple[Floats, ...]
    """[stages done]: (width, blocks to come)."""
    most_log: tuple[Floats, ...]

    def least_total(self, problem: Problem) -> Floats:
        """The smallest value of each cost that some network has, (k,)."""
        least: Floats = (problem.stem_cost + self.least_cost[0]).min(axis=1)
        return least

    def most_of_first(self, problem: Problem) -> float:
        """The largest value of the first cost that some network has."""
        return float((problem.stem_cost[0] + self.most_cost[0]).max())


def stage_options(problem: Problem, j: int, before: int, width: int, depth: int) -> StageOptions:
    """First block of any ratio, further blocks as a multiset: their order changes nothing."""
    stage = problem.stages[j]
    ratios = range(stage.rest_log.shape[1])
    multisets = list(combinations_with_replacement(ratios, depth))
    rest = np.array(multisets, np.int64).reshape(len(multisets), depth)
    rest_cost = stage.rest_cost[:, width][:, rest].sum(axis=2)
    rest_log = stage.rest_log[width][rest].sum(axis=1)
    cost = stage.first_cost[:, before, width][:, :, None] + rest_cost[:, None, :]
    logs = stage.first_log[before, width][:, None] + rest_log[None, :]
    blocks = np.zeros((len(ratios), len(rest), problem.space.blocks_per_stage), np.int64)
    blocks[:, :, 0] = np.array(ratios)[:, None]
    blocks[:, :, 1 : depth + 1] = rest[None]
    return StageOptions(cost.reshape(len(cost), -1), logs.ravel(), blocks.reshape(-1, blocks.shape[2]))


class OptionCache:
    """Stage options and reaches of one problem, made when first needed."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._options: dict[tuple[int, int, int, int], StageOptions] = {}
        self.reach = _reach_of(problem)

    def get(self, j: int, before: int, width: int, depth: int) -> StageOptions:
        """`stage_options`, made once."""
        key = (j, before, width, depth)
        if key not in self._options:
            self._options[key] = stage_options(self._problem, *key)
        return self._options[key]


def _reach_of(problem: Problem) -> Reach:
    """Extreme costs and logarithms of what follows, by backward recursion."""
    costs, dearest = [problem.head_cost], [problem.head_cost[0]]
    least, most = [], []
    last = problem.head_cost.shape[1]
    least.append(np.zeros((last, 1)))
    most.append(np.zeros((last, 1)))
    extra = problem.space.max_extra_blocks_per_stage
    for stage in reversed(problem.stages):
        first = stage.first_cost.min(axis=3)
        costs.append((first + costs[-1][:, None, :]).min(axis=2))
        rest = extra * np.maximum(stage.rest_cost[0].max(axis=1), 0.0)
        dearest.append((stage.first_cost[0].max(axis=2) + (rest + dearest[-1])[None, :]).max(axis=1))
        least.append(_log_back(stage.first_log.min(axis=2), stage.rest_log.min(axis=1), least[-1], extra, np.minimum))
        most.append(_log_back(stage.first_log.max(axis=2), stage.rest_log.max(axis=1), most[-1], extra, np.maximum))
    return Reach(tuple(reversed(costs)), tuple(reversed(dearest)), tuple(reversed(least)), tuple(reversed(most)))


def _log_back(first: Floats, rest: Floats, after: Floats, extra: int, better: np.ufunc) -> Floats:
    """(width before, blocks to come) from (width, blocks to come); entries that cannot be are not finite."""
    worst = np.inf if better is np.minimum else -np.inf
    result = np.full((first.shape[0], after.shape[1] + 1 + extra), worst)
    for depth in range(extra + 1):
        values = first[:, :, None] + depth * rest[None, :, None] + after[None]
        best = better.reduce(values, axis=1)
        span = slice(depth + 1, depth + 1 + after.shape[1])
        result[:, span] = better(result[:, span], best)
    return result
