"""Baseline of a set: accuracy of a small network trained on it, and of one trained on as many random real images."""

from __future__ import annotations

from dataclasses import replace

from compress.core.record import Metrics, Quantity
from compress.core.registry import lookup
from compress.core.stage import Context
from compress.core.statistics import wilson
from compress.data.sources.distilled_set import DistilledSet
from compress.dataset_distillation.coreset import random_subset
from compress.dataset_distillation.job import SynthesisTask
from compress.train.loop import fit
from compress.train.settings import Training

STEPS = 600
"""Steps of each training; an epoch is one pass over the whole set."""

BATCH = 128


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
    steps = 4 if context.smoke else STEPS
    epochs = max(1, steps // split.batches(BATCH))
    training = Training(epochs=epochs, batch_size=BATCH, lr=3e-3, weight_decay=5e-4, keep="last")
    network = task.random_network(9).cpu()
    fit(
        network,
        training,
        data=replace(context.data, train=split),
        task=context.task,
        terms=(lookup("loss", "task").load()(),),
        seed=task.seed,
        folder=task.folder,
        label=label,
        device=context.device,
        reporter=task.reporter,
    )
    scores = run_split(network, context.data.validation, context.task).scores
    correct, total = round(float(scores.sum())), len(scores)
    detail = f"a network of {task.depth} blocks of {task.width} channels, {epochs} epochs on the {len(split)} images alone"
    return Quantity.measured(correct / total, "fraction", detail, interval=wilson(correct, total), runs=total)
