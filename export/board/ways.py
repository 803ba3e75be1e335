"""The two ways to build, run and time an engine on a board: its Python module, or trtexec."""

import json
import time
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

from fednas.export.board.cudart import CudaRuntime, GpuFacts
from fednas.export.board.inspector import EngineLayer, read_inspector
from fednas.export.board.kit import KitModel
from fednas.export.board.kit_vectors import packed, unpacked
from fednas.export.board.problem import BoardProblem
from fednas.export.board.timing_key import TimingKey, timing_cache_name
from fednas.export.board.trt_build import BuildOrder, build_engine, import_tensorrt, is_strongly_typed
from fednas.export.board.trt_session import EngineSession
from fednas.export.board.trtexec import (
    TrtexecOrder,
    TrtVersion,
    explain_version,
    find_trtexec,
    parse_version,
    read_trtexec_output,
    read_trtexec_times,
    require_readable,
    run_trtexec,
    trtexec_build_options,
    trtexec_run_options,
    trtexec_time_options,
    trtexec_version,
)


class WorkSettings(NamedTuple):
    """How engines are built and measured."""

    workspace_mib: int
    level: int
    smallest: int
    tuned: int
    largest: int
    seconds: int


class Checked(NamedTuple):
    """What came of one model."""

    engine: Path
    build_seconds: float
    options: Tuple[str, ...]
    strongly_typed: bool
    logits: List[Tuple[float, ...]]
    samples_ms: List[float]
    clock: str
    layers: List[EngineLayer]
    layers_missing: str
    """Why there are no layers; empty if there are."""


class ModuleWay:
    """The Python module ``tensorrt`` and libcudart; raises `BoardProblem` if one of them is not here."""

    name = "module"

    def __init__(self, settings: WorkSettings) -> None:
        self._settings = settings
        self._trt = import_tensorrt()
        self._cuda = CudaRuntime()
        self.version = str(self._trt.__version__)
        self.gpu = self._cuda.facts()

    def explain(self, model: KitModel) -> List[str]:
        """Which version was found and what follows."""
        typed = "strong types: precision is what the ONNX file says"
        if not is_strongly_typed(self._trt):
            typed = "weak types: flags only allow %s, TensorRT decides for each layer" % model.precision
        return ["Python module tensorrt %s; %s." % (self.version, typed)]

    def check(self, folder: Path, model: KitModel, images: Sequence[Sequence[float]]) -> Checked:
        """Build, run and time one model."""
        require_readable(parse_version(self.version), model.opset)
        settings = self._settings
        key = TimingKey(
            self.version,
            *self.gpu,
            settings.workspace_mib,
            settings.level,
            model.precision,
            is_strongly_typed(self._trt),
        )
        cache = folder / timing_cache_name(key)
        plan = folder / (Path(model.file).stem + ".plan")
        start = time.perf_counter()
        built = build_engine(self._order(folder, model), lambda _: cache.read_bytes() if cache.exists() else b"")
        seconds = time.perf_counter() - start
        _write_whole(plan, built.plan)
        if built.timing_cache is not None:
            _write_whole(cache, built.timing_cache)
        with EngineSession(built.plan, self._cuda) as session:
            logits: List[Tuple[float, ...]] = []
            for at in range(0, len(images), settings.largest):
                part = images[at : at + settings.largest]
                raw = session.infer(packed(part, session.input_type), len(part))
                logits += unpacked(raw, session.output_type, session.classes)
            samples = session.time(settings.tuned, settings.seconds)
            layers, missing = _layers(session.layers_json())
        return Checked(
            engine=plan,
            build_seconds=seconds,
            options=built.flags,
            strongly_typed=built.strongly_typed,
            logits=logits,
            samples_ms=samples,
            clock="device events, no CUDA graph",
            layers=layers,
            layers_missing=missing,
        )

    def _order(self, folder: Path, model: KitModel) -> BuildOrder:
        settings = self._settings
        batches = (settings.smallest, settings.tuned, settings.largest)
        shapes = [(batch, *model.image_shape) for batch in batches]
        return BuildOrder(
            onnx=(folder / model.file).read_bytes(),
            name=model.file,
            input_name=model.input_name,
            shapes=(shapes[0], shapes[1], shapes[2]),
            precision=model.precision,
            workspace_bytes=settings.workspace_mib << 20,
            level=settings.level,
        )


class TrtexecWay:
    """The program trtexec; raises `BoardProblem` if it is not here or does not say its version."""

    name = "trtexec"

    def __init__(self, settings: WorkSettings, program: Optional[str], version: Optional[str]) -> None:
        self._settings = settings
        self._program = find_trtexec(program)
        self._version = trtexec_version(self._program, version)
        self.version = str(self._version)
        self.gpu = _gpu_if_known()

    def explain(self, model: KitModel) -> List[str]:
        """Which version was found and what follows."""
        return ["%s, TensorRT %s." % (self._program, self.version), *explain_version(self._version, model.precision)]

    def check(self, folder: Path, model: KitModel, images: Sequence[Sequence[float]]) -> Checked:
        """Build, run and time one model."""
        require_readable(self._version, model.opset)
        stem, settings = Path(model.file).stem, self._settings
        part, plan = "%s.plan.part" % stem, stem + ".plan"
        order = trtexec_order(model, part, settings, self._version, self.gpu)
        options = trtexec_build_options(self._version, order)
        start = time.perf_counter()
        try:
            run_trtexec(self._program, options, folder, stem + ".build.log")
            seconds = time.perf_counter() - start
            if not (folder / part).is_file():
                raise BoardProblem("trtexec wrote no engine", "see %s.build.log" % stem)
            (folder / part).replace(folder / plan)
        finally:
            _remove(folder / part)
        order = order._replace(plan=plan)
        logits = self._run(folder, stem, order, model, images)
        timing = trtexec_time_options(self._version, order, settings.tuned, settings.seconds, stem)
        run_trtexec(self._program, timing, folder, stem + ".bench.log")
        layers, missing = _layers_of_file(folder / (stem + ".layers.json"))
        return Checked(
            engine=folder / plan,
            build_seconds=seconds,
            options=tuple(options),
            strongly_typed=self._version >= (10, 0),
            logits=logits,
            samples_ms=read_trtexec_times(folder / (stem + ".times.json")),
            clock="GPU compute time of trtexec, CUDA graph",
            layers=layers,
            layers_missing=missing,
        )

    def _run(
        self, folder: Path, stem: str, order: TrtexecOrder, model: KitModel, images: Sequence[Sequence[float]]
    ) -> List[Tuple[float, ...]]:
        logits: List[Tuple[float, ...]] = []
        given, taken = stem + ".images.bin", stem + ".logits.json"
        try:
            for at in range(0, len(images), self._settings.largest):
                part = images[at : at + self._settings.largest]
                (folder / given).write_bytes(packed(part, model.input_type))
                options = trtexec_run_options(order, len(part), given, taken)
                run_trtexec(self._program, options, folder, stem + ".run.log")
                values = read_trtexec_output(folder / taken)
                if len(values) % len(part):
                    raise BoardProblem("trtexec gave %d logits for %d images" % (len(values), len(part)))
                classes = len(values) // len(part)
                logits += [tuple(values[i * classes : (i + 1) * classes]) for i in range(len(part))]
        finally:
            _remove(folder / given)
            _remove(folder / taken)
        return logits


def trtexec_order(
    model: KitModel, plan: str, settings: WorkSettings, version: TrtVersion, gpu: GpuFacts
) -> TrtexecOrder:
    """The order for trtexec; its timing cache is named like that of the module."""
    strong = version >= (10, 0)
    key = TimingKey(str(version), *gpu, settings.workspace_mib, settings.level, model.precision, strong)
    return TrtexecOrder(
        onnx=model.file,
        plan=plan,
        precision=model.precision,
        input_name=model.input_name,
        image_shape=model.image_shape,
        batches=(settings.smallest, settings.tuned, settings.largest),
        workspace_mib=settings.workspace_mib,
        level=settings.level,
        timing_cache=timing_cache_name(key),
    )


def _gpu_if_known() -> GpuFacts:
    try:
        return CudaRuntime().facts()
    except BoardProblem:
        return GpuFacts(None, None, None, None)


def _layers(text: str) -> Tuple[List[EngineLayer], str]:
    # The census is lost if the inspector writes a form that we do not know, the engine is not.
    try:
        return read_inspector(text), ""
    except BoardProblem as err:
        return [], str(err)


def _layers_of_file(path: Path) -> Tuple[List[EngineLayer], str]:
    try:
        return _layers(path.read_text("utf-8", errors="replace"))
    except OSError:
        return [], "this trtexec writes no layer information"


def _write_whole(path: Path, content: bytes) -> None:
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    finally:
        _remove(scratch)


def _remove(path: Path) -> None:
    if path.exists():
        path.unlink()


def write_json(path: Path, content: object) -> None:
    """Write ``content`` whole or not at all; numbers that are not finite are refused, JSON has none."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    _write_whole(path, text.encode("utf-8") + b"\n")
