"""NVIDIA's trtexec: finding it, its version, and the options that this very version has (8.2 to 11).

Options were read in NVIDIA's sources (samples/common/sampleOptions.cpp of release/8.2 to 11.1), not tried on a board.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from fednas.export.board.machine import run_tool
from fednas.export.board.problem import BoardProblem, UnableBoard

TRTEXEC_PLACE = "/usr/src/tensorrt/bin/trtexec"
HIGHEST_OPSETS = (((10, 0), 20), ((8, 4), 17), ((8, 2), 13))
"""From which version on, and the highest opset that it reads."""


class TrtVersion(NamedTuple):
    """Major and minor; compares as a pair."""

    major: int
    minor: int

    def __str__(self) -> str:
        return "%d.%d" % (self.major, self.minor)


class TrtexecOrder(NamedTuple):
    """What trtexec builds and runs."""

    onnx: str
    plan: str
    precision: str
    input_name: str
    image_shape: Tuple[int, int, int]
    batches: Tuple[int, int, int]
    """Smallest, tuned, largest."""
    workspace_mib: int
    level: int
    timing_cache: str


def find_trtexec(given: Optional[str]) -> str:
    """Its whole path, since it is run in another folder; raises `BoardProblem` if there is none."""
    if given:
        if not os.access(given, os.X_OK) or Path(given).is_dir():
            raise BoardProblem("--trtexec is '%s', which is no program" % given, "correct the path")
        return str(Path.cwd() / given)
    found = shutil.which("trtexec") or (TRTEXEC_PLACE if os.access(TRTEXEC_PLACE, os.X_OK) else None)
    if found is None:
        raise UnableBoard(
            "trtexec was not found in PATH or %s" % TRTEXEC_PLACE,
            "install TensorRT (on Jetson: apt install tensorrt) or give --trtexec",
        )
    return str(Path.cwd() / found)


def parse_version(text: str) -> TrtVersion:
    """From ``10.3``, ``8.6.1`` or trtexec's own ``8201`` (until 9) and ``100300``."""
    digits = re.match(r"(\d{4,6})$", text)
    if digits:
        number = int(digits.group(1))
        return (
            TrtVersion(number // 1000, number // 100 % 10)
            if number < 10000
            else TrtVersion(number // 10000, number // 100 % 100)
        )
    dotted = re.match(r"(\d{1,3})\.(\d{1,3})(\.\d+)*$", text)
    if not dotted:
        raise BoardProblem("TensorRT version '%s' is not understood" % text, "write it like 10.3")
    return TrtVersion(int(dotted.group(1)), int(dotted.group(2)))


def trtexec_version(trtexec: str, given: Optional[str]) -> TrtVersion:
    """As told, else from trtexec's banner, else from the package that brought it."""
    if given:
        return parse_version(given)
    banner = re.search(r"\[TensorRT v([\d.]+)\]", run_tool([trtexec, "--help"], 120) or "")
    if banner:
        return parse_version(banner.group(1))
    package = re.match(r"\d+\.\d+", run_tool(["dpkg-query", "-W", "-f=${Version}", "libnvinfer-bin"], 20) or "")
    if package:
        return parse_version(package.group(0))
    raise BoardProblem("%s does not say its version" % trtexec, "give --tensorrt-version, such as 10.3")


def require_readable(version: TrtVersion, opset: int) -> None:
    """Raise `BoardProblem` for a version that is too old for the model, or for this script."""
    highest = next((opset for since, opset in HIGHEST_OPSETS if version >= since), None)
    if highest is None:
        raise BoardProblem("TensorRT %s is too old; this script knows 8.2 and later" % (version,))
    if opset > highest:
        raise BoardProblem(
            "the model has opset %d, but TensorRT %s reads at most %d" % (opset, version, highest),
            "export for a device profile with that TensorRT version",
        )


def explain_version(version: TrtVersion, precision: str) -> List[str]:
    """Why the options are what they are, in sentences."""
    if version >= (11, 0):
        types = "Types are always strong in TensorRT 11: precision is what the ONNX file says, no option asks for it."
    elif version >= (10, 0):
        types = "--stronglyTyped: the engine takes its precision from the ONNX file, layer by layer."
    elif precision == "fp32":
        types = "No precision option: TensorRT %s then stays in fp32 (with TF32 where the GPU has it)." % (version,)
    else:
        types = "TensorRT %s has weak types: options only allow %s, TensorRT decides for each layer." % (
            version,
            precision,
        )
    lines = [types]
    if version < (11, 0):
        lines.append("--useCudaGraph --useSpinWait --noDataTransfers: what TensorRT 11 does by itself.")
    if version >= (12, 0):
        lines.append("TensorRT %s is newer than this script; it is treated like version 11." % (version,))
    return lines


def trtexec_build_options(version: TrtVersion, order: TrtexecOrder) -> List[str]:
    """To build ``order.plan``."""
    shape = "x".join(str(side) for side in order.image_shape)
    options = ["--onnx=" + order.onnx, "--saveEngine=" + order.plan, "--timingCacheFile=" + order.timing_cache]
    for name, batch in zip(("min", "opt", "max"), order.batches):
        options.append("--%sShapes=%s:%dx%s" % (name, order.input_name, batch, shape))
    options += precision_options(version, order.precision)
    options.append(("--memPoolSize=workspace:%d" if version >= (8, 4) else "--workspace=%d") % order.workspace_mib)
    if version >= (8, 5):
        options.append("--profilingVerbosity=detailed")
    if version >= (8, 6):
        return [*options, "--builderOptimizationLevel=%d" % order.level, "--skipInference"]
    return [*options, "--buildOnly"]


def precision_options(version: TrtVersion, precision: str) -> List[str]:
    """Where types are strong, precision is written in the ONNX file and no option may ask for it."""
    if version >= (11, 0):
        return []
    if version >= (10, 0):
        return ["--stronglyTyped"]
    return {"fp32": [], "fp16": ["--fp16"], "int8": ["--int8", "--fp16"]}[precision]


def trtexec_time_options(version: TrtVersion, order: TrtexecOrder, batch: int, seconds: int, stem: str) -> List[str]:
    """To measure ``order.plan``; leaves ``stem.times.json`` and, from 8.5 on, ``stem.layers.json``."""
    options = ["--loadEngine=" + order.plan, _shapes_option(order, batch), "--warmUp=500", "--duration=%d" % seconds]
    options.append("--exportTimes=%s.times.json" % stem)
    if version >= (8, 5):
        options.append("--exportLayerInfo=%s.layers.json" % stem)
    # From 11 on these are the defaults; before, without them, other things are measured.
    return options if version >= (11, 0) else [*options, "--useCudaGraph", "--useSpinWait", "--noDataTransfers"]


def trtexec_run_options(order: TrtexecOrder, batch: int, images: str, output: str) -> List[str]:
    """To run one batch of given images once."""
    return [
        "--loadEngine=" + order.plan,
        _shapes_option(order, batch),
        "--loadInputs=%s:%s" % (order.input_name, images),
        "--exportOutput=" + output,
        "--iterations=1",
        "--warmUp=0",
        "--duration=0",
    ]


def run_trtexec(trtexec: str, options: List[str], folder: Path, log: str) -> None:
    """Run it in ``folder`` with its output in ``log``; raises `BoardProblem` with its own words if it fails."""
    path = folder / log
    with path.open("wb") as stream:
        done = subprocess.run(
            [trtexec, *options],
            cwd=str(folder),
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    text = path.read_text("utf-8", errors="replace")
    if done.returncode or "&&&& PASSED" not in text:
        errors = [line.partition("[E]")[2].strip() for line in text.splitlines() if "[E]" in line]
        raise BoardProblem("trtexec failed: %s" % ("; ".join(errors[:3]) or "it gave no reason"), "see " + log)


def read_trtexec_times(path: Path) -> List[float]:
    """GPU compute time of each run in milliseconds, warm-up left out, from ``--exportTimes``."""
    content = _trtexec_json(path)
    try:
        times = [float(run["computeMs"]) for run in content]
    except (KeyError, TypeError, ValueError) as err:
        raise BoardProblem("%s has no computeMs: %s" % (path.name, err)) from err
    if not times:
        raise BoardProblem("%s holds no runs" % path.name)
    return times


def read_trtexec_output(path: Path) -> List[float]:
    """All numbers of the only output, from ``--exportOutput``, which prints six digits."""
    content = _trtexec_json(path)
    try:
        (tensor,) = content
        return [float(value) for value in tensor["values"]]
    except (KeyError, TypeError, ValueError) as err:
        raise BoardProblem("%s does not hold one output: %s" % (path.name, err)) from err


def _shapes_option(order: TrtexecOrder, batch: int) -> str:
    return "--shapes=%s:%dx%s" % (order.input_name, batch, "x".join(str(side) for side in order.image_shape))


def _trtexec_json(path: Path) -> List[dict]:  # type: ignore[type-arg]
    try:
        text = path.read_text("utf-8", errors="replace")
        # C++ prints what is not finite in lower case, which is not JSON.
        return list(json.loads(re.sub(r"(?<=[\s,\[])(-?)(nan|inf)\b", _not_finite, text), strict=False))
    except (OSError, ValueError, TypeError) as err:
        raise BoardProblem("%s of trtexec cannot be read: %s" % (path.name, err)) from err


def _not_finite(found: "re.Match[str]") -> str:
    return "NaN" if found.group(2) == "nan" else found.group(1) + "Infinity"
