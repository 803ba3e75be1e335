"""Whether results are of the runtime and the precision that they claim: what is in them must fit together.

The board's script notes down how it ran each runtime. Claims that contradict these notes, or what the kit asked for,
are mistakes or careless forgery. Whoever forges the notes as well is not seen: there is no secret on a board.
"""

import re
import statistics
from collections.abc import Iterator

from fednas.common import FednasError
from fednas.export.board.trt_build import PRECISION_FLAGS
from fednas.toolchain.measure.kit.board.choice import MAY_RUN
from fednas.toolchain.measure.kit.board.on_onnxruntime import CPU_PROVIDER
from fednas.toolchain.measure.kit.board.on_tensorrt import UNNAMED_GPU
from fednas.toolchain.measure.kit.board.on_trtexec import MOST_SAMPLES, build_options, run_options
from fednas.toolchain.measure.kit.results_file import Results
from fednas.toolchain.measure.runtimes import find_runtime

RUNTIMES = {"onnxruntime": "onnxruntime", "tensorrt": "tensorrt", "trtexec": "tensorrt"}
"""What measured on the board, and the runtime that it is: trtexec is a program around TensorRT."""
_TRTEXEC_VERSION = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{1,2}) \(trtexec\)")
_VERSIONS = {
    "onnxruntime": re.compile(r"[1-4]\.\d{1,3}\.\d{1,3}([-+.][A-Za-z0-9.+-]{1,40})?"),
    "tensorrt": re.compile(r"([89]|1\d)\.\d{1,2}\.\d{1,2}(\.\w{1,10}){0,2}"),
    "trtexec": _TRTEXEC_VERSION,
}
_SAME_SHARE = 1e-4
"""Times are written with six digits."""


def check_evidence(results: Results, what: str) -> None:
    """Raise `FednasError` where runtime, version, precision or settings contradict each other or the kit."""
    for problem in _contradictions(results):
        raise FednasError(
            f"{what} {problem}", hint="they were edited; copy them from the board again, or measure again"
        )


def _contradictions(results: Results) -> Iterator[str]:
    runtime, job = results.runtime, results.job
    if runtime not in RUNTIMES:
        yield f"were measured with {runtime!r}; known are {', '.join(RUNTIMES)}"
    if job.runtime not in MAY_RUN:
        yield f"are of a kit for {job.runtime!r}, and no kit is written for that"
    if runtime not in MAY_RUN[job.runtime]:
        yield f"say that {runtime} measured, in a kit for {job.runtime}"
    if job.precision not in find_runtime(job.runtime).precisions:
        yield f"are of precision {job.precision!r}, which no kit for {job.runtime} has"
    if not _VERSIONS[runtime].fullmatch(results.runtime_version):
        yield f"name {runtime} {results.runtime_version!r}, which is no version of it"
    yield from _of_the_engines(results)
    yield from _of_the_gpu(results)
    yield from {"onnxruntime": _of_onnxruntime, "tensorrt": _of_tensorrt, "trtexec": _of_trtexec}[runtime](results)


def _of_the_engines(results: Results) -> Iterator[str]:
    wanted = len(results.job.models) if RUNTIMES[results.runtime] == "tensorrt" else 0
    if len(results.engines) != wanted:
        yield f"name {len(results.engines)} engines, where {results.runtime} measures {wanted}"
    if results.samples and results.runtime != "trtexec":
        yield f"hold samples of single runs, which {results.runtime} does not tell"


def _of_the_gpu(results: Results) -> Iterator[str]:
    states = [state for sitting in results.sittings for state in (sitting.before, sitting.after) if state is not None]
    found = [state.gpu for state in states if state.gpu is not None]
    causes = any(sitting.around.gpu_slowed_by for sitting in results.sittings)
    if RUNTIMES[results.runtime] != "tensorrt":
        if found or causes:
            yield f"tell of a GPU, where {results.runtime} measures the processor"
        return
    names = {results.settings.get("gpu"), *(gpu.name for gpu in found)} - {None, UNNAMED_GPU}
    if len(names) > 1:
        yield f"name {len(names)} GPUs: {' and '.join(sorted(map(str, names)))}"


def _of_onnxruntime(results: Results) -> Iterator[str]:
    wanted = {"provider": CPU_PROVIDER, "threads": str(results.job.threads), "optimisation": "all"}
    yield from _settings_other_than(results, wanted)
    if not all(sitting.before.numpy_version for sitting in results.sittings):
        yield "name no numpy, without which onnxruntime does not run"


def _of_tensorrt(results: Results) -> Iterator[str]:
    found = results.settings
    facts = ("gpu", "compute capability", "cuda", "driver", "timed by", "optimisation level", "cuda graph")
    if missing := [name for name in facts if not found.get(name)]:
        yield f"do not say what TensorRT ran on: {', '.join(missing)}"
    flags = set(found.get("flags", "none").split()) - {"none"}
    if extra := sorted(flags - set(PRECISION_FLAGS[results.job.precision])):
        yield f"were built with {' '.join(extra)}, which {results.job.precision} does not ask for"


def _of_trtexec(results: Results) -> Iterator[str]:
    numbers = _TRTEXEC_VERSION.fullmatch(results.runtime_version)
    if numbers is None:
        return
    release = (int(numbers[1]), int(numbers[2]), int(numbers[3]))
    wanted = {
        "build": " ".join(build_options(release, results.job.precision)),
        "run": " ".join(run_options(release)),
    }
    yield from _settings_other_than(results, wanted)
    if not results.samples:
        yield "hold no samples of single runs, which trtexec tells"
    for number, (reading, samples) in enumerate(zip(results.readings, results.samples, strict=False), start=1):
        # Of longer visits only the first samples are kept; their median is not that of all.
        if len(samples) < MOST_SAMPLES and not _is_median(reading.latency_ms, samples):
            yield f"hold a reading that is not the median of its samples (reading {number})"


def _settings_other_than(results: Results, wanted: dict[str, str]) -> Iterator[str]:
    for name, value in wanted.items():
        if (found := results.settings.get(name)) != value:
            said = "do not say its" if found is None else f"say {found!r} of its"
            yield f"{said} {name}, where {results.runtime} {results.runtime_version} runs this kit with {value!r}"


def _is_median(latency_ms: float, samples: tuple[float, ...]) -> bool:
    return bool(samples) and abs(statistics.median(samples) - latency_ms) <= _SAME_SHARE * latency_ms
