from dataclasses import replace

import pytest
import torch

from compress.dataset_distillation import expert_trajectories
from compress.dataset_distillation.class_pools import ClassPools
from compress.dataset_distillation.expert_trajectories import flatten_weights, load_or_train_experts, train_on_real_images


@pytest.fixture
def with_images(task):
    """Two classes that differ in brightness."""
    draw = torch.Generator().manual_seed(0)
    pools = ClassPools(tuple(torch.randn(16, *task.spec.shape, generator=draw) + 2 * c for c in range(3)), "pools")
    return replace(task, pools=pools)


def test_a_trajectory_has_the_weights_before_and_after_each_epoch_and_learns(with_images):
    network = with_images.random_network(0)
    start = flatten_weights(network)
    weights = train_on_real_images(with_images, network, epochs=3, lr=0.05, label="expert", seed=0)
    assert weights.shape == (4, len(start))
    assert torch.equal(weights[0], start)
    assert torch.equal(weights[-1], flatten_weights(network))
    x, y = with_images.real_images().all()
    assert (network(x).argmax(1) == y).float().mean() > 0.6


def test_experts_are_trained_once_and_a_damaged_file_is_replaced(with_images, monkeypatch):
    first = load_or_train_experts(with_images, 2, epochs=1, lr=0.05)
    assert not torch.equal(first[0], first[1])
    trained = []
    train = expert_trajectories.train_on_real_images
    monkeypatch.setattr(
        expert_trajectories, "train_on_real_images", lambda *a, **k: trained.append(k["seed"]) or train(*a, **k)
    )
    assert all(map(torch.equal, load_or_train_experts(with_images, 2, epochs=1, lr=0.05), first))
    assert trained == []
    next(with_images.cache.glob("experts-*/1.safetensors")).write_bytes(b"damaged")
    assert all(map(torch.equal, load_or_train_experts(with_images, 2, epochs=1, lr=0.05), first))
    assert trained == [1]
