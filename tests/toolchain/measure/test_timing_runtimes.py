"""One contract for every runtime that times models: those that can run here keep it for real."""

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from fednas.common import ContractError, FednasError
from fednas.export import NcnnRunner, runtime_files_from_onnx
from fednas.latency_tables import BlockKind, BlockSpec, Shortcut
from fednas.toolchain.measure.graphs import input_shape, network_onnx, output_shape
from fednas.toolchain.measure.runtimes import (
    DeviceReading,
    TimedModel,
    TimingRuntime,
    find_runtime,
    runtime_names,
    runtime_status,
)
from fednas.toolchain.measure.runtimes.base import random_input
from fednas.toolchain.measure.runtimes.ncnn_cpu import NcnnCpu
from fednas.toolchain.space import SearchSpace, blocks_of, distinct_blocks, largest_architecture

ALL = ("onnxruntime", "onnxruntime-cuda", "openvino", "ncnn", "tensorrt", "trtexec")
TORCH = ("torch-eager", "torch-eager-cuda", "torch-cuda-graph")
HERE = [status.name for status in runtime_status() if status.can_run]
HALVED = "ncnn with halved weights"
MORE = [HALVED] if "ncnn" in HERE else []
ON_PROCESSOR = [name for name in [*HERE, *MORE] if name == HALVED or not find_runtime(name).on_gpu]
NO_TRTEXEC = [*(name for name in HERE if name != "trtexec"), *MORE]


class HalvedNcnn(NcnnCpu):
    """ncnn that takes every model as its shipped fp16 file."""

    def load(self, model: bytes | Path, **options: Any) -> TimedModel:
        return super().load(model, **{"precision": "fp16", **options})


def called(name: str) -> TimingRuntime:
    return HalvedNcnn() if name == HALVED else find_runtime(name)


def tolerance(runtime: TimingRuntime) -> float:
    """Of logits, as a share of the largest."""
    return 5e-3 if isinstance(runtime, HalvedNcnn) else 1e-4


def network(space: SearchSpace) -> tuple[BlockSpec, ...]:
    return tuple(blocks_of(space, largest_architecture(space)))


def reference(model: bytes, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model)
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def takes_batches(name: str) -> bool:
    return name not in ("ncnn", HALVED)


@pytest.fixture(params=NO_TRTEXEC)
def runtime(request: pytest.FixtureRequest) -> TimingRuntime:
    return called(request.param)


@pytest.fixture
def model(runtime: TimingRuntime, tiny_space: SearchSpace) -> Iterator[TimedModel]:
    specs = network(tiny_space)
    with runtime.load(network_onnx(specs), input_shape=input_shape(specs, 1), seed=3) as loaded:
        yield loaded


def test_every_runtime_is_known_by_its_name() -> None:
    assert runtime_names() == (*ALL, *TORCH)
    for name in runtime_names():
        found = find_runtime(name)
        assert (found.name, bool(found.title), bool(found.evidence)) == (name, True, True)
    with pytest.raises(FednasError, match="unknown runtime 'openvno'; did you mean openvino"):
        find_runtime("openvno")


def test_those_that_cannot_run_here_say_why_in_one_line() -> None:
    for status in runtime_status():
        if status.can_run:
            continue
        assert "\n" not in status.why_not
        with pytest.raises(FednasError) as caught:
            find_runtime(status.name).load(b"", input_shape=(1, 1, 8, 8))
        assert str(caught.value) == status.why_not


def test_the_version_is_known(runtime: TimingRuntime) -> None:
    assert any(digit.isdigit() for digit in runtime.version())


def test_output_calls_a_model_that_never_ran(
    runtime: TimingRuntime, model: TimedModel, tiny_space: SearchSpace
) -> None:
    specs = network(tiny_space)
    expected = reference(network_onnx(specs), random_input(input_shape(specs, 1), 3))
    np.testing.assert_allclose(model.output(), expected, atol=tolerance(runtime) * np.abs(expected).max())


def test_logits_are_those_of_onnx_runtime(runtime: TimingRuntime, model: TimedModel, tiny_space: SearchSpace) -> None:
    specs = network(tiny_space)
    expected = reference(network_onnx(specs), random_input(input_shape(specs, 1), 3))
    model.call()
    assert model.output().dtype == np.float32
    np.testing.assert_allclose(model.output(), expected, atol=tolerance(runtime) * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in NO_TRTEXEC if not called(name).networks_only])
def test_every_kind_of_block_is_computed(name: str, tiny_space: SearchSpace) -> None:
    blocks = distinct_blocks(tiny_space)
    odd = [
        BlockSpec(kind=BlockKind.STEM, in_channels=3, mid_channels=0, out_channels=8, in_hw=5),
        BlockSpec(
            kind=BlockKind.RESIDUAL,
            in_channels=8,
            mid_channels=12,
            out_channels=16,
            in_hw=5,
            stride=2,
            shortcut=Shortcut.PROJECTION,
        ),
    ]
    kinds = {(spec.kind, spec.stride, spec.shortcut): spec for spec in blocks}
    for spec in [*kinds.values(), *odd]:
        content = network_onnx([spec])
        expected = reference(content, random_input(input_shape([spec], 1), 0))
        with called(name).load(content, input_shape=input_shape([spec], 1)) as block:
            block.call()
            assert block.output().shape == output_shape([spec], 1), spec.key
            atol = tolerance(called(name)) * np.abs(expected).max()
            np.testing.assert_allclose(block.output(), expected, rtol=0, atol=atol, err_msg=spec.key)


@pytest.mark.parametrize("name", [name for name in NO_TRTEXEC if takes_batches(name)])
def test_a_batch_is_computed_as_one(name: str, tiny_space: SearchSpace) -> None:
    specs = network(tiny_space)
    content, shape = network_onnx(specs, batch=3), input_shape(specs, 3)
    with find_runtime(name).load(content, input_shape=shape) as batch:
        batch.call()
        expected = reference(content, random_input(shape, 0))
        np.testing.assert_allclose(batch.output(), expected, atol=1e-4 * np.abs(expected).max())


def test_a_model_that_leaves_its_batch_open_is_fixed(runtime: TimingRuntime, tiny_space: SearchSpace) -> None:
    specs = network(tiny_space)
    proto = onnx.load_model_from_string(network_onnx(specs))
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    batch = 2 if takes_batches(runtime.name) else 1
    with runtime.load(proto.SerializeToString(), input_shape=input_shape(specs, batch)) as loaded:
        loaded.call()
        assert loaded.output().shape == output_shape(specs, batch)


def test_ncnn_refuses_a_batch(tiny_space: SearchSpace) -> None:
    if "ncnn" not in HERE:
        pytest.skip("the extra ncnn is not installed")
    specs = network(tiny_space)
    with pytest.raises(FednasError, match="one image at a time, so a batch of 2 cannot be timed; use --batch 1"):
        find_runtime("ncnn").load(network_onnx(specs, batch=2), input_shape=input_shape(specs, 2))


def test_a_file_gives_what_its_bytes_give(runtime: TimingRuntime, tiny_space: SearchSpace, tmp_path: Path) -> None:
    specs = network(tiny_space)
    path = tmp_path / "model.onnx"
    path.write_bytes(network_onnx(specs))
    with (
        runtime.load(path, input_shape=input_shape(specs, 1)) as from_file,
        runtime.load(path.read_bytes(), input_shape=input_shape(specs, 1)) as from_bytes,
    ):
        from_file.call()
        from_bytes.call()
        np.testing.assert_array_equal(from_file.output(), from_bytes.output())


def test_a_wrong_shape_is_refused_with_the_right_one(runtime: TimingRuntime, tiny_space: SearchSpace) -> None:
    content = network_onnx(network(tiny_space))
    for shape in ((1, 3, 8, 8), (1, 1, 9, 9), (1, 1, 8)):
        complaint = rf"does not run on an input of shape \[{', '.join(map(str, shape))}\]; it takes \[1, ?1, ?8, ?8\]"
        with pytest.raises(FednasError, match=complaint):
            runtime.load(content, input_shape=shape)


@pytest.mark.parametrize("content", [b"", b"no model at all", None], ids=["empty", "text", "cut off"])
def test_what_is_no_model_is_refused(
    runtime: TimingRuntime, content: bytes | None, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(network_onnx(network(tiny_space))[:200] if content is None else content)
    with pytest.raises(FednasError):
        runtime.load(path, input_shape=(1, 1, 8, 8))
    with pytest.raises(FednasError, match=r"missing\.onnx"):
        runtime.load(tmp_path / "missing.onnx", input_shape=(1, 1, 8, 8))


def test_a_precision_that_it_has_not_got(runtime: TimingRuntime) -> None:
    lacking = [precision for precision in ("fp32", "fp16", "int8") if precision not in runtime.precisions]
    for precision in lacking:
        with pytest.raises(FednasError, match=f"{runtime.name} cannot time {precision} models; it takes fp32"):
            runtime.load(b"", input_shape=(1, 1, 8, 8), precision=precision)


def test_two_models_at_once_do_not_disturb_each_other(
    runtime: TimingRuntime, model: TimedModel, tiny_space: SearchSpace
) -> None:
    model.call()
    kept = model.output().copy()
    specs = network(tiny_space)
    with runtime.load(network_onnx(specs, seed=5), input_shape=input_shape(specs, 1), seed=6, threads=2) as other:
        other.call()
        model.call()
        assert not np.allclose(other.output(), kept)
        np.testing.assert_array_equal(model.output(), kept)
    model.call()
    np.testing.assert_array_equal(model.output(), kept)


def test_a_reading_of_several_calls_gives_the_time_of_one(model: TimedModel) -> None:
    model.call(5)
    start = time.perf_counter()
    one_ms = model.call(20)
    all_ms = (time.perf_counter() - start) * 1e3
    # Twenty calls took no longer than what surrounds them; were the sum returned, it would be far more.
    assert 0 < 20 * one_ms <= all_ms
    assert model.repetitions(1e-9) == 1
    assert model.repetitions(1e3 * one_ms) > 1
    with pytest.raises(ContractError, match="cannot be called 0 times"):
        model.call(0)


def test_nothing_is_called_after_it_was_closed(model: TimedModel) -> None:
    model.call()
    model.close()
    model.close()
    for use in (model.call, model.output, lambda: model.repetitions(1.0)):
        with pytest.raises(ContractError, match="used after it was closed"):
            use()


@pytest.mark.parametrize("name", ON_PROCESSOR)
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_asked_for(name: str, threads: int, tiny_space: SearchSpace) -> None:
    if threads > (os.cpu_count() or 1):
        pytest.skip("this machine has one core")
    specs = network(tiny_space)
    with called(name).load(network_onnx(specs), input_shape=input_shape(specs, 1), threads=threads) as model:
        assert model.threads == threads
        model.call(10)
        wall, used = time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < 0.15:
            model.call(10)
        wall, used = time.perf_counter() - wall, time.process_time() - used
        # No machine, however busy, gives a process more processor time than wall time on each of its threads.
        assert used <= 1.15 * threads * wall


def _resident_mb() -> float:
    # What was freed, but kept by the allocator for the next one, is no leak.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize("name", ON_PROCESSOR)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much memory is used")
def test_a_closed_model_frees_its_memory(name: str) -> None:
    wide = BlockSpec(
        kind=BlockKind.RESIDUAL,
        in_channels=384,
        mid_channels=384,
        out_channels=384,
        in_hw=4,
        stride=1,
        shortcut=Shortcut.IDENTITY,
    )
    content = network_onnx([wide])
    weights_mb = len(content) / 2**20
    runtime = called(name)

    def load_and_close() -> None:
        with runtime.load(content, input_shape=input_shape([wide], 1)) as model:
            model.call()

    # What the first ones leave behind are caches of the runtime.
    for _ in range(2):
        load_and_close()
    before = _resident_mb()
    rounds = 4
    for _ in range(rounds):
        load_and_close()
    assert _resident_mb() - before < rounds / 2 * weights_mb


@pytest.fixture
def shipped_ncnn(tiny_space: SearchSpace, tmp_path: Path) -> Path:
    """The two fp16 files of a network as an export writes them, by the name of the first."""
    if "ncnn" not in HERE:
        pytest.skip("the extra ncnn is not installed")
    (tmp_path / "model.onnx").write_bytes(network_onnx(network(tiny_space)))
    return runtime_files_from_onnx("ncnn", "fp16", {"fp32": tmp_path / "model.onnx"}, tmp_path).paths[0]


def test_shipped_ncnn_files_are_timed_as_they_are(shipped_ncnn: Path, tiny_space: SearchSpace) -> None:
    specs = network(tiny_space)
    shape = input_shape(specs, 1)
    content = network_onnx(specs)
    with (
        find_runtime("ncnn").load(shipped_ncnn, input_shape=shape, seed=3, precision="fp16") as shipped,
        find_runtime("ncnn").load(content, input_shape=shape, seed=3, precision="fp16") as converted,
        find_runtime("ncnn").load(content, input_shape=shape, seed=3) as full,
        NcnnRunner(shipped_ncnn, image_shape=shape[1:]) as verified,
    ):
        np.testing.assert_array_equal(shipped.output(), converted.output())
        np.testing.assert_array_equal(shipped.output(), verified.infer(random_input(shape, 3)))
        assert not np.array_equal(shipped.output(), full.output())
        assert shipped.call(3) > 0


@pytest.mark.parametrize(
    ("shape", "precision", "complaint"),
    [
        ((1, 3, 8, 8), "fp16", "takes images of 1 channels, not of 3"),
        ((1, 1, 8), "fp16", r"does not run on an input of shape \[1, 1, 8\]"),
        ((2, 1, 8, 8), "fp16", "one image at a time, so a batch of 2 cannot be timed"),
        ((1, 1, 8, 8), "fp32", r"have their weights \d+ in fp16, not all in fp32"),
        ((1, 1, 8, 8), "int8", "ncnn cannot time int8 models; it takes fp32, fp16"),
    ],
)
def test_shipped_ncnn_files_that_are_not_what_is_asked(
    shape: tuple[int, ...], precision: str, complaint: str, shipped_ncnn: Path
) -> None:
    with pytest.raises(FednasError, match=complaint):
        find_runtime("ncnn").load(shipped_ncnn, input_shape=shape, precision=precision)


def test_broken_shipped_ncnn_files(shipped_ncnn: Path) -> None:
    weights = shipped_ncnn.with_suffix(".bin")
    whole = weights.read_bytes()
    for content in (whole[:-4], whole + bytes(4), b""):
        weights.write_bytes(content)
        with pytest.raises(FednasError):
            find_runtime("ncnn").load(shipped_ncnn, input_shape=(1, 1, 8, 8), precision="fp16")
    weights.unlink()
    with pytest.raises(FednasError, match=r"model\.fp16\.ncnn\.bin does not exist; keep"):
        find_runtime("ncnn").load(shipped_ncnn, input_shape=(1, 1, 8, 8), precision="fp16")


@pytest.mark.parametrize(("enqueue_ms", "bound"), [(0.79, False), (0.81, True)])
def test_enqueueing_binds_from_four_fifths_of_the_gpus_time(enqueue_ms: float, bound: bool) -> None:
    assert DeviceReading(gpu_ms=1.0, enqueue_ms=enqueue_ms).enqueue_bound is bound


@pytest.mark.parametrize("name", [name for name in runtime_names() if find_runtime(name).on_gpu])
def test_on_a_gpu_both_times_are_read(name: str, tiny_space: SearchSpace) -> None:
    if name not in HERE:
        pytest.skip(f"{name} cannot run here")
    specs = network(tiny_space)
    with find_runtime(name).load(network_onnx(specs), input_shape=input_shape(specs, 1)) as model:
        reading = model.read(10)
        assert reading.gpu_ms > 0
        assert reading.enqueue_ms > 0
