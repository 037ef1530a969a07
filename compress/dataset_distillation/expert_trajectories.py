"""Networks trained on the real images: the experts of trajectory matching, and the feature extractor of herding."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from compress.core.atomic_files import write_with
from compress.core.language import gettext
from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment
from compress.dataset_distillation.convnet import ConvNet
from compress.dataset_distillation.job import SynthesisTask

BATCH = 64


def flatten_weights(network: ConvNet) -> Tensor:
    """All weights in one vector, (P,), without gradient, on the CPU."""
    return torch.cat([parameter.detach().cpu().reshape(-1) for parameter in network.parameters()])


def train_on_real_images(task: SynthesisTask, network: ConvNet, *, epochs: int, lr: float, label: str, seed: int) -> Tensor:
    """Train a network in place on the real images, by SGD without momentum, with the task's augmentation.

    Args:
        task: Images, augmentation, progress.
        network: With random weights.
        epochs: Passes over all images, in batches of 64.
        lr: Learning rate.
        label: Of the progress bar.
        seed: Of the order and the augmentation.

    Returns:
        The weights before the first epoch and after each epoch, float32 (epochs + 1, P).
    """
    x, y = task.real_images().all()
    generator = task.generator(3, seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    trajectory = [flatten_weights(network)]
    with task.reporter.bar(label, epochs) as bar:
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(x), generator=generator), BATCH):
                chance = torch.rand(len(rows), PROBABILITIES, generator=generator).to(task.device)
                augmented = differentiable_augment(x[rows].to(task.device), task.operations, chance)
                optimizer.zero_grad()
                torch.autograd.backward(F.cross_entropy(network(augmented), y[rows].to(task.device)))
                optimizer.step()
            trajectory.append(flatten_weights(network))
            bar.advance()
    return torch.stack(trajectory)


def load_or_train_experts(task: SynthesisTask, count: int, *, epochs: int, lr: float) -> tuple[Tensor, ...]:
    """Weights of the experts, each (epochs + 1, P); trained once and kept in the cache, written atomically.

    Args:
        task: Images, networks, seed, cache.
        count: Number of experts.
        epochs: Epochs of each.
        lr: Learning rate of each.
    """
    parts = [task.real_images().identity, task.seed, task.width, task.depth, task.operations, epochs, lr, torch.__version__]
    folder = task.cache / f"experts-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"
    experts = []
    for index in range(count):
        path = folder / f"{index}.safetensors"
        weights = _read_weights(path)
        if weights is None:
            label = gettext("expert {index} of {count}", index=index + 1, count=count)
            network = task.random_network(4, index)
            weights = train_on_real_images(task, network, epochs=epochs, lr=lr, label=label, seed=index)
            _write_weights(path, weights)
        experts.append(weights)
    return tuple(experts)


def _read_weights(path: Path) -> Tensor | None:
    try:
        return load_file(str(path))["weights"]
    except (OSError, KeyError, SafetensorError):
        return None


def _write_weights(path: Path, weights: Tensor) -> None:
    write_with(path, lambda aside: save_file({"weights": weights}, str(aside)))
