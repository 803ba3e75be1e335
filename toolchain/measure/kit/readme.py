"""The README of a kit."""

from fednas.toolchain.measure.kit.board.choice import MAY_RUN
from fednas.toolchain.measure.kit.document import KitDocument

_TEXT = """\
# Latency kit for {device}

{models} models to be timed on the board, {what}.
The board needs no network and nothing installed beyond what it runs models with: Python 3.6 or later, and

{needs}

Copy this folder to the board, then there:

    cd {folder}
    python3 measure.py --check     # what it would use, and why; measures nothing
    python3 measure.py

It takes about {minutes} of readings, and time to load or build the models on top. Stop it at any moment, run it
again, and it goes on; at most the reading in progress is lost. Leave the board alone meanwhile. Nothing outside this
folder is written and no setting of the board is changed: set power mode and clocks first, as they will be in use.
Where the program tegrastats is in PATH it runs beside the readings, as you, and ends with the script.{gpu}

When it is done, carry `results.json` home:

    fednas-export profile import results.json

Exit codes, also of `--check`:

| code | meaning |
| --- | --- |
| 0 | done |
| 1 | something that you can mend, in one line; also after Ctrl-C |
| 2 | options that do not exist |
| 5 | this board cannot measure: nothing here can run the models, or its clock is of no use |

| file | what it is |
| --- | --- |
| `measure.py` | the script; `python3 measure.py --help` |
| `job.json` | what is measured, with the SHA-256 of every model |
| `models/` | ONNX files with random weights: they carry nothing of a trained network |
| `readings.partial` | made on the board: every reading as it comes; what a second run goes on from |
{engines}| `results.json` | made on the board: what to carry home |

Kit {kit}, written by fednas-export {tool_version}.
"""

_NEEDS = {
    "onnxruntime": "numpy and onnxruntime",
    "tensorrt": "the Python module tensorrt with CUDA (on a Jetson: apt's python3-libnvinfer)",
    "trtexec": "the program trtexec (on a Jetson: /usr/src/tensorrt/bin/trtexec)",
}
_GPU = "\nnvidia-smi, where it is there, is asked about the GPU now and then."
_ENGINES = "| `engines/` | made on the board: the engines, so that a second run need not build them again |\n"


def readme_text(document: KitDocument) -> str:
    """Markdown."""
    threads = f"{document.threads} thread{'s' * (document.threads != 1)}"
    seconds, on_gpu = document.seconds, document.runtime != "onnxruntime"
    return _TEXT.format(
        device=document.device,
        models=len(document.models),
        what=f"{document.runtime}, {document.precision}, batch {document.batch}, {threads}, plan {document.plan.name}",
        needs="; or else\n".join(f"- {_NEEDS[name]}" for name in MAY_RUN[document.runtime]),
        gpu=_GPU if on_gpu else "",
        engines=_ENGINES if on_gpu else "",
        folder="<this folder>",
        minutes=f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes",
        kit=document.kit,
        tool_version=document.tool_version,
    )
