"""OpenVINO behind the `Runner` interface."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError
from fednas.export.openvino_file import compiled_on_cpu, computed_precisions, openvino_version
from fednas.export.runners import Runner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class OpenVinoRunner(Runner):
    """OpenVINO's processor plugin, with a number of threads and without bf16; takes ``.xml`` and ``.onnx``."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        super().__init__(path)
        self._threads = threads
        self._compiled: Any = None
        self._request: Any = None

    @property
    def name(self) -> str:
        """Runtime, version and device."""
        return f"openvino {openvino_version()} CPU"

    def _load(self) -> tuple[tuple[int, int, int], int]:
        self._compiled = compiled_on_cpu(self.path, threads=self._threads)
        self.computed = computed_precisions(self._compiled)
        self._request = self._compiled.create_infer_request()
        self.input_type = "uint8" if self._compiled.input(0).get_element_type().to_dtype() == "uint8" else "float32"
        if len(self._compiled.inputs) != 1 or len(self._compiled.outputs) != 1:
            raise FednasError(f"model {self.path} has not one input and one output")
        entering, leaving = (port.partial_shape for port in (self._compiled.input(0), self._compiled.output(0)))
        known = [d.get_length() if d.is_static else 0 for d in (*list(entering)[1:], *list(leaving)[1:])]
        if len(known) != 4 or not all(known):
            raise FednasError(f"model {self.path} takes {entering} and gives {leaving}, not images and logits")
        return (known[0], known[1], known[2]), known[3]

    def _unload(self) -> None:
        self._request = None
        self._compiled = None

    def _infer(self, images: "NDArray[np.float32]") -> "NDArray[np.float32]":
        import numpy as np

        entering = images.astype(self._compiled.input(0).get_element_type().to_dtype(), copy=False)
        try:
            self._request.infer({0: entering})
        except RuntimeError as err:
            raise FednasError(f"OpenVINO failed on {self.path}: {str(err).splitlines()[-1]}") from err
        # A copy, because the request writes its next output into the same memory.
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)
