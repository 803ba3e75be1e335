"""Building an engine with the Python module ``tensorrt``: one code path for TensorRT 8.6 to 11.4.

Precision: where networks can be strongly typed (10 and later) it is written in the ONNX file, and no flag may ask
for it; before that, flags allow it. Every version-dependent member is looked for, never inferred from a number.
"""

import importlib
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from fednas.export.board.problem import BoardProblem

PRECISION_FLAGS: Dict[str, Tuple[str, ...]] = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
"""Builder flags by precision, for the versions that need them."""


class BuildOrder(NamedTuple):
    """One engine to build."""

    onnx: bytes
    name: str
    """Of the file, for messages."""
    input_name: str
    shapes: Optional[Tuple[Tuple[int, ...], Tuple[int, ...], Tuple[int, ...]]]
    """Smallest, tuned and largest input, batch first; None where the batch is fixed."""
    precision: str
    workspace_bytes: int
    level: int
    one_stream: bool = False
    """Nothing runs beside another: for a profile of single layers."""


class BuiltEngine(NamedTuple):
    """What the builder gave."""

    plan: bytes
    timing_cache: Optional[bytes]
    tensorrt_version: str
    strongly_typed: bool
    flags: Tuple[str, ...]
    """Precision flags that were set."""


def import_tensorrt() -> Any:
    """The module ``tensorrt``; raises `BoardProblem` if it is not here."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError as err:
        raise BoardProblem(
            "the Python module tensorrt cannot be imported (%s)" % err,
            "on Jetson apt install python3-libnvinfer, elsewhere pip install tensorrt",
        ) from err


def is_strongly_typed(trt: Any) -> bool:
    """Whether this version takes the types from the file."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def build_engine(order: BuildOrder, timing_cache: Optional[Callable[[Any], Optional[bytes]]] = None) -> BuiltEngine:
    """Build it.

    Args:
        order: what to build.
        timing_cache: is given the module and returns the old cache, empty for a new one, or None for none.

    Raises:
        BoardProblem: with what TensorRT said.
    """
    trt = import_tensorrt()
    log = error_log(trt)
    builder = _new_builder(trt, log)
    network, strongly_typed = _new_network(trt, builder)
    # The parser owns the weights of the network, so it must live until the engine is built.
    parser = _parsed(trt, network, log, order)
    config = builder.create_builder_config()
    _configure(trt, builder, config, order)
    flags = () if strongly_typed else _allow_precision(trt, config, order.precision)
    cache = _use_timing_cache(config, None if timing_cache is None else timing_cache(trt))
    plan = builder.build_serialized_network(network, config)
    del parser
    if plan is None:
        raise BoardProblem(
            "TensorRT %s could not build an engine of %s: %s" % (trt.__version__, order.name, said(log.errors)),
            "try more workspace",
        )
    return BuiltEngine(
        plan=bytes(plan),
        timing_cache=None if cache is None else bytes(cache.serialize()),
        tensorrt_version=str(trt.__version__),
        strongly_typed=strongly_typed,
        flags=flags,
    )


def error_log(trt: Any) -> Any:
    """A logger of TensorRT that keeps what went wrong, for our own message."""

    class ErrorLog(trt.ILogger):  # type: ignore[misc]
        """Keeps errors in ``errors``."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: List[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

    return ErrorLog()


def said(messages: List[str]) -> str:
    """The first messages in one line."""
    return "; ".join(" ".join(message.split()) for message in messages[:3]) or "it gave no reason"


def _new_builder(trt: Any, log: Any) -> Any:
    try:
        return trt.Builder(log)
    except TypeError as err:
        # What the bindings raise when the library cannot start, for one because there is no GPU.
        raise BoardProblem(
            "TensorRT %s cannot start here: %s" % (trt.__version__, said(log.errors)),
            "it needs an NVIDIA GPU and a driver that fits",
        ) from err


def _new_network(trt: Any, builder: Any) -> Tuple[Any, bool]:
    wanted = trt.NetworkDefinitionCreationFlag
    flags = 0
    if hasattr(wanted, "EXPLICIT_BATCH"):  # 8.x needs it, 10.x ignores it, 11.x has not got it
        flags |= 1 << int(wanted.EXPLICIT_BATCH)
    strongly_typed = is_strongly_typed(trt)
    if strongly_typed:
        flags |= 1 << int(wanted.STRONGLY_TYPED)
    return builder.create_network(flags), strongly_typed


def _parsed(trt: Any, network: Any, log: Any, order: BuildOrder) -> Any:
    parser = trt.OnnxParser(network, log)
    if parser.parse(order.onnx):
        return parser
    errors = [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
    raise BoardProblem(
        "TensorRT %s cannot parse %s: %s" % (trt.__version__, order.name, said(errors or log.errors)),
        "export with the opset that this version reads",
    )


def _configure(trt: Any, builder: Any, config: Any, order: BuildOrder) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace_bytes)
    if hasattr(config, "builder_optimization_level"):  # from 8.6 on
        config.builder_optimization_level = order.level
    if order.one_stream and hasattr(config, "max_aux_streams"):  # from 8.6 on
        config.max_aux_streams = 0
    # Without details the inspector knows no layer's precision.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if order.shapes is None:
        return
    profile = builder.create_optimization_profile()
    profile.set_shape(order.input_name, *order.shapes)
    config.add_optimization_profile(profile)


def _allow_precision(trt: Any, config: Any, precision: str) -> Tuple[str, ...]:
    for name in PRECISION_FLAGS[precision]:
        config.set_flag(getattr(trt.BuilderFlag, name))
    return PRECISION_FLAGS[precision]


def _use_timing_cache(config: Any, content: Optional[bytes]) -> Any:
    if content is None:
        return None
    cache = config.create_timing_cache(content)
    # A cache of another version or GPU is refused, not misused.
    if not config.set_timing_cache(cache, False):
        raise BoardProblem("the timing cache belongs to another TensorRT version or GPU", "delete it")
    return config.get_timing_cache()
