"""Several precisions of one network in one folder, from the command line to `verify` and `check`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fednas.common import FednasError
from fednas.export import (
    ConvertedModel,
    Manifest,
    MeasuredLatency,
    OnnxFile,
    PairedDrop,
    Precision,
    judged_model,
    read_manifest,
    verify_folder,
)
from fednas.toolchain.cli import app
from fednas.toolchain.ship import proving
from fednas.toolchain.ship.job import ShippedDevice
from fednas.toolchain.ship.readings import Reading


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """One run for a TensorRT board and a processor, neither of them this machine."""
    out = tmp_path_factory.mktemp("work") / "shipped"
    devices = ("--device", "jetson", "--device", "raspberry-pi-5")
    return out, run(*devices, "--precision", "int8", "--max-macs", "1M", "--max-latency", "1s", "--out", str(out))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("work") / "shipped"
    result = run("--device", "jetson", "--precision", "fp16, int8", "--max-macs", "1M", "--out", str(out))
    assert result.exit_code == 0, result.stderr
    return out / "jetson"


def precisions(manifest: Manifest) -> list[Precision]:
    return [model.precision for model in manifest.models]


def test_fp32_comes_first_and_budgets_are_judged_on_what_was_asked_first(
    shipped: tuple[Path, Result], three: Path
) -> None:
    out, result = shipped
    assert result.exit_code == 0, result.stderr
    for name in ("jetson", "raspberry-pi-5"):
        manifest = read_manifest(out / name)
        assert precisions(manifest) == ["fp32", "int8"]
        assert manifest.shipment.precision == "int8"
        assert judged_model(manifest.shipment, manifest.models).file == "model.int8.onnx"
        assert verify_folder(out / name).passed
    manifest = read_manifest(three)
    assert precisions(manifest) == ["fp32", "fp16", "int8"]
    assert manifest.shipment.precision == "fp16"
    predicted = manifest.shipment.latency.predicted
    assert predicted is not None
    assert predicted.precision == "fp16"
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_each_file_has_its_census_calibration_and_drop(three: Path) -> None:
    fp32, fp16, int8 = read_manifest(three).models
    assert fp32.calibration is None
    for model in (fp16, int8):
        assert model.census is not None
        assert model.census.reasons == ()
        assert model.calibration is not None
        assert (model.calibration.images, model.calibration.classes) == (512, 10)
        assert model.calibration.source == "training images"
        assert model.evidence.drop is not None
        assert model.evidence.drop.images == 450
        assert model.evidence.drop.high < 0.03
    report = (three / "report.md").read_text()
    assert "| `model.fp16.onnx` |" in report
    assert "512 training images (seed 0): smallest and largest values; weights for each channel" in report
    assert "says nothing about rounded activations" in report
    files = "`model.fp32.onnx`, `model.fp16.onnx`, `model.int8.onnx`"
    assert f"Latency of {files}: not measured, because this machine is not Jetson Orin Nano" in report


def test_weights_are_stored_as_the_runtime_reads_them(shipped: tuple[Path, Result]) -> None:
    """TensorRT gets float weights with their quantisation, ONNX Runtime int8: a quarter of the size."""
    out, _ = shipped
    sizes = {path: path.stat().st_size for path in out.rglob("*.onnx")}
    assert sizes[out / "jetson" / "model.int8.onnx"] > sizes[out / "jetson" / "model.fp32.onnx"]
    assert sizes[out / "raspberry-pi-5" / "model.int8.onnx"] < sizes[out / "raspberry-pi-5" / "model.fp32.onnx"] / 2


def test_the_example_runs_the_precision_asked_for(shipped: tuple[Path, Result]) -> None:
    example = shipped[0] / "raspberry-pi-5" / "example.py"
    assert 'MODEL = "model.int8.onnx"' in example.read_text()
    ran = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, check=True)
    assert "(allowed 0.2)" in ran.stdout


def test_a_folder_of_before_these_fields_is_still_read_and_verified(three: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(three, tmp_path / "copy"))
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    others = {model["file"] for model in document["models"][1:]}
    document["models"] = document["models"][:1]
    for file in others:
        (folder / file).unlink()
    for name in ("census", "kept_fp32", "calibration", "measured", "input_type"):
        del document["models"][0][name]
    del document["models"][0]["evidence"]["drop"]
    del document["shipment"]["precision"]
    del document["shipment"]["latency"]["predicted"]["precision"]
    # Its report would say the same; this one is of today.
    document["files"] = [file for file in document["files"] if file["name"] not in {"report.json", *others}]
    (folder / "manifest.json").write_text(json.dumps(document))
    assert verify_folder(folder).passed


def test_the_board_script_knows_them_all(three: Path) -> None:
    script = subprocess.run(
        [sys.executable, "-W", "error", str(three / "board_check.py"), "--commands", "8.6"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(f"--onnx=model.{p}.onnx" in script.stdout for p in ("fp32", "fp16", "int8"))


def test_the_same_command_gives_the_same_models(three: Path, tmp_path: Path) -> None:
    run("--device", "jetson", "--precision", "fp16,int8", "--max-macs", "1M", "--out", str(tmp_path))
    for name in ("model.fp32.onnx", "model.fp16.onnx", "model.int8.onnx"):
        assert (tmp_path / "jetson" / name).read_bytes() == (three / name).read_bytes(), name


def test_verify_finds_a_false_census(three: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(three, tmp_path / "copy"))
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    document["models"][1]["census"]["layers"][0]["count"] += 1
    (folder / "manifest.json").write_text(json.dumps(document))
    failed = [check for check in verify_folder(folder).checks if not check.passed]
    assert [check.name for check in failed] == ["documents", "model.fp16.onnx: precision"]
    assert "the manifest counts" in failed[1].detail


def test_half_precision_inputs(tmp_path: Path) -> None:
    result = run(
        "--device", "jetson", "--precision", "fp16", "--fp16-io", "--max-macs", "1M", "--out", str(tmp_path), "--quiet"
    )
    assert result.exit_code == 0, result.stderr
    assert [m.input_type for m in read_manifest(tmp_path / "jetson").models] == ["float32", "float16"]
    assert verify_folder(tmp_path / "jetson").passed


def test_without_data_fp16_is_made_from_random_inputs_and_says_so(tmp_path: Path) -> None:
    arguments = ("--precision", "fp16", "--data", "none", "--max-macs", "1M", "--out", str(tmp_path))
    assert run("--device", "jetson", *arguments).exit_code == 0
    manifest = read_manifest(tmp_path / "jetson")
    assert manifest.status == "unverified"
    assert manifest.models[1].calibration is not None
    assert manifest.models[1].calibration.source == "random inputs"
    report = (tmp_path / "jetson" / "report.md").read_text()
    assert "Whether they overflow was judged by the values measured on random inputs, not on images." in report
    assert "calibration images" not in report
    gaps = report.partition("## Not verified")[2]
    assert "fp16: whether half precision overflows was judged on random inputs only, not on images." in gaps


@pytest.mark.parametrize(
    ("count", "classes", "complaint"),
    [
        (200, 1, "calibration images belong to one class"),
        (30, 2, "calibration needs at least 32 training images, there are"),
    ],
)
def test_unfit_calibration_images_are_refused_before_any_work(
    tmp_path: Path, count: int, classes: int, complaint: str
) -> None:
    images, labels = np.full((200, 8, 8), 7, np.uint8), np.arange(200) % 10
    train = {"x_train": images[:count], "y_train": np.arange(count) % classes}
    np.savez(tmp_path / "d.npz", **train, x_test=images, y_test=labels)
    data = f"npz:{tmp_path / 'd.npz'}"
    result = run("--device", "jetson", "--precision", "int8", "--data", data, "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("verdict", "code"), [("met", 0), ("cannot tell", 5), (None, 0)])
def test_the_exit_code_follows_the_drop(three: Path, verdict: Any, code: int) -> None:
    manifest = read_manifest(three)
    assert manifest.models[2].evidence.drop is not None
    drop: PairedDrop = msgspec.structs.replace(manifest.models[2].evidence.drop, limit=0.01, verdict=verdict)
    evidence = msgspec.structs.replace(manifest.models[2].evidence, drop=drop)
    models = (*manifest.models[:2], msgspec.structs.replace(manifest.models[2], evidence=evidence))
    changed = msgspec.structs.replace(manifest, models=models)
    assert ShippedDevice("jetson", three, changed).exit_code == code


def test_a_drop_that_cannot_be_told_counts_for_converted_files_too(three: Path) -> None:
    manifest = read_manifest(three)
    assert manifest.models[0].evidence.drop is not None
    drop: PairedDrop = msgspec.structs.replace(manifest.models[0].evidence.drop, limit=0.01, verdict="cannot tell")
    evidence = msgspec.structs.replace(manifest.models[0].evidence, drop=drop)
    converted = ConvertedModel(runtime="openvino", files=("model.fp32.xml",), evidence=evidence)
    models = (msgspec.structs.replace(manifest.models[0], converted=(converted,)), *manifest.models[1:])
    assert ShippedDevice("jetson", three, msgspec.structs.replace(manifest, models=models)).exit_code == 5


def test_a_drop_above_the_limit_rejects_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The int8 file's logits are shuffled, so that it really loses what is reported."""
    infer_all = proving.OrtRunner.infer_all

    def spoilt(self: Any, images: np.ndarray) -> np.ndarray:
        logits: np.ndarray = infer_all(self, images)
        return logits[:, ::-1] if "int8" in self.path.name else logits

    monkeypatch.setattr(proving.OrtRunner, "infer_all", spoilt)
    model = ("--device", "raspberry-pi-5", "--max-macs", "1M", "--out", str(tmp_path))
    assert run(*model, "--precision", "fp32").exit_code == 0
    result = run(*model, "--precision", "int8", "--max-accuracy-drop", "1%")
    assert result.exit_code == 4
    # What passed before stays where it is; what failed lies apart.
    assert read_manifest(tmp_path / "raspberry-pi-5").status == "verified"
    manifest = read_manifest(tmp_path / "raspberry-pi-5.rejected")
    assert manifest.status == "rejected"
    index = json.loads((tmp_path / "index.json").read_text())
    assert [entry["folder"] for entry in index["devices"]] == ["raspberry-pi-5", "raspberry-pi-5.rejected"]
    assert any("model.int8.onnx: accuracy dropped by" in why for why in manifest.reasons)
    assert not any(why.startswith("model.fp32.onnx") for why in manifest.reasons)


def test_each_precision_is_measured_and_checked_by_its_own_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fp32 takes 1 ms and int8 3 ms here; a budget of 2 ms is met by one and missed by the other."""

    def reading(onnx_file: OnnxFile, *_: object) -> Reading:
        ms = 3.0 if "int8" in onnx_file.path.name else 1.0
        times = dict.fromkeys(("median_ms", "low_ms", "high_ms", "p10_ms", "p90_ms"), ms)
        return Reading(MeasuredLatency(**times, runs=9, threads=1, runtime="r", machine="m"), "")

    monkeypatch.setattr(proving, "measure_here", reading)
    monkeypatch.setattr("fednas.toolchain.ship.speed.is_this_machine", lambda _: False)  # no table is measured
    common = ("--device", "cpu", "--max-macs", "1M", "--max-latency", "2ms")
    fp32 = run(*common, "--precision", "fp32,int8", "--out", str(tmp_path / "a"))
    int8 = run(*common, "--precision", "int8", "--out", str(tmp_path / "b"))
    assert (fp32.exit_code, int8.exit_code) == (0, 3)
    measured = [model.measured for model in read_manifest(tmp_path / "a" / "cpu").models]
    assert [each.median_ms for each in measured if each] == [1.0, 3.0]
    for precision, code in (("fp32", 0), ("int8", 3)):
        budgets = tmp_path / f"{precision}.toml"
        budgets.write_text(
            f'schema = 1\n\n[[budget]]\nname = "b"\nfolder = "{tmp_path}/a/cpu"\nprecision = "{precision}"\n'
            'latency = "measured"\nmax_latency = "2ms"\n'
        )
        assert run("check", str(budgets)).exit_code == code


def test_the_table_on_the_spot_is_of_the_precision_that_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked_for(*_: object, precision: str, **__: object) -> None:
        raise FednasError(f"a table of {precision}")

    monkeypatch.setattr("fednas.toolchain.ship.speed.profile_space", asked_for)
    result = run("--device", "cpu", "--max-macs", "1M", "--precision", "int8,fp32", "--out", str(tmp_path / "out"))
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "fednas-export: a table of int8")
