"""DeepInversion: images that a trained network assigns to its classes, with the statistics of its batch norms. No data needed.

Yin et al. 2020, "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", arXiv:1912.08795, section 3.2. The
competition with a student (section 3.3) is left out. Imports torch only when it runs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.dataset_distillation.base import DatasetDistillationMethod

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor, nn
    from torch.nn.modules.batchnorm import _BatchNorm

    from compress.core.network_spec import NetworkSpec
    from compress.dataset_distillation.job import SynthesisTask, SyntheticSet


class DeepInversion(DatasetDistillationMethod):
    """`inversion`: images that a trained network assigns to its classes, with the statistics of its batch norms.

    Attributes:
        uses_real_images: It never does.
        needs_network: A trained one with batch norms.
        iterations: Updates of the images.
        lr: Learning rate of the pixels.
        statistics: Weight of the distance to the means and variances of the batch norms.
        variation: Weight of the total variation.
        norm: Weight of the L2 norm of the images.
        jitter: Largest random shift before each forward pass, in pixels.
        batch: Images that are optimized together; their common statistics are compared.
    """

    uses_real_images: ClassVar[bool] = False
    needs_network: ClassVar[bool] = True

    iterations: int = Field(default=500, ge=1)
    lr: float = Field(default=0.1, gt=0.0)
    statistics: float = Field(default=1.0, ge=0.0)
    variation: float = Field(default=1e-3, ge=0.0)
    norm: float = Field(default=1e-3, ge=0.0)
    jitter: int = Field(default=2, ge=0)
    batch: int = Field(default=128, ge=2)

    def synthesize(self, task: SynthesisTask) -> SyntheticSet:
        """See `invert_network`."""
        return invert_network(task, self)

    def smoke(self) -> Self:
        """Two updates."""
        return self.model_copy(update={"iterations": min(self.iterations, 2)})


def bn_statistics_loss(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Distance of the statistics of a batch norm's inputs from its running statistics (equation 4).

        R = ‖ μ(x) − μ̂ ‖₂ + ‖ σ²(x) − σ̂² ‖₂

    Args:
        x: Inputs of the layer, (N, C, …).
        mean: μ̂, its running mean, (C,).
        variance: σ̂², its running variance, (C,).

    Returns:
        Scalar, 0 where the statistics are equal.
    """
    others = [n for n in range(x.ndim) if n != 1]
    distance: Tensor = (x.mean(dim=others) - mean).norm() + (x.var(dim=others, correction=0) - variance).norm()
    return distance


def total_variation(x: Tensor) -> Tensor:
    """Total variation: ‖Δ_x‖₂ + ‖Δ_y‖₂ + both diagonals, norms of the differences of neighbours in images (N, C, H, W)."""
    import torch

    pairs = (
        (x[:, :, :, 1:], x[:, :, :, :-1]),
        (x[:, :, 1:], x[:, :, :-1]),
        (x[:, :, 1:, 1:], x[:, :, :-1, :-1]),
        (x[:, :, 1:, :-1], x[:, :, :-1, 1:]),
    )
    return torch.stack([(a - b).norm() for a, b in pairs]).sum()


def find_batchnorms(network: nn.Module) -> list[_BatchNorm]:
    """Batch norms with running statistics.

    Raises:
        CompressError: There are none, or none has been trained.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    layers = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
    name = type(network).__name__
    if not layers:
        msg = gettext(
            "inversion reads the running means and variances of batch norms, and the network ({name}) has no batch norm that "
            "keeps them; use a teacher with batch norms, or a method that uses data: gradient, distribution, trajectory",
            name=name,
        )
        raise CompressError(msg)
    if all(part.num_batches_tracked is not None and int(part.num_batches_tracked) == 0 for part in layers):
        msg = gettext(
            "inversion needs a trained network, and the batch norms of this one ({name}) have not seen a batch; train it first",
            name=name,
        )
        raise CompressError(msg)
    return layers


@contextmanager
def capture_bn_losses(layers: list[_BatchNorm]) -> Iterator[list[Tensor]]:
    """A list that the `bn_statistics_loss` of each layer is appended to at every pass; the hooks are removed at the end."""
    losses: list[Tensor] = []

    def add_loss(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        losses.append(bn_statistics_loss(inputs[0], layer.get_buffer("running_mean"), layer.get_buffer("running_var")))

    handles = [layer.register_forward_hook(add_loss) for layer in layers]
    try:
        yield losses
    finally:
        for handle in handles:
            handle.remove()


def invert_network(task: SynthesisTask, method: DeepInversion) -> SyntheticSet:
    """Images optimized from noise, in batches of all classes, so that their common statistics can be those of data.

    Raises:
        CompressError: The network has no batch norm with trained statistics.
        TrainingError: The loss is not finite.
    """
    import torch

    from compress.dataset_distillation.job import SyntheticSet, no_grad_params

    network = task.trained_network().to(task.device).eval()
    layers = find_batchnorms(network)
    targets = torch.arange(len(task.spec.classes)).repeat(task.images_per_class)
    batches = list(torch.split(targets, method.batch))
    if len(batches) > 1 and len(batches[-1]) < method.batch // 2:
        batches[-2:] = [torch.cat(batches[-2:])]
    images, losses = [], list[float]()
    with no_grad_params(network), capture_bn_losses(layers) as bn_losses:
        for index, y in enumerate(batches):
            label = "inversion" if len(batches) == 1 else f"inversion-{index + 1}-of-{len(batches)}"
            x, batch_losses = _invert_batch(task, method, network, bn_losses, y.to(task.device), index, label)
            images.append(x)
            losses = losses or batch_losses
    order = targets.argsort(stable=True)
    notes = (Fact.of("dataset_distillation.curve_of_first_batch", batches=len(batches)),) if len(batches) > 1 else ()
    return SyntheticSet(torch.cat(images)[order], targets[order], losses=losses, notes=notes)


def _invert_batch(
    task: SynthesisTask, method: DeepInversion, network: nn.Module, bn_losses: list[Tensor], y: Tensor, index: int, label: str
) -> tuple[Tensor, list[float]]:
    """One batch of images, on the CPU, and its losses."""
    import torch
    import torch.nn.functional as F

    from compress.dataset_distillation.optimize_images import optimize

    x = torch.randn(len(y), *task.spec.shape, generator=task.generator(5, index)).to(task.device).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=method.lr, betas=(0.5, 0.9))
    lowest, highest = pixel_limits(task.spec, task.device)

    def losses_of_round(step: int) -> Iterator[Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = method.lr * (1 + torch.cos(torch.tensor(torch.pi * step / method.iterations)).item()) / 2
        shift = torch.randint(-method.jitter, method.jitter + 1, (2,), generator=task.generator(6, index, step)).tolist()
        bn_losses.clear()
        classification = F.cross_entropy(network(x.roll(shift, dims=(2, 3))), y)
        statistics = torch.stack(bn_losses).sum()
        yield classification + method.statistics * statistics + method.variation * total_variation(x) + method.norm * x.norm()

    @torch.no_grad()
    def clip_pixels() -> None:
        torch.maximum(torch.minimum(x, highest, out=x), lowest, out=x)

    losses = optimize(task, optimizer, losses_of_round, iterations=method.iterations, label=label, after_step=clip_pixels)
    return x.detach().cpu(), losses


def pixel_limits(spec: NetworkSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Normalised values of black and white, each (1, C, 1, 1)."""
    import torch

    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    return (0 - mean) / std, (1 - mean) / std
