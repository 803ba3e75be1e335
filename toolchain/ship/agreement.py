"""Whether the images are those that the supernet was made for: by their statistics, and by its own training record."""

from typing import TYPE_CHECKING

from fednas.common import FednasError
from fednas.export import accuracy_of_logits
from fednas.toolchain.data import ONLY_CENTRED, ImageData, channel_statistics
from fednas.toolchain.supernet import SupernetHeader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fednas.toolchain.ship.source import Source

MOST_MEAN = 0.5
"""Of normalised training images 0 is expected; this far off, standard deviations, they are others."""
MOST_RATIO = 2.0
"""Of their standard deviation 1 is expected; beyond this factor, either way, they are others."""
MOST_FLAT = 0.01
"""A channel that has one value in all images must have the one of training, to this share of the largest pixel."""
FEW_IMAGES = 100
"""Test images; where fewer are all right, the accuracy may still be 4 points lower, by its interval."""
FAR_BELOW = 0.1
"""Accuracy that a subnet may lack against the least one on record: architectures and test images differ."""


def doubts_about_data(source: "Source", logits: "NDArray[np.float32]", *, as_trained: bool = True) -> tuple[str, ...]:
    """What speaks against these images, in sentences; empty if nothing does, or without data.

    Either sign alone may have a good reason: other light, an architecture that was trained little. So it is a doubt.
    Both together, or no more right answers than by chance, are none.

    Args:
        source: the supernet and the images.
        logits: (n, classes) of the extracted subnet for the test images.
        as_trained: whether the subnet should be good: found by search, and recalibrated.

    Raises:
        FednasError: images and supernet do not belong together.
    """
    if source.data is None:
        return ()
    strange = source.strange_statistics
    guesses = _no_better_than_chance(source.data, logits)
    poor = _poor_accuracy(source.header, source.data, logits) or guesses
    found = tuple(sign for sign in (strange, poor) if sign)
    if poor and (strange or (guesses and as_trained)):
        raise FednasError(
            f"supernet and data set {source.data.name} do not belong together: {'; and '.join(found)}",
            hint="give the images as in training: pixel range, colours, order of classes (--data none checks nothing)",
        )
    few = _few_images(len(source.data.test)) + _seen_images(source.seen_test_images, len(source.data.test))
    untrained = "" if as_trained else ", and is this architecture trained and recalibrated"
    asked = f"are these the images that the supernet was made for{untrained}?"
    return (*(f"Data: {sign}; {asked}" for sign in found), *few)


def _few_images(count: int) -> tuple[str, ...]:
    """A doubt where accuracy and parity stand on so few images that they say little."""
    if count >= FEW_IMAGES:
        return ()
    images = "one test image" if count == 1 else f"{count} test images"
    return (f"Data: accuracy and parity stand on {images} only; give {FEW_IMAGES} or more",)


def _seen_images(seen: int, count: int) -> tuple[str, ...]:
    """A doubt where test images are no unseen ones; from the first one on, since digits have none."""
    if not seen:
        return ()
    return (
        f"Data: {seen:,} of {count:,} test images are also among the training or validation images: the accuracy is "
        "not that of unseen images",
    )


def strange_statistics(data: ImageData) -> str:
    """How normalised training images differ from what a network was trained on; empty if they do not."""
    wanted = data.preprocessing
    found = channel_statistics(data.train.images, wanted.value_range_max)
    for channel, (mean, std) in enumerate(zip(wanted.mean, wanted.std, strict=True)):
        offset, ratio = (found.mean[channel] - mean) / std, found.std[channel] / std
        if ratio == 0 and (std != ONLY_CENTRED or abs(offset) > MOST_FLAT):
            value, usual = found.mean[channel] * wanted.value_range_max, mean * wanted.value_range_max
            how = f"always are {usual:g}" if std == ONLY_CENTRED else "vary"
            return f"all its pixels of channel {channel} are {value:g}, while those of the supernet's own images {how}"
        if ratio != 0 and (abs(offset) > MOST_MEAN or not 1 / MOST_RATIO <= ratio <= MOST_RATIO):
            return (
                f"after the supernet's normalisation its pixels have mean {offset:.2g} and standard deviation "
                f"{ratio:.2g} (channel {channel}), not about 0 and 1"
            )
    return ""


def _poor_accuracy(header: SupernetHeader, data: ImageData, logits: "NDArray[np.float32]") -> str:
    """How far the subnet stays behind every accuracy on record; empty if it does not, or without a record."""
    if header.training is None or not header.training.accuracies:
        return ""
    least = min(each.test.low for each in header.training.accuracies)
    found = accuracy_of_logits(logits, data.test.labels)
    if found.high >= least - FAR_BELOW:
        return ""
    return (
        f"the subnet is right on {found.share:.1%} of its test images, while the supernet's training record "
        f"({header.dataset}) says at least {least:.1%} for its subnets"
    )


def _no_better_than_chance(data: ImageData, logits: "NDArray[np.float32]") -> str:
    """That the subnet guesses; empty if it does not, or if the test images are too few to tell."""
    found, chance = accuracy_of_logits(logits, data.test.labels), 1 / logits.shape[1]
    halfway = (1 + chance) / 2
    if found.low > chance or found.high >= halfway:
        return ""
    return f"the subnet is right on {found.share:.1%} of its test images, no more often than by chance ({chance:.1%})"
