"""`verify OUT --import`: the index of several device folders is written anew, or nothing is written at all."""

import json
import shutil
from pathlib import Path

import pytest
from board_results import result_of, run

from fednas.export import staged_fleet


@pytest.fixture
def fleet(jetson_once: Path, tmp_path: Path) -> Path:
    """Two device folders with their index."""
    with staged_fleet(tmp_path / "out", ["jetson", "other"]) as folders:
        for staging in folders.values():
            shutil.copytree(jetson_once, staging, dirs_exist_ok=True)
    (tmp_path / "board_result.json").write_text(json.dumps(result_of(jetson_once)))
    return tmp_path / "out"


def test_pages_of_the_index_are_written_anew_whatever_became_of_them(fleet: Path) -> None:
    (fleet / "index.md").write_text("mine\n")
    (fleet / "index.html").unlink()
    done = run("verify", str(fleet), "--import", str(fleet.parent / "board_result.json"))
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "| 2 ms (" in (fleet / "index.md").read_text()
    assert run("verify", str(fleet)).exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("{", "mine {", "JSON is malformed"),
        ('"folder": "other"', '"folder": "gone"', "names the folder 'gone', which is not there"),
        ('"size_bytes": ', '"size_bytes": 1', "index.json says something else about jetson than its manifest"),
    ],
)
def test_an_index_to_doubt_is_refused_before_anything_is_written(
    fleet: Path, old: str, new: str, complaint: str
) -> None:
    (fleet / "index.json").write_text((fleet / "index.json").read_text().replace(old, new))
    before = {path: path.read_bytes() for path in fleet.rglob("*") if path.is_file()}
    done = run("verify", str(fleet), "--import", str(fleet.parent / "board_result.json"))
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert complaint in done.stderr
    assert done.stderr.endswith("to leave the index alone, name the device's own folder\n")
    assert {path: path.read_bytes() for path in fleet.rglob("*") if path.is_file()} == before
