"""The report's section on the files of lower precision."""

from collections.abc import Sequence

from fednas.common import format_bytes, format_latency_ms
from fednas.export.manifest import Model, ShippedFile
from fednas.export.report_blocks import Paragraph, Section, Table


def precisions_section(models: Sequence[Model], files: Sequence[ShippedFile]) -> Section:
    """Size, layers and measured latency of each file, and how the others were made from fp32."""
    sizes = {file.name: format_bytes(file.size_bytes) for file in files}
    rows = tuple(
        (
            f"`{model.file}`",
            sizes.get(model.file, "unknown"),
            str(model.census or "not counted"),
            "not measured" if model.measured is None else format_latency_ms(model.measured.median_ms),
            _calibrated(model),
        )
        for model in models
    )
    heads = ("Model", "Size", "Layers by precision", "Latency", "Calibrated on")
    notes = [
        f"`{model.file}` keeps {len(model.kept_fp32)} layers in fp32 because half precision could overflow there: "
        + ", ".join(f"{layer.name} (up to {layer.largest_value:.3g})" for layer in model.kept_fp32)
        + "."
        for model in models
        if model.kept_fp32
    ]
    if any(model.precision == "fp16" for model in models):
        notes.append(
            "On x86 processors ONNX Runtime computes an fp16 file in float32 with rounded weights: what stands above "
            "says nothing about rounded activations. That they do not overflow follows from the values measured on "
            "the calibration images."
        )
    return Section("Precisions", (Table(heads, rows), *map(Paragraph, notes)))


def _calibrated(model: Model) -> str:
    record = model.calibration
    if record is None:
        return "nothing: it is the source of the others"
    return f"{record.images} {record.source} (seed {record.seed}): {record.method}"
