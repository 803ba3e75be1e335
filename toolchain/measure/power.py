"""Energy of one inference, where the machine reports power.

The reference network runs on its own for some seconds after the readings, beside an idle stretch just before. The
rails of Jetsons and other boards come from the readers that kits carry (the system's files, else tegrastats); here come
the counters of PC processors, which wrap around, and NVIDIA's cards. Tested on trees of files and stand-ins; no machine
with a power meter was at hand.
"""

import contextlib
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fednas.latency_tables import Energy
from fednas.toolchain.measure.kit.board.power import TOTAL_RAILS, hwmon_rails, iio_rails
from fednas.toolchain.measure.kit.board.tegrastats import Tegrastats
from fednas.toolchain.measure.system_files import ROOT, number_of, text_of

STRETCH_S = 5.0
SAMPLE_S = 0.1
LOOKING_SHARE = 0.05
"""Of a stretch, at most, for looking at the meter: nothing runs while nvidia-smi answers."""
CARD_SECONDS = 10.0
TEGRASTATS_MS = 250


class PowerMeter(ABC):
    """One meter. Mean power over a stretch is what its samples say."""

    source: str
    rail: str
    """What the figure includes."""

    @abstractmethod
    def start(self) -> None:
        """Begin a stretch."""

    @abstractmethod
    def sample(self) -> None:
        """Look at the meter, several times a second."""

    @abstractmethod
    def mean_w(self) -> float | None:
        """Mean power since `start`; None if the meter said nothing usable."""

    def close(self) -> None:  # noqa: B027 - most meters hold nothing
        """End what it started."""


class GaugeMeter(PowerMeter):
    """A meter that shows power at the moment: the mean of its samples."""

    def __init__(self, source: str, rail: str, watts: Callable[[], float | None]) -> None:
        self.source, self.rail = source, rail
        self._watts = watts
        self._samples: list[float] = []

    def start(self) -> None:
        """Forget earlier samples."""
        self._samples = []

    def sample(self) -> None:
        """Keep what it shows."""
        if (watts := self._watts()) is not None:
            self._samples.append(watts)

    def mean_w(self) -> float | None:
        """Mean of the samples."""
        return sum(self._samples) / len(self._samples) if self._samples else None


class TegrastatsMeter(GaugeMeter):
    """A Jetson's own program, beside us until `close`: for systems whose files say nothing."""

    def __init__(self, tegrastats: Tegrastats, rail: str) -> None:
        super().__init__("tegrastats", rail, self._now_w)
        self._tegrastats = tegrastats
        self._since_s = 0.0

    def start(self) -> None:
        """Forget earlier samples, and lines that came before."""
        super().start()
        self._since_s = time.perf_counter()

    def close(self) -> None:
        """End the program."""
        self._tegrastats.close()

    def _now_w(self) -> float | None:
        power = self._tegrastats.power(since_s=self._since_s)
        return None if power is None else power.watts


class CounterMeter(PowerMeter):
    """Counters of energy that start again from zero when they are full, as RAPL's do within a minute or so."""

    source = "RAPL"

    def __init__(self, domains: list[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._domains = domains
        self._clock = clock
        self.rail = "+".join(text_of(domain / "name") or domain.name for domain in domains)
        self._range = [number_of(domain / "max_energy_range_uj") or 0 for domain in domains]
        self._last: list[int] | None = None
        self._joules = 0.0
        self._start_s = self._end_s = 0.0

    def start(self) -> None:
        """Read the counters for the first time."""
        self._last, self._joules = self._read(), 0.0
        self._start_s = self._end_s = self._clock()

    def sample(self) -> None:
        """Add what the counters have grown by; often enough that none wraps around twice in between."""
        now = self._read()
        if now is not None and self._last is not None:
            for old, new, full in zip(self._last, now, self._range, strict=True):
                self._joules += (new - old if new >= old else new - old + full) / 1e6
            self._end_s = self._clock()
        self._last = now

    def mean_w(self) -> float | None:
        """Energy over time; None when a counter could not be read."""
        spent_s = self._end_s - self._start_s
        return self._joules / spent_s if self._last is not None and spent_s > 0 else None

    def _read(self) -> list[int] | None:
        counts = [number_of(domain / "energy_uj") for domain in self._domains]
        known = [count for count in counts if count is not None]
        return known if len(known) == len(counts) else None


def find_meter(root: Path = ROOT, *, gpu: bool = False) -> PowerMeter | None:
    """The meter that includes most of the machine; None where nothing reports power.

    Args:
        root: holds ``sys``; the rails of boards are where the kit's reader looks for them.
        gpu: the work is on an NVIDIA card that is no Jetson's.
    """
    rails = _rails()
    if rails:
        total = next((name for name in TOTAL_RAILS if name in rails), None)
        rail = total or "+".join(sorted(rails))
        return GaugeMeter("board sensor", rail, lambda: _total_w(_rails()))
    if (tegrastats := _tegrastats_meter()) is not None:
        return tegrastats
    if gpu and shutil.which("nvidia-smi") is not None:
        meter = GaugeMeter("nvidia-smi", "card 0", card_w)
        return meter if card_w() is not None else None
    # Only packages: cores and uncore are parts of them; most systems let only root read them.
    domains = sorted(root.glob("sys/class/powercap/intel-rapl:*"))
    packages = [path for path in domains if (text_of(path / "name") or "").startswith("package")]
    packages = [path for path in packages if number_of(path / "energy_uj") is not None]
    return CounterMeter(packages) if packages else None


def _tegrastats_meter() -> TegrastatsMeter | None:
    tegrastats = Tegrastats(TEGRASTATS_MS)
    tegrastats.wait()
    if (power := tegrastats.power()) is not None:
        return TegrastatsMeter(tegrastats, power.source.partition(" ")[2])
    tegrastats.close()
    return None


def card_w() -> float | None:
    """Power of the first NVIDIA card as nvidia-smi says it; None if it does not."""
    command = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "--id=0"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=CARD_SECONDS, check=True).stdout
        return float(said.strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


@dataclass(slots=True)
class _Stretch:
    """Some seconds of the same thing, with the meter looked at meanwhile."""

    meter: PowerMeter
    clock: Callable[[], float]
    seconds: float = 0.0
    calls: int = 0

    def run(self, work: Callable[[], object], seconds: float) -> float | None:
        """Do ``work`` again and again for ``seconds``; mean power."""
        self.meter.start()
        start = sampled = self.clock()
        pause_s = SAMPLE_S
        while (now := self.clock()) - start < seconds:
            work()
            self.calls += 1
            if now - sampled >= pause_s:
                asked = self.clock()
                self.meter.sample()
                pause_s = max(SAMPLE_S, (self.clock() - asked) / LOOKING_SHARE)
                sampled = now
        self.meter.sample()
        self.seconds = self.clock() - start
        return self.meter.mean_w()


def measure_energy(
    meter: PowerMeter,
    call: Callable[[], object],
    *,
    stretch_s: float = STRETCH_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Energy | None:
    """Energy of one ``call``, idle power included and above idle; None if the meter fell silent.

    The idle stretch comes first: a board that has just worked is still warm, and its fan still runs. The meter is
    closed.
    """
    idle, busy = _Stretch(meter, clock), _Stretch(meter, clock)
    with contextlib.closing(meter):
        idle_w = idle.run(lambda: sleep(SAMPLE_S), stretch_s)
        busy_w = busy.run(call, stretch_s)
    if idle_w is None or busy_w is None or idle_w < 0 or busy_w < 0:
        return None
    each_s = busy.seconds / busy.calls
    return Energy(
        source=meter.source,
        rail=meter.rail,
        busy_w=busy_w,
        idle_w=idle_w,
        busy_s=busy.seconds,
        idle_s=idle.seconds,
        inferences=busy.calls,
        millijoules=busy_w * each_s * 1e3,
        millijoules_above_idle=max(0.0, busy_w - idle_w) * each_s * 1e3,
    )


def _rails() -> dict[str, float]:
    return hwmon_rails() or iio_rails()


def _total_w(rails: dict[str, float]) -> float | None:
    """The rail that holds all others, or else the sum of all."""
    if not rails:
        return None
    return next((rails[name] for name in TOTAL_RAILS if name in rails), sum(rails.values()))
