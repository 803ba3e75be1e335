"""How much power the board draws, from whichever meter its system shows; nothing is switched on for it."""

import glob
import os
import re
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

SYSTEM = "/"
"""Where the system's files hang; a test puts its own here."""
TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")
"""Rails of a Jetson that hold all others; where one is there, it is the total."""
SUM_CHANNEL = "7"
"""Channel of an INA3221 that adds up others."""
SHORTEST_COUNT_S = 0.2
"""A counter of energy is only divided by at least this long a time."""


class Power(NamedTuple):
    """Power at one moment."""

    watts: float
    source: str
    """Who says so, such as ``hwmon VDD_IN``."""


class PowerMeter:
    """Reads power again and again; counters of energy give the mean since the last reading."""

    def __init__(self) -> None:
        self._last: Optional[Tuple[float, float]] = None

    def read(self) -> Optional[Power]:
        """None where no meter can be read."""
        rails = hwmon_rails() or iio_rails()
        return total_power(rails, "hwmon") if rails else self._counted()

    def _counted(self) -> Optional[Power]:
        joules, now = rapl_joules(), time.perf_counter()
        last = self._last
        if joules is None:
            return None
        if last is None or now - last[0] >= SHORTEST_COUNT_S:
            self._last = (now, joules)
        # The counter wraps around; that one interval says nothing.
        if last is None or now - last[0] < SHORTEST_COUNT_S or joules < last[1]:
            return None
        return Power((joules - last[1]) / (now - last[0]), "powercap package-0")


def total_power(rails: Dict[str, float], meter: str) -> Power:
    """The rail that holds all others, or else the sum of all."""
    total = next((name for name in TOTAL_RAILS if name in rails), None)
    if total is not None:
        return Power(rails[total], "%s %s" % (meter, total))
    return Power(sum(rails.values()), "%s %s" % (meter, "+".join(sorted(rails))))


def hwmon_rails() -> Dict[str, float]:
    """Watts of each rail of an INA3221 (millivolts times milliamperes), or of sensors that give power themselves."""
    rails: Dict[str, float] = {}
    for place in found("sys/class/hwmon/hwmon*/in*_label") + found("sys/bus/i2c/devices/*/hwmon/hwmon*/in*_label"):
        channel = re.sub(r"[^0-9]", "", os.path.basename(place))
        name = text_of(place) or "NC"
        folder = os.path.dirname(place)
        volts = number_of(os.path.join(folder, "in%s_input" % channel))
        amperes = number_of(os.path.join(folder, "curr%s_input" % channel))
        if name != "NC" and channel != SUM_CHANNEL and volts is not None and amperes is not None:
            rails[name] = volts * amperes / 1e6
    if not rails:
        for path in found("sys/class/hwmon/hwmon*/power*_input"):
            microwatts = number_of(path)
            if microwatts is not None:
                label = text_of(path.replace("_input", "_label")) or text_of(
                    os.path.join(os.path.dirname(path), "name")
                )
                rails[label or "power"] = microwatts / 1e6
    return rails


def iio_rails() -> Dict[str, float]:
    """Watts of each rail as JetPack 4 shows them."""
    rails: Dict[str, float] = {}
    for label in found("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"):
        power = number_of(os.path.join(os.path.dirname(label), "in_power%s_input" % label.rsplit("_", 1)[1]))
        name = text_of(label)
        if name and name != "NC" and power is not None:
            rails[name] = power / 1e3
    return rails


def rapl_joules() -> Optional[float]:
    """Counter of the processor's energy; most systems let only root read it."""
    microjoules = number_of(system("sys/class/powercap/intel-rapl:0/energy_uj"))
    return None if microjoules is None else microjoules / 1e6


def text_of(path: str) -> Optional[str]:
    """Content of a small file of the system without trailing line breaks and zeros; None where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(4096)
    except OSError:
        return None
    return content.decode("utf-8", "replace").strip("\0\n ") or None


def number_of(path: str) -> Optional[float]:
    """A whole number in a file; None where there is none."""
    text = text_of(path)
    return float(text) if text and re.match(r"-?[0-9]{1,18}$", text) else None


def system(path: str) -> str:
    """A file of the system."""
    return os.path.join(SYSTEM, path)


def found(pattern: str) -> List[str]:
    """Files of the system that match."""
    return sorted(glob.glob(system(pattern)))
