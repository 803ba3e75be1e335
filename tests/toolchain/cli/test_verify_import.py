"""`verify DIR --import`: what a board wrote is folded in, or refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fednas.export import read_manifest
from fednas.export.board.kit import read_kit
from fednas.toolchain.cli import app

Edit = Callable[[dict[str, Any]], object]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("work") / "shipped"
    done = run(
        "--device", "jetson", "--precision", "int8", "--max-macs", "1M", "--max-latency", "5ms", "--out", str(out)
    )
    assert done.exit_code == 0, done.stderr
    return out / "jetson"


@pytest.fixture
def folder(once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(once, tmp_path / "jetson"))


def result_of(folder: Path, *, wrong_by: float = 0.0, median_ms: float = 2.0) -> dict[str, Any]:
    """What the script would write if both engines gave the source's logits, moved by ``wrong_by``."""
    kit = read_kit(folder)
    with np.load(folder / "test_vectors.npz") as vectors:
        source = vectors["logits"].astype(float)
    engines = [
        {
            "model": model.file,
            "model_sha256": model.sha256,
            "precision": model.precision,
            "failed": "",
            "passed": True,
            "faults": [],
            "engine": model.file.replace(".onnx", ".plan"),
            "engine_sha256": "ab" * 32,
            "engine_bytes": 12345,
            "build_seconds": 20.5,
            "options": ["--stronglyTyped"],
            "strongly_typed": True,
            "logits": (source + wrong_by).tolist(),
            "max_relative_error": wrong_by / float(np.abs(source).max()),
            "top1_agreement": 1.0,
            "max_abs_errors": [wrong_by] * len(source),
            "clock": "device events, no CUDA graph",
            "batch": 1,
            "samples_ms": [median_ms + 0.001 * (i - 75) for i in range(151)],
            "layers": [{"name": "conv", "kind": "CaskConvolution", "precision": model.precision}],
            "layers_missing": "",
        }
        for model in kit.models
    ]
    machine = {"board": "NVIDIA Jetson Orin Nano <script>alert(1)</script>", "l4t": "# R36", "system": "Linux aarch64"}
    gpu = {"name": "Orin", "compute_capability": "8.7", "cuda": "12.6", "driver": "12.6"}
    settings = {"workspace_mib": 512, "level": 3, "smallest": 1, "tuned": 1, "largest": 8, "seconds": 10}
    return {
        "schema": 1,
        "kit_sha256": kit.sha256,
        "manifest_sha256": "cd" * 32,
        "device": kit.device,
        "created": "2026-01-02T03:04:05+00:00",
        "machine": {**machine, **gpu, "python": "3.10.12", "power_mode": "25W"},
        "temperature_c": {"before": 41.5, "after": None},
        "tensorrt": "10.3.0",
        "way": "module",
        "settings": settings,
        "engines": engines,
    }


def imported(folder: Path, result: object, *more: str) -> Result:
    path = folder.parent / "board_result.json"
    path.write_text(result if isinstance(result, str) else json.dumps(result))
    return run(*more, "verify", str(folder), "--import", str(path))


def test_a_good_result_becomes_part_of_the_folder(folder: Path) -> None:
    done = imported(folder, result_of(folder))
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "TensorRT 10.3.0 on NVIDIA Jetson Orin Nano" in " ".join(done.stdout.split())
    manifest = read_manifest(folder)
    assert (manifest.status, manifest.reasons) == ("verified", ())
    assert manifest.board is not None
    int8 = manifest.board.engines[1]
    assert int8.latency is not None
    assert (int8.latency.median_ms, int8.latency.runs, int8.latency.batch) == (2.0, 151, 1)
    assert (int8.layers.int8, int8.evidence.parity.images) == (1, 32)
    latency = manifest.shipment.budgets[0]
    assert (latency.basis, latency.value, latency.verdict) == ("measured", 2.0, "met")
    report = (folder / "report.md").read_text()
    assert "## On the board" in report
    assert "2 ms measured on the board" in report.splitlines()[2]
    assert "| Power mode | 25W |" in report
    assert "The TensorRT engine:" not in report
    assert report.count("Accuracy of the engines: on the board only") == 1
    assert "<script>" not in report + (folder / "report.html").read_text().split("On the board", 1)[1]
    assert json.loads((folder / "report.json").read_text())["board"]["tensorrt_version"] == "10.3.0"
    # The folder verifies itself from now on, and a second import changes nothing.
    assert run("verify", str(folder)).exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run("verify", str(folder), "--import", str(folder / "board_result.json")).exit_code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_json_names_engines_and_budgets(folder: Path) -> None:
    document = json.loads(imported(folder, result_of(folder), "--json").stdout)
    assert document["passed"] is True
    assert [engine["precision"] for engine in document["board"]["engines"]] == ["fp32", "int8"]
    assert document["budgets"][0]["verdict"] == "met"
    (checked,) = document["folders"]
    assert (checked["status"], checked["verdicts"]) == ("verified", {"latency budget": "met", "MACs budget": "met"})


@pytest.mark.parametrize(
    ("median_ms", "code", "verdict"),
    [(6.0, 3, "missed"), (5.0, 5, "cannot tell"), (4.0, 0, "met")],
)
def test_the_latency_measured_there_is_judged(folder: Path, median_ms: float, code: int, verdict: str) -> None:
    result = result_of(folder, median_ms=median_ms)
    done = imported(folder, result)
    assert done.exit_code == code
    assert read_manifest(folder).shipment.budgets[0].verdict == verdict


def test_an_engine_that_disagrees_rejects_the_folder(folder: Path) -> None:
    done = imported(folder, result_of(folder, wrong_by=9.0))
    assert done.exit_code == 4
    manifest = read_manifest(folder)
    assert manifest.status == "rejected"
    assert "model.fp32.onnx on the board: logits differ" in manifest.reasons[0]
    assert run("verify", str(folder)).exit_code == 4


def test_an_engine_that_gives_nan(folder: Path) -> None:
    result = result_of(folder)
    result["engines"][1]["logits"][3][0] = None
    result["engines"][1]["max_abs_errors"][3] = None
    assert imported(folder, result).exit_code == 4
    assert "artefact logits hold NaN" in " ".join(read_manifest(folder).reasons)


def test_an_engine_in_another_precision_than_asked(folder: Path) -> None:
    result = result_of(folder)
    result["engines"][1]["layers"][0]["precision"] = "fp32"
    assert imported(folder, result).exit_code == 4
    assert "no layer of the engine runs in int8" in " ".join(read_manifest(folder).reasons)


def test_a_model_of_which_no_engine_came(folder: Path) -> None:
    result = result_of(folder)
    kept = {name: result["engines"][1][name] for name in ("model", "model_sha256", "precision")}
    result["engines"][1] = {**kept, "failed": "no int8 on this `GPU`", "passed": False, "faults": []}
    done = imported(folder, result)
    assert done.exit_code == 5
    assert "no engine of model.int8.onnx: no int8 on this GPU" in " ".join(done.stdout.split())
    assert read_manifest(folder).shipment.budgets[0].basis == "estimated"
    report = " ".join((folder / "report.md").read_text().split())
    assert "On the board: no engine of model.int8.onnx was run there." in report
    again = run("verify", str(folder))
    assert again.exit_code == 5
    assert "the board made no engine of model.int8.onnx: no int8 on this GPU" in " ".join(again.stdout.split())


def test_what_a_result_leaves_out_is_said(folder: Path) -> None:
    result = result_of(folder)
    del result["engines"][1]
    result["engines"][0]["layers"] = []
    assert imported(folder, result).exit_code == 0
    report = (folder / "report.md").read_text()
    assert "- On the board: no engine of model.int8.onnx was run there." in report
    assert "- On the board: TensorRT does not say in which precision the layers of model.fp32.onnx run." in report
    assert imported(folder, result_of(folder)).exit_code == 0
    assert "- On the board:" not in (folder / "report.md").read_text()


def test_a_latency_does_not_outlive_its_result(folder: Path) -> None:
    assert imported(folder, result_of(folder)).exit_code == 0
    result = result_of(folder)
    result["engines"][1]["batch"] = 8
    assert imported(folder, result).exit_code == 5
    budget = read_manifest(folder).shipment.budgets[0]
    assert (budget.value, budget.verdict) == (None, "cannot tell")
    assert "model.int8.onnx was timed with batches of 8, not of one" in (folder / "report.md").read_text()
    assert imported(folder, result_of(folder)).exit_code == 0


def test_an_edited_report_is_not_taken_over(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    report["not_verified"] = []
    (folder / "report.json").write_text(json.dumps(report))
    done = imported(folder, result_of(folder))
    assert (done.exit_code, "report.json changed since it was shipped" in done.stderr) == (1, True)


def test_an_interrupted_import_is_done_again(folder: Path) -> None:
    shipped = (folder / "manifest.json").read_bytes()
    assert imported(folder, result_of(folder)).exit_code == 0
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "manifest.json").write_bytes(shipped)  # the last file that is written
    assert imported(folder, result_of(folder)).exit_code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_of_several_folders_the_boards_own_is_found_and_the_index_renewed(tmp_path: Path) -> None:
    out = tmp_path / "shipped"
    devices = ("--device", "jetson", "--device", "raspberry-pi-5", "--max-macs", "1M")
    assert run(*devices, "--max-latency", "5ms", "--out", str(out)).exit_code == 0
    result = result_of(out / "jetson")
    path = tmp_path / "board_result.json"
    path.write_text(json.dumps(result))
    assert run("verify", str(out), "--import", str(path)).exit_code == 0
    board, other = json.loads((out / "index.json").read_text())["devices"]
    assert (board["engine"]["median_ms"], board["budgets"]) == (2.0, ["latency met", "MACs met"])
    assert (other["engine"], other["measured"]) == (None, None)
    assert "| 2 ms (" in (out / "index.md").read_text()
    assert run("verify", str(out)).exit_code == 0
    for limit, code in (("5ms", 0), ("1ms", 3)):
        budgets = f'schema = 1\n[[budget]]\nname = "board"\nfolder = "shipped/jetson"\nmax_latency = "{limit}"\n'
        (tmp_path / "budgets.toml").write_text(budgets)
        assert run("check", str(tmp_path / "budgets.toml")).exit_code == code
    path.write_text(json.dumps({**result, "kit_sha256": "ef" * 32}))
    done = run("verify", str(out), "--import", str(path))
    assert (done.exit_code, "belongs to none of the 2 shipped folders" in done.stderr) == (1, True)


def set_in(*keys: Any, value: object) -> Edit:
    def edit(result: dict[str, Any]) -> None:
        for key in keys[:-1]:
            result = result[key]
        result[keys[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (set_in("kit_sha256", value="ef" * 32), "belongs to another kit (device 'jetson-orin-nano', kit efefefefefef"),
        (set_in("engines", 0, "model_sha256", value="ef" * 32), "speaks of model.fp32.onnx, which is not the model"),
        (set_in("engines", 0, "model", value="../../etc/passwd"), "board_result.json"),
        (set_in("engines", 0, "precision", value="fp16"), "calls model.fp32.onnx fp16, it is fp32"),
        (set_in("engines", 0, "model", value="model.int8.onnx"), "names a model twice"),
        (set_in("engines", 0, "logits", value=[[1.0] * 10] * 3), "has 3 rows of logits for model.fp32.onnx"),
        (set_in("engines", 0, "logits", value=[]), "has no logits or no samples"),
        (set_in("engines", 0, "max_abs_errors", 0, value=0.7), "do not follow from its logits; run the kit again"),
        (set_in("engines", 0, "samples_ms", value=[]), "has no logits or no samples"),
        (set_in("engines", 0, "samples_ms", value=[-1.0]), "samples_ms"),
        (set_in("engines", value=[]), "engines"),
        (set_in("schema", value=2), "has schema 2, this version reads 1"),
        (set_in("surprise", value=1), "surprise"),
        (set_in("tensorrt", value="10.3\n# forged"), "tensorrt"),
    ],
)
def test_what_is_refused_leaves_the_folder_alone(folder: Path, edit: Edit, complaint: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = result_of(folder)
    edit(result)
    done = imported(folder, result)
    assert done.exit_code == 1, done.stdout
    assert complaint in done.stderr
    assert "mend the file" not in done.stderr, "nobody should edit a result"
    assert "correct the key" not in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none(folder: Path, number: str) -> None:
    text = json.dumps(result_of(folder)).replace('"build_seconds": 20.5', f'"build_seconds": {number}')
    assert imported(folder, text).exit_code == 1


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"schema": "1"}', "[" * 5000])
def test_what_is_no_result(folder: Path, text: str) -> None:
    assert imported(folder, text).exit_code == 1


def test_a_result_that_is_too_large_is_not_even_read(folder: Path) -> None:
    assert "is larger than 16777216 bytes" in imported(folder, " " * (16 * 2**20 + 1)).stderr


def test_a_missing_result_and_a_folder_of_another_runtime(folder: Path, tmp_path: Path) -> None:
    done = run("verify", str(folder), "--import", str(tmp_path / "nothing.json"))
    assert (done.exit_code, "does not exist" in done.stderr) == (1, True)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shipment"]["device"]["runtime"] = "onnxruntime"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "which runs no TensorRT, so no kit was carried" in imported(folder, "{}").stderr


def test_a_damaged_folder_takes_nothing(folder: Path) -> None:
    result = result_of(folder)
    (folder / "labels.txt").write_text("forged\n" * 10)
    assert "labels.txt changed since it was shipped" in imported(folder, result).stderr


def test_a_result_edited_afterwards_is_found(folder: Path) -> None:
    assert imported(folder, result_of(folder)).exit_code == 0
    text = (folder / "board_result.json").read_text()
    (folder / "board_result.json").write_text(text.replace('"25W"', '"15W"'))
    done = run("verify", str(folder))
    assert (done.exit_code, "changed since they were shipped: board_result.json" in done.stdout) == (4, True)
