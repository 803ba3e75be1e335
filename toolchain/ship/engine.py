"""A TensorRT engine beside the model, where this very machine can build the device's engine."""

from pathlib import Path

from fednas.export import EngineOptions, engine_from_onnx, tensorrt_status
from fednas.profiles import DeviceProfile
from fednas.toolchain.doctor import nvidia_gpu


def build_engine_here(model_file: Path, profile: DeviceProfile, precision: str) -> tuple[str, ...]:
    """Build ``model.PRECISION.plan`` beside ``model_file`` if this machine is of the device's kind.

    An engine runs only on the kind of GPU and the TensorRT version that built it; so without the ``tensorrt``
    module, or on another GPU, none is built, and the folder's build script does it on the board.

    Returns:
        What the report must say about it.

    Raises:
        FednasError: TensorRT is here but could not build the engine.
    """
    if profile.tensorrt is None or not tensorrt_status().can_build:
        return ()
    here, wanted = nvidia_gpu().compute_capability, profile.tensorrt.compute_capability
    if here not in (None, wanted):
        return (f"The TensorRT engine: not built here, because this GPU has capability {here}, the device {wanted}.",)
    plan = model_file.with_suffix(".plan")
    engine = engine_from_onnx(model_file, plan, EngineOptions(precision=precision))
    return (
        f"{plan.name}: built here with TensorRT {engine.tensorrt_version}; neither its parity, its accuracy nor its "
        "latency was checked.",
    )
