"""ncnn on the processor."""

import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fednas.common import FednasError, read_bytes, read_text
from fednas.export import Precision
from fednas.export.ncnn_file import (
    EXTRA,
    PARAM_SUFFIX,
    WEIGHTS_SUFFIX,
    as_mat,
    converted,
    loaded_net,
    ncnn_version,
    pnnx_installed,
    run_net,
)
from fednas.export.ncnn_layout import require_channels, require_stored_as
from fednas.toolchain.measure.runtimes.base import LoadOrder, TimedModel, TimingRuntime, WallClockModel, random_input
from fednas.toolchain.measure.runtimes.onnx_input import onnx_model_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class NcnnModel(WallClockModel):
    """A network of ncnn; each call makes an extractor, as every user of ncnn must."""

    def __init__(self, net: Any, input_shape: tuple[int, ...], seed: int) -> None:
        self._net = net
        self._image = random_input(input_shape, seed)[0]
        self._mat: Any = as_mat(self._image)
        self._result: Any = None
        super().__init__(self._run_net)
        self._run_net()

    def _run_net(self) -> None:
        self._result = run_net(self._net, self._mat)

    @property
    def threads(self) -> int:
        """As the network's options say."""
        return int(self._net.opt.num_threads)

    def _last_output(self) -> "NDArray[np.float32]":
        import numpy as np

        return np.array(self._result, dtype=np.float32)[None]

    def _release(self) -> None:
        super()._release()
        self._result = self._mat = self._net = None


class NcnnCpu(TimingRuntime):
    """ncnn as our files are verified: computed in fp32, a number of threads, no Vulkan.

    Takes a float32 ONNX model, which is converted as it would be shipped (for ``fp16`` with halved weights), or shipped
    files by the name of their ``.param``, as they are.
    """

    name: ClassVar[str] = "ncnn"
    title: ClassVar[str] = "ncnn on the processor"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16")
    evidence: ClassVar[str] = "run on x86-64 by the tests"

    def require(self) -> None:
        """Look for the runtime and its converter."""
        missing = [] if importlib.util.find_spec("ncnn") is not None else ["ncnn"]
        missing += [] if pnnx_installed() else ["pnnx"]
        if missing:
            hint = f"pip install 'fednas-export[{EXTRA}]'"
            raise FednasError(
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed", hint=hint
            )

    def version(self) -> str:
        """Of the package."""
        return ncnn_version()

    def _load(self, order: LoadOrder) -> TimedModel:
        if order.input_shape[0] != 1:
            raise FednasError(
                f"ncnn takes one image at a time, so a batch of {order.input_shape[0]} cannot be timed",
                hint="use --batch 1",
            )
        model = order.model
        shipped = isinstance(model, Path) and model.name.endswith(PARAM_SUFFIX)
        net = _shipped_net(Path(str(model)), order) if shipped else _converted_net(order)
        return NcnnModel(net, order.input_shape, order.seed)


def _shipped_net(path: Path, order: LoadOrder) -> Any:
    """The files say neither height nor width, so these are believed."""
    net = loaded_net(path, threads=order.threads)
    param = read_text(path, "ncnn network")
    require_stored_as(order.precision, param, read_bytes(path.with_suffix(".bin"), "ncnn weights"))
    if len(order.input_shape) != 4:
        raise FednasError(f"model {path} does not run on an input of shape {list(order.input_shape)}")
    require_channels(param, order.input_shape[1])
    return net


def _converted_net(order: LoadOrder) -> Any:
    # Another shape would not be refused by ncnn: it would read beyond its memory.
    proto = onnx_model_for(order.model, order.input_shape)
    param, weights = converted(proto.SerializeToString(), order.input_shape, half=order.precision == "fp16")
    with tempfile.TemporaryDirectory(prefix="fednas-ncnn-") as name:
        path = Path(name) / f"model{PARAM_SUFFIX}"
        path.write_bytes(param)
        path.with_name(f"model{WEIGHTS_SUFFIX}").write_bytes(weights)
        return loaded_net(path, threads=order.threads)
