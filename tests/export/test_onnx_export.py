"""From torch to one ONNX file that is what was asked for."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from small_network import METADATA, SmallNetwork, Trained
from torch import nn

from fednas.common import ContractError, FednasError
from fednas.export import OrtRunner, onnx_from_module, read_onnx_file


@pytest.mark.parametrize(("opset", "ir_version"), [(13, 7), (17, 8)])
def test_the_file_is_as_asked(trained: Trained, tmp_path: Path, opset: int, ir_version: int) -> None:
    found = onnx_from_module(trained.network, tmp_path / "model.onnx", opset=opset, metadata=METADATA)
    assert found == read_onnx_file(tmp_path / "model.onnx")
    assert (found.opset, found.ir_version) == (opset, ir_version)
    assert (found.input_name, found.input_shape) == ("input", ("batch", 1, 8, 8))
    assert (found.output_name, found.output_shape) == ("logits", ("batch", 10))
    assert found.metadata == METADATA
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert found.size_bytes == (tmp_path / "model.onnx").stat().st_size


def test_no_batch_norm_no_identity_and_no_idle_pool_is_left(trained: Trained, tmp_path: Path) -> None:
    found = onnx_from_module(trained.network, tmp_path / "model.onnx", opset=17, metadata=METADATA)
    # Stem, two convolutions in each of three blocks, two projections; only the projection with stride 2 pools.
    assert found.op_counts == {
        "Add": 3,
        "AveragePool": 1,
        "Conv": 9,
        "Flatten": 1,
        "Gemm": 1,
        "GlobalAveragePool": 1,
        "Relu": 10,
    }


@pytest.mark.parametrize("side", [7, 8])
def test_logits_equal_torch_for_any_batch_and_odd_sides(tmp_path: Path, side: int) -> None:
    torch.manual_seed(1)
    network = SmallNetwork(channels=3).eval()
    preprocessing = msgspec.structs.replace(
        METADATA.preprocessing, channels=3, height=side, width=side, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    metadata = msgspec.structs.replace(METADATA, preprocessing=preprocessing)
    found = onnx_from_module(network, tmp_path / "model.onnx", opset=17, metadata=metadata)
    with OrtRunner(found.path) as runner:
        for batch in (1, 5):
            images = torch.randn(batch, 3, side, side)
            with torch.no_grad():
                np.testing.assert_allclose(runner.infer(images.numpy()), network(images).numpy(), atol=1e-6)


def test_same_module_same_bytes_and_the_module_is_not_changed(trained: Trained, tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = SmallNetwork().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = onnx_from_module(network, tmp_path / "a.onnx", opset=17, metadata=METADATA)
    second = onnx_from_module(network, tmp_path / "b.onnx", opset=17, metadata=METADATA)
    assert first.sha256 == second.sha256
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    network = SmallNetwork()
    with torch.no_grad():
        network.stem[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(FednasError, match=r"weight 'stem\.0\.weight' holds NaN"):
        onnx_from_module(network, tmp_path / "model.onnx", opset=17, metadata=METADATA)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [8, 21])
def test_an_opset_that_would_not_be_honoured_is_refused(tmp_path: Path, opset: int) -> None:
    with pytest.raises(FednasError, match=f"opset {opset} cannot be exported; allowed: 9 to 20"):
        onnx_from_module(SmallNetwork(), tmp_path / "model.onnx", opset=opset, metadata=METADATA)


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        pytest.param(
            nn.Sequential(SmallNetwork(), nn.Softmax(dim=1)), "operators Softmax are not among", id="operator"
        ),
        pytest.param(nn.Sequential(SmallNetwork(), nn.Linear(10, 3)), r"output shape is \('batch', 3\)", id="classes"),
        pytest.param(
            nn.Sequential(nn.Conv2d(1, 8, 1), nn.BatchNorm2d(8), nn.Flatten(0)), "output shape", id="no batch"
        ),
        pytest.param(nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10)), "BatchNormalization", id="bn"),
    ],
)
def test_anything_not_as_asked_is_our_fault_and_leaves_nothing(
    tmp_path: Path, network: nn.Module, complaint: str
) -> None:
    with pytest.raises(ContractError, match=complaint):
        onnx_from_module(network, tmp_path / "model.onnx", opset=17, metadata=METADATA)
    assert not list(tmp_path.iterdir())


def test_without_torch_the_pip_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = SmallNetwork()
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(FednasError, match=r"torch is needed for export.*pip install 'fednas-export\[torch\]'"):
        onnx_from_module(network, tmp_path / "model.onnx", opset=17, metadata=METADATA)


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(FednasError, match=r"folder .*nowhere does not exist"):
        onnx_from_module(SmallNetwork(), tmp_path / "nowhere" / "m.onnx", opset=17, metadata=METADATA)


class TestReading:
    @pytest.fixture
    def model(self, trained: Trained, tmp_path: Path) -> onnx.ModelProto:
        onnx_from_module(trained.network, tmp_path / "model.onnx", opset=17, metadata=METADATA)
        return onnx.load(tmp_path / "model.onnx")

    @pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08\x12"])
    def test_no_onnx_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(FednasError, match="is not a valid ONNX file"):
            read_onnx_file(tmp_path / "bad.onnx")

    def test_truncated(self, model: onnx.ModelProto, tmp_path: Path) -> None:
        (tmp_path / "short.onnx").write_bytes(model.SerializeToString()[:-100])
        with pytest.raises(FednasError, match="is not a valid ONNX file"):
            read_onnx_file(tmp_path / "short.onnx")

    def test_weights_in_other_files_are_never_opened(self, model: onnx.ModelProto, tmp_path: Path) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")
        (tmp_path / "external.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(FednasError, match="keeps 1 tensors in other files"):
            read_onnx_file(tmp_path / "external.onnx")

    def test_a_foreign_file_has_no_metadata_of_ours(self, model: onnx.ModelProto, tmp_path: Path) -> None:
        del model.metadata_props[:]
        (tmp_path / "foreign.onnx").write_bytes(model.SerializeToString())
        assert read_onnx_file(tmp_path / "foreign.onnx").metadata is None

    @pytest.mark.parametrize(
        ("key", "value", "complaint"),
        [
            ("fednas.colour", '"red"', "unknown key 'colour'"),
            ("fednas.tool_version", "7", "Expected str, got int"),
            ("fednas.tool_version", '"1", "x": 2', "unknown key 'x'"),
        ],
    )
    def test_strange_metadata(
        self, model: onnx.ModelProto, tmp_path: Path, key: str, value: str, complaint: str
    ) -> None:
        onnx.helper.set_model_props(model, {prop.key: prop.value for prop in model.metadata_props} | {key: value})
        (tmp_path / "strange.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(FednasError, match=complaint):
            read_onnx_file(tmp_path / "strange.onnx")
