"""ncnn: its own files from an ONNX file through pnnx, and networks loaded with nothing left to chance."""

import importlib.util
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fednas.common import FednasError, import_extra, write_atomic
from fednas.export.evidence import Precision
from fednas.export.ncnn_layout import require_stored_as
from fednas.export.onnx_file import read_onnx_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXTRA = "ncnn"
INPUT, OUTPUT = "in0", "out0"
"""What pnnx calls the first input and the first output."""
PARAM_SUFFIX, WEIGHTS_SUFFIX = ".ncnn.param", ".ncnn.bin"
_HALF_OPTIONS = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")
_BFLOAT_OPTIONS = ("use_bf16_storage", "use_bf16_packed")
COMPUTING_LAYERS = ("Convolution", "ConvolutionDepthWise", "InnerProduct", "Gemm", "MatMul")
"""ncnn's names of the layers that multiply."""
_MAGIC = "7767517"
_TIMEOUT_S = 600


def import_ncnn() -> ModuleType:
    """The module; raises `FednasError` that names the pip command."""
    return import_extra("ncnn", EXTRA, "running networks under ncnn")


def ncnn_version() -> str:
    """Such as ``1.0.20261020``."""
    return str(import_ncnn().__version__)


def ncnn_from_onnx(onnx_path: Path, folder: Path, precision: Precision) -> tuple[Path, Path]:
    """Write ``model.PRECISION.ncnn.param`` and ``.bin`` of a float32 ONNX file into ``folder``; return both.

    Args:
        onnx_path: a float32 file; its batch dimension is left out, because ncnn takes one image at a time.
        folder: where to write.
        precision: ``fp32``, or ``fp16`` for weights that are stored as half-precision numbers.

    Raises:
        FednasError: pnnx is not installed, another precision, or an operator that ncnn has not got.
    """
    if precision not in ("fp32", "fp16"):
        raise FednasError(f"ncnn cannot take {precision}; it takes fp32, fp16", hint="choose another --runtime")
    image_shape = read_onnx_file(onnx_path).image_shape
    param, weights = converted(onnx_path.read_bytes(), (1, *image_shape), half=precision == "fp16")
    param_path = folder / f"model.{precision}{PARAM_SUFFIX}"
    weights_path = folder / f"model.{precision}{WEIGHTS_SUFFIX}"
    write_atomic(weights_path, weights)
    write_atomic(param_path, param)
    return param_path, weights_path


def converted(onnx_model: bytes, input_shape: tuple[int, ...], *, half: bool = False) -> tuple[bytes, bytes]:
    """The two ncnn files of a float32 ONNX model for ``input_shape`` (1, channels, height, width).

    Raises `FednasError` if pnnx is not installed, fails, leaves operators that ncnn has not got, or stores the weights
    of a layer otherwise than asked.
    """
    shape = ",".join(str(size) for size in input_shape)
    # Without these it adds that many files of other formats; they cannot be switched off.
    with tempfile.TemporaryDirectory(prefix="fednas-pnnx-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(onnx_model)
        command = [_pnnx(), "model.onnx", f"inputshape=[{shape}]", f"fp16={int(half)}"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise FednasError(f"pnnx cannot be run: {err}", hint=f"pip install 'fednas-export[{EXTRA}]'") from err
        param, weights = folder / f"model{PARAM_SUFFIX}", folder / f"model{WEIGHTS_SUFFIX}"
        if done.returncode != 0 or not param.is_file() or not weights.is_file():
            said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise FednasError(
                f"pnnx could not convert the model (it ended with {done.returncode}): {(said or ['no output'])[-1]}",
                hint="export it again",
            )
        text = param.read_text(encoding="utf-8", errors="replace")
        _require_known_operators(text)
        require_stored_as("fp16" if half else "fp32", text, weights.read_bytes())
        return param.read_bytes(), weights.read_bytes()


def loaded_net(param: Path, *, threads: int, half: bool = False) -> Any:
    """The network of ``param`` and the ``.bin`` beside it, on the processor.

    Args:
        param: ``NAME.ncnn.param``.
        threads: of ncnn.
        half: let it store numbers in half precision, and compute in it where the processor can; else neither
            fp16 nor bf16 is used, whatever the weights are stored in.

    Raises:
        FednasError: ncnn is not installed, cannot read the files, or does not do as it was asked.
    """
    ncnn = import_ncnn()
    weights = param.with_suffix(".bin")
    for path in (param, weights):
        if not path.is_file():
            raise FednasError(f"ncnn file {path} does not exist", hint="keep .param and .bin together")
    # ncnn writes what it dislikes to stderr and goes on; a file of another kind is better told apart before.
    with param.open("rb") as stream:
        if stream.readline(64).strip() != _MAGIC.encode():
            raise FednasError(f"{param} is no ncnn network", hint="convert it again")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = threads
    for option in _HALF_OPTIONS:
        setattr(net.opt, option, half)
    for option in _BFLOAT_OPTIONS:
        setattr(net.opt, option, False)
    if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
        raise FednasError(f"ncnn cannot load {param}", hint="convert it again with the ncnn that is installed")
    if (list(net.input_names()), list(net.output_names())) != ([INPUT], [OUTPUT]):
        raise FednasError(f"{param} has not the one input {INPUT} and the one output {OUTPUT}")
    _require_as_asked(net, threads, half)
    return net


def computed_precisions(net: Any, image: Any) -> dict[str, int]:
    """Layers that multiply, counted by the type in which their result lies in memory (``f32``, or ``16 bits``).

    ncnn does not say what a layer computes in, but half precision never goes with results of 32 bits. ``image`` is
    one of `as_mat`.
    """
    extractor = net.create_extractor()
    extractor.set_light_mode(False)  # keeps each layer's result, so that the network runs once
    extractor.input(INPUT, image)
    found = Counter[str]()
    for layer in net.layers():
        if layer.type in COMPUTING_LAYERS:
            code, result = extractor.extract(layer.tops[0], 1)  # 1: as it lies in memory
            if code != 0:
                raise FednasError(f"ncnn failed in layer {layer.name} (code {code})")
            found["f32" if result.elembits() == 32 else f"{result.elembits()} bits"] += 1
    return dict(sorted(found.items()))


def _require_as_asked(net: Any, threads: int, half: bool) -> None:
    """ncnn changes options that the machine cannot serve, without a word."""
    wanted = {"use_vulkan_compute": False, "num_threads": threads}
    wanted |= dict.fromkeys(_BFLOAT_OPTIONS, False)
    if not half:
        # Where half precision is allowed, a processor without it may well say no.
        wanted |= dict.fromkeys(_HALF_OPTIONS, False)
    found = {option: getattr(net.opt, option) for option in wanted}
    wrong = [
        f"{option} is {found[option]}, not {wanted[option]}" for option in wanted if found[option] != wanted[option]
    ]
    if net.vulkan_device() is not None:
        wrong.append("it runs on a Vulkan device")
    if wrong:
        raise FednasError(f"ncnn does not run as asked: {'; '.join(wrong)}", hint="use another version of ncnn")


def as_mat(image: "NDArray[np.float32]") -> Any:
    """An ``ncnn.Mat`` in the very memory of ``image`` (channels, height, width), which the caller must keep alive."""
    return import_ncnn().Mat(image)


def run_net(net: Any, image: Any) -> Any:
    """The output (an ``ncnn.Mat``) for one image of `as_mat`; raises `FednasError` if ncnn says that it failed.

    ncnn does not check the shape, but reads beyond its memory: that is the caller's to see to.
    """
    extractor = net.create_extractor()
    extractor.input(INPUT, image)
    code, output = extractor.extract(OUTPUT)
    if code != 0:
        raise FednasError(f"ncnn failed on an input of shape {[image.c, image.h, image.w]} (code {code})")
    return output


def pnnx_installed() -> bool:
    """Whether the converter is here; the package is not imported, because that would load torch."""
    return importlib.util.find_spec("pnnx") is not None


def _pnnx() -> str:
    spec = importlib.util.find_spec("pnnx")
    if spec is None or not spec.submodule_search_locations:
        raise FednasError(
            "pnnx is needed for converting to ncnn and is not installed", hint=f"pip install 'fednas-export[{EXTRA}]'"
        )
    return str(Path(spec.submodule_search_locations[0]) / "pnnx")


def _require_known_operators(param: str) -> None:
    layers = [line.split()[0] for line in param.splitlines()[2:] if line.strip()]
    # pnnx passes on what it cannot express under its own dotted names, such as pnnx.Expression or Tensor.to.
    unknown = sorted({layer for layer in layers if "." in layer} | {"QuantizeLinear"} & set(layers))
    if not layers or unknown:
        raise FednasError(f"ncnn has no operator for {', '.join(unknown) or 'an empty graph'}", hint="use fp32 or fp16")
