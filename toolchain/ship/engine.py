"""A TensorRT engine beside the model, where this very machine can build the device's engine."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from fednas.export import (
    ArtefactEvidence,
    EngineLatency,
    EngineLayers,
    EngineOptions,
    EngineRecord,
    Precision,
    Runner,
    TensorRTRunner,
    engine_from_onnx,
    layer_faults,
    nothing_left_if_it_fails,
    tensorrt_status,
)
from fednas.profiles import DeviceProfile, TensorRT
from fednas.toolchain.doctor import nvidia_gpu

CLOCK = "device events, no CUDA graph"


def builds_engine(profile: DeviceProfile) -> bool:
    """Whether this machine is of the device's kind and can build its engine."""
    return profile.tensorrt is not None and tensorrt_status().can_build and not _other_gpu(profile.tensorrt)


def _other_gpu(tensorrt: TensorRT) -> str:
    """How the GPU here differs from the device's; empty if it does not, or does not say."""
    here, wanted = nvidia_gpu().compute_capability, tensorrt.compute_capability
    return "" if here in (None, wanted) else f"this GPU has capability {here}, the device {wanted}"


def engine_here(
    model_file: Path,
    profile: DeviceProfile,
    precision: Precision,
    proof: Callable[[Runner], ArtefactEvidence],
    *,
    seconds: float,
    kept: Collection[str] = (),
    options: EngineOptions | None = None,
) -> tuple[EngineRecord | None, tuple[str, ...]]:
    """Build ``model.PRECISION.plan`` beside ``model_file`` if this machine is of the device's kind, and prove it.

    An engine runs only on the kind of GPU and the TensorRT version that built it; so without the ``tensorrt``
    module, or on another GPU, none is built, and the folder's script does it on the board.

    Args:
        model_file: the ONNX file.
        profile: of the device.
        precision: what the file holds.
        proof: holds a runner against the source, as the ONNX file was.
        seconds: spent on measuring; 0: latency is not measured.
        kept: names of convolutions and matrix products that the file keeps in fp32.
        options: how to build it; the precision is that of the file.

    Returns:
        What was found out about the engine, if one was built, and what the report must say.

    Raises:
        FednasError: TensorRT is here but could not build or run the engine; then none is left.
    """
    if profile.tensorrt is None or not tensorrt_status().can_build:
        return None, ()
    if other := _other_gpu(profile.tensorrt):
        return None, (f"The TensorRT engine: not built here, because {other}.",)
    plan = model_file.with_suffix(".plan")
    start = time.perf_counter()
    with nothing_left_if_it_fails(model_file.parent):
        built = engine_from_onnx(model_file, plan, replace(options or EngineOptions(), precision=precision))
        build_seconds = time.perf_counter() - start
        with TensorRTRunner(plan) as runner:
            evidence = proof(runner)
            samples = runner.time_ms(seconds=seconds) if seconds > 0 else []
            layers = runner.layers()
    record = EngineRecord(
        model=model_file.name,
        precision=precision,
        tensorrt_version=built.tensorrt_version,
        strongly_typed=built.strongly_typed,
        sha256=built.sha256,
        size_bytes=built.size_bytes,
        build_seconds=round(build_seconds, 3),
        evidence=evidence,
        latency=EngineLatency.of(samples, batch=1, clock=CLOCK) if samples else None,
        layers=EngineLayers.of(layers),
        faults=layer_faults(layers, precision, kept, strongly_typed=built.strongly_typed),
    )
    remarks = [f"{plan.name}: it runs only with TensorRT {built.tensorrt_version} on this kind of GPU."]
    if not record.layers.known:
        remarks.append(f"{plan.name}: TensorRT does not say in which precision its layers run.")
    return record, tuple(remarks)
