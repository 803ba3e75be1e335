"""Candidates compared by measurement, files that read pixels, and data that does not go with the supernet."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner, Result

from fednas.common import FednasError, load_json
from fednas.export import MeasuredLatency, OnnxFile, OrtRunner, Report, read_manifest, verify_folder
from fednas.toolchain.cli import app
from fednas.toolchain.data import ImageData, LabelledImages, Preprocessing
from fednas.toolchain.ship.readings import Reading


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def reading(median_ms: float, half: float = 0.001) -> Reading:
    record = MeasuredLatency(
        median_ms=median_ms,
        low_ms=median_ms - half,
        high_ms=median_ms + half,
        p10_ms=median_ms,
        p90_ms=median_ms,
        runs=10,
        threads=1,
        runtime="r",
        machine="m",
    )
    return Reading(record, "")


def measured_as(*rounds: Sequence[float | None]) -> Callable[..., list[Reading]]:
    """Stands for the measuring: one round of medians after another."""
    left = list(rounds)

    def measure(files: Sequence[OnnxFile], *_: Any, **__: Any) -> list[Reading]:
        medians = left.pop(0)
        assert len(files) == len(medians)
        return [Reading(None, "busy") if median is None else reading(median) for median in medians]

    return measure


CPU = ("--device", "cpu", "--max-latency", "0.5ms")


@pytest.fixture
def _estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions from the estimate, without a table that is measured on the spot."""
    monkeypatch.setattr("fednas.toolchain.ship.speed.is_this_machine", lambda _: False)


@pytest.mark.parametrize(
    ("rounds", "kept_ms", "verdict"),
    [
        (((0.3, 0.49, 0.51),), 0.49, "met"),  # the fittest that meets it
        (((0.3, None, 0.51),), 0.3, "met"),  # what could not be measured drops out
        # None meets it, or all do: as many again, where the first readings say that the budget lies.
        (((0.51, 0.52, 0.53), (0.48, 0.49, 0.5)), 0.49, "met"),
        (((0.3, 0.4, 0.45), (0.48, 0.49, 0.51)), 0.49, "met"),
        (((0.6, 0.7, 0.8), (0.65, None, 0.66)), 0.6, "missed"),  # the fastest of those measured
        (((0.51, 0.52, 0.53), (0.4995, 0.51, 0.52)), 0.4995, "cannot tell"),
    ],
)
@pytest.mark.usefixtures("_estimated")
def test_the_fittest_that_measures_within_the_budget_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rounds: tuple[tuple[float | None, ...], ...],
    kept_ms: float,
    verdict: str,
) -> None:
    monkeypatch.setattr("fednas.toolchain.ship.candidates.measure_all_here", measured_as(*rounds))
    run(*CPU, "--candidates", "3", "--out", str(tmp_path))
    shipment = read_manifest(tmp_path / "cpu").shipment
    assert [candidate.corrected for candidate in shipment.candidates].count(True) == 3 * (len(rounds) - 1)
    (kept,) = [candidate for candidate in shipment.candidates if candidate.kept]
    assert kept.measured is not None
    assert (kept.measured.median_ms, kept.verdict) == (kept_ms, verdict)
    assert shipment.architecture == kept.architecture
    predicted = [candidate.predicted_ms for candidate in shipment.candidates]
    assert predicted == sorted(predicted)
    assert len({str(candidate.architecture) for candidate in shipment.candidates}) == 3 * len(rounds)
    assert shipment.latency.measured == kept.measured
    assert shipment.budgets[0].verdict == verdict
    assert shipment.search is not None
    assert shipment.search.status == "feasible"
    assert not (tmp_path / "cpu" / ".candidates").exists()
    section = (tmp_path / "cpu" / "report.md").read_text().partition("## Candidates")[2].partition("## ")[0]
    assert "kept" in section
    assert bool(re.search(" (one was|ones were) added", section)) == (len(rounds) == 2)


@pytest.mark.usefixtures("_estimated")
def test_the_first_lie_around_the_budget_and_the_next_where_readings_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twice as slow as predicted, so what measures 0.5 ms is predicted at 0.25 ms.
    rounds = ((1.0, 1.0, 1.0, 1.0), (0.49, 0.495, 0.505, 0.51))
    monkeypatch.setattr("fednas.toolchain.ship.candidates.measure_all_here", measured_as(*rounds))
    run(*CPU, "--candidates", "4", "--out", str(tmp_path))
    candidates = read_manifest(tmp_path / "cpu").shipment.candidates
    for corrected, aim in ((False, 0.5), (True, 0.25)):
        low, *_, high = (each.predicted_ms for each in candidates if each.corrected == corrected)
        assert 0.9 * aim < low < aim < high < 1.1 * aim


@pytest.mark.usefixtures("_estimated")
@pytest.mark.parametrize(
    ("medians", "row", "sentence"),
    [
        ((0.3, 0.4, 0.51), "3 measured. Their predictions", "round after round. The fittest that meets"),
        (
            (0.3, None, 0.51),
            "1 of 3 not measured and left out: busy. Their predictions lie within",
            "1 could not be measured (busy) and dropped",
        ),
        (
            (None,) * 3,
            "NOT compared: none of 3 was measured: busy. Their predictions lie within",
            "They were not compared by measurement, because busy.",
        ),
    ],
)
def test_terminal_and_report_say_whether_candidates_were_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, medians: tuple[float | None, ...], row: str, sentence: str
) -> None:
    monkeypatch.setattr("fednas.toolchain.ship.candidates.measure_all_here", measured_as(medians))
    result = run(*CPU, "--candidates", "3", "--out", str(tmp_path))
    assert row in " ".join(result.stdout.split())
    assert ("warning: cpu: --candidates: NOT compared" in result.stderr) == (not any(medians))
    section = (tmp_path / "cpu" / "report.md").read_text().partition("## Candidates")[2].partition("## ")[0]
    assert sentence in section
    assert ("timed in turn" in section) == any(medians)


@pytest.mark.usefixtures("_estimated")
def test_a_network_known_to_miss_is_not_kept_before_a_prediction_that_meets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The predicted best is the last of the first three; it could not be compared, but is measured once it is proven.
    rounds = ((0.7, None, None), (None, None, None))
    monkeypatch.setattr("fednas.toolchain.ship.candidates.measure_all_here", measured_as(*rounds))
    monkeypatch.setattr("fednas.toolchain.ship.proving.measure_here", lambda *_: reading(0.4))
    result = run(*CPU, "--candidates", "3", "--out", str(tmp_path))
    shipment = read_manifest(tmp_path / "cpu").shipment
    (kept,) = [each for each in shipment.candidates if each.kept]
    assert (kept.measured, kept.predicted_ms) == (None, max(each.predicted_ms for each in shipment.candidates))
    assert shipment.budgets[0].verdict == "met"
    assert "kept by prediction: those measured miss the budget" in " ".join(result.stdout.split())


def test_zero_seconds_measure_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it measures all the same")

    monkeypatch.setattr("fednas.toolchain.ship.proving.measure_here", never)
    monkeypatch.setattr("fednas.toolchain.ship.speed.profile_space", never)
    arguments = ("--device", "cpu", "--max-macs", "1M", "--profile-seconds", "0", "--out", str(tmp_path))
    assert run(*arguments).exit_code == 0
    latency = read_manifest(tmp_path / "cpu").shipment.latency
    assert (latency.kind, latency.measured) == ("estimate", None)
    assert latency.not_measured_because == "--profile-seconds 0 measures nothing"


def test_where_nothing_can_be_measured_the_predicted_best_is_kept_and_said(tmp_path: Path) -> None:
    result = run("--device", "jetson", "--max-latency", "0.2ms", "--candidates", "3", "--out", str(tmp_path), "--json")
    assert result.exit_code == 0, result.stderr
    shipment = read_manifest(tmp_path / "jetson").shipment
    assert len(shipment.candidates) == 3
    assert sum(candidate.kept for candidate in shipment.candidates) == 1
    assert shipment.search is not None
    assert shipment.search.status == "optimal"
    report = load_json(tmp_path / "jetson" / "report.json", Report, "report")
    assert (
        "Candidates: 3 of 3 were not measured: this machine is not Jetson Orin Nano 8 GB (Super)."
        in report.not_verified
    )
    assert report.frontier is not None
    assert report.frontier.limit == 0.2
    fitnesses = [point.fitness for point in report.frontier.points]
    assert fitnesses == sorted(fitnesses)
    assert len(report.examples) == 12
    better = shipment.budgets[0].next_better
    assert better is not None
    assert better.needs > 0.2
    assert better.needs_text == "0.20004 ms"


def test_files_that_read_pixels_ship_with_pixels(tmp_path: Path) -> None:
    arguments = ("--device", "jetson", "--max-macs", "1M", "--precision", "fp16,int8", "--input", "uint8")
    assert run(*arguments, "--out", str(tmp_path)).exit_code == 0
    folder = tmp_path / "jetson"
    manifest = read_manifest(folder)
    assert {model.input_type for model in manifest.models} == {"uint8"}
    assert all(model.evidence.source_accuracy is not None for model in manifest.models)
    assert all(model.peak_activation_bytes for model in manifest.models)
    vectors = np.load(folder / "test_vectors.npz")
    assert vectors["inputs"].dtype == np.uint8
    steps = json.loads((folder / "preprocessing.json").read_text())
    assert (steps["input_type"], steps["steps"]) == ("uint8", ["to_nchw"])
    with OrtRunner(folder / "model.fp32.onnx") as runner:
        assert np.abs(runner.infer(vectors["inputs"]) - vectors["logits"]).max() < 1e-3
    assert verify_folder(folder).passed
    assert "TensorRT takes them from 8.5 on by its documents; that was never run" in (folder / "report.md").read_text()


def test_one_device_under_two_names_is_exported_once(tmp_path: Path) -> None:
    arguments = ("--device", "jetson", "--device", "jetson-orin-nano", "--max-macs", "1M")
    result = run(*arguments, "--out", str(tmp_path))
    assert "--device jetson-orin-nano is the same device as --device jetson: exported once, as jetson" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["jetson"]


def test_without_data_verify_does_not_end_with_plain_verified(tmp_path: Path) -> None:
    run("--device", "jetson", "--max-macs", "1M", "--data", "none", "--input", "uint8", "--out", str(tmp_path))
    result = run("verify", str(tmp_path))
    assert result.exit_code == 0
    assert result.stdout.endswith("unchanged since it was shipped, but accuracy was never checked\n")
    assert json.loads(run("verify", str(tmp_path), "--json").stdout)["status"] == "unverified"


def digits_file(path: Path, scale: float) -> None:
    digits = load_digits()
    images, labels = (digits.images * scale).astype(np.uint8), digits.target
    np.savez(path, x_train=images[:1400], y_train=labels[:1400], x_test=images[1400:], y_test=labels[1400:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "jetson-nano", "--input", "uint8"], "jetson-nano has TensorRT 8.2, which takes no uint8 inputs"),
        (["--device", "jetson", "--input", "int8"], "unknown input type 'int8'; did you mean uint8"),
        (
            ["--device", "jetson", "--input", "uint8", "--precision", "fp16", "--fp16-io"],
            "--fp16-io and --input uint8 both say what the file reads",
        ),
        (["--device", "jetson", "--candidates", "3"], "--candidates compares networks near a latency budget"),
        (
            ["--device", "cpu", "--candidates", "3", "--max-latency", "1ms", "--profile-seconds", "0"],
            "--candidates compares by measurement, and --profile-seconds 0 measures nothing; leave out one of them",
        ),
        (["--device", "jetson", "--card", "nowhere.toml"], "model card details nowhere.toml does not exist"),
        (["--device", "jetson", "--data", "npz:dark.npz"], "has pixels up to 1 only, but the network was trained on"),
        (["--device", "jetson", "--data", "npz:bright.npz"], "has pixels up to 160, but the network was trained on"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    digits_file(tmp_path / "dark.npz", 1 / 16)
    digits_file(tmp_path / "bright.npz", 10.0)
    result = run(*arguments, "--out", "out")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_classes_in_another_order_are_refused() -> None:
    images = LabelledImages(np.ones((2, 1, 1, 1)), np.array([0, 1]))
    own = Preprocessing(channels=1, height=1, width=1, value_range_max=1.0, mean=(0.0,), std=(1.0,))
    data = ImageData("mine", ("cat", "dog"), own, images, images, images)
    data.check_class_names(("cat", "dog"))
    data.check_class_names(("katze", "hund"))
    with pytest.raises(FednasError, match="in another order: class 0 is 'cat' here and 'dog' there"):
        data.check_class_names(("dog", "cat"))
    with pytest.raises(FednasError, match="class 0 is 'cat' here and 'bird' there"):
        data.check_class_names(("bird", "cat"))


Pixels = Callable[[np.ndarray], np.ndarray]


def altered_digits(path: Path, *, pixels: Pixels, turned: int = 0, of_class: int = 10) -> str:
    """Digits with other pixels, and with the labels below ``of_class`` turned by ``turned``."""
    digits = load_digits()
    images = pixels(digits.images).astype(np.uint8)
    labels = np.where(digits.target < of_class, (digits.target + turned) % of_class, digits.target)
    np.savez(path, x_train=images[:1400], y_train=labels[:1400], x_test=images[1400:], y_test=labels[1400:])
    return f"npz:{path}"


@pytest.mark.parametrize(
    ("pixels", "turned", "complaint"),
    [
        # Black on white instead of white on black: the mean is (1 - 2 x 0.305) / 0.376 = 1.04 off.
        (lambda images: 16 - images, 0, r"pixels have mean 1 and standard deviation 1 .*; and the subnet is right on"),
        (
            lambda images: images,
            1,
            r"the subnet is right on [\d.]+% of its test images, while .*\(digits\) says at least",
        ),
    ],
)
def test_images_that_the_supernet_was_not_made_for_are_refused_in_one_line(
    tmp_path: Path, pixels: Pixels, turned: int, complaint: str
) -> None:
    data = altered_digits(tmp_path / "other.npz", pixels=pixels, turned=turned)
    result = run("--quiet", "--device", "jetson", "--max-macs", "1M", "--data", data, "--out", str(tmp_path / "out"))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert re.search(f"supernet and data set other do not belong together: .*{complaint}", result.stderr)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("pixels", "turned", "of_class", "complaint"),
    [
        (lambda images: images // 3, 0, 10, "its pixels have mean -0."),
        (lambda images: images, 1, 4, "the subnet is right on "),  # six of ten classes as they were
    ],
)
def test_a_single_sign_is_a_doubt_that_is_said(
    tmp_path: Path, pixels: Pixels, turned: int, of_class: int, complaint: str
) -> None:
    data = altered_digits(tmp_path / "other.npz", pixels=pixels, turned=turned, of_class=of_class)
    result = run("--quiet", "--device", "jetson", "--max-macs", "1M", "--data", data, "--out", str(tmp_path / "out"))
    assert result.exit_code == 0
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("warning: jetson: Data: ")]
    assert complaint in warning
    assert warning.removeprefix("warning: jetson: ") in (tmp_path / "out" / "jetson" / "report.md").read_text()


@pytest.mark.usefixtures("_estimated")
def test_where_the_fittest_of_all_is_measured_no_fitter_ones_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fednas.toolchain.ship.candidates.measure_all_here", measured_as((0.3, 0.4)))
    run("--device", "cpu", "--max-latency", "1s", "--candidates", "2", "--out", str(tmp_path))
    candidates = read_manifest(tmp_path / "cpu").shipment.candidates
    assert [candidate.kept for candidate in candidates] == [False, True]
    assert not any(candidate.corrected for candidate in candidates)
