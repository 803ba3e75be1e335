"""Is our exported graph as good as what torch's own exporter and onnxslim make of the same module?

    pip install onnxscript onnxslim
    python benchmarks/graph_quality.py [--space SPACE.json] [--subnets 10] [--loads 12] [--rounds 12]

For random subnets of the space (the embedded one by default; random weights, which speed does not depend on) it
exports the module both ways, checks that both give the same logits, counts operators, and times both files under
ONNX Runtime in turn: in each round every file is read once, in random order. Both are loaded anew many times, in random
order, because a network that is loaded again lies elsewhere in memory and takes up to some per cent more or less.
Printed is the median over the loads of the ratio of medians, ours over theirs, and the geometric mean of all subnets.
Ends with 1 if ours is slower by more than the noise.
"""

import argparse
import math
import random
import statistics
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from fednas.export import ModelInput, ModelMetadata, onnx_from_module
from fednas.profiles import this_machine
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeModel
from fednas.toolchain.space import Architecture, SearchSpace, architecture_from_genes, largest_architecture, load_space
from fednas.toolchain.supernet import network_of

OPSET = 18
"""The oldest that torch's own exporter still writes when asked."""
READING_MS = 5.0
NOISE = 0.02
"""Ratio above 1 that the geometric mean over the subnets may have by chance."""


def subnets(space: SearchSpace, count: int) -> list[Architecture]:
    """The largest one and random ones."""
    rng = random.Random(0)  # noqa: S311 - a sample, not a secret
    found = [largest_architecture(space)]
    while len(found) < count:
        d = [rng.randrange(space.blocks_per_stage) for _ in range(space.num_stages)]
        e = [rng.choice(space.expansion_ratio_choices) for _ in range(space.expansion_slots)]
        w = [rng.randrange(len(space.width_multiplier_choices)) for _ in range(space.num_stages + 1)]
        if (architecture := architecture_from_genes(space, d, e, w)) not in found:
            found.append(architecture)
    return found


def module_of(space: SearchSpace, architecture: Architecture) -> nn.Module:
    """A subnet with random weights and random batch-norm statistics, ready to be exported."""
    torch.manual_seed(0)
    module = network_of(space, architecture).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return module


def ours(module: nn.Module, space: SearchSpace, path: Path) -> Path:
    """Our exporter."""
    classes = tuple(str(i) for i in range(space.n_classes))
    shape = (space.initial_input_channels, space.initial_input_hw, space.initial_input_hw)
    channels, height, width = shape
    plain = ModelInput(
        channels=channels,
        height=height,
        width=width,
        value_range_max=255.0,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    metadata = ModelMetadata(
        preprocessing=plain,
        class_names=classes,
        architecture={},
        tool_version="benchmark",
    )
    return onnx_from_module(module, path, opset=OPSET, metadata=metadata).path


def theirs(module: nn.Module, space: SearchSpace, path: Path) -> Path:
    """Torch's own exporter, then onnxslim."""
    import onnxslim

    shape = (space.initial_input_channels, space.initial_input_hw, space.initial_input_hw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(2, *shape),),
            path,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    onnx.save(onnxslim.slim(onnx.load(path)), path)
    return path


def operators(path: Path) -> Counter[str]:
    """Nodes by operator."""
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def ratio(files: tuple[Path, Path], shape: tuple[int, ...], rounds: int, rng: random.Random) -> tuple[float, float]:
    """Both loaded once: median of the first over that of the second, read in turn, and how far their outputs differ."""
    loaded = {index: OnnxRuntimeModel(files[index], input_shape=shape, threads=1) for index in rng.sample(range(2), 2)}
    models = [loaded[0], loaded[1]]
    times = [model.repetitions(READING_MS) for model in models]
    readings: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for index in rng.sample(range(2), 2):
            models[index].call(2)
            readings[index].append(models[index].call(times[index]))
    difference = float(np.abs(models[0].output() - models[1].output()).max())
    for model in models:
        model.close()
    return statistics.median(readings[0]) / statistics.median(readings[1]), difference


def main() -> None:
    """Export, count, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=None)
    parser.add_argument("--subnets", type=int, default=10)
    parser.add_argument("--loads", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=12)
    asked = parser.parse_args()
    from fednas.toolchain.embedded import embedded_space_path

    space = load_space(asked.space) if asked.space else load_space(embedded_space_path())
    shape = (1, space.initial_input_channels, space.initial_input_hw, space.initial_input_hw)
    print(f"on {this_machine().model}, one thread, batch 1; {asked.loads} loads of {asked.rounds} rounds")
    print("| blocks | nodes ours | nodes theirs | BatchNorm, Identity ours | ratio | largest difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    ratios, rng = [], random.Random(1)  # noqa: S311 - an order, not a secret
    with tempfile.TemporaryDirectory() as folder:
        for architecture in subnets(space, asked.subnets):
            module = module_of(space, architecture)
            files = ours(module, space, Path(folder) / "a.onnx"), theirs(module, space, Path(folder) / "b.onnx")
            counts = [operators(path) for path in files]
            found = [ratio(files, shape, asked.rounds, rng) for _ in range(asked.loads)]
            value, difference = statistics.median(each for each, _ in found), max(each for _, each in found)
            ratios.append(value)
            unwanted = counts[0]["BatchNormalization"] + counts[0]["Identity"]
            totals = f"{counts[0].total()} | {counts[1].total()}"
            depth = sum(architecture.d) + len(architecture.d)
            print(f"| {depth} | {totals} | {unwanted} | {value:.3f} | {difference:.1e} |", flush=True)
    mean = statistics.geometric_mean(ratios)
    print(f"\nours over torch's exporter with onnxslim: {mean:.3f} (geometric mean of {len(ratios)})")
    raise SystemExit(int(math.log(mean) > NOISE))


if __name__ == "__main__":
    main()
