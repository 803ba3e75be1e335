"""The search space: which networks exist. Read from the published DeepFedNAS configuration files as they are."""

import itertools
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from fednas.common import FednasError, convert, decode_json, encode_json, read_bytes
from fednas.latency_tables import LatencyTable, SpaceRecord
from fednas.toolchain.space.widths import block_side, round_channels, rounded_middle

Accounting = Literal["network", "published"]
"""``network``: what the exported network costs. ``published``: what the public implementation reports (Q1, Q5, Q6)."""
Normalization = Literal["batch", "none"]


class SearchSpace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """All the subnets of a supernet. Field names are those of the published configurations.

    Raises `FednasError` for values that cannot work, and for those that the published code silently gets
    wrong: choices that are not strictly increasing (method Q2) and a divisor other than 8 (Q3).
    """

    num_stages: int
    max_extra_blocks_per_stage: int
    original_stem_out_channels: int
    original_stage_base_channels: tuple[int, ...]
    initial_input_hw: int
    initial_input_channels: int
    stem_stride: int
    stage_downsample_factors: tuple[int, ...]
    channel_divisible_by: int
    n_classes: int
    width_multiplier_choices: tuple[float, ...]
    expansion_ratio_choices: tuple[float, ...]
    bn_gamma_zero_init: bool = False
    normalization: Normalization = "batch"
    alpha_weights: tuple[float, ...] | None = None
    beta_depth_penalty: float | None = None
    non_decreasing_channels: bool | None = None
    non_decreasing_penalty_coeff: float | None = None
    supernet_rho0_constraint: float | None = None
    supernet_effectiveness_fitness_weight: float | None = None

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_lengths()
        self._check_choices("width_multiplier_choices", self.width_multiplier_choices)
        self._check_choices("expansion_ratio_choices", self.expansion_ratio_choices)
        if self.channel_divisible_by != 8:
            raise _bad(
                "channel_divisible_by",
                self.channel_divisible_by,
                "8: the published network rounds its middle widths by 8 whatever this key says (method Q3)",
            )

    def _check_counts(self) -> None:
        least_one = ("num_stages", "original_stem_out_channels", "initial_input_hw", "initial_input_channels")
        for key in (*least_one, "stem_stride", "n_classes"):
            if getattr(self, key) < 1:
                raise _bad(key, getattr(self, key), "a whole number of at least 1")
        if self.max_extra_blocks_per_stage < 0:
            raise _bad("max_extra_blocks_per_stage", self.max_extra_blocks_per_stage, "at least 0")

    def _check_lengths(self) -> None:
        for key in ("original_stage_base_channels", "stage_downsample_factors", "alpha_weights"):
            values = getattr(self, key)
            if values is None:
                continue
            if len(values) != self.num_stages:
                wanted = f"{self.num_stages} values, one for each of num_stages"
                raise FednasError(f"search space key {key} has {len(values)} values; it needs {wanted}")
            if key != "alpha_weights" and min(values) < 1:
                raise _bad(key, list(values), "whole numbers of at least 1")

    def _check_choices(self, key: str, choices: tuple[float, ...]) -> None:
        if not choices:
            raise _bad(key, [], "at least one value")
        if not all(0 < choice < 1e3 for choice in choices):
            raise _bad(key, list(choices), "numbers above 0")
        if any(high <= low for low, high in itertools.pairwise(choices)):
            raise _bad(
                key,
                list(choices),
                "strictly increasing, without duplicates: the published network sorts the list "
                "but its cost model does not, so another network would be built than was priced (method Q2)",
            )

    # --- sizes of the genotype -----------------------------------------------------------------

    @property
    def blocks_per_stage(self) -> int:
        """Block slots of a stage, 1 + max_extra_blocks_per_stage."""
        return self.max_extra_blocks_per_stage + 1

    @property
    def expansion_slots(self) -> int:
        """Length of ``e``: one slot for each block of each stage at full depth."""
        return self.num_stages * self.blocks_per_stage

    # --- every width, once ---------------------------------------------------------------------

    @cached_property
    def stem_widths(self) -> tuple[int, ...]:
        """Channels of the stem for each width index."""
        return self._rounded(self.original_stem_out_channels)

    @cached_property
    def stage_widths(self) -> tuple[tuple[int, ...], ...]:
        """Channels [stage][width index]."""
        return tuple(self._rounded(base) for base in self.original_stage_base_channels)

    def middle_widths(self, stage: int, accounting: Accounting = "network") -> tuple[tuple[int, ...], ...]:
        """Channels between the two convolutions, [width index][expansion index], of 0-based ``stage``."""
        return tuple(
            tuple(rounded_middle(width * ratio, accounting == "network") for ratio in self.expansion_ratio_choices)
            for width in self.stage_widths[stage]
        )

    def sides(self, accounting: Accounting = "network") -> tuple[int, ...]:
        """Side of the square feature map, in pixels: [0] after the stem, [1 + j] after stage j."""
        side = block_side(self.initial_input_hw, self.stem_stride, accounting == "network")
        sides = [side]
        for factor in self.stage_downsample_factors:
            side = block_side(side, factor, accounting == "network")
            sides.append(side)
        if min(sides) < 1:
            raise FednasError(
                f"the feature map shrinks to nothing: sides {sides} from initial_input_hw {self.initial_input_hw}",
                hint="use smaller stage_downsample_factors or the network accounting",
            )
        return tuple(sides)

    def _rounded(self, base: int) -> tuple[int, ...]:
        return tuple(round_channels(base * multiplier) for multiplier in self.width_multiplier_choices)

    # --- files ---------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The space in the published field names."""
        return encode_json(self)

    def as_record(self) -> SpaceRecord:
        """The same as plain values, for a latency table to keep."""
        return msgspec.convert(msgspec.to_builtins(self), SpaceRecord)


def load_space(path: Path) -> SearchSpace:
    """Read a search space file; raises `FednasError` that names the key to mend."""
    return decode_json(read_bytes(path, "search space"), SearchSpace, f"search space {path}")


def space_of_table(table: LatencyTable, what: str) -> SearchSpace | None:
    """The space that a table was profiled for, if it says; raises `FednasError` where that is no valid space."""
    if table.space is None:
        return None
    return convert(table.space, SearchSpace, f"{what}: space")


def _bad(key: str, value: object, allowed: str) -> FednasError:
    return FednasError(f"search space key {key} is {value}; it must be {allowed}", hint="mend the search space file")
