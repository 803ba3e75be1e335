"""The model file of a candidate in the precision that its job measures, made by what ships such files."""

import tempfile
from pathlib import Path

from fednas.export import CalibrationImages, Int8Graph, fp16_from_onnx
from fednas.toolchain.measure.graphs import input_shape, network_onnx
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.plan import Specs

TENSORRT_RUNTIMES = ("tensorrt", "trtexec")


def candidate_onnx(specs: Specs, job: MeasuringJob) -> bytes:
    """The serialised model of these blocks in the precision, and in the form, that the job's runtime would be shipped.

    fp16 and int8 are made of the float32 model by the converters of the export. They are calibrated on one random
    input: of what calibration finds, a scale is only a number in the file, and how fast a layer runs does not depend
    on it. No accuracy may be read off such a model, but its weights are random anyway. fp16 differs where a shipped
    file has layers that stay in float32 because they would overflow: here none does.
    """
    # The converter of ncnn reads float32 graphs and halves the weights itself.
    if job.precision == "fp32" or job.runtime == "ncnn":
        return network_onnx(specs, batch=job.batch, seed=job.seed)
    # One image whatever the batch: the converters feed batches of their own size.
    content = _converted(network_onnx(specs, seed=job.seed), specs, job)
    return content if job.batch == 1 else _with_batch(content, job.batch)


def _converted(model: bytes, specs: Specs, job: MeasuringJob) -> bytes:
    from fednas.toolchain.measure.runtimes.base import random_input

    # "Real" is what the quantiser demands where accuracy counts.
    calibration = CalibrationImages(inputs=random_input(input_shape(specs, 1), job.seed), classes=0, seed=0, real=True)
    with tempfile.TemporaryDirectory(prefix="fednas-candidate-") as name:
        source, target = Path(name) / "fp32.onnx", Path(name) / f"{job.precision}.onnx"
        source.write_bytes(model)
        if job.precision == "fp16":
            fp16_from_onnx(source, target, calibration)
        else:
            form = "tensorrt" if job.runtime in TENSORRT_RUNTIMES else "onnxruntime"
            Int8Graph(source, calibration, form, Path(name)).write(target)
        return target.read_bytes()


def _with_batch(content: bytes, batch: int) -> bytes:
    """Our graphs say their batch only where they say what enters and leaves."""
    import onnx

    model = onnx.load_model_from_string(content)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return bytes(model.SerializeToString(deterministic=True))
