"""What a runtime computes its layers in, against what was asked; and what ncnn's files say of their weights."""

import pytest

from fednas.common import FednasError
from fednas.export.computed_layers import computed_faults
from fednas.export.evidence import Precision
from fednas.export.ncnn_layout import require_channels, require_stored_as, stored_precisions

PARAM = """7767517
4 4
Input        in0     0 1 in0
Convolution  conv    1 1 in0 1 0=3 1=1 5=1 6=6
Pooling      pool    1 1 1 2 0=1 4=1
InnerProduct head    1 1 2 out0 0=2 1=1 2=6
"""
"""A 1x1 convolution of two channels to three, and a matrix product of these to two; both have biases."""
HALF, FULL = (0x01306B47).to_bytes(4, "little"), bytes(4)
WEIGHTS = {
    # Behind the tag: six weights, then three biases; six weights, then two biases.
    "fp32": FULL + bytes(24) + bytes(12) + FULL + bytes(24) + bytes(8),
    "fp16": HALF + bytes(12) + bytes(12) + HALF + bytes(12) + bytes(8),
    "one": HALF + bytes(12) + bytes(12) + FULL + bytes(24) + bytes(8),
}


@pytest.mark.parametrize(
    ("asked", "computed", "kept", "faults"),
    [
        ("fp32", {"f32": 10}, 0, ()),
        ("fp32", {"f32": 9, "bf16": 1}, 0, ("layers that multiply: 9 in f32, 1 in bf16, not fp32 as asked",)),
        # A processor without half-precision arithmetic takes more bits.
        ("fp16", {"f32": 10}, 0, ()),
        ("fp16", {"f16": 8, "f32": 2}, 2, ()),
        ("fp16", {"u8": 1, "f32": 9}, 0, ("layers that multiply: 1 in u8, 9 in f32, not fp16 as asked",)),
        ("int8", {"u8": 9, "i8": 1}, 0, ()),
        ("int8", {"u8": 1, "f32": 9}, 0, ("layers that multiply: 1 in u8, 9 in f32, not int8 as asked",)),
        ("int8", {"u8": 8, "f32": 2}, 2, ()),
        (
            "int8",
            {"u8": 7, "f32": 3},
            2,
            ("layers that multiply: 7 in u8, 3 in f32, not int8 but for 2 kept in fp32 as asked",),
        ),
        # Layers that were to stay in fp32 for the sake of accuracy must not be rounded either.
        ("int8", {"u8": 10}, 2, ("layers that multiply: 10 in u8, not int8 but for 2 kept in fp32 as asked",)),
        ("int8", {"u8": 9}, 0, ("9 layers that multiply were counted, the ONNX file has 10",)),
    ],
)
def test_every_layer_that_multiplies_must_be_as_asked(
    asked: Precision, computed: dict[str, int], kept: int, faults: tuple[str, ...]
) -> None:
    assert computed_faults(asked, computed, kept=kept, products=10) == faults


@pytest.mark.parametrize(
    ("weights", "counts"), [("fp32", {"fp32": 2}), ("fp16", {"fp16": 2}), ("one", {"fp16": 1, "fp32": 1})]
)
def test_how_ncnn_stores_each_layer_is_counted(weights: str, counts: dict[str, int]) -> None:
    assert stored_precisions(PARAM, WEIGHTS[weights]) == counts


def test_layers_without_weights_may_have_any_numbers() -> None:
    param = PARAM.replace("0=1 4=1", "0=1.000000e-01 4=1")
    assert stored_precisions(param, WEIGHTS["fp32"]) == {"fp32": 2}


def test_ncnn_files_that_are_stored_otherwise_are_refused() -> None:
    require_stored_as("fp16", PARAM, WEIGHTS["fp16"])
    with pytest.raises(FednasError, match="have their weights 1 in fp16, 1 in fp32, not all in fp16"):
        require_stored_as("fp16", PARAM, WEIGHTS["one"])
    with pytest.raises(FednasError, match="wants 76 bytes of weights, its file has 77"):
        stored_precisions(PARAM, WEIGHTS["fp32"] + b"\0")
    with pytest.raises(FednasError, match="weights of ncnn layer conv are stored neither as fp32 nor as fp16"):
        stored_precisions(PARAM, b"\1" + WEIGHTS["fp32"][1:])


def test_channels_that_ncnn_would_not_check_are_checked() -> None:
    require_channels(PARAM, 2)
    with pytest.raises(FednasError, match="takes images of 2 channels, not of 3"):
        require_channels(PARAM, 3)


@pytest.mark.parametrize("line", ["Convolution c 1 1 in0 1 0=0 1=1 6=6", "Convolution c 1 1 in0 1", "InnerProduct"])
def test_a_network_that_ncnn_did_not_write(line: str) -> None:
    with pytest.raises(FednasError, match="ncnn network has a layer that cannot be read"):
        stored_precisions(f"7767517\n1 1\n{line}\n", b"")
