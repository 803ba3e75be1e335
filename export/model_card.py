"""The model card: what a stranger must know before using the model, with what only its owner can say."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fednas.common import FednasError, format_bytes, format_latency_ms, load_toml
from fednas.export.board_record import BoardRecord
from fednas.export.engine_record import EngineRecord
from fednas.export.manifest import Model, Shipment, engine_timed_with_one, judged_model
from fednas.export.preprocessing import ModelInput
from fednas.export.report import Report
from fednas.export.report_blocks import Bullets, Paragraph, Section, Table, markdown_block, markdown_of

CARD_FILE = "MODEL_CARD.md"
NOT_STATED = "not stated by whoever exported it"
_UNVERIFIED = "Not verified: "


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
    shipment, class_names = report.shipment, report.class_names
    title = details.name or f"Image classifier for {shipment.device.title}"
    cost = f"{shipment.macs:,} MACs, {shipment.params:,} parameters"
    lead = f"{len(class_names)} classes, {_image(preprocessing)}, {cost}."
    sections = (
        _about(details, shipment, class_names),
        Section("Use", (Bullets(_use(details)),)),
        _data(details, shipment),
        _metrics(report.models, _speed(report)),
        Section("Limits", (Bullets(_limits(details, report.not_verified)),)),
    )
    return markdown_of(
        title, lead, sections, f"Made by fednas-export {report.tool_version}; `report.md` holds the evidence."
    )


def renewed_card(text: str, report: Report) -> str:
    """The ``text`` of a shipped card with what a board's result changes: its latency, and what was not verified.

    All else stays, as the owner's own words stand nowhere but in the card; so does a card of another form. They cannot
    be taken for ours: each is one line in the title, a cell, or a bullet before "Images that are unlike ...".
    """
    head, metrics, rest = text.partition("\n\n## Metrics\n\n")
    measured, limits, rest = rest.partition("\n\n## Limits\n\n")
    table, gap, _ = measured.rpartition("\n\n")
    bullets, end, last = rest.partition("\n\n")
    if not (metrics and limits and gap and end):
        return text
    lines = bullets.split("\n")
    while lines and lines[-1].startswith(f"- {_UNVERIFIED}"):
        lines.pop()
    if report.not_verified:
        lines.append(markdown_block(Bullets(_unverified(report.not_verified))))
    speed = markdown_block(Paragraph(_speed(report)))
    return "".join((head, metrics, table, gap, speed, limits, "\n".join(lines), end, last))


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


def _metrics(models: Sequence[Model], speed: str) -> Section:
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
    return Section("Metrics", (Table(heads, rows), Paragraph(speed)))


def _speed(report: Report) -> str:
    engine = engine_timed_with_one(judged_model(report.shipment, report.models), report.board)
    if engine is not None and engine.latency is not None:
        read = engine.latency
        low, high = format_latency_ms(read.low_ms), format_latency_ms(read.high_ms)
        runner = f"an engine of TensorRT {engine.tensorrt_version} {_where(engine, report.board)}"
        return f"One image took {format_latency_ms(read.median_ms)} ({low} to {high}) by {runner}."
    return _speed_without_engine(report.shipment)


def _where(engine: EngineRecord, board: BoardRecord | None) -> str:
    if board is None or engine not in board.engines:
        return "on the machine that exported it"
    return f"on the board ({board.machine.board or board.machine.system})"


def _speed_without_engine(shipment: Shipment) -> str:
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
        *_unverified(not_verified),
    )


def _unverified(not_verified: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{_UNVERIFIED}{line}" for line in not_verified)


def _image(preprocessing: ModelInput) -> str:
    colours = {1: "grey", 3: "colour"}.get(preprocessing.channels, f"{preprocessing.channels}-channel")
    return f"{preprocessing.height} x {preprocessing.width} {colours} images"
