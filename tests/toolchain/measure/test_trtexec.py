"""Command lines for trtexec of each TensorRT, and a runtime around it.

The program that is started here is a stand-in that writes the transcripts of `trtexec_transcripts`.
"""

import stat
import sys
from pathlib import Path

import pytest
from trtexec_transcripts import BANNERS, exported_times, layer_info, transcript

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
from fednas.toolchain.space import SearchSpace, blocks_of, largest_architecture

V85, V86, V103, V110 = (
    TrtexecVersion(8, 5, 2),
    TrtexecVersion(8, 6, 1),
    TrtexecVersion(10, 3),
    TrtexecVersion(11, 0),
)


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
