"""What a supernet file says about itself; read without torch."""

import struct
from pathlib import Path
from typing import Any

import msgspec

from fednas.common import FednasError, decode_json, encode_json
from fednas.toolchain.data import Preprocessing
from fednas.toolchain.space import SearchSpace
from fednas.toolchain.supernet.record import TrainingRecord

SCHEMA = 1
FORMAT = "fednas-supernet"
_LONGEST_HEADER = 100_000_000
"""The limit of the safetensors format, in bytes."""


class SupernetHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata of a supernet file."""

    space: SearchSpace
    dataset: str
    """Name of the data set it was trained on."""
    class_names: tuple[str, ...]
    preprocessing: Preprocessing | None = None
    """None if unknown, as in published checkpoints: then that of the data set counts."""
    training: TrainingRecord | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise FednasError(
                f"the supernet has schema {self.schema}, this version reads schema {SCHEMA}",
                hint="use the fednas-export version that wrote it",
            )
        if len(self.class_names) != self.space.n_classes:
            raise FednasError(
                f"the supernet names {len(self.class_names)} classes, but its search space has {self.space.n_classes}"
            )

    def to_metadata(self) -> dict[str, str]:
        """As safetensors metadata."""
        return {"format": FORMAT, "header": encode_json(self)}


def header_from_metadata(metadata: dict[str, str], path: Path) -> SupernetHeader:
    """The header in safetensors metadata; raises `FednasError` for files of another kind."""
    if metadata.get("format") != FORMAT or "header" not in metadata:
        raise FednasError(
            f"{path} is a safetensors file, but not a supernet of this project",
            hint="make one with fednas-export train or fednas-export import",
        )
    return decode_json(metadata["header"], SupernetHeader, f"header of supernet {path}")


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors; raises `FednasError`.

    The file is eight bytes of length, that much JSON, and tensors; the JSON says where the last one ends.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            content = stream.read(length) if length <= min(size, _LONGEST_HEADER) else b""
        listing: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
        metadata = msgspec.convert(listing.pop("__metadata__", {}), dict[str, str])
        end = max((int(entry["data_offsets"][1]) for entry in listing.values()), default=0)
    except FileNotFoundError as err:
        raise FednasError(f"supernet {path} does not exist", hint="check the path") from err
    except (OSError, struct.error, msgspec.MsgspecError, LookupError, TypeError, ValueError) as err:
        raise _looks_like(path) or not_a_supernet(path, str(err)) from err
    if 8 + length + end != size:
        raise FednasError(
            f"supernet {path} is truncated or damaged: it has {size} bytes, its header promises {8 + length + end}",
            hint="copy it again",
        )
    return metadata


def _looks_like(path: Path) -> FednasError | None:
    """What the file seems to be, where its first bytes say it."""
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError:
        return None
    if not start:
        return FednasError(f"supernet {path} is empty (0 bytes)", hint="copy it again")
    if start.startswith(b"PK"):
        return FednasError(f"{path} is a zip file, as torch checkpoints are", hint="rename it to .pt if it is one")
    # A header of safetensors begins right after its length.
    if start[8:9] == b"{":
        return FednasError(f"supernet {path} is truncated within its header", hint="copy it again")
    return None


def not_a_supernet(path: Path, reason: str) -> FednasError:
    """The error for a file that is no readable supernet."""
    return FednasError(
        f"{path} is not a readable supernet file ({reason})".replace("\n", " "),
        hint="give a .safetensors file of fednas-export train, or a published .pt checkpoint",
    )
