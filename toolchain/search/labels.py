"""Exact enumeration inside one slice: partial networks (labels), pruned by bounds and by dominance.

A label is a network up to some stage. It is dropped only for one of these reasons, each sound:

* **bound**: its value plus the bound of `fednas.toolchain.search.bounds` on any completion is below the
  fitness of a network already found;
* **budget**: no completion stays within a budget;
* **floor**: no completion costs more of the first cost than ``floor``; up to there the caller knows the best;
* **slice**: no completion has its mean logarithm inside the slice (another slice looks after it);
* **dominance**: a label at the same stage, width and depth state costs no more of anything and is at least
  as good whatever follows. With A the dominated label, B the other, R the logarithms that follow: gamma * rho
  is convex in S, so it lies above its tangent at A's completion, whose slope -mu belongs to the slice.
  Hence F(B) - F(A) >= (E_B - mu S_B) - (E_A - mu S_A), which is linear in mu: B dominates if this is >= 0 at
  both ends of the slice. Where rho0 can bind, B must also have S_B >= S_A, or it might not be allowed.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fednas.toolchain.search.bounds import Slices, completions
from fednas.toolchain.search.options import OptionCache
from fednas.toolchain.search.problem import Indices, Problem
from fednas.toolchain.space.population import Floats, Ints


@dataclass(frozen=True, slots=True)
class Labels:
    """n partial networks that end in the same width and depth state."""

    cost: Floats
    """(k, n)."""
    value: Floats
    """(n,): weighted entropy, less the channel penalty and the priced costs."""
    log_sum: Floats
    """(n,): S so far, the stem included."""
    parent: Ints
    """(n,): row in the arrays of the stage before."""
    group: Ints
    """(n,): which group of the stage before the parent is in."""
    option: Ints
    """(n,): which of the `StageOptions` was taken."""

    def take(self, rows: Indices) -> "Labels":
        """The labels of these rows."""
        return Labels(
            self.cost[:, rows],
            self.value[rows],
            self.log_sum[rows],
            self.parent[rows],
            self.group[rows],
            self.option[rows],
        )

    def __len__(self) -> int:
        return len(self.value)


Layer = dict[tuple[int, int], Labels]
"""(width, depth state) -> the labels that end there."""


class TimeIsUpError(Exception):
    """The deadline passed."""


class Enumeration:
    """All networks of one slice that could beat ``incumbent``; see the module's text for what is dropped."""

    def __init__(
        self,
        problem: Problem,
        piece: Slices,
        multipliers: Floats,
        budgets: Floats,
        options: OptionCache,
        deadline: float | None = None,
        floor: float = -np.inf,
        axis_price: float = 0.0,
    ) -> None:
        """``piece`` holds one slice; ``multipliers`` is (1, k + 1); past ``deadline`` `TimeIsUpError` is raised.

        ``axis_price``: what each unit of the first cost that a network leaves of its budget adds to its objective
        before it is compared with the incumbent.
        """
        self.problem, self.budgets, self.options, self.deadline = problem, budgets, options, deadline
        self.floor, self.axis_price = floor, axis_price
        self.low, self.high = float(piece.low[0]), float(piece.high[0])
        self.multipliers = multipliers[0, :-1]
        self.bounds = completions(problem, piece, multipliers, budgets)
        self.slope, self.level = float(self.bounds.slope[0]), float(piece.level[0])
        self.rho0_binds = self.high >= self._slope_where_rho0_can_bind()

    def _slope_where_rho0_can_bind(self) -> float:
        # rho = L * mu / gamma, and L is at most the full depth's.
        space, settings = self.problem.space, self.problem.settings
        most_layers = 1 + space.num_stages + 2 * space.expansion_slots
        return settings.gamma * settings.rho0 / most_layers

    def layers(self, incumbent: float, beam: int | None = None) -> list[Layer]:
        """[stages done]: the labels; with ``beam`` only the most promising of each group are kept."""
        stem = self.problem.stem_cost
        one = np.zeros(1, np.int64)
        layers: list[Layer] = [
            {
                (w, 0): Labels(
                    stem[:, w : w + 1],
                    -self.problem.price @ stem[:, w : w + 1],
                    np.full(1, self.problem.stem_log),
                    one,
                    one,
                    one,
                )
                for w in range(stem.shape[1])
            }
        ]
        for j in range(len(self.problem.stages)):
            layers.append(self._next_layer(j, layers[-1], incumbent, beam))
        return layers

    def _next_layer(self, j: int, groups: Layer, incumbent: float, beam: int | None) -> Layer:
        found: dict[tuple[int, int], list[Labels]] = {}
        for number, ((before, state), labels) in enumerate(groups.items()):
            if beam is None and self.deadline is not None and time.perf_counter() > self.deadline:
                raise TimeIsUpError
            for key, grown in self._grown(j, before, state, labels, number, incumbent):
                found.setdefault(key, []).append(grown)
        kept = {}
        for (width, state), parts in sorted(found.items()):
            labels = self._undominated(_joined(parts))
            if beam is not None and len(labels) > beam:
                reached = self._reduced(labels)
                labels = labels.take(np.argsort(-reached, kind="stable")[:beam])
            kept[width, state] = labels
        return kept

    def _reduced(self, labels: Labels) -> Floats:
        reduced: Floats = labels.value - self.slope * labels.log_sum - self.multipliers @ labels.cost
        return reduced

    def _grown(
        self, j: int, before: int, state: int, labels: Labels, number: int, incumbent: float
    ) -> Iterator[tuple[tuple[int, int], Labels]]:
        """Every label of one group, continued by every width, depth and option of stage ``j``."""
        blocks = self.problem.depth_states.pairs[j][state][0] + j
        # The constant of the bound holds the stem's logarithm already; level counts two layers a block.
        base = self._reduced(labels) + self.slope * self.problem.stem_log + 2 * self.level * blocks
        base = base + self.bounds.constant[0]
        # Rounding must not drop anything: the bound may be short by far less than this.
        threshold = incumbent - 1e-9 * (1.0 + abs(incumbent) + abs(float(self.bounds.constant[0])))
        following = self.problem.depth_states.following[j][state]
        depths = np.arange(len(following))
        best = self.bounds.rest[j][0][:, None] * depths + self.bounds.after[j + 1][0][:, following]
        best += self.bounds.first[j][0, before][:, None]
        for width, depth in np.argwhere(best + base.max() >= threshold).tolist():
            after = int(following[depth])
            grown = self._filled(j, (before, width, depth, after), labels, base, threshold)
            if grown is not None:
                grown.group[:] = number
                yield (width, after), grown

    def _filled(
        self, j: int, choice: tuple[int, int, int, int], labels: Labels, base: Floats, threshold: float
    ) -> Labels | None:
        """The labels that stay when stage ``j`` gets this (width before, width, depth, depth state after)."""
        before, width, depth, after = choice
        stage = self.problem.stages[j]
        filled = self.options.get(j, before, width, depth)
        value = stage.volume[width] * filled.logs - self.problem.price @ filled.cost - stage.penalty[before, width]
        gain = value - self.slope * filled.logs - self.multipliers @ filled.cost
        gain += 2 * self.level * (depth + 1) + self.bounds.after[j + 1][0, width, after]
        rows, picks = self._promising(base, gain, threshold)
        if len(rows) == 0:
            return None
        cost = labels.cost[:, rows] + filled.cost[:, picks]
        log_sum = labels.log_sum[rows] + filled.logs[picks]
        blocks = self.problem.depth_states.pairs[j + 1][after][0] + j + 1
        possible = np.flatnonzero(self._possible(j + 1, width, blocks, cost, log_sum))
        if len(possible) == 0:
            return None
        group = np.zeros(len(rows), np.int64)
        grown = Labels(cost, labels.value[rows] + value[picks], log_sum, rows, group, picks).take(possible)
        return grown if j + 1 < len(self.problem.stages) else self._good_enough(width, after, grown, threshold)

    def _good_enough(self, width: int, state: int, labels: Labels, threshold: float) -> Labels | None:
        """Complete networks, judged by their own objective instead of by a bound on it."""
        spare = self.budgets[0] - labels.cost[0] - self.problem.head_cost[0, width] if self.axis_price else 0.0
        reached = objective(self.problem, (width, state), labels) + self.axis_price * spare
        kept = np.flatnonzero(reached >= threshold)
        return labels.take(kept) if len(kept) else None

    @staticmethod
    def _promising(base: Floats, gain: Floats, threshold: float) -> tuple[Indices, Indices]:
        """Pairs (label, option) whose bound reaches the threshold."""
        order = np.argsort(-gain, kind="stable")
        # With the options sorted, each label takes a prefix of them: no (labels x options) array is made.
        taken = np.searchsorted(-gain[order], base - threshold, side="right")
        rows = np.repeat(np.arange(len(base)), taken)
        starts = np.repeat(np.cumsum(taken) - taken, taken)
        return rows, order[np.arange(len(rows)) - starts]

    def _possible(self, done: int, width: int, blocks: int, cost: Floats, log_sum: Floats) -> npt.NDArray[np.bool_]:
        """Labels of which some completion is within every budget, and some has its slope in the slice."""
        least = cost + self.options.reach.least_cost[done][:, width : width + 1]
        fits: npt.NDArray[np.bool_] = np.all(least <= self.budgets[:, None], axis=0)
        fits &= cost[0] + self.options.reach.most_cost[done][width] > self.floor
        if self.problem.settings.gamma > 0:
            lowest, highest = self._log_range(done, width, blocks)
            fits &= (log_sum >= lowest) & (log_sum <= highest)
        return fits

    def _log_range(self, done: int, width: int, blocks: int) -> tuple[float, float]:
        """Outside it, no completion of a label with this sum of logarithms has its slope in the slice."""
        # slope = gamma * exp(-S / L) lies between low and high.
        least_mean, most_mean = np.log(self.problem.settings.gamma / np.array([self.high, self.low]))
        more = np.flatnonzero(np.isfinite(self.options.reach.least_log[done][width]))
        layers = 1 + self.problem.space.num_stages + 2 * (blocks + more)
        lowest = (least_mean * layers - self.options.reach.most_log[done][width][more]).min()
        highest = (most_mean * layers - self.options.reach.least_log[done][width][more]).max()
        # A network at the edge of two slices stays in both, whatever the last bit of its sum says.
        return float(lowest) - 1e-9, float(highest) + 1e-9

    def _undominated(self, labels: Labels) -> Labels:
        """Drop dominated labels; a partial filter (it may keep some), which is sound."""
        values = np.stack([labels.value - self.low * labels.log_sum, labels.value - self.high * labels.log_sum])
        if self.rho0_binds:
            values = np.concatenate([values, labels.log_sum[None]])
        order = np.lexsort((*-values[::-1], *labels.cost[:0:-1], labels.cost[0]))
        return labels.take(order[undominated(labels.cost[:, order], values[:, order])])


def undominated(cost: Floats, values: Floats) -> Indices:
    """Rows, sorted by (costs, -values), that no earlier row dominates among a few strong candidates.

    The candidates for a row are, for each value, the earlier row with the highest of that value. That finds
    all dominated rows when there is one cost and one value, and nearly all when the values almost agree.
    """
    kept = np.arange(cost.shape[1])
    for lead in range(len(values)):
        c, v = cost[:, kept], values[:, kept]
        best = np.maximum.accumulate(v[lead])
        is_best = np.r_[True, v[lead][1:] > best[:-1]]
        holder = np.maximum.accumulate(np.where(is_best, np.arange(len(kept)), 0))
        earlier = np.r_[0, holder[:-1]]
        dominated: npt.NDArray[np.bool_] = np.all(c[:, earlier] <= c, axis=0) & np.all(v[:, earlier] >= v, axis=0)
        dominated[0] = False
        kept = kept[~dominated]
    return kept


def objective(problem: Problem, key: tuple[int, int], labels: Labels) -> Floats:
    """The objective of complete networks, (n,); minus infinity where rho0 is broken.

    ``key``: the width index of their last stage and their depth state.
    """
    width, state = key
    settings = problem.settings
    layers = 1 + 3 * problem.space.num_stages + 2 * problem.depth_states.pairs[-1][state][0]
    rho = layers / np.exp(labels.log_sum / layers)
    value = labels.value - problem.price @ problem.head_cost[:, width]
    value -= settings.beta * problem.depth_states.penalty[state]
    # The relative 1e-12 lets equality pass after rounding.
    return np.where(rho <= settings.rho0 * (1 + 1e-12), value + settings.gamma * rho, -np.inf)


def _joined(parts: list[Labels]) -> Labels:
    if len(parts) == 1:
        return parts[0]
    return Labels(
        np.concatenate([part.cost for part in parts], axis=1),
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("value", "log_sum", "parent", "group", "option")
        ),
    )
