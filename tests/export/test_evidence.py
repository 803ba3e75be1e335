"""Tolerances, agreement and intervals, with figures worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.common import ContractError, FednasError
from fednas.export import (
    ModelInput,
    Preprocessing,
    Tolerance,
    accuracy_of_logits,
    accuracy_with_interval,
    compare_logits,
    tolerance_for,
)

FP32 = tolerance_for("fp32")
LOGITS = np.array([[1.0, 4.0], [2.0, -3.0]], dtype=np.float32)


def test_equal_logits_pass() -> None:
    parity = compare_logits(LOGITS, LOGITS.copy(), FP32)
    assert parity.passed
    assert (parity.logit_scale, parity.max_abs_error, parity.max_relative_error) == (4.0, 0.0, 0.0)
    assert (parity.images, parity.top1_agreement, parity.reasons) == (2, 1.0, ())


def test_the_error_is_relative_to_the_largest_source_logit() -> None:
    tolerance = Tolerance(precision="fp32", max_relative_error=0.1, min_top1_agreement=1.0)
    off = LOGITS + np.array([[0.0, 0.0], [0.0, 0.25]], dtype=np.float32)
    assert compare_logits(LOGITS, off, tolerance).max_relative_error == 0.0625
    assert compare_logits(LOGITS, off, tolerance).passed
    parity = compare_logits(LOGITS, off + np.float32(0.25), tolerance)
    assert parity.reasons == ("logits differ by up to 0.125 of their scale (allowed 0.1)",)


def test_another_top_class_fails() -> None:
    tolerance = Tolerance(precision="fp32", max_relative_error=10.0, min_top1_agreement=0.9)
    parity = compare_logits(LOGITS, LOGITS[:, ::-1], tolerance)
    assert parity.reasons == ("the top class agrees on 0.00% of 2 images (at least 90.00% needed)",)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails_on_either_side(bad: float) -> None:
    broken = LOGITS.copy()
    broken[1, 1] = bad
    for source, artefact, which in ((broken, LOGITS, "source"), (LOGITS, broken, "artefact")):
        parity = compare_logits(source, artefact, FP32)
        assert not parity.passed
        assert f"{which} logits hold NaN or infinite values" in parity.reasons
        assert parity.max_abs_error is None


def test_a_source_of_zeros_allows_no_error() -> None:
    zeros = np.zeros((3, 2), dtype=np.float32)
    assert compare_logits(zeros, zeros, FP32).passed
    assert not compare_logits(zeros, zeros + np.float32(1e-9), FP32).passed


def test_arrays_that_do_not_belong_together() -> None:
    with pytest.raises(ContractError, match="cannot be compared"):
        compare_logits(LOGITS, LOGITS[:1], FP32)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(FednasError, match=r"unknown precision 'fp23'; did you mean fp"):
        tolerance_for("fp23")


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # Wilson 1927 by hand: 5 of 10 gives (0.5 + 0.19207 +- 0.32898) / 1.38415.
        pytest.param(5, 10, 0.236593, 0.763407, id="half"),
        pytest.param(0, 10, 0.0, 0.277533, id="none"),
        pytest.param(10, 10, 0.722467, 1.0, id="all"),
    ],
)
def test_wilson_interval(correct: int, total: int, low: float, high: float) -> None:
    accuracy = accuracy_with_interval(correct, total)
    assert accuracy.share == correct / total
    assert accuracy.low == pytest.approx(low, abs=1e-6)
    assert accuracy.high == pytest.approx(high, abs=1e-6)


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share(counts: tuple[int, int]) -> None:
    accuracy = accuracy_with_interval(*counts)
    assert 0.0 <= accuracy.low <= accuracy.share <= accuracy.high <= 1.0
    assert math.isfinite(accuracy.low)


@pytest.mark.parametrize("counts", [(1, 0), (3, 2), (-1, 2)])
def test_impossible_counts(counts: tuple[int, int]) -> None:
    with pytest.raises(ContractError, match="impossible"):
        accuracy_with_interval(*counts)


def test_accuracy_counts_top_classes() -> None:
    accuracy = accuracy_of_logits(LOGITS, np.array([1, 1]))
    assert (accuracy.correct, accuracy.total) == (1, 2)
    assert str(accuracy) == "50.00% (9.45% to 90.55%, 1 of 2)"
    with pytest.raises(ContractError, match="2 logits do not go with 1 labels"):
        accuracy_of_logits(LOGITS, np.array([1]))


class TestPreprocessing:
    two_channels = Preprocessing(channels=2, height=1, width=2, value_range_max=10.0, mean=(0.5, 0.0), std=(0.5, 0.25))

    def test_applies_its_steps_in_order(self) -> None:
        image = np.array([[[[10, 0]], [[0, 5]]]])  # one image, two channels, one row, two pixels
        # First channel: (1 - 0.5) / 0.5 and (0 - 0.5) / 0.5; second: 0 / 0.25 and 0.5 / 0.25.
        assert self.two_channels.apply(image).tolist() == [[[[1.0, -1.0]], [[0.0, 2.0]]]]
        assert self.two_channels.apply(image).dtype == np.float32

    def test_wrong_images(self) -> None:
        with pytest.raises(FednasError, match=r"shape \(1, 1, 1, 2\), the preprocessing takes \(n, 2, 1, 2\)"):
            self.two_channels.apply(np.zeros((1, 1, 1, 2)))

    def test_pixels_are_recovered(self) -> None:
        image = np.array([[[[10, 0]], [[0, 5]]]])
        assert self.two_channels.pixels(self.two_channels.apply(image)) == pytest.approx(image, abs=1e-5)

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"std": (1.0, 0.0)}, "one positive std"),
            ({"mean": (0.0,)}, "for 2 channels"),
            ({"value_range_max": 0.0}, "range 0..0.0"),
            ({"steps": ("to_nchw",)}, "allowed for float32 inputs"),
            ({"steps": ("to_nchw",), "input_type": "uint8"}, "pixels from 0 to 1 do not fit uint8 inputs"),
        ],
    )
    def test_what_cannot_be_meant(self, change: dict[str, object], complaint: str) -> None:
        fields = {"channels": 2, "height": 1, "width": 2, "value_range_max": 1.0, "mean": (0.0,) * 2, "std": (1.0,) * 2}
        with pytest.raises(FednasError, match=complaint):
            ModelInput(**(fields | change))
