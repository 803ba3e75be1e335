"""From blocks measured alone to whole networks: the fit, its interval, and its error on networks it never saw."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fednas.latency_tables import (
    BlockSpec,
    Calibration,
    Interval,
    Report,
    border_numbers,
    chosen_crowding,
    conformal_factor,
    contribution_ms,
    crowded_ms,
    crowdings_for,
    network_ms,
    solve_nonnegative,
    uncrowded_ms,
)
from fednas.toolchain.measure.plan import Specs
from fednas.toolchain.measure.ranks import kendall_tau

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

FOLDS = 10
"""In which networks are left out to choose the crowding."""
COVERAGE = 0.9
"""Share of networks that a prediction's interval is made to hold."""


@dataclass(frozen=True, slots=True)
class MeasuredNetwork:
    """A whole network with the latency that was read."""

    specs: Specs
    latency_ms: float


def fit_calibration(medians_ms: Mapping[BlockSpec, float], networks: Sequence[MeasuredNetwork]) -> Calibration:
    """Least squares of the relative error over ``networks``, no coefficient against its physical sign.

    With the crowding that predicts networks left out best, if it does so clearly better than none.
    """
    import numpy as np

    rows = np.array([_features(network.specs, medians_ms) for network in networks])
    measured_ms = [network.latency_ms for network in networks]
    crowdings = crowdings_for(measured_ms)
    sums_ms = np.array([[uncrowded_ms(latency_ms, each) for latency_ms in measured_ms] for each in crowdings])
    fold = np.arange(len(rows)) % FOLDS
    # A fit without each fold, and last the one that sees all.
    seen = fold != np.arange(FOLDS + 1)[:, None]
    found = _coefficients(rows, sums_ms, seen)
    predicted_ms = crowded_ms(np.einsum("np,cnp->cn", rows, found[:, fold]), np.array(crowdings)[:, None])
    errors = np.abs(predicted_ms / measured_ms - 1).mean(axis=1).tolist()
    crowding = chosen_crowding(dict(zip(crowdings, errors, strict=True)))
    intercept, scale, overhead, reorder, cold = found[crowdings.index(crowding), -1].tolist()
    return Calibration(
        intercept_ms=intercept,
        scale=scale,
        overhead_ms=overhead,
        reorder_ms_per_number=reorder,
        cold_ms_per_weight=cold,
        crowding_per_ms=crowding,
        networks=len(networks),
    )


def _coefficients(rows: "Array", sums_ms: "Array", seen: "Array") -> "Array":
    """What multiplies `_features`, (c, f, 5), for each crowding and each choice of networks.

    Args:
        rows: features of the networks, (n, 5).
        sums_ms: of their blocks, (c, n), as each crowding has it.
        seen: which networks a fit sees, (f, n).
    """
    import numpy as np

    weighted = (seen / sums_ms[:, None])[..., None] * rows
    target = np.broadcast_to(seen, weighted.shape[:-1])
    found = solve_nonnegative(weighted.reshape(-1, *rows.shape), target.reshape(-1, len(rows)).astype(float))
    found = found.reshape(*weighted.shape[:2], -1)
    # Where the medians explain nothing, the plain ratio of sums is the least wrong thing that can be said.
    ratio = np.zeros_like(found)
    ratio[..., 1] = sums_ms @ seen.T / (seen @ rows[:, 1]).clip(1e-12)
    coefficients: Array = np.where(found[..., 1:2] > 0, found, ratio)
    return coefficients


def predicted_ms(specs: Specs, medians_ms: Mapping[BlockSpec, float], calibration: Calibration) -> float:
    """Latency of a network by the table's own rule."""
    return network_ms((contribution_ms(spec, medians_ms[spec], calibration) for spec in specs), calibration)


def log_error(network: MeasuredNetwork, medians_ms: Mapping[BlockSpec, float], calibration: Calibration) -> float:
    """Logarithm of predicted over measured latency."""
    return math.log(predicted_ms(network.specs, medians_ms, calibration) / network.latency_ms)


def left_out_errors(medians_ms: Mapping[BlockSpec, float], networks: Sequence[MeasuredNetwork]) -> list[float]:
    """Log errors of the calibration networks, each predicted by a fit that did not see it."""
    return [
        log_error(network, medians_ms, fit_calibration(medians_ms, [*networks[:i], *networks[i + 1 :]]))
        for i, network in enumerate(networks)
    ]


def interval_of(left_out: Sequence[float], held_out: Sequence[float], machine_factor: float) -> Interval:
    """The interval from all errors on networks outside their fit, widened by how the machine's speed wanders.

    Both factors in full: a table is off by the one where the machine is off by the other, since speeds are often of
    two or three values (another program runs, or it does not) rather than of a bell curve. `hypot` of the logarithms
    held too few in simulation.
    """
    factor = conformal_factor([*left_out, *held_out], COVERAGE) * machine_factor
    return Interval(coverage=COVERAGE, factor=factor, machine_factor=machine_factor)


def report_of(
    measured_ms: Sequence[float], predicted_ms: Sequence[float], left_out: Sequence[float], repeatability: float
) -> Report:
    """The table's own statement of its error on networks that were held out of everything.

    Args:
        left_out: log errors of the other networks, each predicted without itself; they widen the interval too.
    """
    import numpy as np

    measured, predicted = np.array(measured_ms), np.array(predicted_ms)
    relative = np.abs(predicted / measured - 1)
    return Report(
        subnets=len(measured),
        mape=float(relative.mean()),
        within_5=float((relative <= 0.05).mean()),
        within_10=float((relative <= 0.10).mean()),
        kendall_tau=kendall_tau(predicted, measured),
        interval_coverage=_coverage_without_itself(left_out, list(np.log(predicted / measured))),
        repeatability_mape=repeatability,
    )


def _coverage_without_itself(left_out: Sequence[float], held_out: Sequence[float]) -> float:
    """Share of held-out networks inside the interval made from all the others."""
    inside = 0
    for i, error in enumerate(held_out):
        others = [*left_out, *held_out[:i], *held_out[i + 1 :]]
        inside += math.exp(abs(error)) <= conformal_factor(others, COVERAGE)
    return inside / len(held_out)


def _features(specs: Specs, medians_ms: Mapping[BlockSpec, float]) -> tuple[float, ...]:
    """What the calibration's five coefficients multiply, signs included."""
    return (
        1.0,
        sum(medians_ms[spec] for spec in specs),
        -float(len(specs)),
        -float(sum(map(border_numbers, specs))),
        float(sum(spec.weights for spec in specs)),
    )
