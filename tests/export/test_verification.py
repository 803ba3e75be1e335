"""Tampering is found, without torch, with the documented exit codes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_network import Ship
from typer.testing import CliRunner

from fednas.common import FednasError, sha256_of
from fednas.export import find_shipped_folders, verify_folder
from fednas.toolchain.cli import app


def failures(folder: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify_folder(folder).checks if not check.passed}


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Make hashes fit the files again, as a careful forger would, and apply ``change``."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for file in manifest["files"]:
        file["sha256"] = sha256_of(folder / file["name"])
        file["size_bytes"] = (folder / file["name"]).stat().st_size
    if change is not None:
        change(manifest)
    path.write_text(json.dumps(manifest))


def set_budget(folder: Path, budget: dict[str, Any]) -> None:
    rewrite_manifest(folder, lambda manifest: manifest["shipment"].update(budgets=[budget]))


def edit_model(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(folder / "model.fp32.onnx")
    change(model)
    (folder / "model.fp32.onnx").write_bytes(model.SerializeToString())
    rewrite_manifest(folder)


def test_a_sound_folder_passes(shipped: Path) -> None:
    report = verify_folder(shipped)
    assert report.passed
    assert report.notes == ()
    assert [check.name for check in report.checks] == [
        "files",
        "status",
        "figures",
        "documents",
        "model.fp32.onnx: graph",
        "model.fp32.onnx: precision",
        "model.fp32.onnx: metadata",
        "model.fp32.onnx: test vectors",
    ]
    assert "16 real inputs" in report.checks[-1].detail


@pytest.mark.parametrize(
    "name", ["model.fp32.onnx", "test_vectors.npz", "labels.txt", "report.md", "preprocessing.json"]
)
def test_a_changed_byte_is_found_and_nothing_is_run(shipped: Path, name: str) -> None:
    content = bytearray((shipped / name).read_bytes())
    content[len(content) // 2] ^= 1
    (shipped / name).write_bytes(content)
    assert failures(shipped) == {"files": f"changed since they were shipped: {name}"}
    assert len(verify_folder(shipped).checks) == 1


def test_a_missing_file_and_a_link_are_refused(shipped: Path) -> None:
    labels = shipped / "labels.txt"
    content = labels.read_text()
    labels.unlink()
    with pytest.raises(FednasError, match=r"lacks labels\.txt, which its manifest names; copy the folder again"):
        verify_folder(shipped)
    (shipped.parent / "elsewhere").write_text(content)
    labels.symlink_to(shipped.parent / "elsewhere")
    with pytest.raises(FednasError, match="is a link or no regular file"):
        verify_folder(shipped)


def test_a_link_does_not_stand_for_a_manifest(shipped: Path) -> None:
    (shipped / "manifest.json").rename(shipped.parent / "elsewhere")
    (shipped / "manifest.json").symlink_to(shipped.parent / "elsewhere")
    with pytest.raises(FednasError, match=r"manifest\.json is a link"):
        verify_folder(shipped)


class TestCarefulForger:
    """Hashes were made to fit; what the files say must still agree."""

    def test_other_weights(self, shipped: Path) -> None:
        def scale(model: onnx.ModelProto) -> None:
            tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.1, tensor.name))

        edit_model(shipped, scale)
        assert "logits differ by up to" in failures(shipped)["model.fp32.onnx: test vectors"]

    def test_nan_weights(self, shipped: Path) -> None:
        def poison(model: onnx.ModelProto) -> None:
            tensor = next(t for t in model.graph.initializer if t.name == "head.2.bias")
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(10, np.nan, np.float32), tensor.name))

        edit_model(shipped, poison)
        assert "artefact logits hold NaN" in failures(shipped)["model.fp32.onnx: test vectors"]

    def test_another_opset(self, shipped: Path) -> None:
        edit_model(shipped, lambda model: setattr(model.opset_import[0], "version", 18))
        found = failures(shipped)["model.fp32.onnx: graph"]
        assert found == "opset is 18, not 17; opset 18 is above what board reads (17)"

    def test_external_data(self, shipped: Path) -> None:
        def point_outside(model: onnx.ModelProto) -> None:
            tensor = model.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="/etc/passwd")

        edit_model(shipped, point_outside)
        assert "keeps 1 tensors in other files" in failures(shipped)["model.fp32.onnx"]

    def test_other_labels_and_preprocessing(self, shipped: Path) -> None:
        lines = (shipped / "labels.txt").read_text().splitlines()
        (shipped / "labels.txt").write_text("\n".join(reversed(lines)) + "\n")
        steps = json.loads((shipped / "preprocessing.json").read_text())
        (shipped / "preprocessing.json").write_text(json.dumps(steps | {"mean": [0.5]}))
        rewrite_manifest(shipped)
        assert failures(shipped) == {
            "model.fp32.onnx: metadata": "the model file disagrees with the folder on: preprocessing, class names"
        }

    def test_a_model_of_somebody_else(self, shipped: Path) -> None:
        edit_model(shipped, lambda model: model.ClearField("metadata_props"))
        assert failures(shipped) == {"model.fp32.onnx: metadata": "the model file carries no metadata of ours"}

    def test_a_looser_tolerance(self, shipped: Path) -> None:
        def loosen(manifest: dict[str, Any]) -> None:
            manifest["models"][0]["evidence"]["parity"]["tolerance"]["max_relative_error"] = 10.0

        rewrite_manifest(shipped, loosen)
        assert "states another tolerance" in failures(shipped)["model.fp32.onnx: test vectors"]

    @pytest.mark.parametrize(
        ("channels", "classes", "complaint"),
        [(3, 10, r"shape (16, 3, 8, 8)"), (1, 9, "the vectors have 9 logits, the model 10")],
    )
    def test_vectors_of_another_shape(self, shipped: Path, channels: int, classes: int, complaint: str) -> None:
        np.savez(
            shipped / "test_vectors.npz",
            inputs=np.zeros((16, channels, 8, 8), np.float32),
            logits=np.zeros((16, classes), np.float32),
            labels=np.zeros(16, np.int64),
        )
        rewrite_manifest(shipped)
        assert complaint in failures(shipped)["model.fp32.onnx: test vectors"]

    @pytest.mark.parametrize("which", ["input", "output"])
    def test_a_model_of_another_form(self, shipped: Path, which: str) -> None:
        def flatten(model: onnx.ModelProto) -> None:
            node = onnx.helper.make_node("Flatten", ["x"], ["y"], axis=0)
            sides = {"input": ["n", 64], "output": ["n", 1, 8, 8]}[which]
            x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, sides)
            y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, "m"])
            model.graph.CopyFrom(onnx.helper.make_graph([node], "g", [x], [y]))

        edit_model(shipped, flatten)
        found = failures(shipped)
        assert "input is x, not input" in found["model.fp32.onnx: graph"]
        assert "not (batch, " in found["model.fp32.onnx: test vectors"]

    def test_a_kinder_status(self, ship: Ship, tmp_path: Path) -> None:
        folder = ship(tmp_path / "board", wrong_by=0.5)
        rewrite_manifest(folder, lambda manifest: manifest.update(status="verified", reasons=[]))
        found = failures(folder)["status"]
        assert found.startswith("the manifest says verified, but its own evidence makes it rejected: model.fp32.onnx")

    @pytest.mark.parametrize(
        ("figure", "value"), [("share", 1.0), ("low", 0.99), ("high", 0.5), ("correct", 398), ("total", 0)]
    )
    @pytest.mark.parametrize("whose", ["source_accuracy", "artefact_accuracy"])
    def test_an_accuracy_that_its_counts_do_not_give(
        self, shipped: Path, whose: str, figure: str, value: float
    ) -> None:
        def improve(manifest: dict[str, Any]) -> None:
            manifest["models"][0]["evidence"][whose][figure] = value

        rewrite_manifest(shipped, improve)
        found = failures(shipped)["figures"]
        assert found.startswith("model.fp32.onnx: an accuracy is stated as ")
        assert "counts" in found

    # What the folder says: 123,456 MACs, 7,890 parameters, an estimate of 2 ms (1 ms to 4 ms).
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({}, None),
            ({"limit": 3.0, "verdict": "cannot tell"}, None),
            ({"limit": 0.5, "verdict": "missed"}, None),
            ({"limit": 3.0}, "the latency budget is stated as met, but its own figures make it cannot tell"),
            ({"limit": 0.5, "verdict": "cannot tell"}, "stated as cannot tell, but its own figures make it missed"),
            ({"high": 3.0}, "is judged on 2, but no latency that is estimated has this value and interval"),
            ({"basis": "measured"}, "is judged on 2, but no latency that is measured has this value"),
            ({"value": None, "low": None, "high": None, "verdict": "cannot tell"}, "is judged on nothing, but no"),
        ],
    )
    def test_a_latency_budget_that_does_not_follow(
        self, shipped: Path, change: dict[str, Any], says: str | None
    ) -> None:
        budget = {"quantity": "latency", "unit": "ms", "limit": 5.0, "verdict": "met"}
        reading = {"value": 2.0, "low": 1.0, "high": 4.0, "basis": "estimated"}
        set_budget(shipped, budget | reading | change)
        found = failures(shipped).get("figures")
        assert (found is None) == (says is None)
        assert (says or "") in (found or "")

    @pytest.mark.parametrize(
        ("quantity", "limit", "value", "verdict", "says"),
        [
            ("macs", 123456, 123456, "met", None),
            ("params", 7889, 7890, "missed", None),
            ("macs", 123455, 123456, "met", "the macs budget is stated as met, but its own figures make it missed"),
            ("macs", 123455, 100000, "met", "is judged on 100000, but the manifest states 123456"),
            ("params", 8000, 7000, "met", "the params budget is judged on 7000, but the manifest states 7890"),
            ("size", 100, 99, "met", "the size budget is judged on 99, but the manifest states"),
            ("size", 100, None, "met", "the size budget is judged on nothing, but the manifest states"),
        ],
    )
    def test_a_budget_on_counts_that_does_not_follow(
        self, shipped: Path, quantity: str, limit: int, value: int | None, verdict: str, says: str | None
    ) -> None:
        counted = {"quantity": quantity, "unit": "", "limit": limit, "value": value, "basis": "exact"}
        set_budget(shipped, {**counted, "verdict": verdict})
        found = failures(shipped).get("figures")
        assert (found is None) == (says is None)
        assert (says or "") in (found or "")

    def test_a_manifest_that_contradicts_itself(self, shipped: Path) -> None:
        rewrite_manifest(shipped, lambda manifest: manifest["shipment"]["latency"].update(not_measured_because=""))
        with pytest.raises(FednasError, match=r"manifest\.json: a latency is either measured or says why not"):
            verify_folder(shipped)

    @pytest.mark.parametrize("runtime", ["", "antigravity.part", "onnx"])
    def test_a_runtime_that_is_none_of_ours(self, shipped: Path, runtime: str) -> None:
        def convert(manifest: dict[str, Any]) -> None:
            model = manifest["models"][0]
            model["converted"] = [{"runtime": runtime, "files": ["labels.txt"], "evidence": model["evidence"]}]

        rewrite_manifest(shipped, convert)
        with pytest.raises(FednasError, match="unknown runtime"):
            verify_folder(shipped)

    def test_vectors_that_do_not_unpack(self, shipped: Path) -> None:
        content = bytearray((shipped / "test_vectors.npz").read_bytes())
        middle = len(content) // 2
        content[middle : middle + 40] = b"\xff" * 40
        (shipped / "test_vectors.npz").write_bytes(content)
        rewrite_manifest(shipped)
        with pytest.raises(FednasError, match=r"test vectors .* cannot be read"):
            verify_folder(shipped)

    def test_external_data_inside_a_function(self, shipped: Path) -> None:
        def hide(model: onnx.ModelProto) -> None:
            tensor = onnx.TensorProto(name="t", data_type=onnx.TensorProto.FLOAT, dims=[1])
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="/etc/passwd")
            node = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
            opset = [onnx.helper.make_opsetid("", 17)]
            model.functions.append(onnx.helper.make_function("own", "f", [], ["c"], [node], opset))

        edit_model(shipped, hide)
        assert "keeps 1 tensors in other files" in failures(shipped)["model.fp32.onnx"]

    def test_fewer_vectors(self, shipped: Path) -> None:
        with np.load(shipped / "test_vectors.npz") as arrays:
            np.savez(shipped / "test_vectors.npz", **{name: arrays[name][:2] for name in arrays.files})
        rewrite_manifest(shipped)
        assert failures(shipped)["model.fp32.onnx: test vectors"] == "2 vectors, the manifest says 16"

    def test_unlisted_labels(self, shipped: Path) -> None:
        def hide(manifest: dict[str, Any]) -> None:
            manifest["files"] = [file for file in manifest["files"] if file["name"] != "labels.txt"]

        rewrite_manifest(shipped, hide)
        assert failures(shipped) == {"files": "the manifest does not list labels.txt"}


def test_a_rejected_folder_stays_rejected(ship: Ship, tmp_path: Path) -> None:
    found = failures(ship(tmp_path / "board", wrong_by=0.5))
    assert found["status"].startswith("shipped as rejected: model.fp32.onnx: logits differ")


def test_what_is_not_checked_is_said(ship: Ship, tmp_path: Path) -> None:
    folder = ship(tmp_path / "board", "tensorrt", real=False)
    # What the board's script leaves, also if it was killed.
    for name in ("fp32.plan", "fp32.plan.part", "fp32.images.bin", "fp32.layers.json", "int8.build.log"):
        (folder / f"model.{name}").write_bytes(b"made on the board")
    (folder / "timing-10.3-sm87-3f9c1a2b4d5e.cache").write_bytes(b"made on the board")
    (folder / "notes.txt").write_text("mine")
    report = verify_folder(folder)
    assert report.passed
    notes = " ".join(report.notes)
    assert f"{folder}: not shipped, so not checked: notes.txt" in report.notes
    assert "accuracy was never checked" in notes
    assert "an engine built on the board is not checked here" in notes


@pytest.mark.parametrize(
    "name",
    [
        *("model.bf16.onnx", "model.int8.xml", "model.int8.bin"),
        *("model.fp16.ncnn.param", "model.fp16.ncnn.bin", "model.fp32.old.onnx"),
    ],
)
def test_a_network_that_the_manifest_does_not_know(shipped: Path, name: str) -> None:
    (shipped / name).write_bytes(b"a network")
    (shipped / "dump.bin").write_text("mine")
    assert failures(shipped) == {
        "documents": f"{name} looks like a network of ours, but the manifest knows nothing of it"
    }
    assert verify_folder(shipped).notes == (f"{shipped}: not shipped, so not checked: dump.bin",)
    assert CliRunner().invoke(app, ["verify", str(shipped)]).exit_code == 4


def test_a_parent_stands_for_the_folders_in_it(shipped: Path) -> None:
    (shipped.parent / "other").mkdir()
    assert find_shipped_folders(shipped.parent) == (shipped,)
    assert find_shipped_folders(shipped) == (shipped,)
    with pytest.raises(FednasError, match=r"neither it nor a folder in it holds manifest\.json"):
        find_shipped_folders(shipped.parent / "other")


class TestCommand:
    @pytest.fixture
    def run(self) -> Callable[..., Any]:
        return lambda *args: CliRunner().invoke(app, ["verify", *map(str, args)])

    def test_verified(self, run: Callable[..., Any], shipped: Path) -> None:
        result = run(shipped)
        assert result.exit_code == 0, result.output
        assert result.stdout.endswith("\nverified\n")
        assert max(map(len, result.stdout.splitlines())) <= 100

    def test_json_is_one_document(self, run: Callable[..., Any], shipped: Path) -> None:
        result = run(shipped.parent, "--json")
        document = json.loads(result.stdout)
        assert document["passed"] is True
        assert document["folders"][0]["device"] == "board"
        assert document["folders"][0]["checks"][0] == {
            "name": "files",
            "passed": True,
            "detail": f"{len(list(shipped.iterdir())) - 1} files, sizes and SHA-256 as shipped",
        }

    def test_tampered(self, run: Callable[..., Any], shipped: Path) -> None:
        (shipped / "labels.txt").write_text("other\n")
        result = run(shipped.parent)
        assert result.exit_code == 4
        assert "verification failed for 1 of 1 folders" in result.stdout

    @pytest.mark.parametrize("name", ["gone", "."])
    def test_not_ours(self, run: Callable[..., Any], tmp_path: Path, name: str) -> None:
        result = run(tmp_path / name)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert len(result.stderr.strip().splitlines()) == 1

    def test_without_torch(self, shipped: Path) -> None:
        code = (
            "import sys; sys.modules['torch'] = None\n"
            "from fednas.toolchain.entry import main; sys.argv[1:1] = ['verify']; main()"
        )
        command = [sys.executable, "-c", code, str(shipped)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
