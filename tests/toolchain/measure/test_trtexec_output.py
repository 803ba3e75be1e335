"""Reading what trtexec prints and exports: summaries, times of runs, profiles of layers."""

from pathlib import Path

import pytest
from trtexec_transcripts import BANNERS, exported_times, transcript

from fednas.common import FednasError
from fednas.toolchain.measure.runtimes.base import LayerTime
from fednas.toolchain.measure.runtimes.trtexec_output import (
    Run,
    read_profile,
    read_times,
    require_passed,
    summary_of,
)


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
