"""The report's section on the files of other runtimes."""

from collections.abc import Sequence

from fednas.export.computed_layers import counts_text
from fednas.export.manifest import Model
from fednas.export.report_blocks import Bullets, Paragraph, Section, Table


def runtimes_section(models: Sequence[Model]) -> Section | None:
    """Parity and accuracy of each converted file; None without any."""
    rows = []
    for model in models:
        for converted in model.converted:
            evidence = converted.evidence
            error = evidence.parity.max_relative_error
            rows.append(
                (
                    "FAILED" if model.reasons_of(converted) else "passed",
                    ", ".join(f"`{name}`" for name in converted.files),
                    evidence.runtime,
                    counts_text(converted.computed),
                    str(evidence.artefact_accuracy or "not checked"),
                    "not finite" if error is None else f"{error:.2g}",
                    f"{evidence.parity.top1_agreement:.2%}",
                )
            )
    if not rows:
        return None
    text = (
        "The same networks in the runtimes' own files, converted from the ONNX files above and held against the source "
        "network on the same images. What layers are computed in was read back from the runtime: OpenVINO says it; of "
        "ncnn it is how results lie in memory. On a processor with half-precision arithmetic ncnn may compute files "
        "with halved weights in half precision; here they were computed in fp32."
    )
    heads = ("Verdict", "Files", "Ran on", "Layers computed", "Accuracy", "Largest logit error", "Same class")
    return Section("Other runtimes", (Paragraph(text), Table(heads, tuple(rows))))


def failures_section(models: Sequence[Model]) -> Section | None:
    """What was asked for and could not be made; None if all was."""
    lines = tuple(f"{each.runtime}, of `{model.file}`: {each.reason}" for model in models for each in model.failed)
    if not lines:
        return None
    text = "This was asked for and could not be made. None of it is in the folder; all other files are."
    return Section("Could not be made", (Paragraph(text), Bullets(lines)))
