"""The kit's folder on the board: the job, checked against its own digests."""

import hashlib
import json
import os
import random
from typing import Any, Dict, List, NamedTuple, Tuple

from fednas.export.board.problem import BoardProblem

KIT_SCHEMA = 1
JOB_NAME, PARTIAL_NAME, RESULTS_NAME, ENGINES_NAME = "job.json", "readings.partial", "results.json", "engines"


class UnfitBoard(BoardProblem):
    """Nothing here can run the models: exit code 5."""


class BoardModel(NamedTuple):
    """One model file of the kit."""

    path: str
    sha256: str
    size_bytes: int
    shape: Tuple[int, ...]
    weights: int
    macs: int


class BoardJob(NamedTuple):
    """What is to be measured."""

    folder: str
    kit: str
    runtime: str
    precision: str
    threads: int
    batch: int
    seconds: float
    seed: int
    least_rounds: int
    group_weights: int
    candidates: Tuple[int, ...]
    """Place of each candidate's model; candidate 0 is the reference."""
    models: Tuple[BoardModel, ...]
    document: Dict[str, Any]
    """The whole of job.json, which the results repeat."""

    def model_of(self, candidate: int) -> BoardModel:
        """The model file of a candidate."""
        return self.models[self.candidates[candidate]]

    def visits_of(self, candidate: int) -> int:
        """Readings in each round: of whole networks, which stand behind the blocks, as many as the plan says."""
        plan = self.document["plan"]
        return int(plan["visits"]) if candidate > len(plan["blocks"]) else 1


def board_digest(document: Dict[str, Any], without: str) -> str:
    """SHA-256 of a JSON document in one fixed form, one key left out: the key that holds this digest."""
    rest = {key: value for key, value in document.items() if key != without}
    form = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(form.encode("ascii")).hexdigest()


def read_job(folder: str) -> BoardJob:
    """The job; raises `BoardProblem` if it is not there, was edited, or is of a later version."""
    path = os.path.join(folder, JOB_NAME)
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except OSError as err:
        raise BoardProblem("%s cannot be read: %s" % (path, err.strerror), "copy the whole kit again") from err
    except ValueError as err:
        raise BoardProblem("%s is damaged: %s" % (path, err), "copy the whole kit again") from err
    if not isinstance(document, dict) or document.get("schema") != KIT_SCHEMA:
        raise BoardProblem("%s is not of this script's schema %d" % (path, KIT_SCHEMA), "copy the whole kit again")
    if board_digest(document, "kit") != document.get("kit"):
        raise BoardProblem("%s was edited or damaged" % path, "copy the whole kit again")
    models = [
        BoardModel(
            path=os.path.join(folder, "models", "%04d.onnx" % place),
            sha256=model["sha256"],
            size_bytes=model["size_bytes"],
            shape=tuple(model["shape"]),
            weights=model["weights"],
            macs=model["macs"],
        )
        for place, model in enumerate(document["models"])
    ]
    names = ("kit", "runtime", "precision", "threads", "batch", "seconds", "seed", "least_rounds", "group_weights")
    return BoardJob(
        folder=folder,
        candidates=tuple(document["candidates"]),
        models=tuple(models),
        document=document,
        **{name: document[name] for name in names},
    )


def check_models(job: BoardJob) -> None:
    """Raise `BoardProblem` unless every model file is there and is the one that was written."""
    for model in job.models:
        name = os.path.relpath(model.path, job.folder)
        try:
            found = sha256_of_file(model.path)
        except OSError as err:
            raise BoardProblem("%s cannot be read: %s" % (name, err.strerror), "copy the whole kit again") from err
        if found != model.sha256:
            raise BoardProblem("%s is not the file that was written" % name, "copy the whole kit again")


def sha256_of_file(path: str) -> str:
    """Hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def groups_on_board(job: BoardJob, memory_bytes: Any, passes: int) -> List[List[int]]:
    """Candidates that are loaded together; the reference, candidate 0, is in every group.

    Every pass has each candidate once, in other groups each time. The models of a group take at most an eighth of the
    board's memory: a runtime keeps about two copies of the weights while it loads.
    """
    most = job.group_weights
    if memory_bytes:
        most = min(most, memory_bytes // 8 // 4)
    groups = []
    for number in range(passes):
        order = list(range(1, len(job.candidates)))
        if passes > 1:
            random.Random("%d pass %d" % (job.seed, number)).shuffle(order)  # noqa: S311 - an order, not a secret
        groups += _filled(job, order, most)
    return [[0] + group for group in groups]


def _filled(job: BoardJob, order: List[int], most_weights: int) -> List[List[int]]:
    groups: List[List[int]] = [[]]
    held = 0
    for candidate in order:
        weights = job.model_of(candidate).weights
        if held + weights > most_weights and groups[-1]:
            groups.append([])
            held = 0
        groups[-1].append(candidate)
        held += weights
    return groups
