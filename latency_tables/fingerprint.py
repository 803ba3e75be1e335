"""Are two tables of one machine, in one state? What differs, and how much that matters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fednas.latency_tables.table import GpuState, LatencyTable, Machine

Weight = Literal["another", "state"]
CHANGING = {"current_mhz", "temperature_c", "throttle_events", "performance_state", "slowed_by"}
"""Of a machine and of its GPU. Different from one minute to the next; they say nothing about which machine it is."""
STATE = {"operating_system", "affinity", "min_mhz", "max_mhz", "limit_mhz", "locked", "python_version", "numpy_version"}
"""May change the speed of one and the same machine. What is named nowhere makes it another one."""
SETTINGS = ("device", "runtime", "runtime_version", "precision", "batch", "threads")
"""Of a table: with another value it measures something else."""
CLOSE_MEMORY = 0.02
"""A kernel that keeps a little more for itself does not make another machine."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same."""

    what: str
    """In words, such as ``runtime version``."""
    first: str
    second: str
    weight: Weight
    """``another``: another machine, runtime or job, whose latencies are not comparable; ``state``: the same one in a
    state that may be faster or slower."""

    def __str__(self) -> str:
        return f"{self.what}: {self.first} and {self.second}"


def table_differences(first: LatencyTable, second: LatencyTable) -> tuple[Difference, ...]:
    """What differs between the settings and machines of two tables, the decisive first."""
    settings = (
        _difference(name, getattr(first, name), getattr(second, name), "another")
        for name in SETTINGS
        if getattr(first, name) != getattr(second, name)
    )
    return (*settings, *machine_differences(first.machine, second.machine))


def machine_differences(first: Machine, second: Machine) -> tuple[Difference, ...]:
    """What differs between two machines, the decisive first."""
    return tuple(sorted(_machine_differences(first, second), key=lambda difference: difference.weight))


def _machine_differences(first: Machine, second: Machine) -> Iterator[Difference]:
    for name in Machine.__struct_fields__:
        one, other = getattr(first, name), getattr(second, name)
        if one == other or name in CHANGING:
            continue
        if name == "gpu_state":
            yield from _gpu_differences(one or GpuState(), other or GpuState())
            continue
        if name == "memory_bytes" and one and other and abs(one - other) < CLOSE_MEMORY * max(one, other):
            continue
        yield _difference(name, one, other, "state" if name in STATE else "another")


def _gpu_differences(first: GpuState, second: GpuState) -> Iterator[Difference]:
    """Settings only: the same GPU with another driver, power limit or clock may be faster or slower."""
    for name in GpuState.__struct_fields__:
        one, other = getattr(first, name), getattr(second, name)
        if one != other and name not in CHANGING:
            yield _difference(f"gpu_{name}", one, other, "state")


def _difference(name: str, first: object, second: object, weight: Weight) -> Difference:
    return Difference(name.replace("_", " "), _text(first), _text(second), weight)


def _text(value: object) -> str:
    if value is None:
        return "not readable"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
