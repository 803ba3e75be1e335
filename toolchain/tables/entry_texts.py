"""An entry of a table in words: its price, its readings, and why some figures are not there."""

from collections.abc import Iterable

from fednas.common import column_latency
from fednas.latency_tables import LEAST_PRICE_MS, TableEntry, readings_needed

NOTHING_FOUND = "~0"


def costless(entry: TableEntry) -> bool:
    """Whether the readings of whole networks left nothing for this block: its price is a floor, not a latency."""
    return entry.samples == 0 and entry.median_ms <= LEAST_PRICE_MS


def price_text(entry: TableEntry) -> str:
    """Its latency alone, for a column."""
    return NOTHING_FOUND if costless(entry) else column_latency(entry.median_ms)


def percentile_texts(entry: TableEntry) -> tuple[str, str]:
    """Tenth and ninetieth percentile of its readings, for columns; a dash where they cannot be claimed."""
    if entry.samples == 0 or entry.p10_ms is None or entry.p90_ms is None:
        return "-", "-"
    return column_latency(entry.p10_ms), column_latency(entry.p90_ms)


def range_text(prices: Iterable[TableEntry]) -> str:
    """From the cheapest to the dearest."""
    found = list(prices)
    known = [entry.median_ms for entry in found if not costless(entry)]
    if not known:
        return f"{NOTHING_FOUND} each"
    low = NOTHING_FOUND if len(known) < len(found) else column_latency(min(known))
    return f"{low} to {column_latency(max(known))}"


def missing_figures(entries: Iterable[TableEntry]) -> str:
    """Why some figures of these entries are not shown, in one line; empty where all are."""
    found = list(entries)
    reasons = []
    few = [entry for entry in found if entry.samples and (entry.p10_ms is None or entry.p90_ms is None)]
    if few:
        needed = readings_needed(0.9)
        reasons.append(f"p10 and p90 need {needed} readings (`profile --tails` takes as many)")
    if any(entry.samples == 0 for entry in found):
        reasons.append("what was not measured has no readings, and its +- is the model's own doubt")
    if any(map(costless, found)):
        reasons.append(f"{NOTHING_FOUND}: less than the networks' readings can tell")
    return "; ".join(reasons)
