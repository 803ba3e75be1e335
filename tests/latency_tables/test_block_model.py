"""The block model on made-up devices whose prices are known."""

import math

import numpy as np
import pytest

from fednas.common import FednasError
from fednas.latency_tables import (
    BlockKind,
    BlockModel,
    BlockSpec,
    Shortcut,
    contribution_ms,
    crowded_ms,
    fit_block_model,
)


def stem(out_channels: int) -> BlockSpec:
    return BlockSpec(kind=BlockKind.STEM, in_channels=3, mid_channels=0, out_channels=out_channels, in_hw=32)


def head(in_channels: int) -> BlockSpec:
    return BlockSpec(kind=BlockKind.HEAD, in_channels=in_channels, mid_channels=0, out_channels=10, in_hw=8)


def residual(entering: int, middle: int, leaving: int, side: int, stride: int = 1) -> BlockSpec:
    identity = stride == 1 and entering == leaving
    return BlockSpec(
        kind=BlockKind.RESIDUAL,
        in_channels=entering,
        mid_channels=middle,
        out_channels=leaving,
        in_hw=side,
        stride=stride,
        shortcut=Shortcut.IDENTITY if identity else Shortcut.PROJECTION,
    )


def network(rng: np.random.Generator) -> tuple[BlockSpec, ...]:
    """Stem, a block on 32x32, one with stride 2, one on 16x16, one with stride 2, head."""
    widths = [int(8 * rng.integers(low, 4 * low)) for low in (2, 3, 6, 12)]
    middles = [int(8 * rng.integers(1, 8)) for _ in range(4)]
    return (
        stem(widths[0]),
        residual(widths[0], middles[0], widths[1], 32),
        residual(widths[1], middles[1], widths[2], 32, 2),
        residual(widths[2], middles[2], widths[2], 16),
        residual(widths[2], middles[3], widths[3], 16, 2),
        head(widths[3]),
    )


def price_ms(spec: BlockSpec) -> float:
    return 0.003 * spec.kernels + spec.macs / 30e6 + spec.activations / 10e6 + spec.weights / 5e6


def alone_ms(spec: BlockSpec) -> float:
    """A call of its own, and weights at hand; the layout of input and output costs nothing on this device."""
    return 0.05 + price_ms(spec) - spec.weights / 5e6


def network_ms(specs: tuple[BlockSpec, ...]) -> float:
    return 0.05 + sum(map(price_ms, specs))


def noisy(rng: np.random.Generator, latency_ms: float) -> float:
    return latency_ms * math.exp(0.01 * rng.standard_normal())


def price_of(model: BlockModel, spec: BlockSpec) -> float:
    return float(model.prices_ms([spec])[0])


def drawn(seed: int, count: int) -> list[tuple[BlockSpec, ...]]:
    rng = np.random.default_rng(seed)
    return [network(rng) for _ in range(count)]


def test_prices_are_found_from_networks_and_blocks_alone() -> None:
    rng = np.random.default_rng(0)
    networks, further = drawn(1, 40), drawn(2, 100)
    alone = {spec: noisy(rng, alone_ms(spec)) for specs in networks[:10] for spec in specs}
    model = fit_block_model(alone, [(specs, noisy(rng, network_ms(specs))) for specs in networks])
    assert np.mean([abs(model.predict_ms(specs) / network_ms(specs) - 1) for specs in further]) < 0.01
    blocks = sorted({spec for specs in further for spec in specs})
    errors = [abs(price_of(model, spec) / price_ms(spec) - 1) for spec in blocks if spec.kind is BlockKind.RESIDUAL]
    assert np.median(errors) < 0.03
    assert model.calibration.overhead_ms == pytest.approx(0.05, abs=0.01)
    assert model.calibration.cold_ms_per_weight == pytest.approx(1 / 5e6, rel=0.1)


def test_an_entry_gives_the_price_back_through_the_calibration() -> None:
    rng = np.random.default_rng(3)
    networks = drawn(4, 30)
    alone = {spec: noisy(rng, alone_ms(spec)) for specs in networks[:8] for spec in specs}
    readings = [(specs, noisy(rng, network_ms(specs))) for specs in networks]
    for model in (fit_block_model(alone, readings), fit_block_model({}, readings)):
        for spec in drawn(5, 1)[0]:
            entry = model.entries([spec])[0]
            assert contribution_ms(spec, entry.median_ms, model.calibration) == pytest.approx(price_of(model, spec))
            assert (entry.origin, entry.samples) == ("modelled", 0)
            assert (entry.p10_ms, entry.p90_ms) == (None, None)
            assert 0 < entry.spread == model.doubts([spec])[0] <= 1


def test_crowding_of_networks_is_told_apart_from_the_prices_of_blocks() -> None:
    rng = np.random.default_rng(10)
    networks, further = drawn(11, 40), drawn(12, 100)
    alone = {spec: noisy(rng, alone_ms(spec)) for specs in networks[:10] for spec in specs}
    crowding = 0.2 / np.median([network_ms(specs) for specs in networks])

    def crowded(specs: tuple[BlockSpec, ...]) -> float:
        return crowded_ms(network_ms(specs), crowding)

    model = fit_block_model(alone, [(specs, noisy(rng, crowded(specs))) for specs in networks])
    assert model.crowding_per_ms == model.calibration.crowding_per_ms > 0
    assert np.mean([abs(model.predict_ms(specs) / crowded(specs) - 1) for specs in further]) < 0.015
    straight = fit_block_model(alone, [(specs, noisy(rng, network_ms(specs))) for specs in networks])
    assert straight.crowding_per_ms == 0


def test_without_blocks_alone_the_overhead_of_a_call_stays_with_the_network() -> None:
    model = fit_block_model({}, [(specs, network_ms(specs)) for specs in drawn(6, 30)])
    assert model.calibration.overhead_ms == model.calibration.cold_ms_per_weight == 0
    assert model.calibration.intercept_ms == model.coefficients["constant_ms"]
    assert model.calibration.networks == 30


def test_a_runtimes_own_profile_of_its_layers_tells_the_blocks_apart() -> None:
    rng = np.random.default_rng(7)
    networks, further = drawn(8, 6), drawn(9, 50)
    readings = [(specs, noisy(rng, network_ms(specs))) for specs in networks]
    inside = [(spec, noisy(rng, price_ms(spec))) for specs in networks for spec in specs]
    blocks = [spec for specs in further for spec in specs if spec.kind is BlockKind.RESIDUAL]

    def error(profiled: list[tuple[BlockSpec, float]]) -> float:
        model = fit_block_model({}, readings, inside=profiled)
        return float(np.median([abs(price_of(model, spec) / price_ms(spec) - 1) for spec in blocks]))

    assert error(inside) < 0.05
    assert error(inside) < error([])


def test_doubt_is_larger_for_blocks_unlike_any_that_was_read() -> None:
    rng = np.random.default_rng(10)
    networks = drawn(11, 40)
    alone = {spec: noisy(rng, alone_ms(spec)) for specs in networks[:10] for spec in specs}
    model = fit_block_model(alone, [(specs, noisy(rng, network_ms(specs))) for specs in networks])
    usual, strange = residual(64, 32, 64, 16), residual(8, 2048, 8, 1)
    assert np.diff(model.doubts([usual, strange])) > 0


def test_prices_are_above_zero_whatever_was_read() -> None:
    rng = np.random.default_rng(12)
    networks = drawn(13, 12)
    model = fit_block_model({}, [(specs, float(rng.uniform(1, 2))) for specs in networks])
    assert min(price_of(model, spec) for specs in drawn(14, 20) for spec in specs) > 0
    assert min(model.entries([spec])[0].median_ms for specs in drawn(14, 20) for spec in specs) > 0


def test_too_few_readings_are_refused() -> None:
    with pytest.raises(FednasError, match="2 latencies are too few"):
        fit_block_model({}, [(specs, 1.0) for specs in drawn(15, 2)])
