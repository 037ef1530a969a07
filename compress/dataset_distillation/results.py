"""What the stage leaves of a finished set: soft labels, files, figure, figures for the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.core.record import Curve, Metrics, Quantity
from compress.core.registry_field import name_of
from compress.core.stage import Candidate, Context, Outcome
from compress.data.sources.distilled_metadata import FILE, DistilledMetadata
from compress.data.sources.distilled_set import DistilledSet, write
from compress.dataset_distillation.baseline import compared
from compress.dataset_distillation.convnet import deepest
from compress.dataset_distillation.job import Job, Made
from compress.dataset_distillation.previews import FIGURE, PREVIEWS, draw, previews

if TYPE_CHECKING:
    from compress.dataset_distillation.stage import DatasetDistillation


def finished(
    stage: DatasetDistillation, made: Made, job: Job, networks: tuple[nn.Module, ...], candidate: Candidate, context: Context
) -> Outcome:
    """Write the set, and say what it is."""
    soft = labels(made, networks, job)
    found = DistilledSet(made.images, made.targets, soft, job.spec, about(stage, job, networks, context))
    results = _results(made, soft, job, networks)
    if stage.control:
        results |= compared(found, job, context)
    write(context.folder / FILE, found)
    previews(found, context.folder / PREVIEWS)
    draw(found, context.folder / FIGURE)
    for checkpoint in context.folder.glob("*.checkpoint.pt"):
        checkpoint.unlink()
    losses = made.losses
    curve = Curve(x_label="change", y_label="loss", x=tuple(range(1, len(losses) + 1)), y=tuple(losses))
    return Outcome(
        candidate,
        results=results,
        notes=(*_notes(stage, job, networks), *made.notes),
        curves={"matching_loss": curve} if losses else {},
        training_set=context.folder / FILE if stage.use else None,
    )


@torch.no_grad()
def labels(made: Made, networks: tuple[nn.Module, ...], job: Job) -> Tensor:
    """Soft labels: mean probabilities of the networks, (N, K); certain ones where there is no network."""
    if not networks:
        return torch.nn.functional.one_hot(made.targets, len(job.spec.classes)).float()
    answers = []
    for network in networks:
        network.to(job.device).eval()
        parts = [network(part.to(job.device)).float().softmax(dim=1).cpu() for part in torch.split(made.images, 128)]
        answers.append(torch.cat(parts))
    return torch.stack(answers).mean(dim=0)


def about(stage: DatasetDistillation, job: Job, networks: tuple[nn.Module, ...], context: Context) -> DistilledMetadata:
    """How it was made, for the file."""
    data = context.data
    who = "the network that the stage was given" if stage.teacher == "parent" else "the recipe's teacher"
    return DistilledMetadata(
        method=name_of("synthesis", stage.method),
        augmentation=job.operations,
        views=stage.views,
        labelled_by=who if networks else "",
        source=data.source,
        data=data.settings,
        fingerprint=data.train.fingerprint,
    )


def _results(made: Made, soft: Tensor, job: Job, networks: tuple[nn.Module, ...]) -> Metrics:
    count = len(made.targets)
    found = {"images": Quantity.measured(count, "1", f"{job.images_per_class} of each of {len(job.spec.classes)} classes")}
    if job.real is not None:
        real = sum(len(images) for images in job.real.by_class)
        found["real_images"] = Quantity.measured(real, "1", "labelled training images that the method could look at")
    if networks:
        agreed = int((soft.argmax(dim=1) == made.targets).sum())
        detail = "of the images whose soft label is highest for the class that they stand for"
        found["teacher_agreement"] = Quantity.measured(agreed / count, "fraction", detail, runs=count)
    if made.learned and "log_student_lr" in made.learned:
        rate = float(torch.tensor(made.learned["log_student_lr"]).exp())
        found["student_lr"] = Quantity.measured(rate, "1", "learned beside the images, for plain gradient descent")
    return found


def _notes(stage: DatasetDistillation, job: Job, networks: tuple[nn.Module, ...]) -> tuple[str, ...]:
    notes = [
        f"{FILE} holds the exact images and their soft labels, {PREVIEWS}/ a PNG of each; `data: {{source: distilled:PATH}}` "
        "with the path of the file trains on it"
    ]
    if stage.use:
        notes.append(
            "later stages train on this set: on its classes, or on its soft labels with `distill: {teacher: distilled}`"
        )
    if not networks:
        notes.append("no teacher labelled the images: the soft labels are certain of the class that each stands for")
    elif len(networks) > 1 and stage.method.asks_network:
        notes.append("the first of the teachers was inverted; the soft labels are the mean of all")
    depth = min(stage.depth, deepest(job.spec))
    if depth < stage.depth and stage.method.looks_at_data:
        notes.append(f"images were judged with networks of {depth} blocks, not {stage.depth}: their size allows no more")
    return tuple(notes)
