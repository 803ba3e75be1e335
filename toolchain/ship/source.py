"""What is exported from: the supernet, and the images that prove and recalibrate its subnets."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fednas.common import FednasError, sha256_of
from fednas.export import Preprocessing, Supernet
from fednas.toolchain.data import DataKind, ImageData, load_data, parse_data_spec
from fednas.toolchain.embedded import embedded_supernet_path
from fednas.toolchain.ship.agreement import strange_statistics
from fednas.toolchain.space import SearchSpace
from fednas.toolchain.supernet import SupernetHeader, read_supernet_header

if TYPE_CHECKING:
    from fednas.toolchain.supernet import LoadedSupernet

BUNDLED_DATA = ("digits",)
"""Data sets that come with a dependency, so that nobody needs to name them."""


@dataclass(frozen=True, slots=True)
class Source:
    """A supernet with its data."""

    loaded: "LoadedSupernet"
    identity: Supernet
    data: ImageData | None
    """None: exported without data."""
    preprocessing: Preprocessing
    preprocessing_known: bool
    """False: neither the supernet nor a data set says how images are prepared."""
    strange_statistics: str = ""
    """How the images differ from what the supernet was made for, by their pixels; empty if they do not."""
    seen_test_images: int = 0
    """Test images that the training or validation images hold too."""

    @property
    def space(self) -> SearchSpace:
        """The supernet's search space."""
        return self.header.space

    @property
    def header(self) -> SupernetHeader:
        """What the supernet file says about itself."""
        return self.loaded.header


def open_source(supernet: Path | None, data: str | None) -> Source:
    """Read the supernet and the data set; raises `FednasError` if they disagree or one is missing."""
    path = embedded_supernet_path() if supernet is None else supernet
    header = read_supernet_header(path)
    images = _images(header, data)
    if images is not None:
        images = _as_trained(header, images)
    from fednas.toolchain.supernet import open_supernet  # loads torch: seconds, which wrong data need not wait for

    loaded = open_supernet(path)
    identity = Supernet(name="embedded" if supernet is None else path.name, sha256=sha256_of(path))
    if images is None:
        return Source(loaded, identity, None, _preprocessing(header, None), header.preprocessing is not None)
    return Source(
        loaded,
        identity,
        images,
        _preprocessing(header, images),
        True,
        strange_statistics(images),
        images.seen_test_images(),
    )


def _as_trained(header: SupernetHeader, images: ImageData) -> ImageData:
    """The images with the supernet's own preprocessing; raises `FednasError` if they do not fit it."""
    space = header.space
    if header.preprocessing is not None:
        images = images.with_preprocessing(header.preprocessing)
    images.check_fits(space.initial_input_channels, space.initial_input_hw, space.n_classes)
    images.check_class_names(header.class_names)
    return images


def _images(header: SupernetHeader, data: str | None) -> ImageData | None:
    if data is None:
        if header.dataset not in BUNDLED_DATA:
            raise FednasError(
                f"the supernet was trained on {header.dataset!r}, which is not bundled, and no --data was given",
                hint="add --data cifar10:DIR (or another data set), or --data none to export without accuracy checks",
            )
        data = header.dataset
    spec = parse_data_spec(data)
    if spec.kind is DataKind.NONE:
        return None
    space = header.space
    return load_data(spec, channels=space.initial_input_channels, side=space.initial_input_hw)


def _preprocessing(header: SupernetHeader, images: ImageData | None) -> Preprocessing:
    """That of the supernet, else of the data; plain pixels in 0 .. 1 where nothing is known."""
    known = header.preprocessing or (images.preprocessing if images else None)
    channels, side = header.space.initial_input_channels, header.space.initial_input_hw
    return known or Preprocessing(
        channels=channels,
        height=side,
        width=side,
        value_range_max=1.0,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
