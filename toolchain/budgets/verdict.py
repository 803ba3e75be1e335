"""Met, missed or cannot tell: a limit against the interval of a reading."""

from dataclasses import dataclass
from typing import Literal

from fednas.common import ContractError

Verdict = Literal["met", "missed", "cannot tell"]
Bound = Literal["at most", "at least"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A quantity as far as it is known: somewhere from ``low`` to ``high``, both included."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        # Written so that NaN fails too.
        if not self.low <= self.value <= self.high:
            raise ContractError(f"a reading of {self.value} outside of its interval {self.low} to {self.high}")

    @property
    def exact(self) -> bool:
        """Whether there is no doubt about it, as with a count."""
        return self.low == self.high


def exactly(value: float) -> Reading:
    """A reading without doubt."""
    return Reading(value=value, low=value, high=value)


def verdict_of(bound: Bound, limit: float, reading: Reading) -> Verdict:
    """``met`` if the whole interval keeps the limit, ``missed`` if none of it does. Equality keeps it."""
    if bound == "at most":
        return "met" if reading.high <= limit else "missed" if reading.low > limit else "cannot tell"
    return "met" if reading.low >= limit else "missed" if reading.high < limit else "cannot tell"


def overall(verdicts: list[Verdict]) -> Verdict:
    """The worst: ``missed`` before ``cannot tell`` before ``met``."""
    for worst in ("missed", "cannot tell"):
        if worst in verdicts:
            return worst
    return "met"
