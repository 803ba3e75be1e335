"""The plots of a table's page."""

from collections.abc import Sequence

from fednas.common import format_count, format_latency_ms
from fednas.export.report_blocks import Picture
from fednas.latency_tables import Interval, LatencyTable, Session, TableEntry
from fednas.toolchain.scales import Scale
from fednas.toolchain.tables.charts import Chart, legend
from fednas.toolchain.tables.entry_texts import costless
from fednas.toolchain.tables.residuals import KINDS, KindError, NetworkError, kind_of

COLOURS = dict(zip(KINDS, ("unsure", "blue", "orange", "good"), strict=True))
ROLES = {"held-out": ("blue", False), "calibration": ("orange", True)}
"""Colour, and whether the mark is hollow: what the fit saw counts for less."""
MOST_DOTS = 2500
"""Entries drawn; of larger tables every n-th, so that the page stays light."""


def predictions_picture(errors: Sequence[NetworkError], interval: Interval | None) -> Picture:
    """Predicted against measured latency, with the band that the interval claims."""
    latencies = [ms for each in errors for ms in (each.network.median_ms, each.network.predicted_ms)]
    scale = _logarithmic(latencies)
    chart = Chart(
        title="Predicted against measured latency of whole networks",
        across=scale,
        up=scale,
        across_name="measured latency",
        up_name="predicted latency",
        show_across=format_latency_ms,
        show_up=format_latency_ms,
    )
    ends = (scale.low, scale.high)
    if interval is not None:
        upper = [(value, value * interval.factor) for value in ends]
        chart.area([*upper, *((value, value / interval.factor) for value in reversed(ends))])
    chart.line([(value, value) for value in ends], "limit")
    for each in sorted(errors, key=lambda each: each.network.role):
        colour, hollow = ROLES[each.network.role]
        place = each.network.median_ms, each.network.predicted_ms
        chart.dot(place, colour, _network_text(each), hollow=hollow)
    band = f"Shaded: x/{interval.factor:.3f}, claimed for {interval.coverage:.0%} of networks. " if interval else ""
    names = legend([("blue", "held out of everything", False), ("orange", "seen by the calibration", True)])
    return Picture(f"{names}\n{chart.svg()}", f"{band}Dashed: a perfect prediction.")


def kind_picture(kind: KindError, errors: Sequence[NetworkError]) -> Picture:
    """Each network's error over the share of its latency that this kind of block takes."""
    place = KINDS.index(kind.kind)
    shares = [each.shares[place] for each in errors]
    values = [each.error for each in errors]
    chart = Chart(
        title=f"Error of networks over the share of their latency in: {kind.kind}",
        across=Scale.over(shares, may_be_logarithmic=False),
        up=Scale.over([*values, -0.01, 0.01], may_be_logarithmic=False),
        across_name=f"share of the latency in: {kind.kind}",
        up_name="error of the prediction",
        show_across=lambda share: f"{share:.3g}" if share < 0 else f"{100 * share:.3g} %",
        show_up=lambda error: f"{100 * error:+.3g} %" if error else "0 %",
        height=300,
    )
    chart.line([(chart.across.low, 0.0), (chart.across.high, 0.0)], "limit")
    level = sum(values) / len(values)
    ends = (chart.across.low, chart.across.high)
    chart.line([(end, level + kind.slope * (end - kind.share)) for end in ends], "span")
    for each, share in zip(errors, shares, strict=True):
        colour, hollow = COLOURS[kind.kind], each.network.role == "calibration"
        chart.dot((share, each.error), colour, _network_text(each), hollow=hollow)
    caption = (
        f"**{kind.kind.capitalize()}**: {kind.share:.0%} of the latency on average. From the network with the least "
        f"of it to that with the most, the error moves by {kind.rise:+.1%}, which explains {kind.explained:.0%} of the "
        "errors' variance."
    )
    return Picture(chart.svg(), caption)


def prices_picture(table: LatencyTable) -> Picture | None:
    """The price of every block alone, over its MACs; None where no block has one."""
    priced = [entry for entry in table.entries if not costless(entry)]
    entries = priced[:: max(1, -(-len(priced) // MOST_DOTS))]
    if not entries:
        return None
    chart = Chart(
        title="Latency of blocks alone over their MACs",
        across=_logarithmic([entry.spec.macs for entry in entries]),
        up=_logarithmic([entry.median_ms for entry in entries]),
        across_name="MACs of the block",
        up_name="latency of the block alone",
        show_across=format_count,
        show_up=format_latency_ms,
    )
    for entry in entries:
        colour = COLOURS[kind_of(entry.spec)]
        place = entry.spec.macs, entry.median_ms
        chart.dot(place, colour, _entry_text(entry), hollow=entry.origin != "measured", radius=3)
    present = {kind_of(entry.spec) for entry in entries}
    names = legend([(COLOURS[kind], kind, False) for kind in KINDS if kind in present])
    some = "" if len(entries) == len(priced) else f" {len(entries)} of {len(priced)} are drawn."
    hollow = " Hollow: without readings of their own." * any(entry.origin != "measured" for entry in entries)
    lost = len(table.entries) - len(priced)
    nothing = f" Not drawn: {lost} modelled, of which the networks' readings tell no cost of their own." * bool(lost)
    levels = "Where the marks level off to the left, calls and memory cost more than arithmetic."
    return Picture(f"{names}\n{chart.svg()}", f"{levels}{hollow}{nothing}{some}")


def _entry_text(entry: TableEntry) -> str:
    readings = f"{entry.samples} readings, {entry.origin}" if entry.samples else f"{entry.origin}, no readings"
    return (
        f"{entry.spec.key}\n{format_latency_ms(entry.median_ms)} +- {entry.spread:.1%}, "
        f"{format_count(entry.spec.macs)} MACs, {readings}"
    )


def drift_picture(sessions: Sequence[tuple[str, Session]]) -> Picture | None:
    """How slow the machine was over each session; None if no session kept it."""
    curves = [(name, session.slowness) for name, session in sessions if len(session.slowness) > 1]
    if not curves:
        return None
    chart = Chart(
        title="How slow the machine was over the session",
        across=Scale(0.0, 1.0, logarithmic=False),
        up=Scale.over([*(value for _, curve in curves for value in curve), 0.97, 1.03], may_be_logarithmic=False),
        across_name="part of the session's readings",
        up_name="latency over the session's median",
        show_across=lambda share: f"{share:.0%}",
        show_up=lambda value: f"x {value:.4g}",
        height=260,
    )
    chart.line([(0.0, 1.0), (1.0, 1.0)], "limit")
    for name, curve in curves:
        points = [(i / (len(curve) - 1), value) for i, value in enumerate(curve)]
        chart.line(points, "curve")
        for share, value in points:
            chart.dot((share, value), "blue", f"{name}\n{share:.0%} of the session: x {value:.3f}", radius=2)
    caption = "Divided out of the readings. Steps and slopes are heat, clocks or other programs."
    return Picture(chart.svg(), caption)


def _logarithmic(values: Sequence[float]) -> Scale:
    """Latencies and MACs are compared by ratios."""
    room = (max(values) / min(values)) ** 0.04 * 1.02
    return Scale(min(values) / room, max(values) * room, logarithmic=True)


def _network_text(each: NetworkError) -> str:
    network = each.network
    shares = ", ".join(f"{kind} {share:.0%}" for kind, share in zip(KINDS, each.shares, strict=True) if share > 0)
    return (
        f"{network.role}: measured {format_latency_ms(network.median_ms)}, predicted "
        f"{format_latency_ms(network.predicted_ms)} ({each.error:+.1%})\n{len(network.blocks)} blocks; {shares}"
    )
