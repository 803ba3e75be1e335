"""``--data SPEC``: which data set, and where it lies."""

import enum
from dataclasses import dataclass
from pathlib import Path

from fednas.common import FednasError, unknown_name


class DataKind(enum.StrEnum):
    """The forms of ``--data``."""

    DIGITS = "digits"
    """scikit-learn's digits: 1797 real 8x8 images, part of that package."""
    CIFAR10 = "cifar10"
    CIFAR100 = "cifar100"
    CINIC10 = "cinic10"
    FOLDER = "folder"
    NPZ = "npz"
    NONE = "none"
    """No data: nothing that needs images is done."""


FORMS = "digits, cifar10:DIR, cifar100:DIR, cinic10:DIR, folder:DIR, npz:FILE or none"


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A parsed ``--data``."""

    kind: DataKind
    path: Path | None = None
    """Where the data lies; None for digits and none."""

    def __str__(self) -> str:
        return self.kind.value if self.path is None else f"{self.kind.value}:{self.path}"


def parse_data_spec(text: str) -> DataSpec:
    """Read a ``--data`` value; raises `FednasError`. Does not touch the disk."""
    name, colon, place = text.partition(":")
    if name not in set(DataKind):
        raise unknown_name("data set", name, set(DataKind), hint=f"write {FORMS}")
    kind = DataKind(name)
    if kind in (DataKind.DIGITS, DataKind.NONE):
        if colon:
            raise FednasError(f"--data {text} names a place, but {name} has none", hint=f"write {name}")
        return DataSpec(kind)
    if not place:
        wanted = "a file" if kind is DataKind.NPZ else "a folder"
        raise FednasError(f"--data {text} lacks {wanted}", hint=f"write {FORMS}")
    return DataSpec(kind, Path(place).expanduser())
