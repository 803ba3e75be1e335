"""Time on an NVIDIA GPU, by events on a stream; through libcudart, so that no Python package of CUDA is needed."""

from fednas.common import FednasError
from fednas.export import tensorrt_status
from fednas.export.board.cudart import CudaRuntime
from fednas.export.board.problem import BoardProblem


def require_gpu() -> None:
    """Raise `FednasError` if the driver finds no GPU; loads the driver's library and nothing else."""
    status = tensorrt_status()
    if not status.gpus:
        why = next((reason for reason in status.reasons if "GPU" in reason), "No NVIDIA GPU can be used.")
        raise FednasError(why.rstrip("."), hint="run this on the machine with the GPU")


class CudaClock:
    """A stream with two events on it."""

    def __init__(self, cuda: CudaRuntime | None = None) -> None:
        """Raises `FednasError` if CUDA is not here."""
        try:
            self._cuda = cuda if cuda is not None else CudaRuntime()
            self.stream = self._cuda.new_stream()
            """Handle, for whoever enqueues."""
            self._events = [self._cuda.new_event(), self._cuda.new_event()]
        except BoardProblem as err:
            raise FednasError(err.message, hint=err.hint) from err

    def start(self) -> None:
        """Note the device's time once all that was enqueued before is done."""
        self._cuda.synchronize(self.stream)
        self._cuda.record(self._events[0], self.stream)

    def stop_ms(self) -> float:
        """Wait for all that was enqueued since `start`; milliseconds that it took on the device."""
        self._cuda.record(self._events[1], self.stream)
        return self._cuda.elapsed_ms(self._events[0], self._events[1])

    def close(self) -> None:
        """Give the stream and the events back; may be called twice."""
        if self._events:
            self._cuda.destroy(self.stream, self._events)
            self._events = []
