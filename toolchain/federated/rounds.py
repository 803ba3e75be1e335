"""The federated training, in one process (method section 6)."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch

from fednas.common import FednasError, decode_json, encode_json
from fednas.toolchain.data import ImageData
from fednas.toolchain.federated.aggregate import OverlapAverage
from fednas.toolchain.federated.local import ClientImages, train_locally
from fednas.toolchain.federated.partition import Partition, dirichlet_partition, even_partition
from fednas.toolchain.federated.roles import Roles, RoleTracker
from fednas.toolchain.federated.samplers import ArchitectureSampler
from fednas.toolchain.federated.schedule import weighting_of
from fednas.toolchain.federated.streams import stream, torch_stream
from fednas.toolchain.space import Architecture, SearchSpace
from fednas.toolchain.supernet import (
    ElasticSupernet,
    SupernetHeader,
    TrainingSettings,
    extract_subnet,
    load_supernet,
    save_supernet,
)
from fednas.toolchain.supernet.header import read_metadata


class RoundReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened in one round."""

    round_index: int
    participants: tuple[int, ...]
    losses: tuple[float, ...]
    """Mean local loss of each participant."""


class TrainingProgress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a checkpoint holds besides the supernet: enough to go on exactly."""

    rounds_done: int
    tracker: RoleTracker
    settings: TrainingSettings
    identity: str
    """What must be the same for the run to go on: data set and cache."""
    seconds: float


class FederatedTraining:
    """A training run: its supernet, its clients and how far it is.

    Every random choice has its own stream for (seed, round, client, purpose), so a run that was stopped and
    resumed makes exactly the supernet that an undisturbed one makes, on the same machine and libraries.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: ImageData,
        sampler: ArchitectureSampler,
        settings: TrainingSettings,
        *,
        identity: str = "",
    ) -> None:
        data.check_fits(space.initial_input_channels, space.initial_input_hw, space.n_classes)
        self.settings = settings
        self.sampler = sampler
        self.identity = f"data {data.name} ({len(data.train)} training images), {identity}"
        self.header = SupernetHeader(
            space=space, dataset=data.name, class_names=data.class_names, preprocessing=data.preprocessing
        )
        self.clients = _clients(data, settings)
        self.weighting = weighting_of(settings)
        self.tracker = RoleTracker.for_clients(settings.clients)
        self.supernet = _new_supernet(space, settings.seed)
        self.rounds_done = 0
        self.seconds = 0.0

    def run(
        self,
        *,
        checkpoint: Path | None = None,
        checkpoint_every: int = 50,
        on_round: Callable[[RoundReport], None] = lambda _report: None,
    ) -> None:
        """All rounds that are left; writes a checkpoint every so many of them."""
        while self.rounds_done < self.settings.rounds:
            on_round(self.run_round())
            if checkpoint is not None and self.rounds_done % checkpoint_every == 0:
                self.save_checkpoint(checkpoint)

    def run_round(self) -> RoundReport:
        """One round: choose clients, give roles, train each from the same supernet, average."""
        begin = time.perf_counter()
        participants = self._participants()
        roles = self.tracker.assign(participants)
        weights = self.weighting.weights(self.rounds_done, participants, roles)
        average = OverlapAverage(self.supernet.state_dict())
        losses = []
        for client, weight in zip(participants, weights, strict=True):
            arch = self._architecture(client, roles)
            self.tracker.record(client, largest=arch == self.sampler.largest, smallest=arch == self.sampler.smallest)
            subnet = extract_subnet(self.supernet, arch)
            generator = torch_stream(self.settings.seed, "local", round_index=self.rounds_done, client=client)
            losses.append(train_locally(subnet, self.clients[client], self.settings, self._lr(), generator))
            average.add(weight, subnet.state_dict())
        self.supernet.load_state_dict(average.result())
        self.rounds_done += 1
        self.seconds += time.perf_counter() - begin
        return RoundReport(self.rounds_done - 1, participants, tuple(losses))

    def save_checkpoint(self, path: Path) -> None:
        """Write a supernet file that also says how to go on."""
        progress = TrainingProgress(
            rounds_done=self.rounds_done,
            tracker=self.tracker,
            settings=self.settings,
            identity=self.identity,
            seconds=self.seconds,
        )
        save_supernet(path, self.supernet, self.header, extra={"progress": encode_json(progress)})

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; raises `FednasError` if it is of another run."""
        text = read_metadata(path).get("progress")
        if text is None:
            raise FednasError(f"{path} is no checkpoint of a training", hint="start without --resume")
        progress = decode_json(text, TrainingProgress, f"checkpoint {path}")
        loaded = load_supernet(path)
        for what, then, now in (
            *_differences(progress.settings, self.settings),
            ("search space", loaded.header.space, self.header.space),
            ("data and cache", progress.identity, self.identity),
        ):
            if then != now:
                raise FednasError(
                    f"checkpoint {path} is of another run: its {what} is {then}, this run's is {now}",
                    hint="repeat the options of that run, or start anew without --resume",
                )
        self.supernet.load_state_dict(loaded.supernet.state_dict())
        self.tracker = progress.tracker
        self.rounds_done = progress.rounds_done
        self.seconds = progress.seconds

    def _participants(self) -> tuple[int, ...]:
        clients, count = self.settings.clients, self.settings.per_round
        if count == clients:
            return tuple(range(clients))
        generator = stream(self.settings.seed, "participants", round_index=self.rounds_done)
        return tuple(generator.choice(clients, size=count, replace=False).tolist())

    def _architecture(self, client: int, roles: Roles) -> Architecture:
        if client == roles.largest:
            return self.sampler.largest
        if client == roles.smallest:
            return self.sampler.smallest
        return self.sampler.other(
            stream(self.settings.seed, "architecture", round_index=self.rounds_done, client=client)
        )

    def _lr(self) -> float:
        if self.settings.lr_schedule == "constant":
            return self.settings.lr
        return self.settings.lr * (1 + math.cos(math.pi * self.rounds_done / self.settings.rounds)) / 2


def _differences(then: TrainingSettings, now: TrainingSettings) -> list[tuple[str, object, object]]:
    names = [field.name for field in msgspec.structs.fields(TrainingSettings)]
    return [(f"setting {name}", getattr(then, name), getattr(now, name)) for name in names]


def _new_supernet(space: SearchSpace, seed: int) -> ElasticSupernet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(stream(seed, "initial weights").integers(2**63 - 1)))
        return ElasticSupernet(space).train()


def _clients(data: ImageData, settings: TrainingSettings) -> tuple[ClientImages, ...]:
    images = torch.from_numpy(data.preprocessing.apply(data.train.images))
    labels = torch.from_numpy(data.train.labels)
    black = np.zeros((1, *data.preprocessing.input_shape), dtype=np.uint8)
    empty = torch.from_numpy(data.preprocessing.apply(black)[:, :, :1, :1])  # one pixel: all of them are alike
    parts = _partition(data, settings)
    return tuple(ClientImages(images[part], labels[part], empty) for part in map(torch.from_numpy, parts))


def _partition(data: ImageData, settings: TrainingSettings) -> Partition:
    generator = stream(settings.seed, "partition")
    if settings.alpha is None:
        return even_partition(len(data.train), settings.clients, generator)
    return dirichlet_partition(data.train.labels, settings.clients, settings.alpha, generator)
