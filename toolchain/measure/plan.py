"""What a profile measures: blocks alone, and whole networks to calibrate and to check with."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.common import FednasError, unknown_name
from fednas.latency_tables import BlockSpec
from fednas.toolchain.measure.choosing import chosen_blocks, chosen_networks
from fednas.toolchain.space import (
    Architecture,
    SearchSpace,
    architecture_from_genes,
    blocks_of,
    distinct_blocks,
    largest_architecture,
    smallest_architecture,
)

CALIBRATION_NETWORKS = 20
HELD_OUT_NETWORKS = 20
TELLING_NETWORKS = 20
"""Chosen ones that calibrate the exhaustive plan beside the random ones, of every size: searches pick what random
draws hardly ever give."""
LEAST_NETWORKS = 8
FEWEST_CHOSEN, MOST_CHOSEN = 20, 100
"""Networks that a modelled plan measures: with fewer the model is loose, and beyond them it gains nothing."""
FEWEST_BLOCKS, MOST_BLOCKS = 24, 150
ROUNDS = 9
"""Readings of each that a plan's size is reckoned with; time that is left goes into more of them."""
CHOSEN_SHARE = 0.75
"""Of the seconds; the rest goes to the reference, which is read in every round of every group."""
MACS_PER_MS = 30e6
"""Of a common core: before anything is measured, the best guess at how long a reading takes."""
NETWORK_VISITS = 3
"""Of the exhaustive plan: its rounds are as few as thousands of blocks allow, and all that it learns of the sum of
blocks, and all that it says of its own error, stands on a few dozen networks."""
FEWEST_PASSES, MOST_PASSES, SECONDS_PER_PASS = 3, 5, 60.0
"""A network loaded anew lies elsewhere in memory, and is up to some per cent faster or slower for it: three times at
least, and more often where the readings of a pass take longer than loading does."""
LARGEST_TENSOR = 4 * 2**30
"""Bytes that one tensor of a batch may take."""
CALLS = 2
"""For each reading: one to warm the caches, one that counts."""
Specs = tuple[BlockSpec, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates of one profiling run, each a row of blocks that is built and timed as one model."""

    name: str
    """As `--plan` has it."""
    reference: Specs
    """The largest network: read in every round, so that the machine's drift is seen."""
    blocks: tuple[BlockSpec, ...]
    """Measured alone."""
    calibration: tuple[Specs, ...]
    held_out: tuple[Specs, ...]
    """Whole networks that never touch the fit."""
    priced: tuple[BlockSpec, ...]
    """Every distinct block of the space: what the table prices."""
    passes: int = FEWEST_PASSES
    """How often everything is loaded and read anew, where loading is quick."""
    visits: int = 1
    """Readings of a whole network in each round; a block alone, and the reference, have one."""

    @property
    def candidates(self) -> tuple[Specs, ...]:
        """Reference, blocks, calibration and held-out networks, in this order."""
        return (self.reference, *((block,) for block in self.blocks), *self.calibration, *self.held_out)

    def visits_of(self, candidate: int) -> int:
        """Readings of this candidate in each round."""
        return self.visits if candidate > len(self.blocks) else 1


def plan_for(name: str, space: SearchSpace, *, seed: int = 0, seconds: float = 60.0, batch: int = 1) -> Plan:
    """The plan of this name, as large as ``seconds`` of readings allow at this batch.

    Raises `FednasError` for an unknown name and for a tiny space.
    """
    if name not in _PLANS:
        raise unknown_name("plan", name, PLANS)
    require_seconds(seconds)
    _require_batch(space, batch)
    return _PLANS[name](space, seed=seed, seconds=seconds, batch=batch)


def require_seconds(seconds: float) -> None:
    """Raise `FednasError` unless one can measure for so long."""
    if not 0 < seconds < math.inf:
        raise FednasError(f"--seconds is {seconds}; it must be a number above zero", hint="such as 60")


def _require_batch(space: SearchSpace, batch: int) -> None:
    """Raise `FednasError` for a batch that no board holds; what a kit's board has is not known where it is written."""
    image = max(spec.in_channels * spec.in_hw**2 for spec in blocks_of(space, largest_architecture(space)))
    if (largest := 4 * batch * image) > LARGEST_TENSOR:
        most = max(1, LARGEST_TENSOR // (4 * image))
        message = f"--batch is {batch}: one tensor of the largest network would take {largest / 2**30:,.1f} GiB"
        raise FednasError(message, hint=f"give {most} or fewer, which take {LARGEST_TENSOR >> 30} GiB")


def sparse_plan(space: SearchSpace, *, seed: int = 0, seconds: float = 60.0, batch: int = 1) -> Plan:
    """A few dozen to a few hundred networks and blocks, chosen to pin down a model of all the others."""
    blocks = chosen_blocks(distinct_blocks(space), max(FEWEST_BLOCKS, min(MOST_BLOCKS, int(seconds))))
    return _modelled_plan("sparse", space, tuple(blocks), seed, seconds / batch)


def network_plan(space: SearchSpace, *, seed: int = 0, seconds: float = 60.0, batch: int = 1) -> Plan:
    """Whole networks only: for runtimes that take long to build a model."""
    return _modelled_plan("network", space, (), seed, seconds / batch)


def _modelled_plan(name: str, space: SearchSpace, blocks: tuple[BlockSpec, ...], seed: int, seconds: float) -> Plan:
    reference, smallest = blocks_of(space, largest_architecture(space)), blocks_of(space, smallest_architecture(space))
    known = tuple(dict.fromkeys((reference, smallest)))
    # Drawn before anything depends on the seconds: tables of both modelled plans are judged on the same networks.
    held_out = _random_networks(space, HELD_OUT_NETWORKS, seed, known=known)
    chosen = chosen_networks(space, random.Random(seed), (*known, *held_out), MOST_CHOSEN)  # noqa: S311
    if len(held_out) < HELD_OUT_NETWORKS or len(chosen) < LEAST_NETWORKS:
        raise _too_few(len(held_out) + len(chosen) + len(known))
    left_s = CHOSEN_SHARE * seconds - sum(map(_expected_s, (*held_out, *known, *((block,) for block in blocks))))
    calibration = [*known]
    for network in chosen:
        left_s -= _expected_s(network)
        if left_s < 0 and len(calibration) >= FEWEST_CHOSEN:
            break
        calibration.append(network)
    return Plan(
        name=name,
        reference=reference,
        blocks=blocks,
        calibration=tuple(calibration),
        held_out=tuple(held_out),
        priced=distinct_blocks(space),
        passes=max(FEWEST_PASSES, min(MOST_PASSES, int(seconds // SECONDS_PER_PASS))),
    )


def _expected_s(specs: Specs) -> float:
    """Device time of all readings of one candidate, at batch 1."""
    return ROUNDS * CALLS * sum(spec.macs for spec in specs) / MACS_PER_MS / 1e3


def exhaustive_plan(space: SearchSpace, *, seed: int = 0, seconds: float = 0.0, batch: int = 1) -> Plan:  # noqa: ARG001
    """Every distinct block of the space, with whole networks; raises `FednasError` for a tiny space."""
    reference = blocks_of(space, largest_architecture(space))
    fixed = (reference, blocks_of(space, smallest_architecture(space)))
    drawn = _random_networks(space, CALIBRATION_NETWORKS + HELD_OUT_NETWORKS - 1, seed, known=fixed)
    networks = [fixed[1], *drawn] if fixed[1] != reference else drawn
    if len(networks) < LEAST_NETWORKS:
        raise _too_few(len(networks) + 1)
    half = (len(networks) + 1) // 2
    blocks = distinct_blocks(space)
    telling = chosen_networks(space, random.Random(seed), (reference, *networks), TELLING_NETWORKS)  # noqa: S311
    return Plan(
        name="exhaustive",
        reference=reference,
        blocks=blocks,
        calibration=(reference, *networks[: half - 1], *telling),
        held_out=tuple(networks[half - 1 :]),
        priced=blocks,
        visits=NETWORK_VISITS,
    )


def fresh_networks(space: SearchSpace, count: int, seed: int, known: Sequence[Specs] = ()) -> list[Specs]:
    """At most ``count`` random networks, all different and none of ``known``; fewer in a space that has no more."""
    return _random_networks(space, count, seed, known)


def _too_few(found: int) -> FednasError:
    return FednasError(
        f"the search space has only {found} networks; a table needs {LEAST_NETWORKS + 1} to calibrate and check itself",
        hint="measure the networks themselves instead, or give a larger space",
    )


def _random_networks(space: SearchSpace, count: int, seed: int, known: Sequence[Specs]) -> list[Specs]:
    """Networks of uniformly random genes, all different from each other and from ``known``."""
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    seen = set(known)
    found: list[Specs] = []
    for _ in range(50 * count):
        if len(found) == count:
            break
        network = blocks_of(space, _random_architecture(space, rng))
        if network not in seen:
            seen.add(network)
            found.append(network)
    return found


def _random_architecture(space: SearchSpace, rng: random.Random) -> Architecture:
    d = [rng.randrange(space.blocks_per_stage) for _ in range(space.num_stages)]
    e = [rng.choice(space.expansion_ratio_choices) for _ in range(space.expansion_slots)]
    w = [rng.randrange(len(space.width_multiplier_choices)) for _ in range(space.num_stages + 1)]
    return architecture_from_genes(space, d, e, w)


_PLANS = {"exhaustive": exhaustive_plan, "sparse": sparse_plan, "network": network_plan}
PLANS = tuple(_PLANS)
