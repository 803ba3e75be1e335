"""A shipped network in the own files of another runtime, with the evidence for them."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from fednas.common import FednasError, read_bytes, read_text, unknown_name
from fednas.export.evidence import ArtefactEvidence, Precision
from fednas.export.ncnn_layout import require_stored_as
from fednas.export.records import Record
from fednas.export.runners import Runner
from fednas.export.runtime_files import NETWORK_SUFFIXES, RUNTIME_PRECISIONS, runner_for, runtime_files_from_onnx


class ConvertedModel(Record, frozen=True, kw_only=True):
    """The network of one ONNX file for another runtime, and what running it there showed."""

    runtime: str
    files: tuple[str, ...]
    """The first names the network, the other holds its weights."""
    evidence: ArtefactEvidence
    computed: dict[str, int] = msgspec.field(default_factory=dict)
    """Layers that multiply, counted by the type that they compute in."""


class FailedArtefact(Record, frozen=True, kw_only=True):
    """What a runtime could not make of one ONNX file; none of its files ship."""

    runtime: str
    reason: str
    """As the runtime said it, in one line."""

    @classmethod
    def of(cls, runtime: str, error: FednasError) -> Self:
        """The failure that ``error`` tells of."""
        return cls(runtime=runtime, reason=" ".join(error.message.split()))


def convert_and_prove(
    runtime: str,
    precision: Precision,
    onnx_files: Mapping[Precision, Path],
    folder: Path,
    image_shape: tuple[int, int, int],
    prove: Callable[[Runner], ArtefactEvidence],
) -> ConvertedModel:
    """Write the files of ``runtime`` into ``folder`` and run them by ``prove``, as the ONNX file was.

    Raises `FednasError` as `runtime_files_from_onnx`, or if the runtime cannot run what it converted; then none of its
    files is left.
    """
    with nothing_left_if_it_fails(folder):
        written = runtime_files_from_onnx(runtime, precision, onnx_files, folder)
        with runner_for(runtime, written.paths[0], image_shape) as runner:
            evidence = prove(runner)
            computed = dict(runner.computed)
    files = tuple(path.name for path in written.paths)
    return ConvertedModel(runtime=runtime, files=files, evidence=evidence, computed=computed)


@contextmanager
def nothing_left_if_it_fails(folder: Path) -> Iterator[None]:
    """Remove the files that the block wrote into ``folder`` if it raises `FednasError`."""
    before = set(folder.iterdir())
    try:
        yield
    except FednasError:
        for path in set(folder.iterdir()) - before:
            path.unlink()
        raise


def why_not_run(runtime: str) -> str:
    """Why the files of a runtime cannot be run here; empty if they can.

    Raises `FednasError` for a runtime that is none of ours, before anything looks for a module of its name.
    """
    if runtime not in RUNTIME_PRECISIONS:
        raise unknown_name("runtime", runtime, RUNTIME_PRECISIONS)
    if importlib.util.find_spec(runtime) is not None:
        return ""
    return f"{runtime} is not installed here; pip install 'fednas-export[{runtime}]'"


@dataclass(frozen=True, slots=True)
class RunAgain:
    """What running shipped files once more showed."""

    evidence: ArtefactEvidence
    computed: Mapping[str, int]
    """Layers that multiply, counted as in `ConvertedModel`."""


def run_again(
    folder: Path,
    model: ConvertedModel,
    image_shape: tuple[int, int, int],
    prove: Callable[[Runner], ArtefactEvidence],
) -> RunAgain:
    """Run shipped files by ``prove``; raises `FednasError` if one is missing or cannot be run."""
    network = model.files[0] if model.files else ""
    if (
        not network.endswith(NETWORK_SUFFIXES[model.runtime])
        or Path(network).with_suffix(".bin").name not in model.files
    ):
        raise FednasError(f"the manifest does not name both files of {model.runtime}")
    if model.runtime == "ncnn":
        # Halved weights are computed in fp32, so that what is computed does not tell them apart.
        param, weights = folder / network, (folder / network).with_suffix(".bin")
        asked = model.evidence.parity.tolerance.precision
        require_stored_as(asked, read_text(param, "ncnn network"), read_bytes(weights, "ncnn weights"))
    with runner_for(model.runtime, folder / network, image_shape) as runner:
        return RunAgain(prove(runner), dict(runner.computed))
