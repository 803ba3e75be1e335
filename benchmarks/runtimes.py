"""The same networks under every runtime that can run here: agreement, latency, and the sum of their blocks.

    python benchmarks/runtimes.py [--subnets 6] [--runtimes onnxruntime,openvino] [--rounds 30] [--threads 1] [--json]

Networks are drawn evenly over the MACs of the embedded space (or of --space FILE). All models of one network, of
all runtimes, are loaded together and read in random order, round after round, so that a slow spell of the machine
falls on each alike. Printed are, for each runtime, medians over the networks: latency as a multiple of ONNX
Runtime's, largest logit error against it, and how far the plain sum of the blocks lies from the network.
On a GPU the latency is the device's own; a network whose enqueueing takes more than 80 % of it is counted as bound.
"""

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fednas.common import FednasError
from fednas.profiles import this_machine
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.measure.graphs import input_shape, network_onnx
from fednas.toolchain.measure.plan import Specs, plan_for
from fednas.toolchain.measure.runtimes import DeviceTimedModel, TimedModel, find_runtime, runtime_status
from fednas.toolchain.measure.runtimes.trtexec import TrtexecModel
from fednas.toolchain.space import SearchSpace, load_space

READING_MS = 2.0
REFERENCE = "onnxruntime"


@dataclass
class Row:
    """What was found out about one runtime, a value for each network."""

    ratio: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    block_sum: list[float] = field(default_factory=list)
    bound: int = 0


def chosen(space: SearchSpace, count: int) -> list[Specs]:
    """Random networks, spread over the MACs of the space, by their blocks."""
    drawn = list(plan_for("exhaustive", space, seed=0).held_out)
    drawn.sort(key=lambda specs: sum(spec.macs for spec in specs))
    return [drawn[round(i * (len(drawn) - 1) / max(count - 1, 1))] for i in range(count)]


def medians(models: dict[str, TimedModel], rounds: int) -> dict[str, float]:
    """Median reading of each, read in random order."""
    calls = {name: model.repetitions(READING_MS) for name, model in models.items()}
    readings: dict[str, list[float]] = {name: [] for name in models}
    order = list(models)
    for number in range(rounds):
        random.Random(number).shuffle(order)  # noqa: S311 - an order, not a secret
        for name in order:
            models[name].call(2)
            readings[name].append(models[name].call(calls[name]))
    return {name: statistics.median(values) for name, values in readings.items()}


def measure(specs: Specs, names: Sequence[str], rounds: int, threads: int, rows: dict[str, Row]) -> None:
    """One network, and its blocks, under all runtimes."""
    with ExitStack() as stack:
        models: dict[str, TimedModel] = {}
        for name in names:
            runtime = find_runtime(name)
            parts: list[tuple[str, Specs]] = [("", specs)]
            if not runtime.networks_only:
                parts += [(spec.key, (spec,)) for spec in dict.fromkeys(specs)]
            for key, part in parts:
                model = runtime.load(network_onnx(part), input_shape=input_shape(part, 1), threads=threads)
                models[f"{name} {key}"] = stack.enter_context(model)
        found = medians(models, rounds)
        expected = models[f"{REFERENCE} "].output()
        for name in names:
            whole, model = found[f"{name} "], models[f"{name} "]
            rows[name].ratio.append(whole / found[f"{REFERENCE} "])
            if not isinstance(model, TrtexecModel):
                rows[name].error.append(float(np.abs(model.output() - expected).max() / np.abs(expected).max()))
            if not find_runtime(name).networks_only:
                total = sum(found[f"{name} {spec.key}"] for spec in specs)
                rows[name].block_sum.append(total / whole - 1)
            if isinstance(model, DeviceTimedModel):
                rows[name].bound += model.read(10).enqueue_bound


def main() -> None:
    """Measure everything and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subnets", type=int, default=6)
    parser.add_argument("--runtimes", default="", help="separated by commas; all that can run here unless given")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--space", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    here = [status.name for status in runtime_status() if status.can_run]
    asked = [name for name in options.runtimes.split(",") if name] or here
    names = list(dict.fromkeys([REFERENCE, *asked]))
    try:
        for name in names:
            find_runtime(name).require()
    except FednasError as err:
        parser.error(str(err))
    space = load_space(options.space or embedded_space_path())
    rows = {name: Row() for name in names}
    for specs in chosen(space, options.subnets):
        measure(specs, names, options.rounds, options.threads, rows)
    machine = f"{this_machine().model}, {options.threads} thread(s) on the processor"
    if options.json:
        versions = {name: find_runtime(name).version() for name in names}
        print(json.dumps({"machine": machine, "versions": versions, "rows": {n: vars(r) for n, r in rows.items()}}))
        return
    print(f"Medians of {options.subnets} networks, {options.rounds} interleaved rounds; {machine}\n")
    print("| runtime | latency, ONNX Runtime = 1 | largest logit error | sum of blocks | enqueue-bound |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        error = f"{max(row.error):.1e}" if row.error else "not given"
        total = f"{statistics.median(row.block_sum):+.1%}" if row.block_sum else "networks only"
        bound = f"{row.bound} of {options.subnets}" if find_runtime(name).on_gpu else "-"
        shown = f"{name} {find_runtime(name).version()}"
        print(f"| {shown} | {statistics.median(row.ratio):.2f} | {error} | {total} | {bound} |")


if __name__ == "__main__":
    main()
