"""Distillation on the server: the mean of the clients' logits teaches the averaged network, on samples without labels.

    t = (1 / K) Σ_k f(x; w_k)          w ← w − η ∇ T² KL(softmax(t / T) ‖ softmax(f(x; w) / T))

FedDF (Lin 2020, arXiv:2006.07242, "AvgLogits"): K clients, temperature T, Adam with a cosine schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.train.federated.flat_parameters import trained_parameters
from compress.train.federated.read_samples import READ_BATCH, batch_of
from compress.train.federated.settings import ServerDistillation
from compress.train.optimizers import lr_factor


@torch.no_grad()
def logits_of(module: nn.Module, inputs: Mapping[str, Tensor], rows: Tensor, device: str) -> Tensor:
    """Logits of a client's network, (n, C), on the CPU.

    Args:
        module: The network with the weights that the server received.
        inputs: All samples by name of the input, (N, …).
        rows: Rows of the samples of the server, (n,).
        device: Where it runs.
    """
    module.to(device).eval()
    logits = torch.cat([module(*batch_of(inputs, part, device)).float().cpu() for part in rows.split(READ_BATCH)])  # type: ignore[no-untyped-call]
    module.to("cpu")
    return logits


def distill_on_server(
    module: nn.Module,
    teacher: Tensor,
    inputs: Mapping[str, Tensor],
    rows: Tensor,
    settings: ServerDistillation,
    *,
    device: str,
    generator: torch.Generator,
) -> float:
    """Train the averaged network in place; returns its mean loss in the last epoch. Afterwards it is on the CPU.

    Args:
        module: The network.
        teacher: t, (n, C).
        inputs: All samples by name of the input, (N, …).
        rows: Rows of the samples of the server, (n,).
        settings: Epochs, learning rate and temperature.
        device: Where it runs.
        generator: Of the order of the samples.
    """
    module.to(device).train()
    optimizer = torch.optim.Adam(trained_parameters(module), lr=settings.lr)
    batches = -(-len(rows) // settings.batch_size)
    steps = settings.epochs * batches
    losses: list[float] = []
    for step, places in enumerate(_places(len(rows), batches, settings.epochs, generator)):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * lr_factor(step, steps, kind="cosine", warmup=0.0)
        student = module(*batch_of(inputs, rows[places], device))
        temperature = settings.temperature
        target = (teacher[places].to(device) / temperature).log_softmax(1)
        loss = temperature**2 * F.kl_div((student / temperature).log_softmax(1), target, reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    module.to("cpu")
    return sum(losses[-batches:]) / batches


def _places(samples: int, batches: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(samples, generator=generator).tensor_split(batches)
