"""Command lines for trtexec of each TensorRT, and its outputs.

The transcripts follow the documented formats (NVIDIA's ``sampleReporting.cpp`` of 8.5 to 11.1 and public logs); no
trtexec was at hand to record one. The program that is started here is a stand-in that writes them.
"""

import json
import stat
import sys
from pathlib import Path

import pytest

from fednas.common import FednasError
from fednas.toolchain.measure.graphs import input_shape, network_onnx
from fednas.toolchain.measure.runtimes import find_runtime
from fednas.toolchain.measure.runtimes.base import LayerTime, LoadOrder
from fednas.toolchain.measure.runtimes.trtexec import TrtexecModel
from fednas.toolchain.measure.runtimes.trtexec_command import (
    BuildOrder,
    TrtexecVersion,
    build_command,
    profile_command,
    timing_command,
    version_of_banner,
)
from fednas.toolchain.measure.runtimes.trtexec_output import (
    Run,
    read_profile,
    read_times,
    require_passed,
    summary_of,
)
from fednas.toolchain.space import SearchSpace, blocks_of, largest_architecture

V85, V86, V103, V110 = (
    TrtexecVersion(8, 5, 2),
    TrtexecVersion(8, 6, 1),
    TrtexecVersion(10, 3),
    TrtexecVersion(11, 0),
)
BANNERS = {"8.6": "v8601", "10.3": "v100300] [b26", "11.0": "v110000] [b114"}
SUMMARY = """\
[11/23/2026-10:00:40] [I] === Performance summary ===
[11/23/2026-10:00:40] [I] Throughput: 2699.06 qps
[11/23/2026-10:00:40] [I] Latency: min = 0.36 ms, max = 0.52 ms, mean = 0.37 ms, median = 0.369 ms, \
percentile(90%) = 0.38 ms, percentile(95%) = 0.39 ms, percentile(99%) = 0.41 ms
[11/23/2026-10:00:40] [I] Enqueue Time: min = 0.004 ms, max = 0.02 ms, mean = 0.0054 ms, median = 0.0053 ms, \
percentile(90%) = 0.006 ms, percentile(95%) = 0.007 ms, percentile(99%) = 0.008 ms
[11/23/2026-10:00:40] [I] H2D Latency: min = 0 ms, max = 0 ms, mean = 0 ms, median = 0 ms, \
percentile(90%) = 0 ms, percentile(95%) = 0 ms, percentile(99%) = 0 ms
[11/23/2026-10:00:40] [I] GPU Compute Time: min = 0.35 ms, max = 0.5 ms, mean = 0.362 ms, median = 0.361 ms, \
percentile(90%) = 0.37 ms, percentile(95%) = 0.38 ms, percentile(99%) = 0.4 ms
[11/23/2026-10:00:40] [I] D2H Latency: min = 0 ms, max = 0 ms, mean = 0 ms, median = 0 ms, \
percentile(90%) = 0 ms, percentile(95%) = 0 ms, percentile(99%) = 0 ms
[11/23/2026-10:00:40] [I] Total Host Walltime: 3.0013 s
[11/23/2026-10:00:40] [I] Total GPU Compute Time: 2.93 s
[11/23/2026-10:00:40] [W] * GPU compute time is unstable, with coefficient of variance = 3.1%.
[11/23/2026-10:00:40] [I] Explanations of the performance metrics are printed in the verbose logs.
"""
PASSED = "&&&& PASSED TensorRT.trtexec [TensorRT v100300] # trtexec --loadEngine=model.plan\n"
STAGES = ("H2d", "Compute", "D2h")


def transcript(version: str = "10.3") -> str:
    """A whole output of a measuring run."""
    begin = f"&&&& RUNNING TensorRT.trtexec [TensorRT {BANNERS[version]}] # trtexec --loadEngine=model.plan\n"
    return begin + "[11/23/2026-10:00:00] [I] === Model Options ===\n" + SUMMARY + PASSED


def exported_times(*compute_ms: float) -> str:
    """What ``--exportTimes`` writes for runs of these lengths."""
    entries = []
    for number, length in enumerate(compute_ms):
        begin = 10.0 * number
        entries.append(
            {
                "startEnqMs": begin,
                "endEnqMs": begin + 0.005,
                "startH2dMs": begin,
                "endH2dMs": begin,
                "startComputeMs": begin,
                "endComputeMs": begin + length,
                "startD2hMs": begin + length,
                "endD2hMs": begin + length,
                "h2dMs": 0,
                "computeMs": length,
                "d2hMs": 0,
                "latencyMs": length,
            }
        )
    return json.dumps(entries)


def layer_info(words: str, *, older: bool = True) -> str:
    """What ``--exportLayerInfo`` writes of an engine whose layers have this type; 11 splits format and type."""
    type_ = {"Format/Datatype": f"Row major linear {words}"} if older else {"Format": "Linear", "Datatype": words}
    kinds = {"conv_0": "CaskConvolution", "copy": "Reformat", "head": "gemm"}
    layers = [{"Name": name, "LayerType": kind, "Outputs": [{"Name": "t", **type_}]} for name, kind in kinds.items()]
    return json.dumps({"Layers": layers, "Bindings" if older else "I/O Tensors": []})


class TestVersion:
    @pytest.mark.parametrize(
        ("digits", "version"),
        [
            ("v8502", TrtexecVersion(8, 5, 2)),
            ("v8601", TrtexecVersion(8, 6, 1)),
            ("v100300] [b26", TrtexecVersion(10, 3, 0)),
            ("v101602] [b10", TrtexecVersion(10, 16, 2)),
            ("v110000", TrtexecVersion(11, 0, 0)),
            ("v11.1.0.106] [b48", TrtexecVersion(11, 1, 0)),
        ],
    )
    def test_is_read_from_the_banner(self, digits: str, version: TrtexecVersion) -> None:
        assert version_of_banner(f"noise\n&&&& RUNNING TensorRT.trtexec [TensorRT {digits}] # trtexec\n") == version

    def test_is_ordered_by_number_not_by_text(self) -> None:
        assert TrtexecVersion(8, 6, 1) < TrtexecVersion(10, 3) < TrtexecVersion(10, 13) < TrtexecVersion(11, 0)

    @pytest.mark.parametrize(
        ("output", "complaint"),
        [
            ("", "does not say its version; it began with 'nothing'"),
            ("usage: trtexec [options]\n", "it began with 'usage: trtexec"),
            ("&&&& RUNNING TensorRT.trtexec [TensorRT v86] #\n", "does not say its version"),
            ("&&&& RUNNING TensorRT.trtexec [TensorRT v8201] #\n", r"of TensorRT 8\.2\.1; 8\.5 and later are known"),
        ],
    )
    def test_that_cannot_be_used(self, output: str, complaint: str) -> None:
        with pytest.raises(FednasError, match=complaint):
            version_of_banner(output)


class TestCommands:
    def build(self, version: TrtexecVersion, precision: str, **more: object) -> list[str]:
        order = BuildOrder(
            onnx=Path("m.onnx"),
            engine=Path("m.plan"),
            precision=precision,
            input_name="input",
            input_shape=(4, 3, 32, 32),
            **({"dynamic_batch": False, "layer_info": Path("l.json")} | more),
        )
        return build_command("trtexec", version, order)[1:]

    @pytest.mark.parametrize(
        ("version", "precision", "expected"),
        [
            (V85, "fp16", ["--fp16", "--buildOnly"]),
            (V86, "fp32", ["--builderOptimizationLevel=3", "--skipInference"]),
            (V86, "fp16", ["--fp16", "--builderOptimizationLevel=3", "--skipInference"]),
            (V86, "int8", ["--int8", "--fp16", "--builderOptimizationLevel=3", "--skipInference"]),
            (V103, "int8", ["--stronglyTyped", "--builderOptimizationLevel=3", "--skipInference"]),
            (V110, "int8", ["--builderOptimizationLevel=3", "--skipInference"]),
        ],
    )
    def test_building(self, version: TrtexecVersion, precision: str, expected: list[str]) -> None:
        common = ["--onnx=m.onnx", "--saveEngine=m.plan", "--memPoolSize=workspace:1024"]
        told = ["--profilingVerbosity=detailed", "--exportLayerInfo=l.json"]
        # Options of the precision come before those of what is told.
        place = next((i for i, option in enumerate(expected) if option.startswith(("--build", "--skip"))), 0)
        assert self.build(version, precision) == common + expected[:place] + told + expected[place:]

    def test_an_open_batch_needs_its_shape(self) -> None:
        command = self.build(V103, "fp32", dynamic_batch=True)
        for which in ("min", "opt", "max"):
            assert f"--{which}Shapes=input:4x3x32x32" in command

    def test_for_a_profile_nothing_runs_beside_another(self) -> None:
        assert "--maxAuxStreams=0" in self.build(V110, "fp32", one_stream=True)
        assert "--maxAuxStreams=0" not in self.build(V110, "fp32")
        assert "--maxAuxStreams=0" not in self.build(V85, "fp32", one_stream=True)

    def test_engines_of_one_run_share_their_kernels(self) -> None:
        assert "--timingCacheFile=t" in self.build(V103, "fp32", timing_cache=Path("t"))

    def test_what_11_does_by_itself_the_older_ones_are_asked_for(self) -> None:
        asked = {"--useCudaGraph", "--useSpinWait", "--noDataTransfers"}
        commands = {
            version: timing_command("trtexec", version, Path("m.plan"), Path("t.json"), runs=100)
            for version in (V85, V86, V103, V110)
        }
        plain = ["trtexec", "--loadEngine=m.plan", "--exportTimes=t.json"]
        plain += ["--iterations=100", "--duration=0", "--warmUp=200"]
        assert commands[V110] == plain
        for version in (V85, V86, V103):
            assert set(commands[version]) - set(plain) == asked

    def test_a_profile_is_a_run_without_a_graph(self) -> None:
        older = profile_command("trtexec", V103, Path("m.plan"), Path("p.json"), runs=40, shape="input:1x3x8x8")
        newer = profile_command("trtexec", V110, Path("m.plan"), Path("p.json"), runs=40)
        assert {"--dumpProfile", "--exportProfile=p.json", "--iterations=40", "--duration=0"} <= set(older) & set(newer)
        assert "--separateProfileRun" in older
        assert "--shapes=input:1x3x8x8" in older
        assert "--noCudaGraph" in newer
        assert "--separateProfileRun" not in newer


class TestSummary:
    @pytest.mark.parametrize("version", sorted(BANNERS))
    def test_is_read(self, version: str) -> None:
        found = summary_of(transcript(version))
        assert found.gpu_compute_ms.median == 0.361
        assert found.gpu_compute_ms.percentiles == {90.0: 0.37, 95.0: 0.38, 99.0: 0.4}
        assert (found.gpu_compute_ms.low, found.gpu_compute_ms.high) == (0.35, 0.5)
        assert found.latency_ms.mean == 0.37
        assert found.throughput_qps == 2699.06
        assert found.warnings == ("GPU compute time is unstable, with coefficient of variance = 3.1%.",)
        assert not found.enqueue_bound

    def test_enqueueing_that_binds_is_seen(self) -> None:
        assert summary_of(transcript().replace("median = 0.0053 ms", "median = 0.33 ms")).enqueue_bound

    @pytest.mark.parametrize("line", ["Throughput", "Latency", "Enqueue Time", "GPU Compute Time"])
    def test_a_missing_line_is_named(self, line: str) -> None:
        kept = [text for text in transcript().splitlines() if f"[I] {line}:" not in text]
        with pytest.raises(FednasError, match=f"the output of trtexec lacks {line}"):
            summary_of("\n".join(kept))

    def test_a_cut_line_is_named(self) -> None:
        whole = "max = 0.5 ms, mean = 0.362 ms, median = 0.361 ms"
        with pytest.raises(FednasError, match=r"the line GPU Compute Time of trtexec's summary is cut off"):
            summary_of(transcript().replace(whole, "max = 0.5 m"))

    def test_no_number_is_no_time(self) -> None:
        with pytest.raises(FednasError, match=r"GPU Compute Time .* holds no numbers"):
            summary_of(transcript().replace("median = 0.361 ms", "median = nan ms"))

    def test_an_output_that_just_ends(self) -> None:
        cut = transcript()[: transcript().index("[11/23/2026-10:00:40] [I] Enqueue")]
        with pytest.raises(FednasError, match=r"cut off while timing the engine; it printed last: .*Latency: min"):
            summary_of(cut)
        with pytest.raises(FednasError, match="it printed last: nothing at all"):
            require_passed("", "building the engine")

    def test_a_failed_build_says_what_trtexec_said(self) -> None:
        output = (
            "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --onnx=m.onnx\n"
            "[11/23/2026-10:00:00] [E] Error[4]: ITensor::getDimensions: Error Code 4: Conv_3: kernel weights\n"
            "[11/23/2026-10:00:00] [E] Engine could not be created from network\n"
            "&&&& FAILED TensorRT.trtexec [TensorRT v100300] # trtexec --onnx=m.onnx\n"
        )
        with pytest.raises(FednasError, match=r"failed while building the engine: Error\[4\].*Conv_3.*; Engine could"):
            require_passed(output, "building the engine")


class TestExports:
    def write(self, folder: Path, content: str) -> Path:
        path = folder / "export.json"
        path.write_text(content)
        return path

    def test_times(self, tmp_path: Path) -> None:
        found = read_times(self.write(tmp_path, exported_times(0.36, 0.37)))
        assert [run.gpu_ms for run in found] == [0.36, 0.37]
        assert found[0] == Run(gpu_ms=0.36, enqueue_ms=0.005)

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            ("[]", "hold no run"),
            ("{}", "hold no list of objects"),
            ("[1, 2]", "hold no list of objects"),
            (exported_times(0.36)[:-9], "is cut off or no JSON"),
            (exported_times(0.36).replace('"computeMs": 0.36', '"computeMs": null'), "computeMs is None, not a number"),
            (exported_times(0.36).replace('"computeMs": 0.36', '"computeMs": NaN'), "computeMs is nan, not a number"),
            (exported_times(0.36).replace('"computeMs": 0.36', '"computeMs": 36'), "is not its end less its start"),
            (exported_times(0.36).replace('"startEnqMs"', '"startInMs"'), "startEnqMs is None, not a number"),
        ],
    )
    def test_times_that_are_none(self, content: str, complaint: str, tmp_path: Path) -> None:
        with pytest.raises(FednasError, match=complaint):
            read_times(self.write(tmp_path, content))

    def test_layers_with_their_times(self, tmp_path: Path) -> None:
        # Names are written unescaped, and from 8.6 on hold separators.
        content = (
            '[\n  { "count" : 200 }\n, { "name" : "conv_0 + relu_1", "timeMs" : 40, "averageMs" : 0.2, '
            '"medianMs" : 0.19, "percentage" : 80 }\n, { "name" : "head\x1e[profile 0]", "timeMs" : 10, '
            '"averageMs" : 0.05, "percentage" : 20 }\n]\n'
        )
        assert read_profile(self.write(tmp_path, content)) == (
            LayerTime("conv_0 + relu_1", 0.19),
            LayerTime("head\x1e[profile 0]", 0.05),
        )

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            ('[{"name": "a", "averageMs": 1}]', "does not begin with its count"),
            ('[{"count": 3}]', "holds no layer"),
            ('[{"count": 3}, {"averageMs": 1}]', "entry 1 has no name"),
            ('[{"count": 3}, {"name": "a"}]', "averageMs is None"),
        ],
    )
    def test_a_profile_that_is_none(self, content: str, complaint: str, tmp_path: Path) -> None:
        with pytest.raises(FednasError, match=complaint):
            read_profile(self.write(tmp_path, content))


STAND_IN = """#!{python}
import pathlib, sys
here = pathlib.Path(__file__).parent
options = dict(a[2:].partition("=")[::2] for a in sys.argv[1:])
with (here / "commands").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if "help" in options:
    print("&&&& RUNNING TensorRT.trtexec [TensorRT {banner}] # trtexec --help")
    sys.exit()
if "saveEngine" in options and not (here / "writes_nothing").exists():
    pathlib.Path(options["saveEngine"]).write_bytes(b"plan")
for name in ("exportTimes", "exportProfile", "exportLayerInfo"):
    if name in options and (here / name).exists():
        pathlib.Path(options[name]).write_text((here / name).read_text())
print((here / "output").read_text())
"""


class TestRuntime:
    @pytest.fixture(params=sorted(BANNERS))
    def folder(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Where the stand-in for trtexec lies, with what it is to write."""
        program = tmp_path / "trtexec"
        program.write_text(STAND_IN.format(python=sys.executable, banner=BANNERS[request.param]))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        (tmp_path / "output").write_text(transcript(request.param))
        (tmp_path / "exportTimes").write_text(exported_times(*[0.36] * 5, *[0.38] * 4, 9.0))
        (tmp_path / "exportProfile").write_text('[{"count": 9}, {"name": "conv_0", "averageMs": 0.2, "medianMs": 0.2}]')
        (tmp_path / "exportLayerInfo").write_text(layer_info("FP32"))
        monkeypatch.setenv("TRTEXEC", str(program))
        return tmp_path

    def load(self, space: SearchSpace, precision: str = "fp32") -> TrtexecModel:
        specs = list(blocks_of(space, largest_architecture(space)))
        model = find_runtime("trtexec").load(
            network_onnx(specs), input_shape=input_shape(specs, 1), precision=precision
        )
        assert isinstance(model, TrtexecModel)
        return model

    def test_builds_once_and_runs_for_each_reading(self, folder: Path, tiny_space: SearchSpace) -> None:
        with self.load(tiny_space) as model:
            # The median of five at 0.36, four at 0.38 and one that was disturbed.
            assert model.call(10) == pytest.approx(0.37)
            reading = model.read(25)
            assert reading.enqueue_ms == pytest.approx(0.005)
            assert not reading.enqueue_bound
            assert model.last_summary is not None
            assert model.last_summary.warnings
            assert model.repetitions(0.1) == 10
            assert model.layers(40) == (LayerTime("conv_0", 0.2),)
            with pytest.raises(FednasError, match="trtexec gives no output to compare"):
                model.output()
        commands = (folder / "commands").read_text().splitlines()
        assert sum("--saveEngine" in command for command in commands) == 1
        assert "--iterations=25" in commands[3]
        engine = Path(commands[1].partition("--saveEngine=")[2].split()[0])
        assert not engine.parent.exists()

    def test_layers_are_of_an_engine_of_their_own(self, folder: Path, tiny_space: SearchSpace, tmp_path: Path) -> None:
        specs = list(blocks_of(tiny_space, largest_architecture(tiny_space)))
        order = LoadOrder(model=network_onnx(specs), input_shape=input_shape(specs, 1), cache=tmp_path)
        assert find_runtime("trtexec").layers(order, 40) == (LayerTime("conv_0", 0.2),)
        _, build, profile = (folder / "commands").read_text().splitlines()
        assert "--maxAuxStreams=0" in build
        assert f"--timingCacheFile={tmp_path}" in build
        assert "--iterations=40" in profile
        assert not Path(build.partition("--saveEngine=")[2].split()[0]).parent.exists()

    @pytest.mark.parametrize("precision", ["fp16", "int8"])
    @pytest.mark.parametrize("older", [True, False], ids=["10", "11"])
    def test_an_engine_that_was_silently_built_in_fp32_is_refused(
        self, precision: str, older: bool, folder: Path, tiny_space: SearchSpace
    ) -> None:
        (folder / "exportLayerInfo").write_text(layer_info("FP32", older=older))
        message = f"the engine is not {precision} as asked: no layer of the engine runs in {precision}, of 2 whose"
        with pytest.raises(FednasError, match=message):
            self.load(tiny_space, precision)
        engine = (folder / "commands").read_text().partition("--saveEngine=")[2].split()[0]
        assert not Path(engine).parent.exists()

    @pytest.mark.parametrize("older", [True, False], ids=["10", "11"])
    def test_an_engine_of_the_precision_asked_for_leaves_no_doubt(
        self, older: bool, folder: Path, tiny_space: SearchSpace
    ) -> None:
        (folder / "exportLayerInfo").write_text(layer_info("FP16" if older else "Half", older=older))
        with self.load(tiny_space, "fp16") as model:
            assert model.doubts == ()
        with pytest.raises(FednasError, match="the engine is not fp32 as asked: layer conv_0 runs in fp16, not fp32"):
            self.load(tiny_space, "fp32")

    @pytest.mark.parametrize("content", ['{"Layers": ["conv_0", "head"]}', '{"Layers": []}', None])
    def test_an_engine_that_does_not_say_its_precision_is_doubted(
        self, content: str | None, folder: Path, tiny_space: SearchSpace
    ) -> None:
        path = folder / "exportLayerInfo"
        path.unlink() if content is None else path.write_text(content)
        with self.load(tiny_space, "fp16") as model:
            assert model.doubts == ("an engine does not say whether its layers run in fp16",)
        with self.load(tiny_space, "fp32") as model:
            assert model.doubts == ()

    def test_layer_information_that_is_none_is_refused(self, folder: Path, tiny_space: SearchSpace) -> None:
        (folder / "exportLayerInfo").write_text('{"Layers": 3}')
        with pytest.raises(FednasError, match="the engine inspector's JSON has no list of Layers"):
            self.load(tiny_space, "fp16")

    @pytest.mark.usefixtures("folder")
    def test_the_version_is_the_programs_own(self) -> None:
        assert find_runtime("trtexec").version().startswith(("8.6.1", "10.3.0", "11.0.0"))

    def test_no_engine_although_it_passed(self, folder: Path, tiny_space: SearchSpace) -> None:
        (folder / "writes_nothing").touch()
        with pytest.raises(FednasError, match="said that it passed, but wrote no engine"):
            self.load(tiny_space)

    def test_a_build_that_failed(self, folder: Path, tiny_space: SearchSpace) -> None:
        (folder / "output").write_text("[11/23/2026-10:00:00] [E] no implementation for conv_0\n&&&& FAILED TensorRT\n")
        with pytest.raises(FednasError, match="failed while building the engine: no implementation for conv_0"):
            self.load(tiny_space)

    def test_times_that_were_cut_off(self, folder: Path, tiny_space: SearchSpace) -> None:
        with self.load(tiny_space) as model:
            (folder / "exportTimes").write_text(exported_times(0.36)[:-20])
            with pytest.raises(FednasError, match=r"times .*times\.json is cut off"):
                model.call()


def test_without_trtexec_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRTEXEC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FednasError, match=r"trtexec is neither in PATH nor at .*apt install tensorrt\) or set TRTEXEC"):
        find_runtime("trtexec").require()
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "nothing"))
    with pytest.raises(FednasError, match=r"TRTEXEC is .*nothing, which is no program; mend or unset TRTEXEC"):
        find_runtime("trtexec").require()
