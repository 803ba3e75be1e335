"""Whether the images are those that the supernet was made for: told by what the subnet gets right, and by pixels."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from fednas.common import FednasError
from fednas.profiles import find_profile
from fednas.toolchain.data import ImageData, LabelledImages, Preprocessing, channel_statistics, measured_preprocessing
from fednas.toolchain.data.preprocessing import CHUNK
from fednas.toolchain.search.request import Budgets
from fednas.toolchain.ship import ShipJob, ship
from fednas.toolchain.ship.agreement import doubts_about_data, strange_statistics
from fednas.toolchain.ship.source import Source

CLASSES = 4


def source(images: int) -> Source:
    """Noise of mean 0 and standard deviation 1, classes in turn, no training record."""
    noise = np.random.default_rng(0).normal(size=(images, 1, 4, 4))
    labelled = LabelledImages(noise, np.arange(images) % CLASSES)
    own = Preprocessing(channels=1, height=4, width=4, value_range_max=1.0, mean=(0.0,), std=(1.0,))
    data = ImageData("noise", tuple("abcd"), own, labelled, labelled, labelled)
    header = SimpleNamespace(training=None)
    return cast("Source", SimpleNamespace(data=data, header=header, strange_statistics="", seen_test_images=0))


def logits(images: int, right: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Of a network that is right on the first ``right`` images and wrong on all others."""
    wrong = (np.arange(images) >= right).astype(int)
    return np.eye(CLASSES, dtype=np.float32)[(np.arange(images) + wrong) % CLASSES]


def test_a_subnet_that_guesses_is_refused_without_a_training_record() -> None:
    complaint = r"right on 25.0% of its test images, no more often than by chance \(25.0%\)"
    with pytest.raises(FednasError, match=complaint):
        doubts_about_data(source(100), logits(100, 25))


def test_one_that_was_not_trained_may_guess_and_it_is_said() -> None:
    (doubt,) = doubts_about_data(source(100), logits(100, 25), as_trained=False)
    assert doubt.startswith("Data: the subnet is right on 25.0% of its test images, no more often than by chance")


@pytest.mark.parametrize(("images", "right"), [(100, 36), (100, 100), (2, 2), (2, 1)])
def test_one_that_is_better_or_that_two_images_cannot_judge_is_not_doubted(images: int, right: int) -> None:
    # Wilson's lower end: 36 of 100 is above 0.27; 1 of 2 reaches from 0.09 up to 0.91.
    assert not any("made for" in doubt for doubt in doubts_about_data(source(images), logits(images, right)))


@pytest.mark.parametrize(("images", "said"), [(1, "one test image"), (99, "99 test images"), (100, "")])
def test_few_test_images_are_said_to_be_few(images: int, said: str) -> None:
    wanted = f"Data: accuracy and parity stand on {said} only; give 100 or more"
    assert doubts_about_data(source(images), logits(images, images)) == ((wanted,) if said else ())


@pytest.mark.parametrize("value", [0, 255, 7])
def test_statistics_are_those_of_all_images_whatever_the_chunks(value: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2 * CHUNK + 3, 2, 3, 3), dtype=np.uint8)
    pixels[:, 1] = value  # without variation, so only centred
    found = measured_preprocessing(pixels, 255.0)
    assert found.mean == pytest.approx((pixels[:, 0].mean() / 255, value / 255), abs=1e-6)
    assert found.std == pytest.approx((pixels[:, 0].std() / 255, 1.0), abs=1e-6)


@pytest.mark.parametrize(
    ("pixels", "std", "says"),
    [
        # The supernet's images had mean 128; they varied by 64, or had one value, which is then divided by 1.
        ((64, 192), 0.25, ""),
        ((128, 128), 0.25, "all its pixels of channel 1 are 128, while those of the supernet's own images vary"),
        ((128, 128), 1.0, ""),
        ((0, 0), 1.0, "all its pixels of channel 1 are 0, while those of the supernet's own images always are 128"),
        ((64, 192), 1.0, "mean 0 and standard deviation 0.25 (channel 1)"),
    ],
)
def test_a_channel_of_one_value_is_told_in_one_line(pixels: tuple[int, int], std: float, says: str) -> None:
    images = np.empty((4, 2, 1, 2))
    images[:, 0], images[:, 1] = (64, 192), pixels
    labelled = LabelledImages(images, np.arange(4) % CLASSES)
    own = Preprocessing(channels=2, height=1, width=2, value_range_max=256.0, mean=(0.5, 0.5), std=(0.25, std))
    found = strange_statistics(ImageData("flat", tuple("abcd"), own, labelled, labelled, labelled))
    assert says in found
    assert bool(found) == bool(says)
    assert "\n" not in found


def test_the_images_are_looked_at_once_where_they_are_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks = []
    monkeypatch.setattr(
        "fednas.toolchain.ship.agreement.channel_statistics",
        lambda raw, largest: looks.append(raw) or channel_statistics(raw, largest),
    )
    devices = {name: find_profile(name) for name in ("jetson", "raspberry-pi-5")}
    budgets = Budgets(macs=1_000_000)
    ship(ShipJob(devices=devices, supernet=None, budgets=budgets, precisions=("fp32",), data=None, out=tmp_path))
    assert len(looks) == 1
