"""``frontier``: every Pareto-optimal subnet, as a table, CSV, JSON, PNG and HTML."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import (
    FednasError,
    format_count,
    parse_count,
    parse_latency_ms,
    unknown_name,
    write_atomic,
)
from fednas.toolchain.cli.options import (
    AccountingOption,
    MaxLatencyOption,
    MaxMacsOption,
    MaxParamsOption,
    MaxSizeOption,
    PrecisionOption,
    ProfilesOption,
    SpaceOption,
    SupernetOption,
    TableOption,
)
from fednas.toolchain.cli.output import emit, note, progress_bar, table
from fednas.toolchain.cli.parsing import accounting_from, budgets_from, latency_from, refuse_input, space_from

if TYPE_CHECKING:
    from fednas.toolchain.search.frontier_report import Frontier
    from fednas.toolchain.space import Accounting

AXES = {"macs": "macs", "params": "params", "latency": "latency_ms"}
"""Option value -> the quantity's name."""
SHOWN_ROWS = 12


def frontier(
    space: SpaceOption = None,
    supernet: SupernetOption = None,
    axis: Annotated[str, typer.Option(help="'macs', 'params' or 'latency'.")] = "macs",
    device: Annotated[list[str] | None, typer.Option(help="Whose latency; repeated: side by side.")] = None,
    latency_table: TableOption = None,
    least: Annotated[str | None, typer.Option("--min", help="Where the axis begins; the smallest network.")] = None,
    most: Annotated[str | None, typer.Option("--max", help="Where the axis ends; the largest network.")] = None,
    max_latency: MaxLatencyOption = None,
    max_macs: MaxMacsOption = None,
    max_params: MaxParamsOption = None,
    max_size: MaxSizeOption = None,
    out: Annotated[
        list[Path] | None, typer.Option(help="File to write: .csv, .json, .png or .html; may be repeated.")
    ] = None,
    accounting: AccountingOption = "network",
    precision: PrecisionOption = "fp32",
    profiles: ProfilesOption = None,
) -> None:
    """Find every Pareto-optimal subnet of fitness against MACs, parameters or latency, each proven.

    No other subnet is both cheaper and at least as fit. Without --space or --supernet, the embedded space.
    The CSV is also a training cache, and can be scored.
    """
    from fednas.toolchain.search.frontier_report import frontier_document
    from fednas.toolchain.search.frontier_request import answer_frontiers

    _check(axis, device or [], latency_table, max_latency)
    chosen, searched = accounting_from(accounting), space_from(space, supernet)
    low, high = _range(axis, least, most)
    files = {path: _maker(path) for path in out or []}
    for path in files:
        refuse_input("--out", path, space, supernet, latency_table)
    names: list[str | None] = [*(device or [])] or ([None] if latency_table else [])
    models = [latency_from(name, latency_table, precision, profiles) for name in names]
    with progress_bar("frontier") as progress:
        found = answer_frontiers(
            searched,
            AXES[axis],
            budgets_from(max_latency, max_macs, max_params, max_size),
            models,
            low=low,
            high=high,
            precision=precision,
            accounting=chosen,
            progress=progress,
        )
    for path, make in files.items():
        write_atomic(path, make(found, chosen))
        note(f"wrote {path}")
    emit(frontier_document(found, chosen), "\n\n".join(map(_text, found)))


def _check(axis: str, devices: Sequence[str], latency_table: Path | None, max_latency: str | None) -> None:
    if axis not in AXES:
        raise unknown_name("axis", axis, AXES)
    if latency_table is not None and len(devices) > 1:
        raise FednasError("one --table for several --device", hint="leave out --table, or give one device")
    known = bool(devices) or latency_table is not None
    if axis == "latency" and not known:
        raise FednasError("--axis latency needs to know whose", hint="add --device NAME or --table FILE")
    if axis == "latency" and max_latency is not None:
        raise FednasError("--max-latency limits another axis", hint="with --axis latency say --max")
    if axis != "latency" and known and max_latency is None:
        raise FednasError(f"--device and --table mean nothing with --axis {axis}", hint="add --max-latency")


def _range(axis: str, least: str | None, most: str | None) -> tuple[float | None, float | None]:
    parse = parse_latency_ms if axis == "latency" else parse_count
    low = None if least is None else parse(least, "--min")
    high = None if most is None else parse(most, "--max")
    if low is not None and high is not None and low > high:
        raise FednasError(f"--min {least} is above --max {most}", hint="mend one of them")
    return low, high


def _maker(path: Path) -> "Callable[[Sequence[Frontier], Accounting], str | bytes]":
    """What makes a file of this suffix; raises `FednasError` for a suffix or an extra that is not there."""
    from fednas.toolchain.search import frontier_page, frontier_plot, frontier_report

    makers: dict[str, Callable[[Sequence[Frontier], Accounting], str | bytes]] = {
        ".csv": lambda found, _: frontier_report.frontier_csv(found),
        ".json": frontier_report.frontier_json,
        ".png": lambda found, _: frontier_plot.frontier_png(found),
        ".html": frontier_page.frontier_html,
    }
    suffix = path.suffix.lower()
    if suffix not in makers:
        raise FednasError(f"--out {path} has no suffix that says what to write", hint="use .csv, .json, .png or .html")
    if suffix == ".png":
        frontier_plot.require_matplotlib()
    return makers[suffix]


def _text(found: "Frontier") -> str:
    """Some of the points, evenly spread over the frontier, and how many there are."""
    last = len(found.points) - 1
    rows = sorted({round(i * last / (SHOWN_ROWS - 1)) for i in range(SHOWN_ROWS)})
    cells = []
    for index in rows:
        point = found.points[index]
        arch = point.row.architecture
        genes = [" ".join(map(str, part)) for part in (arch.d, arch.w_indices)]
        cost = [format_count(point.row.macs), format_count(point.row.params)]
        latency = [found.shown(point.value)] if found.axis == "latency_ms" else []
        cells.append([index, *latency, *cost, f"{point.row.fitness:.3f}", *genes])
    headers = ["point", *(["latency"] if found.axis == "latency_ms" else []), "MACs", "params", "fitness"]
    shown = table(cells, [*headers, "depths d", "widths w"], align=["right"] * len(headers) + ["left"] * 2)
    noun = "subnet is" if last == 0 else "subnets are"
    return f"{shown}\n\n{last + 1} {noun} Pareto-optimal for fitness against {found.title}, each proven."
