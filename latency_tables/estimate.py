"""What a network would cost on a device that nobody here has measured: an estimate, and always called one.

For each operator, launch + max(compute, memory): a roofline (Williams et al. 2009) with a fixed cost for each
kernel. Datasheet peaks are never reached, and by how much differs between devices by a factor of four; the share
that is reached falls as GPUs get wider, because one image does not fill them. The constants below are fitted to
public measurements of whole networks by ``benchmarks/estimator_check.py``, which also checks them device by device
and prints the table in ``docs/estimates.md``. The cost of a kernel is an assumption: no public figure was found.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fednas.common import FednasError
from fednas.latency_tables.blocks import BlockSpec
from fednas.latency_tables.model import AdditiveTerms, LatencyPrediction, ModelIdentity
from fednas.profiles import DeviceProfile

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Of one number."""
LAUNCH_DOUBT = 3.0
"""Factor by which the assumed cost of a kernel may be wrong, either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What runs between two points of a network, in any kind of network."""

    macs: int
    numbers_moved: int
    """Weights and activations read and written."""
    kernels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorConstants:
    """How much of its datasheet a kind of processor reaches on one image."""

    kernel_ms: float
    """Cost of a kernel that does nothing. ASSUMED."""
    utilisation: float
    """Share of the peak that convolutions reach on a processor with a peak of 1 tera-MAC/s. Fitted."""
    falloff: float
    """Exponent by which that share falls with the peak. Fitted."""
    bandwidth_share: float
    """Share of the datasheet's memory bandwidth that is reached. ASSUMED."""
    coverage: float
    factor: float
    """latency / factor .. latency * factor holds ``coverage`` of the public measurements, each predicted from
    constants fitted without its device."""


GPU = EstimatorConstants(
    kernel_ms=0.005, utilisation=0.44, falloff=0.165, bandwidth_share=0.7, coverage=0.8, factor=2.7
)
"""Five devices: no more than 80 % can be claimed, though all eleven measurements lie inside."""
CPU = EstimatorConstants(kernel_ms=0.010, utilisation=0.6, falloff=0.0, bandwidth_share=0.5, coverage=0.8, factor=2.7)
"""For all cores of the processor, as its peak is. Mostly of ncnn: other runtimes reach half of it or less."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The two parts of an estimate, which are wrong for different reasons."""

    launch_ms: float
    work_ms: float

    @property
    def total_ms(self) -> float:
        """Launch and work together."""
        return self.launch_ms + self.work_ms


def price(
    work: Workload, *, tera_macs_per_s: float, gb_per_s: float, bytes_per_number: int, constants: EstimatorConstants
) -> Cost:
    """Cost of a workload on a processor with this datasheet."""
    reached = min(1.0, constants.utilisation * tera_macs_per_s**-constants.falloff)
    compute_ms = work.macs / (reached * tera_macs_per_s * 1e9)
    memory_ms = work.numbers_moved * bytes_per_number / (constants.bandwidth_share * gb_per_s * 1e6)
    return Cost(work.kernels * constants.kernel_ms, max(compute_ms, memory_ms))


def interval(costs: Iterable[Cost], constants: EstimatorConstants) -> tuple[float, float]:
    """Lowest and highest latency in ms: the fitted factor on the whole, the doubt about launches on their part."""
    costs = list(costs)
    launch_ms, work_ms = sum(cost.launch_ms for cost in costs), sum(cost.work_ms for cost in costs)
    low_ms = (launch_ms / LAUNCH_DOUBT + work_ms) / constants.factor
    return low_ms, (launch_ms * LAUNCH_DOUBT + work_ms) * constants.factor


class EstimatedLatencyModel:
    """`LatencyModel` from datasheet figures. It can price every block, and none of them well."""

    def __init__(self, device: DeviceProfile, precision: str) -> None:
        """Raises `FednasError` if the profile lacks the figures that the estimate needs."""
        if precision not in device.precisions:
            raise FednasError(
                f"{device.name} does not run {precision}", hint=f"choose one of {', '.join(device.precisions)}"
            )
        peak = device.peak_tera_macs_per_s.get(precision)
        if peak is None or device.dram_gb_per_s is None:
            lacking = f"peak in {precision}" if peak is None else "memory bandwidth"
            raise FednasError(
                f"no {lacking} of {device.name} is on record, so its latency cannot be estimated",
                hint=f"measure it with `fednas-export profile --device {device.name}` and give --table, "
                "or budget MACs instead",
            )
        self._peak, self._gb_per_s = peak.value, device.dram_gb_per_s.value
        self._constants = GPU if device.processor == "gpu" else CPU
        self._bytes = BYTES[precision]
        self._identity = ModelIdentity(
            name=f"estimate from the datasheet of {device.name}",
            device=device.name,
            kind="estimate",
            runtime=device.runtime,
            precision=precision,
            batch=1,
            threads=0,
            sha256="",
        )

    @property
    def identity(self) -> ModelIdentity:
        """What this model is."""
        return self._identity

    def missing(self, specs: Sequence[BlockSpec]) -> tuple[BlockSpec, ...]:  # noqa: ARG002 - the protocol's
        """None: every block has MACs, bytes and kernels."""
        return ()

    def additive_terms(self, specs: Sequence[BlockSpec]) -> AdditiveTerms:
        """The estimate of every block."""
        return AdditiveTerms(0.0, tuple(cost.total_ms for cost in self._costs(specs)))

    def predict(self, specs: Sequence[BlockSpec]) -> LatencyPrediction:
        """The estimate with its (wide) interval."""
        costs = self._costs(specs)
        low_ms, high_ms = interval(costs, self._constants)
        return LatencyPrediction(
            latency_ms=sum(cost.total_ms for cost in costs),
            low_ms=low_ms,
            high_ms=high_ms,
            coverage=self._constants.coverage,
            kind="estimate",
        )

    def _costs(self, specs: Sequence[BlockSpec]) -> list[Cost]:
        return [
            price(
                workload_of(spec),
                tera_macs_per_s=self._peak,
                gb_per_s=self._gb_per_s,
                bytes_per_number=self._bytes,
                constants=self._constants,
            )
            for spec in specs
        ]


def workload_of(spec: BlockSpec) -> Workload:
    """The work of one block."""
    return Workload(macs=spec.macs, numbers_moved=spec.weights + spec.activations, kernels=spec.kernels)


def estimate_for(device: DeviceProfile, precision: str) -> EstimatedLatencyModel:
    """A latency model of a device from its datasheet; raises `FednasError` where figures are lacking."""
    return EstimatedLatencyModel(device, precision)
