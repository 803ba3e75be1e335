"""ncnn behind the `Runner` interface."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError, read_text
from fednas.export.ncnn_file import as_mat, computed_precisions, loaded_net, ncnn_version, run_net
from fednas.export.ncnn_layout import require_channels
from fednas.export.runners import Runner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class NcnnRunner(Runner):
    """ncnn on the processor, in fp32 whatever its weights are stored in; takes ``.ncnn.param``, image by image."""

    def __init__(self, path: Path, *, image_shape: tuple[int, int, int], threads: int = 1) -> None:
        super().__init__(path)
        self._image_shape = image_shape
        self._threads = threads
        self._net: Any = None

    @property
    def name(self) -> str:
        """Runtime, version and device."""
        return f"ncnn {ncnn_version()} CPU"

    def _load(self) -> tuple[tuple[int, int, int], int]:
        import numpy as np

        self._net = loaded_net(self.path, threads=self._threads)
        require_channels(read_text(self.path, "ncnn network"), self._image_shape[0])
        black = np.zeros(self._image_shape, np.float32)
        logits = np.array(run_net(self._net, as_mat(black)))
        self.computed = computed_precisions(self._net, as_mat(black))
        if set(self.computed) != {"f32"}:
            kinds = ", ".join(self.computed) or "no layer that multiplies"
            raise FednasError(f"ncnn computes {self.path} in {kinds} although fp32 was asked for")
        if logits.ndim != 1:
            raise FednasError(f"model {self.path} gives {logits.shape} for an image, not logits")
        return self._image_shape, len(logits)

    def _unload(self) -> None:
        self._net = None

    def _infer(self, images: "NDArray[np.float32]") -> "NDArray[np.float32]":
        import numpy as np

        # Copied out one by one: an output is memory of ncnn's, gone with its extractor.
        return np.stack([np.array(run_net(self._net, as_mat(image)), dtype=np.float32) for image in images])
