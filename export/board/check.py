"""The command line of the script in the shipped folder."""

import argparse
import datetime
import math
import shlex
import sys
import traceback
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

from fednas.export.board.cudart import GpuFacts
from fednas.export.board.inspector import engine_faults
from fednas.export.board.kit import Kit, KitModel, chosen_models, file_sha256, read_kit
from fednas.export.board.kit_vectors import KitVectors, kit_parity, read_kit_vectors, require_vectors_for
from fednas.export.board.machine import hottest_celsius, machine_facts
from fednas.export.board.problem import BoardProblem, UnableBoard
from fednas.export.board.trtexec import explain_version, parse_version, trtexec_build_options, trtexec_time_options
from fednas.export.board.ways import Checked, ModuleWay, TrtexecWay, WorkSettings, trtexec_order, write_json

RESULT_FILE = "board_result.json"
RESULT_SCHEMA = 1
EXIT_AGREES, EXIT_TO_MEND, EXIT_DISAGREES, EXIT_CANNOT_TELL, EXIT_BUG, EXIT_STOPPED = 0, 1, 4, 5, 70, 130
"""As of every command of fednas-export."""
EXIT_CODES = (
    "Exit codes: 0 all engines agree; 1 something that you can mend, such as a missing file, a full disk or full "
    "memory; 2 options that do not exist; 4 an engine disagrees with the network, or its layers are not in the "
    "precision asked for; 5 cannot tell: nothing here can build an engine, or none came of a model; 70 a bug of this "
    "script, which names the file to report; 130 stopped by Ctrl-C."
)
TRACEBACK_FILE = "board_check.traceback.txt"
MOST_SAMPLES = 20000
"""More readings are thinned out evenly, so that the result stays small."""
MOST_TEXT = 2000
"""Characters of a message or a name; whoever imports the result takes no longer ones."""
OUT_OF_MEMORY = "memory is full; close other programs, or give a smaller --workspace-mib, --batch or --max-batch"
Way = Union[ModuleWay, TrtexecWay]


def main(arguments: Optional[List[str]] = None, folder: Optional[Path] = None) -> int:
    """Run the script; returns the exit code, one of `EXIT_CODES`."""
    options = _options(arguments)
    place = Path(__file__).resolve().parent if folder is None else folder
    try:
        return _run(place, options)
    except (BoardProblem, OSError) as err:
        return _end(str(err), EXIT_CANNOT_TELL if isinstance(err, UnableBoard) else EXIT_TO_MEND)
    except MemoryError:
        return _end(OUT_OF_MEMORY, EXIT_TO_MEND)
    except KeyboardInterrupt:
        return _end("stopped; engines that were checked before are kept", EXIT_STOPPED)
    except Exception as err:  # noqa: BLE001 - the last net: whatever arrives here is a bug of ours
        return _end(
            "a bug in board_check.py (%s: %s); please report it with %s"
            % (type(err).__name__, err, _traceback_file(place)),
            EXIT_BUG,
        )


def _run(folder: Path, options: Any) -> int:
    kit = read_kit(folder)
    models = chosen_models(kit, options.precision.split(",") if options.precision else [])
    settings = _settings(options)
    if options.commands:
        _print_commands(models, settings, options.commands)
        return EXIT_AGREES
    return _check_all(kit, models, settings, options)


def _end(message: str, code: int) -> int:
    """One line, whatever came."""
    print("board_check.py: %s" % " ".join(message.split()), file=sys.stderr)
    return code


def _traceback_file(folder: Path) -> str:
    text = traceback.format_exc()
    try:
        (folder / TRACEBACK_FILE).write_text(text, "utf-8", errors="backslashreplace")
    except OSError as err:
        return "what it did (%s cannot be written: %s)" % (TRACEBACK_FILE, err)
    return TRACEBACK_FILE


def _options(arguments: Optional[List[str]]) -> Any:
    parser = argparse.ArgumentParser(
        prog="board_check.py",
        description="Build the TensorRT engines of this folder on this board, hold them against the test vectors, "
        "measure them, and write %s for `fednas-export verify --import`. Nothing is written outside this folder."
        % RESULT_FILE,
        epilog=EXIT_CODES,
    )
    add = parser.add_argument
    add("--precision", help="which models, such as int8 or fp16,int8 (all)")
    add("--way", choices=("auto", "module", "trtexec"), default="auto", help="Python module, or trtexec (auto: both)")
    add("--trtexec", help="path of trtexec (else PATH, then /usr/src/tensorrt/bin)")
    add("--tensorrt-version", help="such as 10.3, if trtexec does not say it")
    add("--workspace-mib", type=int, default=512, help="memory that the builder may use (512)")
    add("--level", type=int, default=3, help="0: quick build, 5: best engine (3)")
    add("--batch", type=int, default=1, help="batch that engines are tuned for and measured with (1)")
    add("--max-batch", type=int, default=8, help="largest batch that engines accept (8)")
    add("--seconds", type=int, default=10, help="how long to measure (10)")
    add("--commands", metavar="VERSION", help="only print trtexec's command lines for a board without Python")
    return parser.parse_args(arguments)


def _settings(options: Any) -> WorkSettings:
    largest = max(options.max_batch, options.batch)
    settings = WorkSettings(options.workspace_mib, options.level, 1, options.batch, largest, options.seconds)
    if min(settings.workspace_mib, settings.tuned, settings.seconds) < 1 or not 0 <= settings.level <= 5:
        raise BoardProblem(
            "workspace %d MiB, batch %d, %d seconds or level %d is out of range"
            % (settings.workspace_mib, settings.tuned, settings.seconds, settings.level),
            "give at least 1, and a level of 0 to 5",
        )
    return settings


def _print_commands(models: Sequence[KitModel], settings: WorkSettings, wanted: str) -> None:
    version = parse_version(wanted)
    for model in models:
        stem = Path(model.file).stem
        order = trtexec_order(model, stem + ".plan", settings, version, GpuFacts(None, None, None, None))
        print("\n".join("# " + line for line in explain_version(version, model.precision)))
        for line in (
            trtexec_build_options(version, order),
            trtexec_time_options(version, order, settings.tuned, settings.seconds, stem),
        ):
            print(" ".join(shlex.quote(word) for word in ["trtexec", *line]))


def _check_all(kit: Kit, models: Sequence[KitModel], settings: WorkSettings, options: Any) -> int:
    vectors = read_kit_vectors(kit.folder / kit.vectors)
    require_vectors_for(models, vectors)
    way = _way(options, settings)
    before = hottest_celsius()
    entries: List[Dict[str, Any]] = []
    for model in models:
        for line in way.explain(model):
            print("%s: %s" % (model.file, line))
        entries.append(_entry(kit, model, vectors, way, settings))
        result = _result(kit, way, settings, entries, before)
        # After each model: a board that hangs in the next one keeps what it knows.
        write_json(kit.folder / RESULT_FILE, result)
    print("wrote %s; take it home: fednas-export verify FOLDER --import %s" % (RESULT_FILE, RESULT_FILE))
    if any(not entry["failed"] and (not entry["passed"] or entry["faults"]) for entry in entries):
        return EXIT_DISAGREES
    return EXIT_CANNOT_TELL if any(entry["failed"] for entry in entries) else EXIT_AGREES


def _way(options: Any, settings: WorkSettings) -> Way:
    reasons: List[str] = []
    can_be_mended = False
    if options.way != "trtexec":
        try:
            return ModuleWay(settings)
        except BoardProblem as err:
            reasons.append(str(err))
    if options.way != "module":
        try:
            return TrtexecWay(settings, options.trtexec, options.tensorrt_version)
        except BoardProblem as err:
            reasons.append(str(err))
            can_be_mended = not isinstance(err, UnableBoard)
    message = "no engine can be built here: %s" % "; and ".join(reasons)
    raise BoardProblem(message) if can_be_mended else UnableBoard(message)


def _entry(kit: Kit, model: KitModel, vectors: KitVectors, way: Way, settings: WorkSettings) -> Dict[str, Any]:
    entry: Dict[str, Any] = {"model": model.file, "model_sha256": model.sha256, "precision": model.precision}
    try:
        checked = way.check(kit.folder, model, vectors.images)
        parity = kit_parity(vectors.logits, checked.logits, model.max_relative_error, model.min_top1_agreement)
        _require_times(checked)
    except (BoardProblem, OSError, MemoryError) as err:
        why = OUT_OF_MEMORY if isinstance(err, MemoryError) else str(err)
        print("%s: %s" % (model.file, why), file=sys.stderr)
        return dict(entry, failed=why[:MOST_TEXT], passed=False, faults=[])
    faults = engine_faults(checked.layers, model.precision, model.kept, checked.strongly_typed)
    entry.update(_engine_facts(checked, settings))
    entry.update(
        failed="",
        passed=parity.passed,
        max_relative_error=parity.max_relative_error,
        top1_agreement=parity.top1_agreement,
        max_abs_errors=parity.per_vector,
        faults=[fault[:MOST_TEXT] for fault in faults],
    )
    _print_entry(entry, len(vectors.logits))
    return entry


def _require_times(checked: Checked) -> None:
    odd = [time for time in checked.samples_ms if not (math.isfinite(time) and time > 0)]
    if odd or not checked.samples_ms:
        raise BoardProblem("TensorRT was timed at %s ms" % (odd[0] if odd else "no"), "run it again")


def _engine_facts(checked: Checked, settings: WorkSettings) -> Dict[str, Any]:
    step = -(-len(checked.samples_ms) // MOST_SAMPLES)
    return {
        "engine": checked.engine.name,
        "engine_sha256": file_sha256(checked.engine),
        "engine_bytes": checked.engine.stat().st_size,
        "build_seconds": round(checked.build_seconds, 3),
        "options": list(checked.options),
        "strongly_typed": checked.strongly_typed,
        "logits": [[value if math.isfinite(value) else None for value in row] for row in checked.logits],
        "clock": checked.clock,
        "batch": settings.tuned,
        "samples_ms": checked.samples_ms[::step],
        "layers": [{word: text[:MOST_TEXT] for word, text in layer._asdict().items()} for layer in checked.layers],
        "layers_missing": checked.layers_missing[:MOST_TEXT],
    }


def _print_entry(entry: Dict[str, Any], count: int) -> None:
    samples = sorted(entry["samples_ms"])
    low, median, high = (samples[int(share * (len(samples) - 1))] for share in (0.1, 0.5, 0.9))
    error = entry["max_relative_error"]
    print(
        "%s: %s; %d vectors, largest logit error %s of scale, same class on %.0f %%; batch %d: median %.4g ms, "
        "10 to 90 %% of %d runs %.4g to %.4g ms (%s)"
        % (
            entry["model"],
            "agrees" if entry["passed"] else "DISAGREES with the network",
            count,
            "not finite" if error is None else "%.2g" % error,
            100 * entry["top1_agreement"],
            entry["batch"],
            median,
            len(samples),
            low,
            high,
            entry["clock"],
        )
    )
    counts = {word: sum(layer["precision"] == word for layer in entry["layers"]) for word in ("int8", "fp16", "fp32")}
    known = ", ".join("%d %s" % (counts[word], word) for word in sorted(counts) if counts[word])
    print("%s: layers of the engine: %s" % (entry["model"], known or entry["layers_missing"] or "precision unknown"))
    for fault in entry["faults"]:
        print("%s: NOT AS ASKED: %s" % (entry["model"], fault), file=sys.stderr)


def _result(
    kit: Kit, way: Way, settings: WorkSettings, entries: List[Dict[str, Any]], before: Optional[float]
) -> Dict[str, Any]:
    return {
        "schema": RESULT_SCHEMA,
        "kit_sha256": kit.sha256,
        "manifest_sha256": file_sha256(kit.folder / "manifest.json"),
        "device": kit.device,
        "created": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+00:00"),
        "machine": dict(machine_facts(), **way.gpu._asdict()),
        "temperature_c": {"before": before, "after": hottest_celsius()},
        "tensorrt": way.version,
        "way": way.name,
        "settings": dict(settings._asdict()),
        "engines": entries,
    }


if __name__ == "__main__":
    sys.exit(main())
