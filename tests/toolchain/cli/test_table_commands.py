"""The commands table diff, merge, validate, and the page of show, as a user runs them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from small_commands import SPACE, run

from fednas.common import ExitCode
from fednas.latency_tables.lint_record import RUNTIMES
from fednas.toolchain.cli.output import WIDTH
from fednas.toolchain.measure.runtimes import runtime_names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tables of this machine, one after the other, and the space they were made for."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "space.json").write_text(json.dumps(SPACE))
    for name in ("one.json", "two.json"):
        words = ("profile", "--device", "cpu", "--space", folder / "space.json", "--seconds", 0.3, "--accept-unfit")
        assert run(*words, "--out", folder / name)[0] == ExitCode.OK
    return folder


def edited(source: Path, target: Path, **changes: Any) -> Path:
    """A copy with other values; ``machine__governor`` names a key inside another."""
    document = json.loads(source.read_text())
    for place, value in changes.items():
        *parents, last = place.split("__")
        inner = document
        for step in parents:
            inner = inner[step]
        inner[last] = value
    target.write_text(json.dumps(document))
    return target


def slowed(source: Path, target: Path, factor: float, *, first: int = 10**9) -> Path:
    """A copy in which the first entries take that many times as long; its networks are left as they were."""
    document = json.loads(source.read_text())
    for entry in document["entries"][:first]:
        for key in {"median_ms", "p10_ms", "p90_ms", "smoothed_ms"} & entry.keys():
            entry[key] *= factor
    target.write_text(json.dumps(document))
    return target


def test_the_table_keeps_its_space_and_lint_needs_no_option(folder: Path) -> None:
    document = json.loads((folder / "one.json").read_text())
    assert document["space"] == SPACE
    del document["entries"][-1]
    document["networks"] = []
    broken = folder / "lacking.json"
    broken.write_text(json.dumps(document))
    code, out, _ = run("table", "lint", broken)
    assert code == ExitCode.USER_ERROR
    assert "blocks of the space have no entry" in out
    other = folder / "other_space.json"
    other.write_text(json.dumps(SPACE | {"n_classes": 7}))
    findings = json.loads(run("--json", "table", "lint", folder / "one.json", "--space", other)[1])["findings"]
    assert {each["rule"] for each in findings} >= {"missing", "foreign"}


def test_lint_against_another_table_and_with_foreign_readings(folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("table", "lint", folder / "one.json", "--against", folder / "two.json")
    assert "to the last digit" not in out
    copy = edited(folder / "one.json", tmp_path / "copy.json", device="board")
    code, out, _ = run("table", "lint", copy, "--against", folder / "one.json")
    assert code == ExitCode.USER_ERROR
    assert "measured entries agree with one.json to the" in out
    (tmp_path / "copy.readings.jsonl").write_text("[0,0,1.0,1.0,false]\n")
    assert "copy.readings.jsonl is not the file of raw readings" in " ".join(run("table", "lint", copy)[1].split())
    code, _, err = run("table", "lint", copy, "--against", copy)
    assert (code, err.count("\n")) == (ExitCode.USER_ERROR, 1)
    assert "is the table itself; name other tables" in err


def test_lint_finds_what_was_taken_out_or_put_in(folder: Path, tmp_path: Path) -> None:
    def found(source: Path) -> tuple[int, str]:
        code, out, err = run("--json", "table", "lint", source)
        assert err == ""
        return code, " ".join(f"{each['level']} {each['message']}" for each in json.loads(out)["findings"])

    code, said = found(edited(folder / "one.json", tmp_path / "emptied.json", networks=[]))
    assert code == ExitCode.USER_ERROR
    assert "error the report claims 2" in said
    assert "held-out networks, the table keeps none" in said
    document = json.loads((folder / "one.json").read_text())
    block = next(entry for entry in document["entries"] if entry["kind"] == "residual")
    for key in {"median_ms", "p10_ms", "p90_ms", "smoothed_ms"} & block.keys():
        block[key] = block[key] and 4 * block[key]
    (tmp_path / "one_block.json").write_text(json.dumps(document))
    code, said = found(tmp_path / "one_block.json")
    assert code == ExitCode.USER_ERROR
    assert "error 1 entry lies far off what the others say of such blocks" in said
    later = edited(folder / "one.json", tmp_path / "later.json", date="2999-01-01T00:00:00+00:00", runtime="?")
    assert "2999-01-01T00:00:00+00:00, lies in the future" in found(later)[1]
    assert "runtime '?' is none that this version measures with" in found(later)[1]


def test_commands_that_predict_doubt_an_edited_table_and_one_of_an_unfit_machine(folder: Path, tmp_path: Path) -> None:
    space, remarks = folder / "space.json", ["its speed varies by a factor of 9.0 (limit 2)"]
    path = edited(
        slowed(folder / "one.json", tmp_path / "slow.json", 2.0), tmp_path / "b.json", session__remarks=remarks
    )
    for words in (("search",), ("frontier", "--axis", "latency"), ("cache", "--axis", "latency", "--count", "2")):
        out = () if words[0] != "cache" else ("--out", tmp_path / "cache.csv")
        code, _, err = run(*words, "--space", space, "--table", path, *out)
        assert code == ExitCode.OK, err
        assert "warning: Latency table: the machine was not quite fit to measure: its speed varies" in err
        assert "the table was changed after it was made (`table lint` says more)." in err


def test_lint_knows_every_runtime_that_measures() -> None:
    assert set(RUNTIMES) == set(runtime_names())


def test_diff_of_a_table_with_itself_changed_and_not(folder: Path, tmp_path: Path) -> None:
    one = folder / "one.json"
    code, out, err = run("table", "diff", one, one)
    assert (code, err) == (ExitCode.OK, "")
    assert "blocks         none of 24 blocks changed" in out
    changed = slowed(one, tmp_path / "changed.json", 3.0, first=2)
    code, out, _ = run("table", "diff", one, changed)
    assert code == ExitCode.BUDGET_MISSED
    assert "2 of 24 blocks changed beyond noise" in out
    assert "+200.0%" in out
    assert max(map(len, out.splitlines())) <= WIDTH
    code, out, _ = run("--json", "table", "diff", one, slowed(one, tmp_path / "slow.json", 20.0))
    document = json.loads(out)
    assert code == ExitCode.BUDGET_MISSED
    assert (document["speed_changed"], document["changed"]) == (True, [])
    assert document["speed_ratio"] == pytest.approx(20)


def test_diff_says_what_else_is_different(folder: Path, tmp_path: Path) -> None:
    one = folder / "one.json"
    state = edited(one, tmp_path / "state.json", machine__limit_mhz=1500.0)
    _, out, _ = run("table", "diff", one, state)
    assert out.startswith("blocks         none of 24 blocks changed")
    assert "differs        limit mhz: not readable and 1500" in out


def test_diff_of_different_things_says_so_before_any_ratio(folder: Path, tmp_path: Path) -> None:
    one = folder / "one.json"
    changes = {"runtime": "openvino", "precision": "fp16", "machine__power_mode": "15W", "space__n_classes": 7}
    # Far more than a busy machine's speed may have wandered while the fixture's tables were measured.
    other = slowed(edited(one, tmp_path / "other.json", **changes), tmp_path / "slower.json", 20.0)
    code, out, _ = run("table", "diff", one, other)
    assert code == ExitCode.BUDGET_MISSED
    lines = out.splitlines()
    assert lines[0] == "not one thing  these are tables of different things; what follows is no change of one of them"
    assert lines[1:5] == [
        "               search space: n_classes 4 and n_classes 7",
        "               runtime: onnxruntime and openvino",
        "               precision: fp32 and fp16",
        "               power mode: not readable and 15W",
    ]
    assert lines[5].startswith("ratio          the second takes x 20.000 (quick blocks x 20.000, slow ones x 20.000)")
    assert "changed" not in out
    assert "whole machine" not in out
    assert max(map(len, lines)) <= WIDTH
    document = json.loads(run("--json", "table", "diff", one, other)[1])
    assert document["same_thing"] is False
    assert {each["what"] for each in document["apart"]} == {"runtime", "precision", "power mode", "search space"}


def test_merge_writes_a_table_that_every_other_command_reads(folder: Path, tmp_path: Path) -> None:
    # The same readings at another date stand for a second session that agrees with the first.
    one, again = (
        folder / "one.json",
        edited(folder / "one.json", tmp_path / "again.json", date="2030-01-01T00:00:00+00:00"),
    )
    merged = tmp_path / "new" / "merged.json"
    code, out, err = run("table", "merge", one, again, "--out", merged)
    assert (code, err) == (ExitCode.OK, "")
    assert "24: 24 in both, 0 only in the first, 0 only in the second; the second's times were divided by 1.000" in out
    assert "merged from    one.json of" in out
    code, out, _ = run("table", "show", merged, "--html", tmp_path / "merged.html")
    assert code == ExitCode.OK
    assert (tmp_path / "merged.html").read_text().startswith("<!doctype html>")
    rules = {each["rule"] for each in json.loads(run("--json", "table", "lint", merged)[1])["findings"]}
    assert not rules & {"edited", "fingerprints", "missing", "copied"}


def test_merge_refuses_other_machines_and_overwrites_no_input(folder: Path, tmp_path: Path) -> None:
    one = folder / "one.json"
    before = one.read_bytes()
    board = edited(one, tmp_path / "board.json", machine__cpu_model="Cortex-A78", runtime_version="9.9")
    code, _, err = run("table", "merge", one, board, "--out", tmp_path / "m.json")
    assert (code, err.count("\n")) == (ExitCode.USER_ERROR, 1)
    assert "not of one machine and job: runtime version: " in err
    assert "and Cortex-A78" in err
    for out in (one, tmp_path / "link.json"):
        if not out.exists():
            out.symlink_to(one)
        code, _, err = run("table", "merge", one, folder / "two.json", "--out", out)
        assert code == ExitCode.USER_ERROR
        assert "is one of the inputs; name another file" in err
    assert run("table", "merge", one, one, "--out", tmp_path / "m.json")[2].count("hold the same readings") == 1
    assert not (tmp_path / "m.json").exists()
    assert one.read_bytes() == before


def test_show_says_why_percentiles_are_missing_and_keeps_columns_straight(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "one.json").read_text())
    for entry in document["entries"]:
        entry |= {"p10_ms": entry["median_ms"] / 1.1, "p90_ms": entry["median_ms"] * 1.1, "samples": 44}
    full = tmp_path / "full.json"
    full.write_text(json.dumps(document))
    assert "need 44 readings" not in run("table", "show", full)[1]
    first = document["entries"][0]
    del first["p10_ms"], first["p90_ms"]
    first["samples"] = 9
    last = next(entry for entry in document["entries"] if entry["kind"] == "residual")
    last |= {"origin": "modelled", "samples": 0, "median_ms": 9.0, "p90_ms": 9.9}
    few = tmp_path / "few.json"
    few.write_text(json.dumps(document))
    _, out, _ = run("table", "show", few)
    said = " ".join(out.split())
    assert "p10 and p90 need 44 readings (`profile --tails` takes as many); what was not measured has no read" in said
    (row,) = [line.split() for line in out.splitlines() if "9.00 ms" in line and "modelled" in line]
    assert row[2:] == ["9.00", "ms", "-", "-", row[6], "-", "modelled"]
    assert max(map(len, out.splitlines())) <= WIDTH


def test_show_never_writes_its_page_over_the_table(folder: Path) -> None:
    one = folder / "one.json"
    before = one.read_bytes()
    code, _, err = run("table", "show", one, "--html", one)
    assert code == ExitCode.USER_ERROR
    assert "is one of the inputs; name another file" in err
    assert one.read_bytes() == before


def test_a_page_needs_a_file_to_go_to(folder: Path) -> None:
    code, _, err = run("table", "show", folder / "one.json", "--html", folder)
    assert code == ExitCode.USER_ERROR
    assert "is a folder, so no file can be written there; name a file" in err


def test_validate_wants_a_time_and_a_number_of_networks_that_end(folder: Path) -> None:
    code, _, err = run("table", "validate", folder / "one.json", "--seconds", "nan")
    assert (code, "--seconds is nan; it must be a number above zero" in err) == (ExitCode.USER_ERROR, True)
    code, _, err = run("table", "validate", folder / "one.json", "--subnets", "1000000000")
    assert (code, "1000000000" in err) == (ExitCode.USAGE, True)


def test_profile_and_frontier_overwrite_no_input(folder: Path) -> None:
    space, table = folder / "space.json", folder / "one.json"
    before = space.read_bytes(), table.read_bytes()
    for words in (
        ("profile", "--device", "cpu", "--space", space, "--out", space),
        ("frontier", "--space", space, "--axis", "latency", "--table", table, "--out", table),
    ):
        code, _, err = run(*words)
        assert (code, err.count("\n")) == (ExitCode.USER_ERROR, 1)
        assert "is one of the inputs; name another file; no input is overwritten" in err
    assert (space.read_bytes(), table.read_bytes()) == before


def test_validate_measures_fresh_networks_and_keeps_the_contract(folder: Path) -> None:
    code, out, err = run("--json", "table", "validate", folder / "one.json", "--subnets", 6, "--seconds", 0.2)
    found = json.loads(out)
    assert err == ""
    assert found.keys() >= {
        *("subnets", "mape", "within_5", "within_10", "kendall_tau", "interval_coverage", "repeatability_mape"),
        *("verdict", "reasons", "claimed", "interval", "networks", "speed_ratio"),
    }
    assert found["subnets"] == len(found["networks"]) == 6
    assert found["verdict"] in ("cannot tell", "does not hold")  # six networks never suffice to say that it holds
    assert code == {"cannot tell": ExitCode.CANNOT_TELL, "does not hold": ExitCode.BUDGET_MISSED}[found["verdict"]]
    mean = sum(abs(n["predicted_ms"] / n["measured_ms"] - 1) for n in found["networks"]) / 6
    assert found["mape"] == pytest.approx(mean)


def test_validate_finds_a_table_that_is_wrong(folder: Path, tmp_path: Path) -> None:
    wrong = slowed(folder / "one.json", tmp_path / "wrong.json", 10.0)
    code, out, _ = run("table", "validate", wrong, "--subnets", 12, "--seconds", 0.2)
    assert code == ExitCode.BUDGET_MISSED
    assert "the table's claim does not hold" in out
    assert re.search(r"hold 0 of 12 networks", " ".join(out.split()))
    assert max(map(len, out.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"machine__cpu_model": "Cortex-A78"}, "another machine or runtime than this one: cpu model: Cortex-A78 and"),
        ({"runtime_version": "0.1"}, r"runtime version: 0\.1 and "),
        ({"machine__power_mode": "MAXN"}, "power mode: MAXN and not readable"),
        ({"space": None}, "does not keep the search space that it was made for; give --space or --supernet"),
        ({"report": None}, "claims no error, so there is nothing to validate"),
        ({"space": {"num_stages": 2}}, r"latency table .*: space: missing key"),
        ({"schema": 7, "zones": []}, "schema 7, newer than the 1 that this version reads"),
        ({"threads": 4096}, r"--threads is 4096; this process may use \d+ core"),
        ({"precision": "fp16"}, "onnxruntime cannot time fp16 models"),
    ],
)
def test_validate_refuses_what_it_cannot_judge(
    folder: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    code, out, err = run("table", "validate", edited(folder / "one.json", tmp_path / "t.json", **changes))
    assert (code, out, err.count("\n")) == (ExitCode.USER_ERROR, "", 1)
    assert re.search(message, err)


@pytest.mark.parametrize(
    "words", [("show",), ("lint",), ("diff", "ok"), ("merge", "ok", "--out", "new.json"), ("validate",)]
)
@pytest.mark.parametrize("content", ["", "{", '{"schema": 1}', "[]", "\x00", '{"schema": "one"}'])
def test_every_command_answers_a_damaged_table_in_one_line(
    folder: Path, tmp_path: Path, words: tuple[str, ...], content: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    command, *rest = (folder / "one.json" if word == "ok" else word for word in words)
    code, out, err = run("table", command, *([rest[0], bad, *rest[1:]] if rest else [bad]))
    assert (code, out, err.count("\n")) == (ExitCode.USER_ERROR, "", 1)
    assert "bad.json" in err
