"""One network, two forms: what the supernet computes in place is what the extracted module computes."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from fednas.latency_tables import Shortcut
from fednas.toolchain.embedded import embedded_space_path
from fednas.toolchain.federated import RandomSandwichSampler
from fednas.toolchain.space import (
    SearchSpace,
    architecture_from_genes,
    blocks_of,
    largest_architecture,
    load_space,
    smallest_architecture,
)
from fednas.toolchain.space.cost import cost_of
from fednas.toolchain.supernet import ElasticSupernet, extract_subnet, network_of, overlaps


def small_space(**changes: object) -> SearchSpace:
    space = SearchSpace(
        num_stages=3,
        max_extra_blocks_per_stage=1,
        original_stem_out_channels=16,
        original_stage_base_channels=(16, 24, 48),
        initial_input_hw=9,
        initial_input_channels=2,
        stem_stride=2,
        stage_downsample_factors=(1, 2, 1),
        channel_divisible_by=8,
        n_classes=5,
        width_multiplier_choices=(0.5, 1.0),
        expansion_ratio_choices=(0.5, 1.0),
    )
    return msgspec.structs.replace(space, **changes)


SPACES = {
    "odd sides, stem stride 2": small_space(),
    "without batch norm": small_space(normalization="none"),
    "stride 2 everywhere, even side": small_space(initial_input_hw=16, stage_downsample_factors=(2, 2, 2)),
    "one width, no extra blocks": small_space(width_multiplier_choices=(1.0,), max_extra_blocks_per_stage=0),
    "digits": load_space(embedded_space_path()),
    "digits without batch norm": msgspec.structs.replace(load_space(embedded_space_path()), normalization="none"),
}


def scrambled(space: SearchSpace) -> ElasticSupernet:
    """A supernet whose batch norms are far from the identity, so that a wrong slice shows."""
    torch.manual_seed(3)
    supernet = ElasticSupernet(space)
    for layer in supernet.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.3)
            layer.running_mean.normal_(0.0, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
    return supernet.eval()


def images_of(space: SearchSpace) -> torch.Tensor:
    shape = (3, space.initial_input_channels, space.initial_input_hw, space.initial_input_hw)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def some_architectures(space: SearchSpace, count: int = 8) -> list[object]:
    sampler = RandomSandwichSampler(space)
    generator = np.random.default_rng(0)
    return [sampler.smallest, sampler.largest, *(sampler.other(generator) for _ in range(count))]


@pytest.mark.parametrize("name", SPACES)
def test_dynamic_output_is_the_extracted_subnets_output(name: str) -> None:
    space = SPACES[name]
    supernet, x = scrambled(space), images_of(space)
    outputs = []
    for arch in some_architectures(space):
        subnet = extract_subnet(supernet, arch)
        supernet.set_active(arch)
        with torch.no_grad():
            expected, found = subnet(x), supernet(x)
        assert found.shape == (3, space.n_classes)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        outputs.append(found)
    assert not torch.allclose(outputs[0], outputs[1])


def test_dynamic_output_is_the_extracted_output_in_the_small_reference_space(shared_data: Path) -> None:
    space = load_space(shared_data / "reference" / "space-small.json")
    supernet, x = scrambled(space), images_of(space)
    for arch in some_architectures(space, 6):
        supernet.set_active(arch)
        with torch.no_grad():
            torch.testing.assert_close(supernet(x), extract_subnet(supernet, arch)(x), rtol=1e-5, atol=1e-5)


def test_training_in_place_moves_the_same_statistics_as_training_the_subnet() -> None:
    space = small_space()
    supernet, x = scrambled(space).train(), images_of(space)
    arch = smallest_architecture(space)
    subnet = extract_subnet(supernet, arch)
    supernet.set_active(arch)
    torch.testing.assert_close(supernet(x), subnet(x))
    whole = supernet.state_dict()
    for overlap in overlaps(whole, subnet.state_dict()):
        torch.testing.assert_close(whole[overlap.name][overlap.prefix], subnet.state_dict()[overlap.name])


def test_an_extracted_subnet_is_ordinary_and_owns_its_weights() -> None:
    supernet = scrambled(small_space())
    subnet = extract_subnet(supernet, smallest_architecture(supernet.space))
    leaves = {type(layer) for layer in subnet.modules() if not list(layer.children())}
    assert leaves <= {nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.AvgPool2d, nn.Identity}
    before = supernet.state_dict()["stem.conv.weight"].clone()
    with torch.no_grad():
        subnet.stem.conv.weight.zero_()
    assert torch.equal(supernet.state_dict()["stem.conv.weight"], before)


def test_extraction_does_not_move_torchs_random_stream() -> None:
    supernet = ElasticSupernet(small_space())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    extract_subnet(supernet, largest_architecture(supernet.space))
    assert torch.equal(torch.rand(3), expected)


def test_a_first_block_has_a_projection_exactly_where_its_widths_differ() -> None:
    # stem widths 8 and 16, stage 1 widths 8 and 16, stride 1: the identity for (8, 8) and (16, 16) only
    space = small_space()
    supernet = ElasticSupernet(space)
    assert supernet.block(0, 0).projection is not None  # needed by (8, 16) and (16, 8)
    assert supernet.block(0, 1).projection is None  # not a first block
    for stem in (0, 1):
        for stage in (0, 1):
            arch = architecture_from_genes(space, [0, 0, 0], [0.5] * 6, [stem, stage, 0, 0])
            names = extract_subnet(supernet, arch).state_dict().keys()
            assert any(name.startswith("stages.0.0.projection") for name in names) == (stem != stage)


def test_a_space_without_width_choice_owns_no_needless_projection() -> None:
    space = small_space(width_multiplier_choices=(1.0,))
    assert ElasticSupernet(space).block(0, 0).projection is None
    assert ElasticSupernet(space).block(1, 0).projection is not None


@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_parameters_and_macs_are_those_of_the_module(normalization: str) -> None:
    space = small_space(normalization=normalization)
    for arch in some_architectures(space):
        network = network_of(space, arch)
        assert sum(p.numel() for p in network.parameters()) == cost_of(space, arch).params
        assert counted_macs(network, images_of(space)[:1]) == cost_of(space, arch).macs


def counted_macs(network: nn.Module, x: torch.Tensor) -> int:
    total = 0

    def count(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        positions = output.shape[2] * output.shape[3] if output.dim() == 4 else 1
        total += weight.numel() * positions

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(x)
    return total


def test_gamma_zero_init_starts_every_block_at_its_shortcut() -> None:
    supernet = ElasticSupernet(small_space(bn_gamma_zero_init=True))
    gammas = {name: p for name, p in supernet.named_parameters() if name.endswith("bn.weight")}
    assert all(bool((p == 0).all()) == ("conv2" in name) for name, p in gammas.items())


def test_odd_sides_are_pooled_upwards() -> None:
    space = small_space()
    specs = blocks_of(space, largest_architecture(space))
    projected = [s for s in specs if s.shortcut is Shortcut.PROJECTION and s.stride == 2]
    assert [(s.in_hw, s.out_hw) for s in projected] == [(5, 3)]
    network = network_of(space, largest_architecture(space))
    assert network(images_of(space)).shape == (3, 5)
