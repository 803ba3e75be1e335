"""What each precision costs and saves under each runtime that can run here, on subnets across the range.

    OMP_NUM_THREADS=1 python benchmarks/precisions.py [--supernet FILE --data SPEC] [--subnets 6] [--seconds 8]

For evenly spread limits on MACs, from the smallest network to the fittest, the fittest within each is exported as fp32,
fp16 and int8, and as mixed int8 where plain int8 loses more than ``--max-accuracy-drop`` on the validation images. Each
is converted to the own files of every further runtime, as it would be shipped. All files are held against the torch
network on the test images. The same files of one subnet, of all runtimes, are loaded together and read in random order,
round after round; a latency is the median over the rounds of the ratio to the fp32 file under ONNX Runtime in the same
round. Prints Markdown; under three minutes for the embedded supernet. On large
networks the choice of layers for mixed int8 takes minutes; ``--max-macs`` bounds the range.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from fednas.common import FednasError, parse_count, parse_share
from fednas.export import (
    RUNTIME_PRECISIONS,
    ArtefactEvidence,
    CalibrationImages,
    Int8Graph,
    ModelInput,
    ModelMetadata,
    OrtRunner,
    Precision,
    choose_float_layers,
    fp16_from_onnx,
    onnx_from_module,
    runner_for,
    runtime_files_from_onnx,
    tolerance_for,
    verify_artefact,
)
from fednas.profiles import LOCAL, find_profile, this_machine
from fednas.toolchain.measure.model_file import median_interval
from fednas.toolchain.measure.runtimes import TimedModel, find_runtime
from fednas.toolchain.search.exact import cheapest
from fednas.toolchain.search.limits import Limit, macs_quantity
from fednas.toolchain.search.request import Budgets, answer_search
from fednas.toolchain.ship.precisions import calibration_images
from fednas.toolchain.ship.source import Source, open_source
from fednas.toolchain.space import Architecture
from fednas.toolchain.space.cost import cost_of
from fednas.toolchain.space.fitness import FitnessSettings
from fednas.toolchain.supernet import extract_subnet, recalibrate_batch_norm

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFERENCE = "onnxruntime"
MIXED = "mixed int8"
READING_MS, LEAST_ROUNDS = 2.0, 60
LOWER: tuple[Precision, ...] = ("fp32", "int8")
"""What calibration images are asked for; they serve fp16 too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One precision of a subnet, as an ONNX file."""

    label: str
    precision: Precision
    path: Path
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file under one runtime."""

    form: Form
    runtime: str
    size_bytes: int
    evidence: ArtefactEvidence
    ratio: tuple[float, float, float]
    """Latency, fp32 under ONNX Runtime = 1, with its 95 % interval."""


def frontier_subnets(source: Source, count: int, max_macs: int | None) -> list[Architecture]:
    """The fittest network within each of ``count`` limits on MACs, evenly from the smallest network to the fittest."""
    axis = macs_quantity(source.space, "network")
    least = cheapest(source.space, [Limit(axis, float("inf"))], 0, FitnessSettings.of_space(source.space))
    fittest = answer_search(source.space, Budgets(macs=max_macs), [])
    assert least is not None, "a space without networks"
    limits = np.linspace(least[0], fittest.macs, count).round().astype(int).tolist()
    return [answer_search(source.space, Budgets(macs=limit), []).architecture for limit in limits]


def forms_of(
    source: Source, architecture: Architecture, calibration: CalibrationImages, limit: float, folder: Path
) -> tuple[list[Form], "NDArray[np.float32]"]:
    """The files of every precision, and the logits (n, classes) of the torch network on the test images."""
    assert source.data is not None
    prepare = source.data.preprocessing.apply
    module = extract_subnet(source.loaded.supernet, architecture).eval()
    recalibrate_batch_norm(module, prepare(source.data.train.images), 2000)
    metadata = ModelMetadata(
        preprocessing=ModelInput.of(source.preprocessing),
        class_names=source.header.class_names,
        architecture=dict(architecture.as_dict()),
        tool_version="benchmark",
    )
    opset = find_profile(LOCAL).onnx_opset
    fp32 = onnx_from_module(module, folder / "fp32.onnx", opset=opset, metadata=metadata).path
    _, in_fp32 = fp16_from_onnx(fp32, folder / "fp16.onnx", calibration)
    graph = Int8Graph(fp32, calibration, REFERENCE, folder)
    forms = [
        Form(label="fp32", precision="fp32", path=fp32),
        Form(label="fp16", precision="fp16", path=folder / "fp16.onnx", remark=kept_remark(len(in_fp32))),
        Form(label="int8", precision="int8", path=graph.write(folder / "int8.onnx").path),
    ]
    mixed = choose_float_layers(graph, calibration.held_out, limit) if calibration.held_out else None
    if mixed is not None and mixed.kept:
        path = graph.write(folder / "mixed.onnx", mixed.kept).path
        forms.append(Form(label=MIXED, precision="int8", path=path, remark=kept_remark(len(mixed.kept))))
    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(prepare(source.data.test.images)), 256)
        logits = np.concatenate([module(batch).numpy() for batch in batches])
    return forms, logits


def kept_remark(layers: int) -> str:
    """What a reader must know about a file that is not all of its precision."""
    return f"{layers} layers kept in fp32" if layers else ""


def shipped_files(form: Form, runtime: str, folder: Path) -> tuple[Path, ...]:
    """The files that a runtime reads, as they would be shipped; the first names the network."""
    if runtime == REFERENCE:
        return (form.path,)
    own = folder / f"{form.label} {runtime}"
    own.mkdir()
    onnx_files = {form.precision: form.path, "fp32": form.path.with_name("fp32.onnx")}
    return runtime_files_from_onnx(runtime, form.precision, onnx_files, own).paths


def proven(source: Source, form: Form, runtime: str, path: Path, logits: "NDArray[np.float32]") -> ArtefactEvidence:
    """What running a file on the test images showed."""
    assert source.data is not None
    images, labels = source.data.preprocessing.apply(source.data.test.images), source.data.test.labels
    shape = source.preprocessing.input_shape
    with OrtRunner(path) if runtime == REFERENCE else runner_for(runtime, path, shape) as runner:
        return verify_artefact(runner, images, logits, tolerance=tolerance_for(form.precision), labels=labels)


def timed_model(runtime: str, form: Form, path: Path, shape: tuple[int, ...]) -> TimedModel:
    """The file, loaded to be timed."""
    found = find_runtime(runtime)
    # Tables of fp16 are not made with ONNX Runtime and OpenVINO, but their files of fp16 run like any other.
    precision = form.precision if form.precision in found.precisions else "fp32"
    return found.load(path, input_shape=shape, precision=precision)


def ratios(models: Mapping[tuple[str, str], TimedModel], seconds: float) -> dict[tuple[str, str], list[float]]:
    """For each model the ratio to fp32 under ONNX Runtime, round by round, read in random order."""
    calls = {key: model.repetitions(READING_MS) for key, model in models.items()}
    found: dict[tuple[str, str], list[float]] = {key: [] for key in models}
    order, rng, start = list(models), random.Random(0), time.perf_counter()  # noqa: S311 - an order, not a secret
    while time.perf_counter() - start < seconds or len(found[order[0]]) < LEAST_ROUNDS:
        rng.shuffle(order)
        reading = {}
        for key in order:
            models[key].call(2)
            reading[key] = models[key].call(calls[key])
        for key, latency_ms in reading.items():
            found[key].append(latency_ms / reading["fp32", REFERENCE])
    return found


def rows_of(
    source: Source,
    forms: Sequence[Form],
    logits: "NDArray[np.float32]",
    runtimes: Sequence[str],
    seconds: float,
    folder: Path,
) -> Iterator[Row]:
    """One subnet: every file under every runtime that takes it."""
    files = {
        (form.label, runtime): (form, shipped_files(form, runtime, folder))
        for form in forms
        for runtime in runtimes
        if runtime == REFERENCE or form.precision in RUNTIME_PRECISIONS[runtime]
    }
    shape = (1, *source.preprocessing.input_shape)
    with ExitStack() as stack:
        models = {
            key: stack.enter_context(timed_model(key[1], form, paths[0], shape)) for key, (form, paths) in files.items()
        }
        found = ratios(models, seconds)
    for (label, runtime), (form, paths) in files.items():
        readings = found[label, runtime]
        yield Row(
            form=form,
            runtime=runtime,
            size_bytes=sum(path.stat().st_size for path in paths),
            evidence=proven(source, form, runtime, paths[0], logits),
            ratio=(statistics.median(readings), *median_interval(readings)),
        )


def print_subnet(title: str, rows: Sequence[Row]) -> None:
    """The table of one subnet."""
    print(f"\n### {title}\n")
    print("| precision | runtime | file, kB | latency (95 %) | logit error | accuracy | lost, points (95 %) |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        latency = "{:.2f} ({:.2f} to {:.2f})".format(*row.ratio)
        accuracy, drop = row.evidence.artefact_accuracy, row.evidence.drop
        assert accuracy is not None
        assert drop is not None
        lost = f"{100 * drop.drop:+.2f} ({100 * drop.low:+.2f} to {100 * drop.high:+.2f})"
        verdict = "" if row.evidence.passed else ", REJECTED"
        error = row.evidence.parity.max_relative_error
        shown = "not finite" if error is None else f"{error:.1e}"
        file = f"{row.form.label} | {row.runtime} | {row.size_bytes / 1000:.0f}"
        print(f"| {file} | {latency} | {shown}{verdict} | {accuracy.share:.2%} | {lost} |")
    remarks = [f"{row.form.label}: {row.form.remark}" for row in rows if row.form.remark and row.runtime == REFERENCE]
    if remarks:
        print(f"\n{'; '.join(remarks)}.")


def print_summary(subnets: Sequence[Sequence[Row]]) -> None:
    """Over all subnets: medians, and the largest drop."""
    print("Medians over the subnets, with the smallest and largest; file and latency: fp32 under ONNX Runtime = 1.\n")
    print("| precision | runtime | subnets | file | latency | largest logit error | accuracy lost |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    keys = dict.fromkeys((row.form.label, row.runtime) for rows in subnets for row in rows)
    for label, runtime in keys:
        chosen = [
            (row, rows[0]) for rows in subnets for row in rows if (row.form.label, row.runtime) == (label, runtime)
        ]
        sizes = statistics.median(row.size_bytes / fp32.size_bytes for row, fp32 in chosen)
        latencies = [row.ratio[0] for row, _ in chosen]
        latency = f"{statistics.median(latencies):.2f} ({min(latencies):.2f} to {max(latencies):.2f})"
        errors = [row.evidence.parity.max_relative_error for row, _ in chosen]
        error = "not finite" if None in errors else f"{max(e for e in errors if e is not None):.1e}"
        drops = [100 * row.evidence.drop.drop for row, _ in chosen if row.evidence.drop is not None]
        lost = f"{min(drops):+.2f} to {max(drops):+.2f} points"
        print(f"| {label} | {runtime} | {len(chosen)} | {sizes:.2f} | {latency} | {error} | {lost} |")


def mixed_sentence(subnets: Sequence[Sequence[Row]], limit: float, calibration: CalibrationImages) -> str:
    """Where mixed int8 was asked for."""
    if calibration.held_out is None:
        return "Mixed int8 was not tried: there are too few validation images."
    asked = sum(any(row.form.label == MIXED for row in rows) for rows in subnets)
    images = len(calibration.held_out.inputs)
    return (
        f"int8 may lose {100 * limit:g} % of {images} validation images: {asked} of {len(subnets)} "
        "subnets needed mixed int8."
    )


def can_run(runtime: str) -> bool:
    """Whether the runtime and its converter are installed."""
    try:
        find_runtime(runtime).require()
    except FednasError:
        return False
    return True


def main() -> None:
    """Export, prove, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--supernet", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--subnets", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=8.0, help="of timing for each subnet")
    parser.add_argument("--max-accuracy-drop", default="1%")
    parser.add_argument("--max-macs", help="of the largest subnet, such as 100M")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runtimes = [REFERENCE, *(runtime for runtime in RUNTIME_PRECISIONS if can_run(runtime))]
    try:
        limit = parse_share(options.max_accuracy_drop, "--max-accuracy-drop")
        max_macs = None if options.max_macs is None else parse_count(options.max_macs, "--max-macs")
        source = open_source(options.supernet, options.data)
        calibration = calibration_images(source, LOWER, hold_out=True)
    except FednasError as err:
        parser.error(str(err))
    if source.data is None or calibration is None:
        parser.error("accuracy needs images: give --data")
    titles: list[str] = []
    tables: list[list[Row]] = []
    for architecture in frontier_subnets(source, options.subnets, max_macs):
        print(f"subnet {len(tables) + 1} of {options.subnets}", file=sys.stderr)
        with TemporaryDirectory() as folder:
            forms, logits = forms_of(source, architecture, calibration, limit, Path(folder))
            tables.append(list(rows_of(source, forms, logits, runtimes, options.seconds, Path(folder))))
        cost, accuracy = cost_of(source.space, architecture), tables[-1][0].evidence.source_accuracy
        titles.append(f"{cost.macs / 1e6:.1f} M MACs, {cost.params / 1e6:.2f} M parameters; torch: {accuracy}")
    versions = ", ".join(f"{name} {find_runtime(name).version()}" for name in runtimes)
    print(f"{this_machine().model}, one thread, batch 1; {versions}.")
    print(f"Supernet: {source.identity.name}; {len(source.data.test)} test images of {source.data.name}.")
    print(f"{mixed_sentence(tables, limit, calibration)}\n")
    print_summary(tables)
    for title, rows in zip(titles, tables, strict=True):
        print_subnet(title, rows)


if __name__ == "__main__":
    main()
