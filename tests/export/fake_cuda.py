"""A stand-in for CUDA's runtime library, with the C functions that `fednas.export.board.cudart` calls."""
# ruff: noqa: N802, N815, ARG002  (the names are CUDA's own)

import ctypes
from collections.abc import Callable
from typing import Any


class FakeCuda:
    """Answers like libcudart 12.6 on an Orin; device memory is a dictionary, a run or its graph takes 0.5 ms."""

    def __init__(self) -> None:
        self.memory: dict[int, bytearray] = {}
        self.handles = 0
        self.clock_ms = 0.0
        self.events: dict[int, float] = {}
        self.streams: set[int] = set()
        self.graphs: set[int] = set()
        self.fails: dict[str, int] = {}
        self.cudaGetErrorString = Words()

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        action = getattr(self, f"_{name}")
        return lambda *arguments: self.fails.get(name) or action(*arguments) or 0

    def _new(self, pointer: Any) -> int:
        self.handles += 256
        pointer._obj.value = self.handles
        return self.handles

    def _cudaGetDeviceCount(self, pointer: Any) -> None:
        pointer._obj.value = 1

    def _cudaDeviceGetAttribute(self, pointer: Any, number: int, _device: int) -> None:
        pointer._obj.value = {75: 8, 76: 7}[number]

    def _cudaRuntimeGetVersion(self, pointer: Any) -> None:
        pointer._obj.value = 12060

    _cudaDriverGetVersion = _cudaRuntimeGetVersion

    def _cudaMalloc(self, pointer: Any, size: ctypes.c_size_t) -> None:
        self.memory[self._new(pointer)] = bytearray(size.value)

    def _cudaFree(self, pointer: ctypes.c_void_p) -> None:
        del self.memory[pointer.value]

    def _cudaMemcpy(self, target: Any, source: Any, size: ctypes.c_size_t, direction: int) -> None:
        if direction == 1:
            self.memory[target.value][: size.value] = source[: size.value]
        else:
            ctypes.memmove(target, bytes(self.memory[source.value]), size.value)

    def _cudaStreamCreate(self, pointer: Any) -> None:
        self.streams.add(self._new(pointer))

    def _cudaStreamSynchronize(self, stream: ctypes.c_void_p) -> None:
        assert stream.value in self.streams

    def _cudaStreamDestroy(self, stream: ctypes.c_void_p) -> None:
        self.streams.remove(stream.value)

    def _cudaEventCreate(self, pointer: Any) -> None:
        self.events[self._new(pointer)] = -1.0

    def _cudaEventRecord(self, event: ctypes.c_void_p, stream: ctypes.c_void_p) -> None:
        self.events[event.value] = self.clock_ms

    def _cudaEventSynchronize(self, event: ctypes.c_void_p) -> None:
        assert self.events[event.value] >= 0

    def _cudaEventElapsedTime(self, result: Any, start: ctypes.c_void_p, end: ctypes.c_void_p) -> None:
        result._obj.value = self.events[end.value] - self.events[start.value]

    def _cudaEventDestroy(self, event: ctypes.c_void_p) -> None:
        del self.events[event.value]

    def _cudaStreamBeginCapture(self, stream: ctypes.c_void_p, mode: int) -> None:
        assert (stream.value in self.streams, mode) == (True, 2)

    def _cudaStreamEndCapture(self, _stream: ctypes.c_void_p, pointer: Any) -> None:
        self.graphs.add(self._new(pointer))

    def _cudaGraphInstantiate(self, pointer: Any, graph: ctypes.c_void_p, *_rest: Any) -> None:
        assert graph.value in self.graphs
        self.graphs.add(self._new(pointer))

    def _cudaGraphDestroy(self, graph: ctypes.c_void_p) -> None:
        self.graphs.remove(graph.value)

    _cudaGraphExecDestroy = _cudaGraphDestroy

    def _cudaGraphLaunch(self, executable: ctypes.c_void_p, stream: ctypes.c_void_p) -> None:
        assert executable.value in self.graphs
        assert stream.value in self.streams
        self.clock_ms += 0.5


class Words:
    """A function whose result type can be set, as ctypes has them."""

    def __call__(self, error: int) -> bytes:
        return {2: b"out of memory", 35: b"CUDA driver version is insufficient"}[error]
