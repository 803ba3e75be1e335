"""What the pictures of a report show, beyond the facts that its text states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fednas.export.png import png_link
from fednas.export.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_EXAMPLES = 12


class FrontierPoint(Record, frozen=True, kw_only=True):
    """One network, by what it costs and how fit it is."""

    value: float
    fitness: float


class Frontier(Record, frozen=True, kw_only=True):
    """The networks near the chosen one of which no other is both cheaper and fitter."""

    quantity: str
    """``latency``, ``macs`` or ``params``."""
    unit: str
    """``ms``, or empty for plain counts."""
    points: tuple[FrontierPoint, ...]
    """By value."""
    chosen: FrontierPoint
    limit: float | None
    """The budget on this quantity; null: it was not limited."""


class Guess(Record, frozen=True, kw_only=True):
    """The class that a network names, with its softmax share; 0 where a logit is not finite."""

    label: str
    share: float


class Example(Record, frozen=True, kw_only=True):
    """A held-out image with what the source and the file say of it."""

    image: str
    """A PNG file as a ``data:`` address."""
    truth: str
    source: Guess
    artefact: Guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustrations:
    """All that a report shows but does not state."""

    frontier: Frontier | None = None
    examples: tuple[Example, ...] = ()


def choose_examples(
    images: "NDArray[np.floating]",
    labels: "NDArray[np.integer]",
    source_logits: "NDArray[np.floating]",
    artefact_logits: "NDArray[np.floating]",
    class_names: Sequence[str],
) -> tuple[Example, ...]:
    """A dozen images: up to four on which the two disagree, up to four more that the file gets wrong, then others.

    Args:
        images: (n, channels, height, width), pixels scaled to 0 .. 1.
        labels: (n,) true classes.
        source_logits: (n, classes), of the source network.
        artefact_logits: (n, classes), of the file.
        class_names: one for each class.
    """
    import numpy as np

    source, artefact = source_logits.argmax(axis=1), artefact_logits.argmax(axis=1)
    apart = np.flatnonzero(source != artefact)[:4]
    wrong = np.setdiff1d(np.flatnonzero(artefact != labels), apart)[:4]
    # One of each class in turn, so that the others are not all of the first.
    order = np.lexsort((np.arange(len(labels)), _occurrence(labels)))
    others = [i for i in order.tolist() if source[i] == artefact[i] == labels[i]]
    chosen = [*apart.tolist(), *wrong.tolist(), *others][:MOST_EXAMPLES]
    return tuple(
        Example(
            image=png_link(_shown(images[i])),
            truth=class_names[int(labels[i])],
            source=_guess(source_logits[i], class_names),
            artefact=_guess(artefact_logits[i], class_names),
        )
        for i in chosen
    )


def _occurrence(labels: "NDArray[np.integer]") -> "NDArray[np.int64]":
    """For each label, how many equal ones came before it."""
    import numpy as np

    seen: dict[int, int] = {}
    counts = []
    for label in labels.tolist():
        counts.append(seen.get(label, 0))
        seen[label] = counts[-1] + 1
    return np.array(counts)


def _guess(logits: "NDArray[np.floating]", class_names: Sequence[str]) -> Guess:
    import numpy as np

    best = int(logits.argmax())
    if not np.isfinite(logits).all():
        return Guess(label=class_names[best], share=0.0)
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return Guess(label=class_names[best], share=float(weights[best] / weights.sum()))


def _shown(image: "NDArray[np.floating]") -> "NDArray[np.uint8]":
    import numpy as np

    # An image of two or of many channels shows its first one.
    visible = image if len(image) == 3 else image[:1]
    return np.ascontiguousarray((np.clip(visible, 0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))
