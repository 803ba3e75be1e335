"""What a budget can limit, and how each quantity is read and written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fednas.common import (
    format_bytes,
    format_latency_ms,
    parse_bytes,
    parse_count,
    parse_latency_ms,
    parse_share,
)
from fednas.toolchain.budgets.verdict import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One kind of limit."""

    name: str
    key: str
    """Of the budgets file."""
    bound: Bound
    unit: str
    """Of the numbers in JSON; empty for counts and shares."""
    parse: Callable[[str, str], float]
    """(text, what) -> number; raises `FednasError`."""
    show: Callable[[float], str]
    needs_folder: bool = False
    """Whether an architecture alone cannot tell it."""


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _exact_count(count: float) -> str:
    return f"{count:,.0f}"


LATENCY = Quantity(
    name="latency", key="max_latency", bound="at most", unit="ms", parse=parse_latency_ms, show=format_latency_ms
)
SIZE = Quantity(
    name="size", key="max_size", bound="at most", unit="bytes", parse=parse_bytes, show=format_bytes, needs_folder=True
)
MACS = Quantity(name="macs", key="max_macs", bound="at most", unit="", parse=parse_count, show=_exact_count)
PARAMS = Quantity(name="params", key="max_params", bound="at most", unit="", parse=parse_count, show=_exact_count)
ACCURACY = Quantity(
    name="accuracy",
    key="min_accuracy",
    bound="at least",
    unit="",
    parse=parse_share,
    show=_percent,
    needs_folder=True,
)

QUANTITIES: Mapping[str, Quantity] = {each.key: each for each in (LATENCY, SIZE, MACS, PARAMS, ACCURACY)}
"""By key, in the order in which they are reported."""
