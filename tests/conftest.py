"""Fixtures that every test may use."""

import signal
from pathlib import Path

import pytest

# A shell starts what it runs in the background deaf to Ctrl-C, and programs that tests start would be deaf too.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the data folder ../shared/data is not beside this checkout")
    return folder


@pytest.fixture
def steady_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that happens to run here meanwhile speaks against readings, so a test injects its one cause."""
    monkeypatch.setattr("fednas.toolchain.measure.unfit.sitting_remarks", lambda _: iter(()))
    monkeypatch.setattr("fednas.toolchain.measure.unfit.launch_dominated", lambda _: iter(()))
