"""The elastic supernet, its subnets, and its files (method section 5).

Headers are read without torch; everything else loads torch when it is first asked for.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import import_extra
from fednas.toolchain.supernet.header import SupernetHeader, header_from_metadata, read_metadata
from fednas.toolchain.supernet.record import NamedAccuracy, SubnetAccuracy, TrainingRecord, TrainingSettings

if TYPE_CHECKING:
    from fednas.toolchain.supernet.elastic import ElasticSupernet
    from fednas.toolchain.supernet.extraction import extract_subnet
    from fednas.toolchain.supernet.files import LoadedSupernet, load_supernet, open_supernet, save_supernet
    from fednas.toolchain.supernet.network import Network, network_of
    from fednas.toolchain.supernet.recalibration import Recalibration, recalibrate_batch_norm
    from fednas.toolchain.supernet.slicing import Overlap, overlaps

_NEEDS_TORCH = {
    "ElasticSupernet": "elastic",
    "LoadedSupernet": "files",
    "Network": "network",
    "Overlap": "slicing",
    "Recalibration": "recalibration",
    "extract_subnet": "extraction",
    "load_supernet": "files",
    "network_of": "network",
    "open_supernet": "files",
    "overlaps": "slicing",
    "recalibrate_batch_norm": "recalibration",
    "save_supernet": "files",
}

__all__ = [
    "ElasticSupernet",
    "LoadedSupernet",
    "NamedAccuracy",
    "Network",
    "Overlap",
    "Recalibration",
    "SubnetAccuracy",
    "SupernetHeader",
    "TrainingRecord",
    "TrainingSettings",
    "extract_subnet",
    "load_supernet",
    "network_of",
    "open_supernet",
    "overlaps",
    "read_supernet_header",
    "recalibrate_batch_norm",
    "save_supernet",
]


def read_supernet_header(path: Path) -> SupernetHeader:
    """Search space, data set and training record of a supernet file, without torch; raises `FednasError`.

    Published ``.pt`` checkpoints are read as well; they say only their search space.
    """
    if path.suffix in (".pt", ".pth"):
        from fednas.toolchain.supernet.published import read_published_header

        return read_published_header(path)
    return header_from_metadata(read_metadata(path), path)


def __getattr__(name: str) -> object:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_extra("torch", "torch", "working with the weights of a supernet")
    return getattr(importlib.import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
