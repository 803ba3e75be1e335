"""Timing one ONNX file on this machine, with an interval of its median that does not trust the readings too much.

A network is faster when nothing else runs between its calls: its weights then stay in the processor's caches. A
latency table reads its networks in turn with others, so a file that is held against a prediction must be read in turn
too. Both states are read here, interleaved, and each is named (``benchmarks/reading_states.py`` compares them).
"""

import itertools
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fednas.toolchain.measure.environment import interruptions
from fednas.toolchain.measure.graphs import input_shape as network_input
from fednas.toolchain.measure.graphs import network_onnx
from fednas.toolchain.measure.plan import Specs, plan_for
from fednas.toolchain.measure.rounds import READING_MS, WARMING_CALLS, ReportProgress, warm_up
from fednas.toolchain.measure.runtimes import DEFAULT_RUNTIME, TimedModel, TimingRuntime, find_runtime
from fednas.toolchain.measure.system_files import memory_bytes
from fednas.toolchain.space import SearchSpace

State = Literal["in turn", "alone"]
ALONE_READING_MS = 1.0
"""A reading alone is the mean of the calls that fill a millisecond; a slower model is read call by call."""
ALONE_CALLS = 4
"""Calls before a reading alone: `benchmarks/reading_states.py` shows how many it takes until the caches are warm."""
NEIGHBOURS = 32
"""Candidates of a table that run between two readings in turn: as good as all of them (same benchmark)."""
EVICTING_WEIGHTS = 8_000_000
"""No more neighbours run once their weights (four bytes each) fill the largest caches."""
LOADS = 5
"""A file is loaded so often, and its loads are read in turn: each lies elsewhere in memory, and is up to some per cent
faster or slower for it. Fewer where they would take more than `MEMORY_SHARE` of the memory, twice their size each."""
MEMORY_SHARE = 1 / 8
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Quantiles at `CONFIDENCE` of Student's distribution for the mean of so many loads."""
BATCHES = 20
"""Stretches of time whose medians stand for independent readings: neighbouring readings are not independent."""
CONFIDENCE = 0.95
UNFIT_HALVES = 0.10
UNFIT_INTERRUPTED = 0.25
UNFIT_INTERVAL = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLatency:
    """What one model took on this machine."""

    state: State
    """Of the readings that follow: ``in turn`` with calls of other networks, as a latency table reads its own, or
    ``alone``, call after call."""
    alone_ms: float
    """Median of the calls alone; ``median_ms`` itself where that is the state."""
    median_ms: float
    low_ms: float
    high_ms: float
    """``low_ms`` to ``high_ms`` holds the median with 95 % confidence: of this session, and of the file loaded anew."""
    p10_ms: float
    p90_ms: float
    samples: int
    """Readings."""
    calls_per_reading: int
    threads: int
    batch: int
    fit: bool
    """False: the machine was not fit to measure; ``reason`` says why."""
    reason: str


def measure_onnx_file(
    path: Path,
    *,
    input_shape: tuple[int, ...],
    neighbours: Sequence[Specs] = (),
    runtime: TimingRuntime | None = None,
    threads: int = 1,
    seconds: float = 2.0,
    seed: int = 0,
    progress: ReportProgress | None = None,
) -> MeasuredLatency:
    """Time the file under a runtime on this machine, on random input.

    Readings go on until ``seconds`` are over and there are three for each of `BATCHES` stretches.

    Args:
        input_shape: with the batch first; the latency is that of the whole batch.
        neighbours: what runs between the readings, to read the file in turn (see `neighbours_in`); none: alone.
        runtime: ONNX Runtime on the processor unless given.

    Raises `FednasError` if the runtime is not here, or cannot load or run it.
    """
    (found,) = measure_onnx_files(
        [path],
        input_shape=input_shape,
        neighbours=neighbours,
        runtime=runtime,
        threads=threads,
        seconds=seconds,
        seed=seed,
        progress=progress,
    )
    return found


def measure_onnx_files(
    paths: Sequence[Path],
    *,
    input_shape: tuple[int, ...],
    neighbours: Sequence[Specs] = (),
    runtime: TimingRuntime | None = None,
    threads: int = 1,
    seconds: float = 2.0,
    seed: int = 0,
    progress: ReportProgress | None = None,
) -> list[MeasuredLatency]:
    """As `measure_onnx_file`, several files of one input shape against each other.

    Each round reads every file once, in random order, so that a slow spell of the machine meets all of them alike.
    ``seconds`` are those of each file.
    """
    runtime = runtime or find_runtime(DEFAULT_RUNTIME)
    with ExitStack() as stack:

        def load(model: Path | bytes, shape: tuple[int, ...], seed: int) -> TimedModel:
            return stack.enter_context(runtime.load(model, input_shape=shape, threads=threads, seed=seed))

        models = [[load(path, input_shape, seed) for _ in range(_loads_of(path, runtime))] for path in paths]
        around = _Neighbours(neighbours, load, seed)
        readers = _read_all(models, around, seconds, seed, progress)
    return [reader.found(threads, input_shape[0]) for reader in readers]


def _loads_of(path: Path, runtime: TimingRuntime) -> int:
    """How often the file is loaded: once where that takes long, and where there is none (what loads it says so)."""
    if runtime.networks_only or not path.is_file():
        return 1
    memory = memory_bytes()
    if memory is None:
        return LOADS
    return max(1, min(LOADS, int(MEMORY_SHARE * memory / (2 * path.stat().st_size + 1))))


def _read_all(
    models: Sequence[Sequence[TimedModel]],
    around: "_Neighbours",
    seconds: float,
    seed: int,
    progress: ReportProgress | None,
) -> "list[_Reader]":
    for model in (load for loads in models for load in loads):
        warm_up(model)
    readers = [_Reader(loads, around) for loads in models]
    order, rng, total_s = list(readers), random.Random(seed), seconds * len(readers)  # noqa: S311
    start = time.perf_counter()
    while (spent_s := time.perf_counter() - start) < total_s or len(readers[0].alone) < 3 * BATCHES:
        rng.shuffle(order)
        for reader in order:
            reader.read()
        if progress is not None and len(readers[0].alone) % 50 == 0:
            progress(min(spent_s, total_s), total_s)
    return readers


def neighbours_in(space: SearchSpace, seed: int = 0) -> tuple[Specs, ...]:
    """Some of what a table of this space reads in turn: blocks alone, and whole networks."""
    candidates = plan_for("exhaustive", space, seed=seed).candidates
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    return tuple(rng.sample(candidates, min(NEIGHBOURS, len(candidates))))


class _Reader:
    """Reads the loads of a model one after the other: in turn with other models, and alone."""

    def __init__(self, loads: Sequence[TimedModel], neighbours: "_Neighbours") -> None:
        self._loads = itertools.cycle(loads)
        self._count = len(loads)
        self._neighbours = neighbours
        self._calls: dict[State, int] = {
            "in turn": loads[0].repetitions(READING_MS),
            "alone": loads[0].repetitions(ALONE_READING_MS),
        }
        self._interrupted: dict[State, int] = {"in turn": 0, "alone": 0}
        self.in_turn: list[float] = []
        self.alone: list[float] = []

    def read(self) -> None:
        """One reading of the next load in turn, if there are neighbours, then one alone."""
        model = next(self._loads)
        if self._neighbours:
            self._neighbours.run()
            # As `rounds` reads the networks of a table.
            model.call(WARMING_CALLS if self._calls["in turn"] > 1 else 1)
            self.in_turn.append(self._timed(model, "in turn"))
        # Another load ran since: its weights are no longer in the caches.
        model.call(ALONE_CALLS - 1)
        self.alone.append(self._timed(model, "alone"))

    def _timed(self, model: TimedModel, state: State) -> float:
        before = interruptions()
        latency_ms = model.call(self._calls[state])
        self._interrupted[state] += interruptions() > before
        return latency_ms

    def found(self, threads: int, batch: int) -> MeasuredLatency:
        """What the readings say."""
        state: State = "in turn" if self._neighbours else "alone"
        readings = self.in_turn if self._neighbours else self.alone
        low_ms, high_ms = _joined(median_interval(readings), loads_interval(readings, self._count))
        reason = _why_unfit(readings, self._interrupted[state] / len(readings), (low_ms, high_ms))
        deciles = statistics.quantiles(readings, n=10)
        return MeasuredLatency(
            state=state,
            alone_ms=statistics.median(self.alone),
            median_ms=statistics.median(readings),
            low_ms=low_ms,
            high_ms=high_ms,
            p10_ms=deciles[0],
            p90_ms=deciles[-1],
            samples=len(readings),
            calls_per_reading=self._calls[state],
            threads=threads,
            batch=batch,
            fit=not reason,
            reason=reason,
        )


class _Neighbours:
    """Loaded networks that push a model out of the caches."""

    def __init__(
        self, networks: Sequence[Specs], load: Callable[[bytes, tuple[int, ...], int], TimedModel], seed: int
    ) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - an order, not a secret
        self._models = [
            (load(network_onnx(specs, seed=seed), network_input(specs, 1), 0), sum(spec.weights for spec in specs))
            for specs in networks
        ]

    def __bool__(self) -> bool:
        return bool(self._models)

    def run(self) -> None:
        """Call networks in random order until they have read as many weights as large caches hold, or all ran."""
        weights_read = 0
        self._rng.shuffle(self._models)
        for model, weights in self._models:
            model.call(2)
            weights_read += weights
            if weights_read >= EVICTING_WEIGHTS:
                return


def median_interval(readings: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median of readings in order of time.

    Slow spells make neighbouring readings alike, so the order statistics are taken of the medians of `BATCHES`
    consecutive stretches rather than of the readings. It always holds the overall median.
    """
    size = len(readings) / BATCHES
    stretches = (readings[round(i * size) : round((i + 1) * size)] for i in range(BATCHES))
    medians = sorted(statistics.median(stretch) for stretch in stretches)
    rank = lowest_rank(BATCHES)
    middle = statistics.median(readings)
    return min(medians[rank], middle), max(medians[-1 - rank], middle)


def loads_interval(readings: Sequence[float], loads: int) -> tuple[float, float]:
    """95 % interval of the median of a file loaded anew, from readings that take its loads one after the other.

    Student's, of the medians of the loads; the overall median alone where there is one load.
    """
    middle = statistics.median(readings)
    if loads < min(STUDENT):
        return middle, middle
    logs = [math.log(statistics.median(readings[load::loads])) for load in range(loads)]
    factor = math.exp(STUDENT[loads] * statistics.stdev(logs) / math.sqrt(loads))
    return middle / factor, middle * factor


def _joined(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


def lowest_rank(count: int) -> int:
    """0-based order statistic that, with its mirror image, holds the median of ``count`` draws at `CONFIDENCE`."""
    rank, outside = 0, 2 * 0.5**count
    while outside + 2 * math.comb(count, rank + 1) * 0.5**count <= 1 - CONFIDENCE:
        rank += 1
        outside += 2 * math.comb(count, rank) * 0.5**count
    return rank


def _why_unfit(readings: Sequence[float], interrupted: float, interval: tuple[float, float]) -> str:
    half = len(readings) // 2
    ratio = statistics.median(readings[half:]) / statistics.median(readings[:half])
    width = (interval[1] - interval[0]) / statistics.median(readings)
    if interrupted > UNFIT_INTERRUPTED:
        return f"other programs took the core during {interrupted:.0%} of the readings"
    if abs(math.log(ratio)) > UNFIT_HALVES:
        return f"the second half of the session ran at {ratio:.2f} times the latency of the first"
    if width > UNFIT_INTERVAL:
        return f"the median is only known to {width:.0%}"
    return ""
