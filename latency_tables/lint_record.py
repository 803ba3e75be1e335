"""What speaks against a table's own account: of its error, its session, its machines, its networks."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from fednas.latency_tables.finding import Finding, Level
from fednas.latency_tables.fingerprint import machine_differences
from fednas.latency_tables.measured import contribution_ms, network_ms
from fednas.latency_tables.table import LatencyTable, NetworkReading, Report

POOR_MAPE = 0.10
POOR_REPEATABILITY = 0.08
TOO_GOOD_MAPE = 0.001
"""Readings of whole networks never fit sums of entries this well; the latencies of HW-NAS-Bench that are sums do."""
RUNTIMES = (
    *("onnxruntime", "onnxruntime-cuda", "openvino", "ncnn", "tensorrt", "trtexec"),
    *("torch-eager", "torch-eager-cuda", "torch-cuda-graph"),
)
"""What `profile` and kits measure with."""
EARLIEST = datetime(2024, 1, 1, tzinfo=UTC)
"""Boards without a battery for their clock start in 1970, or in the year of their system image."""
TIME_ZONE = timedelta(days=1)
"""A clock may be this far ahead: of a board that takes its local time for UTC."""
WIDE_INTERVAL = 3.0
NEIGHBOURS, NEIGHBOURING = 2.5, 0.03
"""Networks, and share of many of them, that may lie inside the one and outside the other: the report's interval for
each is made without it."""
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


def _interval(table: LatencyTable) -> Iterator[Finding]:
    """The interval was made of the errors on networks: it cannot be far narrower or wider than they ask for."""
    report, interval = table.report, table.interval
    held_out = [network for network in table.networks if network.role == "held-out"]
    if report is None or interval is None or not held_out:
        return
    if interval.machine_factor > interval.factor * (1 + ROUNDING):
        message = f"the interval is x/{interval.factor:.3f}, its part from the machine x/{interval.machine_factor:.3f}"
        yield Finding("error", "edited", f"{message}: it was changed after it was made")
        return
    if interval.factor > WIDE_INTERVAL:
        yield Finding("warning", "report", f"predictions are known to no better than a factor of {interval.factor:.3g}")
    errors = [abs(math.log(network.predicted_ms / network.median_ms)) for network in held_out]
    own = math.log(interval.factor / interval.machine_factor) + 1e-9
    inside = sum(error <= own for error in errors) / len(errors)
    if not table.sources and abs(inside - report.interval_coverage) > max(NEIGHBOURS / len(errors), NEIGHBOURING):
        message = f"the report states that {report.interval_coverage:.0%} of the held-out networks lie in the interval,"
        yield Finding("error", "edited", f"{message} but by the table's own error {inside:.0%} of the {len(errors)} do")


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
        if abs(network_ms([prices[place] for place in network.blocks], table.calibration) - network.predicted_ms)
        > ROUNDING * network.predicted_ms
    ]
    if wrong:
        message = f"{len(wrong)} of {len(table.networks)} networks were predicted with other entries or another"
        yield Finding("error", "edited", f"{message} calibration: the table was changed after it was made")
    held_out = [network for network in table.networks if network.role == "held-out"]
    calibrated = len(table.networks) - len(held_out)
    if calibrated != table.calibration.networks:
        message = f"the calibration claims {table.calibration.networks} networks, the table keeps {calibrated}: without"
        yield Finding("error", "edited", f"{message} the others nothing bears it out")
    if table.report is not None:
        yield from _report_edited(table.report, held_out)


def _report_edited(report: Report, held_out: Sequence[NetworkReading]) -> Iterator[Finding]:
    if len(held_out) != report.subnets:
        message = f"the report claims {report.subnets} held-out networks, the table keeps {len(held_out) or 'none'}"
        yield Finding("error", "edited", f"{message}: nothing bears its error out")
        return
    errors = [abs(network.predicted_ms / network.median_ms - 1) for network in held_out]
    found = {
        "a mean error of": (report.mape, sum(errors) / len(errors)),
        "within 5 %": (report.within_5, sum(error <= 0.05 for error in errors) / len(errors)),
        "within 10 %": (report.within_10, sum(error <= 0.1 for error in errors) / len(errors)),
    }
    for what, (claimed, share) in found.items():
        if abs(claimed - share) > ROUNDING:
            message = f"the report states {what} {claimed:.1%}, but its {len(errors)} held-out networks give"
            yield Finding("error", "edited", f"{message} {share:.1%}")


def _names(table: LatencyTable) -> Iterator[Finding]:
    if table.runtime not in RUNTIMES:
        message = f"runtime {table.runtime!r} is none that this version measures with ({', '.join(RUNTIMES)})"
        yield Finding("warning", "runtime", message)
    if table.space is None and not table.sources:
        message = "the table does not keep its search space, so nothing shows whether it prices all of it"
        yield Finding("warning", "space", f"{message}; --space and --supernet name one")
    for name, date in [("", table.date), *((f" of {source.name}", source.date) for source in table.sources)]:
        if problem := _wrong_date(date):
            yield Finding("warning", "date", f"the date{name}, {date}, {problem}")


def _wrong_date(date: str) -> str:
    """What is wrong with it; empty if nothing is."""
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        return "is none of the calendar"
    if moment < EARLIEST:
        return "lies before this program: the clock of what measured was wrong"
    if moment > datetime.now(UTC) + TIME_ZONE:
        return "lies in the future: the clock of what measured was wrong, or is wrong here"
    return ""


RECORD_RULES: tuple[Callable[[LatencyTable], Iterator[Finding]], ...] = (
    _report,
    _interval,
    _session,
    _fingerprints,
    _edited,
    _names,
)
