"""Running an exported model, whatever runtime it is for, behind one small interface."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fednas.common import ContractError, FednasError
from fednas.export.onnx_file import read_onnx_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH_SIZE = 256
"""Images given to the runtime at once where the caller has more."""


class Runner(ABC):
    """Runs one model. Use as a context manager: entering loads the model, leaving frees it.

    The public methods check, the private ones of a subclass work.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.input_shape: tuple[int, int, int] = (0, 0, 0)
        """(channels, height, width) of one image; known once entered."""
        self.classes = 0
        self.input_type = "float32"
        """What `infer` takes, ``float32`` or ``uint8``; known once entered."""
        self.computed: Mapping[str, int] = {}
        """Layers that multiply, counted by the type that they compute in; empty where the runtime does not say."""
        self._open = False

    def __enter__(self) -> Self:
        if self._open:
            raise ContractError("a runner was entered twice")
        try:
            self.input_shape, self.classes = self._load()
        except BaseException:
            self._unload()
            raise
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._unload()

    @property
    @abstractmethod
    def name(self) -> str:
        """Runtime, version and where it ran, such as ``onnxruntime 1.32.0 CPUExecutionProvider``."""

    @abstractmethod
    def _load(self) -> tuple[tuple[int, int, int], int]:
        """Make it ready; return (channels, height, width) and the number of classes. Raises `FednasError`."""

    @abstractmethod
    def _unload(self) -> None:
        """Free what `_load` took."""

    @abstractmethod
    def _infer(self, images: "NDArray[Any]") -> "NDArray[np.float32]":
        """Logits (n, classes), in memory that no later call reuses."""

    def infer(self, images: "NDArray[Any]") -> "NDArray[np.float32]":
        """Logits (n, classes) of ``images`` (n, channels, height, width), which must be of the ``input_type``.

        Raises `FednasError` for other shapes or types.
        """
        import numpy as np

        if not self._open:
            raise ContractError("a runner must be entered before it infers")
        if images.dtype.name != self.input_type or images.shape[1:] != self.input_shape or len(images) < 1:
            came = f"images of shape {images.shape} and type {images.dtype}"
            raise FednasError(f"{came} do not fit the model, which takes (n, {self.input_shape}) {self.input_type}")
        logits = self._infer(np.ascontiguousarray(images))
        if logits.shape != (len(images), self.classes):
            wanted = (len(images), self.classes)
            raise FednasError(f"model {self.path} gave logits of shape {logits.shape} instead of {wanted}")
        return logits

    def infer_all(self, images: "NDArray[Any]", batch_size: int = BATCH_SIZE) -> "NDArray[np.float32]":
        """As `infer`, in batches, so that any number of images fits in memory."""
        import numpy as np

        starts = range(0, max(len(images), 1), batch_size)
        return np.concatenate([self.infer(images[start : start + batch_size]) for start in starts])


class OrtRunner(Runner):
    """ONNX Runtime with exactly the execution provider that was asked for."""

    def __init__(self, path: Path, *, provider: str = "CPUExecutionProvider", threads: int = 1) -> None:
        super().__init__(path)
        self._provider = provider
        self._threads = threads
        self._session: Any = None

    @property
    def name(self) -> str:
        """Runtime, version and provider."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__} {self._provider}"

    def _load(self) -> tuple[tuple[int, int, int], int]:
        import onnxruntime

        available = onnxruntime.get_available_providers()
        if self._provider not in available:
            raise FednasError(
                f"onnxruntime has no {self._provider} here (it has: {', '.join(available)})",
                hint="install the onnxruntime package that carries it",
            )
        facts = read_onnx_file(self.path)
        self._session = self._new_session()
        self._require_as_asked()
        self.input_type = "uint8" if facts.input_type == "uint8" else "float32"
        return facts.image_shape, facts.classes

    def _require_as_asked(self) -> None:
        # Every session lists the processor last, also one that may not use it.
        used = self._session.get_providers()
        if used[0] != self._provider:
            raise FednasError(f"onnxruntime fell back to {used[0]} although {self._provider} was asked for")
        threads = self._session.get_session_options().intra_op_num_threads
        if threads != self._threads:
            raise FednasError(f"onnxruntime takes {threads} threads although {self._threads} were asked for")

    def _new_session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        if self._provider != "CPUExecutionProvider":
            # Otherwise single operators may silently run on the CPU.
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=[self._provider])
        except _ort_errors() as err:
            reason = str(err).partition("\n")[0]
            raise FednasError(f"onnxruntime cannot load {self.path}: {reason}", hint="export it again") from err

    def _unload(self) -> None:
        self._session = None

    def _infer(self, images: "NDArray[Any]") -> "NDArray[np.float32]":
        import numpy as np

        entry = self._session.get_inputs()[0]
        feed = {entry.name: images.astype(np.float16) if entry.type == "tensor(float16)" else images}
        try:
            logits: NDArray[np.float32] = self._session.run(None, feed)[0].astype(np.float32, copy=False)
        except _ort_errors() as err:
            reason = str(err).partition("\n")[0]
            raise FednasError(f"onnxruntime failed on {self.path}: {reason}") from err
        return logits


def _ort_errors() -> tuple[type[Exception], ...]:
    # These classes have no common base of their own.
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names)
