"""Energy of one run of the reference network, where the board reports power; in a stretch of its own."""

import time
from typing import Any, Dict, List, Optional

from fednas.toolchain.measure.kit.board.power import Power, PowerMeter
from fednas.toolchain.measure.kit.board.tegrastats import FIRST_LINE_S, Tegrastats

STRETCH_S = 5.0
LOOK_EVERY_S = 0.25
BUSY_MS = 50.0
"""Between two looks at the clock."""


def energy_of(model: Any, calls: int) -> Optional[Dict[str, Any]]:
    """Idle for some seconds, then run the model for as long; None where nothing reports power.

    Idle comes first: a board that has just worked is still warm, and its fan still runs.
    """
    meter = PowerMeter()
    # Only where the system's files say nothing: they can be read at any moment.
    if meter.read() is not None:
        return _two_stretches(model, calls, meter, None)
    with Tegrastats(int(1e3 * LOOK_EVERY_S)) as tegrastats:
        return _two_stretches(model, calls, meter, tegrastats if tegrastats.running else None)


def _two_stretches(model: Any, calls: int, meter: PowerMeter, other: Optional[Tegrastats]) -> Optional[Dict[str, Any]]:
    patience_s = LOOK_EVERY_S if other is None else FIRST_LINE_S
    idle: List[Power] = []
    start = time.perf_counter()
    while time.perf_counter() - start < STRETCH_S:
        time.sleep(LOOK_EVERY_S)
        _look(meter, other, start, idle)
        if not idle and time.perf_counter() - start >= patience_s:
            return None
    idle_s = time.perf_counter() - start
    busy: List[Power] = []
    inferences = 0
    start = looked = time.perf_counter()
    while time.perf_counter() - start < STRETCH_S:
        model.call(calls)
        inferences += calls
        if time.perf_counter() - looked >= LOOK_EVERY_S:
            _look(meter, other, start, busy)
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


def _look(meter: PowerMeter, other: Optional[Tegrastats], start: float, into: List[Power]) -> None:
    power = meter.read()
    if power is None and other is not None:
        # A line that came before this stretch is of what was then.
        power = other.power(since_s=start)
    if power is not None and power.watts >= 0:
        into.append(power)
