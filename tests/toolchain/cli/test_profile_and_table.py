"""The commands profile, table show and table lint, as a user runs them."""

import json
import re
from pathlib import Path

import pytest
from small_commands import SPACE, run

from fednas.common import ExitCode, FednasError
from fednas.toolchain.cli.output import WIDTH
from fednas.toolchain.measure.runtimes import find_runtime


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A table made by the command, with what the command printed."""
    folder = tmp_path_factory.mktemp("profile")
    space, table = folder / "space.json", folder / "cpu.json"
    space.write_text(json.dumps(SPACE))
    code, out, err = run(
        *("profile", "--device", "cpu", "--space", space, "--seconds", 0.3, "--accept-unfit", "--out", table)
    )
    assert (code, err) == (ExitCode.OK, "")
    assert {path.name for path in folder.iterdir()} == {"space.json", "cpu.json", "cpu.readings.jsonl"}
    return table, out


def test_profile_says_what_it_measured_and_how_well(profiled: tuple[Path, str]) -> None:
    table, out = profiled
    assert max(map(len, out.splitlines())) <= WIDTH
    for words in ("device         cpu (measured), fp32, batch 1, 1 thread", "held-out networks", "repeatability"):
        assert words in out
    assert str(table.name) in out


def test_show_lists_the_slowest_entries_of_each_kind(profiled: tuple[Path, str]) -> None:
    code, out, _ = run("table", "show", profiled[0], "--limit", 2)
    assert code == ExitCode.OK
    assert max(map(len, out.splitlines())) <= WIDTH
    assert "stem: 2 entries, " in out
    assert "residual: " in out
    assert out.count("in1-out") == 2
    assert "in1-out" not in run("table", "show", profiled[0], "--limit", 0)[1]


def test_show_json_is_the_table(profiled: tuple[Path, str]) -> None:
    code, out, _ = run("--json", "table", "show", profiled[0])
    assert code == ExitCode.OK
    assert json.loads(out) == json.loads(profiled[0].read_text())


def test_lint_ends_with_1_on_errors_only(profiled: tuple[Path, str], tmp_path: Path) -> None:
    document = json.loads(profiled[0].read_text())
    document["report"]["repeatability_mape"] = 0.2
    document["interval"]["coverage"] = 0.1  # whatever share of these few networks lies inside, it is enough
    path = tmp_path / "table.json"
    path.write_text(json.dumps(document))
    code, out, _ = run("table", "lint", path)
    assert code == ExitCode.OK
    assert "the machine repeats only to 20.0%" in out
    document["report"] = None
    path.write_text(json.dumps(document))
    code, out, _ = run("table", "lint", path, "--json")
    assert code == ExitCode.USER_ERROR
    assert json.loads(out)["findings"][0]["rule"] == "report"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--device", "jetson"),
            "no NVIDIA GPU answers here, so this is not jetson-orin-nano; run it where the GPU is",
        ),
        (("--device", "cpo"), "unknown device 'cpo'; did you mean cpu"),
        (("--device", "cpu", "--plan", "all"), "unknown plan 'all'"),
        (("--device", "cpu", "--over", "ssh://me@"), "--over 'ssh://me@': '' is no host name"),
        (("--device", "cpu", "--over", "kit:"), "--over kit: names no folder"),
        (
            ("--device", "cpu", "--over", "board"),
            "--over 'board' is no place to measure; use local, ssh://user@host or kit:DIR",
        ),
        (("--device", "cpu", "--precision", "fp16"), "onnxruntime cannot time fp16 models; it takes fp32, int8"),
        (("--device", "cpu", "--precision", "int9"), "unknown precision 'int9'; did you mean int8"),
        (("--device", "cpu", "--runtime", "tensorrt"), "--runtime tensorrt runs on a GPU, and cpu is not one"),
        (("--device", "cpu", "--runtime", "openvin"), "unknown runtime 'openvin'; did you mean openvino"),
        (("--device", "cpu", "--space", "no.json"), "search space no.json does not exist"),
        (("--device", "cpu", "--resume"), "partial results .*partial do not exist"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("profile", *words)
    assert (code, out) == (ExitCode.USER_ERROR, "")
    assert err.count("\n") == 1
    assert re.search(message, err)
    assert list(tmp_path.iterdir()) == []


OWN = """\
schema = 1
family = "my-boards"

[[device]]
name = "door-camera"
title = "Door camera"
processor = "cpu"
runtime = "openvino"
runtime_version = "2025.0"
onnx_opset = 17
precisions = ["fp32", "int8"]
"""


@pytest.mark.parametrize(
    ("words", "runtime", "plan", "precision"),
    [
        (("--device", "nvidia-h100", "--precision", "fp16"), "tensorrt", "network", "fp16"),
        (("--device", "nvidia-h100", "--runtime", "trtexec", "--precision", "int8"), "trtexec", "network", "int8"),
        (("--device", "nvidia-h100", "--runtime", "torch-cuda-graph"), "torch-cuda-graph", "exhaustive", "fp32"),
        (("--device", "door-camera", "--precision", "int8"), "openvino", "exhaustive", "int8"),
        (("--device", "door-camera", "--runtime", "onnxruntime"), "onnxruntime", "exhaustive", "fp32"),
    ],
)
def test_a_device_is_measured_under_its_own_runtime_where_its_gpu_answers(
    words: tuple[str, ...], runtime: str, plan: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU here: a stand-in for the driver's answer and for the runtime's libraries; nothing is timed."""
    asked: dict[str, object] = {}

    def profile_space(*_: object, **options: object) -> None:
        asked.update(options)
        raise FednasError("measured")

    monkeypatch.setattr("fednas.toolchain.measure.here.gpu_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(type(find_runtime(runtime)), "require", lambda _: None)
    monkeypatch.setattr("fednas.toolchain.measure.profile_space", profile_space)
    (tmp_path / "camera.toml").write_text(OWN)
    code, _, err = run("profile", *words, "--profiles", tmp_path, "--out", tmp_path / "table.json")
    assert (code, err) == (ExitCode.USER_ERROR, "fednas-export: measured\n")
    assert (asked["runtime"], asked["plan"], asked["precision"]) == (runtime, plan, precision)


def test_an_output_that_is_a_folder_is_refused_before_measuring(tmp_path: Path) -> None:
    code, _, err = run("profile", "--device", "cpu", "--out", tmp_path)
    assert code == ExitCode.USER_ERROR
    assert "is a folder, not a file; name the table file inside it" in err


@pytest.mark.usefixtures("steady_machine")
def test_an_unfit_machine_ends_with_5_and_keeps_the_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.unfit.UNFIT_DRIFT", 0.0)
    space, table = tmp_path / "space.json", tmp_path / "cpu.json"
    space.write_text(json.dumps(SPACE))
    words = ("profile", "--device", "cpu", "--space", space, "--seconds", 0.1, "--out", table)
    code, out, err = run(*words)
    assert (code, out) == (ExitCode.CANNOT_TELL, "")
    assert "the machine is not fit to measure: " in err
    assert not table.exists()
    assert (tmp_path / "cpu.json.partial").exists()
    code, out, _ = run(*words, "--resume", "--accept-unfit")
    assert code == ExitCode.OK
    assert "its speed varies by a factor of" in out
    assert not (tmp_path / "cpu.json.partial").exists()


@pytest.mark.parametrize(("times", "claimed"), [(1e6, True), (0, False)])
def test_tails_are_claimed_or_it_is_said_that_they_are_not(
    times: float, claimed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.measure.rounds.TAIL_TIMES", times)
    space, table = tmp_path / "space.json", tmp_path / "cpu.json"
    space.write_text(json.dumps(SPACE))
    code, _, err = run(
        *("profile", "--device", "cpu", "--space", space, "--seconds", 0.1, "--accept-unfit", "--out", table),
        "--tails",
    )
    assert code == ExitCode.OK
    entries = json.loads(table.read_text())["entries"]
    assert all(("p10_ms" in entry, "p90_ms" in entry) == (claimed, claimed) for entry in entries)
    wanted = rf"{len(entries)} blocks and \d+ networks lack p10 and p90: ten times --seconds were over .*; give more"
    assert err == "" if claimed else re.search(wanted, err)


def test_a_damaged_table_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text('{"schema": 1}')
    code, _, err = run("table", "show", path)
    assert code == ExitCode.USER_ERROR
    assert "table.json: missing key" in err
