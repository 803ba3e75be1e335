"""The contract that every runtime keeps, and what is special about ONNX Runtime."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from small_network import METADATA, Trained

from fednas.common import ContractError, FednasError
from fednas.export import OrtRunner, Runner, onnx_from_module


@pytest.fixture(scope="module")
def model_path(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    return onnx_from_module(trained.network, path, opset=17, metadata=METADATA).path


class RunnerContract:
    """Inherit it in one test class per runtime and override ``make_runner``."""

    def make_runner(self, path: Path) -> Runner:
        raise NotImplementedError

    @pytest.fixture
    def runner(self, model_path: Path) -> Iterator[Runner]:
        with self.make_runner(model_path) as runner:
            yield runner

    def test_knows_its_shapes(self, runner: Runner) -> None:
        assert (runner.input_shape, runner.classes) == ((1, 8, 8), 10)
        assert runner.name

    def test_agrees_with_the_source(self, runner: Runner, trained: Trained) -> None:
        np.testing.assert_allclose(runner.infer(trained.images), trained.logits, atol=1e-4)

    def test_batches_make_no_difference(self, runner: Runner, trained: Trained) -> None:
        images = trained.images[:7]
        in_batches = runner.infer_all(images, batch_size=3)
        assert in_batches.shape == (7, 10)
        np.testing.assert_allclose(in_batches, runner.infer(images), atol=1e-5)

    def test_outputs_do_not_alias(self, runner: Runner, trained: Trained) -> None:
        first = runner.infer(trained.images[:1])
        kept = first.copy()
        runner.infer(trained.images[1:2])
        assert np.array_equal(first, kept)

    def test_inputs_in_any_memory_order(self, runner: Runner, trained: Trained) -> None:
        images = trained.images[:4]
        np.testing.assert_array_equal(runner.infer(np.asfortranarray(images)), runner.infer(images))

    @pytest.mark.parametrize(
        "images",
        [
            pytest.param(np.zeros((1, 8, 8), np.float32), id="no batch"),
            pytest.param(np.zeros((1, 3, 8, 8), np.float32), id="channels"),
            pytest.param(np.zeros((0, 1, 8, 8), np.float32), id="none"),
            pytest.param(np.zeros((1, 1, 8, 8), np.float64), id="type"),
        ],
    )
    def test_refuses_what_does_not_fit(self, runner: Runner, images: np.ndarray) -> None:
        with pytest.raises(FednasError, match="do not fit the model"):
            runner.infer(images)

    def test_works_only_when_entered_and_can_be_entered_again(self, model_path: Path, trained: Trained) -> None:
        runner = self.make_runner(model_path)
        with pytest.raises(ContractError, match="must be entered"):
            runner.infer(trained.images[:1])
        for _ in range(2):
            with runner:
                runner.infer(trained.images[:1])
                with pytest.raises(ContractError, match="entered twice"):
                    runner.__enter__()
        with pytest.raises(ContractError, match="must be entered"):
            runner.infer(trained.images[:1])

    def test_a_file_that_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "bad.onnx").write_bytes(b"no model")
        with pytest.raises(FednasError), self.make_runner(tmp_path / "bad.onnx"):
            pass


class TestOrtRunner(RunnerContract):
    def make_runner(self, path: Path) -> Runner:
        return OrtRunner(path)

    def test_names_where_it_ran(self, model_path: Path) -> None:
        assert OrtRunner(model_path).name == f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"

    def test_a_provider_that_is_not_here(self, model_path: Path) -> None:
        with (
            pytest.raises(FednasError, match=r"has no CUDAExecutionProvider here \(it has: .*CPUExecutionProvider"),
            OrtRunner(model_path, provider="CUDAExecutionProvider"),
        ):
            pass

    def test_other_threads_than_asked_for_are_an_error(self, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        session = OrtRunner(model_path, threads=2)._new_session()
        monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_args, **_options: session)
        with (
            pytest.raises(FednasError, match="takes 2 threads although 1 were asked for"),
            OrtRunner(model_path, threads=1),
        ):
            pass

    def test_a_silent_fallback_is_an_error(self, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # What ONNX Runtime does when a provider is installed but cannot start: it says so in a log and goes on.
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        session = OrtRunner(model_path)._new_session()
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
        monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_args, **_options: session)
        with (
            pytest.raises(FednasError, match="fell back to CPUExecutionProvider although CUDAExecutionProvider"),
            OrtRunner(model_path, provider="CUDAExecutionProvider"),
        ):
            pass
