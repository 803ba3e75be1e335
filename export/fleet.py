"""Several device folders side by side: written all or none, with an index of what each of them holds."""

import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fednas.common import (
    FednasError,
    encode_json,
    file_errors,
    format_bytes,
    format_latency_ms,
    load_json,
    read_bytes,
    write_atomic,
)
from fednas.export.engine_record import EngineLatency
from fednas.export.evidence import Accuracy
from fednas.export.folder import Move, put_in_place, read_manifest, require_replaceable, staging_of
from fednas.export.latency_record import MeasuredLatency, PredictedLatency
from fednas.export.manifest import MANIFEST_FILE, Status, judged_model
from fednas.export.outcome import Outcome, Tone
from fednas.export.records import Record
from fednas.export.report_blocks import Paragraph, Section, Table, markdown_of
from fednas.export.report_page import html_of
from fednas.profiles import installed_version

INDEX_FILE, INDEX_MARKDOWN_FILE, INDEX_HTML_FILE = "index.json", "index.md", "index.html"
INDEX_FILES = (INDEX_FILE, INDEX_MARKDOWN_FILE, INDEX_HTML_FILE)
SCHEMA = 1
REJECTED = ".rejected"
"""Ends the name of a folder that failed its verification where a better one stands."""


class IndexEntry(Record, frozen=True, kw_only=True):
    """One device folder."""

    folder: str
    device: str
    title: str
    status: Status
    reasons: tuple[str, ...]
    file: str
    """The model that latency and budgets speak of."""
    precision: str
    size_bytes: int
    sha256: str
    accuracy: Accuracy | None
    predicted: PredictedLatency | None
    predicted_kind: str
    """``measured`` table, ``estimate`` or ``none``."""
    measured: MeasuredLatency | None
    engine: EngineLatency | None = None
    """Of that model's TensorRT engine for one image, on the board or built in place."""
    budgets: tuple[str, ...]
    """Such as ``latency met``, or ``accuracy limit missed``."""


class FleetIndex(Record, frozen=True, kw_only=True):
    """``index.json``: the device folders beside it, by name."""

    schema: int
    devices: tuple[IndexEntry, ...]
    tool_version: str


def index_entry(name: str, folder: Path) -> IndexEntry:
    """What the index says of a shipped ``folder`` called ``name``."""
    manifest = read_manifest(folder)
    shipment = manifest.shipment
    model = judged_model(shipment, manifest.models)
    file = next(each for each in manifest.files if each.name == model.file)
    return IndexEntry(
        folder=name,
        device=shipment.device.name,
        title=shipment.device.title,
        status=manifest.status,
        reasons=manifest.reasons,
        file=model.file,
        precision=model.precision,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        accuracy=model.evidence.artefact_accuracy,
        predicted=shipment.latency.predicted,
        predicted_kind=shipment.latency.kind,
        measured=shipment.latency.measured,
        engine=manifest.engine_latency(model),
        budgets=tuple(
            f"{what.removesuffix(' budget')} {verdict}"
            for what, verdict in Outcome.of(manifest.status, shipment, manifest.models).verdicts
        ),
    )


def place_of(target: Path, staging: Path) -> Path:
    """Where a filled folder belongs: ``target``, or apart from it if it was rejected and what stands there was not.

    So a failed export never replaces one that passed; it lies beside it, as ``NAME.rejected``.
    """
    if read_manifest(staging).status != "rejected" or not (target / MANIFEST_FILE).is_file():
        return target
    return target if read_manifest(target).status == "rejected" else target.with_name(target.name + REJECTED)


@contextmanager
def staged_fleet(out: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    """A new folder for each name, to be filled; all take their places in ``out`` when the block ends, or none does.

    Several folders, or one beside others, get an index; a rejected one takes the place that `place_of` says, and one
    that is not removes ``NAME.rejected`` too. Whatever fails, also in the middle of putting the folders in place,
    brings back what was there before. Raises `FednasError` as `staged_folder` does, and if an index file is there that
    is none of ours.
    """
    with ExitStack() as stack:
        folders = {name: stack.enter_context(staging_of(out / name)) for name in names}
        for name in names:
            require_replaceable(out / (name + REJECTED))
        _require_our_index(out)
        yield folders
        moves = [Move(staging, place_of(out / name, staging)) for name, staging in folders.items()]
        retired = _rejected_twins(out, folders)
        entries = _entries(out, {move.target.name: move.staging for move in moves}, retired)
        if len(entries) > 1 or (out / INDEX_FILE).exists():
            scratch = out / f".index.{secrets.token_hex(4)}.tmp"
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            moves += _index_moves(out, scratch, entries)
        put_in_place(moves, retired)


def check_index(folder: Path) -> str | None:
    """Why the index in ``folder`` does not fit the folders beside it; None if it does or there is none."""
    path = folder / INDEX_FILE
    if not path.is_file():
        return None
    index = load_json(path, FleetIndex, "index")
    return _changed_entry(folder, index) or _changed_page(folder, index)


def _changed_entry(folder: Path, index: FleetIndex) -> str | None:
    """What the index says of a folder that the folder itself does not."""
    for entry in index.devices:
        if "/" in entry.folder or entry.folder.startswith(".") or not (folder / entry.folder).is_dir():
            return f"{INDEX_FILE} names the folder {entry.folder!r}, which is not there"
        found = index_entry(entry.folder, folder / entry.folder)
        # A board's result that was imported since changes verdicts and latencies, never the model.
        same = (found.device, found.file, found.sha256) == (entry.device, entry.file, entry.sha256)
        imported = read_manifest(folder / entry.folder).board is not None
        if not same or (found != entry and not imported):
            return f"{INDEX_FILE} says something else about {entry.folder} than its manifest; export again"
    return None


def _changed_page(folder: Path, index: FleetIndex) -> str | None:
    """The page that does not follow from the index; another version of this tool may have worded it otherwise."""
    if index.tool_version != installed_version("fednas-export"):
        return None
    for name, text in _index_texts(index.devices).items():
        if name != INDEX_FILE and read_bytes(folder / name, "index") != text.encode():
            return f"{name} does not say what {INDEX_FILE} says; export again"
    return None


def require_renewable_index(folder: Path) -> None:
    """Raise `FednasError` if ``folder`` has an index that `refresh_index` should not write anew.

    That is one that cannot be read, or whose ``index.json`` says something else than the folders. Pages that were
    edited or lost are no obstacle: they follow from it.
    """
    path, hint = folder / INDEX_FILE, "to leave the index alone, name the device's own folder"
    if path.exists() and (why := _changed_entry(folder, load_json(path, FleetIndex, "index", hint=hint))):
        raise FednasError(f"index in {folder}: {why}", hint=hint)


def refresh_index(folder: Path) -> None:
    """Write the index in ``folder`` anew from the device folders in it; nothing where there is no ``index.json``."""
    if (folder / INDEX_FILE).exists():
        for name, text in _index_texts(_entries(folder, {})).items():
            write_atomic(folder / name, text)


def _require_our_index(out: Path) -> None:
    present = [name for name in INDEX_FILES if (out / name).exists()]
    if not present:
        return
    try:
        load_json(out / INDEX_FILE, FleetIndex, "index")
    except FednasError as err:
        raise FednasError(
            f"output folder {out} holds {present[0]}, which fednas-export did not write, and is never overwritten",
            hint="move it away or choose another --out",
        ) from err


def _rejected_twins(out: Path, folders: dict[str, Path]) -> list[Path]:
    """What failed exports left beside the places of those that did not fail now."""
    passed = [name for name, staging in folders.items() if read_manifest(staging).status != "rejected"]
    twins = [out / (name + REJECTED) for name in passed if name + REJECTED not in folders]
    return [twin for twin in twins if (twin / MANIFEST_FILE).is_file()]


def _entries(out: Path, folders: dict[str, Path], retired: Sequence[Path] = ()) -> list[IndexEntry]:
    """Of the new folders, and of shipped ones that were in ``out`` already and stay."""
    found = {name: index_entry(name, staging) for name, staging in folders.items()}
    for manifest in out.glob(f"[!.]*/{MANIFEST_FILE}"):
        name = manifest.parent.name
        if name not in found and manifest.parent not in retired:
            # A folder of a newer version, or a damaged one, is no reason to lose this job's work.
            with suppress(FednasError):
                found[name] = index_entry(name, manifest.parent)
    return [found[name] for name in sorted(found)]


def _index_moves(out: Path, scratch: Path, entries: Sequence[IndexEntry]) -> list[Move]:
    with file_errors(out, "output folder"):
        scratch.mkdir()
    for name, text in _index_texts(entries).items():
        write_atomic(scratch / name, text)
    return [Move(scratch / name, out / name) for name in INDEX_FILES]


def _index_texts(entries: Sequence[IndexEntry]) -> dict[str, str]:
    """The content of each of `INDEX_FILES`, by name."""
    version = installed_version("fednas-export") or "unknown"
    title, lead, sections = "Shipped devices", _lead(entries), (_section(entries),)
    last = f"Made by fednas-export {version}."
    return {
        INDEX_FILE: encode_json(FleetIndex(schema=SCHEMA, devices=tuple(entries), tool_version=version)),
        INDEX_MARKDOWN_FILE: markdown_of(title, lead, sections, last),
        INDEX_HTML_FILE: html_of(title, _tone(entries), lead, sections, last),
    }


def _lead(entries: Sequence[IndexEntry]) -> str:
    counts = Counter(entry.status for entry in entries)
    parts = [f"{counts[status]} {status}" for status in ("verified", "unverified", "rejected") if counts[status]]
    verdicts = Counter(verdict for entry in entries for verdict in _verdicts(entry))
    budgets = [f"{verdicts[verdict]} {verdict}" for verdict in ("met", "missed", "cannot tell") if verdicts[verdict]]
    limits = f"; budgets: {', '.join(budgets)}" if budgets else ""
    return f"{len(entries)} devices: {', '.join(parts)}{limits}"


def _verdicts(entry: IndexEntry) -> list[str]:
    known = ("met", "missed", "cannot tell")
    return [verdict for budget in entry.budgets for verdict in known if budget.endswith(f" {verdict}")]


def _tone(entries: Sequence[IndexEntry]) -> Tone:
    """The worst of all devices."""
    found = {entry.status for entry in entries} | {verdict for entry in entries for verdict in _verdicts(entry)}
    order: tuple[tuple[str, Tone], ...] = (
        ("rejected", "rejected"),
        ("missed", "missed"),
        ("unverified", "unverified"),
        ("cannot tell", "undecided"),
    )
    return next((tone for what, tone in order if what in found), "verified")


def _section(entries: Sequence[IndexEntry]) -> Section:
    rows = tuple(
        (
            "; ".join((entry.status, *entry.budgets)),
            f"[{entry.title}]({entry.folder}/report.html)",
            f"`{entry.folder}/{entry.file}`",
            format_bytes(entry.size_bytes),
            _predicted(entry),
            _measured(entry),
            "not checked" if entry.accuracy is None else str(entry.accuracy),
        )
        for entry in entries
    )
    heads = ("Verdict", "Device", "File", "Size", "Predicted latency", "Measured latency", "Top-1 accuracy")
    note = "Latencies are of one image. An estimate rests on datasheets and was never measured."
    return Section("Folders", (Table(heads, rows), Paragraph(note)))


def _predicted(entry: IndexEntry) -> str:
    if entry.predicted is None:
        return "unknown"
    text = _interval(entry.predicted, entry.predicted.latency_ms)
    return text if entry.predicted_kind == "measured" else f"estimate: {text}"


def _measured(entry: IndexEntry) -> str:
    read = entry.engine or entry.measured
    return "not measured" if read is None else _interval(read, read.median_ms)


def _interval(latency: PredictedLatency | MeasuredLatency | EngineLatency, value_ms: float) -> str:
    low, high = format_latency_ms(latency.low_ms), format_latency_ms(latency.high_ms)
    return f"{format_latency_ms(value_ms)} ({low} to {high})"
