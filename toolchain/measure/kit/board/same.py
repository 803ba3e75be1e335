"""What must be equal about a board for the readings of two sittings to count together.

The one definition, on the board and where the table is made.
"""

from typing import Any, Dict, List, NamedTuple

DECISIVE = (
    "cpu_model",
    "architecture",
    "operating_system",
    "cores",
    "affinity",
    "memory_bytes",
    "governor",
    "power_mode",
    "min_mhz",
    "max_mhz",
    "limit_mhz",
    "numpy_version",
)
"""Of the board's state. Not the version of Python: it calls the runtime, whose own version must be equal."""
GPU_DECISIVE = ("name", "driver", "persistence", "power_limit_w", "min_mhz", "max_mhz")
"""Of the GPU's, where it measures."""
NEAR_MEMORY = 0.02
"""A kernel that keeps a little more for itself does not make another board."""


class StateDifference(NamedTuple):
    """One thing that was otherwise."""

    what: str
    first: str
    then: str


def state_differences(first: Dict[str, Any], then: Dict[str, Any]) -> List[StateDifference]:
    """What forbids that readings taken in these two states of a board count together; empty if nothing does."""
    pairs = [(name.replace("_", " "), name, first.get(name), then.get(name)) for name in DECISIVE]
    one, other = first.get("gpu") or {}, then.get("gpu") or {}
    pairs += [("gpu " + name.replace("_", " "), name, one.get(name), other.get(name)) for name in GPU_DECISIVE]
    return [
        StateDifference(what, _shown(was), _shown(now)) for what, name, was, now in pairs if not _alike(name, was, now)
    ]


def _alike(name: str, one: Any, other: Any) -> bool:
    if name == "memory_bytes" and one and other:
        return bool(abs(one - other) < NEAR_MEMORY * max(one, other))
    if name == "affinity" and one is not None and other is not None:
        return list(one) == list(other)
    return bool(one == other)


def _shown(value: Any) -> str:
    if value is None:
        return "not readable"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    return "%g" % value if isinstance(value, float) else str(value)
