"""Two tables compared: what is noise, what is the machine, what is a block."""

import math
import random

import msgspec
import pytest
from table_examples import BODY, HEAD, STEM, entry, make_table, widths

from fednas.common import FednasError
from fednas.latency_tables import Interval, LatencyTable, TableEntry, diff, machine_differences
from fednas.latency_tables.diff import holm

SPECS = widths(BODY, tuple(range(8, 8 * 61, 8)))
QUIET = Interval(coverage=0.9, factor=1.1, machine_factor=1.02)


def session(
    seed: int, *, speed: float = 1.0, call_ms: float = 0.0, changed: dict[int, float] | None = None
) -> LatencyTable:
    """Sixty blocks of 0.1 to 6 ms whose medians scatter by 1 % between sessions and are known to 0.2 % within."""
    rng = random.Random(seed)  # noqa: S311 - noise, not a secret
    entries = [
        entry(spec, (0.1 * (i + 1) * speed + call_ms) * rng.gauss(1, 0.01) * (changed or {}).get(i, 1.0), spread=0.002)
        for i, spec in enumerate(SPECS)
    ]
    return make_table(*entries, interval=QUIET)


@pytest.mark.parametrize("seed", range(5))
def test_two_sessions_of_an_unchanged_machine(seed: int) -> None:
    found = diff(session(2 * seed), session(2 * seed + 1))
    assert not found.beyond_noise
    # Each session scatters by 1 %: their ratio by 1.4 %.
    assert found.scatter == pytest.approx(0.014, rel=0.5)
    assert found.speed_ratio == pytest.approx(1, abs=0.01)
    assert len(found.entries) == 60


def test_blocks_that_changed_are_found_and_no_others() -> None:
    found = diff(session(0), session(1, changed={10: 1.15, 50: 0.85}))
    assert {each.spec for each in found.changed} == {SPECS[10], SPECS[50]}
    assert sorted(each.relative for each in found.changed) == [
        pytest.approx(0.85, abs=0.04),
        pytest.approx(1.15, abs=0.04),
    ]
    assert found.entries[0].p_value <= found.entries[-1].p_value
    assert not found.speed_changed
    assert found.beyond_noise


def test_a_slower_machine_is_no_change_of_its_blocks() -> None:
    found = diff(session(0), session(1, speed=1.3))
    assert found.changed == ()
    assert found.speed_ratio == pytest.approx(1.3, rel=0.01)
    assert found.speed_changed
    # Two sessions that wandered by 2 % each: together hypot(ln 1.02, ln 1.02).
    assert found.wander == pytest.approx(math.exp(math.hypot(math.log(1.02), math.log(1.02))))


def test_a_costlier_call_is_the_machine_too_and_not_every_quick_block() -> None:
    found = diff(session(0), session(1, call_ms=0.03))
    assert found.quick_ratio > 1.03 > 1.01 > found.slow_ratio
    assert len(found.changed) <= 3  # the very quickest lie above the line through the others


def test_swapping_the_tables_turns_the_ratios_upside_down() -> None:
    one, other = session(0), session(1, speed=1.2, changed={5: 1.3})
    there, back = diff(one, other), diff(other, one)
    assert there.speed_ratio * back.speed_ratio == pytest.approx(1)
    assert [each.spec for each in there.changed] == [each.spec for each in back.changed]
    assert there.changed[0].relative * back.changed[0].relative == pytest.approx(1)


def test_few_blocks_scatter_as_the_machines_wandered() -> None:
    first = make_table(entry(STEM, 1.0), entry(HEAD, 2.0), interval=QUIET)
    second = make_table(entry(STEM, 1.02), entry(HEAD, 2.04), interval=QUIET)
    found = diff(first, second)
    assert found.scatter == pytest.approx(math.hypot(math.log(1.02), math.log(1.02)))
    assert not found.beyond_noise


def test_holm_needs_ever_less_of_the_later_ones() -> None:
    # Of four at 5 %: 0.0125, 0.0167, 0.025, 0.05, in order, until one fails.
    assert holm([0.012, 0.5, 0.016, 0.02], 0.05) == [True, False, True, True]
    assert holm([0.013, 0.001, 0.5, 0.5], 0.05) == [True, True, False, False]
    assert holm([0.013, 0.014, 0.5, 0.5], 0.05) == [False] * 4


def test_blocks_in_one_table_only_and_blocks_without_readings() -> None:
    first = make_table(entry(STEM, 1.0), entry(BODY, 2.0), entry(SPECS[9], 2.0))
    modelled: TableEntry = entry(BODY, 2.0, origin="modelled", samples=0)
    found = diff(first, make_table(entry(STEM, 1.0), modelled, entry(HEAD, 1.0)))
    assert (found.only_first, found.only_second, found.not_measured) == ((SPECS[9],), (HEAD,), (BODY,))
    assert [each.spec for each in found.entries] == [STEM]


def test_tables_that_are_not_comparable() -> None:
    with pytest.raises(FednasError, match="no measured block in common; were they made for different spaces"):
        diff(make_table(entry(STEM, 1.0)), make_table(entry(HEAD, 1.0)))


def test_tables_of_different_things_are_compared_and_called_so() -> None:
    found = diff(make_table(), make_table(precision="fp16", batch=4, runtime="openvino", device="board"))
    assert [str(each) for each in found.apart] == [
        "device: cpu and board",
        "runtime: onnxruntime and openvino",
        "precision: fp32 and fp16",
        "batch: 1 and 4",
    ]
    assert diff(make_table(), make_table()).apart == ()
    spaces = [make_table(space={"num_stages": 2, "n_classes": classes}) for classes in (4, 7)]
    assert [str(each) for each in diff(*spaces).apart] == ["search space: n_classes 4 and n_classes 7"]
    other = make_table(space={"num_stages": 3, "n_classes": 7, "stem_stride": 1})
    assert str(diff(spaces[0], other).apart[0]) == (
        "search space: one and another, in 3 keys (num_stages, n_classes, stem_stride)"
    )
    assert diff(spaces[0], make_table()).apart == ()  # not on record in one: nothing to say


def test_other_fingerprints_are_named_and_said_to_matter_or_not() -> None:
    machine = make_table().machine
    other = msgspec.structs.replace(
        machine, governor="powersave", power_mode="15W", limit_mhz=1500.0, current_mhz=800.0, python_version="3.12"
    )
    found = diff(make_table(), make_table(machine=other, runtime_version="1.1")).fingerprints
    assert [(each.what, each.weight) for each in found] == [
        ("runtime version", "another"),
        ("governor", "another"),
        ("power mode", "another"),
        ("limit mhz", "state"),
        ("python version", "state"),
    ]
    assert str(found[1]) == "governor: not readable and powersave"


def test_a_little_memory_kept_by_another_kernel_is_the_same_machine() -> None:
    machine = msgspec.structs.replace(make_table().machine, memory_bytes=8_000_000_000)
    assert machine_differences(machine, msgspec.structs.replace(machine, memory_bytes=8_050_000_000)) == ()
    (found,) = machine_differences(machine, msgspec.structs.replace(machine, memory_bytes=16_000_000_000))
    assert (found.what, found.weight) == ("memory bytes", "another")
