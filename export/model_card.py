"""The model card: what a stranger must know before using the model, with what only its owner can say."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fednas.common import FednasError, format_bytes, format_latency_ms, load_toml
from fednas.export.manifest import Model, Shipment
from fednas.export.preprocessing import ModelInput
from fednas.export.report import Report
from fednas.export.report_blocks import Bullets, Paragraph, Section, Table, markdown_of

CARD_FILE = "MODEL_CARD.md"
NOT_STATED = "not stated by whoever exported it"


class CardDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only the owner of a model can say; the TOML file of ``--card``. Empty: not stated."""

    name: str = ""
    authors: str = ""
    contact: str = ""
    license: str = ""
    """Of the weights, such as ``apache-2.0``."""
    data_license: str = ""
    """Of the training data."""
    intended_use: str = ""
    out_of_scope: str = ""
    limits: str = ""


def read_card_details(path: Path) -> CardDetails:
    """The details in a TOML file; raises `FednasError` for unknown keys or values that are no text."""
    details = load_toml(path, CardDetails, "model card details")
    for key in CardDetails.__struct_fields__:
        if set("\r\n") & set(getattr(details, key)):
            raise FednasError(f"model card details {path}: {key} has more than one line", hint="write it in one line")
    return details


def card_text(details: CardDetails, report: Report, preprocessing: ModelInput) -> str:
    """The card in Markdown. Verdicts are left to the report, which a board's result may change later."""
    shipment, models, class_names = report.shipment, report.models, report.class_names
    title = details.name or f"Image classifier for {shipment.device.title}"
    cost = f"{shipment.macs:,} MACs, {shipment.params:,} parameters"
    lead = f"{len(class_names)} classes, {_image(preprocessing)}, {cost}."
    sections = (
        _about(details, shipment, class_names),
        Section("Use", (Bullets(_use(details)),)),
        _data(details, shipment),
        _metrics(shipment, models),
        Section("Limits", (Bullets(_limits(details, report.not_verified)),)),
    )
    return markdown_of(
        title, lead, sections, f"Made by fednas-export {report.tool_version}; `report.md` holds the evidence."
    )


def _about(details: CardDetails, shipment: Shipment, class_names: Sequence[str]) -> Section:
    given = "given by the user" if shipment.search is None else f"found by search ({shipment.search.method})"
    text = (
        "A residual convolutional network, extracted as one subnet of a weight-sharing supernet that was trained by "
        f"federated learning. Its architecture was {given}; `manifest.json` states it."
    )
    rows = (
        ("Authors", details.authors or NOT_STATED),
        ("Contact", details.contact or NOT_STATED),
        ("Licence of the weights", details.license or NOT_STATED),
        ("Supernet", f"{shipment.supernet.name} (SHA-256 `{shipment.supernet.sha256}`)"),
        ("Classes", ", ".join(class_names[:20]) + (f" and {len(class_names) - 20} more" if class_names[20:] else "")),
    )
    return Section("What it is", (Paragraph(text), Table(("", ""), rows)))


def _use(details: CardDetails) -> tuple[str, ...]:
    return (
        f"Intended: {details.intended_use or NOT_STATED}",
        f"Out of scope: {details.out_of_scope or NOT_STATED}",
    )


def _data(details: CardDetails, shipment: Shipment) -> Section:
    data = shipment.dataset
    tested = f"{data.test_images} held-out images of {data.name}" if data else "none: no data was given"
    images = shipment.recalibration.images
    norms = f"{images} training images" if images else "not recalibrated"
    rows = (
        ("Accuracy was measured on", tested),
        ("Batch norms were recalibrated on", norms),
        ("Licence of the data", details.data_license or NOT_STATED),
    )
    return Section("Data", (Table(("", ""), rows),))


def _metrics(shipment: Shipment, models: Sequence[Model]) -> Section:
    rows = tuple(
        (
            f"`{model.file}`",
            str(model.evidence.artefact_accuracy or "not checked"),
            "not checked" if model.evidence.drop is None else str(model.evidence.drop),
            "unknown" if model.peak_activation_bytes is None else format_bytes(model.peak_activation_bytes),
        )
        for model in models
    )
    heads = ("File", "Top-1 accuracy (95% interval)", "Lost against the source", "Peak activation memory")
    return Section("Metrics", (Table(heads, rows), Paragraph(_speed(shipment))))


def _speed(shipment: Shipment) -> str:
    latency, device = shipment.latency, shipment.device.title
    measured, predicted = latency.measured, latency.predicted
    if measured is not None:
        low, high = format_latency_ms(measured.low_ms), format_latency_ms(measured.high_ms)
        return f"One image took {format_latency_ms(measured.median_ms)} ({low} to {high}) on {measured.machine}."
    if predicted is None:
        return f"Latency on {device}: not known when it was exported."
    low, high = format_latency_ms(predicted.low_ms), format_latency_ms(predicted.high_ms)
    basis = "predicted from a measured table" if latency.kind == "measured" else "an estimate, never measured"
    value = format_latency_ms(predicted.latency_ms)
    return f"Latency on {device} when it was exported: {value} ({low} to {high}), {basis}."


def _limits(details: CardDetails, not_verified: Sequence[str]) -> tuple[str, ...]:
    own = (details.limits,) if details.limits else ()
    return (
        *own,
        "Images that are unlike those it was tested on may be classified worse than the figures above say; it always "
        "names one of its classes, also for images of none.",
        *(f"Not verified: {line}" for line in not_verified),
    )


def _image(preprocessing: ModelInput) -> str:
    colours = {1: "grey", 3: "colour"}.get(preprocessing.channels, f"{preprocessing.channels}-channel")
    return f"{preprocessing.height} x {preprocessing.width} {colours} images"
