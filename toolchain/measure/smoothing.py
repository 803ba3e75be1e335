"""How far a block's own reading is to be believed, against a physical model of all blocks.

A block alone is not the block in a network, and its reading has noise of its own; the block model knows neither its
quirks nor its noise. What predicts networks best lies between, and where is asked of networks that were measured:
each share of the own reading is tried in folds, with model and calibration fitted without the networks of the fold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fednas.latency_tables import BlockSpec, Calibration, fit_block_model
from fednas.toolchain.measure.calibration import MeasuredNetwork, fit_calibration, log_error

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Of the own reading, in logarithms. Own readings come first: a tie goes to them."""
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Smoothed:
    """What blocks alone are taken to cost, and the calibration that goes with it."""

    share: float
    """Of the own readings."""
    alone_ms: Mapping[BlockSpec, float]
    calibration: Calibration
    left_out: tuple[float, ...]
    """Log errors of the networks, each predicted without those of its fold."""


def smooth(medians_ms: Mapping[BlockSpec, float], networks: Sequence[MeasuredNetwork]) -> Smoothed:
    """Draw the readings to the block model as far as ``networks`` bear it out."""
    errors: dict[float, list[float]] = {share: [] for share in SHARES}
    # What predicts networks are their own blocks; all others are drawn in the end only.
    own_ms = {spec: medians_ms[spec] for network in networks for spec in network.specs}
    for fold in range(FOLDS):
        unseen = networks[fold::FOLDS]
        seen = [network for i, network in enumerate(networks) if i % FOLDS != fold]
        modelled_ms = _modelled(medians_ms, seen, list(own_ms))
        for share in SHARES:
            alone_ms = _drawn(own_ms, modelled_ms, share)
            calibration = fit_calibration(alone_ms, seen)
            errors[share] += [log_error(network, alone_ms, calibration) for network in unseen]
    best = min(SHARES, key=lambda share: sum(map(abs, errors[share])))
    alone_ms = _drawn(medians_ms, _modelled(medians_ms, networks, list(medians_ms)), best)
    return Smoothed(best, alone_ms, fit_calibration(alone_ms, networks), tuple(errors[best]))


def _modelled(
    medians_ms: Mapping[BlockSpec, float], networks: Sequence[MeasuredNetwork], wanted: Sequence[BlockSpec]
) -> dict[BlockSpec, float]:
    """What the model of all medians and these networks says of the blocks that are wanted."""
    crowding_per_ms = fit_calibration(medians_ms, networks).crowding_per_ms
    measured = [(network.specs, network.latency_ms) for network in networks]
    model = fit_block_model(medians_ms, measured, crowding_per_ms=crowding_per_ms, judged=False)
    return dict(zip(wanted, model.alone_ms(wanted).tolist(), strict=True))


def _drawn(
    medians_ms: Mapping[BlockSpec, float], modelled_ms: Mapping[BlockSpec, float], share: float
) -> dict[BlockSpec, float]:
    return {spec: own_ms**share * modelled_ms[spec] ** (1 - share) for spec, own_ms in medians_ms.items()}
