"""Candidates in the precision that is measured: the files that an export would ship, with random weights."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from fednas.common import FednasError
from fednas.export import CalibrationImages, Int8Graph
from fednas.latency_tables import BlockKind, BlockSpec, Shortcut
from fednas.profiles import find_profile
from fednas.toolchain.measure import here, profile_space
from fednas.toolchain.measure.candidate_file import candidate_onnx
from fednas.toolchain.measure.graphs import input_shape, network_onnx, output_shape
from fednas.toolchain.measure.job import MeasuringJob
from fednas.toolchain.measure.local import collect_here
from fednas.toolchain.measure.plan import plan_for
from fednas.toolchain.measure.runtimes import TimedModel, find_runtime
from fednas.toolchain.measure.runtimes.base import LoadOrder
from fednas.toolchain.measure.runtimes.onnxruntime_session import OnnxRuntimeCpu
from fednas.toolchain.space import SearchSpace, blocks_of, distinct_blocks, largest_architecture

BLOCK = BlockSpec(
    kind=BlockKind.RESIDUAL,
    in_channels=8,
    mid_channels=16,
    out_channels=16,
    in_hw=4,
    stride=2,
    shortcut=Shortcut.PROJECTION,
)


@pytest.fixture
def job(tiny_space: SearchSpace) -> MeasuringJob:
    return MeasuringJob(
        device="cpu",
        plan=plan_for("network", tiny_space),
        runtime="onnxruntime",
        precision="int8",
        threads=1,
        batch=1,
        seconds=1.0,
        seed=0,
    )


def operators(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(content).graph.node]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "tensorrt", "trtexec"])
def test_int8_has_the_operators_of_what_ships(
    runtime: str, job: MeasuringJob, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    specs = blocks_of(tiny_space, largest_architecture(tiny_space))
    source = tmp_path / "model.onnx"
    source.write_bytes(network_onnx(specs))
    images = np.random.default_rng(3).standard_normal((32, *input_shape(specs, 1)[1:]), dtype=np.float32)
    form = "tensorrt" if runtime in ("tensorrt", "trtexec") else "onnxruntime"
    # The quantiser feeds several images at once, where ours take one.
    calibration = CalibrationImages(inputs=images[:1], classes=0, seed=0, real=True)
    shipped = [node.op_type for node in Int8Graph(source, calibration, form, tmp_path).model().graph.node]
    assert operators(candidate_onnx(specs, replace(job, runtime=runtime))) == shipped


def test_the_two_forms_of_a_block_are_those_that_their_runtimes_fuse(job: MeasuringJob) -> None:
    """Three convolutions, their pooling, and one addition; the quantised ReLU is in the unsigned numbers."""
    on_processor = Counter(operators(candidate_onnx([BLOCK], job)))
    assert on_processor["Relu"] == 0
    # Input, pooling, two ReLUs and projection, and output; of weights only what dequantises them is stored.
    assert on_processor["QuantizeLinear"] == 6
    on_gpu = Counter(operators(candidate_onnx([BLOCK], replace(job, runtime="trtexec"))))
    assert (on_gpu["Conv"], on_gpu["Relu"], on_gpu["AveragePool"]) == (3, 3, 1)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("batch", [1, 20])
def test_every_block_is_sound_runs_and_gives_its_shape(
    precision: str, batch: int, job: MeasuringJob, tiny_space: SearchSpace
) -> None:
    asked = replace(job, precision=precision, batch=batch)
    for spec in distinct_blocks(tiny_space)[::5]:
        content = candidate_onnx([spec], asked)
        onnx.checker.check_model(onnx.load_model_from_string(content), full_check=True)
        # ONNX Runtime runs fp16 too, only not as a runtime that is timed.
        with find_runtime("onnxruntime").load(content, input_shape=input_shape([spec], batch)) as model:
            model.call()
            assert model.output().shape == output_shape([spec], batch)
            assert np.isfinite(model.output()).all()


def test_fp16_computes_everything_in_half_precision(job: MeasuringJob) -> None:
    model = onnx.load_model_from_string(candidate_onnx([BLOCK], replace(job, runtime="tensorrt", precision="fp16")))
    assert {weight.data_type for weight in model.graph.initializer} == {onnx.TensorProto.FLOAT16}
    assert operators(model.SerializeToString()).count("Cast") == 2  # of input and output


def test_the_same_job_gives_the_same_bytes(job: MeasuringJob) -> None:
    assert candidate_onnx([BLOCK], job) == candidate_onnx([BLOCK], job)
    assert candidate_onnx([BLOCK], replace(job, precision="fp32", batch=3)) == network_onnx([BLOCK], batch=3)


def test_ncnn_is_given_float32_whose_weights_it_halves_itself(job: MeasuringJob) -> None:
    asked = replace(job, runtime="ncnn", precision="fp16", batch=1)
    assert candidate_onnx([BLOCK], asked) == network_onnx([BLOCK])


def test_what_is_timed_is_of_the_precision_of_the_job(job: MeasuringJob, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[LoadOrder] = []
    load = OnnxRuntimeCpu._load

    def recorded(runtime: OnnxRuntimeCpu, order: LoadOrder) -> TimedModel:
        orders.append(order)
        return load(runtime, order)

    monkeypatch.setattr(OnnxRuntimeCpu, "_load", recorded)
    few = replace(job.plan, blocks=(BLOCK,), calibration=(), held_out=())
    collected = collect_here(replace(job, plan=few, seconds=0.01))
    assert {reading.candidate for reading in collected.readings} == {0, 1}
    # The reference once, the block in each pass.
    assert [order.precision for order in orders] == ["int8"] * (1 + few.passes)
    assert all(isinstance(order.model, bytes) and b"QuantizeLinear" in order.model for order in orders)


@pytest.mark.parametrize(
    ("device", "runtime", "precision", "message"),
    [
        ("cpu", "onnxruntime", "fp16", r"onnxruntime cannot time fp16 models; it takes fp32, int8; choose another"),
        ("cpu", "ncnn", "int8", r"ncnn cannot time int8 models; it takes fp32, fp16"),
        ("jetson-nano", "tensorrt", "int8", r"jetson-nano cannot run int8; it runs fp32, fp16"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    device: str, runtime: str, precision: str, message: str, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "gpu_name", lambda: "Tegra")
    monkeypatch.setattr(here, "doubt_about_board", lambda *_: "")
    with pytest.raises(FednasError, match=message):
        profile_space(tiny_space, find_profile(device), plan="network", runtime=runtime, precision=precision)
