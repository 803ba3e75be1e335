"""Fitting an additive latency model to few readings: latency = sum of coefficient x feature.

Features come in groups. The first is the base, the handful of numbers that a physical model would use; every further
group refines it and is shrunk towards nothing, by as much as the rows themselves ask for: the prior variance of a
group is set by maximising the evidence (MacKay 1992, doi:10.1162/neco.1992.4.3.415). So one call is a small model
where rows are few and a large one where they are many, with nothing chosen by hand and no row kept for choosing.

Errors count relative to the latency, since a prediction is judged so; below ``FLOOR`` of the median they count as if
the latency were that, or rows of nearly no latency would decide everything. Rows that fit badly count less (Huber).
Rows may be of several kinds, such as networks and blocks measured alone; each kind has a noise of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError
from fednas.latency_tables.nonnegative import solve_nonnegative

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

FLOOR = 0.1
"""Share of the median latency below which a row's error no longer counts relative to its own latency."""
BASE_SHARE = 0.3
"""Prior deviation of what one base feature adds, as a share of the latency."""
REFINED_SHARE, NOISE_SHARE = 0.003, 0.03
"""Where the evidence says nothing: of a refining feature, and of the readings' noise. Worth one row each."""
HUBER = 1.5
"""Deviations of the noise beyond which a row counts less."""
SWEEPS, REWEIGH_EVERY, SETTLED = 100, 3, 0.02
LEAST_ROWS = 4
SUM_ERROR = 0.0005
"""No device repeats itself to this; numbers that an additive model predicts better were made by adding."""


@dataclass(frozen=True, slots=True)
class AdditiveFit:
    """A fitted model; its features are given to `predict` in the groups that it was fitted on."""

    coefficients_ms: "Array"
    """(p,): of all groups in a row."""
    shares_variance: tuple[float, ...]
    """Prior variance of each group that the evidence chose: nearly 0 for groups that explain nothing."""
    noise: tuple[float, ...]
    """Relative deviation of the readings from the model, for each kind of row."""
    covariance_ms2: "Array"
    """(p, p): what the rows leave open about the coefficients."""
    least_ms: float
    """No prediction is below this: half of the smallest latency seen."""
    left_out: tuple[float, ...]
    """Logarithm of predicted over measured latency of every row, by a fit that did not see it; empty if not asked."""

    def predict(self, groups: Sequence["Array"]) -> "Array":
        """Latencies in ms, (m,), of the rows of ``groups``, each (m, p_g)."""
        import numpy as np

        predicted: Array = np.maximum(np.hstack(list(groups)) @ self.coefficients_ms, self.least_ms)
        return predicted

    def deviation_ms(self, groups: Sequence["Array"]) -> "Array":
        """What the coefficients leave open about each row of ``groups``: a standard deviation, (m,)."""
        import numpy as np

        rows = np.hstack(list(groups))
        deviation: Array = np.sqrt(np.einsum("ij,jk,ik->i", rows, self.covariance_ms2, rows).clip(0))
        return deviation

    def factor(self, coverage: float) -> float:
        """latency / factor .. latency * factor holds this share of further rows."""
        return conformal_factor(self.left_out, coverage)

    @property
    def looks_like_a_sum(self) -> bool:
        """Did rows outside the fit come out exactly, as readings never do?"""
        errors = [abs(error) for error in self.left_out]
        return bool(errors) and sum(errors) / len(errors) < SUM_ERROR


def fit_additive(
    groups: Sequence["Array"],
    latency_ms: "Array",
    *,
    nonnegative: Sequence[bool] | None = None,
    kinds: "Array | None" = None,
    folds: int = 10,
    seed: int = 0,
) -> AdditiveFit:
    """Fit latencies (n,) on groups of features, each (n, p_g); the first is the base and holds the constant, if any.

    Args:
        nonnegative: for each group, whether its coefficients may not be negative; none by default.
        kinds: (n,) small integers, the kind of each row; all of one kind by default.
        folds: parts that are left out in turn for the errors on unseen rows; 0 leaves them out.
        seed: of the folds.

    Raises `FednasError` for fewer than four rows and for latencies or features that are no usable numbers.
    """
    import numpy as np

    latency_ms = np.asarray(latency_ms, dtype=float)
    columns = np.hstack([np.asarray(group, dtype=float) for group in groups])
    _check(columns, latency_ms)
    member = np.repeat(np.arange(len(groups)), [group.shape[1] for group in groups])
    bounded = np.zeros(len(member), bool) if nonnegative is None else np.asarray(nonnegative)[member]
    kinds = np.zeros(len(latency_ms), int) if kinds is None else kinds
    problem = _Problem(columns, latency_ms, member, bounded, kinds)
    solution = problem.solve(np.ones(len(latency_ms), bool))
    least_ms = float(latency_ms.min()) / 2
    left_out = np.full(len(latency_ms), np.nan)
    parts = min(folds, len(latency_ms))
    fold = np.random.default_rng(seed).permutation(len(latency_ms)) % max(parts, 1)
    for number in range(parts):
        unseen = fold == number
        predicted = np.maximum(columns[unseen] @ problem.solve(~unseen, start=solution).coefficients_ms, least_ms)
        left_out[unseen] = np.log(predicted / latency_ms[unseen])
    return AdditiveFit(
        coefficients_ms=solution.coefficients_ms,
        shares_variance=tuple(float(value) for value in solution.variances),
        noise=tuple(math.sqrt(value) for value in solution.noise),
        covariance_ms2=solution.covariance_ms2,
        least_ms=least_ms,
        left_out=tuple(float(error) for error in left_out) if parts else (),
    )


def require_readings(fit: AdditiveFit, what: str) -> None:
    """Refuse numbers that were added up rather than measured: a good fit to them is no evidence of anything.

    Raises `FednasError` naming ``what``.
    """
    if fit.looks_like_a_sum:
        error = sum(abs(value) for value in fit.left_out) / len(fit.left_out)
        raise FednasError(
            f"{what}: this is a sum, not a reading: unseen rows come out to {error:.3%}, as no device repeats",
            hint="these numbers come from an estimator that adds; give latencies that were measured",
        )


def conformal_factor(log_errors: Sequence[float], coverage: float) -> float:
    """Factor that a further error stays within with probability ``coverage`` at least.

    The ceil((n + 1) coverage)-th smallest absolute error (split conformal prediction, Lei et al. 2018); the
    largest where n is too small for that.
    """
    ordered = sorted(abs(error) for error in log_errors)
    rank = min(len(ordered), math.ceil((len(ordered) + 1) * coverage))
    return math.exp(ordered[rank - 1])


@dataclass(frozen=True, slots=True)
class _Solution:
    coefficients_ms: "Array"
    covariance_ms2: "Array"
    variances: "Array"
    noise: "Array"


class _Problem:
    """Rows in relative units, columns of one size."""

    def __init__(
        self, columns: "Array", latency_ms: "Array", member: "Array", bounded: "Array", kinds: "Array"
    ) -> None:
        import numpy as np

        medians = [
            np.median(latency_ms[kinds == kind]) if (kinds == kind).any() else 1.0 for kind in range(kinds.max() + 1)
        ]
        usual = np.array(medians)[kinds]
        weight = 1 / np.maximum(latency_ms, FLOOR * usual)
        rows = columns * weight[:, None]
        # Rows far below the median weigh much: the less may one deviate before it counts less.
        self._pull = np.minimum(1, 2 / (usual * weight))
        self._size = np.sqrt(((rows * self._pull[:, None]) ** 2).mean(axis=0))
        self._size[self._size == 0] = 1.0
        self._rows, self._target = rows / self._size, latency_ms * weight
        self._member, self._bounded, self._kinds = member, bounded, kinds
        self._counts = np.bincount(member)

    def solve(self, used: "Array", start: _Solution | None = None) -> _Solution:
        """The solution from the rows ``used`` (a mask); from ``start`` the variances settle sooner."""
        import numpy as np

        rows, target, kinds = self._rows[used], self._target[used], self._kinds[used]
        variances, noise = np.full(len(self._counts), 0.1**2), np.full(self._kinds.max() + 1, 0.05**2)
        variances[0] = BASE_SHARE**2
        if start is not None:
            variances, noise = start.variances, start.noise
        trust, residual = self._pull[used] ** 2, target
        products, sums = _products(rows, target, trust, kinds, len(noise))
        for sweep in range(SWEEPS):
            if sweep % REWEIGH_EVERY == REWEIGH_EVERY - 1:
                trust = _trust(np.abs(residual) / self._pull[used], np.sqrt(noise), kinds)
                products, sums = _products(rows, target, trust, kinds, len(noise))
            covariance = np.linalg.inv(np.tensordot(1 / noise, products, 1) + np.diag(1 / variances[self._member]))
            solution = covariance @ (sums.T @ (1 / noise))
            residual = target - rows @ solution
            # What the rows of each kind determine of the solution: the sum of their leverages.
            leverage = np.einsum("ij,kij->k", covariance, products) / noise
            before = np.concatenate([variances, noise])
            variances = self._variances(covariance, solution, variances)
            noise = _noise(residual, trust, leverage, kinds)
            changed = np.abs(np.log(np.concatenate([variances, noise]) / before)).max()
            # Weights change only now and then: the sweep after they did shows whether they still do.
            if sweep > 2 * REWEIGH_EVERY and sweep % REWEIGH_EVERY == REWEIGH_EVERY - 1 and changed < SETTLED:
                break
        if np.any(solution[self._bounded] < 0):
            solution = self._bounded_solution(rows, target, trust / noise[kinds], variances)
        return _Solution(solution / self._size, covariance / np.outer(self._size, self._size), variances, noise)

    def _variances(self, covariance: "Array", solution: "Array", variances: "Array") -> "Array":
        """MacKay's update: squared coefficients over what the rows determine of a group."""
        import numpy as np

        groups = len(self._counts)
        shrunk = np.bincount(self._member, np.diag(covariance) / variances[self._member], minlength=groups)
        determined = np.maximum(self._counts - shrunk, 0)
        explained = np.bincount(self._member, solution**2, minlength=groups)
        updated: Array = (explained + REFINED_SHARE**2) / (determined + 1)
        updated[0] = variances[0]
        return updated

    def _bounded_solution(self, rows: "Array", target: "Array", weight: "Array", variances: "Array") -> "Array":
        """The same optimum where some coefficients may not be negative."""
        import numpy as np

        root = np.sqrt(weight)
        pulled = np.vstack([rows * root[:, None], np.diag(1 / np.sqrt(variances[self._member]))])
        wanted = np.concatenate([target * root, np.zeros(rows.shape[1])])
        # In a triangle whose last columns are the bounded ones, these are decided without the others.
        order, free = np.argsort(self._bounded, kind="stable"), int(np.sum(~self._bounded))
        triangle = np.asarray(np.linalg.qr(np.column_stack([pulled[:, order], wanted]), mode="r"))
        columns, right = triangle[:, :-1], triangle[:, -1]
        bounded = solve_nonnegative(columns[None, free:, free:], right[None, free:])[0]
        rest = np.linalg.solve(columns[:free, :free], right[:free] - columns[:free, free:] @ bounded)
        solution = np.empty(len(order))
        solution[order] = np.concatenate([rest, bounded])
        return solution


def _trust(deviation: "Array", noise: "Array", kinds: "Array") -> "Array":
    """Weights of the rows, (n,): 1, less beyond `HUBER` deviations.

    The deviation of most rows, by its median, where that is less than the noise: a few wild rows raise the noise.
    """
    import numpy as np

    usual = [
        1.4826 * np.median(deviation[kinds == kind]) if (kinds == kind).any() else 0.0 for kind in range(len(noise))
    ]
    limit = HUBER * np.minimum(np.maximum(usual, noise / 3), noise)
    trust: Array = np.minimum(1, limit[kinds] / np.maximum(deviation, 1e-12))
    return trust


def _products(rows: "Array", target: "Array", trust: "Array", kinds: "Array", count: int) -> tuple["Array", "Array"]:
    """Of each kind of row, the weighted products of the columns with each other, (k, p, p), and the target, (k, p)."""
    import numpy as np

    products, sums = [], []
    for kind in range(count):
        members = kinds == kind
        part = rows[members]
        weighted = (part * trust[members, None]).T
        products.append(weighted @ part)
        sums.append(weighted @ target[members])
    return np.array(products), np.array(sums)


def _noise(residual: "Array", trust: "Array", leverage: "Array", kinds: "Array") -> "Array":
    """Variance of each kind of row, corrected for what its rows determine of the solution."""
    import numpy as np

    count = len(leverage)
    squares = np.bincount(kinds, trust * residual**2, minlength=count)
    free = (np.bincount(kinds, trust, minlength=count) - leverage).clip(0)
    variance: Array = np.maximum((squares + NOISE_SHARE**2) / (free + 1), 1e-10)
    return variance


def _check(columns: "Array", latency_ms: "Array") -> None:
    import numpy as np

    if len(latency_ms) < LEAST_ROWS:
        raise FednasError(
            f"{len(latency_ms)} latencies are too few to fit a model; at least {LEAST_ROWS} are needed",
            hint="measure more networks",
        )
    if not (np.isfinite(latency_ms).all() and (latency_ms > 0).all()):
        raise FednasError("every latency must be a number above zero", hint="remove rows that were not measured")
    if columns.shape[0] != len(latency_ms) or not np.isfinite(columns).all():
        raise FednasError(
            f"features of shape {columns.shape} do not describe {len(latency_ms)} latencies, or are not finite",
            hint="give one row of finite numbers for each latency",
        )
