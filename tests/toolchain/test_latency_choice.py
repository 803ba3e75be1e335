"""Which latency model answers, and which tables are refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fednas.common import FednasError
from fednas.latency_tables import LatencyTable, save_table
from fednas.profiles import LOCAL, find_profile, this_machine
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.latency import latency_model
from fednas.toolchain.measure import profile_space
from fednas.toolchain.search import latency_quantity
from fednas.toolchain.ship.speed import speed_of
from fednas.toolchain.space import SearchSpace, load_space


@pytest.fixture(scope="module")
def tiny_space() -> SearchSpace:
    return msgspec.structs.replace(
        load_space(embedded_space_path()),
        max_extra_blocks_per_stage=0,
        width_multiplier_choices=(0.5, 1.0),
        expansion_ratio_choices=(0.5,),
    )


@pytest.fixture(scope="module")
def table(tiny_space: SearchSpace) -> LatencyTable:
    return profile_space(tiny_space, find_profile(LOCAL), seconds=0.2, accept_unfit=True)


def saved(table: LatencyTable, folder: Path, **changes: object) -> Path:
    path = folder / "table.json"
    save_table(msgspec.structs.replace(table, **changes), path)
    return path


def test_a_device_without_a_table_is_estimated_and_says_so() -> None:
    assert latency_model("jetson", None, "fp32").identity.kind == "estimate"


def test_a_table_of_this_machine_is_used(table: LatencyTable, tmp_path: Path) -> None:
    model = latency_model(LOCAL, saved(table, tmp_path), "fp32")
    assert model.identity.kind == "measured"
    assert model.identity.sha256


def test_the_main_job_doubts_a_given_table_of_an_unfit_machine(
    table: LatencyTable, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    session = msgspec.structs.replace(table.session, remarks=("its speed varies by a factor of 9.0 (limit 2)",))
    path = saved(table, tmp_path, session=session)
    job: Any = SimpleNamespace(table=path, profile_seconds=6.0, judged_precision="fp32", profiles=None)
    speed = speed_of(job, tiny_space, find_profile(LOCAL), tmp_path, lambda *_: None)
    assert speed.doubts == (
        "Latency table: the machine was not quite fit to measure: its speed varies by a factor of 9.0 (limit 2).",
    )


def test_a_table_of_another_device_is_refused(table: LatencyTable, tmp_path: Path) -> None:
    with pytest.raises(FednasError, match="was measured on 'cpu', not on 'jetson'; name the device 'cpu', or give"):
        latency_model("jetson", saved(table, tmp_path), "fp32")


def test_a_cpu_table_of_another_machine_is_refused(table: LatencyTable, tmp_path: Path) -> None:
    other = msgspec.structs.replace(table.machine, cpu_model="Elsewhere 3000")
    with pytest.raises(FednasError, match="was measured on Elsewhere 3000, but this machine is") as caught:
        latency_model(LOCAL, saved(table, tmp_path, machine=other), "fp32")
    assert this_machine().model in str(caught.value)


def test_a_table_of_another_precision_or_batch_is_refused(table: LatencyTable, tmp_path: Path) -> None:
    with pytest.raises(FednasError, match="fp32"):
        latency_model(None, saved(table, tmp_path), "int8")
    with pytest.raises(FednasError, match="batch"):
        latency_model(None, saved(table, tmp_path, batch=8), "fp32")


def test_a_table_that_lacks_blocks_of_the_space_is_refused_before_the_search(
    table: LatencyTable, tmp_path: Path
) -> None:
    model = latency_model(LOCAL, saved(table, tmp_path), "fp32")
    with pytest.raises(FednasError, match=r"lacks \d+ blocks of this space"):
        latency_quantity(load_space(embedded_space_path()), model)
