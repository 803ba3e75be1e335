"""How long the commands on a large latency table take as a user meets them, process start included.

    python benchmarks/tables.py [--entries 10000] [--runs 7] [--json]

The table is synthetic: blocks of many widths, priced by their MACs with a little noise. So are the results of a kit
that are imported: as many blocks and 61 networks, nine readings of each in three passes. Each command runs once to
warm the file cache; then all take turns, so that a slow spell of the machine falls on each alike. Printed are
medians, and their ratio to ``--help``, which loads next to nothing.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from fednas.latency_tables import (
    BlockKind,
    BlockSpec,
    Interval,
    LatencyTable,
    Machine,
    NetworkReading,
    Report,
    Session,
    Shortcut,
    TableEntry,
    save_table,
)
from fednas.profiles import this_machine
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.kit.document import KitDocument, KitModel, digest_of
from fednas.toolchain.measure.kit.results_file import Around, BoardSitting, BoardState, Results
from fednas.toolchain.measure.plan import Plan, Specs

PROGRAM = str(Path(sys.executable).with_name("fednas-export"))
LIMIT_S = 1.0
LIMITED = ("table show", "table lint", "import as a model", "profile import")
PASSES, ROUNDS = 3, 3
STATE: dict[str, Any] = {
    **dict.fromkeys(BoardState.__struct_fields__),
    "cpu_model": "synthetic",
    "architecture": "none",
    "operating_system": "none",
    "cores": 1,
    "affinity": (0,),
    "zones_c": {},
    "load": 0.0,
    "python_version": "3.11.0",
    "numpy_version": "2.0.0",
}
CODES = (0, 1, 3)
"""Findings and differences are answers too."""


def specs(count: int) -> list[BlockSpec]:
    """As many different residual blocks, at four sizes of image."""
    widths = [8 * i for i in range(1, 1 + round((count / 4) ** (1 / 3)) + 2)]
    shapes = product((4, 8, 16, 32), widths, widths, widths)
    found = [
        BlockSpec(
            kind=BlockKind.RESIDUAL,
            in_channels=entering,
            mid_channels=middle,
            out_channels=leaving,
            in_hw=side,
            shortcut=Shortcut.IDENTITY if entering == leaving else Shortcut.PROJECTION,
        )
        for side, entering, middle, leaving in shapes
    ]
    return found[:count]


def synthetic_table(count: int, seed: int) -> LatencyTable:
    """A table of ``count`` entries with 41 networks whose errors are those of the noise."""
    rng = random.Random(seed)  # noqa: S311 - noise, not a secret
    entries = [_entry(spec, rng) for spec in specs(count)]
    networks = [_network(entries, rng, held_out=i >= 20) for i in range(41)]
    errors = [abs(n.predicted_ms / n.median_ms - 1) for n in networks if n.role == "held-out"]
    machine = Machine(
        cpu_model="synthetic",
        architecture="none",
        operating_system="none",
        cores=1,
        affinity=(0,),
        python_version="3",
        numpy_version="2",
    )
    session = Session(
        plan="exhaustive",
        seconds=1.0,
        readings=50 * count,
        interrupted=0.0,
        reference_ms=1.0,
        reference_p10_ms=0.9,
        reference_p90_ms=1.1,
        drift_low=0.98,
        drift_high=1.02,
        halves_ratio=1.0,
        load_before=0.0,
        load_after=0.0,
        slowness=(1.0,) * 100,
    )
    return LatencyTable(
        device="synthetic",
        runtime="none",
        runtime_version="0",
        precision="fp32",
        batch=1,
        threads=1,
        date=f"2000-01-0{1 + seed}T00:00:00+00:00",
        tool_version="0",
        machine=machine,
        session=session,
        interval=Interval(coverage=0.9, factor=1.1, machine_factor=1.05),
        report=Report(
            subnets=21,
            mape=statistics.fmean(errors),
            within_5=sum(e <= 0.05 for e in errors) / 21,
            within_10=1.0,
            kendall_tau=0.9,
            interval_coverage=1.0,
            repeatability_mape=0.01,
        ),
        networks=tuple(networks),
        entries=tuple(entries),
    )


def _entry(spec: BlockSpec, rng: random.Random) -> TableEntry:
    median = (0.005 + spec.macs / 30e6) * rng.gauss(1, 0.01)
    return TableEntry(
        kind=spec.kind,
        in_channels=spec.in_channels,
        mid_channels=spec.mid_channels,
        out_channels=spec.out_channels,
        in_hw=spec.in_hw,
        stride=spec.stride,
        shortcut=spec.shortcut,
        median_ms=median,
        p10_ms=median * 0.95,
        p90_ms=median * 1.05,
        samples=50,
        spread=0.005,
        origin="measured",
    )


def _network(entries: list[TableEntry], rng: random.Random, *, held_out: bool) -> NetworkReading:
    blocks = tuple(rng.randrange(len(entries)) for _ in range(12))
    predicted = sum(entries[place].median_ms for place in blocks)
    measured = predicted * rng.gauss(1, 0.02)
    return NetworkReading(
        role="held-out" if held_out else "calibration",
        blocks=blocks,
        median_ms=measured,
        p10_ms=measured * 0.95,
        p90_ms=measured * 1.05,
        samples=50,
        predicted_ms=predicted,
    )


def synthetic_results(count: int) -> bytes:
    """The results.json of a kit with ``count`` blocks and 61 networks of 12 of them, 5 % quicker than their sum."""
    rng = random.Random(0)  # noqa: S311 - noise, not a secret
    blocks = tuple(specs(count))
    networks = [tuple(rng.choice(blocks) for _ in range(12)) for _ in range(61)]
    reference = tuple(sorted(blocks, key=lambda spec: spec.macs)[-12:])
    plan = Plan("exhaustive", reference, blocks, (reference, *networks[:40]), tuple(networks[40:]), blocks)
    document = _kit_document(plan)
    prices = [_price(candidate) for candidate in plan.candidates]
    readings, order = [], list(range(1, len(plan.candidates)))
    for group in range(PASSES):
        loads = [rng.gauss(1, 0.02) for _ in prices]
        for number in range(ROUNDS):
            rng.shuffle(order)
            for place, candidate in enumerate((0, *order)):
                latency_ms = prices[candidate] * loads[candidate] * rng.gauss(1, 0.005)
                elapsed_s = (number * (len(order) + 1) + place + 1) * 0.05
                readings.append(Reading(group, candidate, round(latency_ms, 9), round(elapsed_s, 6), False))
    state = BoardState(**STATE)
    around = Around(load_s=1.0, timer_share=0.001, others_cores=0.0, stolen=0.0, throttled=0.0, gpu_slowed_by=())
    results = Results(
        schema=1,
        sha256="0" * 64,
        kit=document.kit,
        job=document,
        runtime="onnxruntime",
        runtime_version="1.20.0",
        settings={"provider": "CPUExecutionProvider", "threads": "1", "optimisation": "all"},
        engines=(),
        seconds=60.0,
        least_rounds=9,
        sittings=(BoardSitting(began="2026-01-02T03:04:05+00:00", before=state, around=around, after=state),),
        started="2026-01-02T03:04:05+00:00",
        date="2026-01-02T03:14:05+00:00",
        energy=None,
        moments=(),
        events=(),
        power=(),
        readings=tuple(readings),
        samples=(),
    )
    return _digested(results, "sha256")


def _kit_document(plan: Plan) -> KitDocument:
    models = list(dict.fromkeys(plan.candidates))
    places = {candidate: place for place, candidate in enumerate(models)}
    document = KitDocument(
        schema=1,
        kit="0" * 64,
        tool_version="0",
        device="synthetic",
        runtime="onnxruntime",
        precision="fp32",
        threads=1,
        batch=1,
        seconds=60.0,
        seed=0,
        least_rounds=9,
        group_weights=1,
        plan=plan,
        space=None,
        candidates=tuple(places[candidate] for candidate in plan.candidates),
        models=tuple(
            KitModel(
                sha256=f"{place:064x}",
                size_bytes=1,
                shape=(1, 8, 8, 8),
                weights=sum(spec.weights for spec in candidate),
                macs=sum(spec.macs for spec in candidate),
            )
            for place, candidate in enumerate(models)
        ),
        script_sha256="0" * 64,
    )
    return msgspec.json.decode(_digested(document, "kit"), type=KitDocument)


def _digested(document: object, key: str) -> bytes:
    plain = msgspec.json.decode(msgspec.json.encode(document))
    return msgspec.json.encode(plain | {key: digest_of(plain, without=key)})


def _price(candidate: Specs) -> float:
    total = sum(0.005 + spec.macs / 30e6 for spec in candidate)
    return total if len(candidate) == 1 else 0.95 * total


def commands(first: Path, second: Path, results: Path) -> dict[str, list[str]]:
    """What is timed, by name."""
    load = (
        f"from pathlib import Path; from fednas.latency_tables import load_latency_model as m; m(Path({str(first)!r}))"
    )
    table, imported = [PROGRAM, "table"], str(first.with_name("imported.json"))
    return {
        "--help": [PROGRAM, "--help"],
        "import as a model": [sys.executable, "-c", load, str(first)],
        "profile import": [PROGRAM, "profile", "import", str(results), "--accept-unfit", "--out", imported],
        "table show": [*table, "show", str(first)],
        "table show --html": [*table, "show", str(first), "--html", str(first.with_suffix(".html"))],
        "table lint": [*table, "lint", str(first)],
        "table diff": [*table, "diff", str(first), str(second)],
        "table merge": [*table, "merge", str(first), str(second), "--out", str(first.with_name("merged.json"))],
    }


def seconds(command: list[str]) -> float:
    """Wall-clock time of one run, which must end with an answer."""
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in CODES or "Error" in done.stderr:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stderr}")
    return time.perf_counter() - started


def main() -> None:
    """Time everything and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        first, second = Path(scratch) / "first.json", Path(scratch) / "second.json"
        for seed, path in enumerate((first, second)):
            save_table(synthetic_table(options.entries, seed), path)
        results = Path(scratch) / "results.json"
        results.write_bytes(synthetic_results(options.entries))
        size, digest = first.stat().st_size, hashlib.sha256(first.read_bytes()).hexdigest()
        timed = commands(first, second, results)
        readings: dict[str, list[float]] = {name: [] for name in timed}
        for run in range(options.runs + 1):
            for name, command in timed.items():
                taken = seconds(command)
                if run:  # the first one warms the file cache
                    readings[name].append(taken)
    medians = {name: statistics.median(values) for name, values in readings.items()}
    machine = f"{this_machine().model}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if options.json:
        what = {"entries": options.entries, "bytes": size, "sha256": digest, "runs": options.runs}
        print(json.dumps({"machine": machine, **what, "median_s": medians}))
        return
    print(f"{options.entries:,} entries ({size / 1e6:.1f} MB), median of {options.runs} runs, interleaved; {machine}\n")
    print("| command | seconds | times --help | limit |\n| --- | --- | --- | --- |")
    for name, median in medians.items():
        limit = f"{LIMIT_S:g} s" if name in LIMITED else ""
        print(f"| `{name}` | {median:.2f} | {median / medians['--help']:.1f} | {limit} |")


if __name__ == "__main__":
    main()
