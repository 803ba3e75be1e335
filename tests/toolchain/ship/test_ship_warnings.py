"""What the main job says beside its table, before and after the work, and what it refuses at once."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner, Result

from fednas.export import read_manifest
from fednas.toolchain.cli import app
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.space import load_space
from fednas.toolchain.supernet import ElasticSupernet, SupernetHeader, save_supernet


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_limit_that_the_images_cannot_show_is_said_before_and_after(tmp_path: Path) -> None:
    limit = ("--max-macs", "1M", "--max-accuracy-drop", "0.1%")
    result = run("--device", "jetson", *limit, "--out", str(tmp_path))
    assert result.exit_code == 5
    before, after = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert "--max-accuracy-drop 0.1% cannot be shown with 450 test images" in before
    assert before.endswith("Give --data with 4,308 test images or more, or allow 0.95%")
    assert after.startswith("warning: jetson: Accuracy limit: 450 images cannot rule out a loss of 0.9")
    drop = read_manifest(tmp_path / "jetson").models[0].evidence.drop
    assert drop is not None
    assert drop.too_few_images in " ".join(result.stdout.split())
    report = (tmp_path / "jetson" / "report.md").read_text()
    assert after.removeprefix("warning: jetson: ") in report.partition("## Not verified")[2]
    assert drop.with_verdict in report.partition("## Parity and accuracy")[2]


def test_the_report_without_budgets_says_where_the_accuracy_limit_stands(tmp_path: Path) -> None:
    assert run("--device", "jetson", "--max-accuracy-drop", "2%", "--out", str(tmp_path)).exit_code == 0
    section = (tmp_path / "jetson" / "report.md").read_text().partition("## Budgets")[2].partition("## ")[0]
    assert section.strip() == 'None was asked for. The limit on lost accuracy stands under "Parity and accuracy".'


def test_the_document_has_the_warnings(tmp_path: Path) -> None:
    digits = load_digits()
    images, labels = (digits.images // 3).astype(np.uint8), digits.target
    np.savez(
        tmp_path / "dim.npz", x_train=images[:1400], y_train=labels[:1400], x_test=images[1400:], y_test=labels[1400:]
    )
    arguments = ("--device", "jetson", "--max-macs", "1M", "--data", f"npz:{tmp_path / 'dim.npz'}", "--json")
    result = run(*arguments, "--out", str(tmp_path / "out"))
    (device,) = json.loads(result.stdout)["devices"]
    (warning,) = device["warnings"]
    assert warning.startswith("Data: after the supernet's normalisation its pixels have mean -0.")
    assert f"warning: jetson: {warning}" in result.stderr


@pytest.mark.parametrize(
    ("more", "advice"), [((), "give --data"), (("--no-recalibrate",), "give --data and leave out --no-recalibrate")]
)
def test_batch_norms_that_fit_no_subnet_and_that_nothing_checks_are_said(
    tmp_path: Path, more: tuple[str, ...], advice: str
) -> None:
    arguments = ("--device", "jetson", "--data", "none", "--max-macs", "5M", "--json", "--out", str(tmp_path), *more)
    result = run(*arguments)
    warning = (
        "Batch norms: they are as the supernet has them, not recalibrated for this subnet, so its predictions may be "
        f"useless; {advice}"
    )
    assert json.loads(result.stdout)["devices"][0]["warnings"] == [warning]
    assert f"warning: jetson: {warning}\n" in result.stderr
    assert f"- {warning}\n" in (tmp_path / "jetson" / "report.md").read_text().partition("## Not verified")[2]


def test_a_supernet_without_batch_norms_needs_none_recalibrated(tmp_path: Path) -> None:
    space = msgspec.structs.replace(load_space(embedded_space_path()), normalization="none")
    header = SupernetHeader(space=space, dataset="digits", class_names=tuple("0123456789"))
    save_supernet(tmp_path / "net.safetensors", ElasticSupernet(space), header)
    arguments = ("--supernet", str(tmp_path / "net.safetensors"), "--data", "none", "--max-macs", "1M")
    result = run("--device", "jetson", *arguments, "--out", str(tmp_path / "out"))
    assert (result.exit_code, "Batch norms" in result.stderr) == (0, False), result.stderr


def test_test_images_that_were_trained_on_are_counted(tmp_path: Path) -> None:
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target
    # The first 297 of the test images are the last of the training images, which are trained on or held out.
    part = slice(1103, 1600)
    np.savez(tmp_path / "d.npz", x_train=images[:1400], y_train=labels[:1400], x_test=images[part], y_test=labels[part])
    arguments = ("--device", "jetson", "--max-macs", "1M", "--data", f"npz:{tmp_path / 'd.npz'}", "--json")
    result = run(*arguments, "--out", str(tmp_path / "out"))
    (warning,) = json.loads(result.stdout)["devices"][0]["warnings"]
    assert warning == (
        "Data: 297 of 497 test images are also among the training or validation images: the accuracy is not that of "
        "unseen images"
    )
    assert f"warning: jetson: {warning}" in result.stderr
    assert warning in (tmp_path / "out" / "jetson" / "report.md").read_text().partition("## Not verified")[2]


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_seconds_that_cannot_be_are_refused_by_their_own_name(tmp_path: Path, seconds: str) -> None:
    result = run("--device", "cpu", "--profile-seconds", seconds, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "--profile-seconds" in result.stderr
    assert seconds in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--device", "jetson", "--precision", "int8", "--fp16-io"),
            "--fp16-io is for the fp16 file, and --precision asks for none; add fp16 to --precision, or leave it out",
        ),
        (
            ("--device", "cpu", "--device", "raspberry-pi-4", "--optimization-level", "3", "--engine-batches", "1,1,1"),
            "--optimization-level, --engine-batches: for TensorRT engines, and no --device runs any; "
            "leave it out, or add a device such as jetson",
        ),
        (("--device", "cpu", "--workspace", "1GiB"), "--workspace: for TensorRT engines, and no --device runs any"),
        (("--device", "cpu", "--timing-caches", "t"), "--timing-caches: for TensorRT engines, and no --device runs"),
    ],
)
def test_options_without_effect_are_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"fednas-export: {line}")
    assert json.loads(result.stdout)["error"]["exit_code"] == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "line"),
    [
        ("abc", "is 'abc', which is no quantity with the unit %; write it like 1% or 0.01"),
        ("200%", "is '200%', more than 1; write a share such as 1% or 0.01"),
        ("-1%", "is '-1%', but it must be above zero; write it like 1% or 0.01"),
    ],
)
def test_a_limit_that_cannot_be_read_is_answered_with_one_that_makes_sense(limit: str, line: str) -> None:
    result = run("--device", "jetson", "--max-accuracy-drop", limit)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, f"fednas-export: --max-accuracy-drop {line}")


def test_a_budget_that_cannot_be_met_by_an_estimate_is_said_to_be_that(tmp_path: Path) -> None:
    result = run("--device", "jetson", "--max-latency", "1us", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "--max-latency 1 us on jetson-orin-nano cannot be met" in result.stderr
    assert result.stderr.rstrip().endswith("give --table: this latency is an estimate from datasheets")
    result = run("--device", "jetson", "--max-macs", "1k", "--out", str(tmp_path / "out"))
    assert result.stderr.rstrip().endswith("; raise the budget")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--device", "cpu", "--precision", "fp16"),
        ("--device", "jetson-nano", "--input", "uint8"),
        ("--device", "jetson", "--precision", "int8", "--data", "none"),
        ("--device", "jetson", "--max-accuracy-drop", "1%", "--data", "none"),
        ("--device", "jetson", "--max-accuracy-drop", "1"),
        ("--device", "jetson", "--data", "imagenet:x"),
        ("--device", "jetson", "--supernet", "nowhere.safetensors"),
        ("--device", "cpu", "--arch", "nowhere.json"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_before_torch_is_loaded(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; from fednas.toolchain.cli import app\n"
        f"try: app({[*arguments, '--out', str(tmp_path / 'out')]!r})\n"
        "except SystemExit as end: print(end.code, [m for m in ('torch', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1 []\n", done.stderr
