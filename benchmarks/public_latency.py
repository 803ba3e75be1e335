"""The fitting code of the latency tables on public measurements of other search spaces and devices.

    python benchmarks/public_latency.py [DATA] [--draws 5] [--rows 10 30 100 300 1000] [--json]

DATA holds `latency/ofa-mobilenetv3.npz` (once-for-all MobileNetV3: 5,000 subnets on 12 GPU settings) and
`latency/nasbench201.npz` (NAS-Bench-201: 15,625 cells on 27 settings), as in HayeonLee/HELP. For each device, random
rows are fitted by `fednas.latency_tables.fit_additive` and all others are predicted; nothing of them is used to fit
or to choose. Printed are means over the draws. Two of the 27 settings are estimators that add; they are refused.
"""

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fednas.common import FednasError
from fednas.latency_tables import fit_additive, require_readings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Array = np.ndarray
COVERAGE = 0.9
RANKED = 3000
"""Rows that Kendall's tau is taken over."""
FIRST_SEED = 100
"""The settings of the prior were chosen on draws 0 to 2; the draws that are reported are others."""


@dataclass(frozen=True)
class Space:
    """Public measurements: features in groups, latencies by device, and the rows that count."""

    name: str
    groups: Sequence[Array]
    latency_ms: Mapping[str, Array]
    counted: Array
    """(n,) mask: rows that are drawn and scored."""
    twins: Array
    """(m, 2) rows that are the same network, so that the difference of their latencies is noise."""


@dataclass(frozen=True)
class Score:
    """How well unseen rows were predicted; shares between 0 and 1."""

    mape: float
    within_5: float
    within_10: float
    tau: float
    inside: float
    """Share inside the interval that claims `COVERAGE`."""


# --- once-for-all MobileNetV3 ------------------------------------------------------------------------------------

OFA_WIDTHS = (16, 24, 40, 80, 112, 160)
OFA_STRIDES = (2, 2, 2, 1, 2)
STAGES, SLOTS = 5, 4


def once_for_all(folder: Path) -> Space:
    """Base: constant, MACs, depth. Then operators, image size, and a kernel model for each stage's first and rest."""
    file = np.load(folder / "latency" / "ofa-mobilenetv3.npz")
    archs = [json.loads(text) for text in file["arch"]]
    shape = (len(archs), STAGES, SLOTS)
    depth = np.array([arch["d"] for arch in archs])
    expand = np.array([arch["e"] for arch in archs]).reshape(shape)
    taps = np.array([arch["ks"] for arch in archs]).reshape(shape) ** 2
    pixels = np.array([arch["r"] for arch in archs], dtype=float)
    active = np.arange(SLOTS) < depth[:, :, None]
    work = _ofa_work(pixels, expand, taps, active)
    macs = work[:, :2].sum(axis=1) + _ofa_ends(pixels)
    area = (pixels / 224) ** 2
    scaled = active * area[:, None, None]
    kernel_model = [_first_and_rest(scaled * factor) for factor in (1.0, expand, expand * taps)]
    groups = [
        np.stack([np.ones(len(archs)), macs, depth.sum(axis=1)], axis=1),
        work,
        (pixels / 224)[:, None],
        area[:, None],
        _first_and_rest(active.astype(float)),
        *kernel_model,
    ]
    everything = np.ones(len(archs), bool)
    return Space("once-for-all", groups, _latencies(file), everything, np.empty((0, 2), int))


def _ofa_work(pixels: Array, expand: Array, taps: Array, active: Array) -> Array:
    """(n, 3): MACs of 1x1 and of depthwise convolutions, and numbers between them."""
    side = np.ceil(pixels / 2)
    total = np.zeros((len(pixels), 3))
    for stage, slot in np.ndindex(STAGES, SLOTS):
        entering, leaving = OFA_WIDTHS[stage + (slot > 0)], OFA_WIDTHS[stage + 1]
        after = np.ceil(side / OFA_STRIDES[stage]) if slot == 0 else side
        middle = entering * expand[:, stage, slot] * active[:, stage, slot]
        pointwise = middle * (entering * side**2 + leaving * after**2)
        total += np.stack([pointwise, middle * taps[:, stage, slot] * after**2, middle * (side**2 + after**2)], axis=1)
        side = after
    return total


def _ofa_ends(pixels: Array) -> Array:
    """MACs of the stem with its fixed block, and of the last layers."""
    first, last = np.ceil(pixels / 2), np.ceil(pixels / 32)
    return first**2 * (3 * 16 * 9 + 16 * 9 + 16 * 16) + last**2 * 160 * 960 + 960 * 1280 + 1280 * 1000


def _first_and_rest(values: Array) -> Array:
    """(n, 10): the sum over the first block of each stage, and over the others."""
    return np.hstack([values[:, :, :1].sum(axis=2), values[:, :, 1:].sum(axis=2)])


# --- NAS-Bench-201 -----------------------------------------------------------------------------------------------

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From node to node, in the order of a cell's text."""


def nas_bench_201(folder: Path) -> Space:
    """Base: constant and counts of operations. Then what runs of them, first counted, then for each edge.

    An operation is alive if its input depends on the image and its output reaches the result: runtimes leave out
    the others, some of them for one reason only. So there are features of either reason and of both. Cells whose
    result does not depend on the image fold to nothing; as in the survey they are not counted.
    """
    file = np.load(folder / "latency" / "nasbench201.npz")
    cells = np.array([_operations(text) for text in file["cell"]])
    fed, used = _fed_and_used(cells > 0)
    named = (cells[:, :, None] == np.arange(1, len(OPERATIONS))).astype(float)
    alive, reached, wanted = (named * mask[:, :, None] for mask in (fed & used, fed, used))
    arriving = [sum(alive[:, edge].sum(axis=1) for edge, (_, to) in enumerate(EDGES) if to == n) for n in (1, 2, 3)]
    additions = np.stack([np.maximum(0, count - 1) for count in arriving], axis=1)
    counts = [values.sum(axis=1) for values in (named, alive, reached, wanted)]
    edges = [values.reshape(len(cells), -1) for values in (named, alive, reached, wanted)]
    base = np.hstack([np.ones((len(cells), 1)), counts[0]])
    groups = [base, counts[1], additions, *counts[2:], *edges]
    return Space("NAS-Bench-201", groups, _latencies(file), (fed & used).any(axis=1), _twins(cells))


def _operations(cell: str) -> list[int]:
    """Number of the operation on each edge."""
    return [OPERATIONS.index(edge.split("~")[0]) for node in cell.split("+") for edge in node.strip("|").split("|")]


def _fed_and_used(present: Array) -> tuple[Array, Array]:
    """(n, 6) masks: the input of the edge depends on the image; its output reaches the result."""
    arrives = {0: np.ones(len(present), bool)}
    for node in (1, 2, 3):
        paths = [arrives[a] & present[:, edge] for edge, (a, b) in enumerate(EDGES) if b == node]
        arrives[node] = np.any(paths, axis=0)
    leaves = {3: np.ones(len(present), bool)}
    for node in (2, 1, 0):
        paths = [leaves[b] & present[:, edge] for edge, (a, b) in enumerate(EDGES) if a == node]
        leaves[node] = np.any(paths, axis=0)
    fed = np.stack([arrives[a] & present[:, edge] for edge, (a, _) in enumerate(EDGES)], axis=1)
    used = np.stack([leaves[b] & present[:, edge] for edge, (_, b) in enumerate(EDGES)], axis=1)
    return fed, used


def _twins(cells: Array) -> Array:
    """Pairs of cells that are one network: nodes 1 and 2 change places where nothing runs between them."""
    places = {tuple(cell): row for row, cell in enumerate(cells.tolist())}
    pairs = set()
    for row, (e01, e02, e12, e03, e13, e23) in enumerate(cells.tolist()):
        other = places[(e02, e01, e12, e03, e23, e13)]
        if e12 == 0 and row < other:
            pairs.add((row, other))
    return np.array(sorted(pairs))


# --- fitting and scoring -----------------------------------------------------------------------------------------


def held_out(space: Space, device: str, rows: int, seed: int) -> Score:
    """Fit ``rows`` random rows and score all others; raises `FednasError` where the latencies are no readings."""
    from scipy.stats import kendalltau

    rng = np.random.default_rng(seed)
    usable = np.flatnonzero(space.counted)
    seen = rng.choice(usable, rows, replace=False)
    unseen = np.setdiff1d(usable, seen)
    latency_ms = space.latency_ms[device]
    fit = fit_additive([group[seen] for group in space.groups], latency_ms[seen])
    require_readings(fit, f"{space.name} on {device}")
    predicted, measured = fit.predict([group[unseen] for group in space.groups]), latency_ms[unseen]
    error = np.abs(predicted / measured - 1)
    ranked = rng.choice(len(unseen), min(RANKED, len(unseen)), replace=False)
    return Score(
        mape=float(error.mean()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        tau=float(kendalltau(predicted[ranked], measured[ranked]).statistic),
        inside=float((np.abs(np.log(predicted / measured)) <= math.log(fit.factor(COVERAGE))).mean()),
    )


def mean_score(scores: Iterable[Score]) -> Score:
    """Field by field."""
    values = np.array([(s.mape, s.within_5, s.within_10, s.tau, s.inside) for s in scores])
    return Score(*(float(value) for value in values.mean(axis=0)))


def ceiling(space: Space, device: str) -> float | None:
    """Share within 10 % that a perfect prediction would reach, judged by single readings; None without twins.

    Twins differ by two errors, a prediction and a reading by one: by a factor of the root of two, if errors are
    independent and normal.
    """
    counted = space.counted[space.twins].all(axis=1) if len(space.twins) else np.zeros(0, bool)
    if not counted.any():
        return None
    first, second = space.latency_ms[device][space.twins[counted]].T
    return float((np.abs(np.log(first / second)) <= math.sqrt(2) * math.log(1.1)).mean())


def _latencies(file: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix("latency_"): file[name].astype(float) for name in file if name.startswith("latency_")}


def scored(space: Space, rows: Sequence[int], draws: int) -> Iterator[tuple[str, dict[int, Score] | str]]:
    """Each device with its mean scores by number of rows, or with why it is refused."""
    for device in space.latency_ms:
        try:
            yield (
                device,
                {n: mean_score(held_out(space, device, n, FIRST_SEED + d) for d in range(draws)) for n in rows},
            )
        except FednasError as err:
            yield device, str(err)


def print_tables(space: Space, results: Mapping[str, dict[int, Score] | str], rows: Sequence[int]) -> None:
    """As Markdown."""
    good = {device: found for device, found in results.items() if not isinstance(found, str)}
    means = {n: mean_score(found[n] for found in good.values()) for n in rows}
    print(f"\n{space.name}: {len(good)} devices, mean over them\n")
    print("| rows | MAPE | within 5 % | within 10 % | tau | inside the 90 % interval |\n| --- " + "| --- " * 5 + "|")
    for n, mean in means.items():
        print(f"| {n} | {_share(mean.mape)} | {_share(mean.within_5)} | {_share(mean.within_10)} ", end="")
        print(f"| {mean.tau:.2f} | {_share(mean.inside)} |")
    shown = " / ".join(map(str, rows))
    print(f"\n| device | within 10 %, {shown} rows | MAPE | tau | inside | ceiling |\n| --- " + "| --- " * 5 + "|")
    for device, found in good.items():
        limit = ceiling(space, device)
        parts = [" / ".join(f"{100 * found[n].within_10:.0f}" for n in rows)]
        parts.append(" / ".join(f"{100 * found[n].mape:.1f}" for n in rows))
        parts.append(" / ".join(f"{found[n].tau:.2f}" for n in rows))
        parts.append(" / ".join(f"{100 * found[n].inside:.0f}" for n in rows))
        print(f"| {device} | {' | '.join(parts)} | {'-' if limit is None else f'{100 * limit:.0f}'} |")
    for reason in results.values():
        if isinstance(reason, str):
            print(f"\nRefused: {reason}.")


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def main() -> None:
    """Print the tables, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DATA, help="folder with latency/*.npz")
    parser.add_argument("--draws", type=int, default=5, help="random draws that are averaged")
    parser.add_argument("--rows", type=int, nargs="+", default=[30, 100, 300, 1000], help="rows that are fitted")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    options = parser.parse_args()
    if not (options.data / "latency").is_dir():
        parser.error(f"{options.data} has no folder latency with the public measurements")
    document = {}
    for space in (once_for_all(options.data), nas_bench_201(options.data)):
        results = dict(scored(space, options.rows, options.draws))
        if not options.json:
            print_tables(space, results, options.rows)
        document[space.name] = {
            device: found if isinstance(found, str) else {n: vars(score) for n, score in found.items()}
            for device, found in results.items()
        }
    if options.json:
        print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
