"""Inputs that travel with a model, and the logits that they must give."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.common import ContractError, FednasError, read_bytes, write_atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VECTORS_FILE = "test_vectors.npz"
RAW_INPUTS_FILE, RAW_LOGITS_FILE = "test_inputs.bin", "test_logits.bin"
MAX_BYTES = 256 * 2**20
"""A file that unpacks to more than this is refused; a few dozen inputs never do."""
NO_LABEL = -1
"""Stands where the input is random and has no class."""
# What zipfile and numpy raise for damaged, encrypted or unknown archives, and for arrays that cannot be.
_UNREADABLE = (
    EOFError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Vectors:
    """Some inputs with the source network's logits."""

    inputs: "NDArray[Any]"
    """(n, channels, height, width), float32 or uint8: as the model file reads them."""
    logits: "NDArray[np.float32]"
    """(n, classes), computed by the source network, not by the artefact."""
    labels: "NDArray[np.int64]"
    """(n,) true classes, or `NO_LABEL` everywhere for random inputs."""

    def __post_init__(self) -> None:
        if self.inputs.dtype.name not in ("float32", "uint8"):
            raise ContractError(f"test vectors of type {self.inputs.dtype}")
        if not len(self.inputs) == len(self.logits) == len(self.labels) or len(self.inputs) < 1:
            raise ContractError("test vectors need as many logits and labels as inputs, and at least one")

    @property
    def real(self) -> bool:
        """Whether the inputs are labelled images."""
        return bool((self.labels != NO_LABEL).all())


def random_inputs(input_shape: tuple[int, int, int], count: int, seed: int = 0) -> "NDArray[np.float32]":
    """Standard normal inputs (count, channels, height, width), for exports without data."""
    import numpy as np

    return np.random.default_rng(seed).standard_normal((count, *input_shape), dtype=np.float32)


def unlabelled(count: int) -> "NDArray[np.int64]":
    """Labels (count,) of random inputs: none."""
    import numpy as np

    return np.full(count, NO_LABEL, dtype=np.int64)


def write_vectors(vectors: Vectors, path: Path) -> None:
    """Write them as .npz; the same vectors give the same bytes."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        inputs=vectors.inputs,
        logits=vectors.logits.astype(np.float32),
        labels=vectors.labels.astype(np.int64),
    )
    write_atomic(path, buffer.getvalue())


def write_raw_vectors(vectors: Vectors, folder: Path) -> None:
    """Inputs and logits once more as plain numbers (little-endian, rows together), for programs without numpy."""
    for name, array in _raw(vectors).items():
        write_atomic(folder / name, array)


def raw_vectors_differ(vectors: Vectors, folder: Path) -> tuple[str, ...]:
    """Names of the plain files that do not say the same as ``vectors``."""
    return tuple(name for name, content in _raw(vectors).items() if read_bytes(folder / name, "inputs") != content)


def _raw(vectors: Vectors) -> dict[str, bytes]:
    inputs = vectors.inputs if vectors.inputs.dtype.itemsize == 1 else vectors.inputs.astype("<f4")
    return {RAW_INPUTS_FILE: inputs.tobytes(), RAW_LOGITS_FILE: vectors.logits.astype("<f4").tobytes()}


def read_vectors(path: Path) -> Vectors:
    """Read them, never unpickling; raises `FednasError` for anything but the three arrays of right types."""
    import numpy as np

    content = read_bytes(path, "test vectors")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_BYTES:
            raise FednasError(f"test vectors {path} unpack to {unpacked} bytes, more than {MAX_BYTES}")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in sorted(arrays.files)}
    except _UNREADABLE as err:
        raise FednasError(f"test vectors {path} cannot be read: {err}", hint="export the folder again") from err
    kinds = {name: (array.dtype.name, array.ndim) for name, array in found.items()}
    input_kind = ("uint8", 4) if kinds.get("inputs") == ("uint8", 4) else ("float32", 4)
    wanted = {"inputs": input_kind, "labels": ("int64", 1), "logits": ("float32", 2)}
    if kinds != wanted:
        raise FednasError(f"test vectors {path} hold {kinds}, not {wanted}", hint="export the folder again")
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) != 1 or not lengths["labels"]:
        told = ", ".join(f"{count} {name}" for name, count in lengths.items())
        raise FednasError(f"test vectors {path} hold {told}, not as many of each", hint="export the folder again")
    return Vectors(inputs=found["inputs"], logits=found["logits"], labels=found["labels"])
