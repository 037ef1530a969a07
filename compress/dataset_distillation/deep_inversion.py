"""Inversion: images that a trained network takes for its classes, like those its batch norms have seen. No data is needed.

Yin et al. 2020, "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", arXiv:1912.08795, section 3.2. The
competition with a student (section 3.3) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compress.core.errors import CompressError
from compress.core.record import InputSpec
from compress.dataset_distillation.base import Inversion
from compress.dataset_distillation.job import Job, Made, frozen
from compress.dataset_distillation.optimize_images import descend


def unusual(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """How far the inputs of a batch norm are from what it has seen (equation 4).

        R = ‖ μ(x) − μ̂ ‖₂ + ‖ σ²(x) − σ̂² ‖₂

    Args:
        x: Inputs of the layer, (N, C, …).
        mean: μ̂, its running mean, (C,).
        variance: σ̂², its running variance, (C,).

    Returns:
        Scalar, 0 where the batch is as usual.
    """
    others = [n for n in range(x.ndim) if n != 1]
    away: Tensor = (x.mean(dim=others) - mean).norm() + (x.var(dim=others, correction=0) - variance).norm()
    return away


def variation(x: Tensor) -> Tensor:
    """Total variation: differences of neighbours, ‖Δ_across‖₂ + ‖Δ_down‖₂ + both diagonals, summed over images (N, C, H, W)."""
    pairs = (
        (x[:, :, :, 1:], x[:, :, :, :-1]),
        (x[:, :, 1:], x[:, :, :-1]),
        (x[:, :, 1:, 1:], x[:, :, :-1, :-1]),
        (x[:, :, 1:, :-1], x[:, :, :-1, 1:]),
    )
    return torch.stack([(a - b).norm() for a, b in pairs]).sum()


def norms_of(network: nn.Module) -> list[_BatchNorm]:
    """Batch norms that have seen data.

    Raises:
        CompressError: There are none, or they have seen nothing.
    """
    found = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
    name = type(network).__name__
    if not found:
        msg = (
            f"inversion reads the means and variances that batch norms keep, and the network ({name}) has no batch norm that "
            "keeps them; use a teacher with batch norms, or a method that looks at data: gradient, distribution, trajectory"
        )
        raise CompressError(msg)
    if all(part.num_batches_tracked is not None and int(part.num_batches_tracked) == 0 for part in found):
        msg = (
            f"inversion needs a trained network, and the batch norms of this one ({name}) have not seen a batch; train it first"
        )
        raise CompressError(msg)
    return found


@contextmanager
def watched(norms: list[_BatchNorm]) -> Iterator[list[Tensor]]:
    """A list that `unusual` of each layer is appended to at every pass; the hooks are removed at the end."""
    seen: list[Tensor] = []

    def look(layer: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        seen.append(unusual(given[0], layer.get_buffer("running_mean"), layer.get_buffer("running_var")))

    handles = [layer.register_forward_hook(look) for layer in norms]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def inverted(job: Job, way: Inversion) -> Made:
    """Images from noise, some of every class at a time, so that their common statistics are those of data.

    Raises:
        CompressError: The network has no batch norm that has seen data.
        TrainingError: The loss is not finite.
    """
    network = job.asked().to(job.device).eval()
    norms = norms_of(network)
    mixed = torch.arange(len(job.spec.classes)).repeat(job.images_per_class)
    batches = list(torch.split(mixed, way.batch))
    if len(batches) > 1 and len(batches[-1]) < way.batch // 2:
        batches[-2:] = [torch.cat(batches[-2:])]
    images, losses = [], list[float]()
    with frozen(network), watched(norms) as seen:
        for number, y in enumerate(batches):
            label = "inversion" if len(batches) == 1 else f"inversion-{number + 1}-of-{len(batches)}"
            x, found = _batch(job, way, network, seen, y.to(job.device), number, label)
            images.append(x)
            losses = losses or found
    order = mixed.argsort(stable=True)
    notes = (f"the curve is that of the first of {len(batches)} batches of images",) if len(batches) > 1 else ()
    return Made(torch.cat(images)[order], mixed[order], losses=losses, notes=notes)


def _batch(
    job: Job, way: Inversion, network: nn.Module, seen: list[Tensor], y: Tensor, number: int, label: str
) -> tuple[Tensor, list[float]]:
    """One batch of images, on the CPU, and its losses."""
    x = torch.randn(len(y), *job.spec.shape, generator=job.seeded(5, number)).to(job.device).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=way.lr, betas=(0.5, 0.9))
    darkest, brightest = limits(job.spec, job.device)

    def losses_of(step: int) -> Iterator[Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = way.lr * (1 + torch.cos(torch.tensor(torch.pi * step / way.iterations)).item()) / 2
        shift = torch.randint(-way.jitter, way.jitter + 1, (2,), generator=job.seeded(6, number, step)).tolist()
        seen.clear()
        likely = F.cross_entropy(network(x.roll(shift, dims=(2, 3))), y)
        usual = torch.stack(seen).sum()
        yield likely + way.statistics * usual + way.variation * variation(x) + way.norm * x.norm()

    @torch.no_grad()
    def within() -> None:
        torch.maximum(torch.minimum(x, brightest, out=x), darkest, out=x)

    losses = descend(job, x, optimizer, losses_of, rounds=way.iterations, most=way.iterations, label=label, after=within)
    return x.detach().cpu(), losses


def limits(spec: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Black and white as the network sees them, each (1, C, 1, 1)."""
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    return (0 - mean) / std, (1 - mean) / std
