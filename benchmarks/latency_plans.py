"""Which plan predicts best for its device time: each against the same held-out subnets, on this machine.

    python benchmarks/latency_plans.py SPACE.json [--plans exhaustive:100,sparse:60,sparse:300,mlp:60,mlp:300]
        [--held-out 200] [--searched 20] [--work FOLDER]

Every plan runs in a session of its own, and the held-out subnets are read in the same session, interleaved with it,
so that a machine that is slower an hour later is not taken for an error of the plan. They belong to no fit. Device
time counts the plan's own readings with their warm-up calls, not those of the held-out subnets and not loading.
Beside random subnets there are some that a search picks, the fittest within budgets of MACs: random ones lie on both
sides of what a table has wrong, those all on one.

``mlp`` is the predictor recipe published with DeepFedNAS (its ``deepfednas_latency_predictor_pipeline.py``):
random subnets one after another, five warm-up calls and the mean of twenty, 23 features (depths, expansion ratios,
widths, MACs, params), a perceptron 23-128-64-1 with ReLU after every layer, L1 loss, Adam at 1e-4, 330 epochs of
batches of 32. It is given ONNX Runtime like the others, and no network of it is held out: all of its readings train.
With few readings 330 epochs are few steps, so it gets a second line, trained for as many steps as on the 5000
subnets of the publication.

A killed run goes on where it stopped if the same --work folder is named.
"""

import argparse
import itertools
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from fednas.profiles import find_profile, this_machine
from fednas.toolchain.measure.analysis import Analysis
from fednas.toolchain.measure.drift import REFERENCE
from fednas.toolchain.measure.graphs import input_shape, network_onnx
from fednas.toolchain.measure.job import Collected, MeasuringJob
from fednas.toolchain.measure.local import collect_here
from fednas.toolchain.measure.plan import Plan, Specs, plan_for
from fednas.toolchain.measure.rounds import LEAST_ROUNDS, groups_of, most_weights
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeModel
from fednas.toolchain.search import Limit, find_best, macs_quantity
from fednas.toolchain.space import (
    Architecture,
    SearchSpace,
    architecture_from_genes,
    blocks_of,
    largest_architecture,
    load_space,
    smallest_architecture,
)
from fednas.toolchain.space.fitness import FitnessSettings

SEED_OF_THE_HELD_OUT = 20_261_123
RECIPE_WARM_UPS, RECIPE_CALLS = 5, 20
PUBLISHED_EPOCHS = 330
PUBLISHED_STEPS = PUBLISHED_EPOCHS * 4000 // 32
"""On four fifths of 5000 subnets, in batches of 32."""


@dataclass(frozen=True)
class Row:
    """One line of the result."""

    plan: str
    device_s: float
    wall_s: float
    readings: int
    mape: float
    within_5: float
    within_10: float
    tau: float
    coverage: float | None
    """Share of the held-out subnets inside the plan's own 90 % interval."""
    repeatability: float
    searched_mape: float | None = None
    """Of the subnets that a search picks."""
    searched_bias: float | None = None
    """Median of their predicted over measured, minus 1."""


def draw(space: SearchSpace, rng: random.Random) -> Architecture:
    """An architecture of uniformly random genes."""
    d = [rng.randrange(space.blocks_per_stage) for _ in range(space.num_stages)]
    e = [rng.choice(space.expansion_ratio_choices) for _ in range(space.expansion_slots)]
    w = [rng.randrange(len(space.width_multiplier_choices)) for _ in range(space.num_stages + 1)]
    return architecture_from_genes(space, d, e, w)


def held_out_networks(space: SearchSpace, count: int, *, without: Sequence[Specs]) -> tuple[Specs, ...]:
    """The same random networks for every plan, but for those that a plan measures itself."""
    rng = random.Random(SEED_OF_THE_HELD_OUT)  # noqa: S311 - a sample, not a secret
    known = set(without)
    drawn = (blocks_of(space, draw(space, rng)) for _ in itertools.count())
    fresh = (specs for specs in drawn if not (specs in known or known.add(specs)))  # type: ignore[func-returns-value]
    return tuple(itertools.islice(fresh, count))


def searched_networks(space: SearchSpace, count: int, *, without: Sequence[Specs]) -> tuple[Specs, ...]:
    """The fittest networks within ``count`` budgets of MACs from the smallest network's to the largest's."""
    known, settings = set(without), FitnessSettings.of_space(space)
    least, most = (_macs(blocks_of(space, end(space))) for end in (smallest_architecture, largest_architecture))
    found: list[Specs] = []
    for budget in np.geomspace(least * 1.2, most * 0.95, count):
        best = find_best(space, settings, [Limit(macs_quantity(space, "network"), float(budget))])
        specs = blocks_of(space, best.architecture) if best.architecture is not None else None
        if specs is not None and specs not in known:
            known.add(specs)
            found.append(specs)
    return tuple(found)


def job_of(plan: Plan, seconds: float) -> MeasuringJob:
    """One thread, batch 1, ONNX Runtime, as the command does by default."""
    return MeasuringJob(
        device=find_profile("cpu").name,
        plan=plan,
        runtime="onnxruntime",
        precision="fp32",
        threads=1,
        batch=1,
        seconds=seconds,
        seed=0,
    )


def device_seconds(collected: Collected) -> float:
    """Time of the plan's own readings, warm-up calls included, without those of the held-out subnets.

    The reference is read in every group of models, and there are as many groups as all weights ask for: its time is the
    plan's own by the share of the weights in its groups that are the plan's.
    """
    candidates, held_out = collected.job.plan.candidates, len(collected.job.plan.held_out)
    weights = [sum(spec.weights for spec in specs) for specs in candidates]
    groups: dict[int, set[int]] = {}
    for reading in collected.readings:
        groups.setdefault(reading.group, set()).add(reading.candidate)
    own = {number: _own_share(members, weights, len(candidates) - held_out) for number, members in groups.items()}
    last: dict[int, float] = {}
    total = 0.0
    for reading in collected.readings:
        seconds = reading.elapsed_s - last.get(reading.group, 0.0)
        if reading.candidate == REFERENCE:
            total += seconds * own[reading.group]
        elif reading.candidate < len(candidates) - held_out:
            total += seconds
        last[reading.group] = reading.elapsed_s
    return total


def _own_share(members: set[int], weights: Sequence[int], first_held_out: int) -> float:
    """Of the weights in a group, without the reference: those that are no held-out subnet's."""
    others = members - {REFERENCE}
    return sum(weights[m] for m in others if m < first_held_out) / sum(weights[m] for m in others)


def expected_share(plan: Plan) -> float:
    """How much longer a session lasts because the held-out subnets are read in it too."""
    costs = [plan.visits_of(index) * (_macs(specs) + 3e6) for index, specs in enumerate(plan.candidates)]
    return sum(costs) / sum(costs[: len(costs) - len(plan.held_out)])


def _macs(specs: Specs) -> int:
    return sum(spec.macs for spec in specs)


def run_plan(space: SearchSpace, name: str, seconds: float, held_out: int, searched: int, work: Path) -> list[Row]:
    """One of our plans."""
    plan = plan_for(name, space, seconds=seconds, seed=0)
    drawn = held_out_networks(space, held_out, without=(*plan.calibration, plan.reference))
    picked = searched_networks(space, searched, without=(*plan.calibration, plan.reference, *drawn))
    plan = replace(plan, held_out=(*drawn, *picked))
    partial = work / f"{name}-{seconds:g}.readings.jsonl"
    start = time.perf_counter()
    collected = collect_here(
        job_of(plan, seconds * expected_share(plan)), partial=partial, resume=partial.exists(), progress=Progress(name)
    )
    wall_s = time.perf_counter() - start
    analysis = Analysis(collected)
    table = analysis.table()
    (work / f"{name}-{seconds:g}.latency.json").write_text(table.to_json())
    report = table.report
    assert report is not None
    for remark in table.session.remarks:
        print(f"{name}: the machine was not fit to measure: {remark}")
    networks = [network for network in table.networks if network.role == "held-out"]
    predicted = np.array([network.predicted_ms for network in networks])
    measured = np.array([network.median_ms for network in networks])
    ratio = predicted / measured
    error, others = np.abs(ratio - 1)[: len(drawn)], ratio[len(drawn) :]
    row = Row(
        plan=f"{name}, {seconds:g} s",
        device_s=device_seconds(collected),
        wall_s=wall_s,
        readings=len(collected.readings),
        mape=float(error.mean()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        tau=float(kendalltau(predicted[: len(drawn)], measured[: len(drawn)]).statistic),
        coverage=report.interval_coverage,
        repeatability=report.repeatability_mape,
        searched_mape=float(np.abs(others - 1).mean()) if len(others) else None,
        searched_bias=float(np.median(others) - 1) if len(others) else None,
    )
    return [row]


class Recipe:
    """The published way to collect training data: subnets one after another."""

    def __init__(self, space: SearchSpace, seconds: float, rounds: int) -> None:
        self._space = space
        self._rng = random.Random(42)  # noqa: S311 - the recipe's seed
        self._seconds = seconds
        self._rounds = rounds
        self._calls = 0
        self.finished_s: list[float] = []
        """Device time when each subnet was done."""
        self.features: list[list[float]] = []
        self.latency_ms: list[float] = []

    def __call__(self, done: float, total: float, what: str = "") -> None:  # noqa: ARG002 - a progress callback
        """Called after every round over held-out subnets: take the next share of the device time."""
        self._calls += 1
        while self._spent_s < self._seconds * min(1.0, self._calls / self._rounds):
            self._measure_one(draw(self._space, self._rng))

    @property
    def _spent_s(self) -> float:
        return self.finished_s[-1] if self.finished_s else 0.0

    def _measure_one(self, architecture: Architecture) -> None:
        specs = blocks_of(self._space, architecture)
        model = OnnxRuntimeModel(network_onnx(specs), input_shape=input_shape(specs, 1), threads=1)
        start = time.perf_counter()
        model.call(RECIPE_WARM_UPS)
        self.latency_ms.append(model.call(RECIPE_CALLS))
        self.finished_s.append(self._spent_s + time.perf_counter() - start)
        self.features.append(features_of(self._space, architecture, specs))


def features_of(space: SearchSpace, architecture: Architecture, specs: Specs) -> list[float]:
    """The published 23 (on the paper's space): depths, expansion ratios, width multipliers, MACs, params."""
    widths = [space.width_multiplier_choices[index] for index in architecture.w_indices]
    params = sum(spec.weights for spec in specs)
    return [*architecture.d, *architecture.e, *widths, _macs(specs), params]


def run_recipe(space: SearchSpace, budgets_s: Sequence[float], held_out: int, work: Path) -> list[Row]:
    """The published predictor, given the first so many seconds of one session; as published, and trained for longer."""
    networks = held_out_architectures(space, held_out)
    plan = Plan("truth", blocks_of(space, largest_architecture(space)), (), (), tuple(networks), ())
    job = job_of(plan, 0.1)
    groups = groups_of(plan.candidates, plan.passes, job.seed, most_weights())
    recipe = Recipe(space, max(budgets_s), math.ceil(LEAST_ROUNDS / plan.passes) * len(groups))
    start = time.perf_counter()
    collected = collect_here(job, progress=recipe)
    wall_s = time.perf_counter() - start
    if (had_s := recipe.finished_s[-1]) < max(budgets_s):
        raise SystemExit(f"the predictor had {had_s:.0f} s of {max(budgets_s):g} s: that is no comparison")
    analysis = Analysis(collected)
    measured = np.array([network.latency_ms for network in analysis.measured(plan.held_out)])
    asked = np.array([features_of(space, architecture, specs) for specs, architecture in networks.items()])
    x, y = np.array(recipe.features), np.array(recipe.latency_ms)
    np.savez(work / "mlp.npz", measured=measured, features=x, latency_ms=y, asked=asked, finished_s=recipe.finished_s)
    found = []
    for seconds in budgets_s:
        rows = int(np.searchsorted(recipe.finished_s, seconds, side="right"))
        longer = round(PUBLISHED_STEPS / math.ceil(rows / 32))
        for note, epochs in (("", PUBLISHED_EPOCHS), (", trained for longer", longer)):
            predicted = perceptron(x[:rows], y[:rows], asked, epochs)
            error = np.abs(predicted / measured - 1)
            row = Row(
                plan=f"published predictor, {seconds:g} s{note}",
                device_s=recipe.finished_s[rows - 1],
                wall_s=wall_s,
                readings=rows,
                mape=float(error.mean()),
                within_5=float((error <= 0.05).mean()),
                within_10=float((error <= 0.10).mean()),
                tau=float(kendalltau(predicted, measured).statistic),
                coverage=None,
                repeatability=analysis.repeatability,
            )
            found.append(row)
    return found


def held_out_architectures(space: SearchSpace, count: int) -> dict[Specs, Architecture]:
    """The networks of `held_out_networks` for a plan that measures none, with their genes."""
    rng = random.Random(SEED_OF_THE_HELD_OUT)  # noqa: S311 - as there
    found: dict[Specs, Architecture] = {}
    while len(found) < count:
        architecture = draw(space, rng)
        found.setdefault(blocks_of(space, architecture), architecture)
    return found


def perceptron(features: np.ndarray, latency_ms: np.ndarray, asked: np.ndarray, epochs: int) -> np.ndarray:
    """Train the published perceptron and predict, in ms."""
    import torch

    torch.manual_seed(0)
    mean, deviation = features.mean(0), features.std(0)
    deviation[deviation == 0] = 1.0
    x = torch.tensor((features - mean) / deviation, dtype=torch.float32)
    y = torch.tensor(latency_ms[:, None], dtype=torch.float32)
    layers: list[torch.nn.Module] = []
    for entering, leaving in itertools.pairwise((features.shape[1], 128, 64, 1)):
        layers += [torch.nn.Linear(entering, leaving), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(32):
            optimiser.zero_grad()
            torch.nn.functional.l1_loss(model(x[part]), y[part]).backward()
            optimiser.step()
    with torch.no_grad():
        result: np.ndarray = model(torch.tensor((asked - mean) / deviation, dtype=torch.float32)).numpy()[:, 0]
    return np.maximum(result, 0.0)


class Progress:
    """Progress on stdout, a line a minute."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = time.perf_counter() + 60

    def __call__(self, done: float, total: float, what: str = "") -> None:
        """Say it."""
        if time.perf_counter() > self._next:
            self._next += 60
            print(f"{self._name}: {done:.0f} of {total:.0f} s, {what}", flush=True)


def as_markdown(rows: Sequence[Row], held_out: int) -> Iterator[str]:
    """The result as a table."""
    yield f"Measured on {this_machine().model}, one thread, batch 1, ONNX Runtime, {held_out} held-out subnets."
    yield ""
    columns = ("plan", "device time", "wall time", "MAPE", "within 5 %", "within 10 %", "tau", "in its 90 % interval")
    yield f"| {' | '.join((*columns, 'repeats to', 'MAPE, bias of searched'))} |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        inside = "has none" if row.coverage is None else f"{row.coverage:.0%}"
        searched = "-" if row.searched_mape is None else f"{row.searched_mape:.1%}, {row.searched_bias:+.1%}"
        yield (
            f"| {row.plan} | {row.device_s:.0f} s | {row.wall_s:.0f} s | {row.mape:.1%} | {row.within_5:.1%} "
            f"| {row.within_10:.1%} | {row.tau:.3f} | {inside} | {row.repeatability:.1%} | {searched} |"
        )


def main() -> None:
    """Run the plans asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path)
    parser.add_argument("--plans", default="exhaustive:100,sparse:60,sparse:300,mlp:60,mlp:300")
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--searched", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("latency-plans"))
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    space = load_space(asked.space)
    rows = []
    pairs = [(name, float(seconds)) for name, _, seconds in (text.partition(":") for text in asked.plans.split(","))]
    recipes = [seconds for name, seconds in pairs if name == "mlp"]
    sessions = [pair for pair in pairs if pair[0] != "mlp"] + ([("mlp", max(recipes))] if recipes else [])
    for name, seconds in sessions:
        if name == "mlp":
            rows += run_recipe(space, recipes, asked.held_out, asked.work)
        else:
            rows += run_plan(space, name, seconds, asked.held_out, asked.searched, asked.work)
        (asked.work / "rows.json").write_text(json.dumps([vars(row) for row in rows], indent=1))
        print("\n".join(as_markdown(rows, asked.held_out)), flush=True)


if __name__ == "__main__":
    main()
