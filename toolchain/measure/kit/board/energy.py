"""Energy of one run of the reference network, where the board reports power; in a stretch of its own."""

import time
from typing import Any, Dict, List, Optional

from fednas.toolchain.measure.kit.board.power import Power, PowerMeter

STRETCH_S = 5.0
LOOK_EVERY_S = 0.25
BUSY_MS = 50.0
"""Between two looks at the clock."""


def energy_of(model: Any, calls: int) -> Optional[Dict[str, Any]]:
    """Idle for some seconds, then run the model for as long; None where nothing reports power.

    Idle comes first: a board that has just worked is still warm, and its fan still runs.
    """
    meter = PowerMeter()
    first = meter.read()
    idle: List[Power] = []
    start = time.perf_counter()
    while time.perf_counter() - start < STRETCH_S:
        time.sleep(LOOK_EVERY_S)
        _look(meter, idle)
        if not idle and first is None:
            return None
    idle_s = time.perf_counter() - start
    busy: List[Power] = []
    inferences = 0
    start = looked = time.perf_counter()
    while time.perf_counter() - start < STRETCH_S:
        model.call(calls)
        inferences += calls
        if time.perf_counter() - looked >= LOOK_EVERY_S:
            _look(meter, busy)
            looked = time.perf_counter()
    busy_s = time.perf_counter() - start
    if not idle or not busy:
        return None
    return {
        "source": busy[0].source,
        "idle_w": sum(power.watts for power in idle) / len(idle),
        "busy_w": sum(power.watts for power in busy) / len(busy),
        "idle_s": round(idle_s, 3),
        "busy_s": round(busy_s, 3),
        "inferences": inferences,
    }


def _look(meter: PowerMeter, into: List[Power]) -> None:
    power = meter.read()
    if power is not None and power.watts >= 0:
        into.append(power)
