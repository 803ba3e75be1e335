"""OpenVINO and ncnn keep the contract of every runner, on files that were converted from the proven ONNX file."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_network import METADATA, SmallNetwork, Trained
from test_runners import RunnerContract

from fednas.common import FednasError
from fednas.export import (
    RUNTIME_PRECISIONS,
    Int8Graph,
    NcnnRunner,
    OpenVinoRunner,
    OrtRunner,
    Precision,
    Runner,
    choose_calibration_images,
    fp16_from_onnx,
    int8_from_onnx,
    ncnn_file,
    onnx_from_module,
    runner_for,
    runtime_files_from_onnx,
    tolerance_for,
    verify_artefact,
)
from fednas.export.ncnn_file import import_ncnn
from fednas.export.openvino_file import import_openvino

IMAGE = (1, 8, 8)
PAIRS = [(runtime, precision) for runtime, taken in RUNTIME_PRECISIONS.items() for precision in taken]

if not all(map(importlib.util.find_spec, ("openvino", "ncnn", "pnnx"))):
    pytest.skip("the extras openvino and ncnn are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def onnx_files(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Precision, Path]:
    """The small network in every precision that ships."""
    folder = tmp_path_factory.mktemp("onnx")
    paths: dict[Precision, Path] = {p: folder / f"model.{p}.onnx" for p in ("fp32", "fp16", "int8")}
    onnx_from_module(trained.network, paths["fp32"], opset=17, metadata=METADATA)
    images = choose_calibration_images(trained.images, trained.labels, lambda batch: batch)
    fp16_from_onnx(paths["fp32"], paths["fp16"], images)
    int8_from_onnx(paths["fp32"], paths["int8"], images, runtime="onnxruntime")
    return paths


@pytest.fixture(scope="module")
def converted(onnx_files: Mapping[Precision, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The first file of each runtime and precision, by ``runtime precision``."""
    folder = tmp_path_factory.mktemp("converted")
    return {f"{r} {p}": runtime_files_from_onnx(r, p, onnx_files, folder).paths[0] for r, p in PAIRS}


class ConvertedContract(RunnerContract):
    """The contract of all runners, on a converted file."""

    runtime: ClassVar[str]

    @pytest.fixture
    def model_path(self, converted: dict[str, Path]) -> Path:
        return converted[f"{self.runtime} fp32"]


class TestOpenVino(ConvertedContract):
    runtime = "openvino"

    def make_runner(self, path: Path) -> Runner:
        return OpenVinoRunner(path)

    def test_takes_the_onnx_file_itself_too(self, onnx_files: Mapping[Precision, Path], trained: Trained) -> None:
        with OpenVinoRunner(onnx_files["fp32"]) as runner:
            np.testing.assert_allclose(runner.infer(trained.images), trained.logits, atol=1e-4)

    def test_says_in_what_precision_the_layers_are_computed(self, converted: dict[str, Path]) -> None:
        # Seven convolutions in the blocks' main paths, two in projections, and the head.
        for precision, computed in (("fp32", {"f32": 10}), ("fp16", {"f32": 10}), ("int8", {"u8": 10})):
            with OpenVinoRunner(converted[f"openvino {precision}"]) as runner:
                assert runner.computed == computed

    @pytest.mark.parametrize("count", [1, 3, 10])
    def test_layers_kept_in_fp32_are_computed_so_and_no_others(
        self, count: int, onnx_files: Mapping[Precision, Path], trained: Trained, tmp_path: Path
    ) -> None:
        images = choose_calibration_images(trained.images, trained.labels, lambda batch: batch)
        graph = Int8Graph(onnx_files["fp32"], images, "onnxruntime", tmp_path)
        mixed = graph.write(tmp_path / "mixed.onnx", [name for name, _ in graph.layers[::-1][:count]]).path
        files = runtime_files_from_onnx("openvino", "int8", {"int8": mixed}, tmp_path)
        with OpenVinoRunner(files.paths[0]) as runner:
            assert runner.computed == {"f32": count} | ({"u8": 10 - count} if count < 10 else {})

    def test_nothing_is_reported_and_nothing_left_in_the_home_folder(self, tmp_path: Path) -> None:
        code = (
            "import sys; from fednas.export.openvino_file import import_openvino; import_openvino().Core();"
            "print([name for name in sys.modules if 'telemetry' in name and name.startswith('openvino_')])"
        )
        environment = {"HOME": str(tmp_path), "PATH": ""}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
        assert list(tmp_path.iterdir()) == []

    def test_the_weights_belong_to_the_network(self, converted: dict[str, Path], tmp_path: Path) -> None:
        lonely = tmp_path / "model.fp32.xml"
        lonely.write_bytes(converted["openvino fp32"].read_bytes())
        with pytest.raises(FednasError, match=r"OpenVINO cannot read model .*model\.fp32\.xml"), OpenVinoRunner(lonely):
            pass

    def test_a_device_that_is_not_the_processor_is_an_error(
        self, converted: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        openvino = import_openvino()
        found = openvino.CompiledModel.get_property

        def elsewhere(self: object, name: str) -> object:
            return ["GPU.0", "CPU"] if name == "EXECUTION_DEVICES" else found(self, name)

        monkeypatch.setattr(openvino.CompiledModel, "get_property", elsewhere)
        with (
            pytest.raises(FednasError, match=r"runs on GPU\.0, CPU although CPU was asked for"),
            OpenVinoRunner(converted["openvino fp32"]),
        ):
            pass

    def test_leave_to_compute_in_fewer_bits_is_an_error(
        self, converted: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        openvino = import_openvino()
        found = openvino.CompiledModel.get_property

        def rounded(self: object, name: str) -> object:
            return openvino.Type.bf16 if name == "INFERENCE_PRECISION_HINT" else found(self, name)

        monkeypatch.setattr(openvino.CompiledModel, "get_property", rounded)
        with (
            pytest.raises(FednasError, match="may compute in bf16 although f32 was asked for"),
            OpenVinoRunner(converted["openvino fp32"]),
        ):
            pass


class NetWithItsOwnMind:
    """An ``ncnn.Net`` that sets one of its options back when the network is loaded, as ncnn does without a GPU."""

    def __init__(self, option: str, value: object) -> None:
        self.net = import_ncnn().Net()
        self._option, self._value = option, value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.net, name)

    def load_model(self, path: str) -> int:
        code = int(self.net.load_model(path))
        setattr(self.net.opt, self._option, self._value)
        return code


class NetInBfloat(NetWithItsOwnMind):
    """The same, before its layers are made."""

    def load_param(self, path: str) -> int:
        setattr(self.net.opt, self._option, self._value)
        return int(self.net.load_param(path))


class TestNcnn(ConvertedContract):
    runtime = "ncnn"

    def test_says_in_what_precision_the_layers_are_computed(self, converted: dict[str, Path]) -> None:
        # Seven convolutions in the blocks' main paths, two in projections, and the head; also of halved weights.
        for precision in ("fp32", "fp16"):
            with NcnnRunner(converted[f"ncnn {precision}"], image_shape=IMAGE) as runner:
                assert runner.computed == {"f32": 10}

    @pytest.mark.parametrize(
        ("option", "value", "complaint"),
        [
            ("use_vulkan_compute", True, "use_vulkan_compute is True, not False"),
            ("use_fp16_arithmetic", True, "use_fp16_arithmetic is True, not False"),
            ("use_bf16_storage", True, "use_bf16_storage is True, not False"),
            ("num_threads", 7, "num_threads is 7, not 1"),
        ],
    )
    def test_options_that_it_changed_are_an_error(
        self, option: str, value: object, complaint: str, converted: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stand_in = SimpleNamespace(Net=lambda: NetWithItsOwnMind(option, value), Mat=import_ncnn().Mat)
        monkeypatch.setattr(ncnn_file, "import_ncnn", lambda: stand_in)
        with (
            pytest.raises(FednasError, match=f"ncnn does not run as asked: {complaint}"),
            NcnnRunner(converted["ncnn fp32"], image_shape=IMAGE),
        ):
            pass

    def test_results_in_fewer_bits_are_an_error(
        self, converted: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # On a processor that stores bf16, a network loaded so says nothing of it but in its memory.
        monkeypatch.setattr(ncnn_file, "_require_as_asked", lambda *_: None)
        stand_in = SimpleNamespace(Net=lambda: NetInBfloat("use_bf16_storage", True), Mat=import_ncnn().Mat)
        monkeypatch.setattr(ncnn_file, "import_ncnn", lambda: stand_in)
        with (
            pytest.raises(FednasError, match="16 bits although fp32 was asked for"),
            NcnnRunner(converted["ncnn fp32"], image_shape=IMAGE),
        ):
            pass

    def make_runner(self, path: Path) -> Runner:
        return NcnnRunner(path, image_shape=IMAGE)

    def test_halved_weights_make_a_file_of_half_the_size(self, converted: dict[str, Path]) -> None:
        full, half = (
            converted[f"ncnn {precision}"].with_suffix(".bin").stat().st_size for precision in ("fp32", "fp16")
        )
        assert half < 0.6 * full

    def test_images_of_other_channels_never_reach_it(self, converted: dict[str, Path]) -> None:
        with (
            pytest.raises(FednasError, match="takes images of 1 channels, not of 3"),
            NcnnRunner(converted["ncnn fp32"], image_shape=(3, 8, 8)),
        ):
            pass

    def test_the_weights_lie_beside_the_network(self, converted: dict[str, Path], tmp_path: Path) -> None:
        lonely = tmp_path / "model.fp32.ncnn.param"
        lonely.write_bytes(converted["ncnn fp32"].read_bytes())
        with (
            pytest.raises(FednasError, match=r"model\.fp32\.ncnn\.bin does not exist; keep \.param and \.bin together"),
            NcnnRunner(lonely, image_shape=IMAGE),
        ):
            pass

    def test_an_operator_that_it_has_not_got_is_named(self, tmp_path: Path) -> None:
        # Our int8 files are full of such operators, so they are refused before; here one comes all the same.
        nodes = [
            helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["quantized"]),
            helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], ["flat"]),
            helper.make_node("Flatten", ["flat"], ["logits"]),
        ]
        constants = [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1]),
            helper.make_tensor("zero", TensorProto.INT8, [], [0]),
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 1, 2, 2))],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 4))],
            constants,
        )
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        with pytest.raises(FednasError, match="ncnn has no operator for QuantizeLinear"):
            runtime_files_from_onnx("ncnn", "fp32", {"fp32": path}, tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(("runtime", "precision"), PAIRS)
def test_every_conversion_passes_the_check_that_the_onnx_file_passes(
    runtime: str, precision: Precision, converted: dict[str, Path], trained: Trained
) -> None:
    with runner_for(runtime, converted[f"{runtime} {precision}"], IMAGE) as runner:
        evidence = verify_artefact(
            runner, trained.images, trained.logits, tolerance=tolerance_for(precision), labels=trained.labels
        )
    assert evidence.passed, evidence.reasons
    assert evidence.runtime.startswith(f"{runtime} ")


def test_openvino_computes_what_onnx_runtime_does_from_the_same_int8_file(
    onnx_files: Mapping[Precision, Path], converted: dict[str, Path], trained: Trained
) -> None:
    with OrtRunner(onnx_files["int8"]) as reference, OpenVinoRunner(converted["openvino int8"]) as runner:
        expected, found = reference.infer(trained.images), runner.infer(trained.images)
    assert np.mean(expected.argmax(axis=1) == found.argmax(axis=1)) > 0.98


@pytest.mark.parametrize(("runtime", "precision"), PAIRS)
def test_the_same_file_gives_the_same_bytes(
    runtime: str, precision: Precision, onnx_files: Mapping[Precision, Path], converted: dict[str, Path], tmp_path: Path
) -> None:
    again = runtime_files_from_onnx(runtime, precision, onnx_files, tmp_path)
    first = converted[f"{runtime} {precision}"].parent
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in again.paths)
    for path in again.paths:
        assert path.read_bytes() == (first / path.name).read_bytes(), path.name


@pytest.fixture(scope="module")
def odd_sizes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three channels, and a size that is no multiple of what vectors hold."""
    path = tmp_path_factory.mktemp("odd") / "model.fp32.onnx"
    metadata = METADATA.__class__(
        preprocessing=METADATA.preprocessing.__class__(
            channels=3, height=7, width=5, value_range_max=255.0, mean=(0.5,) * 3, std=(0.2,) * 3
        ),
        class_names=METADATA.class_names,
        architecture=METADATA.architecture,
        tool_version="0.1.0",
    )
    return onnx_from_module(SmallNetwork(3).eval(), path, opset=17, metadata=metadata).path


@pytest.mark.parametrize("runtime", sorted(RUNTIME_PRECISIONS))
@pytest.mark.parametrize("threads", [1, 2])
def test_channels_and_sizes_that_fill_no_vector(runtime: str, threads: int, odd_sizes: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(1).standard_normal((3, 3, 7, 5), dtype=np.float32)
    files = runtime_files_from_onnx(runtime, "fp32", {"fp32": odd_sizes}, tmp_path)
    with OrtRunner(odd_sizes) as reference, runner_for(runtime, files.paths[0], (3, 7, 5), threads) as runner:
        np.testing.assert_allclose(runner.infer(images), reference.infer(images), atol=1e-4)


@pytest.mark.parametrize(
    ("runtime", "precision", "complaint"),
    [
        ("openvin", "fp32", "unknown runtime 'openvin'; did you mean openvino"),
        ("ncnn", "int8", "ncnn cannot take our int8 files; it takes fp32, fp16; leave the precision out"),
    ],
)
def test_what_no_runtime_takes(runtime: str, precision: Precision, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=complaint):
        runtime_files_from_onnx(runtime, precision, {}, tmp_path)


class TestMissing:
    @pytest.fixture(autouse=True)
    def _nothing_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = importlib.util.find_spec
        for name in ("openvino", "ncnn"):
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pnnx" else found(name))

    @pytest.mark.parametrize(
        ("runtime", "package", "extra"), [("openvino", "openvino", "openvino"), ("ncnn", "pnnx", "ncnn")]
    )
    def test_the_pip_command_is_named(
        self, runtime: str, package: str, extra: str, onnx_files: Mapping[Precision, Path], tmp_path: Path
    ) -> None:
        complaint = rf"{package} is needed for .* and is not installed; pip install 'fednas-export\[{extra}\]'"
        with pytest.raises(FednasError, match=complaint):
            runtime_files_from_onnx(runtime, "fp32", onnx_files, tmp_path)

    def test_running_needs_ncnn(self, converted: dict[str, Path]) -> None:
        complaint = r"ncnn is needed for running .*pip install 'fednas-export\[ncnn\]'"
        with pytest.raises(FednasError, match=complaint), NcnnRunner(converted["ncnn fp32"], image_shape=IMAGE):
            pass
