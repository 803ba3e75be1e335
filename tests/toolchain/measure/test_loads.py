"""The spread of a median, on made-up sessions whose truth is known: most of it is how a load differs from the next."""

import itertools
import math

import numpy as np
import pytest
from made_up_sessions import milliseconds, session

from fednas.latency_tables import diff, lint
from fednas.toolchain.measure.drift import Corrected
from fednas.toolchain.measure.levels import correct, levels_of
from fednas.toolchain.measure.loads import NEIGHBOURS, error_between_loads, loads_of
from fednas.toolchain.measure.profiling import table_of
from fednas.toolchain.space import SearchSpace


def corrected(levels: np.ndarray, readings: int = 3, noise: float = 0.0, seed: int = 0) -> Corrected:
    """Readings of candidates (rows) in groups (columns), around these logarithms."""
    candidate, group = (index.repeat(readings) for index in np.indices(levels.shape).reshape(2, -1))
    logs = levels[candidate, group] + noise * np.random.default_rng(seed).standard_normal(len(candidate))
    return Corrected(candidate, np.exp(logs), np.ones(len(candidate)), group)


def test_three_loads_pool_their_variance_and_the_reference_is_loaded_once() -> None:
    # Variances of 0.03 squared and of 0.04 squared: on average 0.0354 squared.
    found = corrected(np.array([[0.0, 0.5, 1.0], [0.0, 0.03, 0.06], [1.0, 1.04, 1.08]]))
    assert list(loads_of(found)) == [1, 3, 3]
    error = 1.16 * math.sqrt((0.03**2 + 0.04**2) / 2 / 3)
    assert error_between_loads(found, np.exp([0.5, 0.03, 1.04])) == pytest.approx([0.0, error, error])


def test_what_was_loaded_once_has_the_error_of_its_readings_only() -> None:
    found = corrected(np.zeros((3, 1)), readings=9, noise=0.02)
    assert list(error_between_loads(found, np.ones(3))) == [0.0] * 3
    mad = np.median(np.abs(found.of(1) - np.median(found.of(1))))
    assert levels_of(found, 3)[1].spread == pytest.approx(1.2533 * 1.4826 * mad / 3 / np.median(found.of(1)))


def test_readings_that_scatter_more_than_loads_count() -> None:
    quiet, wild = corrected(np.zeros((60, 3)), readings=16), corrected(np.zeros((60, 3)), readings=16, noise=0.1)
    mixed = Corrected(
        quiet.candidate, np.where(quiet.candidate == 7, wild.latency_ms, 1.0), quiet.slowness, quiet.group
    )
    levels = levels_of(mixed, 60)
    assert levels[7].spread == pytest.approx(1.25 * 0.1 / math.sqrt(48), rel=0.35)
    assert levels[8].spread < levels[7].spread / 3


@pytest.mark.parametrize("loads", [3, 5])
def test_small_blocks_that_scatter_more_are_told_from_large_ones(loads: int) -> None:
    """Twice the spread holds the truth in 95 % of cases, at both ends: neighbours in latency pool, not all blocks."""
    rng = np.random.default_rng(loads)
    level = np.sort(rng.uniform(0, 3, 10 * NEIGHBOURS))
    scatter = np.where(level < 1.5, 0.08, 0.02)
    inside = []
    for _ in range(20):
        of_load = scatter[:, None] * rng.standard_normal((len(level), loads))
        found = levels_of(corrected(level[:, None] + of_load, noise=0.01, seed=int(rng.integers(1 << 30))), len(level))
        off = [abs(math.log(each.median_ms) - true) for each, true in zip(found, level, strict=True)]
        inside.append([far < 2 * each.spread for far, each in zip(off, found, strict=True)][1:])
    share = np.mean(inside, axis=0)
    for part in (share[level[1:] < 1.4], share[level[1:] > 1.6]):
        assert np.mean(part) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize(("noise", "load"), [(0.003, 0.03), (0.03, 0.0), (0.02, 0.02)])
def test_the_truth_lies_within_two_spreads_in_nineteen_of_twenty_entries(
    noise: float, load: float, tiny_space: SearchSpace
) -> None:
    inside = []
    for seed in range(12):
        found = session(tiny_space, noise=noise, load=load, passes=3, seed=seed)
        candidates = found.job.plan.candidates
        levels = levels_of(correct(found.readings, len(candidates)), len(candidates))
        for level, specs in list(zip(levels, candidates, strict=True))[1 : 1 + len(found.job.plan.blocks)]:
            inside.append(abs(math.log(level.median_ms / milliseconds(specs))) < 2 * level.spread)
            assert (level.loads, level.samples) == (3, 12)
    assert len(inside) > 150
    assert np.mean(inside) == pytest.approx(0.955, abs=0.04)


def test_two_sessions_with_other_loads_do_not_differ(tiny_space: SearchSpace) -> None:
    tables = [table_of(session(tiny_space, load=0.03, passes=3, seed=seed), accept_unfit=True) for seed in range(4)]
    assert {entry.loads for table in tables for entry in table.entries} == {3}
    compared = [diff(one, other) for one, other in itertools.pairwise(tables)]
    assert sum(len(each.changed) for each in compared) == 0
    # Their own spreads explain it: next to nothing is left to scatter between sessions.
    assert np.median([each.scatter for each in compared]) < 0.015
    assert not [finding for table in tables for finding in lint(table) if finding.rule in ("spread", "monotonic")]
