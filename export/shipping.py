"""Fill a staged folder with everything that ships."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fednas.common import ContractError, FednasError, encode_json, write_atomic
from fednas.export.board_kit import BOARD_SCRIPT, board_script
from fednas.export.build import Build, build_record
from fednas.export.examples import example_files, example_model
from fednas.export.folder import listed_files
from fednas.export.illustrations import Illustrations
from fednas.export.manifest import (
    MANIFEST_FILE,
    SCHEMA,
    Manifest,
    Model,
    Shipment,
    ShippedFile,
    TestVectors,
    status_of,
)
from fednas.export.model_card import CARD_FILE, CardDetails, card_text
from fednas.export.preprocessing import ModelInput
from fednas.export.report import (
    REPORT_FILE,
    REPORT_HTML_FILE,
    REPORT_JSON_FILE,
    Report,
    headline,
    report_html,
    report_markdown,
    what_was_not_verified,
)
from fednas.export.test_vectors import VECTORS_FILE, Vectors, write_raw_vectors, write_vectors

PREPROCESSING_FILE = "preprocessing.json"
LABELS_FILE = "labels.txt"


def model_file_name(precision: str) -> str:
    """The model file of a precision."""
    return f"model.{precision}.onnx"


def write_contents(
    staging: Path,
    shipment: Shipment,
    models: Sequence[Model],
    *,
    vectors: Vectors,
    preprocessing: ModelInput,
    class_names: Sequence[str],
    not_verified: Sequence[str] = (),
    illustrations: Illustrations | None = None,
    card: CardDetails | None = None,
    build: Build | None = None,
) -> Manifest:
    """Write vectors, preprocessing, labels, build script, reports and, last, the manifest.

    Args:
        staging: the folder that `staged_folder` gave; the model files are in it already.
        shipment: what was shipped and why.
        models: one for each model file, with its evidence.
        vectors: a few dozen inputs and the source's logits; random ones if the shipment has no data set.
        preprocessing: how raw images become inputs.
        class_names: one for each logit, in order.
        not_verified: what the caller knows to be unchecked, beyond what follows from the shipment.
        illustrations: what the report's pictures show beyond the facts.
        card: what the model's owner says about it.
        build: date and versions; those of this run unless given.
    """
    _require_consistent(staging, shipment, models, vectors, class_names)
    write_vectors(vectors, staging / VECTORS_FILE)
    write_raw_vectors(vectors, staging)
    write_atomic(staging / PREPROCESSING_FILE, encode_json(preprocessing))
    write_atomic(staging / LABELS_FILE, labels_text(class_names))
    example = example_model(shipment, models)
    for name, text in example_files(example, preprocessing, len(class_names)).items():
        write_atomic(staging / name, text)
    if shipment.device.runtime == "tensorrt":
        write_atomic(staging / BOARD_SCRIPT, board_script())
        (staging / BOARD_SCRIPT).chmod(0o755)
    build, shown = build or build_record(), illustrations or Illustrations()
    status, reasons = status_of(tuple(models), shipment.dataset)
    report = Report(
        schema=SCHEMA,
        status=status,
        reasons=reasons,
        headline=headline(status, shipment, models),
        shipment=shipment,
        models=tuple(models),
        vector_count=len(vectors.inputs),
        not_verified=what_was_not_verified(shipment, models, not_verified),
        tool_version=build.tool_version,
        frontier=shown.frontier,
        class_names=tuple(class_names),
        examples=shown.examples,
    )
    write_atomic(staging / CARD_FILE, card_text(card or CardDetails(), report, preprocessing))
    others = listed_files(staging)
    write_atomic(staging / REPORT_FILE, report_markdown(report, others, preprocessing))
    write_atomic(staging / REPORT_HTML_FILE, report_html(report, others, preprocessing))
    write_atomic(staging / REPORT_JSON_FILE, encode_json(report))
    manifest = _manifest(report, vectors, listed_files(staging), build)
    write_atomic(staging / MANIFEST_FILE, encode_json(manifest))
    return manifest


def _manifest(report: Report, vectors: Vectors, files: tuple[ShippedFile, ...], build: Build) -> Manifest:
    inputs: Literal["real", "random"] = "real" if vectors.real else "random"
    return Manifest(
        schema=SCHEMA,
        status=report.status,
        reasons=report.reasons,
        shipment=report.shipment,
        models=report.models,
        test_vectors=TestVectors(file=VECTORS_FILE, count=len(vectors.inputs), inputs=inputs),
        files=files,
        build=build,
    )


def labels_text(class_names: Sequence[str]) -> str:
    """One class name a line, in the order of the logits; raises `FednasError` for a name with a line break."""
    for name in class_names:
        if not name or name.splitlines() != [name]:
            raise FednasError(f"class name {name!r} is empty or has a line break", hint="rename the class")
    return "".join(f"{name}\n" for name in class_names)


def _require_consistent(
    staging: Path, shipment: Shipment, models: Sequence[Model], vectors: Vectors, class_names: Sequence[str]
) -> None:
    if not models or any(not (staging / model.file).is_file() for model in models):
        raise ContractError("every model must be written before the rest of the folder")
    if vectors.real != (shipment.dataset is not None):
        raise ContractError("test vectors are real exactly when there is a data set")
    if vectors.logits.shape[1] != len(class_names):
        raise ContractError(f"{vectors.logits.shape[1]} logits for {len(class_names)} class names")
