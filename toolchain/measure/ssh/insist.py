"""Trying again while the link to a board is broken."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fednas.common import FednasError
from fednas.toolchain.measure.ssh.link import CHANGED_KEY, Link, LinkError, refusal

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a board is asked, and how long one that does not answer is waited for."""

    first_poll_s: float = 2.0
    """Doubles with every poll: what fails fails early, and later polls must not disturb the readings."""
    poll_s: float = 30.0
    first_retry_s: float = 1.0
    """Doubles with every try."""
    retry_s: float = 30.0
    give_up_s: float = 900.0


class Insistent:
    """Does things over a link that may break; ``say`` is told once for each break."""

    def __init__(self, link: Link, patience: Patience, say: Callable[[str], None]) -> None:
        self._link = link
        self._patience = patience
        self._say = say

    def __call__(self, action: Callable[[], T]) -> T:
        """The result of ``action``; raises `FednasError` when patience is at its end."""
        lost_at, pause = math.inf, self._patience.first_retry_s
        while True:
            try:
                return action()
            except LinkError as err:
                if lost_at == math.inf:
                    lost_at = time.monotonic()
                    self._say(f"{self._link.address}: the link broke ({err}); trying again")
                self._check_patience(lost_at, err)
            self._link.hang_up()
            self.pause(pause)
            pause = min(2 * pause, self._patience.retry_s)

    def pause(self, seconds: float) -> None:
        """Wait; raises `KeyboardInterrupt` when told to stop."""
        if self._link.stop.wait(seconds):
            raise KeyboardInterrupt

    def _check_patience(self, lost_at: float, err: LinkError) -> None:
        address = self._link.address
        if CHANGED_KEY in str(err):
            raise refusal(address, str(err)) from err
        if time.monotonic() - lost_at > self._patience.give_up_s:
            raise FednasError(
                f"{address} has not answered for {self._patience.give_up_s:.0f} s: {err}",
                hint="--resume takes the run up where it stands",
            ) from err
