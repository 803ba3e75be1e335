"""What trtexec prints and exports, read strictly: half an output is no output."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fednas.common import FednasError, read_text
from fednas.toolchain.measure.runtimes.base import LayerTime

ENQUEUE_BOUND = 0.8
"""Share of the GPU's time from which on trtexec itself warns of enqueueing."""
_SUMMARY = "=== Performance summary ==="
_FIGURES = re.compile(r"(min|max|mean|median|percentile\((\d+(?:\.\d+)?)%\)) = ([0-9.eE+-]+|nan|inf) ms")
_SERIES = {
    "GPU Compute Time": "gpu_compute_ms",
    "Enqueue Time": "enqueue_ms",
    "Latency": "latency_ms",
}
_TIMES_KEYS = ("startEnqMs", "endEnqMs", "startComputeMs", "endComputeMs", "computeMs", "latencyMs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of the summary, in milliseconds."""

    low: float
    high: float
    mean: float
    median: float
    percentiles: Mapping[float, float]
    """By percentage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecSummary:
    """The performance summary."""

    gpu_compute_ms: Series
    """What the GPU computes; the only one that is comparable between versions."""
    enqueue_ms: Series
    latency_ms: Series
    """With transfers of data, as far as the version and its flags measure them."""
    throughput_qps: float
    warnings: tuple[str, ...]
    """What trtexec itself has to say about the measurement."""

    @property
    def enqueue_bound(self) -> bool:
        """Whether the processor, and not the GPU, sets the pace."""
        return self.enqueue_ms.median > ENQUEUE_BOUND * self.gpu_compute_ms.median


@dataclass(frozen=True, slots=True)
class Run:
    """One run of ``--exportTimes``."""

    gpu_ms: float
    enqueue_ms: float


def require_passed(output: str, what: str) -> None:
    """Raise `FednasError` unless trtexec ended with its own ``PASSED``, with what it said went wrong."""
    if any(line.startswith("&&&& PASSED") for line in output.splitlines()):
        return
    errors = [line.split("[E]", 1)[1].strip() for line in output.splitlines() if "[E]" in line]
    failed = any(line.startswith("&&&& FAILED") for line in output.splitlines())
    if not failed and not errors:
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "nothing at all")
        raise FednasError(
            f"trtexec was cut off while {what}; it printed last: {last[:200]}", hint="is memory or disk full?"
        )
    raise FednasError(f"trtexec failed while {what}: {'; '.join(errors[:3]) or 'it gave no reason'}")


def summary_of(output: str) -> TrtexecSummary:
    """The performance summary of a whole output; raises `FednasError` if any part of it is missing."""
    require_passed(output, "timing the engine")
    _, found, text = output.partition(_SUMMARY)
    lines = [_after_prefix(line) for line in text.splitlines()]
    series = {
        field: _series(line.partition(":")[2], name)
        for name, field in _SERIES.items()
        for line in lines
        if line.startswith(f"{name}:")
    }
    missing = [name for name, field in _SERIES.items() if field not in series]
    throughput = re.search(r"Throughput: ([0-9.eE+-]+) qps", text)
    if not found or missing or throughput is None:
        what = ", ".join(missing) or ("Throughput" if found else _SUMMARY)
        raise FednasError(f"the output of trtexec lacks {what}", hint="run it again and keep the whole output")
    # Warnings stand among the figures, each begun with a star.
    warnings = tuple(line[2:].strip() for line in lines if line.startswith("* "))
    return TrtexecSummary(throughput_qps=float(throughput[1]), warnings=warnings, **series)


def read_times(path: Path) -> tuple[Run, ...]:
    """The readings of ``--exportTimes``, whose form is the same from 8.5 to 11; raises `FednasError`."""
    entries = _json_list(path, "times")
    runs = []
    for number, entry in enumerate(entries):
        values = [_number(entry, key, path, number) for key in _TIMES_KEYS]
        start_enqueue, end_enqueue, start_compute, end_compute, compute, _ = values
        if not math.isclose(end_compute - start_compute, compute, rel_tol=0.05, abs_tol=0.01):
            raise FednasError(f"times {path}, run {number}: computeMs {compute} is not its end less its start")
        runs.append(Run(gpu_ms=compute, enqueue_ms=end_enqueue - start_enqueue))
    if not runs:
        raise FednasError(f"times {path} hold no run", hint="let trtexec run longer")
    return tuple(runs)


def read_profile(path: Path) -> tuple[LayerTime, ...]:
    """The layers of ``--exportProfile``: a count of runs first, then one object a layer; raises `FednasError`.

    The time of a layer is its median, or its mean where the version does not say the median.
    """
    entries = _json_list(path, "profile")
    if not entries or "count" not in entries[0]:
        raise FednasError(f"profile {path} does not begin with its count of runs", hint="is it trtexec's own file?")
    layers = []
    for number, entry in enumerate(entries[1:], start=1):
        name = entry.get("name")
        if not isinstance(name, str):
            raise FednasError(f"profile {path}, entry {number} has no name")
        key = "medianMs" if "medianMs" in entry else "averageMs"
        layers.append(LayerTime(name, _number(entry, key, path, number)))
    if not layers:
        raise FednasError(f"profile {path} holds no layer", hint="build with --profilingVerbosity=detailed")
    return tuple(layers)


def _series(text: str, name: str) -> Series:
    figures = {match[2] or match[1]: float(match[3]) for match in _FIGURES.finditer(text)}
    needed = ("min", "max", "mean", "median")
    if any(key not in figures for key in needed) or not all(math.isfinite(value) for value in figures.values()):
        raise FednasError(f"the line {name} of trtexec's summary is cut off or holds no numbers: {text.strip()[:100]}")
    percentiles = {float(key): value for key, value in figures.items() if key not in needed}
    return Series(
        low=figures["min"],
        high=figures["max"],
        mean=figures["mean"],
        median=figures["median"],
        percentiles=percentiles,
    )


def _after_prefix(line: str) -> str:
    """Without the date and the level that each line begins with."""
    return re.sub(r"^\[[^\]]*\] \[[A-Z]\] ?", "", line).rstrip()


def _json(path: Path, what: str) -> Any:
    try:
        # Layer names are written unescaped, so they may hold control characters.
        return json.loads(read_text(path, what), strict=False)
    except json.JSONDecodeError as err:
        raise FednasError(f"{what} {path} is cut off or no JSON: {err}", hint="let trtexec write it again") from err


def _json_list(path: Path, what: str) -> Sequence[Mapping[str, Any]]:
    content = _json(path, what)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise FednasError(f"{what} {path} hold no list of objects", hint="is it trtexec's own file?")
    return content


def _number(entry: Mapping[str, Any], key: str, path: Path, number: int) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FednasError(f"{path}, entry {number}: {key} is {value!r}, not a number")
    return float(value)
