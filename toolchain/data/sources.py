"""Each data set from its own files. Nothing is downloaded."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fednas.common import FednasError, import_extra
from fednas.export import Preprocessing
from fednas.toolchain.data.images import ImageData, LabelledImages
from fednas.toolchain.data.preprocessing import (
    Array,
    measured_preprocessing,
    published_preprocessing,
)
from fednas.toolchain.data.split import stratified_split

VALIDATION_SHARE = 0.1
"""Part of the training images that is held out where a data set brings no validation images."""


def digits() -> ImageData:
    """scikit-learn's digits, cut by class into 60 % training, 15 % validation and 25 % test images."""
    datasets = import_extra("sklearn.datasets", "torch", "the digits data set")
    raw, labels = datasets.load_digits(return_X_y=True)
    whole = LabelledImages(raw.reshape(-1, 1, 8, 8).astype(np.uint8), labels.astype(np.int64))
    train, validation, test = (whole.take(part) for part in stratified_split(whole.labels, (0.60, 0.15)))
    return ImageData(
        name="digits",
        class_names=tuple(map(str, range(10))),
        preprocessing=measured_preprocessing(train.images, 16.0),
        train=train,
        validation=validation,
        test=test,
    )


def cifar(name: str, folder: Path) -> ImageData:
    """CIFAR-10 or CIFAR-100 in torchvision's layout."""
    datasets = import_extra("torchvision.datasets", "torch", f"the data set {name}")
    _check_folder(folder)
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        parts = [kind(root=str(folder), train=train, download=False) for train in (True, False)]
    except (RuntimeError, OSError, EOFError) as err:
        own = folder / kind.base_folder
        what = f"files of {own} are missing or damaged" if own.is_dir() else f"{own} is not there"
        raise FednasError(
            f"folder {folder} does not hold {name} in torchvision's layout: {what}, and nothing is downloaded",
            hint=f"unpack the official python archive of {name} there",
        ) from err
    train, test = (
        LabelledImages(np.ascontiguousarray(p.data.transpose(0, 3, 1, 2)), np.asarray(p.targets, dtype=np.int64))
        for p in parts
    )
    return _with_held_out(name, tuple(parts[0].classes), published_preprocessing(name), train, test)


def cinic10(folder: Path, channels: int | None, side: int | None) -> ImageData:
    """CINIC-10: folders train, valid and test; its own validation images are used as such."""
    names, train = _image_folder(folder / "train", channels, side)
    own = published_preprocessing("cinic10")
    validation = _same_classes(folder / "valid", names, channels, side)
    test = _same_classes(folder / "test", names, channels, side)
    return ImageData("cinic10", names, own, train, validation, test)


def image_folder(folder: Path, channels: int | None, side: int | None) -> ImageData:
    """A folder with ``train/CLASS/*`` and ``test/CLASS/*``; images are converted to ``channels`` and ``side``."""
    names, train = _image_folder(folder / "train", channels, side)
    test = _same_classes(folder / "test", names, channels, side)
    return _with_held_out(f"folder {folder.name}", names, measured_preprocessing(train.images, 255.0), train, test)


def npz(path: Path) -> ImageData:
    """An .npz file with x_train, y_train, x_test and y_test; images uint8, NCHW or NHWC."""
    arrays = _npz_arrays(path)
    parts = []
    for part in ("train", "test"):
        labels = arrays[f"y_{part}"]
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise FednasError(
                f"y_{part} of {path} is {labels.dtype} of shape {labels.shape}; it must be whole numbers, one an image"
            )
        images = _as_nchw(arrays[f"x_{part}"], f"x_{part} of {path}")
        if len(images) != len(labels):
            raise FednasError(f"{path} has {len(images)} images in x_{part} but {len(labels)} labels in y_{part}")
        parts.append(LabelledImages(images, labels.astype(np.int64)))
    train, test = parts
    if not len(train) or not len(test):
        raise FednasError(f"{path} has {len(train)} training and {len(test)} test images; both are needed")
    classes = 1 + max(int(train.labels.max()), int(test.labels.max()))
    if classes > len(train) + len(test):
        raise FednasError(
            f"{path} has labels up to {classes - 1} for {len(train) + len(test)} images",
            hint="number the classes from 0",
        )
    own = measured_preprocessing(train.images, 255.0)
    return _with_held_out(path.stem, tuple(map(str, range(classes))), own, train, test)


def _npz_arrays(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise FednasError(f"data file {path} does not exist", hint="check the path after npz:")
    keys = ("x_train", "y_train", "x_test", "y_test")
    try:
        # numpy leaves a file open that it cannot read, so it gets an open one.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            if missing := [key for key in keys if key not in archive]:
                raise FednasError(
                    f"{path} lacks {', '.join(missing)}; it holds {', '.join(archive) or 'nothing'}",
                    hint=f"save it with {', '.join(keys)}",
                )
            return {key: archive[key] for key in keys}
    except (
        OSError,
        ValueError,
        EOFError,
        AttributeError,
        TypeError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as err:
        raise FednasError(
            f"{path} is not a readable .npz file of plain arrays",
            hint="write it with numpy.savez, without objects",
        ) from err


def _as_nchw(images: Array, what: str) -> Array:
    """Images as NCHW; a channel axis has 1 or 3 entries."""
    if images.dtype != np.uint8:
        raise FednasError(f"{what} is {images.dtype}; raw images of type uint8 (0 to 255) are needed")
    if images.ndim == 3:
        return images[:, np.newaxis]
    first, last = (images.shape[1], images.shape[-1]) if images.ndim == 4 else (0, 0)
    if first in (1, 3):
        return images
    if last in (1, 3):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise FednasError(
        f"{what} has shape {images.shape}",
        hint="give N x channels x height x width or N x height x width x channels, with 1 or 3 channels",
    )


def _with_held_out(
    name: str, class_names: tuple[str, ...], own: Preprocessing, train: LabelledImages, test: LabelledImages
) -> ImageData:
    held_out, rest = stratified_split(train.labels, (VALIDATION_SHARE,))
    return ImageData(name, class_names, own, train.take(rest), train.take(held_out), test)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FednasError(f"data folder {folder} does not exist", hint="check the path after --data NAME:")


def _same_classes(folder: Path, names: tuple[str, ...], channels: int | None, side: int | None) -> LabelledImages:
    found, images = _image_folder(folder, channels, side)
    if found != names:
        different = ", ".join(sorted(set(found) ^ set(names)))
        raise FednasError(
            f"folder {folder} has other classes than its neighbour train/ (not in both: {different})",
            hint="give every class a folder in both",
        )
    return images


def _image_folder(folder: Path, channels: int | None, side: int | None) -> tuple[tuple[str, ...], LabelledImages]:
    """torchvision's ImageFolder, read into memory; images are resized only if ``side`` says so."""
    datasets = import_extra("torchvision.datasets", "torch", "image folders")
    _check_folder(folder)
    try:
        listing = datasets.ImageFolder(str(folder), loader=_pixel_loader(channels, side))
    except FileNotFoundError as err:
        raise FednasError(
            f"folder {folder} holds no class folders with images: {err}".split("\n")[0].rstrip("."),
            hint="lay it out as train/CLASS/image.png and test/CLASS/image.png",
        ) from err
    pixels, labels = zip(*(listing[index] for index in range(len(listing))), strict=True)
    if len(shapes := {image.shape for image in pixels}) > 1:
        raise FednasError(
            f"folder {folder} holds images of {len(shapes)} shapes, such as {sorted(shapes)[:2]}",
            hint="bring them to one size, or name the supernet whose input size they shall get",
        )
    label_array: NDArray[np.int64] = np.asarray(labels, dtype=np.int64)
    return tuple(listing.classes), LabelledImages(np.stack(pixels), label_array)


def _pixel_loader(channels: int | None, side: int | None) -> Callable[[str], Any]:
    from PIL import Image, UnidentifiedImageError

    mode = "L" if channels == 1 else "RGB"

    def load(path: str) -> Array:
        try:
            with Image.open(path) as image:
                converted = image.convert(mode)
        except (UnidentifiedImageError, OSError) as err:
            raise FednasError(f"{path} cannot be read as an image", hint="remove or replace it") from err
        if side is not None and converted.size != (side, side):
            converted = converted.resize((side, side), Image.Resampling.BILINEAR)
        pixels = np.asarray(converted, dtype=np.uint8)
        return pixels[np.newaxis] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))

    return load
