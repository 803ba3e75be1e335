"""Sessions that cannot have been, and faults of the machine that a table keeps quiet."""

from typing import Any

import msgspec
import pytest
from table_examples import make_table, source

from fednas.latency_tables import Finding, LatencyTable, Machine, lint


def with_session(**changes: Any) -> LatencyTable:
    table = make_table()
    return make_table(session=msgspec.structs.replace(table.session, **changes))


def with_machine(**changes: Any) -> Machine:
    return msgspec.structs.replace(make_table().machine, **changes)


def found(table: LatencyTable) -> list[Finding]:
    """What lint says of session and machine; the small table has no networks, which is another finding."""
    return [finding for finding in lint(table) if finding.rule in {"session", "unfit", "machine"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drift_low": 1.2, "drift_high": 1.1}, "drift from 1.2 to 1.1"),
        ({"reference_p10_ms": 99.0}, "80 % of the reference between 99 and 6.1 ms around 6"),
        ({"outliers": 151}, "151 outliers of 150 readings"),
        ({"seconds": 0.0}, "150 readings in no time"),
        ({"plan": "guess"}, "its plan is 'guess', none of exhaustive, sparse, network"),
    ],
)
def test_a_session_that_cannot_have_been(changes: dict[str, Any], message: str) -> None:
    (finding,) = found(with_session(**changes))
    assert (finding.level, finding.rule) == ("error", "session")
    assert message in finding.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interrupted": 0.5}, "other programs took the core during 50% of the readings"),
        ({"drift_low": 0.4}, "its speed varies by a factor of 2.8"),
        ({"halves_ratio": 0.5}, "the second half took 0.50 times as long as the first"),
        ({"stolen": 0.2}, "its host took 20% of the processors' time"),
        ({"throttled": 0.02}, "it was stopped for 2% of the time"),
        ({"timer_share": 0.1}, "the clock makes 10% of the shortest reading"),
        ({"stops": 5}, "it stood still during 5 of 150 readings"),
        ({"others_cores": 1.9}, "other programs kept 1.9 of its 2 cores busy, and measuring takes 1"),
    ],
)
def test_an_unfit_machine_that_no_remark_names(changes: dict[str, Any], message: str) -> None:
    (finding,) = found(with_session(**changes))
    assert (finding.level, finding.rule) == ("error", "unfit")
    assert message in finding.message
    (told,) = found(with_session(**changes, remarks=("it was so",)))
    assert told.level == "warning"


def test_figures_at_the_limits_are_fit() -> None:
    assert found(with_session(interrupted=0.25, drift_low=1.0, drift_high=2.0, stolen=0.05, others_cores=1.25)) == []


def test_sources_of_a_merged_table_are_judged_one_by_one() -> None:
    slow, fast = source("slow.json", with_machine()), source("fast.json", with_machine())
    slow = msgspec.structs.replace(slow, session=msgspec.structs.replace(slow.session, drift_low=1.0, drift_high=1.9))
    # Together they range over more than a factor of two, but neither did.
    apart = msgspec.structs.replace(make_table().session, drift_low=0.9, drift_high=1.9)
    assert found(make_table(sources=(slow, fast), session=apart)) == []
    wild = msgspec.structs.replace(slow, session=msgspec.structs.replace(slow.session, drift_high=3.0))
    (finding,) = found(make_table(sources=(wild, fast), session=apart))
    assert "the machine of slow.json was not fit to measure" in finding.message


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"memory_bytes": -5}, "the machine cannot be: -5 bytes of memory"),
        ({"cores": 1}, "2 usable of 1 cores"),
        ({"affinity": (0, 0)}, "2 usable of 2 cores"),
    ],
)
def test_machines_that_cannot_be(machine: dict[str, Any], message: str) -> None:
    (finding,) = found(make_table(machine=with_machine(**machine)))
    assert (finding.level, finding.rule) == ("error", "machine")
    assert message in finding.message


def test_another_machine_after_the_last_reading() -> None:
    (finding,) = found(make_table(machine_after=with_machine(cpu_model="another")))
    assert finding.message.startswith("it was another machine after the last reading (cpu model: test processor and")
    assert found(make_table(machine_after=with_machine(limit_mhz=800.0))) == []
