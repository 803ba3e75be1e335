"""What the fields of a latency table may hold."""

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from fednas.common import PlainText
from fednas.profiles import PRECISIONS

Positive = Annotated[float, Meta(gt=0)]
Latency = Annotated[float, Meta(ge=1e-9, le=1e9)]
"""In ms: a picosecond to eleven days. What lies beyond was not read off a clock; sums and pictures stay finite."""
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Name = Annotated[PlainText, Meta(min_length=1)]
Precision = Annotated[str, Meta(pattern=rf"^({'|'.join(PRECISIONS)})\Z", description=f"one of {', '.join(PRECISIONS)}")]


class Checked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A structure without infinities. Raises ValueError, which the decoder turns into one line with the key."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field} is {value}; it must be a finite number")


def in_order(*values: float | None) -> bool:
    """Whether those that are known rise."""
    known = [value for value in values if value is not None]
    return known == sorted(known)
