"""Folding what a board found into the folder that was carried there."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fednas.common import (
    FednasError,
    encode_json,
    format_latency_ms,
    load_json,
    read_bytes,
    read_text,
    sha256_of,
    write_atomic,
)
from fednas.export.board.kit import kit_identity
from fednas.export.board_record import BoardRecord, KitModelFacts, board_record
from fednas.export.board_result import RESULT_FILE, read_board_result
from fednas.export.engine_record import EngineLatency
from fednas.export.evidence import tolerance_for
from fednas.export.folder import read_manifest, shipped_path
from fednas.export.manifest import (
    MANIFEST_FILE,
    Budget,
    Manifest,
    Shipment,
    ShippedFile,
    status_of,
    verdict_of,
)
from fednas.export.model_card import CARD_FILE, renewed_card
from fednas.export.preprocessing import ModelInput
from fednas.export.report import (
    ENGINE_GAP,
    REPORT_FILE,
    REPORT_HTML_FILE,
    REPORT_JSON_FILE,
    Report,
    headline,
    report_html,
    report_markdown,
    unmeasured_gap,
)
from fednas.export.test_vectors import read_vectors
from fednas.profiles import load_profiles

ACCURACY_GAP = "Accuracy of the engines: on the board only the logits of the test vectors were checked."
BOARD_GAP = "On the board:"
"""How the gaps begin that a result leaves open; the next result closes or renews them."""
PREPROCESSING_FILE = "preprocessing.json"
REPORTS = (REPORT_FILE, REPORT_HTML_FILE, REPORT_JSON_FILE)


def import_board_result(folder: Path, result_file: Path) -> Manifest:
    """Check ``result_file`` and write it, the reports, the model card and the manifest of the shipped ``folder`` anew.

    The folder is judged again: an engine that disagrees on the board rejects it, and a latency budget is judged on
    what was measured there. Running it again, also after an interruption, gives the same folder.

    Raises:
        FednasError: the folder is damaged, the result is not of this kit or this GPU, or is no result of ours.
    """
    manifest = read_manifest(folder)
    if manifest.shipment.device.runtime != "tensorrt":
        raise FednasError(
            f"{folder} is for {manifest.shipment.device.title}, which runs no TensorRT, so no kit was carried from it",
            hint="name the folder that was carried to the board",
        )
    _require_whole(folder, manifest)
    record = board_record_of(folder, manifest, result_file)
    _require_its_gpu(manifest, record)
    report = _report_anew(folder, manifest, record)
    # Read before anything is written: what cannot be read leaves the folder as it was.
    preprocessing = load_json(folder / PREPROCESSING_FILE, ModelInput, "preprocessing")
    card = _card_anew(folder, manifest, report)
    if result_file.resolve() != (folder / RESULT_FILE).resolve():
        write_atomic(folder / RESULT_FILE, read_bytes(result_file, "board result"))
    return _write_anew(folder, manifest, report, preprocessing, card)


def _require_its_gpu(manifest: Manifest, record: BoardRecord) -> None:
    device, found = manifest.shipment.device, record.machine.compute_capability
    # A folder for a user's own profile may come home to a machine without that profile.
    profile = load_profiles().get(device.name)
    wanted = profile.tensorrt.compute_capability if profile and profile.tensorrt else None
    if found and wanted and found != wanted:
        raise FednasError(
            f"the board result was made on a GPU of compute capability {found}, {device.title} has {wanted}",
            hint="make the result on the device",
        )


def folder_of_board_result(folders: Sequence[Path], result_file: Path) -> Path:
    """The one of several shipped folders whose kit ``result_file`` is of; raises `FednasError` if there is none."""
    if len(folders) == 1:
        return folders[0]
    wanted = read_board_result(result_file).kit_sha256
    for folder in folders:
        if _kit_identity(read_manifest(folder)) == wanted:
            return folder
    raise FednasError(
        f"board result {result_file} belongs to none of the {len(folders)} shipped folders",
        hint="name the folder that was carried to the board",
    )


def _kit_identity(manifest: Manifest) -> str:
    used = {*(model.file for model in manifest.models), manifest.test_vectors.file}
    hashes = {file.name: file.sha256 for file in manifest.files if file.name in used}
    return kit_identity(manifest.shipment.device.name, hashes)


def board_record_of(folder: Path, manifest: Manifest, result_file: Path) -> BoardRecord:
    """What ``result_file`` says about the models of ``folder``; raises `FednasError` as `import_board_result` does."""
    hashes = {file.name: file.sha256 for file in manifest.files}
    return board_record(
        read_board_result(result_file),
        device=manifest.shipment.device.name,
        identity=_kit_identity(manifest),
        models={
            model.file: KitModelFacts(
                hashes[model.file], model.opset, tolerance_for(model.precision), model.kept_products
            )
            for model in manifest.models
        },
        vectors=read_vectors(folder / manifest.test_vectors.file),
    )


def _require_whole(folder: Path, manifest: Manifest) -> None:
    # Reports are written anew; all else must be what was shipped, or the verdict would be about something else.
    for file in manifest.files:
        # The board's script builds engines anew, also where one was built in place.
        if file.name in (REPORT_FILE, REPORT_HTML_FILE, RESULT_FILE) or file.name.endswith(".plan"):
            continue
        if sha256_of(shipped_path(folder, file.name)) != file.sha256 and not _half_imported(folder, manifest, file):
            raise FednasError(f"{folder}: {file.name} changed since it was shipped", hint="copy the folder again")


def _half_imported(folder: Path, manifest: Manifest, file: ShippedFile) -> bool:
    """Whether an interrupted import may have written it: the report knows of a board that the manifest does not."""
    if file.name not in (REPORT_JSON_FILE, CARD_FILE):
        return False
    return load_json(folder / REPORT_JSON_FILE, Report, "report").board != manifest.board


def _report_anew(folder: Path, manifest: Manifest, record: BoardRecord) -> Report:
    shipment = msgspec.structs.replace(manifest.shipment, budgets=_budgets(manifest, record))
    status, reasons = status_of(manifest.models, shipment.dataset, record)
    old = load_json(folder / REPORT_JSON_FILE, Report, "report")
    numbers = [max(pair.source, pair.artefact) for m in manifest.models for pair in m.evidence.disagreements]
    if max(numbers, default=-1) >= len(old.class_names):
        raise FednasError(f"{folder}: {MANIFEST_FILE} speaks of class {max(numbers)}, which {REPORT_JSON_FILE} lacks")
    return msgspec.structs.replace(
        old,
        status=status,
        reasons=reasons,
        headline=headline(status, shipment, manifest.models) + _measured(shipment, record),
        shipment=shipment,
        not_verified=_gaps_left(old.not_verified, manifest, record),
        board=record,
    )


def _card_anew(folder: Path, manifest: Manifest, report: Report) -> str | None:
    if CARD_FILE not in {file.name for file in manifest.files}:
        return None
    return renewed_card(read_text(folder / CARD_FILE, "model card"), report)


def _write_anew(
    folder: Path, manifest: Manifest, report: Report, preprocessing: ModelInput, card: str | None
) -> Manifest:
    # The report for programs comes first and the manifest last: together they tell of an interruption.
    write_atomic(folder / REPORT_JSON_FILE, encode_json(report))
    if card is not None:
        write_atomic(folder / CARD_FILE, card)
    names = sorted({file.name for file in manifest.files} | {RESULT_FILE})
    others = [_listed(folder, name) for name in names if name not in REPORTS]
    write_atomic(folder / REPORT_FILE, report_markdown(report, others, preprocessing))
    write_atomic(folder / REPORT_HTML_FILE, report_html(report, others, preprocessing))
    result = msgspec.structs.replace(
        manifest,
        status=report.status,
        reasons=report.reasons,
        shipment=report.shipment,
        files=tuple(_listed(folder, name) for name in names),
        board=report.board,
    )
    write_atomic(folder / MANIFEST_FILE, encode_json(result))
    return result


def _gaps_left(gaps: tuple[str, ...], manifest: Manifest, record: BoardRecord) -> tuple[str, ...]:
    """Without the gaps that the result closes, but with those that it leaves open."""
    closed = (ACCURACY_GAP, *unmeasured_gap(manifest.shipment, manifest.models))
    others = [gap for gap in gaps if not gap.startswith((ENGINE_GAP, BOARD_GAP)) and gap not in closed]
    built = {engine.model for engine in record.engines}
    missing = [model.file for model in manifest.models if model.file not in built]
    silent = [engine.model for engine in record.engines if not engine.layers.known]
    judged = [engine for engine in record.engines if engine.precision == manifest.shipment.precision]
    found = [*unmeasured_gap(manifest.shipment, manifest.models, record)]
    found += [f"{BOARD_GAP} no engine of {', '.join(missing)} was run there."] if missing else []
    if silent:
        found.append(f"{BOARD_GAP} TensorRT does not say in which precision the layers of {', '.join(silent)} run.")
    timed = judged[0].latency if judged else None
    if timed is not None and _latency_of_one(manifest.shipment, record) is None:
        found.append(f"{BOARD_GAP} {judged[0].model} was timed with batches of {timed.batch}, not of one.")
    return (*others, *found, ACCURACY_GAP)


def _listed(folder: Path, name: str) -> ShippedFile:
    path = folder / name
    return ShippedFile(name=name, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def _budgets(manifest: Manifest, record: BoardRecord) -> tuple[Budget, ...]:
    """The budgets with latency judged on what the board measured for one image."""
    shipment, before = manifest.shipment, manifest.board
    read = _latency_of_one(shipment, record)
    if read is None and (before is None or _latency_of_one(shipment, before) is None):
        return shipment.budgets
    return tuple(_judged(budget, read) if budget.quantity == "latency" else budget for budget in shipment.budgets)


def _judged(budget: Budget, read: EngineLatency | None) -> Budget:
    # What an earlier result said of latency does not outlive that result.
    if read is None:
        return msgspec.structs.replace(budget, value=None, low=None, high=None, verdict="cannot tell")
    return msgspec.structs.replace(
        budget,
        value=read.median_ms,
        low=read.low_ms,
        high=read.high_ms,
        basis="measured",
        verdict=verdict_of(read.low_ms, read.high_ms, budget.limit),
    )


def _measured(shipment: Shipment, record: BoardRecord) -> str:
    """The end of the headline."""
    read = _latency_of_one(shipment, record)
    return "" if read is None else f", {format_latency_ms(read.median_ms)} measured on the board"


def _latency_of_one(shipment: Shipment, record: BoardRecord) -> EngineLatency | None:
    """Of the judged precision's engine, if it was timed with one image."""
    judged = (e.latency for e in record.engines if e.precision == shipment.precision)
    return next((latency for latency in judged if latency is not None and latency.batch == 1), None)
