"""What is known about a subject: a reading for each quantity, or why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass

from fednas.common import ContractError
from fednas.toolchain.budgets.quantities import Quantity
from fednas.toolchain.budgets.verdict import Reading, exactly


@dataclass(frozen=True, slots=True)
class Known:
    """A reading and what it rests on."""

    reading: Reading
    basis: str
    interval: str
    """What the interval means, such as ``95 % interval of the median of 200 runs``."""


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no reading."""

    basis: str
    why: str


@dataclass(frozen=True, slots=True)
class State:
    """What the folder says about itself."""

    text: str
    failure: str
    """Why it must not be used; empty if it may."""


@dataclass(frozen=True, slots=True)
class Readings:
    """All that is known about one subject."""

    by_quantity: Mapping[str, Known | Missing]
    """By name of the quantity."""
    state: State | None = None
    """None for an architecture, which was never verified."""

    def of(self, quantity: Quantity) -> Known | Missing:
        """The reading of a quantity."""
        if quantity.name not in self.by_quantity:
            raise ContractError(f"nobody looked for {quantity.name}")
        return self.by_quantity[quantity.name]


def counted(value: float) -> Known:
    """A count or a size: exact."""
    return Known(exactly(value), "exact", "")
