"""Check the latency estimator against public measurements of whole networks, and fit its constants to them.

    python benchmarks/estimator_check.py

None of the measurements is ours, and all are of 224x224 networks. Each is predicted from constants fitted without
its device (leave one device out); the interval's factor is the largest error found in that way.
"""

import argparse
import functools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fednas.latency_tables.estimate import BYTES, CPU, GPU, Cost, EstimatorConstants, Workload, interval, price
from fednas.profiles import find_profile


class Operators(list[Workload]):
    """The operators of a network, one workload for each kernel (batch norm, ReLU and additions are fused)."""

    def conv(
        self, channels: tuple[int, int], kernel: int, stride: int, side: int, *, padding: int | None = None
    ) -> int:
        """Append a square convolution; returns the side of its output."""
        entering, leaving = channels
        padding = kernel // 2 if padding is None else padding
        out = (side + 2 * padding - kernel) // stride + 1
        weights = entering * leaving * kernel**2 + leaving
        moved = weights + entering * side**2 + leaving * out**2
        self.append(Workload(macs=entering * leaving * kernel**2 * out**2, numbers_moved=moved, kernels=1))
        return out

    def pool(self, channels: int, side: int, out: int) -> int:
        """Append a pooling layer."""
        self.append(Workload(macs=0, numbers_moved=channels * (side**2 + out**2), kernels=1))
        return out

    def linear(self, entering: int, leaving: int) -> None:
        """Append a fully connected layer."""
        macs = entering * leaving
        self.append(Workload(macs=macs, numbers_moved=macs + entering + 2 * leaving, kernels=1))


def resnet(stages: Sequence[int], bottleneck: bool) -> Operators:
    """ResNet at 224x224 (He et al. 2016), stride on the 3x3 convolution as torchvision has it."""
    net = Operators()
    side = net.pool(64, net.conv((3, 64), 7, 2, 224), 56)
    channels = 64
    for stage, blocks in enumerate(stages):
        width = 64 * 2**stage
        leaving = 4 * width if bottleneck else width
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            if stride != 1 or channels != leaving:
                net.conv((channels, leaving), 1, stride, side)
            side = _resnet_block(net, (channels, width, leaving), stride, side)
            channels = leaving
    net.pool(channels, side, 1)
    net.linear(channels, 1000)
    return net


def _resnet_block(net: Operators, widths: tuple[int, int, int], stride: int, side: int) -> int:
    entering, width, leaving = widths
    if leaving == width:
        out = net.conv((entering, width), 3, stride, side)
        return net.conv((width, width), 3, 1, out)
    net.conv((entering, width), 1, 1, side)
    out = net.conv((width, width), 3, stride, side)
    return net.conv((width, leaving), 1, 1, out)


def squeezenet() -> Operators:
    """SqueezeNet 1.1 at 224x224 (Iandola et al. 2016)."""
    net = Operators()
    side = net.conv((3, 64), 3, 2, 224, padding=0)
    channels = 64
    for fires in (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256))):
        side = net.pool(channels, side, -(-(side - 3) // 2) + 1)
        for squeeze, expand in fires:
            net.conv((channels, squeeze), 1, 1, side)
            net.conv((squeeze, expand), 1, 1, side)
            net.conv((squeeze, expand), 3, 1, side)
            channels = 2 * expand
    net.conv((channels, 1000), 1, 1, side)
    net.pool(1000, side, 1)
    return net


NETWORKS = {
    "resnet18": resnet((2, 2, 2, 2), bottleneck=False),
    "resnet34": resnet((3, 4, 6, 3), bottleneck=False),
    "resnet50": resnet((3, 4, 6, 3), bottleneck=True),
    "squeezenet1_1": squeezenet(),
}


@dataclass(frozen=True)
class Device:
    """What the estimator needs to know of a device."""

    processor: str
    tera_macs_per_s: float
    gb_per_s: float


@dataclass(frozen=True)
class Measurement:
    """A public latency of a whole network, one image."""

    device: str
    precision: str
    network: str
    latency_ms: float
    runtime: str
    source: str


TORCH2TRT, MLPERF11, MLPERF31 = "torch2trt README", "MLPerf Inference v1.1", "MLPerf Inference v3.1"
NCNN = "ncnn README, commit a4d2ea1"
PUBLIC = (
    Measurement("jetson-nano", "fp16", "resnet18", 11.4, "TensorRT", TORCH2TRT),
    Measurement("jetson-nano", "fp16", "resnet34", 20.2, "TensorRT", TORCH2TRT),
    Measurement("jetson-nano", "fp16", "resnet50", 29.8, "TensorRT", TORCH2TRT),
    Measurement("jetson-nano", "fp16", "squeezenet1_1", 4.34, "TensorRT", TORCH2TRT),
    Measurement("jetson-agx-xavier", "fp16", "resnet18", 1.64, "TensorRT", TORCH2TRT),
    Measurement("jetson-agx-xavier", "fp16", "resnet34", 2.79, "TensorRT", TORCH2TRT),
    Measurement("jetson-agx-xavier", "fp16", "resnet50", 3.37, "TensorRT", TORCH2TRT),
    Measurement("jetson-agx-xavier", "int8", "resnet50", 1.820, "TensorRT", MLPERF11),
    Measurement("jetson-xavier-nx", "int8", "resnet50", 2.426, "TensorRT", MLPERF11),
    Measurement("jetson-orin-nx", "int8", "resnet50", 1.079, "TensorRT", MLPERF31),
    Measurement("jetson-agx-orin", "int8", "resnet50", 0.636, "TensorRT", MLPERF31),
    Measurement("raspberry-pi-4", "fp32", "resnet18", 123.0, "ncnn", NCNN),
    Measurement("raspberry-pi-4", "fp32", "resnet50", 263.0, "ncnn", NCNN),
    Measurement("raspberry-pi-4", "fp32", "resnet50", 300.4, "ArmNN", MLPERF11),
    Measurement("raspberry-pi-4", "fp32", "resnet50", 527.4, "TFLite", MLPERF11),
    Measurement("raspberry-pi-5", "fp16", "resnet18", 19.96, "ncnn", NCNN),
    Measurement("raspberry-pi-5", "fp16", "resnet50", 46.2, "ncnn", NCNN),
    Measurement("raspberry-pi-5", "int8", "resnet18", 16.7, "ncnn", NCNN),
    Measurement("raspberry-pi-5", "int8", "resnet50", 40.8, "ncnn", NCNN),
    Measurement("jetson-nano-cpu", "fp32", "resnet18", 83.4, "ncnn", NCNN),
    Measurement("jetson-nano-cpu", "fp32", "resnet50", 204.0, "ncnn", NCNN),
    Measurement("jetson-orin-nano-cpu", "fp16", "resnet18", 15.1, "ncnn", NCNN),
    Measurement("jetson-orin-nano-cpu", "fp16", "resnet50", 39.3, "ncnn", NCNN),
    Measurement("jetson-agx-orin-cpu", "fp16", "resnet18", 6.92, "ncnn", NCNN),
    Measurement("jetson-agx-orin-cpu", "fp16", "resnet50", 15.7, "ncnn", NCNN),
)
# Peaks that no profile carries: cores x GHz x MACs a clock; ncnn computes in fp16 where the core can.
FURTHER = {
    ("raspberry-pi-5", "fp16"): Device("cpu", 4 * 2.4 * 16 / 1e3, 17.1),
    ("jetson-nano-cpu", "fp32"): Device("cpu", 4 * 1.43 * 4 / 1e3, 25.6),
    ("jetson-orin-nano-cpu", "fp16"): Device("cpu", 6 * 1.7 * 16 / 1e3, 102.0),
    ("jetson-agx-orin-cpu", "fp16"): Device("cpu", 12 * 2.2 * 16 / 1e3, 204.8),
}


@functools.cache
def device_of(measurement: Measurement) -> Device:
    """Datasheet figures, of the profile where it has them."""
    key = (measurement.device, measurement.precision)
    if key in FURTHER:
        return FURTHER[key]
    profile = find_profile(measurement.device)
    assert profile.dram_gb_per_s is not None
    peak = profile.peak_tera_macs_per_s[measurement.precision].value
    return Device(profile.processor, peak, profile.dram_gb_per_s.value)


def costs_of(measurement: Measurement, constants: EstimatorConstants) -> list[Cost]:
    """The estimate of what was measured, operator by operator."""
    device = device_of(measurement)
    return [
        price(
            work,
            tera_macs_per_s=device.tera_macs_per_s,
            gb_per_s=device.gb_per_s,
            bytes_per_number=BYTES[measurement.precision],
            constants=constants,
        )
        for work in NETWORKS[measurement.network]
    ]


def log_error(measurement: Measurement, constants: EstimatorConstants) -> float:
    """Logarithm of estimate over measurement."""
    return math.log(sum(cost.total_ms for cost in costs_of(measurement, constants)) / measurement.latency_ms)


def fit(measurements: Sequence[Measurement], start: EstimatorConstants) -> EstimatorConstants:
    """Utilisation (and, for GPUs, falloff) of least squared log error; every device weighs the same."""
    from scipy.optimize import minimize

    counts = {m.device: sum(m.device == other.device for other in measurements) for m in measurements}

    def with_values(values: Sequence[float]) -> EstimatorConstants:
        falloff = max(0.0, float(values[1])) if start.falloff else 0.0
        return replace(start, utilisation=math.exp(float(values[0])), falloff=falloff)

    def loss(values: Sequence[float]) -> float:
        constants = with_values(values)
        return sum(log_error(m, constants) ** 2 / counts[m.device] for m in measurements)

    first = [math.log(start.utilisation), start.falloff] if start.falloff else [math.log(start.utilisation)]
    return with_values(minimize(loss, first, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).x)


@dataclass(frozen=True)
class Row:
    """One measurement against the estimate made without its device."""

    measurement: Measurement
    latency_ms: float
    low_ms: float
    high_ms: float
    error_factor: float

    @property
    def inside(self) -> bool:
        """Is the measurement in the interval?"""
        return self.low_ms <= self.measurement.latency_ms <= self.high_ms


def leave_one_device_out(constants: EstimatorConstants) -> Iterator[Row]:
    """Every measurement of the processor kind that ``constants`` is for."""
    kind = "gpu" if constants is GPU else "cpu"
    known = [m for m in PUBLIC if device_of(m).processor == kind]
    without = {
        device: fit([m for m in known if m.device != device], constants)
        for device in dict.fromkeys(m.device for m in known)
    }
    for measurement in known:
        fitted = without[measurement.device]
        costs = costs_of(measurement, fitted)
        low_ms, high_ms = interval(costs, fitted)
        error = math.exp(abs(log_error(measurement, fitted)))
        yield Row(measurement, sum(cost.total_ms for cost in costs), low_ms, high_ms, error)


def main() -> None:
    """Print the fitted constants and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    as_json = parser.parse_args().json
    document = {}
    for name, constants in (("GPU", GPU), ("CPU", CPU)):
        kind = name.lower()
        fitted = fit([m for m in PUBLIC if device_of(m).processor == kind], constants)
        rows = list(leave_one_device_out(constants))
        document[name] = {
            "utilisation": fitted.utilisation,
            "falloff": fitted.falloff,
            "largest_error_factor": max(row.error_factor for row in rows),
            "inside": sum(row.inside for row in rows),
            "measurements": len(rows),
        }
        if not as_json:
            print_table(name, document[name], rows)
    if as_json:
        print(json.dumps(document, indent=2))


def print_table(name: str, summary: dict[str, float], rows: Sequence[Row]) -> None:
    """As Markdown."""
    print(f"{name}: fitted on all devices: utilisation {summary['utilisation']:.3f} at 1 tera-MAC/s,", end=" ")
    print(f"falloff {summary['falloff']:.3f}. Without the device at hand:\n")
    print("| device | network | precision | runtime | measured ms | estimate ms | interval ms | error | inside |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        m = row.measurement
        spread = f"{row.low_ms:.3g} - {row.high_ms:.3g}"
        cells = (m.device, m.network, m.precision, m.runtime, f"{m.latency_ms:g}", f"{row.latency_ms:.3g}", spread)
        print(f"| {' | '.join(cells)} | x{row.error_factor:.2f} | {'yes' if row.inside else 'no'} |")
    print(f"\nInside: {summary['inside']} of {summary['measurements']};", end=" ")
    print(f"largest error a factor of {summary['largest_error_factor']:.2f}.\n")


if __name__ == "__main__":
    main()
