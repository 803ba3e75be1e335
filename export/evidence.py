"""Numeric proof: logits compared within a stated tolerance, accuracies with their intervals."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from fednas.common import ContractError, FednasError
from fednas.export.records import Record
from fednas.export.runners import Runner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Precision = Literal["fp32", "fp16", "int8"]

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


class Tolerance(Record, frozen=True, kw_only=True):
    """How far the logits of an artefact may be from those of its source."""

    precision: Precision
    max_relative_error: float
    """Largest absolute difference allowed, as a share of the largest absolute source logit."""
    min_top1_agreement: float
    """Least share of images on which both name the same class."""


TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(precision="fp32", max_relative_error=1e-4, min_top1_agreement=0.999)
}
"""By precision. A precision that is not here cannot be verified yet, so it is not shipped."""


def tolerance_for(precision: str) -> Tolerance:
    """The tolerance of a precision; raises `FednasError` for one that cannot be verified yet."""
    if precision not in TOLERANCES:
        raise FednasError(
            f"precision {precision} cannot be exported and verified yet (allowed: {', '.join(TOLERANCES)})",
            hint="ask for --precision fp32",
        )
    return TOLERANCES[precision]


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
    """Accuracy with the score interval of Wilson 1927 (doi:10.1080/01621459.1927.10502953), which stays in 0 .. 1."""
    if not 0 <= correct <= total or total < 1:
        raise ContractError(f"{correct} correct of {total} images is impossible")
    share, z2 = correct / total, Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == total else centre + half
    return Accuracy(correct=correct, total=total, share=share, low=low, high=high)


def accuracy_of_logits(logits: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> Accuracy:
    """Top-1 accuracy of logits (n, classes) against labels (n,)."""
    if len(logits) != len(labels):
        raise ContractError(f"{len(logits)} logits do not go with {len(labels)} labels")
    return accuracy_with_interval(int((logits.argmax(axis=1) == labels).sum()), len(labels))


class ArtefactEvidence(Record, frozen=True, kw_only=True):
    """What running one artefact showed."""

    runtime: str
    """What ran it, and where."""
    parity: Parity
    source_accuracy: Accuracy | None
    """Null: there were no labelled images."""
    artefact_accuracy: Accuracy | None

    @property
    def passed(self) -> bool:
        """Whether the artefact may be shipped as verified."""
        return self.parity.passed


def verify_artefact(
    runner: Runner,
    images: "NDArray[np.float32]",
    source_logits: "NDArray[np.floating]",
    *,
    tolerance: Tolerance,
    labels: "NDArray[np.integer] | None" = None,
) -> ArtefactEvidence:
    """Run ``images`` (n, channels, height, width; preprocessed) and compare with the logits of the source.

    ``labels`` (n,) belong to real held-out images; without them no accuracy is claimed.
    """
    logits = runner.infer_all(images)
    return ArtefactEvidence(
        runtime=runner.name,
        parity=compare_logits(source_logits, logits, tolerance),
        source_accuracy=None if labels is None else accuracy_of_logits(source_logits, labels),
        artefact_accuracy=None if labels is None else accuracy_of_logits(logits, labels),
    )
