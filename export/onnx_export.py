"""From a torch module to one verified ONNX file."""

import copy
import dataclasses
import warnings
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fednas.common import ContractError, FednasError, import_extra, replacing
from fednas.export.graph_cleanup import clean_graph
from fednas.export.onnx_file import (
    BATCH_DIMENSION,
    INPUT_NAME,
    METADATA_PREFIX,
    OUTPUT_NAME,
    ModelMetadata,
    OnnxFile,
    read_onnx_file,
)

if TYPE_CHECKING:
    import onnx
    from torch import nn

OPSETS = range(9, 21)
"""What the exporter writes faithfully; torch's newer exporter silently replaces old opsets by 18."""
EXPECTED_OPS = frozenset({"Add", "AveragePool", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "Relu"})
"""What a DeepFedNAS network consists of once batch norms are folded."""


def onnx_from_module(
    module: "nn.Module",
    path: Path,
    *,
    opset: int,
    metadata: ModelMetadata,
    expected_ops: Set[str] = EXPECTED_OPS,
) -> OnnxFile:
    """Write ``module`` as ``path`` with batch norms folded and all weights inside, and read the file back.

    The input (``batch``, channels, height, width) of ``metadata.preprocessing`` is named ``input``, the output
    (``batch``, classes) ``logits``. The module is not changed. The same module gives the same bytes.

    Raises:
        FednasError: torch is missing, the opset is out of `OPSETS`, weights are not finite, or the disk refuses.
        ContractError: the written file is not what was asked for.
    """
    if opset not in OPSETS:
        raise FednasError(
            f"opset {opset} cannot be exported; allowed: {OPSETS.start} to {OPSETS.stop - 1}",
            hint="change onnx_opset in the device profile",
        )
    ready = _ready_copy(module)
    with replacing(path) as scratch:
        model = _exported(ready, scratch, metadata.preprocessing.input_shape, opset)
        clean_graph(model)
        _stamp(model, opset, metadata)
        scratch.write_bytes(model.SerializeToString(deterministic=True))
        written = read_onnx_file(scratch)
        _require_as_asked(written, opset, metadata, expected_ops)
    return dataclasses.replace(written, path=path)


def _ready_copy(module: "nn.Module") -> "nn.Module":
    torch = import_extra("torch", "torch", "export")
    ready = copy.deepcopy(module).to("cpu").eval()
    for name, tensor in ready.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise FednasError(f"weight {name!r} holds NaN or infinite values", hint="train or import it again")
    return ready


def _exported(module: "nn.Module", scratch: Path, input_shape: tuple[int, int, int], opset: int) -> "onnx.ModelProto":
    import onnx
    import torch

    with _quiet_exporter():
        torch.onnx.export(
            module,
            (torch.zeros(1, *input_shape),),
            scratch,
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: {0: BATCH_DIMENSION}, OUTPUT_NAME: {0: BATCH_DIMENSION}},
        )
    return onnx.load_model_from_string(scratch.read_bytes())


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    import torch

    with warnings.catch_warnings():
        # This exporter is deprecated in favour of one that cannot write the opsets older boards need.
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript-based ONNX", DeprecationWarning)
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
        # Shapes of one image are constants here; that the trace fixes them is wanted, and checked afterwards.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield


def _stamp(model: "onnx.ModelProto", opset: int, metadata: ModelMetadata) -> None:
    from onnx import helper

    # Old runtimes refuse a newer file version even where they know the opset.
    model.ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    values = msgspec.to_builtins(metadata)
    helper.set_model_props(
        model, {METADATA_PREFIX + key: msgspec.json.encode(value).decode() for key, value in values.items()}
    )


def _require_as_asked(found: OnnxFile, opset: int, metadata: ModelMetadata, expected_ops: Set[str]) -> None:
    from onnx import helper

    wanted: dict[str, tuple[object, object]] = {
        "opset": (found.opset, opset),
        "file version": (found.ir_version, helper.find_min_ir_version_for([helper.make_opsetid("", opset)])),
        "input": (found.input_name, INPUT_NAME),
        "output": (found.output_name, OUTPUT_NAME),
        "input shape": (found.input_shape, (BATCH_DIMENSION, *metadata.preprocessing.input_shape)),
        "output shape": (found.output_shape, (BATCH_DIMENSION, len(metadata.class_names))),
        # As JSON, where tuples and lists are the same.
        "metadata": (msgspec.json.encode(found.metadata), msgspec.json.encode(metadata)),
    }
    wrong = [f"{what} is {got!r}, asked {asked!r}" for what, (got, asked) in wanted.items() if got != asked]
    unexpected = sorted(set(found.op_counts) - expected_ops)
    if unexpected:
        wrong.append(f"operators {', '.join(unexpected)} are not among {', '.join(sorted(expected_ops))}")
    if wrong:
        raise ContractError(f"the exported model is not as asked: {'; '.join(wrong)}")
