"""``cache``: the Pareto-optimal training curriculum of a search space."""

from pathlib import Path
from typing import Annotated

import typer

from fednas.common import format_count, parse_count
from fednas.toolchain.cli.options import AccountingOption, SpaceOption
from fednas.toolchain.cli.output import emit, note, progress_bar
from fednas.toolchain.cli.parsing import accounting_from, space_from


def cache(
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    space: SpaceOption = None,
    count: Annotated[int, typer.Option(help="Rows wanted.")] = 60,
    min_macs: Annotated[str | None, typer.Option(help="Smallest MACs budget; the smallest network by default.")] = None,
    max_macs: Annotated[str | None, typer.Option(help="Largest MACs budget; the largest network by default.")] = None,
    accounting: AccountingOption = "network",
) -> None:
    """Write the fittest subnets at equidistant MACs budgets, each proven optimal, without duplicates.

    The smallest and the largest network of the space are always rows. Without --space, the embedded space.
    """
    from fednas.toolchain.search.cache import make_cache, write_cache

    low = None if min_macs is None else parse_count(min_macs, "--min-macs")
    high = None if max_macs is None else parse_count(max_macs, "--max-macs")
    chosen = accounting_from(accounting)
    with progress_bar("cache") as progress:
        rows = make_cache(space_from(space), count, min_macs=low, max_macs=high, accounting=chosen, progress=progress)
    write_cache(out, rows)
    if len(rows) < count:
        note(f"{len(rows)} of {count} rows: equal optima at neighbouring budgets were merged")
    first, last = rows[0], rows[-1]
    span = f"{format_count(first.macs)} to {format_count(last.macs)} MACs ({chosen} accounting)"
    emit(
        {"out": str(out), "rows": len(rows), "min_macs": first.macs, "max_macs": last.macs, "accounting": chosen},
        f"{out}: {len(rows)} subnets from {span}",
    )
