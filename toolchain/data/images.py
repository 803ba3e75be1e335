"""Images in memory: raw pixels, labels, class names and the three parts of a data set."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from fednas.common import ContractError, FednasError
from fednas.export import Preprocessing
from fednas.toolchain.data.preprocessing import Array

TOO_DARK = 0.1
"""Brightest pixel of a data set, as a share of the range, below which the images come on another scale."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Raw images and their classes."""

    images: Array
    """(N, channels, height, width), uint8 or float, values 0 .. ``Preprocessing.value_range_max``."""
    labels: NDArray[np.int64]
    """(N,), indices of class names."""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != (len(self.images),):
            raise ContractError(f"images {self.images.shape} do not fit labels {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "LabelledImages":
        """These images, in this order."""
        return LabelledImages(self.images[indices], self.labels[indices])


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """A data set. Choices are made on ``validation``; ``test`` is read for reports only (method Q28)."""

    name: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    train: LabelledImages
    validation: LabelledImages
    """Held out of the training data, unless the data set brings its own."""
    test: LabelledImages

    def __post_init__(self) -> None:
        wanted = (self.preprocessing.channels, self.preprocessing.height, self.preprocessing.width)
        for part, content in (("training", self.train), ("validation", self.validation), ("test", self.test)):
            if not len(content):
                raise FednasError(
                    f"data set {self.name} has no {part} images",
                    hint="give more images: part of each class of the training images is held out for validation",
                )
            if content.images.shape[1:] != wanted:
                raise FednasError(
                    f"{part} images of {self.name} have shape {content.images.shape[1:]} "
                    f"(channels, height, width), but {wanted} is needed",
                    hint="bring all images to one shape",
                )
            self._check_labels(part, content.labels)

    def _check_labels(self, part: str, labels: NDArray[np.int64]) -> None:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(self.class_names):
            raise FednasError(
                f"{part} labels of {self.name} run from {low} to {high}; "
                f"its {len(self.class_names)} classes allow 0 to {len(self.class_names) - 1}",
                hint="number the classes from 0",
            )

    def seen_test_images(self) -> int:
        """How many test images are, pixel by pixel, among the training or validation images."""
        seen = {digest for part in (self.train, self.validation) for digest in _digests(part.images)}
        return sum(digest in seen for digest in _digests(self.test.images))

    def with_preprocessing(self, preprocessing: Preprocessing) -> "ImageData":
        """The same images, prepared as a trained network wants them; raises `FednasError` if they cannot be."""
        if (brightest := float(self.train.images.max())) > preprocessing.value_range_max:
            raise FednasError(
                f"data set {self.name} has pixels up to {brightest:g}, "
                f"but the network was trained on pixels from 0 to {preprocessing.value_range_max:g}",
                hint="use the data that the network was trained on, or scale the images",
            )
        prepared = replace(self, preprocessing=preprocessing)
        if brightest < TOO_DARK * preprocessing.value_range_max:
            raise FednasError(
                f"data set {self.name} has pixels up to {brightest:g} only, "
                f"but the network was trained on pixels from 0 to {preprocessing.value_range_max:g}",
                hint="scale the images to the range that the network was trained on",
            )
        return prepared

    def check_class_names(self, names: tuple[str, ...]) -> None:
        """Raise `FednasError` if a class of the network has another place here: its logits would be misread."""
        moved = [i for i, (own, other) in enumerate(zip(self.class_names, names, strict=False)) if own != other]
        first = next((i for i in moved if self.class_names[i] in names), None)
        if first is not None:
            raise FednasError(
                f"data set {self.name} has the classes of the network in another order: "
                f"class {first} is {self.class_names[first]!r} here and {names[first]!r} there",
                hint="name or order the class folders as in training",
            )

    def check_fits(self, channels: int, side: int, classes: int) -> None:
        """Raise `FednasError` unless a network with these input channels, side and classes can read it."""
        own = self.preprocessing
        if (own.channels, own.height, own.width) != (channels, side, side):
            raise FednasError(
                f"data set {self.name} has {own.channels}x{own.height}x{own.width} images, "
                f"but the network reads {channels}x{side}x{side}",
                hint="use the data that the network was made for, or another search space",
            )
        if len(self.class_names) != classes:
            raise FednasError(
                f"data set {self.name} has {len(self.class_names)} classes, but the network has {classes}",
                hint="use the data that the network was made for, or another search space",
            )


def _digests(images: Array) -> Iterator[bytes]:
    """Of the pixels of each image; digests, because the images of a large set do not fit into memory twice."""
    return (blake2b(image.tobytes(), digest_size=16).digest() for image in images)
