"""The test vectors without numpy, and what an engine's logits are worth against them."""

import ast
import math
import struct
import sys
import zipfile
import zlib
from array import array
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from fednas.export.board.kit import KitModel
from fednas.export.board.problem import BoardProblem

UNREADABLE = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
    SyntaxError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""What reading an archive that is damaged, locked or of another kind can raise."""


class KitVectors(NamedTuple):
    """Inputs and the logits of the source network."""

    images: Tuple[Tuple[float, ...], ...]
    """Each flat, in the order channels, rows, columns."""
    logits: Tuple[Tuple[float, ...], ...]


class KitParity(NamedTuple):
    """How near an engine's logits are; None where one is not finite."""

    max_relative_error: Optional[float]
    top1_agreement: float
    per_vector: List[Optional[float]]
    """Largest absolute error of each."""
    passed: bool


def read_kit_vectors(path: Path) -> KitVectors:
    """From ``test_vectors.npz``; raises `BoardProblem` if it is damaged."""
    try:
        with zipfile.ZipFile(str(path)) as archive:
            images, logits = (_rows(archive.read(name + ".npy")) for name in ("inputs", "logits"))
    except UNREADABLE as err:
        raise BoardProblem("%s cannot be read: %s" % (path.name, err), "copy the folder again") from err
    return KitVectors(images, logits)


def require_vectors_for(models: Sequence[KitModel], vectors: KitVectors) -> None:
    """Raise `BoardProblem` unless the vectors are images of the models' shape, each with finite logits."""
    hint = "copy the folder again"
    if not vectors.images or len(vectors.images) != len(vectors.logits):
        message = "the test vectors hold %d images and %d rows of logits" % (len(vectors.images), len(vectors.logits))
        raise BoardProblem(message, hint)
    for model in models:
        wanted = model.image_shape[0] * model.image_shape[1] * model.image_shape[2]
        if any(len(image) != wanted for image in vectors.images):
            message = "the test vectors have %d values an image, %s takes %d" % (
                len(vectors.images[0]),
                model.file,
                wanted,
            )
            raise BoardProblem(message, hint)
    if not all(math.isfinite(value) for rows in vectors for row in rows for value in row):
        raise BoardProblem("the test vectors hold numbers that are not finite", hint)
    if not vectors.logits[0] or len({len(row) for row in vectors.logits}) != 1:
        raise BoardProblem("the test vectors hold rows of logits without a class", hint)


def packed(images: Sequence[Sequence[float]], kind: str) -> bytes:
    """Images one after the other as ``float32``, ``float16`` or ``uint8``, little-endian.

    Raises `BoardProblem` for values that this type cannot hold.
    """
    letter = {"float32": "f", "float16": "e", "uint8": "B"}[kind]
    # Pixels are whole numbers, and must be told so.
    rows = [[int(value) for value in image] for image in images] if kind == "uint8" else images
    try:
        return b"".join(struct.pack("<%d%s" % (len(row), letter), *row) for row in rows)
    except (struct.error, OverflowError) as err:
        raise BoardProblem("the test vectors do not fit %s: %s" % (kind, err), "copy the folder again") from err


def unpacked(content: bytes, kind: str, classes: int) -> List[Tuple[float, ...]]:
    """Logits from raw numbers."""
    letter, size = {"float32": ("f", 4), "float16": ("e", 2)}[kind]
    values = struct.unpack("<%d%s" % (len(content) // size, letter), content)
    return [values[start : start + classes] for start in range(0, len(values), classes)]


def kit_parity(
    source: Sequence[Sequence[float]],
    engine: Sequence[Sequence[float]],
    max_relative_error: float,
    min_top1_agreement: float,
) -> KitParity:
    """Compare logits, as `verify` does: error relative to the largest source logit, and the same top class.

    Below fp32 one vector of a few may fall on the other side of the border of two classes.
    """
    scale = max(abs(value) for row in source for value in row)
    errors = [_row_error(row, other) for row, other in zip(source, engine)]
    known = [error for error in errors if error is not None]
    agreement = sum(_top(row) == _top(other) for row, other in zip(source, engine)) / len(source)
    least = min(min_top1_agreement, 1 - 1.5 / len(source)) if min_top1_agreement < 0.999 else min_top1_agreement
    relative = max(known) / (scale or 1.0) if len(known) == len(errors) else None
    passed = relative is not None and relative <= max_relative_error and agreement >= least
    return KitParity(relative, agreement, errors, passed)


def _row_error(row: Sequence[float], other: Sequence[float]) -> Optional[float]:
    if len(row) != len(other):
        raise BoardProblem("the engine gave %d logits for an image, not %d" % (len(other), len(row)))
    error = max(abs(a - b) for a, b in zip(row, other))
    return error if math.isfinite(sum(other)) else None


def _top(row: Sequence[float]) -> int:
    return max(range(len(row)), key=lambda i: row[i])


def _rows(content: bytes) -> Tuple[Tuple[float, ...], ...]:
    header, start = _npy_header(content)
    letter = {"<f4": "f", "|u1": "B"}.get(header["descr"])
    if letter is None or header["fortran_order"] or sys.byteorder != "little":
        raise ValueError("an array is neither little-endian float32 nor uint8 in rows")
    values: "array[Any]" = array(letter)
    values.frombytes(content[start:])
    count = int(header["shape"][0])
    if count < 1 or len(values) % count:
        raise ValueError("an array of %d numbers cannot have %d rows" % (len(values), count))
    size = len(values) // count
    return tuple(tuple(values[i * size : (i + 1) * size]) for i in range(count))


def _npy_header(content: bytes) -> Tuple[Any, int]:
    # The format of numpy.lib.format: magic, version, length of the header, a Python dictionary.
    if content[:6] != b"\x93NUMPY":
        raise ValueError("an array is not in numpy's format")
    wide = content[6] >= 2
    start = 12 if wide else 10
    length = struct.unpack("<I" if wide else "<H", content[8:start])[0]
    return ast.literal_eval(content[start : start + length].decode("latin-1")), start + length
