"""A TensorRT engine behind the interface that all runtimes share, so that one mechanism proves them all."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.common import ContractError, read_bytes
from fednas.export.board.cudart import CudaRuntime
from fednas.export.board.inspector import EngineLayer, read_inspector
from fednas.export.board.trt_session import EngineSession
from fednas.export.runners import Runner
from fednas.export.tensorrt_engine import board_problems

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TensorRTRunner(Runner):
    """An engine (``.plan``) on this machine's GPU; images travel there and logits back for each call.

    Args:
        path: the engine, built by this TensorRT version on this kind of GPU.
        cuda: the CUDA runtime; the system's own unless given.
    """

    def __init__(self, path: Path, *, cuda: CudaRuntime | None = None) -> None:
        super().__init__(path)
        self._cuda = cuda
        self._session: EngineSession | None = None

    @property
    def name(self) -> str:
        """Runtime, version and GPU."""
        with board_problems(f"{self.path.name}: "):
            gpu = self.session.gpu()
        return f"tensorrt {self.session.tensorrt_version} {gpu.name or 'GPU'}"

    @property
    def session(self) -> EngineSession:
        """The engine itself, while the runner is entered: batches, timing by device events, inspector."""
        if self._session is None:
            raise ContractError("a runner must be entered before its engine is asked for")
        return self._session

    def time_ms(self, *, batch: int = 1, seconds: float = 10.0) -> list[float]:
        """Milliseconds of each run by device events, copies left out (`EngineSession.time`)."""
        with board_problems(f"{self.path.name}: "):
            return self.session.time(batch, seconds)

    def layers(self) -> list[EngineLayer]:
        """Every layer of the engine that computes, with its precision."""
        with board_problems(f"{self.path.name}: "):
            return read_inspector(self.session.layers_json())

    def _load(self) -> tuple[tuple[int, int, int], int]:
        plan = read_bytes(self.path, "engine")
        with board_problems(f"{self.path.name}: "):
            self._session = EngineSession(plan, self._cuda)
        self.input_type = "uint8" if self._session.input_type == "uint8" else "float32"
        return self._session.input_shape, self._session.classes

    def _unload(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None

    def _infer(self, images: "NDArray[Any]") -> "NDArray[np.float32]":
        import numpy as np

        session, most = self.session, self.session.largest_batch
        parts = []
        for start in range(0, len(images), most):
            part = images[start : start + most].astype(session.input_type)
            # An engine may have a smallest batch; the copies added to reach it are cut off again.
            missing = max(session.smallest_batch - len(part), 0)
            full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            with board_problems(f"{self.path.name}: "):
                raw = session.infer(full.tobytes(), len(full))
            logits = np.frombuffer(raw, session.output_type).reshape(len(full), session.classes)
            parts.append(logits[: len(part)].astype(np.float32))
        return np.concatenate(parts)
