"""What a table is, how its session went and how wrong it is, as names with a sentence each."""

import statistics
from collections import Counter
from collections.abc import Iterator

from fednas.common import format_latency_ms
from fednas.latency_tables import LatencyTable, LayerUse, Machine, Session, uncrowded_ms

Fact = tuple[str, str]


def table_facts(table: LatencyTable) -> list[Fact]:
    """All of them, in the order of a reader's questions: what, how wrong, on what, how it went."""
    return [*_what(table), *_trust(table), *_machine(table), *_session(table.session), *_sources(table)]


def _what(table: LatencyTable) -> Iterator[Fact]:
    threads = f"{table.threads} thread{'s' * (table.threads != 1)}"
    yield "device", f"{table.device} ({table.kind}), {table.precision}, batch {table.batch}, {threads}"
    yield "runtime", f"{table.runtime} {table.runtime_version}"
    yield "measured", f"{table.date} by fednas-export {table.tool_version}, plan {table.session.plan}"
    yield "entries", origins_text(table)


def origins_text(table: LatencyTable) -> str:
    """How many entries were measured, modelled and estimated."""
    counts = Counter(entry.origin for entry in table.entries)
    parts = ", ".join(
        f"{counts[origin]} {origin}" for origin in ("measured", "modelled", "estimated") if counts[origin]
    )
    if len(counts) > 1:
        return f"{len(table.entries)}: {parts}; what is not measured is filled in by a fit"
    return parts


def _trust(table: LatencyTable) -> Iterator[Fact]:
    report, interval = table.report, table.interval
    if report is None or interval is None:
        yield "error", "not on record: the table does not say how wrong it is, and does not predict"
    else:
        within = f"{report.within_5:.0%} within 5 %, {report.within_10:.0%} within 10 %, tau {report.kendall_tau:.2f}"
        yield "error", f"{report.mape:.1%} on average over {report.subnets} held-out networks; {within}"
        yield "repeatability", f"{report.repeatability_mape:.1%} for the same networks measured again in the session"
        held = f"holds {report.interval_coverage:.0%} of the held-out networks"
        wander = f", of which the machine's wandering speed x/{interval.machine_factor:.3f}"
        yield "interval", f"x/{interval.factor:.3f} for {interval.coverage:.0%} of networks{wander}; {held}"
    if table.layers is not None:
        yield "layers", layers_text(table.layers)
    for remark in table.session.remarks:
        yield "unfit", remark
    calibration = table.calibration
    if calibration.networks:
        crowding = (
            f"; crowding adds {_crowding(table):.0%} at the median network" if calibration.crowding_per_ms else ""
        )
        yield "calibration", f"{calibration.networks} networks: blocks x {calibration.scale:.3f} - overheads{crowding}"
    else:
        yield "calibration", "none: a network is the plain sum of its entries"


def _crowding(table: LatencyTable) -> float:
    """What crowding adds to the sum of a network of the median size, as a share of it."""
    crowding = table.calibration.crowding_per_ms
    sums = [uncrowded_ms(network.predicted_ms, crowding) for network in table.networks]
    return crowding * statistics.median(sums) if sums else 0.0


def layers_text(use: LayerUse) -> str:
    """What became of the runtime's own times of layers."""
    if use.failed:
        return f"not used, the profile failed: {use.failed}"
    strangers = f" ({use.strangers} layers a network are of none)" * bool(use.strangers)
    found = f"profiled in {use.networks} networks, {use.attributed:.0%} of their time is of single blocks{strangers}"
    if use.error_with is None or use.error_without is None:
        return f"{found}: too little, so not used"
    errors = f"{use.error_with:.1%} with and {use.error_without:.1%} without them on networks outside the fit"
    return f"{'used' if use.used else 'not used'}: {errors}; {found}"


def _machine(table: LatencyTable) -> Iterator[Fact]:
    machine, after = table.machine, table.machine_after
    yield "machine", f"{machine.cpu_model}, {machine.cores} cores, {machine.operating_system}"
    if machine.gpu:
        yield "GPU", ", ".join([machine.gpu, *_gpu(table)])
    affinity = f"may use {len(machine.affinity)} of them" * (0 < len(machine.affinity) < machine.cores)
    affinity += f"cores of {len(machine.capacities)} kinds" * bool(machine.capacities)
    state = [affinity, f"governor {machine.governor}" * bool(machine.governor), _clocks(table)]
    state += [f"power mode {machine.power_mode}" * bool(machine.power_mode), *_heat(machine, after)]
    yield "state", ", ".join(filter(None, state))


def _gpu(table: LatencyTable) -> Iterator[str]:
    session, state = table.session, table.machine.gpu_state
    if state is not None:
        yield from filter(None, [f"driver {state.driver}" * bool(state.driver)])
        if state.power_limit_w is not None:
            yield f"power limit {state.power_limit_w:.0f} W"
    if session.gpu_clock_low_mhz is not None and session.gpu_clock_high_mhz is not None:
        yield f"clocks {session.gpu_clock_low_mhz:.0f} to {session.gpu_clock_high_mhz:.0f} MHz"
    if session.gpu_hottest_c is not None:
        yield f"up to {session.gpu_hottest_c:.0f} degrees C"
    if session.gpu_slowed_by:
        yield f"slowed by {' and '.join(session.gpu_slowed_by)}"


def _clocks(table: LatencyTable) -> str:
    session, now = table.session, table.machine.current_mhz
    locked = {True: " (locked)", False: " (not locked)", None: ""}[table.machine.locked]
    if session.clock_low_mhz is not None and session.clock_high_mhz is not None:
        return f"clocks {session.clock_low_mhz:.0f} to {session.clock_high_mhz:.0f} MHz{locked}"
    return f"{now:.0f} MHz{locked}" if now else "clocks not readable"


def _heat(before: Machine, after: Machine | None) -> Iterator[str]:
    if before.temperature_c is not None:
        until = f" to {after.temperature_c:.0f}" if after and after.temperature_c is not None else ""
        yield f"{before.temperature_c:.0f}{until} degrees C"
    if after and before.throttle_events is not None and after.throttle_events is not None:
        yield f"throttled {after.throttle_events - before.throttle_events} times"


def _session(session: Session) -> Iterator[Fact]:
    odd = [
        f"{session.outliers} outliers (kept)" * bool(session.outliers),
        f"{session.stops} stops" * bool(session.stops),
    ]
    odd = [f"{session.interrupted:.1%} interrupted", *filter(None, odd)]
    sittings = f" in {session.sittings} sittings" * (session.sittings > 1)
    yield "readings", f"{session.readings:,} in {session.seconds:.0f} s without pause{sittings}, {', '.join(odd)}"
    drift = f"{session.drift_low:.2f} to {session.drift_high:.2f} of its median latency"
    yield "drift", f"{drift}; second half of the session x {session.halves_ratio:.2f}"
    reference = f"{format_latency_ms(session.reference_p10_ms)} to {format_latency_ms(session.reference_p90_ms)}"
    yield "reference", f"largest network {format_latency_ms(session.reference_ms)} (80 % of readings {reference})"
    load = [f"load {session.load_before:.1f} before, {session.load_after:.1f} after"]
    if session.others_cores is not None:
        load.append(f"others kept {session.others_cores:.1f} cores busy")
    if session.stolen:
        load.append(f"the host took {session.stolen:.1%}")
    if session.throttled:
        load.append(f"held back by a quota {session.throttled:.1%} of the time")
    yield "other work", ", ".join(load)
    if session.build_s is not None and session.load_s is not None:
        yield "besides", f"{session.build_s:.0f} s making models, {session.load_s:.0f} s loading them"


def _sources(table: LatencyTable) -> Iterator[Fact]:
    for source in table.sources:
        at = f", times divided by {source.speed:.3f}" if source.speed != 1 else ""
        yield "merged from", f"{source.name} of {source.date}{at} (SHA-256 {source.sha256[:12]})"
    if (energy := table.energy) is None:
        none = "no power meter was found" if not table.sources else "none of the sources, or nothing that both agree on"
        yield "energy", f"not on record: {none}"
        return
    above = f"{energy.millijoules_above_idle:.3g} above idle"
    power = f"{energy.busy_w:.3g} W busy, {energy.idle_w:.3g} W idle ({energy.source} {energy.rail})"
    yield "energy", f"{energy.millijoules:.3g} mJ for a call of the largest network ({above}); {power}"
