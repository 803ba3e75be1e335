"""The command line on the board."""

import argparse
import os
import platform
import sys
import traceback
from typing import Any, Dict, List, Optional, Tuple

from fednas.export.board.problem import BoardProblem
from fednas.toolchain.measure.kit.board.folder import (
    PARTIAL_NAME,
    RESULTS_NAME,
    BoardJob,
    UnfitBoard,
    check_models,
    read_job,
)
from fednas.toolchain.measure.kit.board.measuring import Measuring, free_bytes, halves_of_reference
from fednas.toolchain.measure.kit.board.on_onnxruntime import BOARD_RUNTIMES
from fednas.toolchain.measure.kit.board.partial import Partial, utc_now, write_results
from fednas.toolchain.measure.kit.board.state import BoardReader

RESULTS_SCHEMA = 1
EXIT_DONE, EXIT_MEND, EXIT_UNFIT = 0, 1, 5
ACCEPTABLE = {"onnxruntime": ("onnxruntime",), "tensorrt": ("tensorrt", "trtexec"), "trtexec": ("trtexec",)}
"""What may run a kit of each runtime, best first: trtexec runs the same engines as the Python module."""
HEAT = 1.05
"""Ratio of the session's halves that is told to whoever stands at the board."""


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
        epilog="Exit codes: 0 done, 1 something you can mend, 5 nothing here can run the models.",
    )
    parser.add_argument("--check", action="store_true", help="say what it would use, and why; measure nothing")
    parser.add_argument("--runtime", choices=sorted(BOARD_RUNTIMES), help="use this one, not what the kit asks for")
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
    runtime = chosen_runtime(job, options.runtime)
    _say("%s %s: %s" % (runtime.name, runtime.version, described(runtime.settings)))
    reader = BoardReader()
    before = reader.state(runtime.numpy_version)
    seconds = options.seconds or job.seconds
    with Partial(folder, _identity(job, runtime, before), before) as partial:
        if partial.readings:
            _say("going on: %d readings are there already" % len(partial.readings))
        measuring = Measuring(job, runtime, partial, reader, seconds, _say)
        if partial.readings and not all(map(measuring.finished, measuring.groups())):
            partial.add_event("resumed", 0.0)
        if not measuring.run() and os.path.exists(os.path.join(folder, RESULTS_NAME)):
            _say("%s is there already; `--seconds` with more seconds goes on" % RESULTS_NAME)
            return EXIT_DONE
        document = _results(job, runtime, partial, reader.state(runtime.numpy_version))
        document.update(
            seconds=seconds, least_rounds=measuring.least_rounds, around=measuring.around(), energy=measuring.energy()
        )
        _say("done: %d readings in %s" % (len(partial.readings), write_results(folder, document)))
        _remark(partial)
    return EXIT_DONE


def _results(job: BoardJob, runtime: Any, partial: Partial, after: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "schema": RESULTS_SCHEMA,
        "kit": job.kit,
        "job": job.document,
        "runtime": runtime.name,
        "runtime_version": runtime.version,
        "settings": runtime.settings,
        "sittings": 1 + sum(event["what"] == "resumed" for event in partial.events),
        "started": partial.header["started"],
        "date": utc_now(),
        "before": partial.header["before"],
        "after": after,
        "moments": partial.moments,
        "events": partial.events,
        "readings": [list(reading[:5]) for reading in partial.readings],
        "samples": [list(r.samples) for r in partial.readings] if any(r.samples for r in partial.readings) else [],
    }


def chosen_runtime(job: BoardJob, asked: Optional[str]) -> Any:
    """The first usable runtime of those that may run this kit; raises `UnfitBoard` with every reason if none is."""
    names = (asked,) if asked else ACCEPTABLE[job.runtime]
    reasons: List[str] = []
    for name in names:
        runtime, reason = _tried(name, job)
        if runtime is not None:
            for passed in reasons:
                _say("not used: %s" % passed)
            return runtime
        reasons.append("%s: %s" % (name, reason))
    others = [name for name in sorted(BOARD_RUNTIMES) if name not in names and _tried(name, job)[0] is not None]
    hint = "; --runtime %s would work here, but measures something else" % others[0] if others else ""
    raise UnfitBoard("this board cannot run the models with %s%s" % ("; ".join(reasons), hint))


def described(settings: Dict[str, str]) -> str:
    """One line."""
    return ", ".join("%s %s" % (key, settings[key]) for key in sorted(settings))


def _tried(name: str, job: BoardJob) -> Tuple[Any, str]:
    try:
        return BOARD_RUNTIMES[name](job), ""
    except BoardProblem as err:
        return None, str(err)


def _check(job: BoardJob, asked: Optional[str]) -> int:
    state = BoardReader().state(None)
    free = free_bytes(job.folder)
    _say("kit        %s: %d models, %s, %s" % (job.kit[:12], len(job.models), job.runtime, job.precision))
    _say("board      %s, %d cores, Python %s" % (state["cpu_model"], state["cores"], platform.python_version()))
    for key in ("board", "software", "power_mode", "governor", "current_mhz", "temperature_c", "throttled", "power_w"):
        if state[key] is not None:
            _say("%-10s %s" % (key.split("_")[0], state[key]))
    if free is not None:
        _say("free       %.0f MB" % (free / 1e6))
    if os.path.exists(os.path.join(job.folder, PARTIAL_NAME)):
        _say("readings   of an earlier run are there; it would go on with them")
    for name in sorted(BOARD_RUNTIMES):
        runtime, reason = _tried(name, job)
        if runtime is None:
            _say("%-10s no: %s" % (name, reason))
        else:
            _say("%-10s yes, %s: %s" % (name, runtime.version, described(runtime.settings)))
    runtime = chosen_runtime(job, asked)
    reason = "you asked for it" if asked else "the kit is for %s" % job.runtime
    _say("would use  %s, because %s" % (runtime.name, reason))
    return EXIT_DONE


def _identity(job: BoardJob, runtime: Any, state: Dict[str, Any]) -> Dict[str, str]:
    return {
        "kit": job.kit,
        "runtime": "%s %s" % (runtime.name, runtime.version),
        "machine": "%s %s" % (state["cpu_model"], state["architecture"]),
        "usable cores": " ".join(map(str, state["affinity"])),
    }


def _remark(partial: Partial) -> None:
    ratio = halves_of_reference(partial.readings)
    if ratio is not None and ratio > HEAT:
        _say("note: the second half of the readings was %.0f %% slower than the first: heat?" % (100 * ratio - 100))
    slept_s = sum(event["seconds"] for event in partial.events if event["what"] == "suspended")
    if slept_s:
        _say("note: the machine slept for %.0f s meanwhile; those readings were taken again" % slept_s)


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print("measure.py: %s" % line, file=sys.stderr, flush=True)
