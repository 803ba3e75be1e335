"""The whole loop on a tiny space: deterministic, resumable to the bit, and learning."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from fednas.common import FednasError
from fednas.toolchain.data import ImageData, LabelledImages, Preprocessing
from fednas.toolchain.federated import (
    ClientImages,
    FederatedTraining,
    ParetoPathSampler,
    RandomSandwichSampler,
    evaluate_architectures,
    torch_stream,
    train_locally,
)
from fednas.toolchain.federated.local import augmented
from fednas.toolchain.space import (
    SearchSpace,
    architecture_from_genes,
    largest_architecture,
    smallest_architecture,
)
from fednas.toolchain.space.cost import cost_of
from fednas.toolchain.supernet import TrainingSettings, load_supernet, network_of

SPACE = SearchSpace(
    num_stages=2,
    max_extra_blocks_per_stage=1,
    original_stem_out_channels=16,
    original_stage_base_channels=(16, 16),
    initial_input_hw=6,
    initial_input_channels=1,
    stem_stride=1,
    stage_downsample_factors=(1, 2),
    channel_divisible_by=8,
    n_classes=3,
    width_multiplier_choices=(0.5, 1.0),
    expansion_ratio_choices=(0.5, 1.0),
)
SETTINGS = TrainingSettings(
    rounds=4, clients=5, per_round=3, alpha=1.0, local_epochs=1, batch_size=16, lr=0.1, max_shift=1, seed=3
)


def stripes() -> ImageData:
    """Images whose class is the third of the picture that is bright."""
    generator = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = generator.integers(0, 60, (240, 1, 6, 6)).astype(np.uint8)
    for label in range(3):
        images[labels == label, :, :, 2 * label : 2 * label + 2] += 150
    whole = LabelledImages(images, labels.astype(np.int64))
    parts = [whole.take(part) for part in np.split(np.arange(240), [180, 210])]
    own = Preprocessing(channels=1, height=6, width=6, value_range_max=255.0, mean=(0.3,), std=(0.3,))
    return ImageData("stripes", ("left", "middle", "right"), own, *parts)


def training(settings: TrainingSettings = SETTINGS, space: SearchSpace = SPACE) -> FederatedTraining:
    return FederatedTraining(space, stripes(), RandomSandwichSampler(space), settings)


def state(run: FederatedTraining) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.supernet.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_the_seed_decides_everything_and_nothing_else_does(normalization: str) -> None:
    space = msgspec.structs.replace(SPACE, normalization=normalization)
    first = training(space=space)
    first.run()
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global state must not matter
    second = training(space=space)
    second.run()
    assert same(state(first), state(second))
    third = training(msgspec.structs.replace(SETTINGS, seed=4), space)
    third.run()
    assert not same(state(first), state(third))


def test_a_resumed_run_is_the_undisturbed_run_bit_for_bit(tmp_path: Path) -> None:
    whole = training()
    reports = []
    whole.run(on_round=reports.append)
    path = tmp_path / "run.checkpoint.safetensors"
    begun = training()
    begun.run_round()
    begun.run_round()
    begun.save_checkpoint(path)
    resumed = training()
    resumed.resume(path)
    later = []
    resumed.run(on_round=later.append)
    assert same(state(resumed), state(whole))
    assert resumed.tracker == whole.tracker
    assert later == reports[2:]
    assert [report.round_index for report in reports] == [0, 1, 2, 3]


def test_checkpoints_are_written_at_their_rounds_and_are_supernets(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    run = training()
    run.run(checkpoint=path, checkpoint_every=3)
    again = training()
    again.resume(path)
    assert again.rounds_done == 3
    assert load_supernet(path).header.dataset == "stripes"


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    training().save_checkpoint(path)
    other = training(msgspec.structs.replace(SETTINGS, lr=0.2))
    with pytest.raises(FednasError, match=r"of another run: its setting lr is 0.1, this run's is 0.2; repeat"):
        other.resume(path)
    other_space = training(space=msgspec.structs.replace(SPACE, normalization="none"))
    with pytest.raises(FednasError, match="of another run: its search space"):
        other_space.resume(path)
    with pytest.raises(FednasError, match="does not exist"):
        other.resume(tmp_path / "no.safetensors")


def test_all_subnets_learn() -> None:
    settings = msgspec.structs.replace(SETTINGS, rounds=12, local_epochs=3, max_shift=0)
    run = training(settings)
    run.run()
    archs = [smallest_architecture(SPACE), largest_architecture(SPACE)]
    before = state(run)
    results = evaluate_architectures(run.supernet, archs, stripes(), "validation")
    assert same(before, state(run))
    for result, arch in zip(results, archs, strict=True):
        assert result.accuracy > 0.9
        assert result.low <= result.accuracy <= result.high
        assert (result.architecture, result.macs) == (arch, cost_of(SPACE, arch).macs)


def test_weights_that_no_client_trains_stay_bit_for_bit() -> None:
    small = smallest_architecture(SPACE)
    run = FederatedTraining(SPACE, stripes(), ParetoPathSampler(SPACE, [small]), SETTINGS)
    before = state(run)
    run.run()
    after = state(run)
    assert torch.equal(after["stages.0.1.conv1.conv.weight"], before["stages.0.1.conv1.conv.weight"])
    assert torch.equal(after["stem.conv.weight"][8:], before["stem.conv.weight"][8:])
    assert not torch.equal(after["stem.conv.weight"][:8], before["stem.conv.weight"][:8])


def test_data_of_other_classes_or_shapes_are_refused() -> None:
    for change, message in (
        ({"n_classes": 4}, "has 3 classes, but the network has 4"),
        ({"initial_input_hw": 8}, "has 1x6x6 images, but the network reads 1x8x8"),
        ({"initial_input_channels": 3}, "has 1x6x6 images, but the network reads 3x6x6"),
    ):
        with pytest.raises(FednasError, match=message):
            training(space=msgspec.structs.replace(SPACE, **change))


# --- samplers ---------------------------------------------------------------------------------


def test_the_pareto_path_is_sorted_by_the_macs_of_the_networks() -> None:
    middle = architecture_from_genes(SPACE, [1, 0], [0.5] * 4, [0, 1, 1])
    cache = [largest_architecture(SPACE), middle, smallest_architecture(SPACE), middle]
    sampler = ParetoPathSampler(SPACE, cache)
    assert sampler.path == (smallest_architecture(SPACE), middle, largest_architecture(SPACE))
    assert (sampler.smallest, sampler.largest) == (sampler.path[0], sampler.path[2])
    generator = np.random.default_rng(0)
    assert {sampler.other(generator) for _ in range(50)} == set(sampler.path)
    with pytest.raises(FednasError, match="the cache holds no architecture"):
        ParetoPathSampler(SPACE, [])


def test_the_random_sandwich_covers_the_space() -> None:
    sampler = RandomSandwichSampler(SPACE)
    generator = np.random.default_rng(0)
    drawn = [sampler.other(generator) for _ in range(300)]
    assert {arch.d for arch in drawn} == {(a, b) for a in (0, 1) for b in (0, 1)}
    assert {arch.w_indices for arch in drawn} == {(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)}
    assert {e for arch in drawn for e in arch.e} == {0.5, 1.0}
    assert sampler.smallest == smallest_architecture(SPACE)
    assert sampler.largest == largest_architecture(SPACE)


# --- one client ---------------------------------------------------------------------------------


def one_client(count: int = 20) -> ClientImages:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 1, 6, 6, generator=generator)
    return ClientImages(images, torch.arange(count) % 3, torch.full((1, 1, 1, 1), -1.0))


def test_local_training_is_plain_sgd_with_decay_and_clipping() -> None:
    settings = msgspec.structs.replace(SETTINGS, max_shift=0, batch_size=100, weight_decay=0.01, max_norm=1e-3)
    client, network = one_client(), network_of(SPACE, smallest_architecture(SPACE))
    before = [p.detach().clone() for p in network.parameters()]
    train_locally(network, client, settings, 0.5, torch_stream(0, "local"))
    # one step: the change is -lr (gradient + decay p), and the gradient's global norm is 0.001
    gradients = [(b - p.detach()) / 0.5 - 0.01 * b for b, p in zip(before, network.parameters(), strict=True)]
    assert torch.cat([g.flatten() for g in gradients]).norm().item() == pytest.approx(1e-3, rel=0.02)


def test_a_diverged_training_says_so() -> None:
    network = network_of(msgspec.structs.replace(SPACE, normalization="none"), smallest_architecture(SPACE))
    client = one_client()
    broken = ClientImages(client.images * float("nan"), client.labels, client.empty)
    with pytest.raises(FednasError, match=r"training diverged.*lower --lr"):
        train_locally(network, broken, SETTINGS, 0.1, torch_stream(0, "local"))


def test_shifts_move_empty_pixels_in_and_mirrors_keep_the_rest() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3).repeat(200, 1, 1, 1)
    empty = torch.full((1, 1, 1, 1), -5.0)
    shifted = augmented(image, empty, msgspec.structs.replace(SETTINGS, max_shift=1), torch_stream(0, "a"))
    centre = shifted[:, 0, 1, 1]
    assert set(centre.tolist()) == set(map(float, range(9)))  # nine shifts
    corner = shifted[centre == 0][0, 0]  # content moved down and right by one
    assert corner.tolist() == [[-5.0, -5.0, -5.0], [-5.0, 0.0, 1.0], [-5.0, 3.0, 4.0]]
    mirrored = augmented(image, empty, msgspec.structs.replace(SETTINGS, max_shift=0, flip=True), torch_stream(0, "a"))
    assert {tuple(m[0, 0].tolist()) for m in mirrored} == {(0.0, 1.0, 2.0), (2.0, 1.0, 0.0)}
