"""A request to end, as `kill`, `docker stop` and time limits send it, unwinds the stack like Ctrl-C does."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class AskedToEnd(SystemExit):
    """A signal asked this process to end; uncaught, it ends with the status that shells report for that signal.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.status = 128 + number
        self.signal_name = signal.Signals(number).name


@contextlib.contextmanager
def ending_signals_raise(*names: str) -> Iterator[None]:
    """Signals of these names raise `AskedToEnd` meanwhile, so that whatever was begun is tidied up.

    Names that this system does not know are left out; outside of the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise AskedToEnd(number)

    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    old = [signal.signal(number, unwind) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)
