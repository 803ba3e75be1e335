"""The energy of a merged table: of both sessions where they measured one thing with one meter, or none, and why."""

from fednas.latency_tables import Energy, LatencyTable

DISAGREEMENT = 1.25
"""Ratio of two figures of one network beyond which their mean would be neither."""


def merged_energy(first: LatencyTable, second: LatencyTable) -> tuple[Energy | None, str]:
    """What both say of the largest network, and why that is nothing; the reason is empty if neither had a meter.

    Figures of two sessions are weighted by their inferences, powers by their seconds. The machine and its power mode
    are taken to be the same: other tables are not merged.
    """
    one, other = first.energy, second.energy
    if one is None and other is None:
        return None, ""
    if first.space is None or first.space != second.space:
        return None, "the largest network, which it is measured on, is not known to be the same in both"
    if one is None or other is None:
        return one or other, ""
    if (one.source, one.rail) != (other.source, other.rail):
        return None, f"measured by two meters: {one.source} {one.rail} and {other.source} {other.rail}"
    low, high = sorted((one.millijoules, other.millijoules))
    if high > DISAGREEMENT * low:
        return None, f"the sessions disagree: {one.millijoules:.3g} mJ and {other.millijoules:.3g} mJ for one call"
    return _pooled(one, other), ""


def _pooled(one: Energy, other: Energy) -> Energy:
    calls = one.inferences, other.inferences
    busy, idle = (one.busy_s, other.busy_s), (one.idle_s, other.idle_s)
    return Energy(
        source=one.source,
        rail=one.rail,
        busy_w=_mean((one.busy_w, other.busy_w), busy),
        idle_w=_mean((one.idle_w, other.idle_w), idle),
        busy_s=sum(busy),
        idle_s=sum(idle),
        inferences=sum(calls),
        millijoules=_mean((one.millijoules, other.millijoules), calls),
        millijoules_above_idle=_mean((one.millijoules_above_idle, other.millijoules_above_idle), calls),
    )


def _mean(values: tuple[float, float], weights: tuple[float, float]) -> float:
    return (values[0] * weights[0] + values[1] * weights[1]) / sum(weights)
