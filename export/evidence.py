"""Numeric proof: logits compared within a stated tolerance, accuracies with their intervals."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from fednas.common import ContractError, unknown_name
from fednas.export.intervals import wilson_interval
from fednas.export.paired_drop import PairedDrop, paired_drop
from fednas.export.records import Record
from fednas.export.runners import Runner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Precision = Literal["fp32", "fp16", "int8"]
_ClassNumber = Annotated[int, msgspec.Meta(ge=0)]


class Tolerance(Record, frozen=True, kw_only=True):
    """How far the logits of an artefact may be from those of its source."""

    precision: Precision
    max_relative_error: float
    """Largest absolute difference allowed, as a share of the largest absolute source logit."""
    min_top1_agreement: float
    """Least share of images on which both name the same class."""


TOLERANCES: Mapping[str, Tolerance] = {
    # Another order of summation in float32, nothing else.
    "fp32": Tolerance(precision="fp32", max_relative_error=1e-4, min_top1_agreement=0.999),
    # Ten roundings of 2^-11 in a row; on embedded subnets the error is below 1e-3.
    "fp16": Tolerance(precision="fp16", max_relative_error=5e-3, min_top1_agreement=0.99),
    # Eight bits move the logits of embedded subnets by up to 0.05; a broken scale moves them by their own size. What
    # int8 costs in accuracy is judged apart, by the paired drop.
    "int8": Tolerance(precision="int8", max_relative_error=0.2, min_top1_agreement=0.95),
}
"""By precision."""


def tolerance_for(precision: str) -> Tolerance:
    """The tolerance of a precision; raises `FednasError` for an unknown one."""
    if precision not in TOLERANCES:
        raise unknown_name("precision", precision, TOLERANCES)
    return TOLERANCES[precision]


def for_few(tolerance: Tolerance, images: int) -> Tolerance:
    """The tolerance for a few vectors: below fp32 one image on the border of two classes may fall either way."""
    if tolerance.precision == "fp32":
        return tolerance
    return msgspec.structs.replace(tolerance, min_top1_agreement=min(tolerance.min_top1_agreement, 1 - 1.5 / images))


class Parity(Record, frozen=True, kw_only=True):
    """How near the logits of an artefact are to those of its source."""

    images: int
    tolerance: Tolerance
    logit_scale: float | None
    """Largest absolute source logit; null when a source logit is not finite."""
    max_abs_error: float | None
    """Null when a logit is not finite."""
    max_relative_error: float | None
    top1_agreement: float
    passed: bool
    reasons: tuple[str, ...]
    """Why it did not pass; empty if it did."""


def compare_logits(source: "NDArray[np.floating]", artefact: "NDArray[np.floating]", tolerance: Tolerance) -> Parity:
    """Compare two arrays of logits (n, classes). Anything that is not finite fails."""
    import numpy as np

    if source.shape != artefact.shape or source.ndim != 2 or len(source) < 1:
        raise ContractError(f"logits of shapes {source.shape} and {artefact.shape} cannot be compared")
    agreement = float(np.mean(source.argmax(axis=1) == artefact.argmax(axis=1)))
    reasons = [
        f"{what} logits hold NaN or infinite values"
        for what, logits in (("source", source), ("artefact", artefact))
        if not np.isfinite(logits).all()
    ]
    scale = error = relative = None
    if not reasons:
        difference = np.abs(source.astype(np.float64) - artefact.astype(np.float64))
        scale, error = float(np.abs(source).max()), float(difference.max())
        relative = error / scale if scale > 0 else (math.inf if error > 0 else 0.0)
        if not relative <= tolerance.max_relative_error:
            reasons.append(
                f"logits differ by up to {relative:.3g} of their scale (allowed {tolerance.max_relative_error:g})"
            )
    if not agreement >= tolerance.min_top1_agreement:
        reasons.append(
            f"the top class agrees on {agreement:.2%} of {len(source)} images "
            f"(at least {tolerance.min_top1_agreement:.2%} needed)"
        )
    return Parity(
        images=len(source),
        tolerance=tolerance,
        logit_scale=scale,
        max_abs_error=error,
        max_relative_error=None if relative is None or math.isinf(relative) else relative,
        top1_agreement=agreement,
        passed=not reasons,
        reasons=tuple(reasons),
    )


class Accuracy(Record, frozen=True, kw_only=True):
    """Share of test images classified rightly, with a Wilson 95 % interval."""

    correct: int
    total: int
    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.2%} ({self.low:.2%} to {self.high:.2%}, {self.correct} of {self.total})"


def accuracy_with_interval(correct: int, total: int) -> Accuracy:
    """Accuracy with the score interval of Wilson (`wilson_interval`)."""
    low, high = wilson_interval(correct, total)
    return Accuracy(correct=correct, total=total, share=correct / total, low=low, high=high)


def accuracy_of_logits(logits: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> Accuracy:
    """Top-1 accuracy of logits (n, classes) against labels (n,)."""
    if len(logits) != len(labels):
        raise ContractError(f"{len(logits)} logits do not go with {len(labels)} labels")
    return accuracy_with_interval(int((logits.argmax(axis=1) == labels).sum()), len(labels))


class Disagreement(Record, frozen=True, kw_only=True):
    """Images on which source and artefact name two different classes."""

    source: _ClassNumber
    """Class that the source names, as a place in the labels."""
    artefact: _ClassNumber
    images: int


def disagreements(source: "NDArray[np.floating]", artefact: "NDArray[np.floating]") -> tuple[Disagreement, ...]:
    """Where the top classes of two arrays of logits (n, classes) differ, the most frequent pair first."""
    pairs = Counter(zip(source.argmax(axis=1).tolist(), artefact.argmax(axis=1).tolist(), strict=True))
    ranked = sorted(((n, pair) for pair, n in pairs.items() if pair[0] != pair[1]), key=lambda e: (-e[0], e[1]))
    return tuple(Disagreement(source=a, artefact=b, images=n) for n, (a, b) in ranked)


class ArtefactEvidence(Record, frozen=True, kw_only=True):
    """What running one artefact showed."""

    runtime: str
    """What ran it, and where."""
    parity: Parity
    source_accuracy: Accuracy | None
    """Null: there were no labelled images."""
    artefact_accuracy: Accuracy | None
    drop: PairedDrop | None = None
    """What accuracy it lost; null without labelled images."""
    disagreements: tuple[Disagreement, ...] = ()
    """The images on which the top classes differ; empty also in folders of versions that did not list them."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the artefact may not be shipped as verified; empty if it may."""
        lost = self.drop is not None and self.drop.verdict == "missed"
        return (*self.parity.reasons, *([f"accuracy dropped by {self.drop}, more than allowed"] if lost else ()))

    @property
    def passed(self) -> bool:
        """Whether the artefact may be shipped as verified."""
        return not self.reasons


def verify_artefact(
    runner: Runner,
    images: "NDArray[np.generic]",
    source_logits: "NDArray[np.floating]",
    *,
    tolerance: Tolerance,
    labels: "NDArray[np.integer] | None" = None,
    max_accuracy_drop: float | None = None,
) -> ArtefactEvidence:
    """Run ``images`` (n, channels, height, width), as the artefact reads them, and compare with its source.

    ``labels`` (n,) belong to real held-out images; without them no accuracy is claimed.
    ``max_accuracy_drop`` is the share of images that may be lost against the source.
    """
    logits = runner.infer_all(images)
    return judge_logits(
        runner.name, logits, source_logits, tolerance=tolerance, labels=labels, max_accuracy_drop=max_accuracy_drop
    )


def judge_logits(
    runtime: str,
    logits: "NDArray[np.floating]",
    source_logits: "NDArray[np.floating]",
    *,
    tolerance: Tolerance,
    labels: "NDArray[np.integer] | None" = None,
    max_accuracy_drop: float | None = None,
) -> ArtefactEvidence:
    """As `verify_artefact`, of logits (n, classes) that ``runtime`` gave already."""
    return ArtefactEvidence(
        runtime=runtime,
        parity=compare_logits(source_logits, logits, tolerance),
        source_accuracy=None if labels is None else accuracy_of_logits(source_logits, labels),
        artefact_accuracy=None if labels is None else accuracy_of_logits(logits, labels),
        drop=None if labels is None else paired_drop(source_logits, logits, labels, max_accuracy_drop),
        disagreements=disagreements(source_logits, logits),
    )
