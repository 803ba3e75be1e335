"""Answers that cost little and save a user a search: usage errors in JSON, examples in hints, readable shares."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from fednas.toolchain.entry import main; main()"]


def run(*words: object) -> tuple[int, str, str]:
    done = subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_usage_error_is_one_json_document_with_the_nearest_option_on_stderr() -> None:
    code, out, err = run("--json", "search", "--max-mac", "5")
    assert code == 2
    assert json.loads(out)["error"]["kind"] == "UsageError"
    assert "No such option: --max-mac" in err
    assert "--max-macs" in err


def test_json_given_as_a_list_of_architectures_is_refused_in_one_line(tmp_path: Path) -> None:
    given = tmp_path / "archs.json"
    given.write_text('{"d": [0], "e": [1], "w_indices": [0]}')
    code, out, err = run("score", "--archs", given)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "archs.json" in err


def test_two_reports_need_two_files(tmp_path: Path) -> None:
    budgets = tmp_path / "budgets.toml"
    budgets.write_text('schema = 1\n[[budget]]\nname = "a"\narchitecture = "a.json"\nmax_macs = "5M"\n')
    report = tmp_path / "report"
    code, out, err = run("check", budgets, "--junit", report, "--markdown", report)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "--junit and --markdown both name" in err
    assert not report.exists()


@pytest.mark.parametrize("text", ["", "schema = 1\n"])
def test_an_unfinished_budgets_file_is_answered_with_an_example(tmp_path: Path, text: str) -> None:
    budgets = tmp_path / "budgets.toml"
    budgets.write_text(text)
    code, _, err = run("check", budgets)
    assert (code, err.count("\n")) == (1, 1)
    assert 'a file holds, line by line: schema = 1 [[budget]] name = "jetson"' in err


def test_a_budget_missed_by_far_is_said_in_times_not_in_per_cent() -> None:
    code, out, err = run("search", "--max-macs", "1")
    assert code == 1
    assert "%" not in next(line for line in out.splitlines() if line.startswith("budget macs"))
    assert "times of 1" in out
    assert "cannot be met" in err


def test_a_wrong_key_with_near_ones_does_not_list_all_others(tmp_path: Path) -> None:
    space = tmp_path / "space.json"
    space.write_text('{"num_stage": 4}')
    code, _, err = run("search", "--space", space, "--max-macs", "5M")
    assert code == 1
    assert "unknown key 'num_stage'; did you mean num_stages" in err
    assert len(err) < 200
