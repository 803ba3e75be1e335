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
    "It finds the board's trtexec, picks the flags that its TensorRT version knows, builds {plans} and measures them. "
    "An engine runs only on the kind of board and TensorRT version that built it, so build it on the board itself. The "
    "input is what `preprocessing.json` describes; the engine does not contain these steps."
)


def usage_sections(shipment: Shipment, models: Sequence[Model], preprocessing: ModelInput) -> tuple[Section, ...]:
    """The sections "How to use it" and "How to verify it"."""
    model = judged_model(shipment, models)
    use: tuple[Block, ...]
    if shipment.device.runtime == "tensorrt":
        plans = ", ".join(f"`{m.file.replace('.onnx', '.plan')}`" for m in models)
        use = (
            Paragraph("Copy this folder to the board and run there:"),
            Code("sh build_engine.sh", "sh"),
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
