"""The main job: what the command line does without a subcommand."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fednas.common import FednasError, parse_share, unknown_name
from fednas.profiles import find_profile
from fednas.toolchain.cli.engine_options import engine_options, prepare_engines, require_tensorrt_device
from fednas.toolchain.cli.options import (
    MaxLatencyOption,
    MaxMacsOption,
    MaxParamsOption,
    MaxSizeOption,
    ProfilesOption,
    SupernetOption,
    TableOption,
)
from fednas.toolchain.cli.output import emit, note, progress_bar, settings, warn
from fednas.toolchain.cli.parsing import budgets_from, finite_seconds, given_parameters
from fednas.toolchain.cli.ship_text import shipped_document, shipped_text, warnings_of

if TYPE_CHECKING:
    from fednas.export import InputType
    from fednas.profiles import DeviceProfile


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
            min=0.0,
            callback=finite_seconds,
            help="Time to measure blocks, and each TensorRT engine, where this machine is the device; "
            "0: measure nothing, estimate.",
        ),
    ] = 6.0,
    profiles: ProfilesOption = None,
) -> None:
    """Export the best subnet of a federated supernet for a device, with proof that accuracy survived.

    Without a command: search, extract, recalibrate, export to ONNX, prove parity and accuracy on held-out
    images, measure where this machine is the device, and write one folder a device that can be shipped.
    Without --supernet, the embedded one (trained on scikit-learn's digits) is used.

    Exit codes: 0 done; 1 something you can mend; 2 wrong usage; 3 a budget is missed; 4 verification failed;
    5 cannot tell; 70 a bug of ours; 130 interrupted; 143 ended by SIGTERM.
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
    parameters = given_parameters(context)
    require_tensorrt_device(parameters, list(devices.values()))
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
        engine=engine_options(workspace, optimization_level, engine_batches, timing_caches),
        max_accuracy_drop=_accuracy_drop(max_accuracy_drop),
    )
    prepare_engines(parameters, job.engine, list(devices.values()))
    if supernet is None:
        note("no --supernet given: using the embedded one, trained on scikit-learn's digits (8x8 grey images)")
    with progress_bar("export") as progress:
        shipped = ship(job, progress, warn)
    emit(shipped_document(shipped), shipped_text(shipped))
    for warning in (f"{found.name}: {text}" for found in shipped for text in warnings_of(found)):
        warn(warning)
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


def _accuracy_drop(text: str | None) -> float | None:
    return None if text is None else parse_share(text, "--max-accuracy-drop", example="1% or 0.01")


def _input_type(text: str) -> "InputType":
    known: dict[str, InputType] = {"float32": "float32", "uint8": "uint8"}
    if text not in known:
        raise unknown_name("input type", text, known)
    return known[text]


def _help_or_error(context: typer.Context) -> NoReturn:
    """The help for the bare program name; an error for options that would do nothing without a device."""
    if settings.json or given_parameters(context) - {"json", "quiet"}:
        raise FednasError("no device was named", hint="add --device cpu; `fednas-export devices` lists all")
    typer.echo(context.get_help())
    raise typer.Exit
