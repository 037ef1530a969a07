"""Networks trained on the real images: the experts of trajectory matching, and the eyes of herding."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from compress.core.atomic_files import write_with
from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment
from compress.dataset_distillation.convnet import ConvNet
from compress.dataset_distillation.job import Job

if TYPE_CHECKING:
    from compress.dataset_distillation.base import Trajectory

BATCH = 64


def flat(network: ConvNet) -> Tensor:
    """All weights in one vector, (P,), without gradient, on the CPU."""
    return torch.cat([parameter.detach().cpu().reshape(-1) for parameter in network.parameters()])


def trained(job: Job, network: ConvNet, *, epochs: int, lr: float, label: str, seed: int) -> Tensor:
    """Train a network in place on the real images, by plain gradient descent with momentum 0 and the job's augmentation.

    Args:
        job: Images, augmentation, progress.
        network: With fresh weights.
        epochs: Passes over all images, in batches of 64.
        lr: Learning rate.
        label: Of the bar.
        seed: Of the order and the augmentation.

    Returns:
        The weights before the first epoch and after each, float32 (epochs + 1, P).
    """
    x, y = job.images().all()
    generator = job.seeded(3, seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    found = [flat(network)]
    with job.reporter.bar(label, epochs) as bar:
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(x), generator=generator), BATCH):
                chance = torch.rand(len(rows), PROBABILITIES, generator=generator).to(job.device)
                seen = differentiable_augment(x[rows].to(job.device), job.operations, chance)
                optimizer.zero_grad()
                F.cross_entropy(network(seen), y[rows].to(job.device)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            found.append(flat(network))
            bar.advance()
    return torch.stack(found)


def kept_experts(job: Job, way: Trajectory) -> tuple[Tensor, ...]:
    """Weights of all experts, each (epochs + 1, P); trained once and kept in the cache, whole or not at all."""
    folder = job.cache / f"experts-{_identity(job, way)}"
    return tuple(_expert(folder / f"{number}.safetensors", job, way, number) for number in range(way.experts))


def _expert(path: Path, job: Job, way: Trajectory, number: int) -> Tensor:
    try:
        return load_file(str(path))["weights"]
    except (OSError, KeyError, SafetensorError):
        network = job.fresh(4, number)
        label = f"expert {number + 1} of {way.experts}"
        weights = trained(job, network, epochs=way.epochs, lr=way.expert_lr, label=label, seed=number)
        write_with(path, lambda aside: save_file({"weights": weights}, str(aside)))
        return weights


def _identity(job: Job, way: Trajectory) -> str:
    """What the experts depend on."""
    parts = [
        job.images().identity,
        job.seed,
        job.width,
        job.depth,
        job.operations,
        way.epochs,
        way.expert_lr,
        torch.__version__,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
