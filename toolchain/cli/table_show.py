"""``table show``: a table for people, as text or as a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import format_count, make_folder, write_atomic
from fednas.toolchain.cli.options import TableArgument
from fednas.toolchain.cli.output import emit, facts_text, note, table, wrapped
from fednas.toolchain.cli.parsing import refuse_input

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyTable, TableEntry


def show(
    file: TableArgument,
    limit: Annotated[int, typer.Option(min=0, help="Entries of each kind to list, the slowest first.")] = 5,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots to this file; it needs nothing else.")
    ] = None,
) -> None:
    """Show what was measured on what, how wrong the table is by its own account, and its entries.

    The page (--html) also plots predicted against measured latency, errors by kind of block, prices against MACs
    and the drift over the session.
    """
    from fednas.latency_tables import load_table

    found = load_table(file)
    if html is not None:
        _write_page(found, file, html)
    emit(found, f"{summary_text(found)}\n\n{_kinds_text(found)}{_entries_text(found, limit)}")


def summary_text(found: "LatencyTable") -> str:
    """What the table is, its own error, its machine and how the session went, as aligned lines."""
    from fednas.toolchain.tables.facts import table_facts

    return facts_text(table_facts(found))


def _write_page(found: "LatencyTable", file: Path, html: Path) -> None:
    from fednas.toolchain.tables.page import table_page

    refuse_input("--html", html, file)
    make_folder(html.parent, "folder of the page")
    write_atomic(html, table_page(found, file))
    note(f"wrote {html}")


def _kinds_text(found: "LatencyTable") -> str:
    """Which kinds of block carry the error; empty where the table keeps no networks."""
    from fednas.toolchain.tables.residuals import kind_errors, network_errors

    kinds = kind_errors(found, network_errors(found))
    if not kinds:
        return ""
    rows = [
        (each.kind, each.entries, f"{each.share:.0%}", f"{each.rise:+.1%}", f"{each.explained:.0%}") for each in kinds
    ]
    heads = ("kind of block", "entries", "share of latency", "error, least to most of it", "of errors explained")
    return table(rows, heads, align=("left", *["right"] * 4)) + "\n\n"


def _entries_text(found: "LatencyTable", limit: int) -> str:
    from fednas.toolchain.tables.entry_texts import missing_figures, range_text

    parts, shown = [], []
    heads = ("block", "MACs", "median", "p10", "p90", "+-", "n", "origin")
    for kind in dict.fromkeys(entry.kind for entry in found.entries):
        entries = [entry for entry in found.entries if entry.kind == kind]
        noun = "entry" if len(entries) == 1 else "entries"
        parts.append(f"{kind.value}: {len(entries)} {noun}, {range_text(entries)}")
        if limit:
            slowest = sorted(entries, key=lambda entry: -entry.median_ms)[:limit]
            parts.append(table(map(_row, slowest), heads, align=("left", *["right"] * 6, "left")))
            shown += slowest
    if why := missing_figures(shown):
        parts.append(wrapped("", why))
    return "\n\n".join(parts)


def _row(entry: "TableEntry") -> tuple[object, ...]:
    from fednas.toolchain.tables.entry_texts import percentile_texts, price_text

    return (
        entry.spec.key.removeprefix(f"{entry.kind.value}-"),
        format_count(entry.spec.macs),
        price_text(entry),
        *percentile_texts(entry),
        f"{entry.spread:.1%}",
        entry.samples or "-",
        entry.origin,
    )
