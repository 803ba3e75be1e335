"""Quantities that people type, such as ``5ms``, ``500M`` or ``2MiB``, and the reverse for printing."""

import math
import re
from collections.abc import Mapping

from fednas.common.errors import FednasError

LATENCY_UNITS: Mapping[str, float] = {"us": 1e-3, "ms": 1.0, "s": 1e3}
"""Factor to milliseconds."""
COUNT_UNITS: Mapping[str, float] = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
"""Factor to a plain count, for MACs and parameters."""
SIZE_UNITS: Mapping[str, float] = {
    "B": 1.0,
    "kB": 1e3,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
"""Factor to bytes."""
SHARE_UNITS: Mapping[str, float] = {"": 1.0, "%": 1e-2}
"""Factor to a share between 0 and 1, for accuracies."""

_PATTERN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)")


def parse_latency_ms(text: str, what: str) -> float:
    """Milliseconds of ``5ms``, ``0.8s`` or ``750us``; raises `FednasError` naming ``what``."""
    return _parse(text, what, LATENCY_UNITS, "5ms, 0.8s or 750us")


def parse_count(text: str, what: str) -> int:
    """A count such as ``500M``, ``1.2G`` or ``12000``, rounded down; raises `FednasError`."""
    return math.floor(_parse(text, what, COUNT_UNITS, "500M, 1.2G or 12000"))


def parse_bytes(text: str, what: str) -> int:
    """Bytes of ``3MB``, ``2MiB`` or ``900kB``, rounded down; raises `FednasError`."""
    return math.floor(_parse(text, what, SIZE_UNITS, "3MB, 2MiB or 900kB"))


def parse_share(text: str, what: str, example: str = "0.97 or 97%") -> float:
    """A share between 0 and 1 from ``0.97`` or ``97%``; raises `FednasError` with an ``example`` that makes sense."""
    share = _parse(text, what, SHARE_UNITS, example)
    if share > 1.0:
        raise FednasError(f"{what} is {text!r}, more than 1", hint=f"write a share such as {example}")
    return share


def _parse(text: str, what: str, units: Mapping[str, float], examples: str) -> float:
    match = _PATTERN.fullmatch(text.strip())
    if match is None or match[2] not in units:
        allowed = ", ".join(unit for unit in units if unit)
        unit = f"one of the units {allowed}" if "," in allowed else f"the unit {allowed}"
        raise FednasError(f"{what} is {text!r}, which is no quantity with {unit}", hint=f"write it like {examples}")
    value = float(match[1]) * units[match[2]]
    if not (math.isfinite(value) and value > 0):
        raise FednasError(f"{what} is {text!r}, but it must be above zero", hint=f"write it like {examples}")
    return value


def format_count(count: float) -> str:
    """``12.3M`` for 12 345 678: three significant digits and a decimal prefix."""
    return _scaled(count, (("G", 1e9), ("M", 1e6), ("k", 1e3)), "")


def format_bytes(size_bytes: float) -> str:
    """``3.45 MB``, in decimal units."""
    return _scaled(size_bytes, ((" GB", 1e9), (" MB", 1e6), (" kB", 1e3)), " B")


def format_latency_ms(latency_ms: float) -> str:
    """``1.23 ms``, or ``45.6 us`` below a tenth of a millisecond."""
    if abs(latency_ms) < 0.1:
        return f"{latency_ms * 1e3:.3g} us"
    return f"{latency_ms:.3g} ms" if abs(latency_ms) < 1000 else f"{latency_ms / 1e3:.4g} s"


def column_latency(latency_ms: float) -> str:
    """As `format_latency_ms`, with final zeros kept: ``5.40 ms``, ``0.100 ms``. For columns, aligned to the right."""
    for unit, factor, largest in (("us", 1e3, 100.0), ("ms", 1.0, 1000.0), ("s", 1e-3, math.inf)):
        # 99.96 us must stand as 0.100 ms, not as 100 us.
        rounded = float(f"{latency_ms * factor:.3g}")
        decimals = 2 - math.floor(math.log10(abs(rounded))) if rounded else 0
        shown = f"{rounded:.{max(0, decimals)}f} {unit}"
        if abs(rounded) < largest:
            break
    return shown


def _scaled(value: float, steps: tuple[tuple[str, float], ...], bare_unit: str) -> str:
    for unit, factor in steps:
        # 999 950 must print as 1M, not as 1e+03k.
        if abs(value) >= factor * 0.9995:
            return f"{float(f'{value / factor:.3g}'):g}{unit}"
    return f"{value:.4g}{bare_unit}"
