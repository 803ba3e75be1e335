"""The main job as its user runs it, on the embedded supernet and real images."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fednas.export import Latency, MeasuredLatency, PredictedLatency, Table, read_manifest, verify_folder
from fednas.latency_tables import load_table
from fednas.toolchain.cli import app
from fednas.toolchain.embedded import embedded_space_path, embedded_supernet_path
from fednas.toolchain.latency import latency_model
from fednas.toolchain.ship.readings import Reading, outside_of_prediction
from fednas.toolchain.space import blocks_of, load_space, smallest_architecture


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """One run for two devices; the CPU is measured, the Jetson only estimated."""
    out = tmp_path_factory.mktemp("work") / "shipped"
    result = run(
        "--device", "cpu", "--device", "jetson", "--max-macs", "3M", "--out", str(out), "--profile-seconds", "1"
    )
    return out, result


def test_the_bare_command_ends_well_and_says_what_it_used(shipped: tuple[Path, Result]) -> None:
    _, result = shipped
    assert result.exit_code == 0, result.stderr
    assert "using the embedded one, trained on scikit-learn's digits" in result.stderr
    assert "proven to be the fittest within the budgets" in result.stdout
    assert "ESTIMATED latency" in result.stdout  # the Jetson
    assert "predicted latency" in result.stdout  # this machine, from its own table
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_each_device_has_its_folder_and_it_verifies(shipped: tuple[Path, Result]) -> None:
    out, _ = shipped
    assert sorted(path.name for path in out.iterdir()) == ["cpu", "index.html", "index.json", "index.md", "jetson"]
    for name in ("cpu", "jetson"):
        assert (out / name / "model.fp32.onnx").is_file()
        assert verify_folder(out / name).passed
    assert (out / "jetson" / "board_check.py").is_file()
    assert not (out / "cpu" / "board_check.py").exists()


def test_the_manifest_says_what_was_measured_and_what_estimated(shipped: tuple[Path, Result]) -> None:
    out, _ = shipped
    cpu, jetson = read_manifest(out / "cpu").shipment, read_manifest(out / "jetson").shipment
    assert cpu.latency.kind == "measured"
    assert cpu.latency.table is not None
    assert cpu.latency.table.name == "latency_table.json"
    assert len(load_table(out / "cpu" / "latency_table.json").entries) > 100
    assert jetson.device.name == "jetson-orin-nano"
    assert jetson.latency.kind == "estimate"
    assert jetson.latency.measured is None
    assert jetson.latency.not_measured_because == "this machine is not Jetson Orin Nano 8 GB (Super)"
    for shipment in (cpu, jetson):
        assert shipment.macs <= 3_000_000
        assert shipment.search is not None
        assert shipment.search.status == "optimal"
        assert shipment.recalibration.images > 1000
        assert shipment.supernet.name == "embedded"


def test_accuracy_survived_the_export(shipped: tuple[Path, Result]) -> None:
    out, _ = shipped
    evidence = read_manifest(out / "cpu").models[0].evidence
    assert evidence.source_accuracy is not None
    assert evidence.artefact_accuracy == evidence.source_accuracy
    assert evidence.source_accuracy.total == 450
    assert evidence.source_accuracy.share > 0.95
    assert evidence.parity.top1_agreement == 1.0


def test_running_again_replaces_our_folder_with_the_same_model(shipped: tuple[Path, Result]) -> None:
    out, _ = shipped
    before = (out / "jetson" / "model.fp32.onnx").read_bytes()
    assert run("--device", "jetson", "--max-macs", "3M", "--out", str(out)).exit_code == 0
    assert (out / "jetson" / "model.fp32.onnx").read_bytes() == before


def test_a_given_architecture_is_exported_without_a_search(tmp_path: Path) -> None:
    smallest = smallest_architecture(load_space(embedded_space_path()))
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps(smallest.as_dict()))
    out = tmp_path / "shipped"
    result = run("--device", "jetson", "--arch", str(arch), "--no-recalibrate", "--out", str(out), "--json")
    assert result.exit_code == 0, result.stderr
    shipment = json.loads(result.stdout)["devices"][0]["manifest"]["shipment"]
    assert shipment["architecture"] == smallest.as_dict()
    assert shipment["search"] is None
    assert shipment["recalibration"]["images"] == 0
    assert "warning: jetson: Data: the subnet is right on " in result.stderr
    assert "and is this architecture trained and recalibrated?" in result.stderr


@pytest.mark.parametrize(("limit", "verdict", "code"), [("0.0001ms", "missed", 3), ("0.2ms", "cannot tell", 0)])
def test_a_given_architecture_misses_where_the_whole_estimate_lies_above(
    tmp_path: Path, limit: str, verdict: str, code: int
) -> None:
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps(smallest_architecture(load_space(embedded_space_path())).as_dict()))
    arguments = ("--device", "jetson", "--arch", str(arch), "--data", "none", "--max-latency", limit)
    result = run(*arguments, "--out", str(tmp_path / "out"))
    (budget,) = read_manifest(tmp_path / "out" / "jetson").shipment.budgets
    assert (budget.basis, budget.verdict, result.exit_code) == ("estimated", verdict, code)


def test_without_data_nothing_is_claimed_about_accuracy(tmp_path: Path) -> None:
    result = run("--device", "jetson", "--data", "none", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0
    manifest = read_manifest(tmp_path / "out" / "jetson")
    assert manifest.status == "unverified"
    assert manifest.shipment.dataset is None
    assert manifest.models[0].evidence.artefact_accuracy is None
    assert "exported without data" in result.stdout


def test_a_published_checkpoint_is_exported_for_real_images(shared_data: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(300) % 10
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images[:50], y_test=labels[:50])
    checkpoint = shared_data / "reference" / "supernet-small.pt"
    arguments = ("--supernet", str(checkpoint), "--data", f"npz:{tmp_path / 'data.npz'}", "--max-macs", "5M")
    refused = run("--device", "raspberry-pi-4", *arguments, "--out", str(tmp_path / "out"))
    assert refused.exit_code == 1
    assert "no more often than by chance" in refused.stderr  # the labels are random
    result = run("--device", "raspberry-pi-4", *arguments, "--no-recalibrate", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    assert read_manifest(tmp_path / "out" / "raspberry-pi-4").shipment.macs <= 5_000_000


def nothing_written(folder: Path) -> bool:
    return list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "jetsno"], "unknown device 'jetsno'; did you mean jetson"),
        (
            ["--device", "jetson", "--max-macs", "1k"],
            "--max-macs 1k cannot be met: the smallest reachable value is 515k",
        ),
        (["--device", "jetson", "--max-latency", "1us"], "--max-latency 1 us on jetson-orin-nano cannot be met"),
        (["--device", "jetson", "--max-latency", "5 parsec"], "--max-latency is '5 parsec', which is no quantity"),
        (["--device", "jetson", "--max-size", "10kB"], "--max-size 10 kB cannot be met"),
        (["--device", "jetson-nano", "--precision", "int8"], "jetson-nano cannot run int8; it runs fp32, fp16"),
        (["--device", "cpu", "--precision", "int8,fp16"], "cpu cannot run fp16; it runs fp32, int8"),
        (["--device", "jetson", "--precision", "fp23"], "unknown precision 'fp23'; did you mean fp"),
        (["--device", "jetson", "--precision", ""], "unknown precision ''"),
        (["--device", "jetson", "--precision", "int8", "--data", "none"], "int8 is calibrated on training images"),
        (["--device", "jetson", "--max-accuracy-drop", "1 bit"], "--max-accuracy-drop is '1 bit'"),
        (["--device", "jetson", "--max-accuracy-drop", "1%", "--data", "none"], "needs labelled images"),
        (["--device", "jetson", "--data", "cifar10:nowhere"], "nowhere"),
        (["--device", "jetson", "--data", "imagenet:x"], "imagenet"),
        (["--device", "jetson", "--supernet", "nowhere.safetensors"], "nowhere.safetensors does not exist"),
        (["--device", "jetson", "--arch", "nowhere.json"], "architecture nowhere.json does not exist"),
        (["--device", "jetson", "--table", "nowhere.json"], "nowhere.json does not exist"),
        (["--device", "cpu", "--device", "jetson", "--table", "t.json"], "one --table for several devices"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, "--out", "shipped")
    assert result.exit_code == 1
    assert message in result.stderr
    ours = [line for line in result.stderr.splitlines() if line.startswith("fednas-export:")]
    assert len(ours) == 1
    assert nothing_written(tmp_path)


def test_images_of_the_wrong_shape_are_refused(tmp_path: Path) -> None:
    images, labels = np.zeros((100, 9, 9), dtype=np.uint8), np.arange(100) % 10
    data = tmp_path / "data.npz"
    np.savez(data, x_train=images, y_train=labels, x_test=images, y_test=labels)
    result = run("--device", "jetson", "--data", f"npz:{data}", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "have shape (1, 9, 9) (channels, height, width), but (1, 8, 8) is needed" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_supernet_of_unbundled_data_asks_for_the_data(shared_data: Path, tmp_path: Path) -> None:
    checkpoint = shared_data / "reference" / "supernet-small.pt"
    result = run("--device", "jetson", "--supernet", str(checkpoint), "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "no --data was given; add --data cifar10:DIR" in result.stderr


def test_an_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "shipped"
    out.write_text("mine")
    result = run("--device", "jetson", "--max-macs", "1M", "--out", str(out))
    assert result.exit_code == 1
    assert "a file stands where a folder is needed" in result.stderr
    assert out.read_text() == "mine"


def test_a_folder_with_somebody_elses_files_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "jetson").mkdir()
    (tmp_path / "jetson" / "thesis.txt").write_text("mine")
    result = run("--device", "jetson", "--max-macs", "1M", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "never overwritten" in result.stderr
    assert (tmp_path / "jetson" / "thesis.txt").read_text() == "mine"


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "step",
    ["open_source", "speed_of", "answer_search", "write_device_folder"],
)
def test_ctrl_c_at_any_step_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(f"fednas.toolchain.ship.job.{step}", raising(KeyboardInterrupt()))
    result = run("--device", "jetson", "--max-macs", "1M", "--out", str(tmp_path / "out"))
    assert result.exit_code == 130
    assert "interrupted; nothing was left half written" in result.stderr
    assert nothing_written(tmp_path)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("pathlib.Path.write_bytes", raising(full))
    result = run("--device", "jetson", "--max-macs", "1M", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "disk full" in result.stderr
    assert nothing_written(tmp_path)


def test_options_of_the_main_job_before_a_command_are_not_ignored(tmp_path: Path) -> None:
    result = run("--device", "jetson", "search", "--max-macs", "5M")
    assert result.exit_code == 1
    assert "options of the main job were given before a command; put them after search" in result.stderr


def test_without_a_device_the_help_is_shown() -> None:
    result = run()
    assert result.exit_code == 0
    assert "Export the best subnet of a federated supernet" in result.stdout


def test_the_supernet_file_is_not_changed_by_exporting(tmp_path: Path) -> None:
    before = embedded_supernet_path().read_bytes()
    run("--device", "jetson", "--max-macs", "1M", "--out", str(tmp_path / "out"))
    assert embedded_supernet_path().read_bytes() == before


@pytest.mark.parametrize("limit", ["200kB", "1MB"])
def test_a_size_budget_holds_for_the_file_and_not_only_for_its_weights(tmp_path: Path, limit: str) -> None:
    result = run("--device", "jetson", "--max-size", limit, "--out", str(tmp_path / "out"), "--json")
    assert result.exit_code == 0, result.stderr
    budget = json.loads(result.stdout)["devices"][0]["manifest"]["shipment"]["budgets"][0]
    assert (budget["quantity"], budget["verdict"]) == ("size", "met")
    assert 0.9 * budget["limit"] < budget["value"] <= budget["limit"]


@pytest.mark.parametrize("arguments", [["--max-latency", "5ms"], ["--arch", "nope.json"], ["--json"]])
def test_options_without_a_device_are_an_error_and_not_the_help(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert "no device was named; add --device cpu" in result.stderr


def test_a_machine_unfit_to_measure_cannot_tell_about_its_own_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit = Reading(None, "this machine was not fit to measure: busy")
    monkeypatch.setattr("fednas.toolchain.ship.proving.measure_here", lambda *_, **__: unfit)
    monkeypatch.setattr("fednas.toolchain.ship.speed.is_this_machine", lambda _: False)  # no table is measured
    arguments = ("--device", "cpu", "--max-latency", "100s", "--out", str(tmp_path / "out"))
    assert run(*arguments).exit_code == 0  # the whole interval of the prediction keeps it
    smallest = latency_model("cpu", None, "fp32").predict(
        blocks_of(space := load_space(embedded_space_path()), smallest_architecture(space))
    )
    just_above = f"{smallest.latency_ms * 1.01:.6f}ms"
    result = run(*arguments[:3], just_above, *arguments[4:])
    assert result.exit_code == 5, result.stdout
    assert "cannot tell" in result.stdout


def latency(low: float, high: float, measured: float) -> Latency:
    return Latency(
        table=Table(name="t", sha256=None, kind="measured"),
        predicted=PredictedLatency(latency_ms=(low + high) / 2, low_ms=low, high_ms=high, coverage=0.9),
        measured=MeasuredLatency(
            median_ms=measured,
            low_ms=measured - 0.01,
            high_ms=measured + 0.01,
            p10_ms=measured,
            p90_ms=measured,
            runs=10,
            threads=1,
            runtime="r",
            machine="m",
        ),
        not_measured_because="",
    )


def test_a_reading_outside_the_predicted_interval_is_remarked() -> None:
    assert outside_of_prediction(latency(0.9, 1.1, 1.0)) == ()
    assert outside_of_prediction(latency(0.9, 1.1, 1.105)) == ()  # the intervals touch
    (remark,) = outside_of_prediction(latency(0.9, 1.1, 0.8))
    assert "measured 0.8 ms, outside the predicted interval" in remark
