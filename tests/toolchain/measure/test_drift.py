"""Drift is taken out of readings whose truth is known."""

import numpy as np
import pytest

from fednas.toolchain.measure.drift import take_drift_out


def interleaved(levels: np.ndarray, rounds: int, seed: int) -> np.ndarray:
    """Candidate of each reading: every candidate once a round, in random order."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(len(levels)) for _ in range(rounds)])


def test_slow_spells_are_recognised_and_removed() -> None:
    levels = np.linspace(1.0, 3.0, 40)
    candidate = interleaved(levels, 30, seed=0)
    moment = np.arange(len(candidate))
    slowness = np.where((moment // 150) % 4 == 1, 1.5, 1.0)
    noise = np.exp(0.002 * np.random.default_rng(1).standard_normal(len(candidate)))
    result = take_drift_out(np.zeros_like(candidate), candidate, levels[candidate] * slowness * noise)
    for index, level in enumerate(levels):
        assert np.median(result.of(index)) == pytest.approx(level, rel=0.005)
    assert np.quantile(result.slowness, 0.9) == pytest.approx(1.5, rel=0.01)


def test_wander_is_the_slowest_tenth_of_the_session() -> None:
    levels = np.linspace(1.0, 3.0, 40)
    candidate = interleaved(levels, 30, seed=0)
    slowness = np.ones(len(candidate))
    slowness[240:360] = 1.25
    result = take_drift_out(np.zeros_like(candidate), candidate, levels[candidate] * slowness)
    assert result.wander() == pytest.approx(1.25, rel=0.01)
    assert take_drift_out(np.zeros_like(candidate), candidate, levels[candidate]).wander() == pytest.approx(1.0)


def test_readings_without_drift_stay_as_they_are() -> None:
    levels = np.array([1.0, 2.0, 5.0, 7.0])
    candidate = interleaved(levels, 20, seed=2)
    result = take_drift_out(np.zeros_like(candidate), candidate, levels[candidate])
    assert result.latency_ms == pytest.approx(levels[candidate])


def test_single_slow_readings_are_kept() -> None:
    levels = np.ones(5)
    candidate = interleaved(levels, 40, seed=3)
    latency_ms = np.ones(len(candidate))
    latency_ms[::20] = 9.0
    result = take_drift_out(np.zeros_like(candidate), candidate, latency_ms)
    assert (result.latency_ms > 8).sum() == 10
    assert len(result.latency_ms) == len(latency_ms)


def test_groups_are_tied_together_by_the_reference() -> None:
    # The second group was measured while the machine was twice as slow; candidate 0 is in both.
    first = interleaved(np.ones(10), 20, seed=4)
    second = np.where(first == 0, 0, first + 9)
    levels = np.concatenate([[4.0], np.linspace(1, 2, 18)])
    candidate, group = np.concatenate([first, second]), np.repeat([0, 1], len(first))
    result = take_drift_out(group, candidate, levels[candidate] * np.where(group == 1, 2.0, 1.0))
    medians = np.array([np.median(result.of(index)) for index in range(19)])
    assert medians / medians[0] == pytest.approx(levels / levels[0], rel=1e-6)


def test_groups_of_two_passes_are_tied_together_by_all_that_they_share() -> None:
    # 60 networks in groups of 20, mixed anew for a second pass. The reference is a bad judge: it alone feels each
    # group's company. Every network is up to 2 % off in a group, as one that was loaded anew.
    rng = np.random.default_rng(5)
    levels = np.exp(rng.uniform(0, 3, 61))
    candidate, group = [], []
    for number in range(6):
        if number % 3 == 0:
            order = rng.permutation(np.arange(1, 61))
        members = np.concatenate([[0], order[number % 3 * 20 : (number % 3 + 1) * 20]])
        candidate += [rng.permutation(members) for _ in range(5)]
        group += [number] * 105
    places, groups = np.concatenate(candidate), np.array(group)
    shifts, company = rng.normal(0, 0.05, 6), rng.normal(0, 0.10, 6)
    loaded = rng.normal(0, 0.01, (61, 6))
    loaded[0] = company
    logs = np.log(levels[places]) + shifts[groups] + loaded[places, groups]
    result = take_drift_out(groups, places, np.exp(logs))
    medians = np.array([np.mean(np.log(result.of(index))) for index in range(1, 61)])
    error = medians - np.log(levels[1:])
    assert np.abs(error - error.mean()).mean() < 0.01
