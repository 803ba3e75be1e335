"""Two tables of one machine made into one, with the provenance of both and no error that was not measured."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

import msgspec

from fednas.common import FednasError, read_bytes
from fednas.latency_tables import (
    BlockSpec,
    Calibration,
    LatencyTable,
    NetworkReading,
    Session,
    Source,
    TableDiff,
    TableEntry,
    diff,
    table_differences,
    table_from_json,
)
from fednas.toolchain.tables.merged_energy import merged_energy
from fednas.toolchain.tables.merged_error import with_its_error

SHOWN = 3
"""Conflicts that the refusal names."""
ADDED = ("seconds", "readings", "build_s", "load_s", "stops", "outliers", "sittings")
"""Fields of a session that add up over sessions."""
LARGEST = (
    *("drift_high", "load_before", "load_after", "timer_share", "others_cores", "stolen", "throttled"),
    *("clock_high_mhz", "hottest_c", "gpu_clock_high_mhz", "gpu_hottest_c"),
)
"""Fields whose worst is the largest."""
SMALLEST = ("drift_low", "clock_low_mhz", "gpu_clock_low_mhz")


@dataclass(frozen=True, slots=True)
class MergeInput:
    """A table with the identity of its file."""

    name: str
    sha256: str
    table: LatencyTable

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `FednasError` as `load_table` does."""
        data = read_bytes(path, "latency table")
        table = table_from_json(data, f"latency table {path}")
        name = "".join(letter if letter.isprintable() else "?" for letter in path.name)
        return cls(name, hashlib.sha256(data).hexdigest(), table)

    def sources(self, speed: float) -> tuple[Source, ...]:
        """Where its entries come from: itself, or what it was merged of; times are divided by ``speed``."""
        table = self.table
        if table.sources:
            return tuple(msgspec.structs.replace(each, speed=each.speed * speed) for each in table.sources)
        return (
            Source(
                name=self.name,
                sha256=self.sha256,
                date=table.date,
                tool_version=table.tool_version,
                machine=table.machine,
                session=table.session,
                speed=speed,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The merged table, and how its parts went together."""

    table: LatencyTable
    shared: int
    """Blocks that both had measured."""
    from_first: int
    """Blocks that only the first had."""
    from_second: int
    speed: float
    """What the times of the second were divided by; 1 where nothing is shared that would tell."""
    why_no_error: str
    """Empty if the merged table states an error of its own."""
    why_no_energy: str
    """Why what was measured of it is left out; empty if it is kept, or if neither had a meter."""


def merge(first: MergeInput, second: MergeInput) -> Merged:
    """One table of both.

    Times of the second are brought to the speed of the first's session by what they share. Blocks in both are
    weighted by their samples. Calibration, interval and report are made anew from the networks that both kept.

    Raises `FednasError` naming what differs between machines, runtimes or jobs; for tables that share readings, hold
    modelled or estimated entries, or contradict each other beyond noise.
    """
    _require_mergeable(first, second)
    compared = _comparison(first.table, second.table)
    speed = compared.speed_ratio if compared else 1.0
    sources = (*first.sources(1.0), *second.sources(speed))
    entries = _entries(first, second, speed)
    energy, why_no_energy = merged_energy(first.table, second.table)
    bare = msgspec.structs.replace(
        first.table,
        date=max(first.table.date, second.table.date),
        tool_version=version("fednas-export"),
        session=_worst_of([source.session for source in sources]),
        calibration=Calibration(),
        interval=None,
        report=None,
        energy=energy,
        machine_after=None,
        networks=(),
        space=first.table.space if first.table.space == second.table.space else None,
        sources=sources,
        entries=entries,
    )
    networks = _networks(first.table, second.table, speed, {entry.spec: i for i, entry in enumerate(entries)})
    table, why_not = with_its_error(bare, networks, (first.table, second.table), speed)
    shared = len(compared.entries) if compared else 0
    return Merged(
        table=table,
        shared=shared,
        from_first=len(first.table.entries) - shared,
        from_second=len(second.table.entries) - shared,
        speed=speed,
        why_no_error=why_not,
        why_no_energy=why_no_energy,
    )


def _require_mergeable(first: MergeInput, second: MergeInput) -> None:
    differences = table_differences(first.table, second.table)
    if hard := [str(each) for each in differences if each.weight == "another" or each.what == "governor"]:
        raise FednasError(
            f"{first.name} and {second.name} are not of one machine and job: {'; '.join(hard)}",
            hint="only tables of the same machine, runtime and settings can be merged",
        )
    ours, theirs = ({source.sha256 for source in each.sources(1.0)} for each in (first, second))
    if ours & theirs:
        raise FednasError(
            f"{first.name} and {second.name} hold the same readings", hint="give two tables that were measured apart"
        )
    for each in (first, second):
        if modelled := sum(entry.origin != "measured" for entry in each.table.entries):
            raise FednasError(
                f"{each.name} holds {modelled} modelled or estimated entries: a fit to its own session filled them in, "
                "and they have no readings to be weighed against another's",
                hint="for a better table profile anew with more --seconds; "
                "only tables whose entries are all measured (--plan exhaustive) can be merged",
            )


def _comparison(first: LatencyTable, second: LatencyTable) -> TableDiff | None:
    """What they share; None if nothing. Raises `FednasError` if it contradicts itself."""
    if not {entry.spec for entry in first.entries} & {entry.spec for entry in second.entries}:
        return None
    compared = diff(first, second)
    if compared.speed_changed:
        raise FednasError(
            f"the machine took {compared.speed_ratio:.2f} times as long in the second session, "
            f"and wandered by no more than a factor of {compared.wander:.2f} within the two",
            hint="profile both again in the same state; `table diff` shows what changed",
        )
    if changed := compared.changed:
        named = ", ".join(f"{each.spec.key} by {each.relative - 1:+.0%}" for each in changed[:SHOWN])
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise FednasError(
            f"the tables contradict each other beyond noise: {named}{more}",
            hint="`table diff` shows all; profile again instead of averaging readings that do not agree",
        )
    return compared


def _entries(first: MergeInput, second: MergeInput, speed: float) -> tuple[TableEntry, ...]:
    """Those of the first, then those that only the second has."""
    offset = len(first.sources(1.0))
    ours = {entry.spec: _placed(entry, 1.0, 0) for entry in first.table.entries}
    theirs = {entry.spec: _placed(entry, speed, offset) for entry in second.table.entries}
    both = (_pooled(entry, theirs[spec]) if spec in theirs else entry for spec, entry in ours.items())
    return (*both, *(entry for spec, entry in theirs.items() if spec not in ours))


def _placed(entry: TableEntry, speed: float, offset: int) -> TableEntry:
    """At the speed of the first session, with the places of its sources in the merged table."""
    return msgspec.structs.replace(
        entry,
        median_ms=entry.median_ms / speed,
        p10_ms=_over(entry.p10_ms, speed),
        p90_ms=_over(entry.p90_ms, speed),
        smoothed_ms=None,  # by networks that are not those of the merged table
        sources=tuple(offset + place for place in entry.sources or (0,)),
    )


def _pooled(one: TableEntry, other: TableEntry) -> TableEntry:
    """Geometric means, weighted by samples: the order of the percentiles survives them."""
    samples = one.samples + other.samples
    share = one.samples / samples if samples else 0.5  # a file may call an entry measured and give no samples
    return msgspec.structs.replace(
        one,
        median_ms=_between(one.median_ms, other.median_ms, share),
        p10_ms=_claimed(one.p10_ms, other.p10_ms, share),
        p90_ms=_claimed(one.p90_ms, other.p90_ms, share),
        samples=samples,
        loads=one.loads + other.loads if one.loads and other.loads else 0,
        spread=math.hypot(share * one.spread, (1 - share) * other.spread),
        sources=(*one.sources, *other.sources),
    )


def _between(one: float, other: float, share: float) -> float:
    return math.exp(share * math.log(one) + (1 - share) * math.log(other))


def _claimed(one: float | None, other: float | None, share: float) -> float | None:
    """A percentile of both; None unless both had readings enough to claim it."""
    return None if one is None or other is None else _between(one, other, share)


def _over(latency_ms: float | None, divisor: float) -> float | None:
    return None if latency_ms is None else latency_ms / divisor


def _networks(
    first: LatencyTable, second: LatencyTable, speed: float, places: dict[BlockSpec, int]
) -> tuple[NetworkReading, ...]:
    """Of both, each once; one that calibrated either table is held out of neither."""
    found: dict[tuple[int, ...], NetworkReading] = {}
    for table, divisor in ((first, 1.0), (second, speed)):
        for network in _moved(table, divisor, places):
            known = found.get(network.blocks)
            found[network.blocks] = network if known is None else _pooled_network(known, network)
    return tuple(sorted(found.values(), key=lambda network: network.role))


def _moved(table: LatencyTable, divisor: float, places: dict[BlockSpec, int]) -> Iterator[NetworkReading]:
    for network in table.networks:
        yield msgspec.structs.replace(
            network,
            blocks=tuple(places[table.entries[place].spec] for place in network.blocks),
            median_ms=network.median_ms / divisor,
            p10_ms=_over(network.p10_ms, divisor),
            p90_ms=_over(network.p90_ms, divisor),
        )


def _pooled_network(one: NetworkReading, other: NetworkReading) -> NetworkReading:
    samples = one.samples + other.samples
    share = one.samples / samples
    return msgspec.structs.replace(
        one,
        role=one.role if one.role == other.role else "calibration",
        median_ms=_between(one.median_ms, other.median_ms, share),
        p10_ms=_claimed(one.p10_ms, other.p10_ms, share),
        p90_ms=_claimed(one.p90_ms, other.p90_ms, share),
        samples=samples,
    )


def _worst_of(sessions: Sequence[Session]) -> Session:
    """Sums of what adds up, the worst of what does not; the sources keep each session as it was."""
    readings = sum(session.readings for session in sessions)
    interrupted = sum(session.interrupted * session.readings for session in sessions)
    plans = sorted({session.plan for session in sessions})
    return msgspec.structs.replace(
        sessions[0],
        **{name: _known(sum, sessions, name) for name in ADDED},
        **{name: _known(max, sessions, name) for name in LARGEST},
        **{name: _known(min, sessions, name) for name in SMALLEST},
        plan=f"merged from {len(sessions)} sessions ({', '.join(plans)})",
        interrupted=interrupted / readings if readings else 0.0,
        halves_ratio=max((session.halves_ratio for session in sessions), key=lambda ratio: abs(math.log(ratio))),
        gpu_slowed_by=tuple(dict.fromkeys(cause for session in sessions for cause in session.gpu_slowed_by)),
        slowness=(),
        readings_sha256="",
        remarks=tuple(dict.fromkeys(remark for session in sessions for remark in session.remarks)),
    )


def _known(worst: Callable[[list[float]], float], sessions: Sequence[Session], name: str) -> float | None:
    """Of the sessions that know this field; None where none does."""
    values = [value for session in sessions if (value := getattr(session, name)) is not None]
    return worst(values) if values else None
