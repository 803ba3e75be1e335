"""Kendall's rank correlation, for a few hundred networks: importing scipy.stats takes longer than all else here."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def kendall_tau(first: "np.ndarray[Any, Any]", second: "np.ndarray[Any, Any]") -> float:
    """Tau-b of two rows of equal length, ties counted (Kendall 1945); 0 where one row is constant. O(n^2) memory."""
    import numpy as np

    pairs = np.triu_indices(len(first), k=1)
    signs = [np.sign(row[pairs[0]] - row[pairs[1]]) for row in (np.asarray(first), np.asarray(second))]
    untied = [float(np.count_nonzero(sign)) for sign in signs]
    if not all(untied):
        return 0.0
    return float(np.sum(signs[0] * signs[1]) / np.sqrt(untied[0] * untied[1]))
