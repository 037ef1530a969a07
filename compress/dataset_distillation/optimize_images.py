"""Optimization of images by gradient descent, with checkpoints: the loop of all methods that minimise a loss.

Every round seeds its random numbers by its index, so an interrupted and continued run ends bit-identical.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.core.entries import integer, items, mapping
from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.core.sentences import render
from compress.dataset_distillation.job import SynthesisTask, SyntheticSet
from compress.train.checkpoints import Checkpoints, as_tensor

if TYPE_CHECKING:
    from compress.dataset_distillation.base import OptimizedImages

EVERY_S = 10.0
"""Seconds between two checkpoints."""

MOMENTUM = 0.5
"""Momentum of the pixels, as in all the papers."""

LossesOfRound = Callable[[Tensor, Tensor, int, dict[str, Tensor]], Iterator[Tensor]]
"""Images (a leaf tensor), their classes, index of the round, learned scalars → the losses of that round. After each loss the
images are updated in place, before the next loss is computed. Equal indices and images must give equal losses."""


def optimize_set(task: SynthesisTask, method: OptimizedImages) -> SyntheticSet:
    """A set that starts from `method.init` and is optimized for `method.iterations` updates.

    Raises:
        TrainingError: The loss is not finite.
    """
    targets = task.targets()
    images = init_images(task, method.init, targets).to(task.device).requires_grad_()
    learned = {
        name: torch.tensor(value, device=task.device, requires_grad=True) for name, value in method.learned_parameters().items()
    }
    groups: list[dict[str, object]] = [{"params": [images], "lr": method.lr}]
    if learned:
        groups.append({"params": list(learned.values()), "lr": getattr(method, "lr_lr", method.lr)})
    losses_of_round, y = method.losses(task), targets.to(task.device)
    losses = optimize(
        task,
        torch.optim.SGD(groups, lr=method.lr, momentum=MOMENTUM),
        lambda index: losses_of_round(images, y, index, learned),
        iterations=method.iterations,
        per_round=method.iterations_per_round,
        label="dataset_distillation",
    )
    values = {name: float(value.detach()) for name, value in learned.items()}
    return SyntheticSet(images.detach().cpu(), targets, losses=losses, learned=values)


def init_images(task: SynthesisTask, init: str, targets: Tensor) -> Tensor:
    """Initial images, (N, C, H, W): real ones of these classes, or standard normal noise."""
    if init == "noise":
        return torch.randn(len(targets), *task.spec.shape, generator=task.generator(0))
    pools, generator = task.real_images(), task.generator(0)
    return torch.cat([pools.draw(c, task.images_per_class, generator) for c in range(len(task.spec.classes))]).clone()


def optimize(
    task: SynthesisTask,
    optimizer: torch.optim.Optimizer,
    losses_of_round: Callable[[int], Iterator[Tensor]],
    *,
    iterations: int,
    label: str,
    per_round: int = 1,
    after_step: Callable[[], None] | None = None,
) -> list[float]:
    """Optimize the tensors of an optimizer in place, one step for each loss.

    Args:
        task: Folder, identity, progress.
        optimizer: Of the images and of scalars that are learned with them; checkpoints hold its tensors and its state.
        losses_of_round: Computes the losses of a round from its index.
        iterations: Number of updates; the last round ends with them.
        label: Prefix of the checkpoint, and label of the progress bar.
        per_round: Number of losses of a round.
        after_step: Called after each update.

    Returns:
        The loss before each update.

    Raises:
        TrainingError: A loss is not finite; the message names its update.
    """
    rounds = math.ceil(iterations / per_round)
    tensors: list[Tensor] = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    identity = hashlib.sha256(json.dumps([task.identity, label]).encode()).hexdigest()
    files = Checkpoints(task.folder, label, identity)
    state, note = files.load()
    first, losses = 0, list[float]()
    if note is not None:
        task.reporter.line(render(note))
    if state is not None:
        first, losses = integer(state, "round"), [float(str(loss)) for loss in items(state, "losses")]
        optimizer.load_state_dict(dict(mapping(state, "optimizer")))
        with torch.no_grad():
            for tensor, value in zip(tensors, items(state, "tensors"), strict=True):
                tensor.copy_(as_tensor(value, "tensors"))
    saved = time.monotonic()
    with task.reporter.bar(label, iterations) as bar:
        bar.advance(len(losses), "continued" if losses else "")
        for index in range(first, rounds):
            for loss in losses_of_round(index):
                if len(losses) == iterations:
                    break
                losses.append(_step(loss, optimizer, label, len(losses) + 1))
                if after_step is not None:
                    after_step()
                bar.advance(1, gettext("loss {losses:.4g}", losses=losses[-1]))
            last = index == rounds - 1
            if last or time.monotonic() - saved > EVERY_S:
                values = [tensor.detach().cpu() for tensor in tensors]
                files.save({"round": index + 1, "losses": losses, "optimizer": optimizer.state_dict(), "tensors": values})
                saved = time.monotonic()
    return losses


def _step(loss: Tensor, optimizer: torch.optim.Optimizer, label: str, index: int) -> float:
    """One step of the optimizer; returns the loss before it."""
    value = float(loss.detach())
    if not math.isfinite(value):
        msg = gettext(
            "{label}: the loss is {value} at update {index}; try a lower lr in `method`", label=label, value=value, index=index
        )
        raise TrainingError(msg)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return value
