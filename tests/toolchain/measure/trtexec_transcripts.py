"""What trtexec prints and exports, for the tests that read it.

The transcripts follow the documented formats (NVIDIA's ``sampleReporting.cpp`` of 8.5 to 11.1 and public logs); no
trtexec was at hand to record one.
"""

import json

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
