"""Memory, streams and events of the GPU, through ctypes and CUDA's own runtime library.

ctypes and not cuda-python: every board that runs TensorRT has libcudart, its C interface has not changed since
CUDA 10, and cuda-python has no wheels for the Python 3.6 and 3.8 of older Jetsons.
"""

import ctypes
import importlib.util
from pathlib import Path
from typing import Any, List, NamedTuple, Optional

from fednas.export.board.problem import BoardProblem

CUDART_NAMES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2")
CUDART_FOLDERS = ("/usr/local/cuda/lib64", "/usr/local/cuda/targets/aarch64-linux/lib")
TO_DEVICE, TO_HOST = 1, 2
"""Directions of cudaMemcpy."""
_MAJOR, _MINOR = 75, 76
"""cudaDevAttrComputeCapabilityMajor and -Minor."""
CAPTURE_RELAXED = 2
"""cudaStreamCaptureModeRelaxed: other threads of TensorRT may call CUDA meanwhile."""


class GpuFacts(NamedTuple):
    """What the CUDA libraries say about the GPU; None where they do not answer."""

    name: Optional[str]
    compute_capability: Optional[str]
    cuda: Optional[str]
    """Version of the runtime library, such as ``12.6``."""
    driver: Optional[str]
    """CUDA version that the driver supports."""


class CudaRuntime:
    """The few calls that running an engine needs; each raises `BoardProblem` with CUDA's own words."""

    def __init__(self, library: Optional[Any] = None) -> None:
        self._library = library if library is not None else _open_cudart()
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        self._check("cudaGetDeviceCount", ctypes.byref(count))
        if count.value < 1:
            raise BoardProblem("CUDA finds no GPU")

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the device."""
        pointer = ctypes.c_void_p()
        self._check("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        return int(pointer.value or 0)

    def free(self, address: int) -> None:
        """Give back what `allocate` gave; errors are ignored, there is nothing to do about them."""
        self._library.cudaFree(ctypes.c_void_p(address))

    def copy_to_device(self, address: int, content: bytes) -> None:
        """Copy and wait."""
        self._check("cudaMemcpy", ctypes.c_void_p(address), content, ctypes.c_size_t(len(content)), TO_DEVICE)

    def copy_to_host(self, address: int, size: int) -> bytes:
        """Copy and wait."""
        buffer = ctypes.create_string_buffer(size)
        self._check("cudaMemcpy", buffer, ctypes.c_void_p(address), ctypes.c_size_t(size), TO_HOST)
        return buffer.raw

    def new_stream(self) -> int:
        """Handle of a stream."""
        return self._new("cudaStreamCreate")

    def new_event(self) -> int:
        """Handle of an event with a time stamp."""
        return self._new("cudaEventCreate")

    def synchronize(self, stream: int) -> None:
        """Wait for everything in the stream."""
        self._check("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def record(self, event: int, stream: int) -> None:
        """Let the device note the time when it comes here."""
        self._check("cudaEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two events, of which it waits for the later one; resolution about 0.5 microseconds."""
        self._check("cudaEventSynchronize", ctypes.c_void_p(end))
        result = ctypes.c_float()
        self._check("cudaEventElapsedTime", ctypes.byref(result), ctypes.c_void_p(start), ctypes.c_void_p(end))
        return float(result.value)

    def destroy(self, stream: int, events: List[int]) -> None:
        """Give a stream and events back."""
        for event in events:
            self._library.cudaEventDestroy(ctypes.c_void_p(event))
        self._library.cudaStreamDestroy(ctypes.c_void_p(stream))

    def facts(self) -> GpuFacts:
        """Of the first GPU."""
        parts = [self._attribute(_MAJOR), self._attribute(_MINOR)]
        return GpuFacts(
            name=gpu_name(),
            compute_capability="%d.%d" % tuple(parts),
            cuda=self._version("cudaRuntimeGetVersion"),
            driver=self._version("cudaDriverGetVersion"),
        )

    def _new(self, function: str) -> int:
        handle = ctypes.c_void_p()
        self._check(function, ctypes.byref(handle))
        return int(handle.value or 0)

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._check("cudaDeviceGetAttribute", ctypes.byref(value), number, 0)
        return value.value

    def _version(self, function: str) -> str:
        value = ctypes.c_int()
        self._check(function, ctypes.byref(value))
        return "%d.%d" % (value.value // 1000, value.value % 1000 // 10)

    def _check(self, function: str, *arguments: Any) -> None:
        error = getattr(self._library, function)(*arguments)
        if error:
            said = self._library.cudaGetErrorString(error) or b"no words for it"
            raise BoardProblem(
                "CUDA says in %s: %s (error %d)" % (function, said.decode("utf-8", "replace"), error),
                "is there an NVIDIA GPU, free memory, and a driver that fits?",
            )


class CudaGraphs(CudaRuntime):
    """The CUDA runtime with graphs: one call starts all kernels of a run, as in an application that is tuned."""

    def begin_capture(self, stream: int) -> None:
        """What is enqueued from now on is noted down, not run."""
        self._check("cudaStreamBeginCapture", ctypes.c_void_p(stream), CAPTURE_RELAXED)

    def end_capture(self, stream: int) -> int:
        """Handle of the executable graph of what was noted down."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._check("cudaStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        # Five arguments up to CUDA 11, three from 12 on; zeros mean the defaults in both.
        nothing = ctypes.c_void_p(0)
        self._check("cudaGraphInstantiate", ctypes.byref(executable), graph, nothing, nothing, ctypes.c_size_t(0))
        self._check("cudaGraphDestroy", graph)
        return int(executable.value or 0)

    def launch(self, executable: int, stream: int) -> None:
        """Enqueue a graph."""
        self._check("cudaGraphLaunch", ctypes.c_void_p(executable), ctypes.c_void_p(stream))

    def destroy_graph(self, executable: int) -> None:
        """Give it back; errors are ignored, there is nothing to do about them."""
        self._library.cudaGraphExecDestroy(ctypes.c_void_p(executable))


def gpu_name() -> Optional[str]:
    """As the driver calls the first GPU; its library is on every machine with a GPU and needs no CUDA toolkit."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    name = ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetName(name, 256, 0):
        return None
    return name.value.decode("utf-8", "replace")


def _open_cudart() -> Any:
    for name in (*CUDART_NAMES, *_installed_cudart()):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise BoardProblem(
        "the CUDA runtime library libcudart is not here", "install CUDA, or pip install nvidia-cuda-runtime"
    )


def _installed_cudart() -> List[str]:
    folders = [Path(folder) for folder in CUDART_FOLDERS]
    found = importlib.util.find_spec("nvidia")
    for root in [] if found is None else list(found.submodule_search_locations or ()):
        folders += [Path(root) / "cuda_runtime" / "lib", Path(root) / "cu13" / "lib"]
    return [str(path) for folder in folders for path in sorted(folder.glob("libcudart.so*"))]
