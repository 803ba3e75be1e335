"""Supernet files: write, read, and read published checkpoints, through one door."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fednas.common import FednasError, write_atomic
from fednas.toolchain.supernet.elastic import ElasticSupernet
from fednas.toolchain.supernet.header import SupernetHeader, header_from_metadata, not_a_supernet, read_metadata
from fednas.toolchain.supernet.published import read_published
from fednas.toolchain.supernet.slicing import BATCH_COUNTER

EXTRA_METADATA = frozenset({"progress"})


@dataclass(frozen=True, slots=True, eq=False)
class LoadedSupernet:
    """A supernet in evaluation mode and what its file says about it."""

    supernet: ElasticSupernet
    header: SupernetHeader
    path: Path


def save_supernet(
    path: Path, supernet: ElasticSupernet, header: SupernetHeader, *, extra: Mapping[str, str] | None = None
) -> None:
    """Write a supernet file, atomically; ``extra`` is further metadata (the progress of a training run)."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in supernet.state_dict().items()
        if not name.endswith(BATCH_COUNTER)
    }
    # Not safetensors' own file writer: its errors (a full disk) are not operating system errors to Python.
    write_atomic(path, save(tensors, {**header.to_metadata(), **(extra or {})}))


def load_supernet(path: Path) -> LoadedSupernet:
    """Read a supernet file of this project; raises `FednasError` for truncated, foreign and broken ones."""
    header = header_from_metadata(read_metadata(path), path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as err:
        raise not_a_supernet(path, str(err)) from err
    return LoadedSupernet(_filled(header, tensors, path), header, path)


def open_supernet(path: Path) -> LoadedSupernet:
    """Read a supernet from our ``.safetensors`` or a published ``.pt`` checkpoint; raises `FednasError`."""
    if path.suffix not in (".pt", ".pth"):
        return load_supernet(path)
    header, arrays = read_published(path)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return LoadedSupernet(_filled(header, tensors, path), header, path)


def _filled(header: SupernetHeader, tensors: dict[str, Tensor], path: Path) -> ElasticSupernet:
    with torch.random.fork_rng(devices=[]):
        supernet = ElasticSupernet(header.space)
    wanted = {n: t for n, t in supernet.state_dict().items() if not n.endswith(BATCH_COUNTER)}
    _check_names(wanted, tensors, path)
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise FednasError(
                f"supernet {path}: tensor {name} has shape {tuple(tensor.shape)}, "
                f"its search space needs {tuple(wanted[name].shape)}",
                hint="the weights belong to another search space",
            )
        if not bool(torch.isfinite(tensor).all()):
            raise FednasError(
                f"supernet {path}: tensor {name} holds values that are not finite numbers",
                hint="the training diverged; train again with a smaller --lr",
            )
    supernet.load_state_dict(tensors, strict=False)
    return supernet.eval()


def _check_names(wanted: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    for verb, names in (("lacks", wanted.keys() - found.keys()), ("has unknown", found.keys() - wanted.keys())):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise FednasError(
                f"supernet {path} {verb} tensor {min(names)}{more}",
                hint="the weights belong to another search space, or the file is damaged",
            )
