"""The verdict on a table's claim, from networks whose latencies are made up."""

import random

import msgspec
import pytest
from table_examples import BODY, HEAD, STEM, entry, make_table, widths

from fednas.common import FednasError
from fednas.latency_tables import Interval, LatencyTable, Report
from fednas.toolchain.measure.calibration import MeasuredNetwork
from fednas.toolchain.tables.validate import Validation, at_most, require_same_machine, verdict_on

SPECS = [STEM, *widths(BODY, tuple(range(8, 200, 8))), HEAD]
CLAIM = Report(
    subnets=30,
    mape=0.02,
    within_5=0.95,
    within_10=1.0,
    kendall_tau=0.95,
    interval_coverage=0.93,
    repeatability_mape=0.005,
)


def table(factor: float = 1.06) -> LatencyTable:
    """Blocks of 1, 2, 3 ... tenths of a millisecond, intervals x/ ``factor`` for 90 % of networks."""
    entries = [entry(spec, 0.1 * (i + 1)) for i, spec in enumerate(SPECS)]
    return make_table(*entries, interval=Interval(coverage=0.9, factor=factor), report=CLAIM)


def measured(count: int, *, error: float, speed: float = 1.0) -> list[MeasuredNetwork]:
    """Networks of six blocks, alternately that much slower and faster than the sum of their blocks."""
    rng = random.Random(count)  # noqa: S311 - a sample, not a secret
    found = []
    for i in range(count):
        blocks = [rng.randrange(len(SPECS)) for _ in range(6)]
        latency = speed * sum(0.1 * (b + 1) for b in blocks) * (1 + error if i % 2 else 1 / (1 + error))
        found.append(MeasuredNetwork(tuple(SPECS[b] for b in blocks), latency))
    return found


def verdict(networks: list[MeasuredNetwork], repeatability: float = 0.005, **details: object) -> Validation:
    return verdict_on(table(), networks, repeatability=repeatability, **details)  # type: ignore[arg-type]


def test_a_claim_that_holds() -> None:
    found = verdict(measured(30, error=0.02))
    assert (found.verdict, found.reasons) == ("holds", ())
    assert found.found.subnets == 30
    assert found.found.mape == pytest.approx(0.02, abs=0.0005)
    assert (found.found.within_5, found.found.within_10, found.found.interval_coverage) == (1.0, 1.0, 1.0)
    assert found.found.repeatability_mape == 0.005
    assert found.found.kendall_tau > 0.9
    assert found.speed_ratio == pytest.approx(1, abs=0.021)


def test_intervals_that_hold_too_few_networks() -> None:
    # 10 % off, beyond x/1.06, in every one of them.
    found = verdict(measured(30, error=0.10))
    assert found.verdict == "does not hold"
    assert found.found.interval_coverage == 0.0
    assert "intervals that claim 90% hold 0 of 30 networks" in found.reasons[0]
    assert "the mean error is" in found.reasons[1]


def test_a_machine_at_another_speed_is_told_apart_from_a_wrong_table() -> None:
    found = verdict(measured(30, error=0.02, speed=1.3))
    assert found.verdict == "does not hold"
    assert found.speed_ratio == pytest.approx(1.3, rel=0.03)
    assert found.mape_at_same_speed < 0.045
    assert [reason.split(" ")[0] for reason in found.reasons] == ["intervals"]


def test_a_flattering_report_is_found_though_the_intervals_are_wide() -> None:
    wide = verdict_on(table(factor=1.3), measured(30, error=0.06), repeatability=0.005)
    assert wide.found.interval_coverage == 1.0
    assert wide.verdict == "does not hold"
    assert "even at the same speed of the machine; 2.0% is claimed" in wide.reasons[0]
    # What the machine itself does not repeat to is not the table's fault.
    noisy = verdict_on(table(factor=1.3), measured(30, error=0.06), repeatability=0.05)
    assert noisy.verdict == "holds"


def test_few_networks_and_unfit_machines_cannot_tell() -> None:
    few = verdict(measured(8, error=0.02))
    assert (few.verdict, few.reasons) == ("cannot tell", ("8 networks are too few to tell (at least 20)",))
    unfit = verdict(measured(30, error=0.02), remarks=("too hot",))
    assert unfit.verdict == "cannot tell"
    assert "not fit to measure: too hot" in unfit.reasons[0]


def test_a_table_of_an_unfit_machine_cannot_be_borne_out() -> None:
    """Its interval is so wide that anything lies in it: that holds, and says nothing."""
    wide = table(factor=3.0)
    unfit = msgspec.structs.replace(wide, session=msgspec.structs.replace(wide.session, remarks=("others took it",)))
    networks = measured(30, error=0.02, speed=1.8)
    found = verdict_on(unfit, networks, repeatability=0.005)
    assert (found.found.within_10, found.found.interval_coverage) == (0.0, 1.0)
    assert found.verdict == "cannot tell"
    assert found.reasons == ("the table was made on a machine that was not fit to measure: others took it",)
    # A fit machine's claim of the same interval holds: what is off is the speed, and it says so.
    found = verdict_on(wide, networks, repeatability=0.005)
    assert (found.verdict, found.within_5_at_same_speed, found.within_10_at_same_speed) == ("holds", 1.0, 1.0)
    # What is wrong is wrong all the same.
    wrong = msgspec.structs.replace(unfit, interval=table().interval)
    assert verdict_on(wrong, networks, repeatability=0.005).verdict == "does not hold"


def test_an_unfit_machine_is_forgiven_its_drift_and_no_more() -> None:
    networks = measured(30, error=0.02, speed=1.15)
    assert verdict(networks, remarks=("too hot",), drift=1.2).verdict == "cannot tell"
    assert verdict(networks, remarks=("too hot",), drift=1.01).verdict == "does not hold"


def test_few_networks_that_are_all_wrong_are_enough_to_say_no() -> None:
    assert verdict(measured(6, error=0.5)).verdict == "does not hold"


@pytest.mark.parametrize(("hits", "chance"), [(0, 0.25), (1, 0.75), (2, 1.0)])
def test_chances_of_two_coins(hits: int, chance: float) -> None:
    assert at_most(hits, 2, 0.5) == pytest.approx(chance)


def test_another_machine_or_runtime_is_refused() -> None:
    with pytest.raises(FednasError, match=r"another machine or runtime than this one: .*cpu model: test processor and"):
        require_same_machine(table())


def test_a_table_that_claims_nothing_cannot_be_validated() -> None:
    bare = msgspec.structs.replace(table(), report=None)
    with pytest.raises(FednasError, match="claims no error, so there is nothing to validate"):
        verdict_on(bare, measured(30, error=0.0), repeatability=0.0)
