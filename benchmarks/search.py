"""Time the exact search, the frontier, the cache and the genetic baseline, in one process.

    python benchmarks/search.py [--rounds N] [--json] [--growth PNG]

The jobs are interleaved: every round runs each of them once, and medians are printed. Imports and reading the
space are not counted; every job starts without anything that an earlier one computed. The spaces are the
paper's and a deep one of 8 stages, written out below.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import msgspec
import numpy as np

from fednas.profiles import this_machine
from fednas.toolchain.latency import latency_model
from fednas.toolchain.search import (
    Limit,
    find_best,
    latency_quantity,
    macs_quantity,
    params_quantity,
)
from fednas.toolchain.search.cache import make_cache
from fednas.toolchain.search.frontier import find_frontier
from fednas.toolchain.search.genetic import GeneticSettings, find_genetically
from fednas.toolchain.space import SearchSpace, largest_architecture, smallest_architecture
from fednas.toolchain.space.cost import cost_of, macs_table, params_table
from fednas.toolchain.space.fitness import FitnessSettings, log_tables

PAPER = SearchSpace(
    num_stages=4,
    max_extra_blocks_per_stage=2,
    original_stem_out_channels=64,
    original_stage_base_channels=(256, 512, 1024, 2048),
    initial_input_hw=32,
    initial_input_channels=3,
    stem_stride=1,
    stage_downsample_factors=(1, 2, 2, 2),
    channel_divisible_by=8,
    n_classes=10,
    width_multiplier_choices=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    expansion_ratio_choices=(0.1, 0.14, 0.18, 0.22, 0.25),
)
DEEP = SearchSpace(
    num_stages=8,
    max_extra_blocks_per_stage=7,
    original_stem_out_channels=32,
    original_stage_base_channels=(40, 104, 112, 152, 168, 176, 248, 256),
    initial_input_hw=32,
    initial_input_channels=3,
    stem_stride=1,
    stage_downsample_factors=(1, 1, 1, 1, 1, 2, 2, 2),
    channel_divisible_by=8,
    n_classes=10,
    width_multiplier_choices=(0.5, 0.75, 1.0),
    expansion_ratio_choices=(0.1, 0.25, 0.5, 1.0),
)
BUDGETS = (20e6, 50e6, 100e6, 200e6, 400e6, 600e6, 800e6, 1.2e9, 1.6e9, 2.0e9, 2.5e9, 3.0e9)
GENETIC_TARGETS = (459e6, 1.445e9, 3.0e9)
DEVICES = ("jetson", "raspberry-pi-4")
JOINT = ((0.5, 5.0, 3e6), (1.0, 15.0, 3e6), (2.0, 40.0, 8e6), (4.0, 100.0, 30e6))
"""Milliseconds on each device, and parameters."""


@dataclass(frozen=True)
class Job:
    """What is timed, and what it says of its outcome."""

    name: str
    run: Callable[[], str]


def one_budget(space: SearchSpace, budget: float) -> Job:
    """A search limited by MACs."""

    def run() -> str:
        best = find_best(space, FitnessSettings.of_space(space), [Limit(macs_quantity(space, "network"), budget)])
        return f"{best.status}, gap {best.gap:.2%}"

    return Job("one budget", run)


def jobs() -> list[Job]:
    """Every job; several of one name are summed up by one median."""
    weights = FitnessSettings.of_space(PAPER)
    macs = macs_quantity(PAPER, "network")

    def whole_frontier() -> str:
        return f"{len(find_frontier(PAPER, weights, macs))} points"

    def cache() -> str:
        return f"{len(make_cache(PAPER, 60))} rows"

    def joint(first: float, second: float, params: float) -> str:
        limits = [
            Limit(latency_quantity(PAPER, latency_model(device, None, "fp32")), at_most)
            for device, at_most in zip(DEVICES, (first, second), strict=True)
        ]
        best = find_best(PAPER, weights, [*limits, Limit(params_quantity(PAPER, "network"), params)])
        return f"{best.status}, gap {best.gap:.2%}"

    def deep(budget: float) -> str:
        limit = Limit(macs_quantity(DEEP, "network"), budget)
        best = find_best(DEEP, FitnessSettings.of_space(DEEP), [limit], time_limit_s=60)
        return f"{best.status}, gap {best.gap:.2%}"

    def deep_jointly() -> str:
        limits = [Limit(macs_quantity(DEEP, "network"), 3e8), Limit(params_quantity(DEEP, "network"), 1e6)]
        best = find_best(DEEP, FitnessSettings.of_space(DEEP), limits, time_limit_s=60)
        return f"{best.status}, gap {best.gap:.2%}"

    def deep_frontier() -> str:
        points = find_frontier(DEEP, FitnessSettings.of_space(DEEP), macs_quantity(DEEP, "network"))
        return f"{len(points)} points"

    def genetic(target: float) -> Job:
        limit = [Limit(macs, target)]
        top = find_best(PAPER, weights, limit).fitness

        def run() -> str:
            below = top - find_genetically(PAPER, weights, limit, GeneticSettings()).fitness
            return f"{below:.1f} below the optimum {top:.1f}"

        return Job(f"paper: genetic 256 x 512 at {target / 1e6:.0f}M", run)

    return [
        *(replace(one_budget(PAPER, budget), name="paper: one MACs budget") for budget in BUDGETS),
        Job("paper: whole MACs frontier", whole_frontier),
        Job("paper: cache of 60 rows", cache),
        *(Job("paper: two devices and params jointly", lambda j=j: joint(*j)) for j in JOINT),  # type: ignore[misc]
        *(Job("deep 8-stage: one MACs budget", lambda b=b: deep(b)) for b in (1e8, 3e8, 1e9, 5e9)),  # type: ignore[misc]
        Job("deep 8-stage: MACs and params jointly", deep_jointly),
        Job("deep 8-stage: whole MACs frontier", deep_frontier),
        *map(genetic, GENETIC_TARGETS),
    ]


@dataclass
class Timing:
    """Of all runs of the jobs of one name."""

    seconds: list[float]
    outcomes: list[str]


def measure(rounds: int) -> dict[str, Timing]:
    """Every job once a round."""
    timings: dict[str, Timing] = {}
    for turn in range(rounds):
        for job in jobs():
            for table in (macs_table, params_table, log_tables):
                table.cache_clear()
            started = time.perf_counter()
            outcome = job.run()
            seconds = time.perf_counter() - started
            timing = timings.setdefault(job.name, Timing([], []))
            timing.seconds.append(seconds)
            if turn == 0:
                timing.outcomes.append(outcome)
            print(f"round {turn + 1}: {job.name}: {seconds:.3f} s, {outcome}", file=sys.stderr, flush=True)
    return timings


class Growth(TypedDict):
    """One size of space."""

    varied: str
    value: int
    seconds: float
    peak_mb: float


def growth() -> list[Growth]:
    """Median seconds and peak memory of one budget as stages, blocks and widths grow; a process for each."""
    base = {"stages": 4, "blocks": 3, "widths": 6}
    ranges = {"stages": (2, 3, 4, 5, 6, 7, 8), "blocks": (1, 2, 3, 4, 5, 6, 8), "widths": (2, 4, 6, 8, 10, 14)}
    points: list[Growth] = []
    for varied, values in ranges.items():
        for value in values:
            sizes = base | {varied: value}
            shown = subprocess.run(
                [sys.executable, __file__, "--one", json.dumps(sizes)], check=True, capture_output=True, text=True
            )
            found = json.loads(shown.stdout)
            points.append(Growth(varied=varied, value=value, seconds=found["seconds"], peak_mb=found["peak_mb"]))
            print(points[-1], file=sys.stderr, flush=True)
    return points


def space_of(stages: int, blocks: int, widths: int) -> SearchSpace:
    """A space like the paper's of another size."""
    return msgspec.structs.replace(
        PAPER,
        num_stages=stages,
        max_extra_blocks_per_stage=blocks - 1,
        original_stage_base_channels=tuple(round(256 * 8 ** (j / max(stages - 1, 1))) for j in range(stages)),
        stage_downsample_factors=tuple(2 if j and j % max(1, stages // 4) == 0 else 1 for j in range(stages)),
        width_multiplier_choices=tuple(float(w) for w in np.round(np.linspace(0.1, 1.0, widths), 4)),
    )


def one(sizes: dict[str, int]) -> dict[str, float]:
    """Median seconds over five budgets between the smallest and the largest network, and peak memory."""
    space = space_of(**sizes)
    low, high = (cost_of(space, pick(space)).macs for pick in (smallest_architecture, largest_architecture))
    seconds = []
    for share in (0.2, 0.35, 0.5, 0.65, 0.8):
        started = time.perf_counter()
        one_budget(space, low * (high / low) ** share).run()
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds), "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Of this process, in megabytes (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1.0 if sys.platform == "darwin" else 1024.0) / 1e6


def plot(points: list[Growth], path: Path) -> None:
    """Seconds and memory over each size, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for panel, varied in zip(panels, ("stages", "blocks", "widths"), strict=True):
        chosen = [point for point in points if point["varied"] == varied]
        values = [point["value"] for point in chosen]
        panel.plot(values, [point["seconds"] for point in chosen], "o-", color="#14568c", markersize=4)
        panel.set_ylim(0, max(point["seconds"] for point in points) * 1.1)
        panel.set_xlabel({"stages": "stages", "blocks": "blocks a stage", "widths": "widths"}[varied])
        memory = panel.twinx()
        memory.plot(values, [point["peak_mb"] for point in chosen], "s--", color="#c2571a", markersize=3)
        memory.set_ylim(0, max(point["peak_mb"] for point in points) * 1.1)
        memory.tick_params(colors="#c2571a")
        if varied == "widths":
            memory.set_ylabel("peak memory, MB", color="#c2571a")
    panels[0].set_ylabel("one budget, s", color="#14568c")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--growth", type=Path, help="measure how time and memory grow instead, and write this plot")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(json.loads(options.one))))
    elif options.growth:
        points = growth()
        plot(points, options.growth)
        print(json.dumps(points, indent=1))
    else:
        report(measure(options.rounds), options)


def report(timings: dict[str, Timing], options: argparse.Namespace) -> None:
    """A Markdown table, or JSON."""
    machine = this_machine()
    about = f"{machine.model}, Python {platform.python_version()}, numpy {np.__version__}"
    medians = {name: statistics.median(timing.seconds) for name, timing in timings.items()}
    if options.json:
        rows = {
            name: {"median_s": medians[name], "worst_s": max(t.seconds), "outcomes": t.outcomes}
            for name, t in timings.items()
        }
        print(json.dumps({"machine": about, "rounds": options.rounds, "peak_mb": peak_mb(), "jobs": rows}, indent=1))
        return
    print(f"{about}; {options.rounds} rounds, interleaved; peak memory of the process {peak_mb():.0f} MB\n")
    print("| job | runs a round | median, s | worst, s | outcome |\n| --- | ---: | ---: | ---: | --- |")
    for name, timing in timings.items():
        outcome = "; ".join(sorted(set(timing.outcomes)))
        runs = len(timing.seconds) // options.rounds
        print(f"| {name} | {runs} | {medians[name]:.3f} | {max(timing.seconds):.3f} | {outcome} |")


if __name__ == "__main__":
    main()
