"""Every training image goes to exactly one client."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednas.common import FednasError
from fednas.toolchain.federated import dirichlet_partition, even_partition, stream

LABELS = np.repeat(np.arange(10), 100)


@given(seed=st.integers(0, 50), clients=st.integers(2, 12), alpha=st.sampled_from([0.3, 1.0, 100.0]))
@settings(max_examples=25, deadline=None)
def test_dirichlet_deals_out_every_image_once(seed: int, clients: int, alpha: float) -> None:
    parts = dirichlet_partition(LABELS, clients, alpha, np.random.default_rng(seed))
    assert len(parts) == clients
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))
    assert min(map(len, parts)) >= 10


def test_a_small_alpha_concentrates_classes_and_a_large_one_does_not() -> None:
    def largest_class_share(alpha: float) -> float:
        parts = dirichlet_partition(LABELS, 5, alpha, np.random.default_rng(0))
        return float(np.mean([np.bincount(LABELS[part]).max() / len(part) for part in parts]))

    assert largest_class_share(0.1) > 0.3
    assert largest_class_share(1000.0) < 0.15


def test_a_full_client_gets_no_more_of_later_classes() -> None:
    # Two clients, two classes of 40, all weight on client 0: it takes class 0, is full, and client 1 gets class 1.
    class Weighted:
        def permutation(self, values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> object:
            return values

        def dirichlet(self, _alpha: list[float]) -> object:
            return np.array([1.0, 0.0])

    labels = np.repeat([0, 1], 40)
    first, second = dirichlet_partition(labels, 2, 1.0, Weighted())  # type: ignore[arg-type]
    assert first.tolist() == list(range(40))
    assert second.tolist() == list(range(40, 80))


def test_even_parts_differ_by_one_image_at_most() -> None:
    parts = even_partition(103, 10, stream(0, "partition"))
    assert sorted(map(len, parts)) == [10] * 7 + [11] * 3
    assert sorted(np.concatenate(parts).tolist()) == list(range(103))


def test_the_same_stream_makes_the_same_partition() -> None:
    a, b = (dirichlet_partition(LABELS, 4, 0.5, stream(7, "partition")) for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    other = dirichlet_partition(LABELS, 4, 0.5, stream(8, "partition"))
    assert not all(np.array_equal(x, y) for x, y in zip(a, other, strict=True))


def test_too_many_clients_are_refused() -> None:
    with pytest.raises(FednasError, match=r"found no Dirichlet\(1\) partition of 1000 .* 101 clients 10; use fewer"):
        dirichlet_partition(LABELS, 101, 1.0, np.random.default_rng(0))
    with pytest.raises(FednasError, match="3 training images are too few for 4 clients"):
        even_partition(3, 4, np.random.default_rng(0))
