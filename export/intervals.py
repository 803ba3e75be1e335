"""95 % intervals of proportions and of the difference of two proportions on the same images."""

import math

from fednas.common import ContractError

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Score interval of Wilson 1927 (doi:10.1080/01621459.1927.10502953), which stays in 0 .. 1."""
    if not 0 <= correct <= total or total < 1:
        raise ContractError(f"{correct} correct of {total} images is impossible")
    share, z2 = correct / total, Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return 0.0 if correct == 0 else centre - half, 1.0 if correct == total else centre + half


def newcombe_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Interval of the difference of two proportions on the same images.

    Method 10 of Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions
    based on paired data" (Statistics in Medicine 17, 2635-2650): Wilson's intervals of the two proportions,
    combined with their correlation. It stays meaningful where the two never disagree.

    Args:
        both: images that both get right.
        first: images that only the first gets right.
        second: images that only the second gets right.
        neither: images that both get wrong.
    """
    total = both + first + second + neither
    if min(both, first, second, neither) < 0 or total < 1:
        raise ContractError(f"impossible counts {both}, {first}, {second}, {neither}")
    share, other = (both + first) / total, (both + second) / total
    low, high = wilson_interval(both + first, total)
    other_low, other_high = wilson_interval(both + second, total)
    phi = _correlation(both, first, second, neither)
    below = _combined(share - low, other_high - other, phi)
    above = _combined(high - share, other - other_low, phi)
    return share - other - below, share - other + above


def _combined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    if product == 0:
        return 0.0
    cross: float = both * neither - first * second
    if cross > 0:
        # Newcombe's continuity correction.
        cross = max(cross - (both + first + second + neither) / 2, 0.0)
    return cross / math.sqrt(product)
