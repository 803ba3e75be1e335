"""Roles, aggregation weights and random streams, against the numbers of the method."""

import msgspec
import pytest

from fednas.common import FednasError
from fednas.toolchain.federated import (
    CosineLargestWeighting,
    Roles,
    RoleTracker,
    UniformWeighting,
    stream,
    torch_stream,
    weighting_of,
)
from fednas.toolchain.supernet import TrainingSettings

PARTICIPANTS = (4, 11, 2, 9, 17, 0, 5, 8)


def test_ties_go_to_the_lowest_id_and_roles_to_two_clients() -> None:
    tracker = RoleTracker.for_clients(20)
    assert tracker.assign(PARTICIPANTS) == Roles(largest=0, smallest=2)


def test_the_least_often_chosen_comes_next() -> None:
    tracker = RoleTracker.for_clients(4)
    given = []
    for _ in range(4):
        roles = tracker.assign((3, 1, 2))
        tracker.record(roles.largest, largest=True, smallest=False)
        tracker.record(roles.smallest, largest=False, smallest=True)
        given.append((roles.largest, roles.smallest))
    # largest 1, 2, 3, 1; smallest among the rest: 2, 1, then 1 and 2 are even, then 3 has none yet
    assert given == [(1, 2), (2, 1), (3, 1), (1, 3)]


def test_a_network_drawn_by_chance_counts_as_well() -> None:
    tracker = RoleTracker.for_clients(3)
    tracker.record(0, largest=True, smallest=False)
    assert tracker.assign((0, 1, 2)) == Roles(largest=1, smallest=0)


@pytest.mark.parametrize(
    ("round_index", "largest", "other"),
    [
        (0, 0.9, 0.01429),
        (300, 0.7865, 0.0305),
        (600, 0.5125, 0.06964),
        (900, 0.2385, 0.10879),
        (1200, 0.125, 0.125),
        (1499, 0.125, 0.125),
    ],
)
def test_the_published_cosine_weights(round_index: int, largest: float, other: float) -> None:
    # K = 8, T = 1200 = 80 % of 1500 rounds, b0 = 0.9, b1 = 1/8 (method section 6.5)
    weighting = weighting_of(TrainingSettings(rounds=1500, clients=20, per_round=8))
    assert weighting == CosineLargestWeighting(initial=0.9, final=0.125, until=1200)
    weights = weighting.weights(round_index, PARTICIPANTS, Roles(largest=9, smallest=0))
    assert sum(weights) == pytest.approx(1.0, abs=1e-12)
    assert weights[3] == pytest.approx(largest, abs=5e-5)
    assert {round(w, 12) for i, w in enumerate(weights) if i != 3} == {round(weights[0], 12)}
    assert weights[0] == pytest.approx(other, abs=5e-6)


def test_uniform_weights() -> None:
    settings = TrainingSettings(rounds=5, clients=4, per_round=4, weighting="uniform")
    assert weighting_of(settings) == UniformWeighting()
    assert UniformWeighting().weights(3, (0, 1, 2, 3), Roles(0, 1)) == (0.25,) * 4


def test_streams_depend_on_every_part_of_their_name_and_on_nothing_else() -> None:
    def draw(seed: int, purpose: str, round_index: int, client: int) -> tuple[int, int]:
        own = stream(seed, purpose, round_index=round_index, client=client)
        return int(own.integers(2**62)), torch_stream(
            seed, purpose, round_index=round_index, client=client
        ).initial_seed()

    base = draw(1, "local", 2, 3)
    assert base == draw(1, "local", 2, 3)
    others = [draw(2, "local", 2, 3), draw(1, "other", 2, 3), draw(1, "local", 3, 2), draw(1, "local", 23, 3)]
    assert len({base, *others}) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per_round": 1}, "per_round is 1; it must be 2 to the number of clients .20."),
        ({"per_round": 21}, "per_round is 21"),
        ({"rounds": 0}, "rounds is 0; it must be at least 1"),
        ({"lr": -1.0}, "lr is -1.0; it must be a number above 0"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"momentum": 1.0}, "momentum"),
        ({"largest_weight": 1.5}, "largest_weight is 1.5; it must be between 0 and 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, float], message: str) -> None:
    good = TrainingSettings(rounds=10, clients=20, per_round=8)
    with pytest.raises(FednasError, match=message):
        msgspec.structs.replace(good, **change)
