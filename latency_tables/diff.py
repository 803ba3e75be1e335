"""What changed beyond noise between two tables of the same blocks.

The medians of one session are known better than they repeat in the next one: the machine is at another speed, calls
cost a little more, and what was loaded once only lies elsewhere in memory. So the change of the whole machine is told
apart first, as a line of log ratio over log latency (Tukey's resistant line: small blocks feel a call's cost, large
ones the arithmetic). What is left may scatter between sessions more than within them; that scatter is estimated from
the entries themselves, from the upper quartile of their absolute rests, which up to a quarter of changed entries does
not carry away. An entry has changed where its rest is larger than the two together explain (Student's t, for the
scatter is an estimate), at 5 % for all entries at once (Holm 1979).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.common import FednasError
from fednas.latency_tables.blocks import BlockSpec
from fednas.latency_tables.fingerprint import Difference, table_differences
from fednas.latency_tables.table import LatencyTable, SpaceRecord, TableEntry

SHOWN_KEYS = 3
"""Of two search spaces that differ in more."""
ALPHA = 0.05
"""Probability of calling even one entry changed where none is."""
LEAST_FOR_SCATTER = 8
"""Entries from which the scatter between sessions, and a slope over the latency, can be told."""
QUARTILE = 0.75
NORMAL_QUARTILE = 1.1503
"""Upper quartile of the absolute values of normal ones, in standard deviations."""
EFFICIENCY = 0.6
"""Of a standard deviation estimated from that quartile: n values tell as much as 0.6 n do of a plain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryChange:
    """One block in both tables."""

    spec: BlockSpec
    first_ms: float
    second_ms: float
    relative: float
    """Ratio of second to first with the machine-wide change divided out."""
    p_value: float
    """Probability of such a ratio where nothing but noise is at work."""
    changed: bool
    """Beyond noise, all comparisons considered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDiff:
    """Two tables compared, the second with the first."""

    speed_ratio: float
    """Machine-wide: latency in the second table over that in the first, for the middle of the entries."""
    quick_ratio: float
    """The same for the quickest tenth of the entries, which feel the cost of a call."""
    slow_ratio: float
    """The same for the slowest tenth."""
    wander: float
    """Factor that the two machines wandered within their own sessions; a speed ratio within it says nothing."""
    scatter: float
    """Share by which an entry differs between two sessions with no cause of its own; one standard deviation."""
    smallest_change: float
    """Share that half of the entries would have had to change by to be seen."""
    entries: tuple[EntryChange, ...]
    """All compared, the surest change first."""
    only_first: tuple[BlockSpec, ...]
    only_second: tuple[BlockSpec, ...]
    not_measured: tuple[BlockSpec, ...]
    """In both, but modelled or estimated in one: no readings to compare."""
    fingerprints: tuple[Difference, ...]

    @property
    def changed(self) -> tuple[EntryChange, ...]:
        """The entries that changed beyond noise."""
        return tuple(entry for entry in self.entries if entry.changed)

    @property
    def apart(self) -> tuple[Difference, ...]:
        """What makes them tables of different things (devices, runtimes, precisions, ...); empty for one thing."""
        return tuple(each for each in self.fingerprints if each.weight == "another")

    @property
    def speed_changed(self) -> bool:
        """Whether the machine as a whole runs at another speed, beyond what it wandered by itself."""
        return abs(math.log(self.speed_ratio)) > math.log(self.wander)

    @property
    def beyond_noise(self) -> bool:
        """Whether anything changed."""
        return bool(self.changed) or self.speed_changed


def diff(first: LatencyTable, second: LatencyTable) -> TableDiff:
    """Compare two tables; raises `FednasError` if they share no measured block."""
    theirs = {entry.spec: entry for entry in second.entries}
    pairs = [(entry, theirs[entry.spec]) for entry in first.entries if entry.spec in theirs]
    measured = [(a, b) for a, b in pairs if a.origin == b.origin == "measured"]
    if not measured:
        filled_in = "a fit filled in those that they share; compare tables of --plan exhaustive"
        hint = filled_in if pairs else "were they made for different spaces?"
        raise FednasError("the tables have no measured block in common", hint=hint)
    mine = {entry.spec for entry in first.entries}
    return _compared(
        measured,
        wander=math.exp(math.hypot(_log_wander(first), _log_wander(second))),
        only_first=tuple(sorted(mine - theirs.keys())),
        only_second=tuple(sorted(theirs.keys() - mine)),
        not_measured=tuple(sorted(a.spec for a, b in pairs if not a.origin == b.origin == "measured")),
        fingerprints=(*_space_difference(first.space, second.space), *table_differences(first, second)),
    )


def _space_difference(first: SpaceRecord | None, second: SpaceRecord | None) -> tuple[Difference, ...]:
    if first is None or second is None or first == second:
        return ()
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    if len(keys) > 1:
        named = f"{', '.join(keys[:SHOWN_KEYS])}{', ...' * (len(keys) > SHOWN_KEYS)}"
        return (Difference("search space", "one", f"another, in {len(keys)} keys ({named})", "another"),)
    one, other = (f"{keys[0]} {space.get(keys[0])}" for space in (first, second))
    return (Difference("search space", one, other, "another"),)


@dataclass(frozen=True, slots=True)
class _Line:
    """Log ratio over log latency."""

    level: float
    slope: float
    middle: float

    def at(self, log_ms: float) -> float:
        """Log ratio expected of an entry of this latency."""
        return self.level + self.slope * (log_ms - self.middle)


def _compared(
    pairs: Sequence[tuple[TableEntry, TableEntry]],
    *,
    wander: float,
    only_first: tuple[BlockSpec, ...],
    only_second: tuple[BlockSpec, ...],
    not_measured: tuple[BlockSpec, ...],
    fingerprints: tuple[Difference, ...],
) -> TableDiff:
    # Of both tables, so that swapping them turns every ratio upside down and changes nothing else.
    sizes = [math.log(a.median_ms * b.median_ms) / 2 for a, b in pairs]
    ratios = [math.log(b.median_ms / a.median_ms) for a, b in pairs]
    line = _resistant_line(sizes, ratios)
    rests = [ratio - line.at(size) for size, ratio in zip(sizes, ratios, strict=True)]
    errors = [math.hypot(a.spread, b.spread) for a, b in pairs]
    scatter = _scatter(rests, errors, math.log(wander))
    noises = [math.hypot(error, scatter) or math.ulp(1.0) for error in errors]
    p_values = _two_sided([abs(rest) / noise for rest, noise in zip(rests, noises, strict=True)])
    changed = holm(p_values, ALPHA)
    entries = [
        EntryChange(
            spec=a.spec, first_ms=a.median_ms, second_ms=b.median_ms, relative=math.exp(rest), p_value=p, changed=is_it
        )
        for (a, b), rest, p, is_it in zip(pairs, rests, p_values, changed, strict=True)
    ]
    entries.sort(key=lambda entry: (entry.p_value, entry.spec))
    ordered = sorted(sizes)
    tenth = len(ordered) // 10
    surely = statistics.NormalDist().inv_cdf(1 - ALPHA / 2 / len(pairs))
    return TableDiff(
        speed_ratio=math.exp(line.at(statistics.median(sizes))),
        quick_ratio=math.exp(line.at(ordered[tenth])),
        slow_ratio=math.exp(line.at(ordered[-1 - tenth])),
        wander=wander,
        scatter=scatter,
        smallest_change=math.expm1(surely * statistics.median(noises)),
        entries=tuple(entries),
        only_first=only_first,
        only_second=only_second,
        not_measured=not_measured,
        fingerprints=fingerprints,
    )


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected so that even one false rejection has a probability of at most ``alpha``."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def _resistant_line(sizes: Sequence[float], ratios: Sequence[float]) -> _Line:
    """Through the medians of the lower and the upper third (Tukey 1977); level where entries are few or alike."""
    middle = statistics.median(sizes)
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    third = len(order) // 3
    slope = 0.0
    if len(order) >= LEAST_FOR_SCATTER:
        low, high = order[:third], order[-third:]
        width = statistics.median(sizes[i] for i in high) - statistics.median(sizes[i] for i in low)
        if width > math.log(2):
            rise = statistics.median(ratios[i] for i in high) - statistics.median(ratios[i] for i in low)
            slope = rise / width
    level = statistics.median(ratio - slope * (size - middle) for size, ratio in zip(sizes, ratios, strict=True))
    return _Line(level, slope, middle)


def _scatter(rests: Sequence[float], errors: Sequence[float], otherwise: float) -> float:
    """Standard deviation between sessions beyond the medians' own errors; ``otherwise`` where entries are few."""
    if len(rests) < LEAST_FOR_SCATTER:
        return otherwise
    quartile = sorted(map(abs, rests))[math.ceil(QUARTILE * len(rests)) - 1]
    deviation = quartile / NORMAL_QUARTILE
    return math.sqrt(max(0.0, deviation**2 - statistics.median(error**2 for error in errors)))


def _two_sided(values: Sequence[float]) -> list[float]:
    """Probability of a value as large as each, in units of an estimated deviation."""
    from scipy.special import stdtr

    freedom = max(1.0, EFFICIENCY * len(values)) if len(values) >= LEAST_FOR_SCATTER else math.inf
    if math.isinf(freedom):
        return [math.erfc(value / math.sqrt(2)) for value in values]
    return [float(p) for p in 2 * stdtr(freedom, [-value for value in values])]


def _log_wander(table: LatencyTable) -> float:
    """How far the machine's speed moved by itself, as a logarithm."""
    if table.interval is not None:
        return math.log(table.interval.machine_factor)
    return max(abs(math.log(table.session.drift_low)), abs(math.log(table.session.drift_high)))
