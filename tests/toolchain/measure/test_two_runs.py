"""Two runs that write the same table: one wins, and neither loses anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.latency_tables import load_table
from fednas.toolchain.measure.alone import only_run

SPACE = {
    "num_stages": 1,
    "max_extra_blocks_per_stage": 1,
    "original_stem_out_channels": 8,
    "original_stage_base_channels": [8],
    "initial_input_hw": 8,
    "initial_input_channels": 1,
    "stem_stride": 1,
    "stage_downsample_factors": [1],
    "channel_divisible_by": 8,
    "n_classes": 4,
    "width_multiplier_choices": [1.0, 2.0],
    "expansion_ratio_choices": [1.0, 2.0],
}


def test_of_two_runs_started_together_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    out = tmp_path / "table.json"
    words = ["profile", "--device", "cpu", "--space", "space.json", "--seconds", "3", "--accept-unfit", "--out", out]
    command = [sys.executable, "-c", "from fednas.toolchain.entry import main; main()", *map(str, words)]
    runs = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=120)[1] for run in runs]
    codes = [run.returncode for run in runs]
    assert sorted(codes) == [0, 1], said
    assert said[codes.index(1)] == (
        f"fednas-export: another run is writing {out}; wait for it, or choose another --out\n"
    )
    assert load_table(out).session.readings > 0
    assert {path.name for path in tmp_path.iterdir()} == {"space.json", "table.json", "table.readings.jsonl"}


def test_the_table_is_free_again_after_a_run_and_after_a_killed_one(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    with (
        only_run(table),
        pytest.raises(FednasError, match=r"another run is writing .*table.json; wait for it"),
        only_run(table),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "table.json.lock").touch()  # what a killed run leaves
    with only_run(table):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_meanwhile_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before unlinks its file between our opening and our locking it."""
    lock, real_open, removed = tmp_path / "table.json.lock", os.open, []

    def open_and_lose(path: str | Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real_open(path, flags, mode)
        if not removed:
            removed.append(True)
            lock.unlink()
        return descriptor

    monkeypatch.setattr("fednas.toolchain.measure.alone.os.open", open_and_lose)
    with only_run(tmp_path / "table.json"):
        assert lock.exists()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "dear").write_text("dear")
    (tmp_path / "table.json.lock").symlink_to(tmp_path / "dear")
    with (
        pytest.raises(FednasError, match=r"table.json.lock cannot be written: .*; choose another --out"),
        only_run(tmp_path / "table.json"),
    ):
        pass
    assert (tmp_path / "dear").read_text() == "dear"
