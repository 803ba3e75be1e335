"""``profile import``: the table of what a kit measured."""

from pathlib import Path
from typing import Annotated

import typer

from fednas.common import FednasError, collector_paused, make_folder
from fednas.toolchain.cli.output import note
from fednas.toolchain.cli.profile import tell_table


def import_results(
    context: typer.Context,
    results: Annotated[Path, typer.Argument(help="The results.json that measure.py wrote; packed with gzip, or not.")],
    kit: Annotated[
        Path | None, typer.Option(help="The kit as it was written here: the results must be of exactly this one.")
    ] = None,
    accept_unfit: Annotated[
        bool, typer.Option("--accept-unfit", help="Write the table of an unfit machine, marked as such.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Table file; default DEVICE-PRECISION.latency.json here.")] = None,
) -> None:
    """Make a latency table of the results that a kit brought home.

    The file is checked before anything is believed: its digest, every number, every candidate of the plan. Digests
    show damage and mistakes; only --kit shows that it is the kit you wrote. Exit code 5 if the board was not fit to
    measure.
    """
    from fednas.latency_tables import save_table
    from fednas.toolchain.measure.alone import only_run
    from fednas.toolchain.measure.kit import read_kit, read_results
    from fednas.toolchain.measure.profiling import table_of
    from fednas.toolchain.measure.unfit import Remedy, UnfitMachine

    context.with_resource(collector_paused())
    collected = read_results(results, kit=read_kit(kit) if kit is not None else None)
    job = collected.job
    path = out or Path(f"{job.device}-{job.precision}.latency.json")
    if path.is_dir():
        raise FednasError(f"--out {path} is a folder, not a file", hint="name the table file inside it")
    if path.exists() and path.samefile(results):
        raise FednasError(f"--out {path} is the file of the results itself", hint="choose another name")
    make_folder(path.parent, "folder of the table")
    context.with_resource(only_run(path))
    try:
        table = table_of(collected, accept_unfit=accept_unfit, readings=results)
    except UnfitMachine as err:
        again = err.remedy.value
        if err.remedy is Remedy.MORE:
            again = "measure.py --seconds with more goes on there"
        elif err.remedy is Remedy.ANEW:
            again = "delete readings.partial there and measure again: what is read stays as it is"
        hint = f"{again}; --accept-unfit writes the table all the same"
        raise err.advised(hint) from err
    save_table(table, path)
    if kit is None:
        note(f"not compared with the kit that was written here; --kit DIR does (device {job.device})")
    tell_table(table, path)
