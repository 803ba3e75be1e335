"""The own files of OpenVINO and ncnn beside the ONNX files: shipped with evidence, verified again, refused in time."""

import importlib.util
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from fednas.common import ExitCode, FednasError, sha256_of
from fednas.export import Manifest, ncnn_file, read_manifest, verify_folder
from fednas.profiles import find_profile
from fednas.toolchain.cli import app
from fednas.toolchain.search.request import Budgets
from fednas.toolchain.ship import ShipJob, ship

if not all(map(importlib.util.find_spec, ("openvino", "ncnn", "pnnx"))):
    pytest.skip("the extras openvino and ncnn are not installed", allow_module_level=True)

PROFILE = """\
schema = 1
family = "my-boards"

[[device]]
name = "door-camera"
title = "Door camera"
processor = "cpu"
runtime = "{runtime}"
runtime_version = "1.0"
onnx_opset = 17
precisions = ["fp32", "fp16", "int8"]
peak_tera_macs_per_s.fp32 = {{ value = 0.02, evidence = "assumed", source = "a test" }}
dram_gb_per_s = {{ value = 6.4, evidence = "assumed", source = "a test" }}
"""


def job(out: Path, *, device: str = "raspberry-pi-5", profiles: Path | None = None, **asked: object) -> ShipJob:
    options = {"precisions": ("fp32",), "data": None} | asked
    return ShipJob(
        devices={device: find_profile(device, profiles)},
        supernet=None,
        budgets=Budgets(macs=1_000_000),
        out=out,
        profiles=profiles,
        **options,
    )


def profile_for(folder: Path, runtime: str) -> Path:
    (folder / "camera.toml").write_text(PROFILE.format(runtime=runtime))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both runtimes in fp32, OpenVINO in int8 too."""
    out = tmp_path_factory.mktemp("work")
    (shipped,) = ship(job(out, runtimes=("openvino", "ncnn")))
    assert shipped.exit_code is ExitCode.OK
    return shipped.folder


def converted(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    return {f"{m.precision} {c.runtime}": c.files for m in manifest.models for c in m.converted}


def test_files_of_both_are_shipped_with_the_evidence_that_the_onnx_file_has(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert converted(manifest) == {
        "fp32 openvino": ("model.fp32.xml", "model.fp32.bin"),
        "fp32 ncnn": ("model.fp32.ncnn.param", "model.fp32.ncnn.bin"),
    }
    assert {file.name for file in manifest.files} >= {"model.fp32.bin", "model.fp32.ncnn.param"}
    (model,) = manifest.models
    for other in model.converted:
        assert other.evidence.parity.images == model.evidence.parity.images
        assert other.evidence.artefact_accuracy == model.evidence.artefact_accuracy
        assert other.evidence.runtime.startswith(f"{other.runtime} ")
        assert not model.reasons_of(other)
    openvino, ncnn = model.converted
    assert set(openvino.computed) == {"f32"}
    # OpenVINO fuses what ncnn does not: nothing that multiplies.
    assert ncnn.computed == openvino.computed


def test_the_report_has_a_section_on_them(folder: Path) -> None:
    section = (folder / "report.md").read_text().partition("## Other runtimes")[2].partition("## ")[0]
    for words in ("`model.fp32.xml`, `model.fp32.bin`", "`model.fp32.ncnn.param`", "in f32", "passed"):
        assert words in section


def test_verify_runs_them_again(folder: Path) -> None:
    report = verify_folder(folder)
    names = {check.name: check for check in report.checks}
    assert report.passed
    for files, runtime in (
        ("model.fp32.xml, model.fp32.bin", "openvino"),
        ("model.fp32.ncnn.param, model.fp32.ncnn.bin", "ncnn"),
    ):
        assert runtime in names[f"{files}: test vectors"].detail
        assert names[f"{files}: precision"].detail.endswith("in f32, as the manifest says")


def test_verify_says_where_a_runtime_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ncnn" else found(name))
    report = verify_folder(folder)
    assert report.passed
    assert not any("ncnn.param" in check.name for check in report.checks)
    said = "not run and their precisions not counted again, because ncnn is not installed here; pip install"
    assert any(said in note for note in report.notes)


def test_a_changed_file_is_found_before_it_is_run(folder: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(folder, tmp_path / "changed"))
    path = changed / "model.fp32.ncnn.bin"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    report = verify_folder(changed)
    assert [check.name for check in report.checks] == ["files"]
    assert "model.fp32.ncnn.bin" in report.checks[0].detail


def test_files_outside_of_the_folder_are_not_run(folder: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(folder, tmp_path / "changed"))
    path = changed / "manifest.json"
    path.write_text(path.read_text().replace('"model.fp32.xml"', '"../model.fp32.xml"'))
    with pytest.raises(FednasError, match="only plain names inside the folder are allowed"):
        verify_folder(changed)


def test_openvino_computes_int8_files_in_int8(tmp_path: Path) -> None:
    (shipped,) = ship(job(tmp_path / "out", precisions=("int8",), runtimes=("openvino",)))
    int8 = shipped.manifest.models[1]
    (other,) = int8.converted
    assert other.files == ("model.int8.xml", "model.int8.bin")
    assert {"u8", "i8"} & set(other.computed)
    products = sum(other.computed.values())
    for computed, why in (
        ({"f32": products}, f"layers that multiply: {products} in f32, not int8 as asked"),
        ({"u8": products - 1, "f32": 1}, f"layers that multiply: {products - 1} in u8, 1 in f32, not int8 as asked"),
        ({"u8": products - 1}, f"{products - 1} layers that multiply were counted, the ONNX file has {products}"),
        ({}, f"0 layers that multiply were counted, the ONNX file has {products}"),
    ):
        assert int8.reasons_of(msgspec.structs.replace(other, computed=computed)) == (why,)
    assert verify_folder(shipped.folder).passed


def told_otherwise(folder: Path, target: Path, tell: Callable[[dict[str, Any]], object]) -> Path:
    """A copy whose manifest and report agree on something else about the first model, hashes and all."""
    changed = Path(shutil.copytree(folder, target))
    manifest, report = ((changed / name) for name in ("manifest.json", "report.json"))
    for path in (report, manifest):
        content = msgspec.json.decode(path.read_bytes())
        tell(content["models"][0])
        for file in content.get("files", ()):
            if file["name"] == "report.json":
                file["sha256"], file["size_bytes"] = sha256_of(report), report.stat().st_size
        path.write_bytes(msgspec.json.encode(content))
    return changed


def failed_checks(folder: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify_folder(folder).checks if not check.passed}


@pytest.mark.parametrize("change", [{"f32": -1, "bf16": 1}, {"f32": -1}, {"f32": None}])
def test_verify_counts_precisions_again(folder: Path, tmp_path: Path, change: dict[str, int | None]) -> None:
    count = read_manifest(folder).models[0].converted[0].computed["f32"]
    told = {kind: by if kind != "f32" else count + by for kind, by in change.items() if by is not None}
    changed = told_otherwise(folder, tmp_path / "changed", lambda model: model["converted"][0].update(computed=told))
    failed = failed_checks(changed)
    assert set(failed) == {"status", "model.fp32.xml, model.fp32.bin: precision"}
    assert f"here there are {count} in f32" in failed["model.fp32.xml, model.fp32.bin: precision"]
    assert CliRunner().invoke(app, ["verify", str(changed)]).exit_code == ExitCode.VERIFICATION_FAILED


def test_files_that_nothing_proves_are_named(folder: Path, tmp_path: Path) -> None:
    changed = told_otherwise(folder, tmp_path / "changed", lambda model: model["converted"].pop(0))
    assert failed_checks(changed) == {"documents": "model.fp32.xml is shipped, but nothing says what proved it"}


@pytest.mark.parametrize("files", [[], ["model.fp32.xml"], ["model.fp32.onnx", "model.fp32.bin"]])
def test_files_that_are_not_the_runtimes_own_are_not_run(folder: Path, tmp_path: Path, files: list[str]) -> None:
    changed = told_otherwise(folder, tmp_path / "changed", lambda model: model["converted"][0].update(files=files))
    failed = failed_checks(changed)
    assert failed[f"{', '.join(files)}: test vectors"] == "the manifest does not name both files of openvino"


def test_pixels_as_uint8_reach_openvino(tmp_path: Path) -> None:
    (shipped,) = ship(job(tmp_path / "out", input_type="uint8", runtimes=("openvino",)))
    assert shipped.manifest.models[0].converted[0].evidence.passed
    assert verify_folder(shipped.folder).passed


def test_runtimes_may_be_separated_by_commas(tmp_path: Path) -> None:
    arguments = ("--device", "raspberry-pi-5", "--max-macs", "1M", "--out", str(tmp_path / "out"))
    done = CliRunner().invoke(app, [*arguments, "--runtime", "onnxruntime, openvino, ncnn"])
    assert done.exit_code == 0, done.output
    files = converted(read_manifest(tmp_path / "out" / "raspberry-pi-5"))
    assert list(files) == ["fp32 openvino", "fp32 ncnn"]
    for wrong, named in (
        ("openvino,nccn", "unknown runtime 'nccn'; did you mean ncnn"),
        ("ncnn,", "unknown runtime ''"),
        ("tensorrt", "tensorrt has no files of its own to ship beside the ONNX files; --runtime takes openvino, ncnn"),
    ):
        done = CliRunner().invoke(app, [*arguments, "--runtime", wrong])
        assert (done.exit_code, named in done.stderr) == (1, True)


def test_a_devices_own_runtime_is_served_unasked(tmp_path: Path) -> None:
    profiles = profile_for(tmp_path, "ncnn")
    (shipped,) = ship(job(tmp_path / "out", device="door-camera", profiles=profiles, precisions=("fp16",)))
    assert converted(shipped.manifest) == {
        "fp32 ncnn": ("model.fp32.ncnn.param", "model.fp32.ncnn.bin"),
        "fp16 ncnn": ("model.fp16.ncnn.param", "model.fp16.ncnn.bin"),
    }
    assert verify_folder(shipped.folder).passed
    # Weights that are not halved after all: nothing but how they are stored tells.
    for suffix in (".ncnn.param", ".ncnn.bin"):
        whole, halved = (shipped.folder / f"model.{precision}{suffix}" for precision in ("fp32", "fp16"))
        halved.write_bytes(whole.read_bytes())
    manifest = msgspec.json.decode((shipped.folder / "manifest.json").read_bytes())
    for file in manifest["files"]:
        path = shipped.folder / file["name"]
        file["sha256"], file["size_bytes"] = sha256_of(path), path.stat().st_size
    (shipped.folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    (failed,) = failed_checks(shipped.folder).values()
    assert re.fullmatch(r"ncnn layers have their weights \d+ in fp32, not all in fp16", failed)


def test_a_conversion_that_fails_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncnn_file, "_pnnx", lambda: "/bin/false")
    (shipped,) = ship(job(tmp_path / "out", runtimes=("openvino", "ncnn")))
    assert shipped.exit_code is ExitCode.VERIFICATION_FAILED
    assert converted(shipped.manifest) == {"fp32 openvino": ("model.fp32.xml", "model.fp32.bin")}
    (failed,) = shipped.manifest.models[0].failed
    assert (failed.runtime, failed.reason[:33]) == ("ncnn", "pnnx could not convert the model ")
    assert not list(shipped.folder.glob("*ncnn*"))
    assert "ncnn, of `model.fp32.onnx`: pnnx could not" in (shipped.folder / "report.md").read_text()
    assert [check.name for check in verify_folder(shipped.folder).checks if not check.passed] == ["status"]


def test_files_that_cannot_be_run_do_not_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FednasError("ncnn does not run as asked: it runs on a Vulkan device")

    monkeypatch.setattr(ncnn_file, "_require_as_asked", refuse)
    (shipped,) = ship(job(tmp_path / "out", runtimes=("openvino", "ncnn")))
    assert [each.runtime for each in shipped.manifest.models[0].failed] == ["ncnn"]
    assert not list(shipped.folder.glob("*ncnn*"))


def test_where_no_other_runtime_was_asked_for_the_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncnn_file, "_pnnx", lambda: "/bin/false")
    complaint = "nothing could be made for ncnn, and no other runtime was asked for: pnnx"
    with pytest.raises(FednasError, match=complaint) as refused:
        ship(job(tmp_path / "out", runtimes=("ncnn",)))
    assert refused.value.hint == "nothing was written; mend what it says, or leave out --runtime ncnn"
    assert not (tmp_path / "out").exists()


def test_a_runtime_that_is_not_installed_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pnnx" else found(name))
    complaint = r"files for ncnn need pnnx, not installed here; pip install 'fednas-export\[ncnn\]'"
    with pytest.raises(FednasError, match=complaint):
        job(tmp_path / "out", runtimes=("ncnn",))


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"runtimes": ("openvin",)}, "unknown runtime 'openvin'; did you mean openvino"),
        ({"runtimes": ("ncnn",), "precisions": ("int8",)}, "ncnn cannot take our int8 files; it takes fp32, fp16"),
        ({"runtimes": ("ncnn",), "input_type": "uint8"}, "ncnn cannot take files that read uint8"),
        ({"runtimes": ("ncnn",), "device": "jetson"}, "runs networks on its gpu; files of ncnn are for processors"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(asked: dict[str, object], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=complaint):
        job(tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


def test_the_same_inputs_give_the_same_bytes_but_for_the_build_record(tmp_path: Path) -> None:
    asked = {"precisions": ("fp32", "fp16", "int8"), "runtimes": ("openvino",), "max_accuracy_drop": 0.01}
    profiles = profile_for(tmp_path, "onnxruntime")
    first, second = (
        ship(job(tmp_path / name, device="door-camera", profiles=profiles, **asked))[0] for name in ("a", "b")
    )
    contents = [{path.name: path.read_bytes() for path in each.folder.iterdir()} for each in (first, second)]
    manifests = [msgspec.json.decode(content.pop("manifest.json")) for content in contents]
    assert contents[0] == contents[1]
    assert {"model.int8.xml", "model.fp16.onnx", "report.html"} <= set(contents[0])
    for manifest in manifests:
        assert manifest.pop("build")["created"]
    assert manifests[0] == manifests[1]
