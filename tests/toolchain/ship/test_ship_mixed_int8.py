"""`--precision int8 --max-accuracy-drop`: from the command line to the report and `verify`."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from fednas.export import read_manifest, verify_folder
from fednas.toolchain.cli import app
from fednas.toolchain.embedded import embedded_supernet_path

WRITER, READER = "/stages.0/stages.0.0/conv1/conv/Conv", "/stages.0/stages.0.0/conv2/conv/Conv"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded supernet, computing the same, with one channel between two layers a thousand times larger."""
    with safe_open(str(embedded_supernet_path()), "np") as file:
        tensors = {name: file.get_tensor(name).copy() for name in file.keys()}  # noqa: SIM118  (no mapping)
        metadata = file.metadata()
    block = "stages.0.0"
    tensors[f"{block}.conv1.bn.weight"][0] *= 1000
    tensors[f"{block}.conv1.bn.bias"][0] *= 1000
    tensors[f"{block}.conv2.conv.weight"][:, 0] /= 1000
    path = tmp_path_factory.mktemp("lopsided") / "supernet.safetensors"
    save_file(tensors, str(path), metadata=metadata)
    return path


@pytest.fixture(scope="module")
def shipped(lopsided: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("work") / "shipped"
    model = ("--supernet", str(lopsided), "--data", "digits", "--max-macs", "1M")
    devices = ("--device", "jetson", "--device", "raspberry-pi-5")
    return out, run(*devices, *model, "--precision", "int8", "--max-accuracy-drop", "3%", "--out", str(out))


def test_the_most_sensitive_layers_stay_in_fp32_and_the_file_is_proven(shipped: tuple[Path, Result]) -> None:
    out, result = shipped
    assert result.exit_code == 0, result.stdout + result.stderr
    for name, kept in (("jetson", {READER}), ("raspberry-pi-5", {WRITER, READER})):
        manifest = read_manifest(out / name)
        model = manifest.models[1]
        assert manifest.status == "verified"
        assert model.mixed is not None
        assert set(model.mixed.kept) == kept
        assert model.kept_names == kept
        assert model.mixed.sensitivity[0].name in kept
        assert model.evidence.drop is not None
        assert model.evidence.drop.verdict == "met"
        report = (out / name / "report.md").read_text()
        assert "## Mixed int8" in report
        assert f"Plain int8 did not suffice on 269 validation images (seed 0): {model.mixed.why_not_plain}." in report
        assert f"keeps {len(kept)} of its layers in fp32" in report
        assert verify_folder(out / name).passed
    assert "1 of 24 layers, for the accuracy limit" in " ".join(result.stdout.split())


def test_a_layer_kept_without_the_manifest_saying_so_is_found(shipped: tuple[Path, Result]) -> None:
    folder = shipped[0] / "jetson"
    text = (folder / "manifest.json").read_text()
    document = json.loads(text)
    document["models"][1]["mixed"] = None
    (folder / "manifest.json").write_text(json.dumps(document))
    try:
        failed = [check for check in verify_folder(folder).checks if not check.passed]
    finally:
        (folder / "manifest.json").write_text(text)
    found = {check.name: check.detail for check in failed}
    assert f"layer {READER} (Conv) is fp32, not int8" in found["model.int8.onnx: precision"]


def test_without_a_limit_plain_int8_is_rejected_for_its_logits(lopsided: Path, tmp_path: Path) -> None:
    model = ("--supernet", str(lopsided), "--data", "digits", "--max-macs", "1M")
    result = run("--device", "jetson", *model, "--precision", "int8", "--out", str(tmp_path / "shipped"))
    assert result.exit_code == 4
    manifest = read_manifest(tmp_path / "shipped" / "jetson")
    assert manifest.models[1].mixed is None
    assert "model.int8.onnx: logits differ" in manifest.reasons[0]


def test_with_too_few_validation_images_nothing_is_chosen(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images[..., None].astype(np.uint8), digits.target
    np.savez(
        tmp_path / "few.npz", x_train=images[:300], y_train=labels[:300], x_test=images[1000:], y_test=labels[1000:]
    )
    arguments = ("--precision", "int8", "--max-macs", "1M", "--max-accuracy-drop", "5%", "--out", str(tmp_path / "out"))
    result = run("--device", "jetson", "--data", f"npz:{tmp_path / 'few.npz'}", *arguments)
    assert result.exit_code == 0, result.stderr
    assert "too few validation images to choose layers on" in (tmp_path / "out" / "jetson" / "report.md").read_text()
