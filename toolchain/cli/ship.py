"""The main job: what the command line does without a subcommand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fednas.common import (
    FednasError,
    format_bytes,
    format_count,
    format_latency_ms,
    make_folder,
    parse_bytes,
    parse_share,
    unknown_name,
)
from fednas.profiles import find_profile
from fednas.toolchain.cli.options import (
    MaxLatencyOption,
    MaxMacsOption,
    MaxParamsOption,
    MaxSizeOption,
    ProfilesOption,
    SupernetOption,
    TableOption,
)
from fednas.toolchain.cli.output import as_json, emit, note, progress_bar, settings, table, warn
from fednas.toolchain.cli.parsing import budgets_from

if TYPE_CHECKING:
    from fednas.export import Budget, Candidate, ConvertedModel, EngineOptions, InputType, Latency, Manifest, Model
    from fednas.profiles import DeviceProfile
    from fednas.toolchain.ship import ShippedDevice


INDEX_MARKDOWN = "index.md"
NOT_COMPARED = "NOT compared"


def fednas_export(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")] = False,  # noqa: ARG001
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only warnings and errors on stderr.")] = False,  # noqa: ARG001
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    device: Annotated[
        list[str] | None, typer.Option(help="Device to export for; may be repeated. `devices` lists them.")
    ] = None,
    supernet: SupernetOption = None,
    max_latency: MaxLatencyOption = None,
    max_macs: MaxMacsOption = None,
    max_params: MaxParamsOption = None,
    max_size: MaxSizeOption = None,
    precision: Annotated[
        str,
        typer.Option(help="fp32, fp16, int8, separated by commas; budgets are judged on the first, fp32 always ships."),
    ] = "fp32",
    fp16_io: Annotated[bool, typer.Option("--fp16-io", help="The fp16 file also takes and gives fp16.")] = False,
    max_accuracy_drop: Annotated[
        str | None, typer.Option(help="Test images that a file may lose against the source, such as 1%.")
    ] = None,
    input_type: Annotated[
        str,
        typer.Option("--input", help="What the files read: float32 (normalised), or uint8 pixels."),
    ] = "float32",
    candidates: Annotated[
        int, typer.Option(min=1, max=16, help="Networks near the latency budget to compare by measurement.")
    ] = 1,
    runtime: Annotated[
        list[str] | None,
        typer.Option(help="Ship the own files of these runtimes too: openvino, ncnn, separated by commas."),
    ] = None,
    workspace: Annotated[
        str | None, typer.Option(help="Memory for building a TensorRT engine on this machine, such as 1GiB; 512MiB.")
    ] = None,
    optimization_level: Annotated[
        int, typer.Option(min=0, max=5, help="Of such an engine: 0 builds quickly, 5 builds the fastest.")
    ] = 3,
    engine_batches: Annotated[
        str, typer.Option(help="Smallest, tuned and largest batch of such an engine.", metavar="S,T,L")
    ] = "1,1,8",
    timing_caches: Annotated[
        Path | None, typer.Option(help="Folder where TensorRT keeps its timings, so that the next build is quick.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Images: digits, cifar10:DIR, cifar100:DIR, cinic10:DIR, folder:DIR, npz:FILE or none."),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="TOML file with what you say about the model: license, intended_use, ...")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write into; one folder a device.")] = Path("shipped"),
    arch: Annotated[Path | None, typer.Option(help="Export this architecture (JSON) instead of searching.")] = None,
    latency_table: TableOption = None,
    recalibrate: Annotated[bool, typer.Option(help="Recalibrate batch norms on training images.")] = True,
    profile_seconds: Annotated[
        float,
        typer.Option(
            min=0.0, help="Time to measure blocks where this machine is the device; 0: measure nothing, estimate."
        ),
    ] = 6.0,
    profiles: ProfilesOption = None,
) -> None:
    """Export the best subnet of a federated supernet for a device, with proof that accuracy survived.

    Without a command: search, extract, recalibrate, export to ONNX, prove parity and accuracy on held-out
    images, measure where this machine is the device, and write one folder a device that can be shipped.
    Without --supernet, the embedded one (trained on scikit-learn's digits) is used.

    Exit codes: 0 done; 1 something you can mend; 2 wrong usage; 3 a budget is missed; 4 verification failed;
    5 cannot tell; 70 a bug of ours; 130 interrupted.
    """
    if version:
        from fednas.profiles import installed_version

        emit({"version": installed_version("fednas-export")}, f"fednas-export {installed_version('fednas-export')}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        if device or arch or supernet:
            raise FednasError(
                "options of the main job were given before a command",
                hint=f"put them after {context.invoked_subcommand}",
            )
        return
    if not device:
        _help_or_error(context)
    budgets = budgets_from(max_latency, max_macs, max_params, max_size, of_file=True)
    devices = _distinct_devices(device or (), profiles)
    from fednas.export import tolerance_for
    from fednas.toolchain.ship import ShipJob, ship
    from fednas.toolchain.ship.job import worst_exit_code

    job = ShipJob(
        devices=devices,
        supernet=supernet,
        budgets=budgets,
        precisions=tuple(tolerance_for(part.strip()).precision for part in precision.split(",")),
        data=data,
        out=out,
        architecture=arch,
        table=latency_table,
        recalibrate=recalibrate,
        profile_seconds=profile_seconds,
        profiles=profiles,
        fp16_io=fp16_io,
        input_type=_input_type(input_type),
        candidates=candidates,
        card=card,
        runtimes=tuple(part.strip() for given in runtime or () for part in given.split(",")),
        engine=_engine_options(workspace, optimization_level, engine_batches, timing_caches),
        max_accuracy_drop=None if max_accuracy_drop is None else parse_share(max_accuracy_drop, "--max-accuracy-drop"),
    )
    if supernet is None:
        note("no --supernet given: using the embedded one, trained on scikit-learn's digits (8x8 grey images)")
    with progress_bar("export") as progress:
        shipped = ship(job, progress)
    emit(_document(shipped), _text(shipped))
    _warnings(shipped)
    raise typer.Exit(code=int(worst_exit_code(shipped)))


def _distinct_devices(names: Sequence[str], profiles: Path | None) -> "dict[str, DeviceProfile]":
    """By the name typed; a device that was named twice, perhaps by an alias, is exported once."""
    devices: dict[str, DeviceProfile] = {}
    for name in names:
        profile = find_profile(name, profiles)
        first = next((typed for typed, known in devices.items() if known.name == profile.name), None)
        if first is None:
            devices[name] = profile
        else:
            same = "was given twice" if name == first else f"is the same device as --device {first}"
            note(f"--device {name} {same}: exported once, as {first}")
    return devices


def _engine_options(
    workspace: str | None, optimization_level: int, batches: str, timing_caches: Path | None
) -> "EngineOptions":
    from fednas.export import BatchRange, EngineOptions

    sizes = batches.split(",")
    if len(sizes) != 3 or not all(size.strip().isdecimal() for size in sizes):
        raise FednasError(f"--engine-batches {batches!r} is not three whole numbers", hint="such as 1,1,8")
    smallest, tuned, largest = map(int, sizes)
    if timing_caches is not None:
        make_folder(timing_caches, "folder of timing caches")
    options = EngineOptions(
        optimization_level=optimization_level,
        batches=BatchRange(smallest=smallest, tuned=tuned, largest=largest),
        timing_caches=timing_caches,
    )
    return options if workspace is None else replace(options, workspace_bytes=parse_bytes(workspace, "--workspace"))


def _input_type(text: str) -> "InputType":
    known: dict[str, InputType] = {"float32": "float32", "uint8": "uint8"}
    if text not in known:
        raise unknown_name("input type", text, known)
    return known[text]


def _help_or_error(context: typer.Context) -> NoReturn:
    """The help for the bare program name; an error for options that would do nothing without a device."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if settings.json or [name for name in given if name not in ("json", "quiet")]:
        raise FednasError("no device was named", hint="add --device cpu; `fednas-export devices` lists all")
    typer.echo(context.get_help())
    raise typer.Exit


def _document(shipped: "Sequence[ShippedDevice]") -> dict[str, object]:
    return {
        "devices": [
            {
                "device": found.name,
                "folder": str(found.folder),
                "exit_code": int(found.exit_code),
                "manifest": as_json(found.manifest),
            }
            for found in shipped
        ]
    }


def _text(shipped: "Sequence[ShippedDevice]") -> str:
    parts = [_device_text(found) for found in shipped]
    if (index := shipped[0].folder.parent / INDEX_MARKDOWN).exists():
        parts.append(f"index of all device folders: {index}")
    return "\n\n".join(parts)


def _device_text(found: "ShippedDevice") -> str:
    from fednas.export import Outcome

    manifest = found.manifest
    shipment, evidence = manifest.shipment, manifest.models[0].evidence
    genes = shipment.architecture
    rows = [
        ("status", "; ".join((str(Outcome.of(manifest.status, shipment, manifest.models)), *manifest.reasons))),
        ("architecture", f"depths {genes['d']}, widths {genes['w_indices']}, ratios {_ratios(genes['e'])}"),
        ("chosen", _chosen(found)),
        *_candidates_row(shipment.candidates),
        ("cost", f"{format_count(shipment.macs)} MACs, {format_count(shipment.params)} parameters"),
        ("torch accuracy", str(evidence.source_accuracy or "not checked: no data")),
        *(row for model in manifest.models for row in _model_rows(model, manifest)),
        *_latency_rows(shipment.latency, shipment.precision),
        *((f"budget {b.quantity}", _budget_text(b)) for b in shipment.budgets),
        ("folder", f"{found.folder} (start with report.md)"),
    ]
    return table(rows, ("", shipment.device.title))


def _model_rows(model: "Model", manifest: "Manifest") -> list[tuple[str, str]]:
    size = next(file.size_bytes for file in manifest.files if file.name == model.file)
    layers = f", layers: {model.census}" if model.census and model.precision != "fp32" else ""
    evidence, parity = model.evidence, model.evidence.parity
    rows = [
        (f"{model.precision} file", f"{model.file}, {format_bytes(size)}, ONNX opset {model.opset}{layers}"),
        (f"{model.precision} accuracy", str(evidence.artefact_accuracy or "not checked: no data")),
        (
            f"{model.precision} parity",
            f"largest logit error {parity.max_relative_error:.2g} of scale, "
            f"same class on {parity.top1_agreement:.2%} of {parity.images}"
            if parity.max_relative_error is not None
            else "FAILED: logits are not finite",
        ),
    ]
    drop = evidence.drop
    if drop is not None and (drop.limit is not None or model.precision != "fp32"):
        rows.append((f"{model.precision} accuracy drop", drop.with_verdict))
    rows += [_converted_row(model, converted) for converted in model.converted]
    rows += [(f"{model.precision} {each.runtime}", f"FAILED, not shipped: {each.reason}") for each in model.failed]
    if model.kept_fp32:
        rows.append((f"{model.precision} kept in fp32", f"{len(model.kept_fp32)} layers that could overflow"))
    if model.mixed is not None:
        kept, of_all = len(model.mixed.kept), len(model.mixed.sensitivity)
        rows.append((f"{model.precision} kept in fp32", f"{kept} of {of_all} layers, for the accuracy limit"))
    if model.engine is not None:
        engine = model.engine
        latency = format_latency_ms(engine.latency.median_ms) if engine.latency else "latency not measured"
        read = f"{latency}, layers: {engine.layers}"
        rows.append((f"{model.precision} engine", f"TensorRT {engine.tensorrt_version}, {read}"))
    if model.measured is not None and model.precision != manifest.shipment.precision:
        rows.append((f"{model.precision} latency", f"{format_latency_ms(model.measured.median_ms)} (measured)"))
    return rows


def _converted_row(model: "Model", converted: "ConvertedModel") -> tuple[str, str]:
    parity = converted.evidence.parity
    reasons = model.reasons_of(converted)
    found = (
        f"FAILED: {'; '.join(reasons)}"
        if reasons
        else f"largest logit error {parity.max_relative_error:.2g} of scale, same class on {parity.top1_agreement:.2%}"
    )
    return f"{model.precision} {converted.runtime}", f"{', '.join(converted.files)}: {found}"


def _ratios(ratios: Sequence[float]) -> str:
    return "all " + str(ratios[0]) if len(set(ratios)) == 1 else str(list(ratios))


_KEPT: dict[str, str] = {
    "met": "the fittest of {} measured candidates that keeps to the budget",
    "cannot tell": "the fittest of {} measured candidates that may keep to the budget; none certainly does",
    "missed": "the fastest of {} measured candidates; none keeps to the budget",
}


def _chosen(found: "ShippedDevice") -> str:
    search = found.manifest.shipment.search
    if search is None:
        return "given, not searched"
    if search.gap is None:
        candidates = found.manifest.shipment.candidates
        kept = next((each.verdict for each in candidates if each.kept), "cannot tell")
        return _KEPT[kept].format(sum(each.measured is not None for each in candidates))
    proof = "proven to be the fittest" if search.status == "optimal" else f"at most {search.gap:.3%} below the fittest"
    within = "within the budgets" if found.manifest.shipment.budgets else "of the whole space (no budget was given)"
    return f"{proof} {within}"


def _candidates_row(candidates: "Sequence[Candidate]") -> list[tuple[str, str]]:
    """Whether the candidates asked for were compared; nothing where none were."""
    if not candidates:
        return []
    missing = [each for each in candidates if each.measured is None]
    if not missing:
        return [("candidates", f"{len(candidates)} measured against each other; report.md lists them")]
    why = "; ".join(dict.fromkeys(each.not_measured_because for each in missing))
    if len(missing) == len(candidates):
        return [("candidates", f"{NOT_COMPARED}: none of {len(candidates)} was measured: {why}")]
    kept = "; kept by prediction: those measured miss the budget" if any(each.kept for each in missing) else ""
    return [("candidates", f"{len(missing)} of {len(candidates)} not measured and left out: {why}{kept}")]


def _warnings(shipped: "Sequence[ShippedDevice]") -> None:
    """What must be seen also where nobody reads the table: with --quiet or --json."""
    for found in shipped:
        for doubt in found.doubts:
            warn(f"{found.name}: {doubt}")
        for _, text in _candidates_row(found.manifest.shipment.candidates):
            if text.startswith(NOT_COMPARED):
                warn(f"{found.name}: --candidates: {text}")


def _latency_rows(latency: "Latency", precision: str) -> list[tuple[str, str]]:
    rows = []
    if latency.predicted is not None:
        p = latency.predicted
        kind = "predicted" if latency.kind == "measured" else "ESTIMATED"
        interval = f"{p.coverage:.0%} interval {format_latency_ms(p.low_ms)} to {format_latency_ms(p.high_ms)}"
        other = "" if p.precision == precision else f"; of {p.precision}, none of {precision} is known"
        rows.append((f"{kind} latency", f"{format_latency_ms(p.latency_ms)} ({interval}{other})"))
    if latency.measured is not None:
        m = latency.measured
        span = f"95% interval {format_latency_ms(m.low_ms)} to {format_latency_ms(m.high_ms)}"
        rows.append(("measured latency", f"{format_latency_ms(m.median_ms)} ({span}; {m.threads} thread, {m.runtime})"))
        if m.state == "in turn" and m.alone_ms is not None:
            alone = f"{format_latency_ms(m.alone_ms)} call after call"
            rows.append(("", f"that is in turn with other networks, as tables are read; alone, {alone}"))
        from fednas.toolchain.ship.readings import outside_of_prediction

        if outside_of_prediction(latency):
            rows.append(("", "outside of the predicted interval; report.md says what may differ"))
    else:
        rows.append(("measured latency", f"none: {latency.not_measured_because}"))
    return rows


def _budget_text(budget: "Budget") -> str:
    show = {"ms": format_latency_ms, "bytes": format_bytes}.get(budget.unit, format_count)
    value = "unknown" if budget.value is None else show(budget.value)
    text = f"{budget.verdict}: {value} of {show(budget.limit)} ({budget.basis})"
    return f"{text}; a fitter network needs {budget.next_to_tell.needs_text}" if budget.next_to_tell else text
