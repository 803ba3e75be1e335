"""A table as one HTML page that needs nothing else: what it claims, on what grounds, and pictures of both."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from fednas.common import format_count
from fednas.export.report_blocks import Block, Bullets, Paragraph, Section, Table
from fednas.export.report_page import html_of
from fednas.latency_tables import Finding, LatencyTable, lint, lint_readings
from fednas.toolchain.tables.entry_texts import missing_figures, percentile_texts, price_text
from fednas.toolchain.tables.facts import table_facts
from fednas.toolchain.tables.pictures import drift_picture, kind_picture, predictions_picture, prices_picture
from fednas.toolchain.tables.residuals import KindError, NetworkError, kind_errors, network_errors

SLOWEST = 15
LEAST_SHARE = 0.02
"""A kind that costs less of the latency cannot carry the error, and gets no plot."""


def table_page(table: LatencyTable, path: Path) -> str:
    """The page of the table at ``path``, whose raw readings are looked at if they lie beside it."""
    findings = [*lint(table), *lint_readings(table, path)]
    errors = network_errors(table)
    sections = (
        _findings(findings),
        _error(table, errors, kind_errors(table, errors)),
        Section("What was measured, on what", (Table(("", ""), tuple(table_facts(table))),)),
        _drift(table),
        Section("What blocks cost", tuple(filter(None, (prices_picture(table), *_slowest(table))))),
    )
    bad = any(finding.level == "error" for finding in findings)
    status = "rejected" if bad else "unverified" if findings else "verified"
    last = f"Made by fednas-export {version('fednas-export')} from `{path.name}`."
    shown = [section for section in sections if section is not None]
    return html_of(f"Latency table of {table.device}", status, _lead(table), shown, last)


def _lead(table: LatencyTable) -> str:
    report = table.report
    what = f"{len(table.entries)} blocks, {table.precision}, batch {table.batch}, {table.runtime}"
    if report is None or table.interval is None:
        return f"{what}: the table does not say how wrong it is, and does not predict."
    return (
        f"{what}: wrong by {report.mape:.1%} on average over {report.subnets} networks that it never saw, "
        f"on a machine that repeats itself to {report.repeatability_mape:.1%}."
    )


def _findings(findings: Sequence[Finding]) -> Section:
    if not findings:
        return Section("Findings", (Paragraph("`table lint` finds nothing wrong."),))
    lines = tuple(f"**{finding.level}**, {finding.rule}: {finding.message}" for finding in findings)
    return Section("Findings", (Bullets(lines),))


def _error(table: LatencyTable, errors: Sequence[NetworkError], kinds: Sequence[KindError]) -> Section:
    if not errors:
        text = "The table keeps no whole networks, so nothing can be drawn of its error."
        return Section("How wrong it is", (Paragraph(text),))
    blocks: list[Block] = [predictions_picture(errors, table.interval)]
    if kinds:
        text = (
            "Which kind of block carries the error: each network's error over the share of its latency in that kind. "
            "A slope says that the table prices the kind too high (rising) or too low (falling); the kinds are not "
            "independent, since their shares add up to all of the latency."
        )
        heads = ("Kind", "Entries", "Share of the latency", "Error from least to most of it", "Of the errors explained")
        rows = tuple((k.kind, str(k.entries), f"{k.share:.1%}", f"{k.rise:+.1%}", f"{k.explained:.0%}") for k in kinds)
        plotted = [kind_picture(kind, errors) for kind in kinds if kind.share >= LEAST_SHARE]
        blocks += [Paragraph(text), Table(heads, rows), *plotted]
    return Section("How wrong it is", tuple(blocks))


def _drift(table: LatencyTable) -> Section | None:
    sessions = [(source.name, source.session) for source in table.sources] or [(table.date, table.session)]
    picture = drift_picture(sessions)
    return None if picture is None else Section("Drift over the session", (picture,))


def _slowest(table: LatencyTable) -> tuple[Block, ...]:
    entries = sorted(table.entries, key=lambda entry: -entry.median_ms)[:SLOWEST]
    rows = tuple(
        (
            f"`{entry.spec.key}`",
            format_count(entry.spec.macs),
            price_text(entry),
            *percentile_texts(entry),
            f"{entry.spread:.1%}",
            str(entry.samples or "-"),
            entry.origin,
        )
        for entry in entries
    )
    heads = ("Block", "MACs", "Latency alone", "p10", "p90", "+-", "Readings", "Origin")
    why = missing_figures(entries)
    more = f"The slowest {len(entries)} of {len(table.entries)}; the file holds all. {why[:1].upper()}{why[1:]}"
    return Paragraph(f"{more.strip()}{'.' * bool(why)}"), Table(heads, rows)
