"""Results that claim another runtime, version or precision than what is in them shows."""

import json
import shutil
from pathlib import Path

import pytest
from board_stand_ins import run, stand_in_onnxruntime, stand_in_trtexec
from results_changes import Change, Document, changed, set_key
from stand_in_cuda import stand_in_tensorrt

from fednas.common import FednasError
from fednas.toolchain.measure.kit import read_results


@pytest.fixture(scope="module")
def measured(kits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Results by what measured them: ONNX Runtime its own kit, the others that for TensorRT."""
    places = {
        "onnxruntime": ("small", stand_in_onnxruntime(tmp_path_factory.mktemp("onnxruntime"))),
        "tensorrt": ("tensorrt", stand_in_tensorrt(tmp_path_factory.mktemp("tensorrt"))),
        "trtexec": ("tensorrt", stand_in_trtexec(tmp_path_factory.mktemp("trtexec"), "100300")),
    }
    found = {}
    for name, (kit, environment) in places.items():
        # A copy: engines that are left would be those of other tests.
        copy = shutil.copytree(kits[kit], tmp_path_factory.mktemp("kit") / kit)
        done = run(copy, environment=environment)
        assert (done.returncode, done.stderr) == (0, "")
        found[name] = (copy / "results.json").read_bytes()
    return found


def drop(*path: str) -> Change:
    def change(document: Document) -> None:
        place = document
        for key in path[:-1]:
            place = place[key]
        place.pop(path[-1])

    return change


def both(*changes: Change) -> Change:
    def change(document: Document) -> None:
        for each in changes:
            each(document)

    return change


def test_honest_results_of_every_runtime_are_believed(measured: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in measured.items():
        (tmp_path / "results.json").write_bytes(content)
        runtime = read_results(tmp_path / "results.json").job.runtime
        assert runtime == ("onnxruntime" if name == "onnxruntime" else "tensorrt")
        engines = json.loads(content)["engines"]
        assert len(engines) == (0 if name == "onnxruntime" else 6)


SHA = "0" * 64


@pytest.mark.parametrize(
    ("of", "change", "message"),
    [
        ("onnxruntime", set_key("runtime", to="tensorrt"), "say that tensorrt measured, in a kit for onnxruntime"),
        ("trtexec", set_key("runtime", to="onnxruntime"), "say that onnxruntime measured, in a kit for tensorrt"),
        (
            "trtexec",
            set_key("runtime", to="tensorrt"),
            r"name tensorrt '10.3.0 \(trtexec\)', which is no version of it",
        ),
        (
            "onnxruntime",
            set_key("runtime_version", to="10.3.0"),
            "name onnxruntime '10.3.0', which is no version of it",
        ),
        ("onnxruntime", set_key("runtime_version", to="fast"), "name onnxruntime 'fast', which is no version"),
        ("tensorrt", set_key("runtime_version", to="1.10.0"), "name tensorrt '1.10.0', which is no version of it"),
        (
            "onnxruntime",
            set_key("settings", "provider", to="CUDAExecutionProvider"),
            "say 'CUDAExecutionProvider' of its",
        ),
        ("onnxruntime", set_key("settings", "threads", to="4"), "say '4' of its threads, where .* with '1'"),
        ("onnxruntime", drop("settings", "optimisation"), "do not say its optimisation, where onnxruntime 1.10.0 runs"),
        ("onnxruntime", set_key("sittings", 0, "before", "numpy_version", to=None), "name no numpy"),
        (
            "onnxruntime",
            set_key("engines", to=[{"sha256": SHA, "size_bytes": 1}]),
            "name 1 engines, where .* measures 0",
        ),
        ("trtexec", set_key("engines", to=[]), "name 0 engines, where trtexec measures 6"),
        ("trtexec", set_key("settings", to={}), "do not say its build, where trtexec 10.3.0 .* with '--memPoolSize"),
        ("trtexec", set_key("samples", to=[]), "hold no samples of single runs, which trtexec tells"),
        ("trtexec", set_key("readings", 3, 2, to=0.25), r"is not the median of its samples \(reading 4\)"),
        ("trtexec", set_key("samples", 0, to=[]), r"is not the median of its samples \(reading 1\)"),
        ("trtexec", lambda d: d["samples"].pop(), "hold [0-9]+ sets of samples for [0-9]+ readings"),
        (
            "trtexec",
            set_key("runtime_version", to="8.5.2 (trtexec)"),
            "of its build, where trtexec 8.5.2 .* with '--memPoolSize=workspace:1024 --buildOnly",
        ),
        ("tensorrt", set_key("engines", to=[]), "name 0 engines, where tensorrt measures 6"),
        ("tensorrt", drop("settings", "gpu"), "do not say what TensorRT ran on: gpu"),
        ("tensorrt", set_key("settings", "flags", to="FP16"), "were built with FP16, which fp32 does not ask for"),
    ],
)
def test_a_claim_that_the_rest_contradicts_is_refused(
    of: str, change: Change, message: str, measured: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured[of], change))
    with pytest.raises(FednasError, match=message) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("of", "change", "message"),
    [
        (
            "onnxruntime",
            set_key("job", "precision", to="fp16"),
            "are of precision 'fp16', which no kit for onnxruntime",
        ),
        ("trtexec", set_key("job", "precision", to="int9"), "are of precision 'int9', which no kit for tensorrt has"),
        ("onnxruntime", set_key("job", "runtime", to="openvino"), "are of a kit for 'openvino', and no kit is written"),
        (
            "onnxruntime",
            set_key("job", "runtime", to="tensorrt"),
            "say that onnxruntime measured, in a kit for tensorrt",
        ),
        (
            "onnxruntime",
            both(
                set_key("job", "runtime", to="tensorrt"),
                set_key("runtime", to="tensorrt"),
                set_key("runtime_version", to="10.3.0"),
            ),
            "name 0 engines, where tensorrt measures 6",
        ),
    ],
)
def test_a_job_that_the_rest_contradicts_is_refused(
    of: str, change: Change, message: str, measured: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(changed(measured[of], change, job_too=True))
    with pytest.raises(FednasError, match=message):
        read_results(path)


def test_the_precision_of_an_older_trtexec_shows_in_its_flags(measured: dict[str, bytes], tmp_path: Path) -> None:
    """Up to 9 the flags make the precision: a kit of fp32 was not built with --fp16."""
    path = tmp_path / "results.json"
    older = "--memPoolSize=workspace:1024 --buildOnly{} --profilingVerbosity=detailed"
    change = both(
        set_key("runtime_version", to="8.5.2 (trtexec)"), set_key("settings", "build", to=older.format(" --fp16"))
    )
    path.write_bytes(changed(measured["trtexec"], change))
    with pytest.raises(FednasError, match=r"say '.* --fp16 .*' of its build"):
        read_results(path)
    path.write_bytes(changed(measured["trtexec"], both(change, set_key("settings", "build", to=older.format("")))))
    assert read_results(path).runtime_version == "8.5.2 (trtexec)"
