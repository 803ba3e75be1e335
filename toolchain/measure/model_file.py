"""Timing one ONNX file on this machine, with an interval of its median that does not trust the readings too much."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fednas.toolchain.measure.environment import interruptions
from fednas.toolchain.measure.rounds import ReportProgress, warm_up
from fednas.toolchain.measure.sessions import TimedModel

READING_MS = 1.0
"""A reading is the mean of the calls that fill a millisecond; a slower model is read call by call."""
BATCHES = 20
"""Stretches of time whose medians stand for independent readings: neighbouring readings are not independent."""
CONFIDENCE = 0.95
UNFIT_HALVES = 0.10
UNFIT_INTERRUPTED = 0.25
UNFIT_INTERVAL = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLatency:
    """What one model took on this machine."""

    median_ms: float
    low_ms: float
    high_ms: float
    """``low_ms`` to ``high_ms`` holds the median with 95 % confidence for the session that was measured."""
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
    threads: int = 1,
    seconds: float = 2.0,
    seed: int = 0,
    progress: ReportProgress | None = None,
) -> MeasuredLatency:
    """Time the file under ONNX Runtime on this machine's CPU, on random input.

    Readings go on until ``seconds`` are over and there are three for each of `BATCHES` stretches.

    Args:
        input_shape: with the batch first; the latency is that of the whole batch.

    Raises `FednasError` if the runtime cannot load or run it.
    """
    model = TimedModel(path, input_shape=input_shape, threads=threads, seed=seed)
    warm_up(model)
    calls = model.repetitions(READING_MS)
    readings: list[float] = []
    interrupted = 0
    start = time.perf_counter()
    while (spent_s := time.perf_counter() - start) < seconds or len(readings) < 3 * BATCHES:
        before = interruptions()
        readings.append(model.call(calls))
        interrupted += interruptions() > before
        if progress is not None and len(readings) % 50 == 0:
            progress(min(spent_s, seconds), seconds)
    low_ms, high_ms = median_interval(readings)
    reason = _why_unfit(readings, interrupted / len(readings), (low_ms, high_ms))
    deciles = statistics.quantiles(readings, n=10)
    return MeasuredLatency(
        median_ms=statistics.median(readings),
        low_ms=low_ms,
        high_ms=high_ms,
        p10_ms=deciles[0],
        p90_ms=deciles[-1],
        samples=len(readings),
        calls_per_reading=calls,
        threads=threads,
        batch=input_shape[0],
        fit=not reason,
        reason=reason,
    )


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
