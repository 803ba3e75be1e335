"""What a runtime's own times of layers say about the blocks inside a network, and whether the fit is better for it.

A whole network is one number for a dozen blocks. A profile of its layers tells them apart, but it is of a network that
runs slower for being profiled, by a share that differs from layer to layer. So the networks decide: the model is fitted
with and without the layers, each time without some of the calibration networks, and the layers are used if those
networks are then predicted better, by more than chance would have it.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from fednas.latency_tables import BlockModel, BlockSpec, LayerUse, fit_block_model, uncrowded_ms
from fednas.toolchain.measure.calibration import MeasuredNetwork
from fednas.toolchain.measure.fits import Fitted
from fednas.toolchain.measure.graphs import blocks_named
from fednas.toolchain.measure.plan import Plan, Specs
from fednas.toolchain.measure.runtimes.base import LayerTime

LEAST_ATTRIBUTED = 0.8
"""Of the time of all layers; where less of it belongs to single blocks, the profile is of something else."""
FOLDS = 10
"""With fewer, a model of networks at the edge of the space is tried without any like them."""


@dataclass(frozen=True, slots=True)
class NetworkLayers:
    """The layers of one calibration network, sorted by its blocks."""

    network: MeasuredNetwork
    blocks_ms: tuple[float, ...]
    """Of each block in its place, as the profile has it."""
    all_ms: float
    """Of all layers."""
    strangers: int
    """Layers that belong to no block, or to several."""

    def inside(self, crowding_per_ms: float) -> list[tuple[BlockSpec, float]]:
        """Blocks with their share of the network's sum, which makes its latency when nobody profiles it."""
        scale = uncrowded_ms(self.network.latency_ms, crowding_per_ms) / sum(self.blocks_ms)
        return [(spec, ms * scale) for spec, ms in zip(self.network.specs, self.blocks_ms, strict=True) if ms > 0]


def sorted_by_block(network: MeasuredNetwork, layers: Sequence[LayerTime]) -> NetworkLayers:
    """Give every layer to the block that it is named after."""
    blocks_ms, strangers = [0.0] * len(network.specs), 0
    for layer in layers:
        named = blocks_named(layer.name, len(network.specs))
        if len(named) == 1:
            blocks_ms[min(named)] += layer.milliseconds
        else:
            strangers += 1
    return NetworkLayers(network, tuple(blocks_ms), sum(layer.milliseconds for layer in layers), strangers)


def with_layers(plan: Plan, without: Fitted, found: Sequence[NetworkLayers]) -> tuple[Fitted, LayerUse]:
    """The fit with the layers where that is better, else ``without``; and what was found.

    Args:
        plan: that was measured.
        without: the fit of whole networks only.
        found: layers of every calibration network.
    """
    attributed_ms, all_ms = sum(sum(each.blocks_ms) for each in found), sum(each.all_ms for each in found)
    use = LayerUse(
        networks=len(found),
        attributed=round(attributed_ms / all_ms, 4) if all_ms > 0 else 0.0,
        strangers=round(sum(each.strangers for each in found) / len(found)),
        used=False,
    )
    if use.attributed < LEAST_ATTRIBUTED or not all(any(each.blocks_ms) for each in found):
        return without, use
    plain, informed = _left_out(found, informed=False), _left_out(found, informed=True)
    better = _better(plain, informed)
    use = msgspec.structs.replace(use, used=better, error_without=_mean(plain), error_with=_mean(informed))
    if not better:
        return without, use
    model = _model(found, informed=True)
    return Fitted(model.entries(plan.priced), model.calibration, tuple(informed)), use


def _left_out(found: Sequence[NetworkLayers], *, informed: bool) -> list[float]:
    """Log errors of the networks, each by a fit that saw neither its latency nor its layers."""
    errors: list[float] = []
    for fold in range(FOLDS):
        seen = [each for place, each in enumerate(found) if place % FOLDS != fold]
        model = _model(seen, informed=informed)
        errors += [
            math.log(model.predict_ms(each.network.specs) / each.network.latency_ms) for each in found[fold::FOLDS]
        ]
    return errors


def _model(found: Sequence[NetworkLayers], *, informed: bool) -> BlockModel:
    networks: list[tuple[Specs, float]] = [(each.network.specs, each.network.latency_ms) for each in found]
    plain = fit_block_model({}, networks)
    if not informed:
        return plain
    crowding = plain.crowding_per_ms
    return fit_block_model({}, networks, inside=_distinct(found, crowding), crowding_per_ms=crowding)


def _distinct(found: Sequence[NetworkLayers], crowding_per_ms: float) -> list[tuple[BlockSpec, float]]:
    """Each block once, by the median over the networks that have it.

    The fit takes rows for independent; what profiling does to a block it does in every network.
    """
    by_block: dict[BlockSpec, list[float]] = defaultdict(list)
    for each in found:
        for spec, latency_ms in each.inside(crowding_per_ms):
            by_block[spec].append(latency_ms)
    return [(spec, statistics.median(times)) for spec, times in by_block.items()]


def _better(plain: Sequence[float], informed: Sequence[float]) -> bool:
    """Whether the networks gain more by the layers than chance would give: one standard error of the mean gain."""
    gains = [abs(one) - abs(other) for one, other in zip(plain, informed, strict=True)]
    return statistics.fmean(gains) > statistics.stdev(gains) / math.sqrt(len(gains))


def _mean(errors: Sequence[float]) -> float:
    return sum(map(abs, errors)) / len(errors)
