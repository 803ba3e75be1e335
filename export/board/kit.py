"""The shipped folder as its own script sees it: which models, from the manifest, checked by their hashes."""

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

from fednas.export.board.problem import BoardProblem

KIT_MANIFEST = "manifest.json"
KIT_SCHEMA = 1
PRODUCTS = ("Conv", "Gemm", "MatMul")


class KitModel(NamedTuple):
    """One model of the folder."""

    file: str
    sha256: str
    precision: str
    opset: int
    input_name: str
    input_type: str
    """``float32``, ``float16`` or ``uint8``."""
    image_shape: Tuple[int, int, int]
    """(channels, height, width)."""
    max_relative_error: float
    """Of logits, as a share of the largest."""
    min_top1_agreement: float
    kept: Tuple[str, ...]
    """Names of convolutions and matrix products that the file keeps in fp32."""


class Kit(NamedTuple):
    """The folder."""

    folder: Path
    device: str
    sha256: str
    """Identity of the kit: see `kit_identity`."""
    models: Tuple[KitModel, ...]
    vectors: str


def kit_identity(device: str, files: Dict[str, str]) -> str:
    """Hash of the device and of the hashes of ``files`` (models and test vectors) by name.

    What was learnt from other models, other inputs or for another device cannot carry the same identity.
    """
    lines = [device] + ["%s  %s" % (files[name], name) for name in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def read_kit(folder: Path) -> Kit:
    """The kit in ``folder``; raises `BoardProblem` if a file is missing or is not the one that was shipped."""
    manifest = _kit_manifest(folder)
    try:
        hashes = {entry["name"]: entry["sha256"] for entry in manifest["files"]}
        device, vectors = manifest["shipment"]["device"]["name"], manifest["test_vectors"]["file"]
        preprocessing = json.loads((folder / "preprocessing.json").read_text("utf-8"))
        shape = tuple(int(preprocessing[side]) for side in ("channels", "height", "width"))
        models = tuple(_kit_model(entry, hashes, shape) for entry in manifest["models"])
        used = {name: hashes[name] for name in [model.file for model in models] + [vectors]}
    except (LookupError, AttributeError, TypeError, ValueError, OSError) as err:
        raise BoardProblem("%s or preprocessing.json lacks %s" % (KIT_MANIFEST, err), "copy the folder again") from err
    if not models:
        raise BoardProblem("%s names no model" % KIT_MANIFEST, "copy the folder again")
    for name, wanted in sorted(used.items()):
        _require_unchanged(folder, name, wanted)
    return Kit(folder, device, kit_identity(device, used), models, vectors)


def file_sha256(path: Path) -> str:
    """Hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def chosen_models(kit: Kit, precisions: List[str]) -> List[KitModel]:
    """Those of the precisions asked for, or all; raises `BoardProblem` for one that the folder has not got."""
    held = [model.precision for model in kit.models]
    for precision in precisions:
        if precision not in held:
            raise BoardProblem("--precision names '%s'; this folder holds: %s" % (precision, " ".join(held)))
    return [model for model in kit.models if not precisions or model.precision in precisions]


def _kit_manifest(folder: Path) -> Dict[str, Any]:
    path = folder / KIT_MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise BoardProblem("%s cannot be read: %s" % (path, err), "copy the whole folder") from err
    if not isinstance(manifest, dict) or manifest.get("schema") != KIT_SCHEMA:
        raise BoardProblem("%s is not of schema %d, which this script reads" % (path, KIT_SCHEMA))
    return manifest


def _kit_model(entry: Any, hashes: Dict[str, str], shape: Any) -> KitModel:
    tolerance = entry["evidence"]["parity"]["tolerance"]
    return KitModel(
        file=str(entry["file"]),
        sha256=hashes[entry["file"]],
        precision=str(entry["precision"]),
        opset=int(entry["opset"]),
        input_name=str(entry["input_name"]),
        input_type=str(entry["input_type"]),
        image_shape=shape,
        max_relative_error=float(tolerance["max_relative_error"]),
        min_top1_agreement=float(tolerance["min_top1_agreement"]),
        kept=_kept(entry),
    )


def _kept(entry: Any) -> Tuple[str, ...]:
    overflowing = [layer["name"] for layer in entry.get("kept_fp32", ()) if layer["operator"] in PRODUCTS]
    sensitive = (entry.get("mixed") or {}).get("kept", ())
    return tuple(sorted(str(name) for name in {*overflowing, *sensitive}))


def _require_unchanged(folder: Path, name: str, wanted: str) -> None:
    path = folder / name
    if path.parent != folder or not path.is_file():
        raise BoardProblem("%s is not beside this script" % name, "copy the whole folder")
    found = file_sha256(path)
    if found != wanted:
        raise BoardProblem(
            "%s is not the file that was shipped (SHA-256 %s, expected %s)" % (name, found, wanted),
            "copy the folder again",
        )
