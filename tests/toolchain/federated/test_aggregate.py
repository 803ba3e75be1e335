"""Overlap-weighted averaging, worked by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fednas.common import ContractError
from fednas.toolchain.federated import OverlapAverage


def test_each_number_is_averaged_over_the_clients_that_hold_it() -> None:
    supernet = {"w": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])}
    average = OverlapAverage(supernet)
    average.add(0.5, {"w": torch.tensor([[10.0, 20.0], [30.0, 40.0]])})
    average.add(0.3, {"w": torch.tensor([[100.0, 200.0, 300.0]])})
    average.add(0.2, {"w": torch.tensor([[1000.0]])})
    # (0,0): all three, 0.5*10 + 0.3*100 + 0.2*1000 = 235
    # (0,1): two, (0.5*20 + 0.3*200) / 0.8 = 87.5
    # (0,2): the second alone, 300;  row 1: the first alone;  the rest: nobody
    expected = torch.tensor([[235.0, 87.5, 300.0], [30.0, 40.0, 6.0], [7.0, 8.0, 9.0]])
    assert torch.equal(average.result()["w"], expected)


def test_what_one_client_holds_alone_is_copied_whatever_its_weight() -> None:
    values = torch.randn(4, generator=torch.Generator().manual_seed(0))
    average = OverlapAverage({"w": torch.zeros(6)})
    average.add(0.0142857, {"w": values})
    assert torch.allclose(average.result()["w"][:4], values, rtol=1e-7)


@given(rows=st.integers(0, 4), columns=st.integers(0, 5), weight=st.floats(0.01, 1.0))
@settings(max_examples=30, deadline=None)
def test_uncovered_numbers_keep_every_bit(rows: int, columns: int, weight: float) -> None:
    old = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    old[3, 4] = float("nan")
    old[0, 4] = -0.0
    average = OverlapAverage({"w": old, "untouched": old})
    average.add(weight, {"w": torch.ones(rows, columns)})
    new = average.result()
    kept = torch.ones(4, 5, dtype=torch.bool)
    kept[:rows, :columns] = False
    assert torch.equal(new["w"].view(torch.int32)[kept], old.view(torch.int32)[kept])
    assert torch.equal(new["untouched"].view(torch.int32), old.view(torch.int32))
    assert torch.allclose(new["w"][~kept], torch.ones(rows * columns))


def test_running_statistics_are_averaged_and_counters_are_not() -> None:
    supernet = {"bn.running_mean": torch.zeros(2), "bn.num_batches_tracked": torch.tensor(7)}
    average = OverlapAverage(supernet)
    average.add(0.25, {"bn.running_mean": torch.tensor([4.0]), "bn.num_batches_tracked": torch.tensor(100)})
    average.add(0.75, {"bn.running_mean": torch.tensor([8.0]), "bn.num_batches_tracked": torch.tensor(200)})
    new = average.result()
    assert new["bn.running_mean"].tolist() == [7.0, 0.0]
    assert new["bn.num_batches_tracked"].item() == 7


def test_a_subnet_of_another_supernet_is_our_own_mistake() -> None:
    average = OverlapAverage({"w": torch.zeros(2)})
    for subnet in ({"v": torch.ones(1)}, {"w": torch.ones(3)}, {"w": torch.ones(1, 1)}):
        with pytest.raises(ContractError):
            average.add(1.0, subnet)
    with pytest.raises(ContractError, match="negative"):
        average.add(-0.1, {"w": torch.ones(1)})
