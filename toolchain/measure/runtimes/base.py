"""The interface behind which every runtime is timed, and what all of them share."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from fednas.common import ContractError, FednasError
from fednas.export import Precision, tolerance_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NANOSECONDS_PER_MS = 1e6
ENQUEUE_BOUND = 0.8
"""Share of the device's time from which on enqueueing is said to bind it; trtexec warns at the same."""


class LayerTime(NamedTuple):
    """One layer of a model, as its runtime's own profile has it."""

    name: str
    """As the runtime calls it; of our graphs it names the block, or the nodes that were fused."""
    milliseconds: float
    """Of one call."""


class TimedModel(ABC):
    """One loaded model with random input in place, so that a call copies nothing.

    Use it as a context manager, or close it. The public methods check, the private ones of a subclass work.
    """

    doubts: tuple[str, ...] = ()
    """What the runtime leaves open about it, such as the precision that its layers really have."""

    def __init__(self) -> None:
        self._open = True
        self._called = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _milliseconds(self, times: int) -> float:
        """Time of one of ``times`` calls in a row."""

    @abstractmethod
    def _last_output(self) -> "NDArray[np.float32]":
        """What the last call gave, with the batch first."""

    @abstractmethod
    def _release(self) -> None:
        """Free what loading took."""

    def call(self, times: int = 1) -> float:
        """Run ``times`` in a row; milliseconds of one of them."""
        self._require_open()
        if times < 1:
            raise ContractError(f"a model cannot be called {times} times")
        self._called = True
        return self._milliseconds(times)

    def repetitions(self, reading_ms: float, probes: int = 8) -> int:
        """Calls that fill a reading of ``reading_ms``, so that the timer's own share stays small."""
        fastest_ms = min(self.call() for _ in range(probes))
        return max(1, round(reading_ms / fastest_ms)) if fastest_ms > 0 else 1

    def output(self) -> "NDArray[np.float32]":
        """What the last call gave, with the batch first; called first if it never was."""
        self._require_open()
        if not self._called:
            self.call()
        return self._last_output()

    def close(self) -> None:
        """Free the model; may be called twice."""
        if self._open:
            self._open = False
            self._release()

    def _require_open(self) -> None:
        if not self._open:
            raise ContractError("a timed model was used after it was closed")


class WallClockModel(TimedModel):
    """A model whose call returns when its output is there, so that the wall clock times it."""

    def __init__(self, run: Callable[[], object]) -> None:
        super().__init__()
        self._run: Callable[[], object] = run

    def _milliseconds(self, times: int) -> float:
        run, clock = self._run, time.perf_counter_ns
        start = clock()
        for _ in range(times):
            run()
        return (clock() - start) / (times * NANOSECONDS_PER_MS)

    def _release(self) -> None:
        self._run = _closed


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReading:
    """Calls on a GPU, timed by its own clock and by that of the processor that enqueues them."""

    gpu_ms: float
    """Of one call, between two events on the device; holds the gaps in which the device waits for the processor."""
    enqueue_ms: float
    """Of one call: what the processor takes to hand it over."""

    @property
    def enqueue_bound(self) -> bool:
        """Whether the processor, and not the GPU, sets the pace: then ``gpu_ms`` says little about the GPU."""
        return self.enqueue_ms > ENQUEUE_BOUND * self.gpu_ms


class DeviceTimedModel(TimedModel):
    """A model on a GPU; `call` gives the GPU's time, `read` that of the processor beside it."""

    @abstractmethod
    def _read(self, times: int) -> DeviceReading:
        """Enqueue ``times`` calls between two events, and wait."""

    def read(self, times: int = 1) -> DeviceReading:
        """Run ``times`` in a row; GPU and enqueue time of one of them."""
        self._require_open()
        if times < 1:
            raise ContractError(f"a model cannot be called {times} times")
        self._called = True
        return self._read(times)

    def _milliseconds(self, times: int) -> float:
        return self._read(times).gpu_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """What is to be loaded, and how."""

    model: bytes | Path
    """ONNX, a file or in memory; one input and one output."""
    input_shape: tuple[int, ...]
    """With the batch first; the times are those of the whole batch."""
    threads: int = 1
    """Of a runtime on the processor; one on a GPU takes no notice."""
    seed: int = 0
    """Of the input, which is standard normal."""
    precision: Precision = "fp32"
    """Of the model."""
    cache: Path | None = None
    """Folder where a runtime that times kernels while it builds keeps their times: the next model is then built sooner,
    and of the same kernels. Others take no notice."""


class TimingRuntime(ABC):
    """A runtime that can load our ONNX models and time them."""

    name: ClassVar[str]
    """As ``--runtime`` takes it."""
    title: ClassVar[str]
    """What a person calls it, with the processor that it uses."""
    precisions: ClassVar[tuple[Precision, ...]]
    """Of the ONNX models that it takes."""
    on_gpu: ClassVar[bool] = False
    networks_only: ClassVar[bool] = False
    """Whether only whole networks can be timed, and building one takes so long that single blocks do not pay."""
    gives_layers: ClassVar[bool] = False
    """Whether `layers` has anything to say."""
    evidence: ClassVar[str]
    """What of this code was run for real, in a sentence."""

    @abstractmethod
    def require(self) -> None:
        """Raise a one-line `FednasError` if it cannot run here; cheap, so that `doctor` can ask all of them."""

    @abstractmethod
    def version(self) -> str:
        """Of the runtime; raises `FednasError` if it is not here."""

    @abstractmethod
    def _load(self, order: LoadOrder) -> TimedModel:
        """As `load`, of a precision that it takes, on a machine where it can run."""

    def load(
        self,
        model: bytes | Path,
        *,
        input_shape: tuple[int, ...],
        threads: int = 1,
        seed: int = 0,
        precision: str = "fp32",
        cache: Path | None = None,
    ) -> TimedModel:
        """Load an ONNX model and put a random input in place; the arguments are those of `LoadOrder`.

        Raises `FednasError` if it cannot run here, cannot take the model, the shape or the precision, or fell back to
        something else than was asked for.
        """
        self.require()
        taken = self.require_precision(precision)
        return self._load(
            LoadOrder(model=model, input_shape=input_shape, threads=threads, seed=seed, precision=taken, cache=cache)
        )

    def layers(self, order: LoadOrder, runs: int) -> tuple[LayerTime, ...]:
        """Time every layer in ``runs`` calls of a copy of the model that is loaded for it alone.

        Profiling slows a model down, so one that is timed is never profiled. Raises `FednasError` as `load`.
        """
        if not self.gives_layers or runs < 1:
            raise ContractError(f"{self.name} was asked for the layers of {runs} calls")
        self.require()
        return self._layers(order, runs)

    def _layers(self, order: LoadOrder, runs: int) -> tuple[LayerTime, ...]:
        """As `layers`, where the runtime gives them."""
        raise NotImplementedError

    def require_precision(self, precision: str) -> Precision:
        """``precision``, if models of it can be timed; raises `FednasError` otherwise."""
        if precision not in self.precisions:
            raise FednasError(
                f"{self.name} cannot time {precision} models; it takes {', '.join(self.precisions)}",
                hint="choose another --precision or --runtime",
            )
        return tolerance_for(precision).precision


def random_input(input_shape: tuple[int, ...], seed: int) -> "NDArray[np.float32]":
    """Standard normal numbers of ``input_shape``; the same for all runtimes."""
    import numpy as np

    return np.random.default_rng(seed).standard_normal(input_shape, dtype=np.float32)


def model_name(model: bytes | Path) -> str:
    """How messages call it."""
    return "a model of ours" if isinstance(model, bytes) else f"model {model}"


def _closed() -> None:
    raise ContractError("a timed model was used after it was closed")
