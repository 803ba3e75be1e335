"""``table``: what stands in a latency table, and what speaks against it."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fednas.common import ExitCode, format_count, format_latency_ms
from fednas.toolchain.cli.output import WIDTH, emit, table

if TYPE_CHECKING:
    from fednas.latency_tables import Finding, LatencyTable, TableEntry

table_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Show and check latency tables.")
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Latency table (JSON).")]


@table_app.command()
def show(
    file: FileArgument,
    limit: Annotated[int, typer.Option(min=0, help="Entries of each kind to list, the slowest first.")] = 5,
) -> None:
    """Show what was measured on what, how wrong the table is by its own account, and its entries."""
    from fednas.latency_tables import load_table

    found = load_table(file)
    emit(found, f"{summary_text(found)}\n\n{_entries_text(found, limit)}")


@table_app.command()
def lint(file: FileArgument) -> None:
    """Look for faults: no or a poor report, larger blocks that are faster, no signal, copied entries, odd spread.

    Exit code 1 if there is an error, 0 if there are only warnings or nothing.
    """
    from fednas.latency_tables import lint as lint_table
    from fednas.latency_tables import load_table

    findings = lint_table(load_table(file))
    emit({"findings": findings}, findings_text(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(code=int(ExitCode.USER_ERROR))


def findings_text(findings: "list[Finding]") -> str:
    """One row a finding."""
    if not findings:
        return "no findings"
    return table([(f.level, f.rule, f.message) for f in findings], ("level", "rule", "finding"))


def summary_text(found: "LatencyTable") -> str:
    """What the table is, how the session went, and the table's own error, as aligned lines."""
    return "\n".join(_wrapped(f"{key:<14} ", value) for key, value in _facts(found))


def _facts(found: "LatencyTable") -> list[tuple[str, str]]:
    session, machine, calibration = found.session, found.machine, found.calibration
    clock = f", {machine.current_mhz:.0f} MHz" if machine.current_mhz else ", clock not readable"
    governor = f", governor {machine.governor}" if machine.governor else ""
    threads = f"{found.threads} thread{'s' * (found.threads != 1)}"
    reference = f"{format_latency_ms(session.reference_p10_ms)} to {format_latency_ms(session.reference_p90_ms)}"
    return [
        ("device", f"{found.device} ({found.kind}), {found.precision}, batch {found.batch}, {threads}"),
        ("runtime", f"{found.runtime} {found.runtime_version}"),
        ("machine", f"{machine.cpu_model}, {machine.cores} cores, {machine.operating_system}{clock}{governor}"),
        ("measured", f"{found.date} by fednas-export {found.tool_version}, plan {session.plan}"),
        ("readings", f"{session.readings:,} in {session.seconds:.0f} s, {session.interrupted:.1%} interrupted"),
        ("drift", f"speed of the machine {session.drift_low:.2f} to {session.drift_high:.2f} of its median"),
        ("reference", f"largest network {format_latency_ms(session.reference_ms)} (80 % of readings {reference})"),
        ("calibration", f"{calibration.networks} networks: blocks x {calibration.scale:.3f} - overheads"),
        *_trust(found),
    ]


def _trust(found: "LatencyTable") -> list[tuple[str, str]]:
    """The lines on the table's own error."""
    lines = [("unfit", remark) for remark in found.session.remarks]
    report, interval = found.report, found.interval
    if report is None or interval is None:
        return [("error", "not on record: the table does not say how wrong it is"), *lines]
    error = (
        f"{report.mape:.1%} on average over {report.subnets} held-out networks; "
        f"{report.within_5:.0%} within 5 %, {report.within_10:.0%} within 10 %, tau {report.kendall_tau:.2f}"
    )
    held = f"holds {report.interval_coverage:.0%} of the held-out networks"
    wander = f", of which the machine's wandering speed x/{interval.machine_factor:.3f}"
    return [
        ("error", error),
        ("repeatability", f"{report.repeatability_mape:.1%} for the same networks in the same session"),
        ("interval", f"x/{interval.factor:.3f} for {interval.coverage:.0%} of networks{wander}; {held}"),
        *lines,
    ]


def _entries_text(found: "LatencyTable", limit: int) -> str:
    parts = []
    for kind in dict.fromkeys(entry.kind for entry in found.entries):
        entries = [entry for entry in found.entries if entry.kind == kind]
        parts.append(f"{kind.value}: {_range(entries)}")
        if limit:
            slowest = sorted(entries, key=lambda entry: -entry.median_ms)[:limit]
            parts.append(table(map(_row, slowest), ("block", "MACs", "median", "p10", "p90", "+-", "n", "origin")))
    return "\n\n".join(parts)


def _range(entries: "list[TableEntry]") -> str:
    medians = [entry.median_ms for entry in entries]
    noun = "entry" if len(entries) == 1 else "entries"
    return f"{len(entries)} {noun}, {format_latency_ms(min(medians))} to {format_latency_ms(max(medians))}"


def _row(entry: "TableEntry") -> tuple[object, ...]:
    times = (entry.median_ms, entry.p10_ms, entry.p90_ms)
    return (
        entry.spec.key.removeprefix(f"{entry.kind.value}-"),
        format_count(entry.spec.macs),
        *map(format_latency_ms, times),
        f"{entry.spread:.1%}",
        entry.samples,
        entry.origin,
    )


def _wrapped(start: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
