"""``score``: cost, fitness and predicted latency of given architectures."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import format_count, format_latency_ms
from fednas.toolchain.cli.options import (
    AccountingOption,
    PrecisionOption,
    ProfilesOption,
    SpaceOption,
    SupernetOption,
    TableOption,
)
from fednas.toolchain.cli.output import WIDTH, emit, table, warn
from fednas.toolchain.cli.parsing import accounting_from, latency_from, space_from

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyModel
    from fednas.toolchain.scoring import Disagreement, Score


def score(
    archs: Annotated[Path, typer.Option(help="CSV with the columns d, e and w_indices.")],
    space: SpaceOption = None,
    supernet: SupernetOption = None,
    device: Annotated[str | None, typer.Option(help="Predict the latency on this device.")] = None,
    latency_table: TableOption = None,
    accounting: AccountingOption = "network",
    precision: PrecisionOption = "fp32",
    profiles: ProfilesOption = None,
) -> None:
    """Score architectures: MACs, parameters, fitness and its terms, and the predicted latency with its interval.

    Entropy H, effectiveness rho, depth penalty Q and channel penalty V are shown before their weights:
    F = H - beta Q + gamma rho - lambda V. Without --space or --supernet, the embedded space.
    Metrics that the file itself holds, as caches do, are compared: rows that disagree are reported.
    """
    from fednas.toolchain.scoring import disagreements, score_rows
    from fednas.toolchain.space import read_architectures

    chosen = space_from(space, supernet)
    predicted = device is not None or latency_table is not None
    model = latency_from(device, latency_table, precision, profiles) if predicted else None
    chosen_accounting = accounting_from(accounting)
    rows = score_rows(chosen, read_architectures(archs, chosen), chosen_accounting, model)
    wrong = disagreements(archs, rows)
    headers = ["row", "MACs", "params", "fitness", "entropy", "rho", "Q", "V"]
    cells = [[i, *_cells(row)] for i, row in enumerate(rows)]
    footer = ""
    if model is not None:
        headers += ["estimate" if model.identity.kind == "estimate" else "latency", "from", "to"]
        for line, row in zip(cells, rows, strict=True):
            latencies = (row.latency_ms, row.latency_low_ms, row.latency_high_ms)
            line += [format_latency_ms(value) for value in latencies if value is not None]
        footer = f"\n\n{_grounds(model, rows)}"
    documents = [row.as_document() | _logged_document([w for w in wrong if w.row == i]) for i, row in enumerate(rows)]
    emit(documents, table(cells, headers, align=["right"] * len(headers)) + footer)
    if wrong:
        warn(_disagreement_text(archs, len(rows), wrong, chosen_accounting))


def _grounds(model: "LatencyModel", rows: "Sequence[Score]") -> str:
    """Where the latencies come from, and what their intervals hold."""
    identity, share = model.identity, rows[0].coverage if rows else None
    if identity.kind == "estimate":
        held = "" if share is None else f"; the interval held {share:.0%} of public measurements of other devices"
        text = f"Latency on {identity.device} is an ESTIMATE from its datasheet, measured by nobody{held}."
    else:
        held = "" if share is None else f"; the interval holds {share:.0%} of networks"
        modelled = max((row.modelled or 0.0 for row in rows), default=0.0)
        filled = f"; up to {modelled:.0%} of a latency comes from modelled entries" if modelled else ""
        text = f"Latency on {identity.device} is predicted by the measured table {identity.name}{filled}{held}."
    return fill(text, WIDTH)


def _logged_document(wrong: "Sequence[Disagreement]") -> dict[str, object]:
    return {"logged": {w.column: w.logged for w in wrong}} if wrong else {}


def _disagreement_text(archs: Path, count: int, wrong: "Sequence[Disagreement]", accounting: str) -> str:
    """Which rows of the file are wrong, the first in full."""
    rows = sorted({w.row for w in wrong})
    named = ", ".join(map(str, rows[:12])) + (", ..." if len(rows) > 12 else "")
    first = ", ".join(f"{w.column} {w.logged:.12g} (is {w.recomputed:.12g})" for w in wrong if w.row == rows[0])
    verb = "row disagrees" if len(rows) == 1 else "rows disagree"
    other = " A cache of the public code needs --accounting published." if accounting == "network" else ""
    return (
        f"{len(rows)} of {count} {verb} with the metrics logged in {archs}: {named}. Row {rows[0]} says {first}.{other}"
    )


def _cells(row: "Score") -> list[str]:
    terms = [f"{row.fitness:.3f}", f"{row.entropy:.3f}", f"{row.effectiveness:.6f}"]
    penalties = [f"{row.depth_penalty:.4f}", f"{row.channel_penalty:.0f}"]
    return [format_count(row.macs), format_count(row.params), *terms, *penalties]
