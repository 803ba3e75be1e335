"""`verify DIR --import`: what a board wrote is folded in, or refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from board_results import result_of, run
from typer.testing import Result

from fednas.export import read_manifest

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(jetson_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(jetson_once, tmp_path / "jetson"))


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
    assert "| ESTIMATE, never measured |" in report
    assert "| measured on the board | 2 ms | 1.99 ms to 2.01 ms | TensorRT 10.3.0 engine; 95% interval" in report
    assert "- Latency of the exported file: not measured" not in report
    assert "<script>" not in report + (folder / "report.html").read_text().split("On the board", 1)[1]
    assert json.loads((folder / "report.json").read_text())["board"]["tensorrt_version"] == "10.3.0"
    # The folder verifies itself from now on, and a second import changes nothing.
    assert run("verify", str(folder)).exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run("verify", str(folder), "--import", str(folder / "board_result.json")).exit_code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_card_says_what_the_board_measured_and_keeps_what_the_owner_said(tmp_path: Path) -> None:
    details = 'name = "Gate"\nlicense = "mit"\nlimits = "Not verified: An estimate, never measured."\n'
    (tmp_path / "card.toml").write_text(details)
    arguments = ("--device", "jetson", "--max-macs", "1M", "--card", str(tmp_path / "card.toml"))
    assert run(*arguments, "--out", str(tmp_path / "out")).exit_code == 0
    folder = tmp_path / "out" / "jetson"
    before = (folder / "MODEL_CARD.md").read_text()
    assert "an estimate, never measured.\n" in before
    assert imported(folder, result_of(folder)).exit_code == 0
    after = (folder / "MODEL_CARD.md").read_text()
    measured = (
        "One image took 2 ms (1.99 ms to 2.01 ms) by an engine of TensorRT 10.3.0 on the board (NVIDIA Jetson Orin"
    )
    assert measured in after
    assert "an estimate, never measured." not in after
    assert "The TensorRT engine:" not in after
    assert "- Not verified: Accuracy of the engines: on the board only the logits" in after
    assert "- Not verified: An estimate, never measured.\n" in after
    assert after.split("\n\n## Metrics")[0] == before.split("\n\n## Metrics")[0]
    assert after.splitlines()[-1] == before.splitlines()[-1]
    assert run("verify", str(folder)).exit_code == 0


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
    limits = 'schema = 1\n[[budget]]\nname = "b"\nfolder = "jetson"\nprecision = "int8"\nmax_latency = "5ms"\n'
    (folder.parent / "budgets.toml").write_text(limits)
    done = run("--json", "check", str(folder.parent / "budgets.toml"))
    assert "not measured: its engine was timed with batch 8 only, not with one image" in done.stdout
    card = (folder / "MODEL_CARD.md").read_text()
    assert "an estimate, never measured." in card
    assert "Not verified: On the board: model.int8.onnx was timed with batches of 8, not of one." in card
    assert "Not verified: Latency of the exported file: not measured, because" in card
    assert "model.int8.onnx was timed with batches of 8, not of one" in (folder / "report.md").read_text()
    assert imported(folder, result_of(folder)).exit_code == 0


def test_an_edited_report_is_not_taken_over(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    report["not_verified"] = []
    (folder / "report.json").write_text(json.dumps(report))
    done = imported(folder, result_of(folder))
    assert (done.exit_code, "report.json changed since it was shipped" in done.stderr) == (1, True)


def test_an_interrupted_import_is_done_again(folder: Path) -> None:
    shipped, card = (folder / "manifest.json").read_bytes(), (folder / "MODEL_CARD.md").read_bytes()
    assert imported(folder, result_of(folder)).exit_code == 0
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "manifest.json").write_bytes(shipped)  # the last file that is written
    assert imported(folder, result_of(folder)).exit_code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    (folder / "manifest.json").write_bytes(shipped)
    (folder / "MODEL_CARD.md").write_bytes(card)  # the second file that is written
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
        (
            set_in("tensorrt", value="8.1.1"),
            "which cannot be: TensorRT 8.1 is too old; this script knows 8.2 and later",
        ),
        (set_in("tensorrt", value="8.2.1"), "the model has opset 17, but TensorRT 8.2 reads at most 13"),
        (set_in("tensorrt", value="10"), "TensorRT version '10' is not understood"),
        (set_in("created", value="2026-13-45T03:04:05+00:00"), "made at 2026-13-45T03:04:05+00:00, which is no date"),
        (set_in("device", value="jetson-nano"), "is of device 'jetson-nano', this folder is for 'jetson-orin-nano'"),
        (
            set_in("machine", "compute_capability", value="9.0"),
            "of compute capability 9.0, Jetson Orin Nano 8 GB (Super) has 8.7; make the result on the device",
        ),
    ],
)
def test_what_is_refused_leaves_the_folder_alone(folder: Path, edit: Edit, complaint: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = result_of(folder)
    edit(result)
    done = imported(folder, result)
    assert done.exit_code == 1, done.stdout
    assert complaint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "mend the file" not in done.stderr, "nobody should edit a result"
    assert "correct the key" not in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_gpu_that_states_no_capability_is_taken(folder: Path) -> None:
    result = result_of(folder)
    result["machine"]["compute_capability"] = None
    assert imported(folder, result).exit_code == 0


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
