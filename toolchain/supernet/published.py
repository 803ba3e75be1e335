"""Published DeepFedNAS checkpoints: their search space, their names, their batch norms (method sections 5, 6.6)."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fednas.common import FednasError
from fednas.toolchain.space import SearchSpace
from fednas.toolchain.supernet.header import SupernetHeader
from fednas.toolchain.supernet.torch_file import plain, read_torch_file

_BLOCK = re.compile(r"blocks\.(\d+)\.(conv1|conv2|downsample)\.(conv|bn)\.\3\.(\w+)")
_PUBLISHED_BN_EPS = 1e-5

Tensors = dict[str, NDArray[np.float32]]


def read_published_header(path: Path) -> SupernetHeader:
    """The search space of a published ``.pt`` checkpoint; data set and preprocessing are not recorded in it."""
    return read_published(path)[0]


def read_published(path: Path) -> tuple[SupernetHeader, Tensors]:
    """Header and tensors, under our names, of a published ``.pt`` checkpoint; executes nothing in it.

    Projections of non-first blocks, which the published training never updates, are dropped. A checkpoint
    whose batch norms are all the identity was trained without them (method Q21) and becomes a supernet without
    batch norms, so that recalibration cannot change its function.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or not isinstance(content.get("params"), dict):
        raise _not_published(path, "params")
    if not isinstance(content.get("arch_params"), dict):
        raise _not_published(path, "arch_params")
    space = _space(content["arch_params"], path)
    tensors = dict(_renamed(content["params"], space, path))
    if _identity_batch_norms(tensors):
        space = msgspec.structs.replace(space, normalization="none")
        tensors = _without_batch_norms(tensors)
    names = tuple(map(str, range(space.n_classes)))
    return SupernetHeader(space=space, dataset="unknown", class_names=names), tensors


def _space(arch_params: Any, path: Path) -> SearchSpace:
    try:
        space: SearchSpace = msgspec.convert(plain(arch_params), SearchSpace)
    except (msgspec.ValidationError, FednasError, RecursionError) as err:
        raise FednasError(
            f"checkpoint {path} holds no usable search space in arch_params: {str(err).replace('`', '')}",
            hint="is it a DeepFedNAS checkpoint?",
        ) from err
    return space


def _renamed(params: Mapping[str, Any], space: SearchSpace, path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, tensor in params.items():
        if not isinstance(tensor, np.ndarray):
            raise FednasError(f"checkpoint {path} holds no tensor under {name}", hint="is it a DeepFedNAS checkpoint?")
        ours = _our_name(str(name), space)
        if ours is not None:
            yield ours, tensor.astype(np.float32)  # a copy: what was read is a view of the file


def _our_name(name: str, space: SearchSpace) -> str | None:
    """Our name of a published tensor; None for what is dropped. Unknown names stay as they are, to be refused."""
    if name.endswith("num_batches_tracked"):
        return None
    if name.startswith("classifier.linear.linear."):
        return name.replace("classifier.linear.linear", "head", 1)
    if match := re.fullmatch(r"input_stem\.0\.(conv|bn)\.\1\.(\w+)", name):
        return f"stem.{match[1]}.{match[2]}"
    match = _BLOCK.fullmatch(name)
    if match is None:
        return name
    stage, index = divmod(int(match[1]), space.blocks_per_stage)
    if match[2] == "downsample" and index > 0:
        return None
    unit = "projection" if match[2] == "downsample" else match[2]
    return f"stages.{stage}.{index}.{unit}.{match[3]}.{match[4]}"


def _identity_batch_norms(tensors: Tensors) -> bool:
    wanted = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    return all(
        np.allclose(tensor, wanted.get(name.rpartition(".")[2], np.nan), rtol=0.0, atol=1e-6)
        for name, tensor in tensors.items()
        if ".bn." in name
    )


def _without_batch_norms(tensors: Tensors) -> Tensors:
    """An identity batch norm still divides by sqrt(1 + eps); that factor goes into the convolution."""
    factor = np.float32((1.0 + _PUBLISHED_BN_EPS) ** -0.5)
    return {
        name: tensor * factor if name.endswith(".conv.weight") else tensor
        for name, tensor in tensors.items()
        if ".bn." not in name
    }


def _not_published(path: Path, key: str) -> FednasError:
    return FednasError(f"{path} lacks {key}: it is no DeepFedNAS checkpoint", hint="give a published .pt checkpoint")
