"""A stand-in for the module ``tensorrt`` that has exactly the members of a recorded version, and no others.

The recordings (``trt_api/*.json``) were read from NVIDIA's own Python bindings. What the code under test does is
written down, so that a test can look at it. An engine computes what the test tells it to, on the memory of `FakeCuda`.
"""

import enum
import json
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from fake_cuda import FakeCuda

FOLDER = Path(__file__).parent / "trt_api"
VERSIONS = sorted(path.stem for path in FOLDER.glob("*.json"))
PLAN = b"serialized engine"


class Recording:
    """What was done to TensorRT, and how it should behave."""

    def __init__(self) -> None:
        self.network_flags: int | None = None
        self.builder_flags: list[str] = []
        self.settings: dict[str, Any] = {}
        self.profiles: list[tuple[Any, ...]] = []
        self.parse_errors: list[str] = []
        self.log_on_build: list[str] = []
        self.plan: bytes | None = PLAN
        self.cache_fits = True
        self.given_cache: bytes | None = None
        self.starts = True
        self.parsers: list[weakref.ref[Any]] = []
        self.parser_alive_at_build: list[bool] = []
        self.cuda = FakeCuda()
        self.compute: Callable[[bytes, int], bytes] = lambda _images, batch: bytes(batch * 40)
        """Logits, as bytes, of the images of a batch."""
        self.tensors = {"input": ("INPUT", "FLOAT", (-1, 1, 8, 8)), "logits": ("OUTPUT", "FLOAT", (-1, 10))}
        self.profile = ((1, 1, 8, 8), (1, 1, 8, 8), (4, 1, 8, 8))
        self.layers: list[tuple[str, float]] = [("conv + relu", 0.25), ("head", 0.125)]
        """What a run reports to a profiler, in ms."""
        self.inspected = '{"Layers": []}'
        self.runs = True
        self.gives_context = True


class Restricted:
    """Lets through only the members that the recorded version has."""

    _allowed: frozenset[str] = frozenset()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in type(self)._allowed:
            raise AttributeError(f"this version of TensorRT has no {type(self).__name__}.{name}")
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in type(self)._allowed:
            raise AttributeError(f"this version of TensorRT has no {type(self).__name__}.{name}")
        super().__setattr__(name, value)


Restrict = Callable[[str, dict[str, Any]], type]


def fake_tensorrt(version: str) -> tuple[ModuleType, Recording]:
    """The module, to be put in ``sys.modules``, and its recording."""
    api = json.loads((FOLDER / f"{version}.json").read_text())
    members = {name: frozenset(names) for name, names in api["classes"].items()}
    recording = Recording()

    def restricted(name: str, body: dict[str, Any]) -> type:
        # A member that the code uses and the version lacks cannot be reached: `Restricted` hides it.
        return type(name, (Restricted,), {**body, "_allowed": members[name]})

    trt = ModuleType("tensorrt")
    for name in ("BuilderFlag", "MemoryPoolType", "ProfilingVerbosity"):
        setattr(trt, name, enum.Enum(name, sorted(members[name])))
    flags = enum.IntEnum("NetworkDefinitionCreationFlag", api["network_flag_values"])
    vars(trt).update(
        __version__=api["version"],
        NetworkDefinitionCreationFlag=flags,
        ILogger=type("ILogger", (), {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "__init__": _nothing}),
        IProfiler=restricted("IProfiler", {"__init__": _nothing, "report_layer_time": _nothing}),
        Builder=_builder_type(recording, restricted),
        OnnxParser=_parser_type(recording, restricted),
        Runtime=_runtime_type(recording, restricted),
    )
    for name in ("TensorIOMode", "DataType", "LayerInformationFormat"):
        setattr(trt, name, enum.Enum(name, sorted(members[name])))
    return trt, recording


def _builder_type(recording: Recording, restricted: Restrict) -> type:
    config_type = _config_type(recording, restricted)
    profile_type = restricted("IOptimizationProfile", {"set_shape": _keep_shapes})

    def new_builder(self: Any, logger: Any) -> None:
        if not recording.starts:
            logger.log(logger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(_self: Any, flags: int = 0) -> object:
        recording.network_flags = flags
        return object()

    def build(self: Any, _network: Any, config: Any) -> bytes | None:
        for message in recording.log_on_build:
            self._logger.log(self._logger.ERROR, message)
        recording.parser_alive_at_build += [parser() is not None for parser in recording.parsers]
        recording.settings |= {key: value for key, value in vars(config).items() if not key.startswith("_")}
        return recording.plan

    body = {
        "__init__": new_builder,
        "create_network": create_network,
        "create_builder_config": lambda _self: config_type(),
        "create_optimization_profile": lambda _self: profile_type(),
        "build_serialized_network": build,
    }
    return restricted("Builder", body)


def _config_type(recording: Recording, restricted: Restrict) -> type:
    cache = restricted("ITimingCache", {"serialize": lambda _self: b"new timings"})()

    def set_flag(_self: Any, flag: Any) -> None:
        recording.builder_flags.append(flag.name)

    def set_pool(_self: Any, pool: Any, size_bytes: int) -> None:
        recording.settings[pool.name] = size_bytes

    def create_cache(_self: Any, content: bytes) -> Any:
        recording.given_cache = content
        return cache

    body = {
        "set_flag": set_flag,
        "builder_optimization_level": 3,
        "max_aux_streams": -1,
        "set_memory_pool_limit": set_pool,
        "create_timing_cache": create_cache,
        "set_timing_cache": lambda _self, _cache, _ignore: recording.cache_fits,
        "get_timing_cache": lambda _self: cache,
        "add_optimization_profile": lambda _self, profile: recording.profiles.append(profile._shapes) or 0,
    }
    return restricted("IBuilderConfig", body)


def _parser_type(recording: Recording, restricted: Restrict) -> type:
    error_type = restricted("ParserError", {"__init__": _keep_text, "desc": lambda self: self._text})

    def new_parser(self: Any, _network: Any, _logger: Any) -> None:
        recording.parsers.append(weakref.ref(self))

    body = {
        "__init__": new_parser,
        "parse": lambda _self, content: bool(content) and not recording.parse_errors,
        "num_errors": property(lambda _self: len(recording.parse_errors)),
        "get_error": lambda _self, i: error_type(recording.parse_errors[i]),
    }
    return restricted("OnnxParser", body)


def _runtime_type(recording: Recording, restricted: Restrict) -> type:
    engine_type = _engine_type(recording, restricted)

    def new_runtime(_self: Any, logger: Any) -> None:
        if not recording.starts:
            logger.log(logger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    body = {
        "__init__": new_runtime,
        "deserialize_cuda_engine": lambda _self, plan: engine_type() if bytes(plan) == PLAN else None,
    }
    return restricted("Runtime", body)


def _engine_type(recording: Recording, restricted: Restrict) -> type:
    def names() -> list[str]:
        return list(recording.tensors)

    inspector_type = restricted(
        "EngineInspector", {"get_engine_information": lambda self, kind: _inspected(recording, self, kind)}
    )
    context_type = _context_type(recording, restricted)
    body = {
        "num_io_tensors": property(lambda _self: len(names())),
        "get_tensor_name": lambda _self, i: names()[i],
        "get_tensor_mode": lambda _self, name: _member("TensorIOMode", recording.tensors[name][0]),
        "get_tensor_dtype": lambda _self, name: _member("DataType", recording.tensors[name][1]),
        "get_tensor_shape": lambda _self, name: recording.tensors[name][2],
        "get_tensor_profile_shape": lambda _self, _name, _profile: list(recording.profile),
        "create_execution_context": lambda _self: context_type() if recording.gives_context else None,
        "create_engine_inspector": lambda _self: inspector_type(),
    }
    return restricted("ICudaEngine", body)


def _context_type(recording: Recording, restricted: Restrict) -> type:
    def new(self: Any) -> None:
        self._addresses = {}
        self._batch = 0

    def set_shape(self: Any, name: str, shape: tuple[int, ...]) -> bool:
        self._batch = shape[0]
        return recording.profile[0][0] <= shape[0] <= recording.profile[2][0]

    def run(self: Any, stream: int) -> bool:
        if self.profiler is not None:
            for name, milliseconds in recording.layers:
                self.profiler.report_layer_time(name, milliseconds)
        assert stream in recording.cuda.streams
        names = {mode: name for name, (mode, _, _) in recording.tensors.items()}
        images = bytes(recording.cuda.memory[self._addresses[names["INPUT"]]])
        size = len(images) // recording.profile[2][0] * self._batch
        logits = recording.compute(images[:size], self._batch)
        recording.cuda.memory[self._addresses[names["OUTPUT"]]][: len(logits)] = logits
        recording.cuda.clock_ms += 0.5
        return recording.runs

    body = {
        "__init__": new,
        "profiler": None,
        "set_input_shape": set_shape,
        "set_tensor_address": lambda self, name, address: self._addresses.update({name: address}) or True,
        "execute_async_v3": run,
    }
    return restricted("IExecutionContext", body)


def _inspected(recording: Recording, inspector: Any, kind: Any) -> str:
    assert inspector.execution_context is not None, "formats of dynamic shapes are unknown without a context"
    assert kind.name == "JSON"
    return recording.inspected


def _member(kind: str, name: str) -> Any:
    return getattr(getattr(sys.modules["tensorrt"], kind), name)


def _nothing(_self: Any) -> None: ...


def _keep_text(self: Any, text: str) -> None:
    self._text = text


def _keep_shapes(self: Any, name: str, *shapes: tuple[int, ...]) -> None:
    self._shapes = (name, *shapes)
