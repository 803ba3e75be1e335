"""Timing many models in one sitting: interleaved in random order, round after round.

Calls follow each other without pause (a closed loop): the figures are those of a processor that is kept awake.
docs/measuring.md goes through the rules.
"""

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from fednas.latency_tables import readings_needed
from fednas.toolchain.measure.candidate_file import candidate_onnx
from fednas.toolchain.measure.clock import Standstill, checked_reading, examine_clock
from fednas.toolchain.measure.conditions import Watch
from fednas.toolchain.measure.drift import REFERENCE
from fednas.toolchain.measure.environment import interruptions
from fednas.toolchain.measure.graphs import input_shape
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.journal import Journal, Reading
from fednas.toolchain.measure.plan import Specs
from fednas.toolchain.measure.runtimes import TimedModel, find_runtime
from fednas.toolchain.measure.system_files import memory_bytes

READING_MS = 0.1
"""A reading repeats its call until it takes about this long; the clock itself then stays below 0.1 % of it."""
LEAST_ROUNDS = 9
"""Seven readings pin the median at 99 % confidence (`readings_needed`); two more for those that are interrupted."""
TAIL_READINGS = readings_needed(0.9)
"""From so many on, p90 can be claimed, and p10, its mirror image."""
TAIL_TIMES = 10
"""Times a group's seconds that it may take to reach them, where they are asked for."""
WARMING_CALLS = 2
"""Before each reading of several calls, so that the model's weights lie in the cache; one call otherwise."""
GROUP_WEIGHTS = 128_000_000
"""Weights that are loaded at one time (four bytes each) where the memory is not known: the paper's space has 3 billion
in its blocks."""
LEAST_GROUP_WEIGHTS, MOST_GROUP_WEIGHTS, MEMORY_SHARE = 16_000_000, 512_000_000, 8
PROBES = 8
MOST_CALLS = 2**20
ONE_CALL = 10
"""A first call this many times longer than a reading: warm calls are not so much faster that one would not fill it."""
WARM_WINDOW_MS = 10.0
WARM_SHARE = 0.02
WARM_LIMIT_S = 2.0


class ReportProgress(Protocol):
    """Is told how far the measuring is."""

    def __call__(self, done: float, total: float, what: str = "") -> None:
        """``done`` of ``total`` seconds."""


def groups_of(
    candidates: Sequence[Specs], passes: int = 1, seed: int = 0, most_weights: int = GROUP_WEIGHTS
) -> list[list[int]]:
    """Indices of the candidates that are measured together; the reference, candidate 0, is in every group.

    Every pass has each candidate once. With several they are mixed anew for each, so that what one group has in
    common, the moment and the company, is told apart from what its candidates are.
    """
    groups: list[list[int]] = []
    for number in range(passes):
        order = list(range(1, len(candidates)))
        if passes > 1:
            random.Random(f"{seed} pass {number}").shuffle(order)  # noqa: S311 - an order, not a secret
        groups += _filled(candidates, order, most_weights)
    return [[REFERENCE, *group] for group in groups]


def most_weights() -> int:
    """Weights that this machine holds at one time: the more networks a group has, the better its shift is known.

    By all of its memory, not by what is free, and in powers of two: a run that goes on must find the same groups.
    """
    memory = memory_bytes()
    if memory is None:
        return GROUP_WEIGHTS
    # Four bytes each, and the runtime keeps a second copy in its own order.
    fitting = 1 << (max(1, memory // MEMORY_SHARE // 8).bit_length() - 1)
    return max(LEAST_GROUP_WEIGHTS, min(MOST_GROUP_WEIGHTS, fitting))


def _filled(candidates: Sequence[Specs], order: Sequence[int], most_weights: int) -> list[list[int]]:
    """``order`` cut into groups that fit into memory."""
    groups: list[list[int]] = [[]]
    held = 0
    for index in order:
        weights = sum(spec.weights for spec in candidates[index])
        if held + weights > most_weights and groups[-1]:
            groups.append([])
            held = 0
        groups[-1].append(index)
        held += weights
    return groups


def passes_of(job: MeasuringJob) -> int:
    """As the plan has it; one where the runtime takes so long to build a model that it is built once."""
    return 1 if find_runtime(job.runtime).networks_only else job.plan.passes


def measure(
    job: MeasuringJob,
    journal: Journal,
    progress: ReportProgress | None = None,
    *,
    watch: Watch | None = None,
    cache: Path | None = None,
) -> None:
    """Time all candidates until the job's seconds are used and each has `LEAST_ROUNDS` readings, or those of tails.

    Candidate 0 is the reference: it is loaded once and read in every round of every group; all others are loaded
    anew in each pass. What the journal holds already counts. ``watch`` is told how the machine was meanwhile, and what
    the reference takes of energy where a meter says so. ``cache`` is that of `LoadOrder`.
    """
    candidates = job.plan.candidates
    passes = passes_of(job)
    groups = groups_of(candidates, passes, job.seed, most_weights())
    rounds, tail = math.ceil(LEAST_ROUNDS / passes), math.ceil(TAIL_READINGS / passes) if job.tails else 0
    weights = [
        sum(job.plan.visits_of(index) * _expected_ms(candidates[index], job.batch) for index in group)
        for group in groups
    ]
    finished_s = 0.0
    with _Loader(job, watch or Watch(), cache) as loader:
        for number, group in enumerate(groups):
            seconds = job.seconds * weights[number] / sum(weights)
            old = [r for r in journal.readings if r.group == number]
            spent_s = max((r.elapsed_s for r in old), default=0.0)
            due, done = _Due(seconds, rounds, tail), _Done(group, old)
            # As the rounds count: half a round may be missing.
            if due.unmet(spent_s * (1 + 0.5 / max(1, done.rounds)), done):
                with _Group(number, group, loader, journal) as loaded:
                    loaded.measure(due, spent_s, done, finished_s, progress)
            finished_s += seconds
        loader.weigh()


def warm_up(model: TimedModel) -> None:
    """Call until three windows of calls in a row agree within 2 %, or two seconds have passed."""
    calls = max(1, round(WARM_WINDOW_MS / usual_ms(model, WARM_WINDOW_MS)))
    windows: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_LIMIT_S:
        windows.append(model.call(calls))
        last = windows[-3:]
        if len(last) == 3 and max(last) - min(last) < WARM_SHARE * statistics.median(last):
            return


def usual_ms(model: TimedModel, reading_ms: float) -> float:
    """Fastest of `PROBES` calls; a model far slower than ``reading_ms`` is called once only."""
    fastest_ms = model.call()
    for _ in range(PROBES - 1):
        if fastest_ms > ONE_CALL * reading_ms:
            break
        fastest_ms = min(fastest_ms, model.call())
    calls = 1
    while fastest_ms == 0 and calls < MOST_CALLS:  # below one tick of a coarse clock
        calls *= 4
        fastest_ms = model.call(calls)
    return checked_reading(fastest_ms)


class _Loader:
    """Makes and loads the models of a job, and keeps the reference, which every group needs, until it is left."""

    def __init__(self, job: MeasuringJob, watch: Watch, cache: Path | None) -> None:
        self.job = job
        self.watch = watch
        self._cache = cache
        clock = examine_clock()
        self.reading_ms = clock.reading_ms(READING_MS)
        # A reading of few calls may be a third shorter than wanted, by rounding.
        watch.timer_share = clock.share(self.reading_ms * 2 / 3)
        self._runtime = find_runtime(job.runtime)
        self._reference: TimedModel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reference is not None:
            self._reference.close()

    def timed(self, index: int) -> TimedModel:
        """The model of this candidate, loaded."""
        if index != REFERENCE:
            return self._load(index)
        if self._reference is None:
            self._reference = self._load(REFERENCE)
        return self._reference

    def weigh(self) -> None:
        """Measure the energy of the reference, if the machine has a power meter."""
        # Here, since the kit, whose reader of rails is used, takes its rules from this module.
        from fednas.toolchain.measure.power import find_meter, measure_energy

        meter = find_meter(gpu=self._runtime.on_gpu)
        if meter is not None:
            self.watch.energy = measure_energy(meter, self.timed(REFERENCE).call)

    def _load(self, index: int) -> TimedModel:
        specs, job = self.job.plan.candidates[index], self.job
        start = time.perf_counter()
        model = candidate_onnx(specs, job)
        built = time.perf_counter()
        shape = input_shape(specs, job.batch)
        loaded = self._runtime.load(
            model,
            input_shape=shape,
            threads=job.threads,
            seed=job.seed,
            precision=job.precision,
            cache=self._cache,
        )
        self.watch.doubts.update(dict.fromkeys(loaded.doubts))
        self.watch.build_s += built - start
        self.watch.load_s += time.perf_counter() - built
        return loaded


class _Done:
    """Readings of a group's candidates, from all sittings."""

    def __init__(self, group: Sequence[int], old: Sequence[Reading]) -> None:
        self._all = Counter(dict.fromkeys(group, 0))
        self._undisturbed = Counter(dict.fromkeys(group, 0))
        for reading in old:
            self.add(reading)

    def add(self, reading: Reading) -> None:
        """One more."""
        self._all[reading.candidate] += 1
        self._undisturbed[reading.candidate] += not reading.interrupted

    @property
    def rounds(self) -> int:
        """That every candidate had a reading in."""
        return min(self._all.values())

    @property
    def undisturbed(self) -> int:
        """Fewest readings of a candidate that no other program interrupted: others may be set aside."""
        return min(self._undisturbed.values())


class _Due(NamedTuple):
    """What a group must reach."""

    seconds: float
    rounds: int
    tail: int
    """Undisturbed readings of each candidate, if that is possible within `TAIL_TIMES` the seconds."""

    def unmet(self, spent_s: float, done: _Done) -> bool:
        """Whether it must go on."""
        if spent_s < self.seconds or done.rounds < self.rounds:
            return True
        return done.undisturbed < self.tail and spent_s < TAIL_TIMES * self.seconds


class _Group:
    """The loaded models of one group; leaving it frees them, before the next group's are loaded."""

    def __init__(self, number: int, group: Sequence[int], loader: _Loader, journal: Journal) -> None:
        self._number = number
        self._round = [index for index in group for _ in range(loader.job.plan.visits_of(index))]
        self._journal = journal
        self._seed = loader.job.seed
        self._seconds = loader.job.seconds
        self._watch = loader.watch
        self._standstill = Standstill()
        self._models: dict[int, TimedModel] = {}
        try:
            for index in group:
                self._models[index] = loader.timed(index)
            warm_up(self._models[group[0]])
            self._usual_ms = {index: usual_ms(model, loader.reading_ms) for index, model in self._models.items()}
        except BaseException:
            self._free()
            raise
        self._times = {index: max(1, round(loader.reading_ms / usual)) for index, usual in self._usual_ms.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._free()

    def _free(self) -> None:
        for index, model in self._models.items():
            if index != REFERENCE:
                model.close()
        self._models.clear()

    def measure(
        self, due: _Due, spent_s: float, done: _Done, finished_s: float, progress: ReportProgress | None
    ) -> None:
        """Rounds until what is due is reached; ``spent_s`` and ``done`` of it were read in earlier sittings."""
        # A resumed run takes up with another order; the order need only be random.
        rng = random.Random(f"{self._seed} {self._number} {done.rounds}")  # noqa: S311
        start = time.perf_counter() - spent_s
        elapsed_s = last_s = 0.0
        # Half a round too many as often as half a round too few: the sum over groups meets the job's seconds.
        while due.unmet(spent_s + elapsed_s + last_s / 2, done):
            rng.shuffle(self._round)
            for index in self._round:
                done.add(self._read(index, start))
            self._watch.look()
            now_s = time.perf_counter() - start - spent_s
            elapsed_s, last_s = now_s, now_s - elapsed_s
            if progress is not None:
                progress(finished_s + min(spent_s + elapsed_s, due.seconds), self._seconds, f"round {done.rounds}")

    def _read(self, index: int, start: float) -> Reading:
        model, times = self._models[index], self._times[index]
        model.call(WARMING_CALLS if times > 1 else 1)
        before = interruptions()
        latency_ms = checked_reading(model.call(times))
        interrupted = interruptions() > before
        if self._standstill.happened(latency_ms, self._usual_ms[index]):
            self._watch.stops += 1
            interrupted = True
        reading = Reading(self._number, index, latency_ms, time.perf_counter() - start, interrupted)
        self._journal.add(reading)
        return reading


def _expected_ms(specs: Specs, batch: int) -> float:
    """Rough length of a visit, to share the seconds among groups; 30 GMAC/s is a common core."""
    return READING_MS + 3 * batch * sum(spec.macs for spec in specs) / 30e6
