"""Images changed by gradient descent: the loop of all methods that minimise something, with checkpoints.

Every round draws its chance from its own number, so that an interrupted run goes on to the same bits.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from compress.core.errors import TrainingError
from compress.core.sentences import render
from compress.dataset_distillation.base import Optimised
from compress.dataset_distillation.job import Job, Made
from compress.train.checkpoints import Checkpoints

EVERY_S = 10.0
"""Seconds between two checkpoints."""

MOMENTUM = 0.5
"""Of the pixels, in all the papers."""

Updates = Callable[[Tensor, Tensor, int, dict[str, Tensor]], Iterator[Tensor]]
"""Images (a leaf), their classes, number of the round, what is learned beside → the losses of that round. After each loss the
images are changed, in place, before the next is asked for. Equal numbers and images must give equal losses."""


def optimised(job: Job, way: Optimised) -> Made:
    """A set that starts as `way.init` says and is changed until `way.iterations` are used up.

    Raises:
        TrainingError: The loss is not finite.
    """
    targets = job.targets()
    images = started(job, way.init, targets).to(job.device).requires_grad_()
    learned = {name: torch.tensor(value, device=job.device, requires_grad=True) for name, value in way.learned().items()}
    groups: list[dict[str, Any]] = [{"params": [images], "lr": way.lr}]
    if learned:
        groups.append({"params": list(learned.values()), "lr": getattr(way, "lr_lr", way.lr)})
    updates, y = way.updates(job), targets.to(job.device)
    losses = descend(
        job,
        images,
        torch.optim.SGD(groups, lr=way.lr, momentum=MOMENTUM),
        lambda number: updates(images, y, number, learned),
        rounds=math.ceil(way.iterations / way.each),
        most=way.iterations,
        label="dataset_distillation",
        learned=learned,
    )
    found = {name: float(value.detach()) for name, value in learned.items()}
    return Made(images.detach().cpu(), targets, losses=losses, learned=found)


def started(job: Job, init: str, targets: Tensor) -> Tensor:
    """First images, (N, C, H, W): real ones of the right classes, or noise of the same spread."""
    if init == "noise":
        return torch.randn(len(targets), *job.spec.shape, generator=job.seeded(0))
    real, generator = job.images(), job.seeded(0)
    return torch.cat([real.draw(c, job.images_per_class, generator) for c in range(len(job.spec.classes))]).clone()


def descend(
    job: Job,
    images: Tensor,
    optimizer: torch.optim.Optimizer,
    losses_of: Callable[[int], Iterator[Tensor]],
    *,
    rounds: int,
    most: int,
    label: str,
    learned: dict[str, Tensor] | None = None,
    after: Callable[[], None] | None = None,
) -> list[float]:
    """Change images in place, one step for each loss.

    Args:
        job: Folder, identity, progress.
        images: Leaf tensor.
        optimizer: Of the images and what is learned beside them.
        losses_of: Gives the losses of a round.
        rounds: How many.
        most: Changes after which the last round ends.
        label: Names the checkpoint and the bar.
        learned: Further leaf tensors, by name.
        after: Called after each change.

    Returns:
        The loss before each change.

    Raises:
        TrainingError: A loss is not finite; the message names its change.
    """
    beside = learned or {}
    identity = hashlib.sha256(json.dumps([job.identity, label]).encode()).hexdigest()
    files = Checkpoints(job.folder, label, identity)
    state, note = files.load()
    first, losses = 0, list[float]()
    if note is not None:
        job.reporter.line(render(note))
    if state is not None:
        first, losses = state["round"], state["losses"]
        optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            for tensor, kept in zip((images, *beside.values()), state["tensors"], strict=True):
                tensor.copy_(kept)
    saved = time.monotonic()
    with job.reporter.bar(label, most) as bar:
        bar.advance(len(losses), "continued" if losses else "")
        for number in range(first, rounds):
            for loss in losses_of(number):
                if len(losses) == most:
                    break
                losses.append(_changed(loss, optimizer, label, len(losses) + 1))
                if after is not None:
                    after()
                bar.advance(1, f"loss {losses[-1]:.4g}")
            last = number == rounds - 1
            if last or time.monotonic() - saved > EVERY_S:
                tensors = [tensor.detach().cpu() for tensor in (images, *beside.values())]
                files.save({"round": number + 1, "losses": losses, "optimizer": optimizer.state_dict(), "tensors": tensors})
                saved = time.monotonic()
    return losses


def _changed(loss: Tensor, optimizer: torch.optim.Optimizer, label: str, number: int) -> float:
    """One step; the loss before it."""
    value = float(loss.detach())
    if not math.isfinite(value):
        msg = f"{label}: the loss is {value} at change {number}; try a lower lr in `method`"
        raise TrainingError(msg)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return value
