"""Kits to be measured on stand-ins for boards."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.kit import write_kit
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.space import SearchSpace

MakeKit = Callable[..., Path]


@pytest.fixture(scope="session")
def job(tiny_space: SearchSpace) -> MeasuringJob:
    """63 models."""
    return MeasuringJob(
        device="my-board",
        plan=plan_for("exhaustive", tiny_space),
        runtime="onnxruntime",
        precision="fp32",
        threads=1,
        batch=1,
        seconds=0.2,
        seed=0,
        space=tiny_space,
    )


@pytest.fixture(scope="session")
def small_job(job: MeasuringJob) -> MeasuringJob:
    """Six models: enough to be measured, too few for a table."""
    plan = job.plan
    small = replace(plan, blocks=plan.blocks[:2], calibration=plan.calibration[:2], held_out=plan.held_out[:2])
    return replace(job, plan=replace(small, priced=small.blocks))


@pytest.fixture(scope="session")
def kits(job: MeasuringJob, small_job: MeasuringJob, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Written once; tests copy them."""
    folder = tmp_path_factory.mktemp("kits")
    trtexec = replace(small_job, runtime="tensorrt")
    return {
        name: write_kit(each, folder / name).folder
        for name, each in (("full", job), ("small", small_job), ("tensorrt", trtexec))
    }


@pytest.fixture
def make_kit(kits: dict[str, Path], tmp_path: Path) -> MakeKit:
    """A fresh copy of one of the kits: full, small or tensorrt."""

    def copy(name: str = "small") -> Path:
        return Path(shutil.copytree(kits[name], tmp_path / f"kit-{name}"))

    return copy
