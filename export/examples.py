"""Small programs that run a shipped model without this tool, written for the model they ship with."""

import importlib.resources
import string
from collections.abc import Mapping, Sequence

from fednas.export.evidence import tolerance_for
from fednas.export.manifest import Model, Shipment, judged_model
from fednas.export.preprocessing import ModelInput

PYTHON_EXAMPLE, CPP_EXAMPLE, CMAKE_FILE = "example.py", "example.cpp", "CMakeLists.txt"
EXAMPLE_FILES = (PYTHON_EXAMPLE, CPP_EXAMPLE, CMAKE_FILE)


def example_model(shipment: Shipment, models: Sequence[Model]) -> Model:
    """The model that the examples run: the judged one, or that of fp32 where the judged one reads half precision."""
    judged = judged_model(shipment, models)
    return models[0] if judged.input_type == "float16" else judged


def example_files(model: Model, preprocessing: ModelInput, classes: int) -> Mapping[str, str]:
    """The text of each of `EXAMPLE_FILES`, by name."""
    values = _values(model, preprocessing, classes)
    return {name: _AtTemplate(_template(name)).substitute(values) for name in EXAMPLE_FILES}


def _values(model: Model, preprocessing: ModelInput, classes: int) -> dict[str, str]:
    pixels = preprocessing.input_type == "uint8"
    constants = "" if pixels else _constants(preprocessing)
    prepared = "pixel" if pixels else "(static_cast<float>(pixel) / kLargest - kMean[c]) / kStd[c]"
    # Pixels from 0 to 1 are no bytes.
    bytes_hold_it = 1 < preprocessing.value_range_max <= 255
    return {
        "model": model.file,
        "input_name": model.input_name,
        "output_name": model.output_name,
        "channels": str(preprocessing.channels),
        "height": str(preprocessing.height),
        "width": str(preprocessing.width),
        "classes": str(classes),
        "largest": f"{preprocessing.value_range_max:g}",
        "tolerance": f"{tolerance_for(model.precision).max_relative_error:g}",
        "input_type": "std::uint8_t" if pixels else "float",
        "pixel_type": "std::uint8_t" if bytes_hold_it else "float",
        "prepared": prepared,
        "constants": constants,
    }


def _constants(preprocessing: ModelInput) -> str:
    def listed(values: Sequence[float]) -> str:
        return "{" + ", ".join(_float(value) for value in values) + "}"

    return (
        f"constexpr float kLargest = {_float(preprocessing.value_range_max)};\n"
        f"constexpr float kMean[] = {listed(preprocessing.mean)}, kStd[] = {listed(preprocessing.std)};"
    )


def _float(value: float) -> str:
    text = repr(float(value))
    return text + "F"


def _template(name: str) -> str:
    return importlib.resources.files("fednas.export").joinpath(f"{name}.in").read_text("utf-8")


class _AtTemplate(string.Template):
    # CMake and Python need the dollar for themselves.
    delimiter = "@@"
