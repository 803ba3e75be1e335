"""The report's section on the files of lower precision."""

from collections.abc import Sequence

from fednas.common import format_bytes, format_latency_ms
from fednas.export.manifest import Model, ShippedFile
from fednas.export.mixed_int8 import MixedInt8
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
    reasons = dict.fromkeys(model.not_measured_because for model in models)
    notes = [_not_measured(models, why) for why in reasons if why]
    notes += [
        f"`{model.file}` keeps {len(model.kept_fp32)} layers in fp32 because half precision could overflow there: "
        + ", ".join(f"{layer.name} (up to {layer.largest_value:.3g})" for layer in model.kept_fp32)
        + "."
        for model in models
        if model.kept_fp32
    ]
    notes += [_half_precision(model) for model in models if model.precision == "fp16"]
    return Section("Precisions", (Table(heads, rows), *map(Paragraph, notes)))


def _half_precision(model: Model) -> str:
    text = (
        "On x86 processors ONNX Runtime computes an fp16 file in float32 with rounded weights: what stands above "
        "says nothing about rounded activations. "
    )
    if model.calibration is not None and model.calibration.source == "random inputs":
        return f"{text}Whether they overflow was judged by the values measured on random inputs, not on images."
    return f"{text}That they do not overflow follows from the values measured on the calibration images."


def _not_measured(models: Sequence[Model], why: str) -> str:
    files = ", ".join(f"`{model.file}`" for model in models if model.not_measured_because == why)
    return f"Latency of {files}: not measured, because {why}."


def mixed_section(models: Sequence[Model]) -> Section | None:
    """Which layers of the int8 file stayed in fp32, what each costs in int8, and which choices were tried."""
    model = next((model for model in models if model.mixed is not None), None)
    if model is None or model.mixed is None:
        return None
    mixed = model.mixed
    kept = ", ".join(f"`{name}`" for name in mixed.kept)
    text = (
        f"Plain int8 did not suffice on {mixed.images} validation images (seed {mixed.seed}): {mixed.why_not_plain}. "
        + (f"So `{model.file}` keeps {len(mixed.kept)} of its layers in fp32: {kept}." if kept else _NO_CHOICE)
        + (f" The higher precision is {mixed.kept_in}, never fp16." if kept else "")
        + " The images that prove the file played no part in the choice."
    )
    sensitive = tuple(
        (f"`{layer.name}`", layer.operator, f"{layer.error:.2g}", "fp32" if layer.name in mixed.kept else "int8")
        for layer in mixed.sensitivity
    )
    return Section(
        "Mixed int8",
        (
            Paragraph(text),
            Table(("Layers in fp32", "Accuracy lost", "Largest logit error", "Same class", "Enough"), _trials(mixed)),
            Paragraph(f"What each layer costs: {mixed.method}."),
            Table(("Layer", "Operator", "Error if only this is int8", "Now in"), sensitive),
        ),
    )


_NO_CHOICE = "No choice of layers left in fp32 was enough, so the file is plain int8."


def _trials(mixed: MixedInt8) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            str(trial.kept),
            str(trial.drop),
            "not finite" if trial.max_relative_error is None else f"{trial.max_relative_error:.2g}",
            f"{trial.top1_agreement:.2%}",
            "yes" if trial.passed else "no",
        )
        for trial in mixed.trials
    )


def _calibrated(model: Model) -> str:
    record = model.calibration
    if record is None:
        return "nothing: it is the source of the others"
    return f"{record.images} {record.source} (seed {record.seed}): {record.method}"
