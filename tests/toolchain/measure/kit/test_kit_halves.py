"""One definition of a session's halves: what the board's script says is what the table holds."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from made_up_sessions import readings_in, session

from fednas.toolchain.measure import unfit
from fednas.toolchain.measure.analysis import Analysis
from fednas.toolchain.measure.journal import Reading
from fednas.toolchain.measure.kit.board import main, partial
from fednas.toolchain.measure.kit.board.halves import UNFIT_HALVES_RATIO, halves_ratio
from fednas.toolchain.space import SearchSpace


def reading(group: int, candidate: int, latency_ms: float) -> Reading:
    return Reading(group, candidate, latency_ms, 1.0, False)


def test_by_hand() -> None:
    # Two candidates, each 1.0 and then 1.2 times its level; medians 1.1 and 11: slowness 1/1.1 and then 1.2/1.1.
    heating = [reading(0, 0, 1.0), reading(0, 1, 10.0), reading(0, 1, 12.0), reading(0, 0, 1.2)]
    assert halves_ratio(heating) == pytest.approx(1.2)
    assert halves_ratio([reading(0, 0, 1.0)]) is None
    assert halves_ratio([]) is None


def test_groups_are_tied_by_the_reference() -> None:
    """The second group is all in the second half: only the reference tells that the machine became slower."""
    first = [reading(0, 0, 1.0), reading(0, 1, 5.0)] * 3
    second = [reading(1, 0, 1.3), reading(1, 2, 9.0)] * 3
    assert halves_ratio(first + second) == pytest.approx(1.3)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.1, 1.3])
def test_the_script_and_the_table_say_the_same_of_the_same_readings(
    factor: float, tiny_space: SearchSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = readings_in(tiny_space)
    collected = session(tiny_space, np.repeat([1.0, factor], [count // 2, count - count // 2]))
    with partial.Partial(str(tmp_path), {}, {}) as kept:
        kept.readings = [partial.BoardReading(*each) for each in collected.readings]
        main._remark(kept)
    said = capsys.readouterr().out
    table = Analysis(collected).table()
    assert table.session.halves_ratio == halves_ratio(kept.readings)
    told = re.search(r"took ([0-9.]+) times as long as the first", said)
    assert (told is not None) == (factor != 1.0)
    if told is not None:
        assert told[1] == f"{table.session.halves_ratio:.2f}"
    unfit_there = any("the second half of the session took" in remark for remark in table.session.remarks)
    assert ("no table is made of them" in said) == unfit_there == (factor in (0.8, 1.3))


def test_both_sides_have_the_same_limit() -> None:
    assert unfit.UNFIT_HALVES == UNFIT_HALVES_RATIO


def test_interrupted_readings_count_on_both_sides(tiny_space: SearchSpace) -> None:
    collected = session(tiny_space)
    readings = [each._replace(interrupted=number % 5 == 0) for number, each in enumerate(collected.readings)]
    analysis = Analysis(dataclasses.replace(collected, readings=readings))
    assert analysis.halves == halves_ratio(readings)
