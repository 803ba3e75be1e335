"""From the levels of a plan's candidates to the entries and the calibration of its table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fednas.latency_tables import BlockSpec, Calibration, TableEntry, fit_block_model
from fednas.toolchain.measure.calibration import MeasuredNetwork
from fednas.toolchain.measure.levels import Level
from fednas.toolchain.measure.plan import Plan
from fednas.toolchain.measure.smoothing import smooth


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a plan makes of the levels: a price for every block, and how wrong it was on networks left out."""

    entries: tuple[TableEntry, ...]
    calibration: Calibration
    left_out: tuple[float, ...]
    """Log errors of the calibration networks, each predicted without itself."""


def _fit_exhaustive(plan: Plan, blocks: Mapping[BlockSpec, Level], networks: Sequence[MeasuredNetwork]) -> Fitted:
    """Every block by its own readings, drawn to the block model as far as the networks bear it out."""
    found = smooth({spec: level.median_ms for spec, level in blocks.items()}, networks)
    drawn = {} if found.share == 1.0 else found.alone_ms
    return Fitted(
        entries=tuple(measured_entry(spec, blocks[spec], drawn.get(spec)) for spec in plan.priced),
        calibration=found.calibration,
        left_out=found.left_out,
    )


def measured_entry(spec: BlockSpec, level: Level, smoothed_ms: float | None = None) -> TableEntry:
    """The entry of a block that was measured alone."""
    return TableEntry(
        kind=spec.kind,
        in_channels=spec.in_channels,
        mid_channels=spec.mid_channels,
        out_channels=spec.out_channels,
        in_hw=spec.in_hw,
        stride=spec.stride,
        shortcut=spec.shortcut,
        median_ms=level.median_ms,
        p10_ms=level.p10_ms,
        p90_ms=level.p90_ms,
        samples=level.samples,
        loads=level.loads,
        spread=level.spread,
        origin="measured",
        smoothed_ms=smoothed_ms,
    )


def _fit_modelled(plan: Plan, blocks: Mapping[BlockSpec, Level], networks: Sequence[MeasuredNetwork]) -> Fitted:
    """The block model for every block that has no readings of its own."""
    model = fit_block_model(
        {spec: level.median_ms for spec, level in blocks.items()},
        [(network.specs, network.latency_ms) for network in networks],
    )
    modelled = iter(model.entries([spec for spec in plan.priced if spec not in blocks]))
    return Fitted(
        entries=tuple(measured_entry(spec, blocks[spec]) if spec in blocks else next(modelled) for spec in plan.priced),
        calibration=model.calibration,
        left_out=model.network_errors,
    )


Fit = Callable[[Plan, Mapping[BlockSpec, Level], Sequence[MeasuredNetwork]], Fitted]
FITS: Mapping[str, Fit] = {"exhaustive": _fit_exhaustive, "sparse": _fit_modelled, "network": _fit_modelled}
"""How each plan makes its table."""
