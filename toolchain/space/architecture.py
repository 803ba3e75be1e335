"""An architecture: one subnet of a search space, in canonical form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from fednas.common import FednasError, decode_json
from fednas.toolchain.space.search_space import SearchSpace

T = TypeVar("T")


class ArchitectureJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON form of an architecture."""

    d: list[int]
    e: list[float]
    w_indices: list[int]


@dataclass(frozen=True, slots=True)
class Architecture:
    """(d, e, w): extra blocks a stage; expansion ratio a block slot; width index of stem and stages.

    Slots of blocks that do not exist hold the smallest ratio, so two encodings of one network are equal.
    Make one with `architecture_from_genes`, which checks it against its space.
    """

    d: tuple[int, ...]
    """Length num_stages, each 0 .. max_extra_blocks_per_stage."""
    e: tuple[float, ...]
    """Length num_stages * (max_extra_blocks_per_stage + 1), values of expansion_ratio_choices."""
    w_indices: tuple[int, ...]
    """Length num_stages + 1, indices into width_multiplier_choices; position 0 is the stem."""

    def as_dict(self) -> dict[str, list[int] | list[float]]:
        """For JSON."""
        return {"d": list(self.d), "e": list(self.e), "w_indices": list(self.w_indices)}

    def __str__(self) -> str:
        return f"d={list(self.d)} e={list(self.e)} w={list(self.w_indices)}"


def architecture_from_genes(
    space: SearchSpace, d: Sequence[int], e: Sequence[float], w_indices: Sequence[int]
) -> Architecture:
    """The canonical architecture of these genes; raises `FednasError` for genes outside the space."""
    for name, genes, length in (
        ("d", d, space.num_stages),
        ("e", e, space.expansion_slots),
        ("w_indices", w_indices, space.num_stages + 1),
    ):
        if len(genes) != length:
            raise FednasError(f"architecture has {len(genes)} values in {name}; this search space needs {length}")
    _check_range("d", d, space.max_extra_blocks_per_stage)
    _check_range("w_indices", w_indices, len(space.width_multiplier_choices) - 1)
    ratios = [_choice(space, ratio) for ratio in e]
    least = space.expansion_ratio_choices[0]
    slots = space.blocks_per_stage
    canonical = [r if slot % slots <= d[slot // slots] else least for slot, r in enumerate(ratios)]
    return Architecture(tuple(d), tuple(canonical), tuple(w_indices))


def smallest_architecture(space: SearchSpace) -> Architecture:
    """Least depth, ratios and widths."""
    e = (space.expansion_ratio_choices[0],) * space.expansion_slots
    return Architecture((0,) * space.num_stages, e, (0,) * (space.num_stages + 1))


def largest_architecture(space: SearchSpace) -> Architecture:
    """Full depth, ratios and widths: the supernet itself."""
    e = (space.expansion_ratio_choices[-1],) * space.expansion_slots
    width = len(space.width_multiplier_choices) - 1
    return Architecture((space.max_extra_blocks_per_stage,) * space.num_stages, e, (width,) * (space.num_stages + 1))


def architecture_from_json(space: SearchSpace, text: str | bytes, what: str) -> Architecture:
    """Read ``{"d": [...], "e": [...], "w_indices": [...]}``; raises `FednasError`."""
    raw = decode_json(text, ArchitectureJson, what)
    try:
        return architecture_from_genes(space, raw.d, raw.e, raw.w_indices)
    except FednasError as err:
        raise FednasError(f"{what}: {err.message}", hint=err.hint) from err


def architecture_from_cells(space: SearchSpace, cells: Mapping[str, str | None]) -> Architecture:
    """From CSV cells d, e and w_indices, each a list written as JSON or as a Python literal."""
    d, w_indices = (_cell(cells, key, list[int]) for key in ("d", "w_indices"))
    return architecture_from_genes(space, d, _cell(cells, "e", list[float]), w_indices)


def _cell(cells: Mapping[str, str | None], key: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(cells.get(key) or "", type=kind)
    except msgspec.DecodeError as err:
        message = f"column {key} holds {cells.get(key)!r}; it must hold a list of numbers such as [0, 1]"
        raise FednasError(message, hint="columns d, e and w_indices make an architecture") from err


def _check_range(name: str, genes: Sequence[int], highest: int) -> None:
    if wrong := [gene for gene in genes if not 0 <= gene <= highest]:
        raise FednasError(f"architecture has {wrong[0]} in {name}; this search space allows 0 to {highest}")


def _choice(space: SearchSpace, ratio: float) -> float:
    for choice in space.expansion_ratio_choices:
        if abs(choice - ratio) < 1e-9:
            return choice
    allowed = ", ".join(map(str, space.expansion_ratio_choices))
    raise FednasError(f"architecture has {ratio} in e; this search space allows {allowed}")
