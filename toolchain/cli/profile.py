"""``profile``: measure what the blocks of a search space cost on a device, into a latency table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import AskedToEnd, FednasError, file_errors, make_folder, sha256_of, unknown_name
from fednas.profiles import PRECISIONS, find_profile
from fednas.toolchain.cli.options import ProfilesOption, SpaceOption, SupernetOption
from fednas.toolchain.cli.output import emit, note, progress_bar, warn
from fednas.toolchain.cli.parsing import refuse_input, space_from
from fednas.toolchain.cli.table import findings_text, summary_text

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyTable
    from fednas.profiles import DeviceProfile
    from fednas.toolchain.measure.runtimes import TimingRuntime

_PLANS = ("exhaustive", "sparse", "network")
profile_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None, no_args_is_help=False)


@profile_app.callback()
def profile(
    context: typer.Context,
    device: Annotated[
        str | None, typer.Option(help="Device that is measured; see `fednas-export devices`.", show_default=False)
    ] = None,
    space: SpaceOption = None,
    supernet: SupernetOption = None,
    runtime: Annotated[
        str | None, typer.Option(help="Runtime to measure with, one that `doctor` lists; default: the device's.")
    ] = None,
    precision: Annotated[str, typer.Option(help="Precision to measure: fp32, fp16 or int8.")] = "fp32",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images a call.")] = 1,
    plan: Annotated[
        str | None,
        typer.Option(
            help="What to measure: exhaustive (every distinct block), sparse (chosen networks and blocks, the rest "
            "modelled) or network (whole networks only, all blocks modelled).",
            show_default="exhaustive; network with TensorRT",
        ),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            help="Where to measure: local; ssh://user@host[:port], given once for each board; or kit:DIR, a folder to "
            "carry to a board without network.",
            show_default="local",
        ),
    ] = None,
    board_python: Annotated[
        str | None, typer.Option(help="Python of the board over ssh, such as ~/venv/bin/python; default python3.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the readings of an interrupted run.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for readings, at least nine of each model.")] = 10.0,
    tails: Annotated[
        bool,
        typer.Option(
            "--tails", help="Go on, for ten times --seconds at most, until p10 and p90 of everything can be claimed."
        ),
    ] = False,
    accept_unfit: Annotated[
        bool, typer.Option("--accept-unfit", help="Write the table of an unfit machine, marked as such.")
    ] = False,
    power_mode: Annotated[
        str | None, typer.Option(help="Set this power mode by its name meanwhile (Jetson); needs root.")
    ] = None,
    lock_clocks: Annotated[
        bool, typer.Option("--lock-clocks", help="Lock the clocks at their highest meanwhile; needs root.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Table file; default DEVICE-PRECISION.latency.json here.")] = None,
    profiles: ProfilesOption = None,
) -> None:
    """Measure the blocks of a search space on this machine and write its latency table.

    Without --space or --supernet, the embedded space. Exit code 5 if the machine is not fit to measure (other
    programs, heat, drift); --resume then goes on with the readings so far. The raw readings are kept beside the
    table, in a file that ends in .readings.jsonl. Clocks and power modes are put back afterwards.

    --over ssh://user@host measures on a board with your own ssh and its keys, in a temporary folder that is removed.
    --over kit:DIR writes a folder instead, with a script that measures on any board; `profile import` reads what
    it brings home.
    """
    if context.invoked_subcommand is not None:
        return
    if device is None:
        raise typer.BadParameter("it is missing; which device is to be measured?", context, param_hint="--device")
    places = over or ["local"]
    if places != ["local"]:
        from fednas.toolchain.cli.profile_kit import KitOptions, write_kit_folder
        from fednas.toolchain.cli.profile_ssh import SshOptions, profile_boards

        options = KitOptions(
            device=device,
            space=space,
            supernet=supernet,
            runtime=runtime,
            precision=precision,
            threads=threads,
            batch=batch,
            plan=plan,
            seconds=seconds,
            profiles=profiles,
        )
        unused = {"--power-mode": power_mode is not None, "--lock-clocks": lock_clocks, "--tails": tails}
        if all(place.startswith("ssh://") for place in places):
            ssh = SshOptions(over=places, python=board_python, resume=resume, accept_unfit=accept_unfit, out=out)
            profile_boards(options, ssh, _given(unused))
            return
        unused |= {"--out": out is not None, "--resume": resume, "--accept-unfit": accept_unfit}
        unused |= {"--board-python": board_python is not None}
        write_kit_folder(options, _kit_folder(places), _given(unused))
        return
    if board_python is not None:
        raise FednasError("--board-python is given, but no board over ssh", hint="leave it out")
    _check_names(precision, plan)
    target = find_profile(device, profiles)
    timing = _timing_runtime(runtime or target.runtime, target)
    plan = plan or ("network" if timing.networks_only else _PLANS[0])
    measured_space = space_from(space, supernet)
    # Heavy from here on: the checks above answer at once.
    from fednas.latency_tables import readings_path, save_table
    from fednas.toolchain.measure import clocks_as_asked, profile_space
    from fednas.toolchain.measure.alone import only_run

    path = out or Path(f"{target.name}-{precision}.latency.json")
    if path.is_dir():
        raise FednasError(f"--out {path} is a folder, not a file", hint="name the table file inside it")
    refuse_input("--out", path, space, supernet)
    make_folder(path.parent, "folder of the table")
    context.with_resource(only_run(path))
    partial = path.with_name(path.name + ".partial")
    if partial.exists() and not resume:
        warn(f"{partial} of an earlier run is replaced; --resume would have gone on with it")
    try:
        gpu = target.processor == "gpu"
        with (
            clocks_as_asked(path.parent, power_mode=power_mode, lock=lock_clocks, gpu=gpu),
            progress_bar("measuring") as progress,
        ):
            table = profile_space(
                measured_space,
                target,
                plan=plan,
                runtime=timing.name,
                precision=precision,
                threads=threads,
                batch=batch,
                seconds=seconds,
                tails=tails,
                partial=partial,
                resume=resume,
                accept_unfit=accept_unfit,
                progress=progress,
            )
    except (KeyboardInterrupt, AskedToEnd):
        note(f"the readings so far stand in {partial}; --resume goes on with them")
        raise
    save_table(table, path)
    with file_errors(readings_path(path)):
        partial.replace(readings_path(path))
    if tails and (lacking := _without_tails(table)):
        warn(
            f"{lacking} lack p10 and p90: ten times --seconds were over before they had readings enough; "
            "give more --seconds"
        )
    tell_table(table, path)


def tell_table(table: "LatencyTable", path: Path) -> None:
    """Print what was written as ``path`` and how far it can be trusted."""
    emit(*told(table, path))


def _without_tails(table: "LatencyTable") -> str:
    """How many blocks and networks were measured too rarely for p10 and p90; empty if none was."""
    blocks = sum(entry.origin == "measured" and entry.p90_ms is None for entry in table.entries)
    networks = sum(network.p90_ms is None for network in table.networks)
    return f"{blocks} blocks and {networks} networks" if blocks or networks else ""


def told(table: "LatencyTable", path: Path) -> tuple[dict[str, object], str]:
    """The file, what was measured and what lint says: as JSON, and as text."""
    from fednas.latency_tables import lint

    findings = lint(table)
    document = {
        "table": str(path),
        "sha256": sha256_of(path),
        "entries": len(table.entries),
        "session": table.session,
        "layers": table.layers,
        "report": table.report,
        "interval": table.interval,
        "findings": findings,
    }
    checked = f"\n\n{findings_text(findings)}" if findings else ""
    return document, f"{summary_text(table)}\n{'table':<14} {path}, {len(table.entries)} blocks{checked}"


def _kit_folder(places: Sequence[str]) -> str:
    if len(places) > 1:
        raise FednasError(f"--over is given {len(places)} times", hint="only ssh:// boards are measured together")
    if not places[0].startswith("kit:"):
        raise FednasError(f"--over {places[0]!r} is no place to measure", hint="use local, ssh://user@host or kit:DIR")
    return places[0].removeprefix("kit:")


def _given(options: Mapping[str, bool]) -> list[str]:
    return [option for option, given in options.items() if given]


def _timing_runtime(name: str, device: "DeviceProfile") -> "TimingRuntime":
    """The runtime of that name; raises `FednasError` unless it can time models of the device here."""
    from fednas.toolchain.measure import require_this_machine
    from fednas.toolchain.measure.runtimes import find_runtime

    runtime = find_runtime(name)
    if runtime.on_gpu != (device.processor == "gpu"):
        raise FednasError(
            f"--runtime {name} runs on {'a GPU' if runtime.on_gpu else 'the processor'}, and {device.name} is not one",
            hint="give the device that it runs on",
        )
    # Before what is missing here: the device may be another machine.
    require_this_machine(device, on_gpu=runtime.on_gpu)
    runtime.require()
    return runtime


def _check_names(precision: str, plan: str | None) -> None:
    """Raise `FednasError` for option values that do not exist."""
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if plan is not None and plan not in _PLANS:
        raise unknown_name("plan", plan, _PLANS)
