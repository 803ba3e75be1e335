"""For which batches an engine is built."""

from dataclasses import dataclass

from fednas.common import FednasError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRange:
    """Batch sizes that an engine accepts, and the one that it is tuned for."""

    smallest: int = 1
    tuned: int = 1
    largest: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.tuned <= self.largest:
            raise FednasError(
                f"batch sizes {self.smallest}, {self.tuned}, {self.largest} are not in order",
                hint="give the smallest, the one to tune for, and the largest, from 1 up",
            )
