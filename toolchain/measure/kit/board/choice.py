"""Which of the runtimes that are here measures the kit."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from fednas.export.board.problem import BoardProblem
from fednas.toolchain.measure.kit.board.folder import BoardJob, UnfitBoard
from fednas.toolchain.measure.kit.board.on_onnxruntime import BOARD_RUNTIMES

MAY_RUN = {"onnxruntime": ("onnxruntime",), "tensorrt": ("tensorrt", "trtexec"), "trtexec": ("trtexec", "tensorrt")}
"""What may run a kit of each runtime, best first: trtexec runs the same engines as the Python module."""


class Tried(NamedTuple):
    """One runtime that may run the kit: ready, or the reason why not."""

    name: str
    runtime: Any
    reason: str


def tried_runtimes(job: BoardJob, asked: Optional[str]) -> List[Tried]:
    """Those that may run the kit, or only the one that was asked for; raises `BoardProblem` if that one may not."""
    names: Tuple[str, ...] = MAY_RUN[job.runtime]
    if asked is not None and asked not in names:
        message = "this kit is for %s, its models are not made for %s" % (" or ".join(names), asked)
        raise BoardProblem(message, "write another kit with --runtime %s" % asked)
    return [_tried(name, job) for name in ((asked,) if asked else names)]


def first_usable(tried: List[Tried]) -> Any:
    """The runtime to measure with; raises `UnfitBoard` with every reason if there is none."""
    for each in tried:
        if each.runtime is not None:
            return each.runtime
    reasons = "; ".join("%s: %s" % (each.name, each.reason) for each in tried)
    raise UnfitBoard("this board cannot run the models with %s" % reasons)


def described(settings: Dict[str, str]) -> str:
    """One line."""
    return ", ".join("%s %s" % (key, settings[key]) for key in sorted(settings))


def _tried(name: str, job: BoardJob) -> Tried:
    try:
        return Tried(name, BOARD_RUNTIMES[name](job), "")
    except BoardProblem as err:
        return Tried(name, None, str(err))
