"""Models as TensorRT engines, built and run by the program trtexec, for boards with nothing else.

Flags are pinned for each version so that all measure the same: up to 10 the CUDA graph, the spinning wait and the
absence of copies must be asked for; 11 has them by default and no longer knows the options. Each visit of a model is a
run of the program: its reading is the median of the GPU's compute times, all of which are kept.
Written against the sources of trtexec 8.5 to 11; older versions and real boards are untried.
"""

import json
import os
import re
import shutil
import subprocess
import time
from typing import List, Optional, Tuple

from fednas.export.board.problem import BoardProblem
from fednas.toolchain.measure.kit.board.folder import BoardJob, BoardModel
from fednas.toolchain.measure.kit.board.on_onnxruntime import BOARD_RUNTIMES
from fednas.toolchain.measure.kit.board.on_tensorrt import (
    content_or_nothing,
    engine_path,
    layers_doubt,
    put_file,
    unsaid,
)

TRTEXEC_PLACES = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
TRTEXEC_VISIT_S = 1
TRTEXEC_BUILD_LIMIT_S = 3600.0
TRTEXEC_RUN_LIMIT_S = 300.0
MOST_SAMPLES = 200
"""Kept of one visit: the first ones, none left out for its value."""
LAYERS_SUFFIX = ".layers.json"
"""Of the file beside an engine with what trtexec said of its layers; empty if it said nothing."""
Version = Tuple[int, int, int]


class TrtexecBoard:
    """The program trtexec as the board has it; raises `BoardProblem` if it is not usable."""

    name = "trtexec"
    reading_ms: Optional[float] = None
    """A visit is one run of the program, whatever its length."""
    warming_calls = 0
    fewest_rounds = 5
    """Fewer than of others: every visit holds hundreds of runs, and starts a program."""
    on_gpu = True
    gpu_name: Optional[str] = None

    def __init__(self, job: BoardJob) -> None:
        self._job = job
        self.doubt = ""
        self.program = find_trtexec()
        self.release = trtexec_version(self.program)
        self.version = "%d.%d.%d (trtexec)" % self.release
        self.numpy_version: Optional[str] = None
        self.settings = {
            "program": self.program,
            "timed by": "trtexec's GPU compute time, median of a visit of %d s" % TRTEXEC_VISIT_S,
            "build": " ".join(build_options(self.release, job.precision)),
            "run": " ".join(run_options(self.release)),
            "tf32": "on, TensorRT's default",
        }

    def engine_of(self, model: BoardModel) -> str:
        """File of the model's engine."""
        return engine_path(self._job, "trtexec-%d.%d.%d" % self.release, model)

    def load(self, model: BoardModel) -> "TrtexecModel":
        """The engine of a model, built now unless it lies in the kit's folder already."""
        plan = self.engine_of(model)
        if not os.path.exists(plan):
            self._build(model, plan)
        # Kept beside the engine: it may have been built by an earlier sitting.
        layers = content_or_nothing(plan + LAYERS_SUFFIX).decode("utf-8", "replace")
        precision = self._job.precision
        self.doubt = self.doubt or (layers_doubt(layers, precision, model) if layers else unsaid(precision))
        return TrtexecModel(self, plan)

    def run(self, options: List[str], limit_s: float) -> str:
        """Run the program; raises `BoardProblem` with its own words if it fails."""
        command = [self.program] + options
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit_s)
        except subprocess.TimeoutExpired as err:
            raise BoardProblem("trtexec took longer than %.0f s: %s" % (limit_s, " ".join(command))) from err
        except OSError as err:
            raise BoardProblem("%s cannot be started: %s" % (self.program, err.strerror)) from err
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0 or "&&&& FAILED" in text:
            raise BoardProblem("trtexec failed: %s" % trtexec_complaint(text), "it was: %s" % " ".join(command))
        return text

    def _build(self, model: BoardModel, plan: str) -> None:
        os.makedirs(os.path.dirname(plan), exist_ok=True)
        scratch, layers = plan + ".tmp", plan + ".layers.tmp"
        cache = engine_path(self._job, "trtexec-%d.%d.%d" % self.release, None)
        files = ["--onnx=" + model.path, "--saveEngine=" + scratch, "--timingCacheFile=" + cache]
        try:
            options = build_options(self.release, self._job.precision)
            self.run(files + options + ["--exportLayerInfo=" + layers], TRTEXEC_BUILD_LIMIT_S)
            if not os.path.exists(scratch):
                raise BoardProblem("trtexec said that it succeeded, but wrote no engine")
            said = content_or_nothing(layers)
            if said:
                layers_doubt(said.decode("utf-8", "replace"), self._job.precision, model)
            # Also of nothing: what lies there is of an engine that is gone.
            put_file(plan + LAYERS_SUFFIX, said)
            os.replace(scratch, plan)
        finally:
            for path in (scratch, layers):
                if os.path.exists(path):
                    os.unlink(path)


class TrtexecModel:
    """One engine file."""

    def __init__(self, board: TrtexecBoard, plan: str) -> None:
        self._board, self._plan = board, plan
        self.samples: Tuple[float, ...] = ()

    def call(self, times: int) -> float:  # noqa: ARG002 - the program decides how often
        """Visit the engine once; median of the GPU's compute times in milliseconds."""
        report = "%s.%d.times.tmp" % (self._plan, os.getpid())
        try:
            options = ["--loadEngine=" + self._plan, "--exportTimes=" + report]
            self._board.run(options + run_options(self._board.release), TRTEXEC_RUN_LIMIT_S)
            times_ms = compute_times(report)
        finally:
            if os.path.exists(report):
                os.unlink(report)
        self.samples = tuple(times_ms[:MOST_SAMPLES])
        ordered = sorted(times_ms)
        middle = len(ordered) // 2
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

    def close(self) -> None:
        """Nothing is held between visits."""


def build_options(version: Version, precision: str) -> List[str]:
    """Options that only build, for this version of trtexec.

    Precision: flags up to 9; in 10 the file's types, if asked; in 11 always the file's types, the flags are gone.
    """
    options = ["--workspace=1024"] if version < (8, 4, 0) else ["--memPoolSize=workspace:1024"]
    options.append("--buildOnly" if version < (8, 6, 0) else "--skipInference")
    if version >= (8, 6, 0):
        options.append("--builderOptimizationLevel=3")
    if version >= (10, 0, 0):
        return options + (["--stronglyTyped"] if version < (11, 0, 0) else []) + ["--profilingVerbosity=detailed"]
    flags: List[str] = {"fp32": [], "fp16": ["--fp16"], "int8": ["--int8", "--fp16"]}[precision]
    return options + flags + ([] if version < (8, 4, 0) else ["--profilingVerbosity=detailed"])


def run_options(version: Version) -> List[str]:
    """Options that time an engine in the way that trtexec 11 has by default."""
    pinned = ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"] if version < (11, 0, 0) else []
    return pinned + ["--warmUp=200", "--duration=%d" % TRTEXEC_VISIT_S, "--iterations=10"]


def find_trtexec() -> str:
    """Path of the program: ``$TRTEXEC``, in PATH, or where JetPack puts it."""
    named = os.environ.get("TRTEXEC")
    for place in (named, shutil.which("trtexec")) + TRTEXEC_PLACES:
        if place and os.path.isfile(place) and os.access(place, os.X_OK):
            return place
    wrong = " ($TRTEXEC is %s, which is no program)" % named if named else ""
    raise BoardProblem("not found in PATH or in %s%s" % (TRTEXEC_PLACES[0], wrong), "apt install tensorrt")


def trtexec_version(program: str) -> Version:
    """From its first line, such as ``&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # ...`` or ``v100300``."""
    start = time.perf_counter()
    try:
        done = subprocess.run([program, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60.0)
    except (OSError, subprocess.SubprocessError) as err:
        waited = time.perf_counter() - start
        raise BoardProblem("%s does not run (%s, after %.0f s)" % (program, err, waited)) from err
    match = re.search(r"\[TensorRT v([0-9]{4,6})\]", done.stdout.decode("utf-8", "replace"))
    if match is None:
        raise BoardProblem("%s does not say which TensorRT it is" % program)
    number = int(match.group(1))
    # 8502 is 8.5.2 and 100300 is 10.3.0: two digits for each part from 10 on.
    if number < 10000:
        return number // 1000, number // 100 % 10, number % 100
    return number // 10000, number // 100 % 100, number % 100


def compute_times(path: str) -> List[float]:
    """The GPU's compute time of every run in a file of ``--exportTimes``, in milliseconds."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            content = json.load(stream)
        times_ms = [float(run["computeMs"]) for run in content]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise BoardProblem("trtexec wrote no times that can be read: %s" % err) from err
    if not times_ms or not all(0 < value < 1e7 for value in times_ms):
        raise BoardProblem("trtexec wrote times that cannot be true, or none")
    return times_ms


def trtexec_complaint(text: str) -> str:
    """Its first errors in one line."""
    errors = re.findall(r"\[E\]\s*(.+)", text) or text.strip().splitlines()[-2:]
    return "; ".join(" ".join(line.split()) for line in errors[:3]) or "it gave no reason"


BOARD_RUNTIMES["trtexec"] = TrtexecBoard
