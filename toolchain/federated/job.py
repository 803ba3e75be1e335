"""A whole training: from files to a supernet file with its record."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from fednas.common import FednasError, sha256_of
from fednas.toolchain.data import ImageData
from fednas.toolchain.federated.evaluate import RECALIBRATION_IMAGES, evaluate_architectures
from fednas.toolchain.federated.rounds import FederatedTraining, RoundReport
from fednas.toolchain.federated.samplers import ArchitectureSampler, ParetoPathSampler, RandomSandwichSampler
from fednas.toolchain.space import Architecture, SearchSpace, largest_architecture, read_architectures
from fednas.toolchain.space.cost import cost_of
from fednas.toolchain.supernet import NamedAccuracy, TrainingRecord, TrainingSettings, save_supernet


@dataclass(frozen=True, slots=True)
class Curriculum:
    """The architectures that a training draws from, and where they come from."""

    sampler: ArchitectureSampler
    middle: Architecture
    """Reported beside the smallest and the largest: of the cache, the one nearest half the largest's MACs."""
    cache_architectures: int
    cache_sha256: str

    @property
    def named(self) -> tuple[tuple[str, Architecture], ...]:
        """The subnets of a training record."""
        return (("smallest", self.sampler.smallest), ("middle", self.middle), ("largest", self.sampler.largest))


def curriculum_of(space: SearchSpace, cache: Path, sampler_name: str) -> Curriculum:
    """The sampler for a cache file; the random sandwich draws elsewhere but reports the cache's middle."""
    architectures = read_architectures(cache, space, "cache")
    path = ParetoPathSampler(space, architectures)
    sampler: ArchitectureSampler = path if sampler_name == "optimal-path" else RandomSandwichSampler(space)
    half = cost_of(space, sampler.largest).macs / 2
    middle = min(path.path, key=lambda arch: abs(cost_of(space, arch).macs - half))
    return Curriculum(sampler, middle, len(path.path), sha256_of(cache))


def never_trained(space: SearchSpace, sampler: ArchitectureSampler) -> bool:
    """Whether weights of the supernet lie outside the largest network that is trained (method Q24)."""
    return sampler.largest != largest_architecture(space)


def checkpoint_path(out: Path) -> Path:
    """Where the training that makes ``out`` keeps its checkpoint."""
    return out.with_name(f"{out.stem}.checkpoint{out.suffix}")


def train_supernet(
    space: SearchSpace,
    data: ImageData,
    curriculum: Curriculum,
    settings: TrainingSettings,
    out: Path,
    *,
    command: str,
    resume: bool = False,
    checkpoint_every: int = 50,
    on_round: Callable[[RoundReport], None] = lambda _report: None,
) -> TrainingRecord:
    """Train, evaluate and write ``out``; a checkpoint stands beside it until then.

    Raises:
        FednasError: ``out`` cannot be written (found before the first round), the data do not fit the space, a
            checkpoint is in the way or of another run, the training diverged.
    """
    _check_out(out)
    identity = f"cache {curriculum.cache_sha256[:12]}"
    training = FederatedTraining(space, data, curriculum.sampler, settings, identity=identity)
    checkpoint = checkpoint_path(out)
    if resume:
        training.resume(checkpoint)
    elif checkpoint.exists():
        raise FednasError(f"{checkpoint} holds an unfinished training", hint="go on with --resume, or remove it")
    else:
        training.save_checkpoint(checkpoint)  # a disk that cannot take it is found now, not after hours
        checkpoint.unlink()
    training.run(checkpoint=checkpoint, checkpoint_every=checkpoint_every, on_round=on_round)
    record = _record(training, data, curriculum, command)
    save_supernet(out, training.supernet, msgspec.structs.replace(training.header, training=record))
    checkpoint.unlink(missing_ok=True)
    return record


def _check_out(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise FednasError(f"--out {out} must end in .safetensors", hint=f"write {out.with_suffix('.safetensors')}")
    if out.is_dir():
        raise FednasError(f"--out {out} is a folder", hint="name a file")


def _record(training: FederatedTraining, data: ImageData, curriculum: Curriculum, command: str) -> TrainingRecord:
    batch_norm = training.supernet.space.normalization == "batch"
    return TrainingRecord(
        command=command,
        settings=training.settings,
        tool_version=version("fednas-export"),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, torch {version('torch')}",
        seconds=round(training.seconds, 1),
        cache_architectures=curriculum.cache_architectures,
        cache_sha256=curriculum.cache_sha256,
        train_images=len(data.train),
        validation_images=len(data.validation),
        test_images=len(data.test),
        recalibration_images=min(RECALIBRATION_IMAGES, len(data.train)) if batch_norm else 0,
        accuracies=_accuracies(training, data, curriculum.named),
    )


def _accuracies(
    training: FederatedTraining, data: ImageData, named: Sequence[tuple[str, Architecture]]
) -> tuple[NamedAccuracy, ...]:
    architectures = [arch for _, arch in named]
    validation = evaluate_architectures(training.supernet, architectures, data, "validation")
    test = evaluate_architectures(training.supernet, architectures, data, "test")
    return tuple(
        NamedAccuracy(name=name, validation=v, test=t) for (name, _), v, t in zip(named, validation, test, strict=True)
    )
