"""A stand-in for trtexec: knows the options of its version and refuses others, as the real one does.

The options were read in the sources of NVIDIA's trtexec. The "engine" computes by looking its inputs up among the test
vectors. It says nothing about how a real engine behaves.
"""

import json
import sys
from pathlib import Path

ALWAYS = {
    *("--help", "--onnx", "--saveEngine", "--loadEngine", "--shapes", "--minShapes", "--optShapes", "--maxShapes"),
    *("--timingCacheFile", "--warmUp", "--duration", "--exportTimes", "--loadInputs", "--exportOutput", "--iterations"),
}
UNTIL_10 = {"--useCudaGraph", "--useSpinWait", "--noDataTransfers", "--fp16", "--int8"}
FROM_8_5 = {"--profilingVerbosity", "--exportLayerInfo", "--memPoolSize"}
FROM_8_6 = FROM_8_5 | {"--skipInference", "--builderOptimizationLevel"}
OPTIONS = {
    "v8201": ALWAYS | UNTIL_10 | {"--workspace", "--buildOnly"},
    "v8401": ALWAYS | UNTIL_10 | {"--workspace", "--memPoolSize", "--buildOnly"},
    "v8502": ALWAYS | UNTIL_10 | FROM_8_5 | {"--workspace", "--buildOnly"},
    "v8601": ALWAYS | UNTIL_10 | FROM_8_6 | {"--workspace"},
    "v100300": ALWAYS | UNTIL_10 | FROM_8_6 | {"--stronglyTyped"},
    "v101303": ALWAYS | UNTIL_10 | FROM_8_6 | {"--stronglyTyped"},
    "v101602": ALWAYS | UNTIL_10 | FROM_8_6 | {"--stronglyTyped"},
    "v110401": ALWAYS | FROM_8_6,
    "v11.1.0.106": ALWAYS | FROM_8_6,
}

PROGRAM = """\
import json, os, struct, sys
from pathlib import Path

behaviour = json.loads(Path({behaviour!r}).read_text())
version, arguments = behaviour["version"], sys.argv[1:]
print("&&&& RUNNING TensorRT.trtexec [TensorRT " + behaviour["banner"] + "] [b1] # trtexec " + " ".join(arguments))
unknown = [each for each in arguments if each.partition("=")[0] not in behaviour["options"]]
values = dict(each.partition("=")[::2] for each in arguments)
if "--help" in values:
    sys.exit(0)
with open({calls!r}, "a") as stream:
    stream.write(json.dumps(arguments) + "\\n")
for each in unknown:
    print("[11/22/2026-10:00:00] [E] Unknown option: " + each)
if unknown or behaviour["broken"]:
    print("[11/22/2026-10:00:00] [E] something broke")
    print("&&&& FAILED TensorRT.trtexec")
    sys.exit(1)
if "--saveEngine" in values:
    if behaviour["writes"]:
        Path(values["--saveEngine"]).write_text("an engine of " + values["--onnx"])
    Path(values["--timingCacheFile"]).write_text("timings")
if "--loadInputs" in values:
    raw = Path(values["--loadInputs"].split(":", 1)[1]).read_bytes()
    count = int(values["--shapes"].split(":")[1].split("x")[0])
    size = len(raw) // count
    rows = [behaviour["logits"][raw[i * size : (i + 1) * size].hex()] for i in range(count)]
    numbers = ", ".join("%g" % (value + behaviour["wrong_by"]) for row in rows for value in row)
    text = '[\\n  {{ "name" : "logits"\\n  , "dimensions" : "%dx10"\\n  , "values" : [ %s ]\\n  }}\\n]\\n'
    Path(values["--exportOutput"]).write_text(text % (count, numbers))
if "--exportTimes" in values:
    runs = [{{"computeMs": 0.4 + 0.001 * (i % 200), "latencyMs": 0.6}} for i in range(1000)]
    Path(values["--exportTimes"]).write_text(json.dumps(runs))
if "--exportLayerInfo" in values:
    Path(values["--exportLayerInfo"]).write_text(json.dumps(behaviour["layers"]))
print("&&&& PASSED TensorRT.trtexec")
"""


def layers(*precisions: str) -> dict[str, object]:
    """What the inspector says of convolutions in these precisions."""
    words = {"int8": "Int8", "fp16": "FP16", "fp32": "FP32"}
    return {
        "Layers": [
            {
                "Name": f"conv{i}",
                "LayerType": "CaskConvolution",
                "Inputs": [{"Name": "x", "Format/Datatype": f"Row major {words[precision]} format"}],
            }
            for i, precision in enumerate(precisions)
        ]
    }


def install(tools: Path, version: str, logits: dict[str, list[float]], **changes: object) -> None:
    """Put it into ``tools`` as ``trtexec``; ``logits`` by the bytes of an image, in hexadecimal."""
    behaviour = {
        "version": version,
        "banner": version,
        "options": sorted(OPTIONS[version]),
        "broken": False,
        "writes": True,
        "wrong_by": 0.0,
        "layers": layers("fp32", "fp32"),
        "logits": logits,
        **changes,
    }
    (tools / "behaviour.json").write_text(json.dumps(behaviour))
    source = PROGRAM.format(behaviour=str(tools / "behaviour.json"), calls=str(tools / "calls"))
    (tools / "trtexec").write_text(f"#!{sys.executable} -ES\n{source}")
    (tools / "trtexec").chmod(0o755)


def calls(tools: Path) -> list[list[str]]:
    """The argument lists it was called with."""
    path = tools / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
