"""search, score and cache as their user runs them."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fednas.toolchain.cli import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_search_prints_one_json_document_with_the_contract_keys() -> None:
    result = run("search", "--max-macs", "5M", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    keys = {"architecture", "fitness", "macs", "params", "latency_ms", "status", "upper_bound", "gap", "seconds"}
    assert keys <= set(found)
    assert set(found["architecture"]) == {"d", "e", "w_indices"}
    assert found["status"] == "optimal"
    assert found["gap"] == 0
    assert found["macs"] <= 5_000_000
    assert found["latency_ms"] is None


def test_global_flags_work_before_the_command_too() -> None:
    assert json.loads(run("--json", "search", "--max-macs", "5M").stdout)["status"] == "optimal"


def test_an_infeasible_search_names_the_smallest_value_and_the_network() -> None:
    result = run("search", "--max-macs", "300k", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["status"] == "infeasible"
    assert found["limits"][0]["smallest_reachable"] == 515040
    assert found["limits"][0]["reached_by"]["d"] == [0, 0, 0, 0]
    assert "--max-macs 300k cannot be met: the smallest reachable value is 515k (515040)" in result.stderr
    assert "raise the budget" in result.stderr


def test_limits_that_are_only_infeasible_together_are_answered_together() -> None:
    result = run("search", "--max-macs", "516k", "--max-params", "37k", "--json")
    assert result.exit_code == 1
    assert "--max-params 37k cannot be met: the smallest reachable value is 37.8k (37762)" in result.stderr


def test_a_latency_budget_on_two_devices_holds_on_both() -> None:
    result = run("search", "--device", "jetson", "--device", "raspberry-pi-4", "--max-latency", "600us", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [p["device"] for p in found["predictions"]] == ["jetson-orin-nano", "raspberry-pi-4"]
    assert all(p["latency_ms"] <= 0.6 for p in found["predictions"])
    assert all(p["kind"] == "estimate" and p["low_ms"] < p["latency_ms"] < p["high_ms"] for p in found["predictions"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-macs", "5parsec"], "--max-macs is '5parsec', which is no quantity"),
        (["--max-macs", "-5M"], "--max-macs is '-5M', but it must be above zero"),
        (["--max-macs", "0"], "--max-macs is '0', but it must be above zero"),
        (["--max-macs", "nan"], "--max-macs is 'nan', which is no quantity"),
        (
            ["--max-latency", "5", "--device", "cpu"],
            "--max-latency is '5', which is no quantity with one of the units us, ms, s",
        ),
        (["--max-latency", "5ms"], "a latency budget needs a device or a latency table"),
        (["--device", "jetsno"], "unknown device 'jetsno'; did you mean jetson"),
        (["--space", "nowhere.json"], "search space nowhere.json does not exist"),
        (["--accounting", "publishd"], "unknown accounting 'publishd'; did you mean published?"),
        (["--method", "exakt"], "unknown search method 'exakt'; did you mean exact?"),
        (["--table", "nowhere.json"], "nowhere.json does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(arguments: list[str], message: str) -> None:
    result = run("search", *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_error_with_json_is_the_one_document_on_stdout() -> None:
    result = run("search", "--device", "jetsno", "--json")
    error = json.loads(result.stdout)["error"]
    assert error["exit_code"] == result.exit_code == 1
    assert error["message"].startswith("unknown device 'jetsno'")


def test_a_wrong_option_is_a_usage_error() -> None:
    result = run("search", "--max-mac", "5M")
    assert result.exit_code == 2


def test_cache_spans_the_space_and_score_agrees_with_it(tmp_path: Path) -> None:
    out = tmp_path / "cache.csv"
    result = run("cache", "--count", "12", "--out", str(out), "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["rows"] == 12
    rows = list(csv.DictReader(out.read_text().splitlines()))
    macs = [int(row["macs"]) for row in rows]
    assert macs == sorted(macs)
    assert (macs[0], macs[-1]) == (515040, 14999808)
    assert len({(row["d"], row["e"], row["w_indices"]) for row in rows}) == 12
    scores = json.loads(run("score", "--archs", str(out), "--device", "jetson", "--json").stdout)
    assert [s["macs"] for s in scores] == macs
    assert [s["fitness"] for s in scores] == [float(row["fitness_score"]) for row in rows]
    keys = {"macs", "params", "fitness", "entropy", "effectiveness", "depth_penalty", "channel_penalty"}
    latency = {"latency_ms", "latency_low_ms", "latency_high_ms", "coverage", "latency_kind", "modelled"}
    assert set(scores[0]) == keys | latency
    assert {(s["latency_kind"], s["modelled"]) for s in scores} == {("estimate", 0.0)}
    text = " ".join(run("score", "--archs", str(out), "--device", "jetson").stdout.split())
    assert "is an ESTIMATE from its datasheet, measured by nobody; the interval held 80% of public" in text


def test_making_a_cache_twice_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        assert run("cache", "--count", "6", "--out", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "1"], "count is 1; a cache needs at least 2 rows"),
        (["--min-macs", "5M", "--max-macs", "4M"], "--min-macs 5e+06 is not below --max-macs 4e+06"),
    ],
)
def test_bad_caches_are_refused_and_nothing_is_written(tmp_path: Path, arguments: list[str], message: str) -> None:
    out = tmp_path / "cache.csv"
    result = run("cache", "--out", str(out), *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not out.exists()


def test_an_out_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    result = run("cache", "--count", "2", "--out", str(tmp_path / "no" / "cache.csv"))
    assert result.exit_code == 1
    assert "does not exist; create it or choose another path" in result.stderr


def test_the_published_scores_come_out_of_the_command(shared_data: Path) -> None:
    reference = shared_data / "reference"
    result = run(
        "score", "--space", str(reference / "space-paper-4-stage.json"), "--accounting", "published", "--json",
        "--archs", str(reference / "scores-paper-4-stage.csv"),
    )  # fmt: skip
    scores = json.loads(result.stdout)
    published = list(csv.DictReader((reference / "scores-paper-4-stage.csv").read_text().splitlines()))
    assert [s["macs"] for s in scores] == [int(row["macs"]) for row in published]
    assert [s["entropy"] for s in scores] == [float(row["entropy"]) for row in published]


def test_a_command_that_fails_inside_is_our_bug_with_a_traceback_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("fednas.toolchain.search.request.answer_search", broken)
    result = run("search", "--max-macs", "5M")
    assert result.exit_code == 70
    assert "a bug in fednas-export (ZeroDivisionError: boom); please report it with the file" in result.stderr
    named = Path(result.stderr.strip().rsplit(" ", 1)[-1])
    assert "ZeroDivisionError" in named.read_text()
    named.unlink()


def test_ctrl_c_is_one_line_and_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fednas.toolchain.search.request.answer_search", interrupted)
    result = run("search", "--max-macs", "5M")
    assert result.exit_code == 130
    assert result.stderr.strip() == "fednas-export: interrupted; nothing was left half written"


def test_an_answer_says_what_binds_and_what_the_next_better_subnet_costs() -> None:
    found = json.loads(run("search", "--max-macs", "5M", "--max-params", "60M", "--json").stdout)
    macs, params = found["limits"]
    assert macs["binds"]
    assert params["binds"] is False
    assert params["next_better"] is None
    step = macs["next_better"]
    assert step["value"] == 5_000_000 + step["increase"] > 5_000_000
    assert step["fitness"] > found["fitness"]
    # One less than the next better subnet costs changes nothing; its cost does.
    below, at = (str(int(step["value"]) - 1), str(int(step["value"])))
    assert json.loads(run("search", "--max-macs", below, "--json").stdout)["fitness"] == found["fitness"]
    assert json.loads(run("search", "--max-macs", at, "--json").stdout)["fitness"] == step["fitness"]
    assert found["of_largest"]["macs"] == found["macs"] / 14999808
    text = " ".join(run("search", "--max-macs", "5M").stdout.split())
    assert "binds: the next better subnet (fitness" in text
    assert "largest network" in text


def test_the_genetic_method_is_feasible_with_a_true_bound() -> None:
    options = ("--method", "genetic", "--seed", "3", "--population", "20", "--generations", "10")
    found = json.loads(run("search", "--max-macs", "5M", *options, "--json").stdout)
    best = json.loads(run("search", "--max-macs", "5M", "--json").stdout)
    assert found["status"] == "feasible"
    assert found["fitness"] <= best["fitness"] <= found["upper_bound"]
    assert found["limits"][0]["binds"] is None
    assert found == json.loads(run("search", "--max-macs", "5M", *options, "--json").stdout) | {
        "seconds": found["seconds"]
    }


def test_a_weighted_latency_trades_fitness_for_milliseconds() -> None:
    free = json.loads(run("search", "--device", "cpu", "--json").stdout)
    weighted = json.loads(run("search", "--device", "cpu", "--latency-weight", "1000", "--json").stdout)
    assert weighted["latency_ms"] < free["latency_ms"]
    assert weighted["objective"] == pytest.approx(weighted["fitness"] - 1000 * weighted["latency_ms"])
    assert weighted["objective"] > free["fitness"] - 1000 * free["latency_ms"]
    assert weighted["upper_bound"] == weighted["objective"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "3"], "only the genetic search takes --seed; add --method genetic"),
        (["--method", "genetic", "--population", "2"], "genetic settings 2 individuals"),
        (
            ["--method", "genetic", "--generations", "1", "--population", "3", "--max-macs", "516k"],
            "the genetic search drew",
        ),
        (["--latency-weight", "1"], "a latency weight needs exactly one device or latency table, not 0"),
        (["--latency-weight", "-1", "--device", "cpu"], "the latency weight is -1.0; it must be above zero"),
        (["--latency-weight", "nan", "--device", "cpu"], "the latency weight is nan; it must be above zero"),
        (["--time-limit", "0"], "--time-limit is 0.0; it must be above zero"),
        (["--device", "cpu", "--device", "jetson", "--table", "t.json"], "one --table for several --device"),
    ],
)
def test_bad_options_of_a_search_are_one_line(arguments: list[str], message: str) -> None:
    result = run("search", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_limits_that_each_alone_cannot_be_met_are_named_alone() -> None:
    result = run("search", "--max-macs", "516k", "--max-params", "37k", "--max-size", "100kB")
    assert "--max-params 37k cannot be met: the smallest reachable value is 37.8k (37762)" in result.stderr
    assert "--max-size 100 kB cannot be met: the smallest reachable value is 150 kB (149608 B)" in result.stderr
    assert "macs" not in result.stderr
