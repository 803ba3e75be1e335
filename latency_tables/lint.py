"""What speaks against a latency table, found without the device: the faults seen in published tables.

Each rule answers one that was met in the wild: tables whose larger blocks are faster, tables of a launch-bound GPU
where every block costs the same, entries copied from another device, and no word about the error.
"""

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fednas.latency_tables.blocks import BlockSpec
from fednas.latency_tables.measured import LEAST_SHARE, contribution_ms
from fednas.latency_tables.table import LatencyTable, TableEntry

FASTER = 0.05
"""A block with more work in one dimension may be this much faster before it counts (alignment helps some widths)."""
MANY_FASTER = 0.2
"""Share of such steps that makes the table worthless."""
BIG_STEP = 1.3
"""Ratio of MACs from which a latency that stays the same says that the device is launch-bound."""
NO_SIGNAL = 1.02
"""Ratio of latencies that is no more than noise."""
WIDE_SPREAD = 0.05
POOR_MAPE = 0.10
POOR_REPEATABILITY = 0.05
TOO_GOOD_MAPE = 0.001

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be."""

    level: Level
    """``error``: do not use the table; ``warning``: know it when you do."""
    rule: str
    message: str


def lint(table: LatencyTable) -> list[Finding]:
    """All findings, errors first."""
    rules = (_report, _session, _monotonic, _launch_bound, _copied, _origins, _spread, _swallowed)
    findings = [finding for rule in rules for finding in rule(table)]
    return sorted(findings, key=lambda finding: finding.level)


def _report(table: LatencyTable) -> Iterator[Finding]:
    report, interval = table.report, table.interval
    if report is None or interval is None:
        yield Finding("error", "report", "the table does not say how wrong it is on networks kept out of it")
        return
    if report.mape > POOR_MAPE:
        yield Finding("warning", "report", f"mean error {report.mape:.1%} on {report.subnets} held-out networks")
    if report.mape < TOO_GOOD_MAPE:
        message = f"mean error {report.mape:.3%}: the networks look like sums of the entries, not like readings"
        yield Finding("error", "report", message)
    if report.repeatability_mape > POOR_REPEATABILITY:
        yield Finding("warning", "report", f"the machine repeats only to {report.repeatability_mape:.1%}")
    # With n networks the share inside scatters by about sqrt(c (1 - c) / n); two of those are too many.
    scatter = (interval.coverage * (1 - interval.coverage) / report.subnets) ** 0.5
    if report.interval_coverage < interval.coverage - 2 * scatter:
        message = f"intervals claim {interval.coverage:.0%} and hold {report.interval_coverage:.0%}"
        yield Finding("error", "report", message)


def _session(table: LatencyTable) -> Iterator[Finding]:
    for remark in table.session.remarks:
        yield Finding("warning", "unfit", f"accepted although the machine was not fit to measure: {remark}")


def _monotonic(table: LatencyTable) -> Iterator[Finding]:
    steps = list(_steps(table.entries))
    if not steps:
        return
    wrong = [(small, large) for small, large in steps if large.median_ms < small.median_ms * (1 - FASTER)]
    if not wrong:
        return
    small, large = min(wrong, key=lambda step: step[1].median_ms / step[0].median_ms)
    worst = f"worst: {large.spec.key} takes {large.median_ms / small.median_ms:.2f} of {small.spec.key}"
    level: Level = "error" if len(wrong) > MANY_FASTER * len(steps) else "warning"
    message = f"more work is more than {FASTER:.0%} faster in {len(wrong)} of {len(steps)} steps; {worst}"
    yield Finding(level, "monotonic", message)


def _launch_bound(table: LatencyTable) -> Iterator[Finding]:
    big = [(small, large) for small, large in _steps(table.entries) if large.spec.macs >= BIG_STEP * small.spec.macs]
    if len(big) < 5:
        return
    ratio = statistics.median(large.median_ms / small.median_ms for small, large in big)
    if ratio < NO_SIGNAL:
        message = f"blocks with at least {BIG_STEP:g} times the MACs take {ratio:.3f} times as long: launches dominate"
        yield Finding("error", "launch-bound", message)


def _copied(table: LatencyTable) -> Iterator[Finding]:
    counts = Counter((e.median_ms, e.p10_ms, e.p90_ms) for e in table.entries if e.origin == "measured")
    copies = sum(count for count in counts.values() if count > 1)
    if copies:
        yield Finding("error", "copied", f"{copies} measured entries agree with another one to the last digit")


def _origins(table: LatencyTable) -> Iterator[Finding]:
    counts = Counter(entry.origin for entry in table.entries)
    if len(counts) > 1:
        parts = ", ".join(f"{count} {origin}" for origin, count in sorted(counts.items()))
        yield Finding("warning", "mixed", f"entries are of different origin: {parts}")
    if bad := [e for e in table.entries if (e.origin == "measured") != (e.samples > 0)]:
        message = f"{len(bad)} entries are called {bad[0].origin} with {bad[0].samples} samples, such as"
        yield Finding("error", "origin", f"{message} {bad[0].spec.key}")


def _spread(table: LatencyTable) -> Iterator[Finding]:
    measured = [entry for entry in table.entries if entry.samples > 1]
    flat = [entry for entry in measured if entry.p10_ms == entry.p90_ms]
    if flat:
        message = f"{len(flat)} entries have no spread over several samples: a coarse clock, or not readings at all"
        yield Finding("error" if len(flat) > len(measured) / 2 else "warning", "spread", message)
    if wide := [entry for entry in measured if entry.spread > WIDE_SPREAD]:
        worst = max(wide, key=lambda entry: entry.spread)
        message = f"{len(wide)} medians are known to no better than {WIDE_SPREAD:.0%}"
        yield Finding("warning", "spread", f"{message}; worst: {worst.spec.key} to {worst.spread:.0%}")


def _swallowed(table: LatencyTable) -> Iterator[Finding]:
    floors = [
        entry
        for entry in table.entries
        if contribution_ms(entry.spec, entry.median_ms, table.calibration) <= LEAST_SHARE * entry.median_ms
    ]
    if len(floors) > len(table.entries) / 4:
        message = f"calibration takes nearly all of {len(floors)} of {len(table.entries)} entries off as overhead"
        yield Finding("warning", "calibration", message)


def _steps(entries: Sequence[TableEntry]) -> Iterator[tuple[TableEntry, TableEntry]]:
    """Neighbours in one dimension (input, middle or output channels), all else equal, the smaller first."""
    for name in ("in_channels", "mid_channels", "out_channels"):
        families: dict[tuple[object, ...], list[TableEntry]] = defaultdict(list)
        for entry in entries:
            families[_all_but(entry.spec, name)].append(entry)
        for family in families.values():
            ordered = sorted(family, key=lambda entry: int(getattr(entry, name)))
            yield from itertools.pairwise(ordered)


def _all_but(spec: BlockSpec, name: str) -> tuple[object, ...]:
    fields = ("kind", "in_channels", "mid_channels", "out_channels", "in_hw", "stride", "shortcut")
    return tuple(getattr(spec, field) for field in fields if field != name)
