"""How much accuracy an artefact lost against its source, on the same images, with an interval."""

from typing import TYPE_CHECKING, Literal

from fednas.export.fewest_images import percent_rounded_up, smallest_limit
from fednas.export.intervals import newcombe_interval
from fednas.export.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METHOD = "Newcombe 1998, paired difference, method 10 (square and add)"


class PairedDrop(Record, frozen=True, kw_only=True):
    """Accuracy of the source minus that of the artefact, on the same images, with a 95 % interval."""

    drop: float
    """As a share of all images; negative where the artefact is better."""
    low: float
    high: float
    only_source_right: int
    only_artefact_right: int
    images: int
    method: str
    limit: float | None = None
    """Largest drop allowed; null if none was asked for."""
    verdict: Literal["met", "missed", "cannot tell"] | None = None
    """Null if no limit was asked for."""
    smallest_limit: float | None = None
    """What a file could keep to that is right on just the same images; null in folders of versions that did not say."""

    def __str__(self) -> str:
        return f"{100 * self.drop:+.2f} points ({100 * self.low:+.2f} to {100 * self.high:+.2f})"

    @property
    def with_verdict(self) -> str:
        """The same, with the limit and what came of it where one was asked for."""
        if self.limit is None:
            return str(self)
        why = f" ({self.too_few_images})" if self.too_few_images else ""
        return f"{self}; at most {100 * self.limit:g} points: {self.verdict}{why}"

    @property
    def too_few_images(self) -> str:
        """That the images could not have shown the limit kept though the file agreed on all; empty if they could."""
        if self.verdict != "cannot tell" or self.limit is None or self.smallest_limit is None:
            return ""
        if self.smallest_limit <= self.limit:
            return ""
        return f"{self.images} images cannot rule out a loss of {percent_rounded_up(self.smallest_limit)} points"


def paired_drop(
    source: "NDArray[np.floating]",
    artefact: "NDArray[np.floating]",
    labels: "NDArray[np.integer]",
    limit: float | None = None,
) -> PairedDrop:
    """The drop from two arrays of logits (n, classes) on the same images with ``labels`` (n,)."""
    right, still_right = source.argmax(axis=1) == labels, artefact.argmax(axis=1) == labels
    both = int((right & still_right).sum())
    lost, won = int((right & ~still_right).sum()), int((~right & still_right).sum())
    low, high = newcombe_interval(both, lost, won, len(labels) - both - lost - won)
    verdict: Literal["met", "missed", "cannot tell"] | None = None
    if limit is not None:
        verdict = "met" if high <= limit else "missed" if low > limit else "cannot tell"
    return PairedDrop(
        drop=(lost - won) / len(labels),
        low=low,
        high=high,
        only_source_right=lost,
        only_artefact_right=won,
        images=len(labels),
        method=METHOD,
        limit=limit,
        verdict=verdict,
        smallest_limit=smallest_limit(both + lost, len(labels)),
    )
