"""Scales of a plot: which numbers are marked, and where a number lies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDE_RANGE = 20.0
"""Largest over smallest value above which an axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to 0 .. 1."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float], *, may_be_logarithmic: bool) -> "Scale":
        """A scale with a little room at both ends."""
        low, high = min(values), max(values)
        logarithmic = may_be_logarithmic and low > 0 and high / low > WIDE_RANGE
        if logarithmic:
            room = (high / low) ** 0.03
            return cls(low / room, high * room, True)
        room = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
        return cls(low - room, high + room, False)

    def place(self, value: float) -> float:
        """Where ``value`` lies, 0 at the low and 1 at the high end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers within the scale."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            marks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        else:
            step = _round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step)
            marks = [step * k for k in range(first, math.floor(self.high / step) + 1)]
        return [mark for mark in marks if self.low <= mark <= self.high]


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return power * min((1, 2, 5, 10), key=lambda digit: abs(digit - about / power))
