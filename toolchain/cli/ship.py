"""The main job: what the command line does without a subcommand."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import FednasError, format_bytes, format_count, format_latency_ms
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
from fednas.toolchain.cli.output import as_json, emit, note, progress_bar, table
from fednas.toolchain.cli.parsing import budgets_from

if TYPE_CHECKING:
    from fednas.export import Budget, Latency
    from fednas.toolchain.ship import ShippedDevice


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
    precision: Annotated[str, typer.Option(help="Precisions to export, separated by commas; fp32 so far.")] = "fp32",
    data: Annotated[
        str | None,
        typer.Option(help="Images: digits, cifar10:DIR, cifar100:DIR, cinic10:DIR, folder:DIR, npz:FILE or none."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write into; one folder a device.")] = Path("shipped"),
    arch: Annotated[Path | None, typer.Option(help="Export this architecture (JSON) instead of searching.")] = None,
    latency_table: TableOption = None,
    recalibrate: Annotated[bool, typer.Option(help="Recalibrate batch norms on training images.")] = True,
    profile_seconds: Annotated[
        float,
        typer.Option(min=0.0, help="Time to measure blocks where this machine is the device; 0: estimate instead."),
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
        typer.echo(context.get_help())
        raise typer.Exit
    from fednas.toolchain.ship import ShipJob, ship
    from fednas.toolchain.ship.job import worst_exit_code

    job = ShipJob(
        devices={name: find_profile(name, profiles) for name in device},
        supernet=supernet,
        budgets=budgets_from(max_latency, max_macs, max_params, max_size),
        precisions=tuple(part.strip() for part in precision.split(",")),
        data=data,
        out=out,
        architecture=arch,
        table=latency_table,
        recalibrate=recalibrate,
        profile_seconds=profile_seconds,
        profiles=profiles,
    )
    if supernet is None:
        note("no --supernet given: using the embedded one, trained on scikit-learn's digits (8x8 grey images)")
    with progress_bar("export") as progress:
        shipped = ship(job, progress)
    emit(_document(shipped), _text(shipped))
    raise typer.Exit(code=int(worst_exit_code(shipped)))


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
    return "\n\n".join(_device_text(found) for found in shipped)


def _device_text(found: "ShippedDevice") -> str:
    manifest = found.manifest
    shipment, model = manifest.shipment, manifest.models[0]
    evidence = model.evidence
    size = next(file.size_bytes for file in manifest.files if file.name == model.file)
    genes = shipment.architecture
    rows = [
        ("status", f"{manifest.status}{'; ' if manifest.reasons else ''}{'; '.join(manifest.reasons)}"),
        ("architecture", f"depths {genes['d']}, widths {genes['w_indices']}, ratios {_ratios(genes['e'])}"),
        ("chosen", _chosen(found)),
        ("cost", f"{format_count(shipment.macs)} MACs, {format_count(shipment.params)} parameters"),
        ("file", f"{model.file}, {format_bytes(size)}, ONNX opset {model.opset}"),
        ("accuracy", str(evidence.artefact_accuracy or "not checked: no data")),
        ("torch accuracy", str(evidence.source_accuracy or "not checked: no data")),
        (
            "parity",
            f"largest logit error {evidence.parity.max_relative_error:.2g} of scale, "
            f"same class on {evidence.parity.top1_agreement:.2%} of {evidence.parity.images}"
            if evidence.parity.max_relative_error is not None
            else "FAILED: logits are not finite",
        ),
        *_latency_rows(shipment.latency),
        *((f"budget {b.quantity}", _budget_text(b)) for b in shipment.budgets),
        ("folder", f"{found.folder} (start with report.md)"),
    ]
    return table(rows, ("", shipment.device.title))


def _ratios(ratios: Sequence[float]) -> str:
    return "all " + str(ratios[0]) if len(set(ratios)) == 1 else str(list(ratios))


def _chosen(found: "ShippedDevice") -> str:
    search = found.manifest.shipment.search
    if search is None:
        return "given, not searched"
    proof = "proven to be the fittest" if search.status == "optimal" else f"at most {search.gap:.3%} below the fittest"
    within = "within the budgets" if found.manifest.shipment.budgets else "of the whole space (no budget was given)"
    return f"{proof} {within}"


def _latency_rows(latency: "Latency") -> list[tuple[str, str]]:
    rows = []
    if latency.predicted is not None:
        p = latency.predicted
        kind = "predicted" if latency.kind == "measured" else "ESTIMATED"
        interval = f"{p.coverage:.0%} interval {format_latency_ms(p.low_ms)} to {format_latency_ms(p.high_ms)}"
        rows.append((f"{kind} latency", f"{format_latency_ms(p.latency_ms)} ({interval})"))
    if latency.measured is not None:
        m = latency.measured
        span = f"95% interval {format_latency_ms(m.low_ms)} to {format_latency_ms(m.high_ms)}"
        rows.append(("measured latency", f"{format_latency_ms(m.median_ms)} ({span}; {m.threads} thread, {m.runtime})"))
    else:
        rows.append(("measured latency", f"none: {latency.not_measured_because}"))
    return rows


def _budget_text(budget: "Budget") -> str:
    show = {"ms": format_latency_ms, "bytes": format_bytes}.get(budget.unit, format_count)
    value = "unknown" if budget.value is None else show(budget.value)
    return f"{budget.verdict}: {value} of {show(budget.limit)} ({budget.basis})"
