"""What a profile measures: blocks alone, and whole networks to calibrate and to check with."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.common import FednasError, unknown_name
from fednas.latency_tables import BlockSpec
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
LEAST_NETWORKS = 8
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

    @property
    def candidates(self) -> tuple[Specs, ...]:
        """Reference, blocks, calibration and held-out networks, in this order."""
        return (self.reference, *((block,) for block in self.blocks), *self.calibration, *self.held_out)


def plan_for(name: str, space: SearchSpace, *, seed: int = 0) -> Plan:
    """The plan of this name; raises `FednasError` for an unknown one and for a tiny space."""
    if name not in _PLANS:
        raise unknown_name("plan", name, PLANS)
    return _PLANS[name](space, seed=seed)


def exhaustive_plan(space: SearchSpace, *, seed: int = 0) -> Plan:
    """Every distinct block of the space, with random whole networks; raises `FednasError` for a tiny space."""
    reference = blocks_of(space, largest_architecture(space))
    fixed = (reference, blocks_of(space, smallest_architecture(space)))
    drawn = _random_networks(space, CALIBRATION_NETWORKS + HELD_OUT_NETWORKS - 1, seed, known=fixed)
    networks = [fixed[1], *drawn] if fixed[1] != reference else drawn
    if len(networks) < LEAST_NETWORKS:
        raise FednasError(
            f"the search space has only {len(networks) + 1} networks; "
            f"a table needs {LEAST_NETWORKS + 1} to calibrate and check itself",
            hint="measure the networks themselves instead, or give a larger space",
        )
    half = (len(networks) + 1) // 2
    blocks = distinct_blocks(space)
    return Plan(
        name="exhaustive",
        reference=reference,
        blocks=blocks,
        calibration=(reference, *networks[: half - 1]),
        held_out=tuple(networks[half - 1 :]),
        priced=blocks,
    )


def fresh_networks(space: SearchSpace, count: int, seed: int, known: Sequence[Specs] = ()) -> list[Specs]:
    """At most ``count`` random networks, all different and none of ``known``; fewer in a space that has no more."""
    return _random_networks(space, count, seed, known)


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


_PLANS = {"exhaustive": exhaustive_plan}
PLANS = tuple(_PLANS)
