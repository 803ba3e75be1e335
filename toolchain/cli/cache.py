"""``cache``: the Pareto-optimal training curriculum of a search space."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fednas.common import FednasError, format_count, format_latency_ms, parse_count, parse_latency_ms, unknown_name
from fednas.toolchain.cli.options import AccountingOption, PrecisionOption, ProfilesOption, SpaceOption, TableOption
from fednas.toolchain.cli.output import emit, note, progress_bar
from fednas.toolchain.cli.parsing import accounting_from, latency_from, space_from


def cache(
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    space: SpaceOption = None,
    count: Annotated[int, typer.Option(help="Rows wanted.")] = 60,
    spacing: Annotated[
        str, typer.Option(help="'equidistant' budgets, as published, or even steps along the 'frontier'.")
    ] = "equidistant",
    axis: Annotated[str, typer.Option(help="What the rows are spread over: 'macs' or 'latency'.")] = "macs",
    min_macs: Annotated[str | None, typer.Option(help="Smallest MACs budget; the smallest network by default.")] = None,
    max_macs: Annotated[str | None, typer.Option(help="Largest MACs budget; the largest network by default.")] = None,
    min_latency: Annotated[str | None, typer.Option(help="Smallest latency budget, with --axis latency.")] = None,
    max_latency: Annotated[str | None, typer.Option(help="Largest latency budget, with --axis latency.")] = None,
    device: Annotated[str | None, typer.Option(help="Whose latency is the axis.")] = None,
    latency_table: TableOption = None,
    precision: PrecisionOption = "fp32",
    accounting: AccountingOption = "network",
    profiles: ProfilesOption = None,
) -> None:
    """Write the fittest subnets over the whole range of a space, each proven optimal, without duplicates.

    The smallest and the largest network of the space are always rows. Without --space, the embedded space.
    With --axis latency and --device the curriculum is spread over the latency of that device, and a column
    latency_ms is added. A published cache is checked with: score --archs FILE.
    """
    from fednas.toolchain.search.cache import SPACINGS, make_cache, write_cache
    from fednas.toolchain.search.limits import latency_quantity

    chosen, searched = accounting_from(accounting), space_from(space)
    if axis not in ("macs", "latency"):
        raise unknown_name("axis", axis, ["macs", "latency"])
    if spacing not in SPACINGS:
        raise unknown_name("spacing", spacing, SPACINGS)
    bounds = {
        "--min-macs": min_macs,
        "--max-macs": max_macs,
        "--min-latency": min_latency,
        "--max-latency": max_latency,
    }
    low, high = _range(axis, bounds)
    _check_axis(axis, device, latency_table)
    model = latency_from(device, latency_table, precision, profiles) if axis == "latency" else None
    with progress_bar("cache") as progress:
        rows = make_cache(
            searched,
            count,
            axis=None if model is None else latency_quantity(searched, model),
            low=low,
            high=high,
            spacing=SPACINGS[spacing],
            accounting=chosen,
            progress=progress,
        )
    write_cache(out, rows)
    if len(rows) < count:
        note(f"{len(rows)} of {count} rows: the frontier of this range has no more")
    first, last = rows[0], rows[-1]
    span = f"{format_count(first.macs)} to {format_count(last.macs)} MACs ({chosen} accounting)"
    document = {
        "out": str(out),
        "rows": len(rows),
        "axis": axis,
        "device": None if model is None else model.identity.device,
        "spacing": spacing,
        "min_macs": first.macs,
        "max_macs": last.macs,
        "min_latency_ms": first.latency_ms,
        "max_latency_ms": last.latency_ms,
        "accounting": chosen,
    }
    if model is not None and first.latency_ms is not None and last.latency_ms is not None:
        latencies = f"{format_latency_ms(first.latency_ms)} to {format_latency_ms(last.latency_ms)}"
        span += f", {latencies} on {model.identity.device} ({model.identity.kind})"
    emit(document, f"{out}: {len(rows)} subnets from {span}")


def _range(axis: str, bounds: Mapping[str, str | None]) -> tuple[float | None, float | None]:
    """Lowest and highest value of the axis; raises `FednasError` for a bound of the other axis."""
    if wrong := [name for name, text in bounds.items() if text is not None and not name.endswith(axis)]:
        raise FednasError(f"{wrong[0]} means nothing with --axis {axis}", hint=f"give --min-{axis} and --max-{axis}")
    parse = parse_count if axis == "macs" else parse_latency_ms
    names = [f"--min-{axis}", f"--max-{axis}"]
    low, high = (None if (text := bounds[name]) is None else parse(text, name) for name in names)
    if low is not None and high is not None and low >= high:
        raise FednasError(f"{names[0]} {low:g} is not below {names[1]} {high:g}", hint="mend one of them")
    return low, high


def _check_axis(axis: str, device: str | None, latency_table: Path | None) -> None:
    known = device is not None or latency_table is not None
    if axis == "latency" and not known:
        raise FednasError("--axis latency needs to know whose", hint="add --device NAME or --table FILE")
    if axis == "macs" and known:
        raise FednasError("--device and --table mean nothing with --axis macs", hint="add --axis latency")
