"""How small a loss of accuracy a number of test images can show at all, whatever the file.

The interval of a paired difference has a width even where file and source agree on every image. It depends on how many
they get right: the interval is narrowest where that is half of them, and widest where it is all but one.
"""

import math

from fednas.export.intervals import newcombe_interval


def smallest_limit(right: int, images: int) -> float:
    """Upper end of the interval of a file that is right on just the same images as its source.

    Only a file that is better than its source can be shown to keep to less.

    Args:
        right: test images that the source gets right.
        images: all test images.
    """
    return newcombe_interval(right, 0, 0, images - right)[1]


def range_of_smallest_limits(images: int) -> tuple[float, float]:
    """`smallest_limit` for the source that makes it smallest, and for the one that makes it largest."""
    return smallest_limit(images // 2, images), max(smallest_limit(images - wrong, images) for wrong in (0, 1))


def images_enough_for(limit: float) -> int:
    """Fewest test images of which `smallest_limit` is at most ``limit`` for every source."""
    enough = 1
    while range_of_smallest_limits(enough)[1] > limit:
        enough *= 2
    low = enough // 2
    while enough - low > 1:
        middle = (low + enough) // 2
        low, enough = (low, middle) if range_of_smallest_limits(middle)[1] <= limit else (middle, enough)
    return enough


def percent_rounded_up(share: float) -> str:
    """A share in hundredths of a percent, never less than it is, so that it can be given as a limit."""
    return f"{math.ceil(10_000 * share - 1e-9) / 100:g}"
