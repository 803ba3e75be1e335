"""The one definition of every width and feature-map side of a network (method section 1.3)."""

DIVISOR = 8


def round_channels(value: float) -> int:
    """``value`` to the nearest multiple of 8 (halves up, at least 8), unless that loses more than 10 %.

    The rule of once-for-all (Cai et al. 2020, arXiv 1908.09791), which the published code uses.
    """
    rounded = max(DIVISOR, int(value + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * value else rounded


def rounded_middle(value: float, as_network: bool) -> int:
    """Middle width of a block whose output width times expansion ratio is ``value``.

    The published network first rounds to a whole number (halves to even), its cost model does not; they
    disagree in seven cells of the paper's space (method Q1).
    """
    return round_channels(round(value) if as_network else value)


def block_side(side: int, stride: int, as_network: bool) -> int:
    """Output side of a padded 3x3 convolution (rounded up); the published cost model rounds down (Q6)."""
    return -(-side // stride) if as_network else side // stride
