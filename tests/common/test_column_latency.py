"""Latencies in columns: three digits each, final zeros kept."""

import pytest

from fednas.common import column_latency


@pytest.mark.parametrize(
    ("latency_ms", "shown"),
    [
        (0.0, "0 us"),
        (1e-6, "0.00100 us"),
        (0.009996, "10.0 us"),
        (0.0325, "32.5 us"),
        (0.0999, "99.9 us"),
        (0.09996, "0.100 ms"),
        (0.54, "0.540 ms"),
        (0.9996, "1.00 ms"),
        (5.4, "5.40 ms"),
        (54.0, "54.0 ms"),
        (999.4, "999 ms"),
        (999.9, "1.00 s"),
        (12345.0, "12.3 s"),
        (-5.4, "-5.40 ms"),
    ],
)
def test_three_digits(latency_ms: float, shown: str) -> None:
    assert column_latency(latency_ms) == shown
