"""How to use a shipped folder, in words and commands; part of its report."""

from collections.abc import Sequence

from fednas.export.examples import example_model
from fednas.export.manifest import Model, Shipment
from fednas.export.preprocessing import ModelInput
from fednas.export.report_blocks import Block, Code, Paragraph, Section

_TENSORRT = (
    "It finds the board's TensorRT (Python module or trtexec), picks the options that this version knows and says why, "
    "builds {plans}, holds each against the test vectors, measures it, and writes `board_result.json`. At home, "
    "`fednas-export verify DIR --import board_result.json` folds that into this report. It needs Python 3.6, nothing "
    "else; for a board without Python, `python3 board_check.py --commands 10.3` prints trtexec's command lines. An "
    "engine runs only on the kind of board and TensorRT version that built it. Its input is what `preprocessing.json` "
    "describes. It ends with 0 where all engines agree, 4 where one does not, 5 where nothing there can build an "
    "engine or none came of a model, 1 where something can be mended."
)


_PYTHON = """\
python example.py               # runs the test inputs and compares the logits
python example.py image.npy     # classifies a raw image: (height, width, channels), pixels 0 to {largest}"""
_CPP = """\
cmake -B build -DONNXRUNTIME_ROOT=/path/to/onnxruntime && cmake --build build
build/example .                 # the same test; build/example . image.raw classifies"""


def usage_sections(shipment: Shipment, models: Sequence[Model], preprocessing: ModelInput) -> tuple[Section, ...]:
    """The sections "How to use it" and "How to verify it"."""
    model, steps = example_model(shipment, models), ", ".join(f"`{step}`" for step in preprocessing.steps)
    use: tuple[Block, ...] = ()
    where = ""
    if shipment.device.runtime == "tensorrt":
        plans = ", ".join(f"`{m.file.replace('.onnx', '.plan')}`" for m in models)
        use = (
            Paragraph("Copy this folder to the board and run there:"),
            Code("python3 board_check.py", "sh"),
            Paragraph(_TENSORRT.format(plans=plans)),
        )
        where = " wherever ONNX Runtime is (on this machine, say)"
    use += (
        Paragraph(f"To run `{model.file}` with numpy and ONNX Runtime only{where}, or from C++:"),
        Code(_PYTHON.format(largest=f"{preprocessing.value_range_max:g}"), "sh"),
        Code(_CPP, "sh"),
        Paragraph(f"Both hold the steps of `preprocessing.json`: {steps}."),
    )
    verify = (
        "`fednas-export verify DIR`, with the path of this folder, checks every hash, the model file, and the logits "
        "of the test vectors. It needs no torch."
    )
    return (Section("How to use it", use), Section("How to verify it", (Paragraph(verify),)))
