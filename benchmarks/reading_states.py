"""How much faster a network is alone than in turn with others, and when its caches are warm.

    python benchmarks/reading_states.py [--rounds 150] [--threads 1]

One process, everything interleaved: each round first reads all candidates of the embedded space's table in random
order, as `profile` does ("table"); then some of its networks in further ways. Printed is the median over the rounds
of the ratio to the table's own reading in the same round, so that slow spells of the machine cancel out.
"""

import argparse
import platform
import random
import statistics

from fednas.latency_tables import BlockSpec
from fednas.profiles import this_machine
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.measure.graphs import input_shape, network_onnx
from fednas.toolchain.measure.model_file import ALONE_CALLS, NEIGHBOURS
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.measure.rounds import READING_MS, WARMING_CALLS
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeModel
from fednas.toolchain.space import load_space

SHOWN = 6
"""Whole networks that are read, the largest first."""
WARMING = (0, 1, 2, 4, 8)
"""Calls between other work and the one that is timed."""


class Reader:
    """A loaded candidate, read as a table reads it."""

    def __init__(self, specs: tuple[BlockSpec, ...], threads: int) -> None:
        self.model = OnnxRuntimeModel(network_onnx(specs), input_shape=input_shape(specs, 1), threads=threads)
        self.calls = self.model.repetitions(READING_MS)
        self.weights = sum(spec.weights for spec in specs)

    def read(self) -> float:
        """One reading in milliseconds."""
        self.model.call(WARMING_CALLS if self.calls > 1 else 1)
        return self.model.call(self.calls)

    def alone(self) -> float:
        """One reading with warm caches."""
        self.model.call(ALONE_CALLS)
        return self.model.call(max(2, self.calls))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    plan = plan_for("exhaustive", load_space(embedded_space_path()))
    readers = [Reader(specs, options.threads) for specs in plan.candidates]
    shown = sorted(range(1 + len(plan.blocks), len(readers)), key=lambda i: -readers[i].weights)[:: 40 // SHOWN]
    rng = random.Random(0)  # noqa: S311 - an order, not a secret
    ratios: dict[tuple[int, str], list[float]] = {}
    for _ in range(options.rounds):
        for i, found in one_round(readers, shown, rng):
            for way, value in found.items():
                ratios.setdefault((i, way), []).append(value / found["table"])
    ways = list(dict.fromkeys(way for _, way in ratios))
    print(f"{this_machine().model}, Python {platform.python_version()}, {options.rounds} rounds\n")
    print(f"| weights | {' | '.join(ways)} |\n|{' --- |' * (1 + len(ways))}")
    for i in shown:
        cells = " | ".join(f"{statistics.median(ratios[i, way]):.2f}" for way in ways)
        print(f"| {4 * readers[i].weights / 1e6:.1f} MB | {cells} |")


def one_round(readers: list[Reader], shown: list[int], rng: random.Random) -> list[tuple[int, dict[str, float]]]:
    """Readings in milliseconds of the shown candidates, by way."""
    order = rng.sample(range(len(readers)), len(readers))
    table = {i: readers[i].read() for i in order}
    found = []
    for i in shown:
        values = {"table": table[i], "in turn": _after_others(readers, i, rng)}
        for count in WARMING:
            _others(readers, rng)
            if count:
                readers[i].model.call(count)
            values[f"after {count} calls"] = readers[i].model.call(1)
        values["alone"] = readers[i].alone()
        found.append((i, values))
    return found


def _after_others(readers: list[Reader], i: int, rng: random.Random) -> float:
    _others(readers, rng)
    return readers[i].read()


def _others(readers: list[Reader], rng: random.Random) -> None:
    for other in rng.sample(readers, NEIGHBOURS):
        other.model.call(2)


if __name__ == "__main__":
    main()
