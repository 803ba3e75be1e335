"""Check a shipped folder against its own manifest and test vectors; needs no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from fednas.common import FednasError, decode_json, load_json, read_bytes, read_text, sha256_of
from fednas.export.board_import import board_record_of
from fednas.export.board_result import RESULT_FILE
from fednas.export.census import census_of
from fednas.export.computed_layers import counts_text
from fednas.export.converted_model import ConvertedModel, run_again, why_not_run
from fednas.export.evidence import ArtefactEvidence, for_few, tolerance_for, verify_artefact
from fednas.export.folder import COPY_AGAIN, foreign_files, read_manifest, shipped_path
from fednas.export.manifest import MANIFEST_FILE, Manifest, Model, Status, status_of
from fednas.export.manifest_figures import contradictions
from fednas.export.onnx_file import ModelMetadata, OnnxFile, read_onnx_file
from fednas.export.outcome import Outcome
from fednas.export.preprocessing import ModelInput
from fednas.export.report import REPORT_JSON_FILE, Report
from fednas.export.runners import OrtRunner
from fednas.export.runtime_files import NETWORK_SUFFIXES
from fednas.export.shipping import LABELS_FILE, PREPROCESSING_FILE, labels_text
from fednas.export.test_vectors import RAW_INPUTS_FILE, RAW_LOGITS_FILE, Vectors, raw_vectors_differ, read_vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    detail: str
    """What was found; the reason if it did not pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """The outcome for one folder."""

    folder: Path
    device: str
    status: Status
    """What the folder was shipped as."""
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    """What the user should know although nothing failed."""
    outcome: Outcome
    """That status with the verdicts on budgets that the folder states."""
    without_engine: tuple[str, ...] = ()
    """Models of which the board made no engine, with the reason."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


def verify_folder(folder: Path) -> VerificationReport:
    """Re-check the shipped ``folder``.

    Stops early where going on would mean to run a file that is not the one shipped. Raises `FednasError` if it
    is no folder of ours, or lacks a file.
    """
    manifest = read_manifest(folder)
    for file in manifest.files:
        shipped_path(folder, file.name)
    checks: list[Check] = []
    for check in _checks(folder, manifest):
        checks.append(check)
        if check.name == "files" and not check.passed:
            break
    return VerificationReport(
        folder=folder,
        device=manifest.shipment.device.name,
        status=manifest.status,
        checks=tuple(checks),
        notes=_notes(folder, manifest),
        outcome=Outcome.of(manifest.status, manifest.shipment, manifest.models),
        without_engine=manifest.board.failed if manifest.board else (),
    )


def find_shipped_folders(folder: Path) -> tuple[Path, ...]:
    """``folder`` itself if it was shipped, else the shipped folders directly in it, by name.

    Raises `FednasError` if there is none.
    """
    if not folder.is_dir():
        raise FednasError(f"{folder} is not a folder", hint="name a folder that fednas-export wrote")
    if (folder / MANIFEST_FILE).exists():
        return (folder,)
    found = tuple(sorted(path.parent for path in folder.glob(f"[!.]*/{MANIFEST_FILE}")))
    if not found:
        raise FednasError(
            f"{folder} was not written by fednas-export: neither it nor a folder in it holds {MANIFEST_FILE}",
            hint="name the folder of a device, or the folder that holds them",
        )
    return found


def _checks(folder: Path, manifest: Manifest) -> Iterator[Check]:
    yield _files_check(folder, manifest)
    yield _status_check(manifest)
    yield _figures_check(manifest)
    if manifest.board is not None:
        yield _board_check(folder, manifest)
    preprocessing = _read_preprocessing(folder)
    labels = read_text(folder / LABELS_FILE, "labels")
    yield _documents_check(folder, manifest)
    for model in manifest.models:
        try:
            onnx_file = read_onnx_file(folder / model.file)
        except FednasError as err:
            yield Check(name=model.file, passed=False, detail=err.message)
            continue
        yield _described_check(model, onnx_file, manifest)
        if model.census is not None:
            yield _census_check(model, onnx_file, manifest.shipment.device.runtime)
        yield _agreement_check(model, onnx_file.metadata, manifest, preprocessing, labels)
        vectors = read_vectors(folder / manifest.test_vectors.file)
        yield _vectors_check(model, onnx_file, vectors, manifest)
        for converted in model.converted:
            if not why_not_run(converted.runtime):
                yield from _converted_checks(folder, model, converted, onnx_file.image_shape, vectors, manifest)


def _documents_check(folder: Path, manifest: Manifest) -> Check:
    """Whether report, manifest and test vectors say the same, and of every network that is shipped."""
    names = {file.name for file in manifest.files}
    wrong = []
    if REPORT_JSON_FILE in names:
        report = load_json(folder / REPORT_JSON_FILE, Report, "report", hint=COPY_AGAIN)
        said = (report.status, report.shipment, report.models, report.board)
        if said != (manifest.status, manifest.shipment, manifest.models, manifest.board):
            wrong.append(f"{REPORT_JSON_FILE} says something else than {MANIFEST_FILE}")
    if {RAW_INPUTS_FILE, RAW_LOGITS_FILE} <= names:
        differ = raw_vectors_differ(read_vectors(folder / manifest.test_vectors.file), folder)
        wrong += [f"{name} says something else than {manifest.test_vectors.file}" for name in differ]
    wrong += [f"{name} is shipped, but nothing says what proved it" for name in _unproven(manifest)]
    wrong += [
        f"{name} looks like a network of ours, but the manifest knows nothing of it"
        for name in foreign_files(folder, manifest)
        if _is_network(name)
    ]
    return Check(name="documents", passed=not wrong, detail="; ".join(wrong) or "report and test vectors agree")


def _unproven(manifest: Manifest) -> list[str]:
    """Networks among the files for which the manifest holds no evidence."""
    proven = {name for model in manifest.models for other in model.converted for name in other.files}
    proven |= {model.file for model in manifest.models}
    proven |= {str(Path(model.file).with_suffix(".plan")) for model in manifest.models if model.engine}
    kinds = (".onnx", ".plan", *NETWORK_SUFFIXES.values())
    return [file.name for file in manifest.files if file.name.endswith(kinds) and file.name not in proven]


def _is_network(name: str) -> bool:
    """Whether a program that looks for our files by name would load this one."""
    return any(fnmatchcase(name, f"model.*{kind}") for kind in (".onnx", ".bin", *NETWORK_SUFFIXES.values()))


def _board_check(folder: Path, manifest: Manifest) -> Check:
    """Whether the board's result still says what the manifest says about the board."""
    try:
        record = board_record_of(folder, manifest, shipped_path(folder, RESULT_FILE))
    except FednasError as err:
        return Check(name="board", passed=False, detail=err.message)
    if record != manifest.board:
        return Check(name="board", passed=False, detail=f"the manifest says something else than {RESULT_FILE}")
    found = [f"{engine.model} {'FAILED' if engine.reasons else 'agrees'}" for engine in record.engines]
    detail = f"TensorRT {record.tensorrt_version} on {record.machine.board or record.machine.system}"
    detail += ": " + "; ".join([*found, *(f"no engine of {why}" for why in record.failed), *record.reasons])
    return Check(name="board", passed=not record.reasons, detail=detail)


def _read_preprocessing(folder: Path) -> ModelInput:
    return decode_json(
        read_bytes(folder / PREPROCESSING_FILE, "preprocessing"), ModelInput, PREPROCESSING_FILE, hint=COPY_AGAIN
    )


def _files_check(folder: Path, manifest: Manifest) -> Check:
    listed = {file.name for file in manifest.files}
    changed = [
        file.name
        for file in manifest.files
        if (folder / file.name).stat().st_size != file.size_bytes or sha256_of(folder / file.name) != file.sha256
    ]
    unlisted = [name for name in (PREPROCESSING_FILE, LABELS_FILE) if name not in listed]
    if unlisted:
        return Check(name="files", passed=False, detail=f"the manifest does not list {', '.join(unlisted)}")
    if changed:
        return Check(name="files", passed=False, detail=f"changed since they were shipped: {', '.join(changed)}")
    return Check(name="files", passed=True, detail=f"{len(listed)} files, sizes and SHA-256 as shipped")


def _status_check(manifest: Manifest) -> Check:
    status, reasons = status_of(manifest.models, manifest.shipment.dataset, manifest.board)
    text = "; ".join(reasons)
    found = f"{status}: {text}" if text else status
    if (status, reasons) != (manifest.status, manifest.reasons):
        detail = f"the manifest says {manifest.status}, but its own evidence makes it {found}"
        return Check(name="status", passed=False, detail=detail)
    return Check(name="status", passed=status != "rejected", detail=f"shipped as {found}")


def _figures_check(manifest: Manifest) -> Check:
    """Whether accuracies and budgets follow from the counts, readings and limits beside them."""
    wrong = contradictions(manifest)
    detail = "; ".join(wrong) or "accuracies and budgets follow from the manifest's own figures"
    return Check(name="figures", passed=not wrong, detail=detail)


def _described_check(model: Model, onnx_file: OnnxFile, manifest: Manifest) -> Check:
    device = manifest.shipment.device
    claims: dict[str, tuple[object, object]] = {
        "opset": (onnx_file.opset, model.opset),
        "file version": (onnx_file.ir_version, model.ir_version),
        "input": (onnx_file.input_name, model.input_name),
        "output": (onnx_file.output_name, model.output_name),
        "input type": (onnx_file.input_type, model.input_type),
    }
    wrong = [f"{what} is {found}, not {claimed}" for what, (found, claimed) in claims.items() if found != claimed]
    if onnx_file.opset > device.onnx_opset:
        wrong.append(f"opset {onnx_file.opset} is above what {device.name} reads ({device.onnx_opset})")
    operators = sum(onnx_file.op_counts.values())
    good = f"passes onnx's full check; opset {onnx_file.opset}, {operators} operators, all weights inside"
    return Check(name=f"{model.file}: graph", passed=not wrong, detail="; ".join(wrong) or good)


def _census_check(model: Model, onnx_file: OnnxFile, runtime: str) -> Check:
    census = census_of(onnx_file.path, model.precision, model.kept_names, runtime)
    wrong = list(census.reasons[:3])
    if census != model.census:
        wrong.append(f"the manifest counts {model.census}, the file has {census}")
    detail = "; ".join(wrong) or f"layers by precision: {census}, as asked"
    return Check(name=f"{model.file}: precision", passed=not wrong, detail=detail)


def _agreement_check(
    model: Model, metadata: ModelMetadata | None, manifest: Manifest, preprocessing: ModelInput, labels: str
) -> Check:
    name = f"{model.file}: metadata"
    if metadata is None:
        return Check(name=name, passed=False, detail="the model file carries no metadata of ours")
    claims = {
        "preprocessing": metadata.preprocessing == preprocessing,
        "class names": labels_text(metadata.class_names) == labels,
        "architecture": metadata.architecture == manifest.shipment.architecture,
    }
    wrong = [what for what, same in claims.items() if not same]
    detail = f"the model file disagrees with the folder on: {', '.join(wrong)}" if wrong else "agrees with the folder"
    return Check(name=name, passed=not wrong, detail=detail)


def _vectors_check(model: Model, onnx_file: OnnxFile, vectors: Vectors, manifest: Manifest) -> Check:
    name = f"{model.file}: test vectors"
    expected = tolerance_for(model.precision)
    if model.evidence.parity.tolerance != expected:
        return Check(name=name, passed=False, detail="the manifest states another tolerance than this version's")
    if len(vectors.inputs) != manifest.test_vectors.count:
        detail = f"{len(vectors.inputs)} vectors, the manifest says {manifest.test_vectors.count}"
        return Check(name=name, passed=False, detail=detail)
    try:
        if vectors.logits.shape[1] != onnx_file.classes:
            detail = f"the vectors have {vectors.logits.shape[1]} logits, the model {onnx_file.classes}"
            return Check(name=name, passed=False, detail=detail)
        with OrtRunner(onnx_file.path) as runner:
            tolerance = for_few(expected, len(vectors.inputs))
            evidence = verify_artefact(runner, vectors.inputs, vectors.logits, tolerance=tolerance)
    except FednasError as err:
        return Check(name=name, passed=False, detail=err.message)
    return Check(name=name, passed=evidence.passed, detail=_vector_detail(evidence, manifest))


def _converted_checks(
    folder: Path,
    model: Model,
    converted: ConvertedModel,
    image_shape: tuple[int, int, int],
    vectors: Vectors,
    manifest: Manifest,
) -> Iterator[Check]:
    """Whether the files still give the right logits, and compute as the manifest says."""
    files = ", ".join(converted.files)
    tolerance = for_few(tolerance_for(model.precision), len(vectors.inputs))
    try:
        again = run_again(
            folder,
            converted,
            image_shape,
            lambda runner: verify_artefact(runner, vectors.inputs, vectors.logits, tolerance=tolerance),
        )
    except FednasError as err:
        yield Check(name=f"{files}: test vectors", passed=False, detail=err.message)
        return
    evidence = again.evidence
    yield Check(name=f"{files}: test vectors", passed=evidence.passed, detail=_vector_detail(evidence, manifest))
    yield _computed_check(f"{files}: precision", model, converted, again.computed)


def _computed_check(name: str, model: Model, converted: ConvertedModel, found: Mapping[str, int]) -> Check:
    again = msgspec.structs.replace(converted, computed=dict(found))
    wrong = [why for why in model.reasons_of(again) if why not in converted.evidence.reasons]
    if again != converted:
        said, here = (counts_text(counts) for counts in (converted.computed, found))
        wrong.append(f"the manifest counts layers that multiply as {said}; here there are {here}")
    detail = "; ".join(wrong) or f"layers that multiply: {counts_text(found)}, as the manifest says"
    return Check(name=name, passed=not wrong, detail=detail)


def _vector_detail(evidence: ArtefactEvidence, manifest: Manifest) -> str:
    parity = evidence.parity
    if not parity.passed:
        return "; ".join(parity.reasons)
    limit = parity.tolerance.max_relative_error
    return (
        f"{parity.images} {manifest.test_vectors.inputs} inputs, largest logit error {parity.max_relative_error:.2g} "
        f"of scale (allowed {limit:g}), same class on {parity.top1_agreement:.0%}; {evidence.runtime}"
    )


def _notes(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    foreign = [name for name in foreign_files(folder, manifest) if not _is_network(name)]
    notes = [f"{folder}: not shipped, so not checked: {', '.join(foreign)}"] if foreign else []
    if manifest.status == "unverified":
        notes.append(f"{folder}: accuracy was never checked for this folder")
    if manifest.shipment.device.runtime == "tensorrt" and manifest.board is None:
        notes.append(f"{folder}: an engine built on the board is not checked here, only the ONNX file it is built from")
    others = [(converted, why_not_run(converted.runtime)) for model in manifest.models for converted in model.converted]
    notes += [
        f"{folder}: {', '.join(other.files)}: not run and their precisions not counted again, because {why}"
        for other, why in others
        if why
    ]
    return tuple(notes)
