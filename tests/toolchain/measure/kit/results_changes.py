"""Changes to results by somebody who knows how digests are made."""

import copy
import json
from collections.abc import Callable
from typing import Any

from fednas.toolchain.measure.kit.document import digest_of

Document = dict[str, Any]
Change = Callable[[Document], object]


def changed(content: bytes, change: Change, *, job_too: bool = False) -> bytes:
    """The results after the change, with digests that are right; ``job_too``: the job was changed."""
    document = copy.deepcopy(json.loads(content))
    change(document)
    if job_too:
        document["job"]["kit"] = document["kit"] = digest_of(document["job"], without="kit")
    document["sha256"] = digest_of(document, without="sha256")
    return json.dumps(document).encode()


def set_key(*path: Any, to: Any) -> Change:
    """Put a value where the keys lead."""

    def change(document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


STATE_CHANGES: list[dict[str, Any]] = [
    {"cpu_model": "another"},
    {"architecture": "riscv64"},
    {"operating_system": "Linux 1.0"},
    {"cores": 999},
    {"affinity": [998]},
    {"memory_bytes": 1000},
    {"governor": "another"},
    {"power_mode": "15W"},
    {"min_mhz": 1.5},
    {"max_mhz": 9999.5},
    {"limit_mhz": 9998.5},
    {"numpy_version": "0.9"},
]
"""Of a board, between two sittings: after each of them readings do not count together."""
GPU: dict[str, Any] = {
    "name": "NVIDIA L4",
    "driver": "580.65.06",
    "persistence": True,
    "power_limit_w": 72.0,
    "min_mhz": None,
    "max_mhz": 2040.0,
    "current_mhz": 1995.0,
    "temperature_c": 61.0,
    "performance_state": "P0",
    "slowed_by": [],
}
"""As the script reads a card."""
GPU_CHANGES: list[dict[str, Any]] = [
    {"name": "NVIDIA T4"},
    {"driver": "535.1"},
    {"persistence": False},
    {"power_limit_w": 60.0},
    {"min_mhz": 300.0},
    {"max_mhz": 1500.0},
]
"""Of a GPU, after which readings do not count together."""
NO_GPU_CHANGES: list[dict[str, Any]] = [
    {"current_mhz": 210.0},
    {"temperature_c": 30.0},
    {"performance_state": "P8"},
    {"slowed_by": ["its power limit"]},
]
NO_STATE_CHANGES: list[dict[str, Any]] = [
    {"python_version": "3.99.0"},
    {"temperature_c": 99.0},
    {"current_mhz": 1.5},
    {"throttled": 7},
    {"load": 0.75},
]
