"""Which layers an int8 file leaves in float: the table, the search over it, and the graph that comes of it."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_network import METADATA, Trained

from fednas.export import (
    CalibrationImages,
    Int8Graph,
    MixedInt8,
    OrtRunner,
    choose_calibration_images,
    choose_float_layers,
    held_out_images,
    onnx_from_module,
    take_census,
    tolerance_for,
    verify_artefact,
)
from fednas.export.mixed_int8 import Int8Trial, logits_of
from fednas.export.paired_drop import paired_drop

RUNTIMES = ["tensorrt", "onnxruntime"]
FIRST, SECOND = "/blocks/blocks.0/first/first.0/Conv", "/blocks/blocks.0/second/second.0/Conv"
Graphs = Callable[[str], Int8Graph]


@pytest.fixture(scope="module")
def images(trained: Trained) -> CalibrationImages:
    chosen = choose_calibration_images(trained.images[:100], trained.labels[:100], lambda raw: raw, count=64)
    return replace(chosen, held_out=held_out_images(trained.images[100:], trained.labels[100:], lambda raw: raw))


@pytest.fixture(scope="module")
def lopsided(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network with one channel a thousand times larger between two layers: the same function.

    Eight bits for all channels then leave nothing for the others, but only there.
    """
    path = tmp_path_factory.mktemp("lopsided") / "model.fp32.onnx"
    onnx_from_module(trained.network, path, opset=17, metadata=METADATA)
    model = onnx.load(path)
    node = {each.name: each for each in model.graph.node}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, rows, factor in (
        (node[FIRST].input[1], np.s_[0], 1000.0),
        (node[FIRST].input[2], np.s_[0], 1000.0),
        (node[SECOND].input[1], np.s_[:, 0], 1 / 1000.0),
    ):
        values = numpy_helper.to_array(weights[name]).copy()
        values[rows] *= np.float32(factor)
        weights[name].CopyFrom(numpy_helper.from_array(values, name))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def graphs(lopsided: Path, images: CalibrationImages) -> Graphs:
    known: dict[str, Int8Graph] = {}

    def graph(runtime: str) -> Int8Graph:
        if runtime not in known:
            with tempfile.TemporaryDirectory() as scratch:
                known[runtime] = Int8Graph(lopsided, images, runtime, Path(scratch))
        return known[runtime]

    return graph


def choose(graph: Int8Graph, images: CalibrationImages, limit: float) -> MixedInt8:
    assert images.held_out is not None
    found = choose_float_layers(graph, images.held_out, limit)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("runtime", "kept"),
    [
        # TensorRT quantises for each reader, so only the reader of the lopsided tensor must be in float.
        pytest.param("tensorrt", {SECOND}, id="tensorrt"),
        # ONNX Runtime quantises what is written, so its writer must be, too.
        pytest.param("onnxruntime", {FIRST, SECOND}, id="onnxruntime"),
    ],
)
def test_the_search_finds_the_layers_that_were_made_sensitive(
    graphs: Graphs, images: CalibrationImages, trained: Trained, tmp_path: Path, runtime: str, kept: set[str]
) -> None:
    found = choose(graphs(runtime), images, 0.03)
    assert set(found.kept) == kept
    assert {layer.name for layer in found.sensitivity[: len(kept)]} == kept
    errors = [layer.error for layer in found.sensitivity]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 10
    first = found.trials[0]
    assert (first.kept, first.passed) == (0, False)
    assert any(trial.passed and trial.kept == len(kept) for trial in found.trials)
    file = graphs(runtime).write(tmp_path / "model.int8.onnx", found.kept)
    census = take_census(onnx.load(file.path), "int8", found.kept, runtime)
    assert census.reasons == ()
    counts = {(layer.operator, layer.precision): layer.count for layer in census.layers}
    assert (counts["Conv", "fp32"], counts["Conv", "int8"]) == (len(kept), 9 - len(kept))
    with OrtRunner(file.path) as runner:
        tolerance = tolerance_for("int8")
        evidence = verify_artefact(runner, trained.images, trained.logits, tolerance=tolerance, labels=trained.labels)
    assert evidence.passed
    assert evidence.drop is not None
    assert evidence.drop.drop < 0.02


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_layers_in_float_without_being_asked_for_are_a_fault(graphs: Graphs, runtime: str) -> None:
    census = take_census(graphs(runtime).model([FIRST, SECOND]), "int8", [FIRST], runtime)
    assert any(f"layer {SECOND} (Conv) is fp32, not int8" in reason for reason in census.reasons)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_any_choice_of_layers_is_a_valid_graph(graphs: Graphs, trained: Trained, runtime: str) -> None:
    graph = graphs(runtime)
    names = [name for name, _ in graph.layers]
    for kept in ([], names, names[:1], names[1::2], names[::2], [FIRST, SECOND]):
        model = graph.model(kept)
        onnx.checker.check_model(model, full_check=True)
        assert take_census(model, "int8", kept, runtime).reasons == ()
        assert logits_of(model, trained.images[:8]).shape == (8, 10)
    # All of them: what is left of int8 are additions and pools.
    everything = logits_of(graph.model(names), trained.images)
    assert np.abs(everything - trained.logits).max() < 0.2 * np.abs(trained.logits).max()


def test_plain_int8_that_suffices_is_left_alone(trained: Trained, images: CalibrationImages, tmp_path: Path) -> None:
    onnx_file = onnx_from_module(trained.network, tmp_path / "model.fp32.onnx", opset=17, metadata=METADATA)
    assert images.held_out is not None
    graph = Int8Graph(onnx_file.path, images, "tensorrt", tmp_path)
    assert choose_float_layers(graph, images.held_out, 0.05) is None
    assert [path.name for path in tmp_path.iterdir()] == ["model.fp32.onnx"]


def test_a_limit_that_nothing_meets_keeps_nothing(graphs: Graphs, images: CalibrationImages) -> None:
    assert images.held_out is not None
    # Every answer of the source is called right where the quantised network says something else.
    labels = logits_of(graphs("tensorrt").source, images.held_out.inputs).argmax(axis=1)
    impossible = type(images.held_out)(inputs=images.held_out.inputs, labels=labels, seed=0)
    found = choose_float_layers(graphs("tensorrt"), impossible, -0.5)
    assert found is not None
    assert (found.kept, any(trial.passed for trial in found.trials)) == ((), False)


@pytest.mark.parametrize(
    ("images", "wrong", "why"),
    [
        (400, 20, "it lost more than allowed"),
        (400, 4, "they cannot rule out that it loses more than 2 points"),
        (400, 0, "its logits left the tolerance"),
        (50, 0, "its logits left the tolerance"),  # so few that the loss itself is judged
    ],
)
def test_why_plain_int8_does_not_suffice(images: int, wrong: int, why: str) -> None:
    right = np.eye(2, dtype=np.float32)[np.zeros(images, int)]
    found = right.copy()
    found[:wrong] = found[:wrong, ::-1]
    drop = paired_drop(right, found, np.zeros(images, np.int64), 0.02)
    trial = Int8Trial(kept=0, drop=drop, max_relative_error=0.3, top1_agreement=1.0, passed=False)
    mixed = MixedInt8(method="", images=images, seed=0, sensitivity=(), trials=(trial,), kept=())
    assert mixed.why_not_plain == why


def test_the_same_images_give_the_same_choice(graphs: Graphs, images: CalibrationImages) -> None:
    assert choose(graphs("tensorrt"), images, 0.03) == choose(graphs("tensorrt"), images, 0.03)


def test_held_out_images_are_at_most_two_thousand_and_at_least_64() -> None:
    images, labels = np.arange(3000, dtype=np.float32).reshape(3000, 1, 1, 1), np.arange(3000)
    found = held_out_images(images, labels, lambda raw: raw)
    assert found is not None
    assert len(found.inputs) == len(set(found.labels)) == 2000
    np.testing.assert_array_equal(found.inputs.ravel(), found.labels)
    assert held_out_images(images[:63], labels[:63], lambda raw: raw) is None
