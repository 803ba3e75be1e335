"""Prices of a table: hand-worked sums, and refusal of what it does not have."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from table_examples import BODY, HEAD, NETWORK, STEM, entry, make_table

from fednas.common import FednasError
from fednas.latency_tables import (
    Calibration,
    Interval,
    MeasuredLatencyModel,
    border_numbers,
    contribution_ms,
    load_latency_model,
    require_fit,
    save_table,
)


def test_without_calibration_a_network_costs_the_sum_of_its_blocks() -> None:
    prediction = MeasuredLatencyModel(make_table()).predict(NETWORK)
    assert prediction.latency_ms == 6.0
    assert (prediction.low_ms, prediction.high_ms) == (6.0 / 1.25, 6.0 * 1.25)
    assert (prediction.coverage, prediction.kind) == (0.9, "measured")


def test_border_numbers_leave_out_what_the_network_itself_takes_and_gives() -> None:
    assert border_numbers(STEM) == 8 * 4 * 4
    assert border_numbers(BODY) == 8 * 4 * 4 + 16 * 2 * 2
    assert border_numbers(HEAD) == 16 * 2 * 2


def test_calibration_by_hand() -> None:
    calibration = Calibration(
        intercept_ms=0.5,
        scale=1.2,
        overhead_ms=0.1,
        reorder_ms_per_number=0.001,
        cold_ms_per_weight=0.0001,
        networks=5,
    )
    # BODY: weights 9*8*(8+16) + 8 + 16 + 8*16 + 16 = 1896; border 128 + 64 = 192 numbers.
    assert contribution_ms(BODY, 2.0, calibration) == pytest.approx(1.2 * 2 - 0.1 - 0.192 + 0.1896)
    model = MeasuredLatencyModel(make_table(calibration=calibration))
    terms = model.additive_terms(NETWORK)
    assert terms.intercept_ms == 0.5
    assert terms.contributions_ms[1] == contribution_ms(BODY, 2.0, calibration)
    assert terms.total_ms == model.predict(NETWORK).latency_ms
    assert terms.total_ms == pytest.approx(0.5 + sum(terms.contributions_ms))


def test_a_block_keeps_a_share_of_its_latency_however_large_the_overhead() -> None:
    assert contribution_ms(STEM, 2.0, Calibration(overhead_ms=5.0)) == pytest.approx(0.1)


def test_unknown_blocks_are_named_and_never_priced_as_zero() -> None:
    model = MeasuredLatencyModel(make_table(), name="cpu.json")
    wider, deeper = replace(STEM, out_channels=24), replace(BODY, mid_channels=64)
    assert model.missing(NETWORK) == ()
    assert model.missing([deeper, STEM, wider, deeper]) == tuple(sorted((wider, deeper)))
    for ask in (model.additive_terms, model.predict):
        with pytest.raises(FednasError, match=r"cpu\.json lacks 1 block of this space: stem-in3-out24-hw4-s1;"):
            ask([wider, BODY, HEAD])
    many = [replace(BODY, mid_channels=middle) for middle in (16, 24, 32, 40, 48)]
    with pytest.raises(FednasError, match=r"lacks 5 blocks of this space: .* and 2 more"):
        model.additive_terms(many)


def test_a_prediction_says_how_much_of_it_was_measured_by_nobody() -> None:
    modelled = entry(BODY, 2.0, origin="modelled", samples=0)
    found = MeasuredLatencyModel(make_table(entry(STEM, 1.0), modelled, entry(HEAD, 3.0))).predict(NETWORK)
    assert found.modelled == pytest.approx(1 / 3)  # 2 of 6 ms
    assert (found.label, found.holds) == ("predicted, 33% of it from modelled entries", "90% of networks")
    measured = MeasuredLatencyModel(make_table()).predict(NETWORK)
    assert (measured.modelled, measured.label) == (0.0, "predicted")


def test_a_table_without_an_error_of_its_own_does_not_predict() -> None:
    with pytest.raises(FednasError, match="holds no error of its own"):
        MeasuredLatencyModel(make_table(interval=None)).predict(NETWORK)


def test_a_table_for_another_job_is_refused() -> None:
    model = MeasuredLatencyModel(make_table(batch=4), name="cpu.json")
    require_fit(model, precision="fp32", batch=4, specs=NETWORK)
    with pytest.raises(FednasError, match=r"cpu\.json is for fp32, but fp16 is asked for"):
        require_fit(model, precision="fp16", batch=4, specs=NETWORK)
    with pytest.raises(FednasError, match=r"cpu\.json is for batch 4, but batch 1 is asked for"):
        require_fit(model, precision="fp32", batch=1, specs=NETWORK)
    with pytest.raises(FednasError, match="lacks 1 block"):
        require_fit(model, precision="fp32", batch=4, specs=[replace(HEAD, out_channels=100)])


def test_identity_names_the_file_and_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    save_table(make_table(entry(STEM, 1.0), interval=Interval(coverage=0.9, factor=2.0), threads=3), path)
    identity = load_latency_model(path).identity
    assert identity.name == "board.json"
    assert identity.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (identity.device, identity.kind, identity.threads) == ("cpu", "measured", 3)
