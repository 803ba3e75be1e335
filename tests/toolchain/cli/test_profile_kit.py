"""The commands `profile --over kit:DIR` and `profile import`, as a user runs them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_commands import SPACE, run

from fednas.common import ExitCode
from fednas.latency_tables import load_table
from fednas.toolchain.cli.output import WIDTH


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written by the command, measured here."""
    folder = tmp_path_factory.mktemp("kit")
    space = folder / "space.json"
    space.write_text(json.dumps(SPACE))
    words = ("profile", "--device", "cpu", "--space", space, "--seconds", 0.3, "--over", f"kit:{folder / 'kit'}")
    code, out, err = run(*words)
    assert (code, err) == (ExitCode.OK, "")
    assert "models, " in out
    assert "for onnxruntime on cpu" in out
    assert "profile import results.json --kit" in out
    done = subprocess.run([sys.executable, "measure.py"], cwd=folder / "kit", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return folder / "kit"


def test_results_become_a_table(kit: Path, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    code, out, err = run("profile", "import", kit / "results.json", "--kit", kit, "--accept-unfit", "--out", path)
    assert (code, err) == (ExitCode.OK, "")
    assert max(map(len, out.splitlines())) <= WIDTH
    assert "device         cpu (measured), fp32, batch 1, 1 thread" in out
    assert "held-out networks" in out
    table = load_table(path)
    assert table.session.readings_sha256
    assert [found.name for found in tmp_path.iterdir()] == ["board.json"]


def test_without_the_kit_it_is_said_that_nothing_was_compared(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("profile", "import", kit / "results.json", "--accept-unfit", "--json")
    assert code == ExitCode.OK
    assert "not compared with the kit that was written here; --kit DIR does" in err
    assert json.loads(out)["table"] == "cpu-fp32.latency.json"
    assert (tmp_path / "cpu-fp32.latency.json").is_file()


@pytest.mark.usefixtures("steady_machine")
def test_an_unfit_board_ends_with_5_and_writes_nothing(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.unfit.UNFIT_DRIFT", 0.0)
    code, out, err = run("profile", "import", kit / "results.json", "--kit", kit, "--out", tmp_path / "t.json")
    assert (code, out) == (ExitCode.CANNOT_TELL, "")
    assert "not fit to measure: " in err
    assert "measure.py --seconds with more goes on there; --accept-unfit writes the table" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.json",), "results file nowhere.json does not exist; check the path"),
        (("{kit}",), "is not a regular file"),
        (("{kit}/job.json",), r"job.json: "),
        (("{kit}/results.json", "--kit", "{kit}/models"), "is no kit: it holds no job.json"),
        (("{kit}/results.json", "--out", "{kit}"), "is a folder, not a file"),
        (("{kit}/results.json", "--out", "{kit}/results.json"), "is the file of the results itself"),
    ],
)
def test_bad_imports_are_one_line(words: tuple[str, ...], message: str, kit: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in kit.iterdir()}
    code, out, err = run("profile", "import", *(word.format(kit=kit) for word in words))
    assert (code, out) == (ExitCode.USER_ERROR, "")
    assert err.count("\n") == 1
    assert re.search(message, err)
    assert {path: path.stat().st_mtime_ns for path in kit.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--over", "kit:"), "--over kit: names no folder; such as --over kit:./board-kit"),
        (("--over", "kit:k", "--tails"), "--tails cannot be given with --over kit:DIR"),
        (("--over", "kit:k", "--resume"), "--resume cannot be given with --over kit:DIR"),
        (("--over", "kit:k", "--out", "t", "--accept-unfit"), "--out and --accept-unfit cannot be given"),
        (("--over", "kit:k", "--runtime", "trtexe"), "unknown runtime of a kit 'trtexe'; did you mean trtexec"),
        (("--over", "kit:k", "--runtime", "onnxruntime", "--precision", "fp16"), "onnxruntime cannot time fp16 models"),
        (("--over", "kit:k", "--plan", "all"), "unknown plan 'all'"),
        (("--over", "kit:k", "--space", "no.json"), "search space no.json does not exist"),
    ],
)
def test_bad_orders_for_kits_are_one_line_and_write_nothing(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("profile", "--device", "jetson", *words)
    assert (code, out) == (ExitCode.USER_ERROR, "")
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_profile_without_a_device_is_wrong_usage() -> None:
    code, out, err = run("profile")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "--device" in err
