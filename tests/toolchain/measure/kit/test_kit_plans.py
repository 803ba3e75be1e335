"""Which plan a board gets where none is asked for, and what is said about the engines that it will build."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fednas.toolchain.cli import app
from fednas.toolchain.measure.kit import read_kit
from fednas.toolchain.space import SearchSpace


@pytest.fixture
def space(tiny_space: SearchSpace, tmp_path: Path) -> Path:
    path = tmp_path / "space.json"
    path.write_text(json.dumps(tiny_space.as_record()))
    return path


def kit_for(tmp_path: Path, space: Path, *words: str) -> tuple[str, int, str]:
    """Plan and models of the kit, and what was said."""
    result = CliRunner().invoke(
        app, ["profile", "--over", f"kit:{tmp_path / 'kit'}", "--space", str(space), *words], catch_exceptions=False
    )
    assert result.exit_code == 0, result.stderr
    document = read_kit(tmp_path / "kit")
    return document.plan.name, len(document.models), result.stderr


@pytest.mark.parametrize("words", [("--device", "jetson"), ("--device", "jetson", "--runtime", "trtexec")])
def test_tensorrt_gets_whole_networks_and_the_engines_are_counted(
    words: tuple[str, ...], tmp_path: Path, space: Path
) -> None:
    plan, models, said = kit_for(tmp_path, space, *words)
    assert plan == "network"
    counted = re.search(r"plan network: with \w+ the board builds an engine for each model .*, (\d+) of them", said)
    assert counted is not None, said
    assert int(counted[1]) == models
    assert "(--plan exhaustive: 83)" in said


def test_another_plan_that_is_asked_for_is_taken_and_its_engines_are_counted(tmp_path: Path, space: Path) -> None:
    plan, models, said = kit_for(tmp_path, space, "--device", "jetson", "--plan", "exhaustive")
    assert (plan, models) == ("exhaustive", 83)
    assert "plan exhaustive: with tensorrt the board builds an engine for each model before timing it, 83" in said


def test_other_runtimes_measure_every_block(tmp_path: Path, space: Path) -> None:
    assert kit_for(tmp_path, space, "--device", "raspberry-pi-5") == ("exhaustive", 83, "")
