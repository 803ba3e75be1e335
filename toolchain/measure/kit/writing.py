"""Writing a kit: every model of a job, the job itself, and the one script that measures it on the board."""

import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from fednas.common import ExitCode, FednasError, Progress, file_errors, format_bytes, make_folder, read_bytes, silent
from fednas.toolchain.measure.candidate_file import TENSORRT_RUNTIMES, candidate_onnx
from fednas.toolchain.measure.graphs import input_shape
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.kit.document import SCHEMA, KitDocument, KitModel, check_document, digest_of, model_name
from fednas.toolchain.measure.kit.readme import readme_text
from fednas.toolchain.measure.kit.script import measuring_script
from fednas.toolchain.measure.plan import Specs
from fednas.toolchain.measure.rounds import GROUP_WEIGHTS, LEAST_ROUNDS
from fednas.toolchain.measure.runtimes import find_runtime

JOB_FILE, SCRIPT_FILE, README_FILE, MODELS_FOLDER = "job.json", "measure.py", "README.md", "models"
RUNTIMES = ("onnxruntime", "tensorrt", "trtexec")
PARTIAL_FILE, RESULTS_FILE = "readings.partial", "results.json"
LARGEST_KIT = 2 * 2**30
"""Bytes of models beyond which a kit is no longer carried about gladly."""
LARGEST_JOB = 256 * 2**20


@dataclass(frozen=True, slots=True)
class KitInfo:
    """What was written."""

    folder: Path
    kit: str
    """Its digest."""
    models: int
    size_bytes: int
    """Of all files."""


def write_kit(job: MeasuringJob, folder: Path, *, progress: Progress = silent) -> KitInfo:
    """Write the kit of ``job`` as ``folder``, which appears complete or not at all.

    A kit that stands there and holds no readings is replaced. Raises `FednasError` for any other folder that is not
    empty, for one that cannot be written, and for a job whose models would not be carried about gladly.
    """
    models = _distinct(job)
    _require_portable(job, models)
    _require_replaceable(folder)
    make_folder(folder.parent, "folder of the kit")
    with _staged(folder) as staging:
        (staging / MODELS_FOLDER).mkdir()
        entries = []
        for place, specs in enumerate(models):
            entries.append(_write_model(staging / model_name(place), specs, job))
            progress(place + 1, len(models), f"model {place + 1} of {len(models)}")
        script = measuring_script()
        document = _document(job, models, entries, hashlib.sha256(script.encode()).hexdigest())
        (staging / SCRIPT_FILE).write_text(script, encoding="utf-8")
        (staging / JOB_FILE).write_bytes(msgspec.json.encode(document) + b"\n")
        (staging / README_FILE).write_text(readme_text(document), encoding="utf-8")
        size = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    return KitInfo(folder, document.kit, len(models), size)


def read_kit(folder: Path) -> KitDocument:
    """The checked ``job.json`` of a kit; raises `FednasError` for anything that is none."""
    path = folder / JOB_FILE
    if not folder.is_dir() or not path.is_file():
        raise FednasError(
            f"{folder} is no kit: it holds no {JOB_FILE}", hint="name the folder that --over kit:DIR wrote"
        )
    if path.stat().st_size > LARGEST_JOB:
        raise FednasError(f"{path} is larger than {format_bytes(LARGEST_JOB)}; it is not one of ours")
    return document_from_json(read_bytes(path, "kit"), f"kit {path}")


def document_from_json(content: bytes, what: str) -> KitDocument:
    """As `read_kit`, from memory; ``what`` names the source in errors."""
    from fednas.toolchain.measure.kit.decoding import decode_hostile

    document, raw = decode_hostile(content, KitDocument, what, SCHEMA, digest="kit")
    check_document(document, raw, what)
    return document


def _distinct(job: MeasuringJob) -> tuple[Specs, ...]:
    """Every model once, the reference first, in the order of the candidates."""
    return tuple(dict.fromkeys(job.plan.candidates))


def _require_portable(job: MeasuringJob, models: tuple[Specs, ...]) -> None:
    if job.runtime not in RUNTIMES:
        raise FednasError(
            f"a kit measures with {', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}, not {job.runtime}",
            hint="give one of them as --runtime",
        )
    find_runtime(job.runtime).require_precision(job.precision)
    size = bytes_per_weight(job) * sum(spec.weights for specs in models for spec in specs)
    if size > LARGEST_KIT:
        hint = "--plan sparse measures a few of them" if job.plan.name == "exhaustive" else "give a smaller space"
        raise FednasError(
            f"the {len(models)} models of plan {job.plan.name} take {format_bytes(size)}; "
            f"a kit may have {format_bytes(LARGEST_KIT)}",
            hint=hint,
            exit_code=ExitCode.USER_ERROR,
        )


def bytes_per_weight(job: MeasuringJob) -> int:
    """Of the model files: TensorRT takes int8 weights as floats that its builder quantises."""
    if job.precision == "fp16":
        return 2
    return 1 if job.precision == "int8" and job.runtime not in TENSORRT_RUNTIMES else 4


def _require_replaceable(folder: Path) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise FednasError(f"kit {folder} is a file or a link, not a folder", hint="choose another folder")
    names = {path.name for path in folder.iterdir()}
    foreign = names - {JOB_FILE, SCRIPT_FILE, README_FILE, MODELS_FOLDER, "engines"}
    if names and JOB_FILE not in names:
        raise FednasError(f"folder {folder} is not empty and is no kit", hint="choose another folder")
    if readings := foreign & {PARTIAL_FILE, RESULTS_FILE}:
        message = f"kit {folder} holds readings ({', '.join(sorted(readings))}), which would be lost"
        raise FednasError(message, hint="take them away first, or choose another folder")
    if foreign:
        message = f"kit {folder} holds what is no part of a kit: {', '.join(sorted(foreign)[:3])}"
        raise FednasError(message, hint="choose another folder")


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its place when the block ends without an exception."""
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        with file_errors(folder, "kit"):
            staging.mkdir()
            yield staging
            _put_in_place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, folder: Path) -> None:
    if not folder.exists():
        staging.rename(folder)
        return
    # A folder cannot be renamed over a full one: the old one steps aside, and comes back if the new one fails.
    aside = staging.with_name(staging.name + ".old")
    folder.rename(aside)
    try:
        staging.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _write_model(path: Path, specs: Specs, job: MeasuringJob) -> KitModel:
    content = candidate_onnx(specs, job)
    path.write_bytes(content)
    return KitModel(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        shape=input_shape(specs, job.batch),
        weights=sum(spec.weights for spec in specs),
        macs=sum(spec.macs for spec in specs),
    )


def _document(job: MeasuringJob, models: tuple[Specs, ...], entries: list[KitModel], script_sha256: str) -> KitDocument:
    places = {specs: place for place, specs in enumerate(models)}
    document = KitDocument(
        schema=SCHEMA,
        kit="0" * 64,
        tool_version=version("fednas-export"),
        device=job.device,
        runtime=job.runtime,
        precision=job.precision,
        threads=job.threads,
        batch=job.batch,
        seconds=job.seconds,
        seed=job.seed,
        least_rounds=LEAST_ROUNDS,
        group_weights=GROUP_WEIGHTS,
        plan=job.plan,
        space=job.space,
        candidates=tuple(places[specs] for specs in job.plan.candidates),
        models=tuple(entries),
        script_sha256=script_sha256,
    )
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return msgspec.structs.replace(document, kit=digest_of(plain, without="kit"))
