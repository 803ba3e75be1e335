"""What speaks against the session that a table tells of: figures that no session has, and faults it keeps quiet."""

from collections.abc import Callable, Iterator

from fednas.latency_tables.finding import Finding
from fednas.latency_tables.fingerprint import machine_differences
from fednas.latency_tables.table import LatencyTable, Machine, Session
from fednas.latency_tables.unfit_limits import (
    CROWDED,
    UNFIT_DRIFT,
    UNFIT_HALVES,
    UNFIT_INTERRUPTED,
    UNFIT_STOLEN,
    UNFIT_STOPS,
    UNFIT_THROTTLED,
    UNFIT_TIMER,
)

PLANS = ("exhaustive", "sparse", "network")
ROUNDED = 1.001
"""Session figures are kept to four or five digits."""


def _impossible(table: LatencyTable) -> Iterator[Finding]:
    for where, session in _sessions(table):
        wrong = [what for what, is_so in _never(session) if is_so]
        if not table.sources and session.plan not in PLANS:
            wrong.append(f"its plan is {session.plan!r}, none of {', '.join(PLANS)}")
        if wrong:
            yield Finding("error", "session", f"the session{where} cannot have been so: {'; '.join(wrong)}")


def _never(session: Session) -> Iterator[tuple[str, bool]]:
    """What no session has, and whether this one has it."""
    low, high = session.drift_low, session.drift_high
    yield f"drift from {low:g} to {high:g}", low > high
    p10, p90 = session.reference_p10_ms, session.reference_p90_ms
    yield (
        f"80 % of the reference between {p10:g} and {p90:g} ms around {session.reference_ms:g}",
        not (p10 <= session.reference_ms <= p90),
    )
    yield f"{session.outliers} outliers of {session.readings} readings", session.outliers > session.readings
    yield f"{session.stops} stops in {session.readings} readings", session.stops > session.readings
    yield f"{session.readings} readings in no time", session.readings > 0 and session.seconds == 0


def _kept_quiet(table: LatencyTable) -> Iterator[Finding]:
    """A machine that was unfit by the session's own figures is named in a remark when the table is made."""
    for where, session in _sessions(table):
        if session.remarks:
            continue
        if faults := list(_unfit(session, table)):
            message = f"by its own figures the machine{where} was not fit to measure ({'; '.join(faults)})"
            yield Finding(
                "error", "unfit", f"{message}, but no remark says so: the table was changed after it was made"
            )


def _unfit(session: Session, table: LatencyTable) -> Iterator[str]:
    if session.interrupted > UNFIT_INTERRUPTED * ROUNDED:
        yield f"other programs took the core during {session.interrupted:.0%} of the readings"
    if session.drift_high > UNFIT_DRIFT * ROUNDED * session.drift_low:
        yield f"its speed varies by a factor of {session.drift_high / session.drift_low:.1f}"
    if max(session.halves_ratio, 1 / session.halves_ratio) > UNFIT_HALVES * ROUNDED:
        yield f"the second half took {session.halves_ratio:.2f} times as long as the first"
    if (session.stolen or 0.0) > UNFIT_STOLEN * ROUNDED:
        yield f"its host took {session.stolen:.0%} of the processors' time"
    if (session.throttled or 0.0) > UNFIT_THROTTLED * ROUNDED:
        yield f"it was stopped for {session.throttled:.0%} of the time"
    if (session.timer_share or 0.0) > UNFIT_TIMER * ROUNDED:
        yield f"the clock makes {session.timer_share:.0%} of the shortest reading"
    if session.stops > UNFIT_STOPS * session.readings:
        yield f"it stood still during {session.stops} of {session.readings} readings"
    cores = len(table.machine.affinity)
    others = session.others_cores or 0.0
    if not table.sources and others + table.threads > cores + CROWDED + 0.001:
        yield f"other programs kept {others:.1f} of its {cores} cores busy, and measuring takes {table.threads}"


def _machines(table: LatencyTable) -> Iterator[Finding]:
    for where, machine in [("", table.machine), *((f" of {each.name}", each.machine) for each in table.sources)]:
        if problem := _no_machine(machine):
            yield Finding("error", "machine", f"the machine{where} cannot be: {problem}")
    if table.machine_after is None or table.session.remarks:
        return
    if apart := [each for each in machine_differences(table.machine, table.machine_after) if each.weight == "another"]:
        message = f"it was another machine after the last reading ({apart[0]}), but the table has no remark of it"
        yield Finding("error", "machine", message)


def _no_machine(machine: Machine) -> str:
    if len(set(machine.affinity)) != len(machine.affinity) or not 0 < len(machine.affinity) <= machine.cores:
        return f"{len(machine.affinity)} usable of {machine.cores} cores"
    if machine.memory_bytes is not None and machine.memory_bytes <= 0:
        return f"{machine.memory_bytes} bytes of memory"
    return ""


def _sessions(table: LatencyTable) -> list[tuple[str, Session]]:
    """The table's own, or those of what it was merged of, whose worst the merged one holds."""
    return [(f" of {source.name}", source.session) for source in table.sources] or [("", table.session)]


SESSION_RULES: tuple[Callable[[LatencyTable], Iterator[Finding]], ...] = (_impossible, _kept_quiet, _machines)
