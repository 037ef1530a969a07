import pytest
import torch
from torch import nn

from compress.core.errors import CompressError
from compress.dataset_distillation.job import no_grad_params


def test_random_networks_and_generators_repeat_for_equal_indices(task):
    first, again, other = task.random_network(4, 0), task.random_network(4, 0), task.random_network(4, 1)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    assert torch.equal(torch.rand(3, generator=task.generator(1)), torch.rand(3, generator=task.generator(1)))


def test_a_random_network_leaves_the_global_generator_alone(task):
    state = torch.get_rng_state()
    task.random_network(4, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_missing_network_or_missing_images_are_refused(task):
    with pytest.raises(CompressError, match="add `teacher:"):
        task.trained_network()
    with pytest.raises(TypeError, match="uses_real_images = True"):
        task.real_images()


def test_weights_are_frozen_inside_the_block_only():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    before = [parameter.requires_grad for parameter in network.parameters()]
    with no_grad_params(network):
        assert not any(parameter.requires_grad for parameter in network.parameters())
    assert [parameter.requires_grad for parameter in network.parameters()] == before
