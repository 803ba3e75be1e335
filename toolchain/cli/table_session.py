"""How the measuring of a table went, as lines for a person: the machine's state, what disturbed it, energy."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fednas.latency_tables import LatencyTable, Machine


def session_lines(found: "LatencyTable") -> list[tuple[str, str]]:
    """Key and value of each line."""
    session = found.session
    lines = [
        ("state", _state(found.machine, found.machine_after)),
        ("meanwhile", _meanwhile(found)),
    ]
    if session.build_s is not None and session.load_s is not None:
        apart = f"{session.build_s:.1f} s to make the models, {session.load_s:.1f} s to load and first run them"
        lines.append(("loading", apart))
    lines.append(("energy", _energy(found)))
    return lines


def _state(before: "Machine", after: "Machine | None") -> str:
    parts = [f"cores {_ranges(before.affinity)} usable"]
    if before.capacities:
        parts.append(f"of {len(before.capacities)} kinds")
    parts.append(f"power mode {before.power_mode or 'not readable'}")
    parts.append(f"governor {before.governor or 'not readable'}")
    parts.append({True: "clocks locked", False: "clocks not locked", None: "clocks not readable"}[before.locked])
    if before.limit_mhz:
        parts.append(f"limit {before.limit_mhz:.0f} MHz")
    if before.temperature_c is not None:
        later = f", then {after.temperature_c:.0f} C" if after and after.temperature_c is not None else ""
        parts.append(f"{before.temperature_c:.0f} C{later}")
    return ", ".join(parts)


def _meanwhile(found: "LatencyTable") -> str:
    session = found.session
    shares = (
        ("host took", session.stolen),
        ("quota stopped", session.throttled),
        ("clock unsure of", session.timer_share),
    )
    parts = [] if session.others_cores is None else [f"others kept {session.others_cores:.2f} cores busy"]
    parts += [f"{what} {share:.1%}" for what, share in shares if share is not None]
    if session.clock_low_mhz and session.clock_high_mhz:
        parts.append(f"{session.clock_low_mhz:.0f} to {session.clock_high_mhz:.0f} MHz")
    if session.hottest_c is not None:
        parts.append(f"up to {session.hottest_c:.0f} C")
    parts.append(f"{session.outliers} outliers, kept")
    if session.stops:
        parts.append(f"stood still {session.stops} times")
    return ", ".join(parts)


def _energy(found: "LatencyTable") -> str:
    energy = found.energy
    if energy is None:
        return "not on record: no power meter was found"
    each = f"{energy.millijoules:.3g} mJ for one call of the largest network"
    above = f"{energy.millijoules_above_idle:.3g} above idle"
    power = f"{energy.busy_w:.2f} W busy, {energy.idle_w:.2f} W idle, {energy.source} {energy.rail}"
    return f"{each} ({above}); {power}"


def _ranges(cores: Sequence[int]) -> str:
    """As ``taskset -c`` takes them: 0-3,6."""
    runs = []
    for _, group in itertools.groupby(enumerate(cores), key=lambda pair: pair[1] - pair[0]):
        members = [core for _, core in group]
        runs.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else str(members[0]))
    return ",".join(runs)
