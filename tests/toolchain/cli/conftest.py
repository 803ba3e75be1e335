"""A folder of the main job that can be carried to a board."""

from pathlib import Path

import pytest
from board_results import run


@pytest.fixture(scope="session")
def jetson_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("work") / "shipped"
    done = run(
        "--device", "jetson", "--precision", "int8", "--max-macs", "1M", "--max-latency", "5ms", "--out", str(out)
    )
    assert done.exit_code == 0, done.stderr
    return out / "jetson"
