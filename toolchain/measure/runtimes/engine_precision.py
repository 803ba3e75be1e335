"""Whether an engine of TensorRT has the precision that was asked for, by its own account of its layers."""

from fednas.common import FednasError
from fednas.export import Precision
from fednas.export.board.inspector import engine_faults, read_inspector
from fednas.export.board.problem import BoardProblem


def precision_doubts(inspected: str, precision: Precision) -> tuple[str, ...]:
    """What the engine inspector's text leaves open about the precision; empty if it is as asked, or nobody would doubt.

    Engines are built in silence in fp32 where TensorRT has no faster kernel, or was not told: their latency is that
    of another model. Raises `FednasError` for such an engine, and for a text that is not the inspector's.
    """
    try:
        layers = read_inspector(inspected)
    except BoardProblem as err:
        raise FednasError(err.message, hint="is it TensorRT's own?") from err
    if faults := engine_faults(layers, precision):
        raise FednasError(
            f"the engine is not {precision} as asked: {'; '.join(faults)}",
            hint="look at what TensorRT says while it builds, or measure another --precision",
        )
    return () if any(layer.precision != "unknown" for layer in layers) else unknown_precision(precision)


def unknown_precision(precision: Precision) -> tuple[str, ...]:
    """The doubt about an engine that does not say what its layers compute in: that it is fp32 after all."""
    return () if precision == "fp32" else (f"an engine does not say whether its layers run in {precision}",)
