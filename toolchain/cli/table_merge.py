"""``table merge``: two tables of one machine made into one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import make_folder
from fednas.toolchain.cli.options import TableArgument
from fednas.toolchain.cli.output import emit, warn
from fednas.toolchain.cli.parsing import refuse_input
from fednas.toolchain.cli.table_show import summary_text

if TYPE_CHECKING:
    from fednas.toolchain.tables.merge import Merged


def merge(
    first: TableArgument,
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Table of the same machine and runtime.")],
    out: Annotated[Path, typer.Option(help="Table file to write; none of the inputs.")],
) -> None:
    """Merge two tables of the same machine, runtime and job; anything else is refused.

    Blocks in both are weighted by their samples, after the second was brought to the speed of the first's session;
    contradictions beyond noise are refused. The sources are kept with their sessions, each entry names its own.
    Energy is kept where one meter measured it on one network. Tables with modelled entries (plans sparse, network)
    are refused. The error is made anew from the networks that both tables kept; where they kept none, the merged
    table states no error and does not predict.
    """
    from fednas.latency_tables import save_table
    from fednas.toolchain.tables.merge import MergeInput
    from fednas.toolchain.tables.merge import merge as merge_tables

    inputs = MergeInput.read(first), MergeInput.read(second)
    refuse_input("--out", out, first, second)
    merged = merge_tables(*inputs)
    make_folder(out.parent, "folder of the table")
    save_table(merged.table, out)
    document = {
        "table": str(out),
        "entries": len(merged.table.entries),
        "shared": merged.shared,
        "from_first": merged.from_first,
        "from_second": merged.from_second,
        "speed": merged.speed,
        "report": merged.table.report,
        "interval": merged.table.interval,
        "why_no_error": merged.why_no_error,
        "energy": merged.table.energy,
        "why_no_energy": merged.why_no_energy,
    }
    emit(document, f"{summary_text(merged.table)}\n{_text(merged)}\n{'table':<14} {out}")
    if merged.why_no_energy:
        warn(f"the energy per call is left out: {merged.why_no_energy}")
    if merged.why_no_error:
        warn(f"the merged table states no error and will not predict: {merged.why_no_error}")


def _text(merged: "Merged") -> str:
    parts = f"{merged.shared} in both, {merged.from_first} only in the first, {merged.from_second} only in the second"
    speed = f"; the second's times were divided by {merged.speed:.3f}" if merged.shared else ""
    return f"{'blocks':<14} {len(merged.table.entries)}: {parts}{speed}"
