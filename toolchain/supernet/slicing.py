"""Which part of the supernet a subnet is: the one definition that extraction, aggregation and tests share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from fednas.common import ContractError

BATCH_COUNTER = "num_batches_tracked"
"""Last part of the name of a batch norm's counter, which is neither copied nor aggregated."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """One tensor of a subnet and where it lies in the supernet."""

    name: str
    """Name of the tensor, the same in subnet and supernet."""
    prefix: tuple[slice, ...]
    """The part of the supernet's tensor that the subnet's tensor is."""


def overlaps(supernet: Mapping[str, Tensor], subnet: Mapping[str, Tensor]) -> Iterator[Overlap]:
    """Every tensor of a subnet's state and the part of the supernet's state that it stands for.

    Both name their layers alike and a subnet always uses the first channels, so the shape says it all.
    """
    for name, tensor in subnet.items():
        if name.endswith(BATCH_COUNTER):
            continue
        whole = supernet.get(name)
        if whole is None or whole.dim() != tensor.dim():
            raise ContractError(f"subnet tensor {name} is not a part of this supernet")
        if any(part > full for part, full in zip(tensor.shape, whole.shape, strict=True)):
            raise ContractError(f"subnet tensor {name} {tuple(tensor.shape)} exceeds {tuple(whole.shape)}")
        yield Overlap(name, tuple(slice(0, size) for size in tensor.shape))
