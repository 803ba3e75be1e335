"""Timing the models of a kit: interleaved in random order, round after round, with the reference in every round."""

import os
import random
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from fednas.toolchain.measure.kit.board.energy import BUSY_MS, energy_of
from fednas.toolchain.measure.kit.board.folder import BoardJob, UnfitBoard, groups_on_board
from fednas.toolchain.measure.kit.board.partial import BoardReading, Partial, utc_now
from fednas.toolchain.measure.kit.board.state import BoardReader, interruptions, slept_s
from fednas.toolchain.measure.kit.board.tegrastats import Tegrastats, tegra_row
from fednas.toolchain.measure.kit.board.usage import clock_uncertainty_ms, count_now, used_between

LEAST_TICKS = 100
"""Of the clock in a reading: its step is then at most 1 % of it."""
MOST_CALLS = 10000
SLEEP_S = 0.05
"""A reading during which the machine was suspended for longer is taken again."""
CLOCK_JUMP_S = 2.0
MOMENTS_EVERY_S = 5.0
POWER_EVERY_S, POWER_AGAIN_S, MOST_POWER_ROWS = 1.0, 0.1, 5000
SAY_EVERY_S = 1.0
STABLE_SHARE = 0.02
STABLE_LIMIT_S = 2.0
MACS_PER_MS = 10e6
"""A common core; only shares the seconds out among groups."""


class Group(NamedTuple):
    """Candidates that are loaded and measured together, and what is known of them so far."""

    number: int
    members: List[int]
    seconds: float
    spent_s: float
    rounds: int


class Measuring:
    """One sitting.

    Args:
        job: what to measure.
        runtime: what runs the models.
        partial: keeps the readings, and has those of earlier sittings.
        reader: reads the board's state.
        seconds: time for readings of all sittings together.
        say: prints a line.
        tegrastats: asked between readings, where it runs.
    """

    def __init__(
        self,
        job: BoardJob,
        runtime: Any,
        partial: Partial,
        reader: BoardReader,
        seconds: float,
        say: Callable[[str], None],
        tegrastats: Optional[Tegrastats] = None,
    ) -> None:
        self._job, self._runtime, self._partial, self._reader = job, runtime, partial, reader
        self._tegrastats = tegrastats
        self._seconds, self._say = seconds, say
        # A runtime that builds engines builds each once.
        self._passes = int(job.document["plan"]["passes"]) if runtime.name == "onnxruntime" else 1
        self.least_rounds = int(runtime.fewest_rounds or job.least_rounds)
        """Of all passes together."""
        self._rounds_each = -(-self.least_rounds // self._passes)
        self._models: Dict[int, Any] = {}
        self._times: Dict[int, int] = {}
        self._moment_due = self._saying_due = self._power_due = 0.0
        self._wall_s = wall_offset_s()
        self._uncertain_ms = clock_uncertainty_ms()
        self._before = count_now()
        self._load_s = 0.0
        self._shortest_ms: Optional[float] = None
        self._sitting = len(partial.sittings)
        self._begun: Optional[Dict[str, Any]] = None
        """What to write of this sitting before its first reading."""

    def begin(self, state: Dict[str, Any]) -> None:
        """A sitting begins, with the board in this state; it is noted down when it takes its first reading."""
        around: Dict[str, Any] = dict.fromkeys(("timer_share", "others_cores", "stolen", "throttled"))
        around.update(load_s=0.0, gpu_slowed_by=[])
        self._begun = {"began": utc_now(), "before": state, "around": around, "after": None}

    def end(self, state: Dict[str, Any]) -> None:
        """Note down how the sitting went, and the board as it is now."""
        self._partial.add_sitting(self._sitting, {"around": self.around(), "after": state})

    def run(self) -> bool:
        """Measure until every group has its seconds and rounds; whether anything was left to do."""
        groups = self.groups()
        total, left = len(groups), [group for group in groups if not self.finished(group)]
        for group in left:
            try:
                start = time.perf_counter()
                self._load(group, total)
                self._load_s += time.perf_counter() - start
                self._measure(group, total)
            finally:
                for model in self._models.values():
                    model.close()
                self._models = {}
        return bool(left)

    def finished(self, group: Group) -> bool:
        """Whether earlier sittings have measured it for long and often enough."""
        return group.spent_s >= group.seconds and group.rounds >= self._rounds_each

    def energy(self) -> Optional[Dict[str, Any]]:
        """Of one run of the reference, where the board reports power; None for a program that starts for each visit."""
        if self._runtime.reading_ms is None:
            return None
        model = self._runtime.load(self._job.model_of(0))
        try:
            return energy_of(model, calls_for(model, BUSY_MS))
        finally:
            model.close()

    def around(self) -> Dict[str, Any]:
        """What went on around the readings of this sitting so far; None where the board does not say."""
        found: Dict[str, Optional[float]] = {"load_s": round(self._load_s, 3), "timer_share": None}
        if self._shortest_ms and self._runtime.name == "onnxruntime":
            found["timer_share"] = round(min(1.0, self._uncertain_ms / self._shortest_ms), 6)
        found.update(used_between(self._before, count_now()))
        return dict(found, gpu_slowed_by=self._reader.gpu_slowed_by())

    def groups(self) -> List[Group]:
        """What is measured together, with what earlier sittings have done of it."""
        # As it was at the first sitting: a kernel that keeps a little more for itself must not regroup the readings.
        members = groups_on_board(self._job, self._partial.header["before"].get("memory_bytes"), self._passes)
        costs = [sum(self._expected_ms(candidate) for candidate in self._visits(group)) for group in members]
        found = []
        for number, group in enumerate(members):
            readings = [reading for reading in self._partial.readings if reading.group == number]
            counts = dict.fromkeys(group, 0)
            for reading in readings:
                counts[reading.candidate] += 1
            spent_s = max([reading.elapsed_s for reading in readings] or [0.0])
            seconds = self._seconds * costs[number] / sum(costs)
            found.append(Group(number, list(group), seconds, spent_s, min(counts.values())))
        return found

    def _visits(self, group: List[int]) -> List[int]:
        """What is read in one round."""
        return [candidate for candidate in group for _ in range(self._job.visits_of(candidate))]

    def _expected_ms(self, candidate: int) -> float:
        model = self._job.model_of(candidate)
        return float(self._runtime.reading_ms or 1000.0) + self._job.batch * model.macs / MACS_PER_MS

    def _note_doubt(self) -> None:
        doubt = self._runtime.doubt
        if doubt and all(event["what"] != doubt for event in self._partial.events):
            self._say("note: %s" % doubt)
            self._partial.add_event(doubt, 0.0)

    def _load(self, group: Group, total: int) -> None:
        where = " of group %d of %d" % (group.number + 1, total) if total > 1 else ""
        self._say("loading %d models%s" % (len(group.members), where))
        said = time.perf_counter()
        for done, candidate in enumerate(group.members):
            self._models[candidate] = self._runtime.load(self._job.model_of(candidate))
            self._note_doubt()
            if time.perf_counter() - said > 10.0:
                self._say("loaded %d of %d models" % (done + 1, len(group.members)))
                said = time.perf_counter()
        if self._runtime.reading_ms is None:
            self._times = dict.fromkeys(group.members, 1)
            return
        warm_until_stable(self._models[0], min(STABLE_LIMIT_S, self._seconds))
        # A clock of whole milliseconds, as some boards have, asks for readings of a tenth of a second.
        reading_ms = max(self._runtime.reading_ms, LEAST_TICKS * self._uncertain_ms)
        for candidate, model in self._models.items():
            self._times[candidate] = calls_for(model, reading_ms)

    def _measure(self, group: Group, total: int) -> None:
        # A resumed run takes up with another order; the order need only be random.
        rng = random.Random("%d %d %d" % (self._job.seed, group.number, group.rounds))  # noqa: S311
        start, rounds, visits = time.perf_counter() - group.spent_s, group.rounds, self._visits(group.members)
        spent_s = group.spent_s
        while spent_s < group.seconds or rounds < self._rounds_each:
            rng.shuffle(visits)
            for candidate in visits:
                self._read(group.number, candidate, start)
                self._look_at_tegrastats(group.number)
            rounds += 1
            # As it is written, so that a later run finds this group finished.
            spent_s = self._partial.readings[-1].elapsed_s
            last = spent_s >= group.seconds and rounds >= self._rounds_each
            self._between(group, rounds, spent_s, total, last)

    def _read(self, group: int, candidate: int, start: float) -> None:
        model, times = self._models[candidate], self._times[candidate]
        while True:
            slept = slept_s()
            if self._runtime.warming_calls:
                model.call(self._runtime.warming_calls if times > 1 else 1)
            before = interruptions()
            latency_ms = model.call(times)
            interrupted = interruptions() > before and self._runtime.name == "onnxruntime"
            elapsed_s = time.perf_counter() - start
            slept = slept_s() - slept
            if slept < SLEEP_S:
                break
            self._partial.add_event("suspended", slept)
        if not 0 < latency_ms < 1e9:
            message = "the machine is not fit to measure: its clock gave a reading of %g ms" % latency_ms
            raise UnfitBoard(message, "run it again; the readings so far are kept")
        spent_ms = latency_ms * times
        self._shortest_ms = spent_ms if self._shortest_ms is None else min(self._shortest_ms, spent_ms)
        if self._begun is not None:
            self._partial.add_sitting(self._sitting, self._begun)
            self._begun = None
        # Rounded as they are written, so that a resumed run has the very same numbers.
        samples = tuple(float("%.6g" % sample) for sample in model.samples)
        self._partial.add(
            BoardReading(group, candidate, float("%.9g" % latency_ms), round(elapsed_s, 6), interrupted, samples)
        )

    def _look_at_tegrastats(self, group: int) -> None:
        now, tegrastats = time.perf_counter(), self._tegrastats
        if tegrastats is None or not tegrastats.running or now < self._power_due:
            return
        elapsed_s = self._partial.readings[-1].elapsed_s
        new, line = tegrastats.look(), tegrastats.recent()
        # Ever further apart: a run of days brings no more than some thousands home.
        self._power_due = now + (max(POWER_EVERY_S, elapsed_s / 500) if new else POWER_AGAIN_S)
        if new and line is not None and len(self._partial.power) < MOST_POWER_ROWS:
            self._partial.add_power(tegra_row(line, group, elapsed_s))

    def _between(self, group: Group, rounds: int, spent_s: float, total: int, last: bool) -> None:
        now = time.perf_counter()
        if now >= self._moment_due:
            self._partial.add_moment(self._reader.moment(group.number, spent_s))
            self._look_at_wall_clock()
            # A sitting that is killed has said until then what went on around it.
            self._partial.add_sitting(self._sitting, {"around": self.around()})
            self._moment_due = time.perf_counter() + max(MOMENTS_EVERY_S, self._seconds / 500)
        if last or now >= self._saying_due:
            self._tell(group, rounds, spent_s, total)
            self._saying_due = now + SAY_EVERY_S

    def _tell(self, group: Group, rounds: int, spent_s: float, total: int) -> None:
        expected = max(self._rounds_each, rounds, int(rounds * group.seconds / max(spent_s, 1e-9)))
        where = " (group %d of %d)" % (group.number + 1, total) if total > 1 else ""
        self._say("round %d of about %d, %.1f s%s" % (rounds, expected, spent_s, where))

    def _look_at_wall_clock(self) -> None:
        now_s = wall_offset_s()
        if abs(now_s - self._wall_s) > CLOCK_JUMP_S:
            self._partial.add_event("wall clock was set", now_s - self._wall_s)
        self._wall_s = now_s


def wall_offset_s() -> float:
    """Wall clock minus the time that the machine has run, sleep included: constant unless somebody sets the clock."""
    return time.time() - time.perf_counter() - slept_s()


def warm_until_stable(model: Any, limit_s: float) -> None:
    """Call until three windows of calls in a row agree within 2 %, or the time is up."""
    calls = calls_for(model, 10.0)
    windows: List[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < limit_s:
        windows.append(model.call(calls))
        last = sorted(windows[-3:])
        if len(last) == 3 and last[2] - last[0] < STABLE_SHARE * last[1]:
            return


def calls_for(model: Any, reading_ms: float, probes: int = 8) -> int:
    """Calls that fill a reading, so that the timer's own share stays small."""
    fastest_ms = min(model.call(1) for _ in range(probes))
    if not 0 < fastest_ms < 1e9:
        return 1  # what the clock says then is refused where it is read
    return min(MOST_CALLS, max(1, int(reading_ms / fastest_ms + 0.5)))


def free_bytes(folder: str) -> Optional[int]:
    """Free space where the kit lies."""
    if not hasattr(os, "statvfs"):
        return None
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
