"""A kit is complete or not there, holds what it says, and replaces nothing that is dear."""

import ast
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from fednas.common import ContractError, FednasError
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.kit import read_kit, write_kit
from fednas.toolchain.measure.kit.script import joined, measuring_script
from fednas.toolchain.measure.kit.writing import bytes_per_weight
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.space import SearchSpace


def test_a_kit_holds_the_job_its_models_and_one_script(tmp_path: Path, small_job: MeasuringJob) -> None:
    info = write_kit(small_job, tmp_path / "deep" / "kit")
    files = sorted(str(path.relative_to(info.folder)) for path in info.folder.rglob("*") if path.is_file())
    models = [f"models/000{number}.onnx" for number in range(6)]
    assert files == ["README.md", "job.json", "measure.py", *models]
    assert info.models == 6
    assert info.size_bytes == sum((info.folder / name).stat().st_size for name in files)
    document = read_kit(info.folder)
    assert document.job() == small_job
    assert document.kit == info.kit
    # Seven candidates, of which the reference stands twice: as candidate 0 and as a calibration network.
    assert document.candidates == (0, 1, 2, 0, 3, 4, 5)
    for name, entry in zip(models, document.models, strict=True):
        content = (info.folder / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry.sha256
        shape = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim
        assert tuple(side.dim_value for side in shape) == entry.shape


def test_the_same_job_makes_the_same_kit(tmp_path: Path, small_job: MeasuringJob) -> None:
    first, second = write_kit(small_job, tmp_path / "a"), write_kit(small_job, tmp_path / "b")
    assert first.kit == second.kit
    assert write_kit(replace(small_job, threads=2), tmp_path / "c").kit != first.kit


def test_the_readme_says_how(kits: dict[str, Path]) -> None:
    text = (kits["full"] / "README.md").read_text()
    assert "83 models to be timed on the board, onnxruntime, fp32, batch 1, 1 thread, plan exhaustive" in text
    assert "python3 measure.py" in text
    assert "fednas-export profile import results.json" in text


def test_the_readme_names_only_what_may_run_this_kit(kits: dict[str, Path]) -> None:
    """Models of one runtime are never run by another."""
    text, on_gpu = ((kits[name] / "README.md").read_text() for name in ("full", "tensorrt"))
    assert "- numpy and onnxruntime\n" in text
    assert not [word for word in ("tensorrt", "trtexec", "nvidia-smi", "engines") if word in text]
    assert on_gpu.index("- the Python module tensorrt") < on_gpu.index("; or else\n- the program trtexec")
    assert "onnxruntime" not in on_gpu
    assert "nvidia-smi" in on_gpu
    assert "| `engines/` |" in on_gpu


def test_a_kit_without_readings_is_replaced(tmp_path: Path, small_job: MeasuringJob) -> None:
    write_kit(small_job, tmp_path / "kit")
    (tmp_path / "kit" / "models" / "9999.onnx").write_bytes(b"old")
    write_kit(replace(small_job, threads=2), tmp_path / "kit")
    assert read_kit(tmp_path / "kit").threads == 2
    assert not (tmp_path / "kit" / "models" / "9999.onnx").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]


@pytest.mark.parametrize("name", ["readings.partial", "results.json"])
def test_a_kit_with_readings_is_not_replaced(name: str, tmp_path: Path, small_job: MeasuringJob) -> None:
    write_kit(small_job, tmp_path / "kit")
    (tmp_path / "kit" / name).write_text("dear")
    with pytest.raises(FednasError, match=rf"holds readings \({name}\), which would be lost; take them away first"):
        write_kit(small_job, tmp_path / "kit")
    assert (tmp_path / "kit" / name).read_text() == "dear"


def test_folders_that_are_no_kit_stay(tmp_path: Path, small_job: MeasuringJob) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.md").write_text("dear")
    with pytest.raises(FednasError, match="thesis is not empty and is no kit; choose another folder"):
        write_kit(small_job, tmp_path / "thesis")
    write_kit(small_job, tmp_path / "kit")
    (tmp_path / "kit" / "notes.txt").write_text("dear")
    with pytest.raises(FednasError, match=r"holds what is no part of a kit: notes.txt"):
        write_kit(small_job, tmp_path / "kit")
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    with pytest.raises(FednasError, match="is a file or a link, not a folder"):
        write_kit(small_job, tmp_path / "link")
    assert (tmp_path / "thesis" / "chapter.md").read_text() == "dear"


def test_an_empty_folder_is_used(tmp_path: Path, small_job: MeasuringJob) -> None:
    (tmp_path / "kit").mkdir()
    assert read_kit(write_kit(small_job, tmp_path / "kit").folder)


def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path, small_job: MeasuringJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fednas.toolchain.measure.kit.writing.readme_text", full)
    with pytest.raises(FednasError, match=r"disk full while writing .*kit; nothing was left half written"):
        write_kit(small_job, tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


def test_gigabytes_are_refused_with_a_way_out(tmp_path: Path, small_job: MeasuringJob) -> None:
    paper = SearchSpace(
        num_stages=4,
        max_extra_blocks_per_stage=4,
        original_stem_out_channels=64,
        original_stage_base_channels=(256, 512, 1024, 2048),
        initial_input_hw=32,
        initial_input_channels=3,
        stem_stride=1,
        stage_downsample_factors=(1, 2, 2, 2),
        channel_divisible_by=8,
        n_classes=10,
        width_multiplier_choices=(0.65, 0.8, 1.0),
        expansion_ratio_choices=(0.1, 0.14, 0.18, 0.22, 0.25),
    )
    job = replace(small_job, plan=plan_for("exhaustive", paper), space=paper)
    with pytest.raises(FednasError, match=r"models of plan exhaustive take .* GB; a kit may have .*--plan sparse"):
        write_kit(job, tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "fp16"}, "onnxruntime cannot time fp16 models; it takes fp32, int8"),
        ({"runtime": "openvino"}, "a kit measures with onnxruntime, tensorrt or trtexec, not openvino"),
    ],
)
def test_what_a_kit_cannot_measure_is_said(
    change: dict[str, str], message: str, tmp_path: Path, small_job: MeasuringJob
) -> None:
    with pytest.raises(FednasError, match=message):
        write_kit(replace(small_job, **change), tmp_path / "kit")  # type: ignore[arg-type]


def test_folders_and_files_that_are_no_kit_cannot_be_read_as_one(tmp_path: Path, small_job: MeasuringJob) -> None:
    with pytest.raises(FednasError, match=r"is no kit: it holds no job.json; name the folder"):
        read_kit(tmp_path)
    kit = write_kit(small_job, tmp_path / "kit").folder
    document = json.loads((kit / "job.json").read_text())
    document["seconds"] = 1.0
    (kit / "job.json").write_text(json.dumps(document))
    with pytest.raises(FednasError, match=r"job.json was edited or damaged"):
        read_kit(kit)


def test_the_script_is_python_3_6_and_needs_nothing_of_ours() -> None:
    tree = ast.parse(measuring_script(), feature_version=(3, 6))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "fednas" not in {name.split(".")[0] for name in modules}
    assert modules >= {"json", "hashlib", "argparse"}


def test_parts_of_the_script_may_not_define_a_name_twice() -> None:
    first, second = '"""One."""\nimport os\n\n\ndef f():\n    pass\n', '"""Two."""\nfrom os import path\n\nf = 3\n'
    with pytest.raises(ContractError, match="two parts of the script define f"):
        joined([first, second])
    text = joined([first, '"""Two."""\nfrom os import path\nfrom os import sep\n\ng: int = 3\n'])
    assert text.index("import os\nfrom os import path, sep\n") < text.index("def f") < text.index("g: int = 3")


@pytest.mark.parametrize(
    ("runtime", "precision", "size"),
    [
        ("onnxruntime", "fp32", 4),
        ("onnxruntime", "int8", 1),
        ("tensorrt", "fp16", 2),
        ("tensorrt", "int8", 4),  # floats that the builder quantises
    ],
)
def test_the_size_is_reckoned_as_the_files_will_be(
    runtime: str, precision: str, size: int, small_job: MeasuringJob, tmp_path: Path
) -> None:
    job = replace(small_job, runtime=runtime, precision=precision)
    assert bytes_per_weight(job) == size
    document = read_kit(write_kit(job, tmp_path / "kit").folder)
    largest = max(document.models, key=lambda model: model.weights)
    assert size * largest.weights < largest.size_bytes < size * largest.weights + 60_000
