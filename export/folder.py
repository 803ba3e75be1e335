"""The shipped folder on disk: staged beside its place, published in one step, read back with suspicion."""

import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fednas.common import ContractError, FednasError, decode_json, file_errors, make_folder, read_bytes, sha256_of
from fednas.export.manifest import MANIFEST_FILE, SCHEMA, Manifest, ShippedFile

COPY_AGAIN = "copy the folder again as it was shipped, or export it again"
"""About files that nobody should mend by hand."""
MAX_MANIFEST_BYTES = 16 * 2**20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_BOARD_OUTPUT = re.compile(
    r"(model\.\w+\.(plan|(build|bench|run)\.log|(times|layers|logits)\.json|images\.bin)|timing-[\w.-]+\.cache"
    r"|board_result\.json)(\.part)?|board_check\.traceback\.txt"
)
"""What the board's script writes there, and leaves if it is killed: made from our files, so replaced with them."""


class _SchemaOnly(msgspec.Struct):
    schema: int


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a shipped folder.

    Raises `FednasError` if it is not a folder of ours, has another schema, holds unknown keys, or names files
    that do not lie directly in the folder.
    """
    path = folder / MANIFEST_FILE
    if not folder.is_dir():
        raise FednasError(f"{folder} is not a folder", hint="name a folder that fednas-export wrote")
    if not path.is_file():
        raise FednasError(
            f"{folder} holds no {MANIFEST_FILE}, so it was not written by fednas-export",
            hint="name the folder of a device, or the folder that holds them",
        )
    shipped_path(folder, MANIFEST_FILE)
    what = f"manifest {path}"
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise FednasError(f"{what} is larger than {MAX_MANIFEST_BYTES} bytes; it is not one of ours")
    content = read_bytes(path, "manifest")
    found = decode_json(content, _SchemaOnly, what, hint=COPY_AGAIN).schema
    if found != SCHEMA:
        raise FednasError(
            f"{what} has schema {found}, this version reads {SCHEMA}", hint="use the version that wrote it"
        )
    manifest = decode_json(content, Manifest, what, hint=COPY_AGAIN)
    _check_names(manifest, what)
    return manifest


def _check_names(manifest: Manifest, what: str) -> None:
    listed = [file.name for file in manifest.files]
    for name in [
        *listed,
        *(model.file for model in manifest.models),
        *_converted(manifest),
        manifest.test_vectors.file,
    ]:
        if not _PLAIN_NAME.fullmatch(name) or name == MANIFEST_FILE:
            raise FednasError(f"{what} names the file {name!r}; only plain names inside the folder are allowed")
        if name not in listed:
            raise FednasError(f"{what} names {name!r}, but does not list it among its files", hint=COPY_AGAIN)
    if len(set(listed)) != len(listed):
        raise FednasError(f"{what} lists a file twice", hint=COPY_AGAIN)
    if not manifest.models:
        raise FednasError(f"{what} names no model", hint=COPY_AGAIN)


def _converted(manifest: Manifest) -> list[str]:
    return [name for model in manifest.models for converted in model.converted for name in converted.files]


def shipped_path(folder: Path, name: str) -> Path:
    """Path of a listed file, which must be a regular file in the folder and no link; raises `FednasError`."""
    path = folder / name
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError as err:
        hint = "copy the folder again, completely"
        raise FednasError(f"{folder} lacks {name}, which its manifest names", hint=hint) from err
    if not stat.S_ISREG(mode):
        hint = "copy the file itself into the folder"
        raise FednasError(f"{path} is a link or no regular file, so it is not trusted", hint=hint)
    return path


def foreign_files(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Names in the folder that neither we nor the board's build script wrote, sorted."""
    ours = {MANIFEST_FILE, *(file.name for file in manifest.files)}
    names = sorted(entry.name for entry in folder.iterdir())
    return tuple(name for name in names if name not in ours and not _BOARD_OUTPUT.fullmatch(name))


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its place when the block ends without an exception.

    Whatever interrupts the block (an error, Ctrl-C, a full disk) leaves ``target`` as it was and nothing else
    behind. An existing ``target`` is replaced only if it is empty or a shipped folder without foreign files.
    Raises `FednasError` before any work if that is not so, or if the parent is not writable.
    """
    with staging_of(target) as staging:
        yield staging
        put_in_place([Move(staging, target)])


@contextmanager
def staging_of(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, gone when the block ends; `put_in_place` moves it before. See `staged_folder`."""
    require_replaceable(target)
    with _parent_made(target.parent):
        # A plain mkdir, unlike tempfile's, gives the folder the rights that the user's umask asks for.
        staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            with file_errors(target, "output folder"):
                staging.mkdir()
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Move:
    """A folder or a file that is ready, and where it belongs."""

    staging: Path
    target: Path


def put_in_place(moves: Sequence[Move], retired: Sequence[Path] = ()) -> None:
    """Rename all to their targets, which may exist, and remove ``retired``; if one fails, all is again as it was.

    Only a crash of the machine in between can leave some new and some old ones; the old ones that were replaced then
    lie beside them as ``.NAME.*.old``. Raises `FednasError` if the disk refuses.
    """
    for move in moves:
        if move.staging.is_dir() and not (move.staging / MANIFEST_FILE).is_file():
            raise ContractError(f"{move.target} was staged without a manifest")
    begun: list[tuple[Move, Path | None]] = []
    gone: list[tuple[Path, Path]] = []
    try:
        for folder in retired:
            with file_errors(folder, "output folder"):
                if (aside := _stepped_aside(folder)) is not None:
                    gone.append((folder, aside))
        for move in moves:
            with file_errors(move.target, "output folder"):
                # A folder cannot be renamed over a full one: the old one steps aside.
                aside = _stepped_aside(move.target)
                begun.append((move, aside))
                move.staging.rename(move.target)
    except BaseException:
        _take_back(begun, gone)
        raise
    for _, aside in (*begun, *gone):
        if aside is not None and aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        elif aside is not None:
            aside.unlink(missing_ok=True)


def _take_back(begun: Sequence[tuple[Move, Path | None]], gone: Sequence[tuple[Path, Path]]) -> None:
    for move, aside in reversed(begun):
        if not move.staging.exists():
            move.target.rename(move.staging)
        if aside is not None:
            aside.rename(move.target)
    for folder, aside in gone:
        aside.rename(folder)


def _stepped_aside(target: Path) -> Path | None:
    if not target.exists():
        return None
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    target.rename(aside)
    return aside


def listed_files(folder: Path) -> tuple[ShippedFile, ...]:
    """Every file in the folder with hash and size, by name."""
    return tuple(
        ShippedFile(name=path.name, sha256=sha256_of(path), size_bytes=path.stat().st_size)
        for path in sorted(folder.iterdir())
    )


def require_replaceable(target: Path) -> None:
    """Raise `FednasError` if something stands at ``target`` that is no shipped folder of ours, or not only that."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise FednasError(f"output folder {target} is a file or a link", hint="choose another --out")
    if not target.exists():
        return
    with file_errors(target, "output folder"):
        empty = not any(target.iterdir())
    if empty:
        return
    refused = "and is never overwritten"
    try:
        foreign = foreign_files(target, read_manifest(target))
    except FednasError as err:
        hint = "choose another --out or empty it"
        raise FednasError(f"output folder {target} holds something else {refused}: {err.message}", hint=hint) from err
    if foreign:
        raise FednasError(
            f"output folder {target} holds {', '.join(foreign[:3])}, which fednas-export did not write, {refused}",
            hint="move it away or choose another --out",
        )


@contextmanager
def _parent_made(parent: Path) -> Iterator[None]:
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    make_folder(parent, "output folder")
    try:
        yield
    except BaseException:
        for folder in missing:
            # Somebody else may have put something there meanwhile.
            with suppress(OSError):
                folder.rmdir()
        raise
