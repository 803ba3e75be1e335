"""``profile --over ssh://`` as a user runs it, with the real kit and onnxruntime."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fednas.common import ExitCode
from fednas.latency_tables import lint_readings, load_table
from fednas.toolchain.cli import app
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


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def words(tmp_path: Path) -> list[object]:
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    options = ("--space", tmp_path / "space.json", "--board-python", sys.executable, "--seconds", 0.2)
    return ["profile", "--device", "cpu", *options, "--accept-unfit"]


def test_tables_of_two_boards_and_the_failure_of_a_third(board: Any, words: list[object], tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    boards = [word for host in ("board", "stranger", "other") for word in ("--over", f"ssh://{host}")]
    code, printed, said = run("--json", *words, *boards, "--out", out)
    assert code == ExitCode.USER_ERROR
    answers = {answer["over"]: answer for answer in json.loads(printed)["boards"]}
    assert sorted(answers) == ["board", "other", "stranger"]
    assert answers["stranger"]["error"]["exit_code"] == ExitCode.USER_ERROR
    assert "host key is not known here" in answers["stranger"]["error"]["message"]
    assert said.rstrip().endswith("fednas-export: 1 of 3 boards failed: stranger; the reasons stand above")
    for host in ("board", "other"):
        path = tmp_path / f"table.{host}.json"
        assert answers[host]["table"] == str(path)
        table = load_table(path)
        assert table.runtime == "onnxruntime"
        assert table.session.readings > 0
        assert table.session.readings_sha256
        assert lint_readings(table, path) == []
        assert (tmp_path / f"table.{host}.readings.jsonl").is_file()
    assert len(list(tmp_path.iterdir())) == 5
    assert board.folders == []


@pytest.mark.usefixtures("steady_machine")
def test_an_unfit_board_ends_with_5_and_its_results_are_kept(
    board: Any, words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.unfit.UNFIT_DRIFT", 0.0)
    out = tmp_path / "table.json"
    code, printed, said = run(*words[:-1], "--over", "ssh://board", "--out", out)
    assert (code, printed) == (ExitCode.CANNOT_TELL, "")
    assert "the machine is not fit to measure: " in said
    results = tmp_path / "table.results.json"
    assert f"`fednas-export profile import {results} --accept-unfit` writes the table all the same" in said
    assert run("profile", "import", results, "--accept-unfit", "--out", out)[0] == ExitCode.OK
    first = load_table(out)
    assert first.device == "cpu"
    assert "--resume measures as long again, or more --seconds in all; " in said
    assert len(board.folders) == 1
    code, _, said = run(*words, "--over", "ssh://board", "--out", out, "--resume")
    assert code == ExitCode.OK, said
    assert load_table(out).session.readings > first.session.readings
    assert board.folders == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["space.json", "table.json", "table.readings.jsonl"]


@pytest.mark.usefixtures("steady_machine")
def test_a_board_that_was_busy_is_measured_anew(
    board: Any, words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More readings do not make good for those that were taken in a crowd, so they do not stay there."""
    monkeypatch.setattr("fednas.toolchain.measure.unfit.sitting_remarks", lambda _: iter(["it was busy"]))
    code, _, said = run(*words[:-1], "--over", "ssh://board", "--out", tmp_path / "table.json")
    assert code == ExitCode.CANNOT_TELL
    assert "it was busy" in said
    assert "start again without --resume: what is read stays as it is; `fednas-export profile import" in said
    assert "go on" not in said
    assert board.folders == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["space.json", "table.results.json"]


def test_a_table_that_another_run_is_writing_is_left_to_it(board: Any, words: list[object], tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    with only_run(out):
        code, printed, said = run(*words, "--over", "ssh://board", "--out", out)
    assert (code, printed) == (ExitCode.USER_ERROR, "")
    assert said == f"fednas-export: another run is writing {out}; wait for it, or choose another --out\n"
    assert board.folders == []


def test_ctrl_c_in_the_terminal_leaves_a_run_that_is_resumed(board: Any, words: list[object], tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    words[words.index("--seconds") + 1] = 3
    over = ["--over", "ssh://board", "--out", str(out)]
    command = [sys.executable, "-c", "from fednas.toolchain.entry import main; main()", *map(str, words), *over]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for _ in range(300):
        partial = board.temporary.glob("fednas-*/kit/readings.partial")
        if process.poll() is not None or any(path.stat().st_size > 10_000 for path in partial):
            break
        time.sleep(0.1)
    # The whole group, as a terminal does it: ssh must not be what ends first.
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    (folder,) = board.folders
    assert f"board: the readings so far stand in {folder}; --resume goes on with them" in said
    assert not out.exists()
    code, printed, said = run(*words, *over, "--resume")
    assert code == ExitCode.OK, said
    assert "table          " in printed
    assert board.folders == []
    assert not (tmp_path / "table.json.board").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--over", "ssh://-oProxyCommand=x"), "'-oProxyCommand=x' is no host name"),
        (("--over", "ssh://board", "--over", "ssh://me@board"), "--over names me@board twice"),
        (("--over", "ssh://board", "--over", "local"), "--over is given 2 times; only ssh:// boards"),
        (("--over", "ssh://board", "--lock-clocks"), "--lock-clocks cannot be given with --over ssh://"),
        (("--over", "ssh://board", "--board-python", "-c"), "--board-python '-c' is no program"),
        (("--over", "ssh://board", "--out", "."), "--out . is a folder, not a file"),
        (("--over", "ssh://board", "--resume"), r"there is no run to take up: .*\.board does not exist"),
        (("--over", "ssh://board", "--precision", "int9"), "unknown precision 'int9'"),
        (("--board-python", "python3"), "--board-python is given, but no board over ssh"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    board: Any, more: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("profile", "--device", "cpu", *more)
    assert (code, out) == (ExitCode.USER_ERROR, "")
    assert err.count("\n") == 1
    assert re.search(message, err)
    assert list(tmp_path.iterdir()) == []
    assert board.folders == []
