"""What speaks against a table's own account: of its error, its session, its machines, its networks."""

import itertools
from collections.abc import Callable, Iterator

from fednas.latency_tables.finding import Finding, Level
from fednas.latency_tables.fingerprint import machine_differences
from fednas.latency_tables.measured import contribution_ms
from fednas.latency_tables.table import LatencyTable

POOR_MAPE = 0.10
POOR_REPEATABILITY = 0.05
TOO_GOOD_MAPE = 0.001
"""Readings of whole networks never fit sums of entries this well; the latencies of HW-NAS-Bench that are sums do."""
ROUNDING = 1e-3
"""Of a latency; what was computed from the entries agrees with them far better."""


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
    if kinds := table.machine.capacities:
        message = f"measured on cores of {len(kinds)} kinds at once, of speeds {' and '.join(map(str, kinds))}"
        yield Finding("warning", "cores", f"{message}: pin the run to one kind (taskset)")


def _fingerprints(table: LatencyTable) -> Iterator[Finding]:
    """Of a merged table: sources of several machines, or of one machine in several states."""
    for first, second in itertools.pairwise(table.sources):
        for difference in machine_differences(first.machine, second.machine):
            level: Level = "error" if difference.weight == "another" else "warning"
            yield Finding(level, "fingerprints", f"{first.name} and {second.name} differ in {difference}")


def _edited(table: LatencyTable) -> Iterator[Finding]:
    """Networks and report were computed from the entries: they still agree unless somebody changed one of them."""
    prices = [contribution_ms(entry.spec, entry.alone_ms, table.calibration) for entry in table.entries]
    wrong = [
        network
        for network in table.networks
        if abs(table.calibration.intercept_ms + sum(prices[place] for place in network.blocks) - network.predicted_ms)
        > ROUNDING * network.predicted_ms
    ]
    if wrong:
        message = f"{len(wrong)} of {len(table.networks)} networks were predicted with other entries or another"
        yield Finding("error", "edited", f"{message} calibration: the table was changed after it was made")
    held_out = [network for network in table.networks if network.role == "held-out"]
    if table.report is None or not held_out:
        return
    mape = sum(abs(n.predicted_ms / n.median_ms - 1) for n in held_out) / len(held_out)
    if len(held_out) != table.report.subnets or abs(mape - table.report.mape) > ROUNDING:
        message = f"the report states {table.report.mape:.1%} on {table.report.subnets} networks, but its"
        yield Finding("error", "edited", f"{message} {len(held_out)} held-out networks give {mape:.1%}")


RECORD_RULES: tuple[Callable[[LatencyTable], Iterator[Finding]], ...] = (_report, _session, _fingerprints, _edited)
