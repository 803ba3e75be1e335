"""The script that builds and measures a TensorRT engine on the board itself."""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

from fednas.common import ContractError
from fednas.export.engine_options import BatchRange

BUILD_SCRIPT = "build_engine.sh"
_SAFE = re.compile(r"[A-Za-z0-9._]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardModel:
    """One model file that the script can build."""

    file: str
    sha256: str
    precision: str


def build_script(
    models: Sequence[BoardModel],
    *,
    opset: int,
    input_name: str,
    input_shape: tuple[int, int, int],
    batches: BatchRange = BatchRange(),  # noqa: B008
) -> str:
    """The POSIX shell script for the model files of one network; ``input_shape`` is (channels, height, width)."""
    import importlib.resources

    for model in models:
        for value in (model.file, model.sha256, model.precision):
            _require_safe(value)
    cases = [f"{m.precision}) MODEL={m.file} SHA256={m.sha256} ;;" for m in models]
    values = {
        "opset": str(opset),
        "input": input_name,
        "shape": "x".join(str(side) for side in input_shape),
        "smallest": str(batches.smallest),
        "tuned": str(batches.tuned),
        "largest": str(batches.largest),
    }
    for value in values.values():
        _require_safe(value)
    values["precisions"] = " ".join(model.precision for model in models)
    values["cases"] = "\n        ".join(cases)
    template = importlib.resources.files("fednas.export").joinpath(f"{BUILD_SCRIPT}.in").read_text("utf-8")
    return _AtTemplate(template).substitute(values)


def _require_safe(value: str) -> None:
    # The values go into a shell script unquoted.
    if not _SAFE.fullmatch(value):
        raise ContractError(f"{value!r} cannot stand in a shell script")


class _AtTemplate(string.Template):
    # The shell needs the dollar and the single at-sign for itself.
    delimiter = "@@"
