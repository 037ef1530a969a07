"""What the set is worth: a small network trained on it, beside one trained on as many real images drawn at random."""

from __future__ import annotations

from dataclasses import replace

from compress.core.record import Metrics, Quantity
from compress.core.registry import lookup
from compress.core.stage import Context
from compress.core.statistics import wilson
from compress.data.sources.distilled_set import DistilledSet
from compress.dataset_distillation.coreset import drawn
from compress.dataset_distillation.job import Job
from compress.train.loop import fit
from compress.train.settings import Training

STEPS = 600
"""Of each training; epochs are of the whole set."""

BATCH = 128


def compared(found: DistilledSet, job: Job, context: Context) -> Metrics:
    """Accuracy on validation of both networks: same first weights, steps, augmentation; hard labels."""
    results = {"set": worth(found, job, context, "control-set")}
    if job.real is not None:
        made = drawn(job)
        random = replace(found, images=made.images, targets=made.targets)
        results["random"] = worth(random, job, context, "control-random")
    return {f"{name}_{context.task.metric}_validation": quantity for name, quantity in results.items()}


def worth(found: DistilledSet, job: Job, context: Context, label: str) -> Quantity:
    """Accuracy on validation of a small network that was trained on a set alone."""
    from compress.backends.run_split import run_split

    split = found.split(seed=job.seed)
    steps = 4 if context.smoke else STEPS
    epochs = max(1, steps // split.batches(BATCH))
    training = Training(epochs=epochs, batch_size=BATCH, lr=3e-3, weight_decay=5e-4, keep="last")
    network = job.fresh(9).cpu()
    fit(
        network,
        training,
        data=replace(context.data, train=split),
        task=context.task,
        terms=(lookup("loss", "task").load()(),),
        seed=job.seed,
        folder=job.folder,
        label=label,
        device=context.device,
        reporter=job.reporter,
    )
    scores = run_split(network, context.data.validation, context.task).scores
    right, total = round(float(scores.sum())), len(scores)
    detail = f"a network of {job.depth} blocks of {job.width} channels, {epochs} epochs on the {len(split)} images alone"
    return Quantity.measured(right / total, "fraction", detail, interval=wilson(right, total), runs=total)
