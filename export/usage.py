"""How to use a shipped folder, in words and commands; part of its report."""

from collections.abc import Sequence

from fednas.export.manifest import Model, Shipment, judged_model
from fednas.export.preprocessing import ModelInput
from fednas.export.report_blocks import Block, Code, Paragraph, Section

_ONNXRUNTIME = """\
import json
from pathlib import Path

import numpy as np
import onnxruntime

steps = json.loads(Path("preprocessing.json").read_text())
labels = Path("labels.txt").read_text(encoding="utf-8").splitlines()
raw = np.zeros((1, steps["height"], steps["width"], steps["channels"]))  # your image, 0 .. {largest}
x = (raw / steps["value_range_max"] - np.array(steps["mean"])) / np.array(steps["std"])
x = np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.{dtype})
session = onnxruntime.InferenceSession("{model}", providers=["CPUExecutionProvider"])
logits = session.run(None, {{"{input}": x}})[0]
print(labels[int(logits[0].argmax())])"""

_TENSORRT = (
    "It finds the board's TensorRT (Python module or trtexec), picks the options that this version knows and says why, "
    "builds {plans}, holds them against the test vectors, measures them, and writes `board_result.json`. At home, "
    "`fednas-export verify DIR --import board_result.json` folds that into this report. It needs Python 3.6 and nothing "
    "else; for a board without Python, `python3 board_check.py --commands 10.3` prints trtexec's command lines. An "
    "engine runs only on the kind of board and TensorRT version that built it. Its input is what `preprocessing.json` "
    "describes."
)


def usage_sections(shipment: Shipment, models: Sequence[Model], preprocessing: ModelInput) -> tuple[Section, ...]:
    """The sections "How to use it" and "How to verify it"."""
    model = judged_model(shipment, models)
    use: tuple[Block, ...]
    if shipment.device.runtime == "tensorrt":
        plans = ", ".join(f"`{m.file.replace('.onnx', '.plan')}`" for m in models)
        use = (
            Paragraph("Copy this folder to the board and run there:"),
            Code("python3 board_check.py", "sh"),
            Paragraph(_TENSORRT.format(plans=plans)),
        )
    else:
        code = _ONNXRUNTIME.format(
            model=model.file,
            input=model.input_name,
            dtype=model.input_type,
            largest=f"{preprocessing.value_range_max:g}",
        )
        use = (Code(code, "python"),)
    verify = (
        "`fednas-export verify DIR`, with the path of this folder, checks every hash, the model file, and the logits "
        "of the test vectors. It needs no torch."
    )
    return (Section("How to use it", use), Section("How to verify it", (Paragraph(verify),)))
