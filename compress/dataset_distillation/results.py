"""Output of the stage: soft labels, files, figure, numbers and facts for the record.

The baseline of a set is the accuracy of a small network trained on it, and of one trained on as many random real images.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Curve, Metrics, Quantity
from compress.core.registry import lookup
from compress.core.registry_field import name_of
from compress.core.stage import Candidate, Context, Outcome
from compress.data.sources.distilled_metadata import FILE, DistilledMetadata
from compress.data.sources.distilled_set import DistilledSet, write
from compress.dataset_distillation.convnet import max_depth
from compress.dataset_distillation.coreset import random_subset
from compress.dataset_distillation.job import SynthesisTask, SyntheticSet
from compress.dataset_distillation.previews import FIGURE, PREVIEWS, draw_figure, write_previews
from compress.tasks.metric_quantity import estimate
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Training

if TYPE_CHECKING:
    from compress.dataset_distillation.stage import DatasetDistillation

BASELINE_STEPS = 600
"""Steps of each training of the baseline; an epoch is one pass over the whole set."""

BASELINE_BATCH = 128


def write_results(
    stage: DatasetDistillation,
    synthetic: SyntheticSet,
    task: SynthesisTask,
    networks: tuple[nn.Module, ...],
    candidate: Candidate,
    context: Context,
) -> Outcome:
    """Label the set, write its files, and describe it for the record."""
    soft = soft_labels(synthetic, networks, task)
    distilled = DistilledSet(synthetic.images, synthetic.targets, soft, task.spec, set_metadata(stage, task, networks, context))
    results = _results(synthetic, soft, task, networks)
    if stage.control:
        results |= compare_with_random(distilled, task, context)
    write(context.folder / FILE, distilled)
    write_previews(distilled, context.folder / PREVIEWS)
    draw_figure(distilled, context.folder / FIGURE)
    for checkpoint in context.folder.glob("*.checkpoint.pt"):
        checkpoint.unlink()
    losses = synthetic.losses
    curve = Curve(x_label="update", y_label="loss", x=tuple(range(1, len(losses) + 1)), y=tuple(losses))
    return Outcome(
        candidate,
        results=results,
        notes=(*_notes(stage, task, networks), *synthetic.notes),
        curves={"matching_loss": curve} if losses else {},
        training_set=context.folder / FILE if stage.use else None,
    )


@torch.no_grad()
def soft_labels(synthetic: SyntheticSet, networks: tuple[nn.Module, ...], task: SynthesisTask) -> Tensor:
    """Soft labels: mean probabilities of the networks, (N, K); one-hot labels without a network."""
    if not networks:
        return torch.nn.functional.one_hot(synthetic.targets, len(task.spec.classes)).float()
    probabilities = []
    for network in networks:
        network.to(task.device).eval()
        parts = [network(part.to(task.device)).float().softmax(dim=1).cpu() for part in torch.split(synthetic.images, 128)]
        probabilities.append(torch.cat(parts))
    return torch.stack(probabilities).mean(dim=0)


def set_metadata(
    stage: DatasetDistillation, task: SynthesisTask, networks: tuple[nn.Module, ...], context: Context
) -> DistilledMetadata:
    """Origin of the set, for the file."""
    data = context.data
    labeller = gettext("the network that the stage was given") if stage.teacher == "parent" else gettext("the recipe's teacher")
    return DistilledMetadata(
        method=name_of("synthesis", stage.method),
        augmentation=task.operations,
        views=stage.views,
        labelled_by=labeller if networks else "",
        source=data.source,
        data=data.settings,
        fingerprint=data.train.fingerprint,
    )


def _results(synthetic: SyntheticSet, soft: Tensor, task: SynthesisTask, networks: tuple[nn.Module, ...]) -> Metrics:
    count = len(synthetic.targets)
    quantities = {
        "images": Quantity.measured(
            count,
            "1",
            gettext(
                "{images_per_class} of each of {count} classes",
                images_per_class=task.images_per_class,
                count=len(task.spec.classes),
            ),
        )
    }
    if task.pools is not None:
        real = sum(len(images) for images in task.pools.by_class)
        quantities["real_images"] = Quantity.measured(real, "1", gettext("labelled training images that the method could use"))
    if networks:
        matches = int((soft.argmax(dim=1) == synthetic.targets).sum())
        detail = gettext("of the images whose highest soft label is that of their class")
        quantities["teacher_agreement"] = Quantity.measured(matches / count, "fraction", detail, runs=count)
    if synthetic.learned and "log_student_lr" in synthetic.learned:
        rate = float(torch.tensor(synthetic.learned["log_student_lr"]).exp())
        quantities["student_lr"] = Quantity.measured(
            rate, "1", gettext("learned together with the images, for gradient descent without momentum")
        )
    return quantities


def _notes(stage: DatasetDistillation, task: SynthesisTask, networks: tuple[nn.Module, ...]) -> tuple[Fact, ...]:
    notes = [Fact.of("dataset_distillation.files", FILE, previews=PREVIEWS)]
    if stage.use:
        notes.append(Fact.of("dataset_distillation.used_by_later_stages"))
    if not networks:
        notes.append(Fact.of("dataset_distillation.one_hot_labels"))
    elif len(networks) > 1 and stage.method.needs_network:
        notes.append(Fact.of("dataset_distillation.first_teacher_inverted", teachers=len(networks)))
    depth = min(stage.depth, max_depth(task.spec))
    if depth < stage.depth and stage.method.uses_real_images:
        notes.append(Fact.of("dataset_distillation.depth_limited", depth=depth, requested=stage.depth))
    return tuple(notes)


def compare_with_random(distilled: DistilledSet, task: SynthesisTask, context: Context) -> Metrics:
    """Validation accuracy of both networks: same initial weights, steps and augmentation; hard labels."""
    results = {"set": validation_accuracy(distilled, task, context, "control-set")}
    if task.pools is not None:
        subset = random_subset(task)
        random = replace(distilled, images=subset.images, targets=subset.targets)
        results["random"] = validation_accuracy(random, task, context, "control-random")
    return {f"{name}_{context.task.metric}_validation": quantity for name, quantity in results.items()}


def validation_accuracy(distilled: DistilledSet, task: SynthesisTask, context: Context, label: str) -> Quantity:
    """Validation accuracy of a small network that was trained on this set alone."""
    from compress.backends.run_split import run_split

    split = distilled.split(seed=task.seed)
    steps = 4 if context.smoke else BASELINE_STEPS
    epochs = max(1, steps // split.batches(BASELINE_BATCH))
    training = Training(epochs=epochs, batch_size=BASELINE_BATCH, lr=3e-3, weight_decay=5e-4, keep="last")
    network = task.random_network(9).cpu()
    fit(
        network,
        TrainingPlan(training, replace(context.data, train=split), context.task, (lookup("loss", "task").load()(),), task.seed),
        folder=task.folder,
        label=label,
        device=context.device,
        reporter=task.reporter,
    )
    scores = run_split(network, context.data.validation, context.task).scores
    detail = gettext(
        "a network of {depth} blocks of {width} channels, {epochs} epochs on the {count} images alone",
        depth=task.depth,
        width=task.width,
        epochs=epochs,
        count=len(split),
    )
    return estimate(context.task.deciding, scores, detail)
