"""Sample counts as the field survey has them, section B, rule 3."""

import pytest

from fednas.latency_tables import readings_needed


@pytest.mark.parametrize(
    ("percentile", "none_above", "one_above"), [(0.5, 7, 11), (0.9, 44, 64), (0.95, 90, 130), (0.99, 459, 662)]
)
def test_readings_that_a_percentile_needs(percentile: float, none_above: int, one_above: int) -> None:
    assert readings_needed(percentile) == none_above
    assert readings_needed(percentile, above=1) == one_above
