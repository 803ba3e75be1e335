"""The command line on the board."""

import argparse
import os
import platform
import sys
import traceback
from typing import Any, Dict, List, Optional

from fednas.export.board.problem import BoardProblem
from fednas.toolchain.measure.kit.board.choice import described, first_usable, tried_runtimes
from fednas.toolchain.measure.kit.board.folder import (
    PARTIAL_NAME,
    RESULTS_NAME,
    BoardJob,
    UnfitBoard,
    check_models,
    read_job,
    sha256_of_file,
)
from fednas.toolchain.measure.kit.board.gpu import GpuWatch, gpu_words
from fednas.toolchain.measure.kit.board.halves import TOLD_HALVES_RATIO, UNFIT_HALVES_RATIO, halves_ratio
from fednas.toolchain.measure.kit.board.measuring import Measuring, free_bytes
from fednas.toolchain.measure.kit.board.on_onnxruntime import BOARD_RUNTIMES
from fednas.toolchain.measure.kit.board.partial import Partial, utc_now, write_results
from fednas.toolchain.measure.kit.board.power import system
from fednas.toolchain.measure.kit.board.state import BoardReader
from fednas.toolchain.measure.kit.board.tegrastats import Tegrastats

RESULTS_SCHEMA = 1
EXIT_DONE, EXIT_MEND, EXIT_UNFIT = 0, 1, 5
SHOWN = {
    "board": "",
    "software": "",
    "power_mode": "",
    "governor": "",
    "current_mhz": " MHz",
    "temperature_c": " C",
    "throttled": "",
    "power_w": " W",
}
"""Of the board's state, by ``--check``, with its unit."""


def main(arguments: List[str], folder: Optional[str] = None) -> int:
    """Run it; returns the exit code. ``folder`` is the kit's, by default that of this file."""
    options = _options().parse_args(arguments)
    try:
        return _run(options, folder or os.path.dirname(os.path.abspath(__file__)))
    except BoardProblem as err:
        _complain("error: %s" % err)
        return EXIT_UNFIT if isinstance(err, UnfitBoard) else EXIT_MEND
    except MemoryError:
        _complain("error: out of memory; close other programs and run it again, it goes on where it was")
    except KeyboardInterrupt:
        _complain("stopped; the readings are kept, run it again to go on")
    except BrokenPipeError:
        # Nobody listens any more; the readings are kept. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception:  # noqa: BLE001 - whoever stands at the board needs to know what to do
        _complain(traceback.format_exc().rstrip())
        _complain("error: a fault of this script; the readings are kept, please report the lines above")
    return EXIT_MEND


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="measure.py",
        description="Measure the models of this kit on this machine, and write results.json. "
        "Without options it does the right thing; stopped, it goes on when it is run again.",
        epilog="Exit codes: 0 done; 1 something that you can mend, or stopped by Ctrl-C; 2 options that do not exist; "
        "5 this board cannot measure: nothing here can run the models, or its clock is of no use.",
    )
    parser.add_argument("--check", action="store_true", help="say what it would use, and why; measure nothing")
    parser.add_argument("--runtime", choices=sorted(BOARD_RUNTIMES), help="use this one of those that may run the kit")
    parser.add_argument("--seconds", type=_seconds, help="time for readings, earlier sittings included")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e7:
        raise argparse.ArgumentTypeError("%r is not a number of seconds above 0" % text)
    return value


def _run(options: argparse.Namespace, folder: str) -> int:
    job = read_job(folder)
    check_models(job)
    if options.check:
        return _check(job, options.runtime)
    tried = tried_runtimes(job, options.runtime)
    runtime = first_usable(tried)
    for passed in tried[: [each.runtime for each in tried].index(runtime)]:
        _say("not used: %s: %s" % (passed.name, passed.reason))
    _say("%s %s: %s" % (runtime.name, runtime.version, described(runtime.settings)))
    with Tegrastats() as tegrastats:
        tegrastats.wait()
        reader = BoardReader(tegrastats, _gpu_of(runtime))
        before = reader.state(runtime.numpy_version)
        with Partial(folder, _identity(job, runtime), before) as partial:
            if partial.readings:
                _say("going on: %d readings are there already" % len(partial.readings))
            seconds = options.seconds or job.seconds
            measuring = Measuring(job, runtime, partial, reader, seconds, _say, tegrastats)
            if not all(map(measuring.finished, measuring.groups())):
                measuring.begin(before)
                measuring.run()
                measuring.end(reader.state(runtime.numpy_version))
            elif os.path.exists(os.path.join(folder, RESULTS_NAME)):
                _say("%s is there already; `--seconds` with more seconds goes on" % RESULTS_NAME)
                return EXIT_DONE
            if tegrastats.complaint:
                partial.add_event(tegrastats.complaint, 0.0)
            # Measuring energy has one of its own, that looks more often.
            tegrastats.close()
            _finish(job, runtime, partial, measuring, seconds)
    return EXIT_DONE


def _finish(job: BoardJob, runtime: Any, partial: Partial, measuring: Measuring, seconds: float) -> None:
    document = _results(job, runtime, partial)
    document.update(seconds=seconds, least_rounds=measuring.least_rounds, energy=measuring.energy())
    _say("done: %d readings in %s" % (len(partial.readings), write_results(job.folder, document)))
    _remark(partial)


def _results(job: BoardJob, runtime: Any, partial: Partial) -> Dict[str, Any]:
    return {
        "schema": RESULTS_SCHEMA,
        "kit": job.kit,
        "job": job.document,
        "runtime": runtime.name,
        "runtime_version": runtime.version,
        "settings": runtime.settings,
        "engines": _engines(job, runtime),
        "started": partial.header["started"],
        "date": utc_now(),
        "sittings": partial.sittings,
        "moments": partial.moments,
        "events": partial.events,
        "power": partial.power,
        "readings": [list(reading[:5]) for reading in partial.readings],
        "samples": [list(r.samples) for r in partial.readings] if any(r.samples for r in partial.readings) else [],
    }


def _engines(job: BoardJob, runtime: Any) -> List[Dict[str, Any]]:
    """What was measured in place of each model, where a runtime builds engines; nothing where it builds none."""
    engines: List[Dict[str, Any]] = []
    for path in filter(None, map(runtime.engine_of, job.models)):
        if not os.path.exists(path):
            message = "%s is gone, and the results must say which engine was measured" % os.path.relpath(
                path, job.folder
            )
            raise BoardProblem(message, "delete %s and measure again" % PARTIAL_NAME)
        engines.append({"sha256": sha256_of_file(path), "size_bytes": os.path.getsize(path)})
    return engines


def _check(job: BoardJob, asked: Optional[str]) -> int:
    tried = tried_runtimes(job, asked)
    with Tegrastats() as tegrastats:
        tegrastats.wait()
        state = BoardReader(tegrastats).state(None)
    free = free_bytes(job.folder)
    _say("kit        %s: %d models, %s, %s" % (job.kit[:12], len(job.models), job.runtime, job.precision))
    _say("board      %s, %d cores, Python %s" % (state["cpu_model"], state["cores"], platform.python_version()))
    for key in SHOWN:
        if state[key] is not None:
            _say("%-10s %s%s" % (key.split("_")[0], state[key], SHOWN[key]))
    if free is not None:
        _say("free       %.0f MB" % (free / 1e6))
    if os.path.exists(os.path.join(job.folder, PARTIAL_NAME)):
        _say("readings   of an earlier run are there; it would go on with them")
    for each in tried:
        if each.runtime is None:
            _say("%-10s no: %s" % (each.name, each.reason))
        else:
            _say("%-10s yes, %s: %s" % (each.name, each.runtime.version, described(each.runtime.settings)))
    usable = [each for each in tried if each.runtime is not None]
    why = "you asked for it" if asked else "the kit is for %s" % job.runtime
    if not usable:
        _say("would use  nothing: nothing that may run this kit is usable here")
        return EXIT_UNFIT
    _say("would use  %s, because %s" % (usable[0].name, why))
    gpu = _gpu_of(usable[0].runtime)
    found = None if gpu is None else gpu.now()
    if found is not None:
        _say("gpu        %s" % gpu_words(found))
    return EXIT_DONE


def _gpu_of(runtime: Any) -> Optional[GpuWatch]:
    """What looks at the GPU that measures; nothing where the processor does."""
    return GpuWatch(system(""), runtime.gpu_name) if runtime.on_gpu else None


def _identity(job: BoardJob, runtime: Any) -> Dict[str, str]:
    return {"kit": job.kit, "runtime": "%s %s" % (runtime.name, runtime.version)}


def _remark(partial: Partial) -> None:
    ratio = halves_ratio(partial.readings)
    if ratio is not None and max(ratio, 1 / ratio) > TOLD_HALVES_RATIO:
        cause = "heat, or other work" if ratio > 1 else "other work, or clocks that rose"
        _say("note: the second half of the readings took %.2f times as long as the first: %s?" % (ratio, cause))
        if max(ratio, 1 / ratio) > UNFIT_HALVES_RATIO:
            _say("      beyond %.2f no table is made of them unless asked for: measure again" % UNFIT_HALVES_RATIO)
    slept_s = sum(event["seconds"] for event in partial.events if event["what"] == "suspended")
    if slept_s:
        _say("note: the machine slept for %.0f s meanwhile; those readings were taken again" % slept_s)


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print("measure.py: %s" % line, file=sys.stderr, flush=True)
