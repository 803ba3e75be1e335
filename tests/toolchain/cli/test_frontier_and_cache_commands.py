"""frontier, cache and the file check of score as their user runs them."""

import csv
import json
import re
import struct
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fednas.toolchain.cli import app
from fednas.toolchain.embedded import embedded_space_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_the_frontier_is_one_json_document_of_rising_points() -> None:
    result = run("frontier", "--max", "3M", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["axis"], found["accounting"]) == ("macs", "network")
    (frontier,) = found["frontiers"]
    points = frontier["points"]
    for key in ("macs", "fitness"):
        values = [point[key] for point in points]
        assert values == sorted(set(values))
    assert points[-1]["macs"] <= 3_000_000
    assert set(points[0]["architecture"]) == {"d", "e", "w_indices"}


def test_each_point_is_the_answer_of_a_search_at_its_budget() -> None:
    point = json.loads(run("frontier", "--max", "3M", "--json").stdout)["frontiers"][0]["points"][-1]
    found = json.loads(run("search", "--max-macs", str(int(point["macs"])), "--json").stdout)
    assert found["fitness"] == point["fitness"]


def test_two_devices_side_by_side_in_every_kind_of_file(tmp_path: Path) -> None:
    files = [tmp_path / f"frontier{suffix}" for suffix in (".csv", ".json", ".png", ".html")]
    outs = [word for path in files for word in ("--out", str(path))]
    devices = ("--device", "jetson", "--device", "raspberry-pi-4")
    result = run("frontier", "--axis", "latency", *devices, "--max", "0.15ms", *outs, "--json")
    assert result.exit_code == 1
    assert "no network has latency_ms[raspberry-pi-4] of at most 0.15 ms" in result.stderr
    assert not any(path.exists() for path in files)

    result = run("frontier", "--axis", "latency", *devices, "--max", "0.25ms", *outs, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert [f["device"] for f in document["frontiers"]] == ["jetson-orin-nano", "raspberry-pi-4"]
    assert json.loads(files[1].read_text()) == document
    count = sum(len(f["points"]) for f in document["frontiers"])
    rows = list(csv.DictReader(files[0].read_text().splitlines()))
    assert len(rows) == count
    assert {row["device"] for row in rows} == {"jetson-orin-nano", "raspberry-pi-4"}
    assert all(float(row["latency_ms"]) <= 0.25 for row in rows)
    picture = files[2].read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    assert width > 2 * height
    page = files[3].read_text()
    assert page.count("<circle") == count
    assert page.count("<tr>") == count + 2
    assert not re.search(r"https?://|src=|@import", page)


def test_the_csv_of_a_frontier_can_be_scored(tmp_path: Path) -> None:
    out = tmp_path / "f.csv"
    assert run("frontier", "--axis", "params", "--max", "60k", "--out", str(out)).exit_code == 0
    scored = run("score", "--archs", str(out), "--json")
    assert scored.stderr == ""
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [score["params"] for score in json.loads(scored.stdout)] == [int(row["params"]) for row in rows]


def test_a_frontier_within_other_limits_keeps_them() -> None:
    result = run("frontier", "--max-params", "100k", "--json")
    points = json.loads(result.stdout)["frontiers"][0]["points"]
    assert max(point["params"] for point in points) <= 100_000
    found = json.loads(run("search", "--max-params", "100k", "--json").stdout)
    assert points[-1]["fitness"] == found["fitness"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axis", "mac"], "unknown axis 'mac'; did you mean macs?"),
        (["--axis", "latency"], "--axis latency needs to know whose; add --device NAME or --table FILE"),
        (["--device", "jetson"], "--device and --table mean nothing with --axis macs; add --max-latency"),
        (["--axis", "latency", "--device", "cpu", "--max-latency", "5ms"], "with --axis latency say --max"),
        (["--min", "5M", "--max", "4M"], "--min 5M is above --max 4M"),
        (["--max", "-1"], "--max is '-1', but it must be above zero"),
        (["--min", "nan"], "--min is 'nan', which is no quantity"),
        (["--max", "5k"], "no network has macs of at most 5k: the smallest reachable value is 515k (515040)"),
        (["--max-params", "5k"], "no network is within the budgets"),
        (["--out", "frontier.pdf"], "--out frontier.pdf has no suffix that says what to write"),
        (
            ["--axis", "latency", "--device", "cpu", "--device", "jetson", "--table", "t.json"],
            "one --table for several --device",
        ),
    ],
)
def test_bad_frontiers_are_one_line(arguments: list[str], message: str) -> None:
    result = run("frontier", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_without_matplotlib_a_png_names_the_extra_before_the_search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import importlib

    real = importlib.import_module

    def missing(name: str, *rest: str) -> object:
        if name == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    result = run("frontier", "--out", str(tmp_path / "f.png"))
    assert result.exit_code == 1
    assert "matplotlib is needed for a PNG and is not installed; pip install 'fednas-export[plot]'" in result.stderr


def test_the_embedded_cache_is_what_the_command_makes(tmp_path: Path) -> None:
    out = tmp_path / "cache.csv"
    assert run("cache", "--out", str(out)).exit_code == 0
    assert out.read_bytes() == embedded_space_path().with_name("digits-cache.csv").read_bytes()


def test_a_cache_over_latency_has_the_published_columns_first(tmp_path: Path) -> None:
    out = tmp_path / "cache.csv"
    result = run("cache", "--axis", "latency", "--device", "jetson", "--count", "9", "--out", str(out), "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["rows"], document["device"], document["axis"]) == (9, "jetson-orin-nano", "latency")
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == [
        "macs", "params", "fitness_score", "effectiveness", "entropy", "d", "e", "w_indices", "latency_ms",
    ]  # fmt: skip
    assert (int(rows[0]["macs"]), int(rows[-1]["macs"])) == (515040, 14999808)
    latencies = sorted(float(row["latency_ms"]) for row in rows)
    # Eight equal steps: each row is the fittest within its budget, so at most one step below it.
    step = (latencies[-1] - latencies[0]) / 8
    assert all(0 < budget * step - (value - latencies[0]) < step for budget, value in enumerate(latencies[1:-1], 1))
    scores = json.loads(run("score", "--archs", str(out), "--device", "jetson", "--json").stdout)
    assert [s["latency_ms"] for s in scores] == pytest.approx([float(row["latency_ms"]) for row in rows])


def test_even_steps_along_the_frontier_put_rows_where_fitness_rises(tmp_path: Path) -> None:
    below = {}
    for spacing in ("equidistant", "frontier"):
        out = tmp_path / f"{spacing}.csv"
        assert run("cache", "--count", "20", "--spacing", spacing, "--out", str(out)).exit_code == 0
        rows = list(csv.DictReader(out.read_text().splitlines()))
        assert len(rows) == 20
        below[spacing] = sum(int(row["macs"]) < 3_000_000 for row in rows)
    assert below["frontier"] > 2 * below["equidistant"]


def test_more_rows_than_the_frontier_has_is_said(tmp_path: Path) -> None:
    result = run("cache", "--count", "5000", "--max-macs", "1M", "--out", str(tmp_path / "c.csv"), "--json")
    rows = json.loads(result.stdout)["rows"]
    frontier = json.loads(run("frontier", "--max", "1M", "--json").stdout)["frontiers"][0]["points"]
    # The largest network is always in.
    assert rows == len(frontier) + 1
    assert f"{rows} of 5000 rows: the frontier of this range has no more" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axis", "latency"], "--axis latency needs to know whose"),
        (["--device", "cpu"], "mean nothing with --axis macs; add --axis latency"),
        (["--min-latency", "1ms"], "--min-latency means nothing with --axis macs; give --min-macs and --max-macs"),
        (["--spacing", "even"], "unknown spacing 'even'"),
        (["--min-macs", "1T"], "the smallest macs 1e+12 is above the largest 1.49998e+07"),
        (["--count", "0"], "count is 0; a cache needs at least 2 rows"),
    ],
)
def test_bad_caches_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run("cache", "--out", str(tmp_path / "c.csv"), *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_hand_edited_row_of_the_published_cache_is_reported(shared_data: Path, tmp_path: Path) -> None:
    # Row 59: the largest network, logged with the metrics of one that has a 0.22 in stage 4 (method Q10).
    space = str(shared_data / "reference" / "space-paper-4-stage.json")
    path = tmp_path / "row59.csv"
    e = "[0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]"
    path.write_text(
        "macs,params,fitness_score,d,e,w_indices\n"
        f'3403370496,71726538,2430.433953957,"[2, 2, 2, 2]","{e}","[9, 9, 9, 9, 9]"\n'
        f'3365621760,69367114,2429.121334,"[2, 2, 2, 2]","{e}","[9, 9, 9, 9, 9]"\n'
    )
    result = run("score", "--space", space, "--archs", str(path), "--accounting", "published", "--json")
    assert result.exit_code == 0
    right, wrong = json.loads(result.stdout)
    assert "logged" not in right
    assert wrong["logged"] == {"macs": 3365621760, "params": 69367114, "fitness_score": 2429.121334}
    assert wrong["macs"] == 3403370496
    assert "1 of 2 row disagrees with the metrics logged in" in result.stderr
    assert "Row 1 says macs 3365621760 (is 3403370496)" in result.stderr


def test_published_rows_agree_in_published_accounting_only(shared_data: Path) -> None:
    space = str(shared_data / "reference" / "space-paper-4-stage.json")
    archs = str(shared_data / "reference" / "cache-paper-20-of-60.csv")
    assert run("score", "--space", space, "--archs", archs, "--accounting", "published").stderr == ""
    # Rows 6, 21 and 24 of the 60, which cost more when really built (method section 2).
    result = run("score", "--space", space, "--archs", archs)
    assert "3 of 20 rows disagree" in result.stderr
    assert "A cache of the public code needs --accounting published." in result.stderr


def test_a_metric_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    e = "[0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]"
    path.write_text(f'macs,d,e,w_indices\nmany,"[0, 0, 0, 0]","{e}","[0, 0, 0, 0, 0]"\n')
    result = run("score", "--archs", str(path))
    assert result.exit_code == 1
    assert "row 0: column macs holds 'many', which is no number" in result.stderr
