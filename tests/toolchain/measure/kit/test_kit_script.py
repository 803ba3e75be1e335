"""The script of a kit runs for real, on every Python that a board may have, and survives what happens to boards."""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from board_stand_ins import PYTHONS, command, python_of, run, stand_in_onnxruntime, stand_in_trtexec

from fednas.latency_tables import MeasuredLatencyModel
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.kit import read_kit, read_results, write_kit
from fednas.toolchain.measure.profiling import table_of

MakeKit = Callable[..., Path]


@pytest.fixture
def board(tmp_path: Path) -> dict[str, str]:
    return stand_in_onnxruntime(tmp_path / "installed")


def readings_in(partial: Path) -> list[bytes]:
    """Whole lines of readings."""
    return [line for line in partial.read_bytes().split(b"\n")[:-1] if line.startswith(b"[")]


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_from_3_6_up_measures_with_onnxruntime(
    version: str, make_kit: MakeKit, board: dict[str, str], small_job: MeasuringJob
) -> None:
    python, kit = python_of(version), make_kit()
    checked = run(kit, "--check", python=python, environment=board)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "onnxruntime yes, 1.10.0" in checked.stdout
    assert "would use  onnxruntime, because the kit is for onnxruntime" in checked.stdout
    done = run(kit, python=python, environment=board)
    assert (done.returncode, done.stderr) == (0, "")
    assert "round 1 of about " in done.stdout
    assert {path.name for path in kit.iterdir()} >= {"results.json", "readings.partial"}
    collected = read_results(kit / "results.json", job=small_job)
    assert collected.before.python_version.startswith(f"{version}.")
    assert {reading.candidate for reading in collected.readings} == set(range(len(small_job.plan.candidates)))
    again = run(kit, python=python, environment=board)
    assert again.returncode == 0
    assert "results.json is there already" in again.stdout


@pytest.mark.parametrize("version", ["3.6", "3.13"])
@pytest.mark.parametrize("release", ["8205", "8502", "100300", "110000"])
def test_a_bare_trtexec_of_every_release_measures(
    version: str, release: str, make_kit: MakeKit, tmp_path: Path
) -> None:
    kit, environment = make_kit("tensorrt"), stand_in_trtexec(tmp_path / "bin", release)
    done = run(kit, python=python_of(version), environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not used: tensorrt: the Python module tensorrt cannot be imported" in done.stdout
    collected = read_results(kit / "results.json", kit=read_kit(kit))
    assert {reading.latency_ms for reading in collected.readings} == {0.5}
    name = {"8205": "8.2.5", "8502": "8.5.2", "100300": "10.3.0", "110000": "11.0.0"}[release]
    assert (collected.job.runtime, collected.runtime_version) == ("tensorrt", f"{name} (trtexec)")
    assert json.loads((kit / "results.json").read_text())["samples"][0] == [0.25, 0.5, 8.0]
    options = set((tmp_path / "bin" / "log").read_text().splitlines())
    assert ("--stronglyTyped" in options) == (release == "100300")
    assert ("--useCudaGraph" in options) == (release != "110000")


def test_engines_are_built_once(make_kit: MakeKit, tmp_path: Path) -> None:
    kit, environment = make_kit("tensorrt"), stand_in_trtexec(tmp_path / "bin", "100300")
    assert run(kit, environment=environment).returncode == 0
    engines = sorted(path.name for path in (kit / "engines").glob("*.plan"))
    assert len(engines) == len(list((kit / "models").iterdir()))
    (kit / "results.json").unlink()
    (kit / "readings.partial").unlink()
    (tmp_path / "bin" / "log").unlink()
    assert run(kit, environment=environment).returncode == 0
    assert "--skipInference" not in (tmp_path / "bin" / "log").read_text()


def test_an_engine_of_another_precision_is_refused(make_kit: MakeKit, tmp_path: Path) -> None:
    kit = make_kit("tensorrt")
    done = run(kit, environment=stand_in_trtexec(tmp_path / "bin", "100300", layer="Row major linear FP16"))
    assert done.returncode == 1
    assert "the engine of 0000.onnx is not fp32: layer conv runs in fp16, not fp32" in done.stderr
    assert list((kit / "engines").iterdir()) == []


def test_a_real_onnxruntime_measures_and_the_table_is_made(make_kit: MakeKit, job: MeasuringJob) -> None:
    kit = make_kit("full")
    done = subprocess.run(
        [sys.executable, "measure.py"], cwd=kit, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert (done.returncode, done.stderr) == (0, "")
    collected = read_results(kit / "results.json", job=job, kit=read_kit(kit))
    table = table_of(collected, accept_unfit=True, readings=kit / "results.json")
    assert MeasuredLatencyModel(table).missing(job.plan.priced) == ()
    assert (table.device, table.runtime) == ("my-board", "onnxruntime")
    assert table.session.readings == len(collected.readings)


@pytest.mark.parametrize("seed", range(2))
def test_a_kill_at_any_moment_costs_one_reading(seed: int, make_kit: MakeKit, board: dict[str, str]) -> None:
    kit, rng, seen = make_kit("full"), random.Random(seed), list[bytes]()  # noqa: S311 - moments, not secrets
    for _ in range(3):
        running = subprocess.Popen(command(kit, "--seconds", 60), env=board, stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.1, 0.6))
        running.send_signal(signal.SIGKILL)
        running.wait()
        if (kit / "readings.partial").exists():
            now = readings_in(kit / "readings.partial")
            assert now[: len(seen)] == seen
            seen = now
    assert not (kit / "results.json").exists()
    done = run(kit, "--seconds", 0.1, environment=board)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("going on: " in done.stdout) == bool(seen)
    assert readings_in(kit / "readings.partial")[: len(seen)] == seen
    kept = [json.loads(line) for line in readings_in(kit / "readings.partial")]
    assert [list(reading) for reading in read_results(kit / "results.json").readings] == kept


@pytest.mark.parametrize("torn", [1, 5, 20])
def test_a_torn_last_line_is_dropped(torn: int, make_kit: MakeKit, board: dict[str, str]) -> None:
    kit = make_kit()
    assert run(kit, environment=board).returncode == 0
    partial = kit / "readings.partial"
    whole = partial.read_bytes()
    whole = whole[: whole.index(b"\n", whole.rindex(b"\n[") + 1) + 1]
    partial.write_bytes(whole[:-torn])
    done = run(kit, "--seconds", 0.3, environment=board)
    assert (done.returncode, done.stderr) == (0, "")
    assert partial.read_bytes().startswith(whole[: whole.rfind(b"\n", 0, len(whole) - torn) + 1])
    sittings = json.loads((kit / "results.json").read_text())["sittings"]
    assert [sitting["after"] is None for sitting in sittings] == [True, False]


def test_more_seconds_go_on(make_kit: MakeKit, board: dict[str, str]) -> None:
    kit = make_kit()
    assert run(kit, environment=board).returncode == 0
    before = len(read_results(kit / "results.json").readings)
    assert run(kit, "--seconds", 0.6, environment=board).returncode == 0
    collected = read_results(kit / "results.json")
    assert len(collected.readings) > before
    assert collected.job.seconds == 0.6


def limited_files(size: int) -> Callable[[], None]:
    # Files may not grow beyond it: the system then refuses to write, as on a full disk.
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [10, 2000, 9000])
def test_a_disk_that_takes_no_more_is_one_line_and_nothing_is_half_written(
    size: int, make_kit: MakeKit, board: dict[str, str]
) -> None:
    kit = make_kit()
    done = subprocess.run(
        command(kit, "--seconds", 5),
        env=board,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited_files(size),
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "readings.partial cannot be written: File too large; mend it and run it again" in done.stderr
    content = (kit / "readings.partial").read_bytes()
    assert content == b"" or content.endswith(b"\n")
    assert not (kit / "results.json").exists()
    done = run(kit, environment=board)
    assert (done.returncode, done.stderr) == (0, "")
    assert (kit / "readings.partial").read_bytes().startswith(content)


def test_results_that_do_not_fit_leave_the_old_ones(make_kit: MakeKit, board: dict[str, str]) -> None:
    kit = make_kit()
    assert run(kit, environment=board).returncode == 0
    old = (kit / "results.json").read_bytes()
    done = subprocess.run(
        command(kit, "--seconds", 0.21),
        env=board,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited_files(len(old)),
    )
    assert done.returncode == 1
    assert "results.json cannot be written" in done.stderr
    assert (kit / "results.json").read_bytes() == old
    assert list(kit.glob("*.tmp")) == []


def test_two_runs_do_not_write_one_journal(make_kit: MakeKit, board: dict[str, str]) -> None:
    kit = make_kit()
    first = subprocess.Popen(command(kit, "--seconds", 60), env=board, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    while not first.stdout.readline().startswith("round"):
        pass
    second = run(kit, environment=board)
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert second.stderr == "measure.py: error: another run is measuring in this folder; wait for it, or stop it\n"


def test_ctrl_c_keeps_the_readings(make_kit: MakeKit, board: dict[str, str]) -> None:
    kit = make_kit()
    running = subprocess.Popen(
        command(kit, "--seconds", 60), env=board, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    while not running.stdout.readline().startswith("round"):
        pass
    running.send_signal(signal.SIGINT)
    _, complaint = running.communicate()
    assert running.returncode == 1
    assert complaint == "measure.py: stopped; the readings are kept, run it again to go on\n"
    assert readings_in(kit / "readings.partial")


def edit_job(kit: Path) -> None:
    job = kit / "job.json"
    job.write_text(job.read_text().replace('"seed":0', '"seed":1'))


def edit_model(kit: Path) -> None:
    model = kit / "models" / "0003.onnx"
    model.write_bytes(model.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit_job, "job.json was edited or damaged; copy the whole kit again"),
        (edit_model, "models/0003.onnx is not the file that was written; copy the whole kit again"),
        (lambda kit: (kit / "models" / "0003.onnx").unlink(), "models/0003.onnx cannot be read: No such file"),
        (lambda kit: (kit / "job.json").write_text('{"schema": 1'), "job.json is damaged: "),
        (lambda kit: (kit / "job.json").unlink(), "job.json cannot be read: No such file"),
        (lambda kit: (kit / "readings.partial").write_text('{"schema":1}\n'), "readings.partial is damaged: "),
        (lambda kit: (kit / "readings.partial").mkdir(), "readings.partial cannot be written: Is a directory"),
        (lambda kit: (kit / "readings.partial").symlink_to(kit / "job.json"), "readings.partial cannot be written"),
    ],
)
def test_a_damaged_kit_is_one_line(
    damage: Callable[[Path], None], message: str, make_kit: MakeKit, board: dict[str, str]
) -> None:
    kit = make_kit()
    damage(kit)
    done = run(kit, environment=board)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_readings_of_another_kit_or_runtime_do_not_count(
    make_kit: MakeKit, board: dict[str, str], tmp_path: Path
) -> None:
    kit, other = make_kit("full"), make_kit("small")
    assert run(kit, environment=board).returncode == 0
    shutil.copy(kit / "readings.partial", other / "readings.partial")
    done = run(other, environment=board)
    assert done.returncode == 1
    assert "readings.partial belongs to other measurements: kit was " in done.stderr
    runtime = tmp_path / "installed" / "onnxruntime.py"
    runtime.write_text(runtime.read_text().replace("1.10.0", "1.11.0"))
    done = run(kit, "--seconds", 1, environment=board)
    assert "runtime was onnxruntime 1.10.0, now onnxruntime 1.11.0; delete it to start again" in done.stderr


def test_a_board_with_nothing_usable_says_why_with_exit_code_5(make_kit: MakeKit) -> None:
    nothing = {"PATH": "/usr/bin:/bin"}
    done = run(make_kit("tensorrt"), environment=nothing)
    assert (done.returncode, done.stdout) == (5, "")
    assert "cannot run the models with tensorrt: the Python module tensorrt cannot be imported" in done.stderr
    assert "trtexec: not found in PATH" in done.stderr
    assert run(make_kit("small"), "--check", environment=nothing).returncode == 5


def test_a_board_of_fewer_cores_than_threads_says_so(
    small_job: MeasuringJob, tmp_path: Path, board: dict[str, str]
) -> None:
    kit = write_kit(replace(small_job, threads=9999), tmp_path / "kit").folder
    done = run(kit, environment=board)
    assert (done.returncode, done.stdout) == (5, "")
    assert re.search("cannot run the 9999 threads of this kit on [0-9]+ usable cores?; write a kit", done.stderr)
    assert not (kit / "readings.partial").exists()


def test_models_of_one_runtime_are_not_run_by_another(make_kit: MakeKit, board: dict[str, str]) -> None:
    """An int8 model for TensorRT holds floats that its builder quantises: ONNX Runtime would time something else."""
    kit = make_kit("tensorrt")
    for words in (("--runtime", "onnxruntime"), ("--check", "--runtime", "onnxruntime")):
        done = run(kit, *words, environment=board)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "measure.py: error: this kit is for tensorrt or trtexec, its models are not made for onnxruntime; "
            "write another kit with --runtime onnxruntime\n"
        )


def test_checking_gives_each_reason_once(make_kit: MakeKit) -> None:
    checked = run(make_kit("tensorrt"), "--check", environment={"PATH": "/usr/bin:/bin"})
    assert (checked.returncode, checked.stderr) == (5, "")
    assert checked.stdout.count("cannot be imported") == 1
    assert checked.stdout.count("not found in PATH") == 1
    assert checked.stdout.endswith("would use  nothing: nothing that may run this kit is usable here\n")


def test_the_exit_codes_are_in_the_help_and_in_the_readme(make_kit: MakeKit) -> None:
    kit = make_kit()
    said = " ".join(run(kit, "--help", environment={"PATH": "/usr/bin:/bin"}).stdout.split())
    for code, meaning in (("0", "done"), ("1", "something that you can mend"), ("5", "this board cannot measure")):
        assert f"{code} {meaning}" in said
        assert f"| {code} | {meaning}" in (kit / "README.md").read_text()


@pytest.mark.parametrize("words", [("--seconds", "0"), ("--seconds", "nan"), ("--runtime", "tflite"), ("more",)])
def test_wrong_usage(words: tuple[str, ...], make_kit: MakeKit, board: dict[str, str]) -> None:
    assert run(make_kit(), *words, environment=board).returncode == 2
