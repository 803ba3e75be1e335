"""The search for rings of objects is off meanwhile and on again afterwards, unless it was off before."""

import gc

import pytest

from fednas.common import collector_paused


def _fail_meanwhile() -> None:
    with collector_paused():
        assert not gc.isenabled()
        raise ValueError("stop")


def test_it_goes_on_afterwards_also_after_an_error() -> None:
    with pytest.raises(ValueError, match="stop"):
        _fail_meanwhile()
    assert gc.isenabled()


def test_it_stays_off_where_it_was_off() -> None:
    with collector_paused():
        with collector_paused():
            pass
        assert not gc.isenabled()
