"""One door to every data set."""

from pathlib import Path

from fednas.common import ContractError, FednasError
from fednas.toolchain.data.images import ImageData
from fednas.toolchain.data.spec import DataKind, DataSpec


def load_data(spec: DataSpec, *, channels: int | None = None, side: int | None = None) -> ImageData:
    """The whole data set in memory; raises `FednasError` that says which file or shape is wrong.

    Args:
        spec: from `parse_data_spec`; ``none`` is refused here, so ask for it first.
        channels: image folders are converted to this many channels (1 or 3; 3 when None).
        side: image folders are resized to this many pixels; as they are when None.
    """
    from fednas.toolchain.data import sources

    match spec.kind:
        case DataKind.NONE:
            raise FednasError("--data none gives no images, but they are needed here", hint="name a data set")
        case DataKind.DIGITS:
            return sources.digits()
        case DataKind.CIFAR10 | DataKind.CIFAR100:
            return sources.cifar(spec.kind.value, _place(spec))
        case DataKind.CINIC10:
            return sources.cinic10(_place(spec), channels, side)
        case DataKind.FOLDER:
            return sources.image_folder(_place(spec), channels, side)
        case DataKind.NPZ:
            return sources.npz(_place(spec))


def _place(spec: DataSpec) -> Path:
    if spec.path is None:
        raise ContractError(f"data set {spec.kind} without a path")
    return spec.path
