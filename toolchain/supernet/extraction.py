"""A subnet as an ordinary module with its own copy of the weights (method section 5.3)."""

import torch

from fednas.toolchain.space import Architecture
from fednas.toolchain.supernet.elastic import ElasticSupernet
from fednas.toolchain.supernet.network import Network, network_of
from fednas.toolchain.supernet.slicing import overlaps


def extract_subnet(supernet: ElasticSupernet, arch: Architecture) -> Network:
    """The subnet with copied slices of weights, affine and running statistics; the supernet is not touched.

    The result is in the training mode of the supernet and lies on the CPU. Nothing elastic is left in it.
    """
    with torch.random.fork_rng(devices=[]):  # a layer's initial values, overwritten here, must not move the stream
        subnet = network_of(supernet.space, arch)
    whole, part = supernet.state_dict(), subnet.state_dict()
    with torch.no_grad():
        for overlap in overlaps(whole, part):
            part[overlap.name].copy_(whole[overlap.name][overlap.prefix])
    return subnet.train(supernet.training)
