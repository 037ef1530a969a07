"""Training before the first pruning step: under a penalty, or the dense training of a lottery ticket."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.record import Curve
from compress.core.registry import lookup
from compress.core.stage import Context
from compress.prune.collect_scores import Scorer
from compress.prune.predict_mask import predict_mask
from compress.prune.schedule_settings import SparseTraining, has_option
from compress.prune.setup import PruningSetup
from compress.prune.sparse_training.greg import GrowingPenalty, describe_growth
from compress.prune.sparse_training.penalties import SparsityPenalty, build_penalty
from compress.prune.unstructured import lottery_ticket as lottery
from compress.prune.unstructured.weights import prunable
from compress.train.finetune import finetune
from compress.train.history import History
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Training

if TYPE_CHECKING:
    from compress.prune.stage import Prune

LABEL = "step-0"
REWIND = "rewind.safetensors"


@dataclass(frozen=True, eq=False)
class InitialState:
    """Start of the first pruning step.

    Attributes:
        module: The network to prune.
        teacher: The `parent` of recovery.
        weights: Values to which the weights of a lottery ticket are rewound.
        curves: Training curves; empty without training.
        notes: Points for review.
    """

    module: nn.Module
    teacher: nn.Module
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()


def train_before_pruning(scorer: Scorer, parent: nn.Module, setup: PruningSetup) -> InitialState:
    """Train if the settings of the stage say so; a finished training is loaded.

    Args:
        scorer: Stage, context, and scores of the weights to remove.
        parent: The dense network. Not changed.
        setup: Pruner, and the fraction to remove.

    Raises:
        ModelError: The network has no weights for the penalty.
        TrainingError: There are no weights to rewind to.
    """
    stage, context = scorer.stage, scorer.context
    if stage.schedule.kind == "lottery":
        return _train_dense(stage, context, parent)
    if stage.sparse_training is None:
        return InitialState(copy.deepcopy(parent), parent)
    module = copy.deepcopy(parent)
    penalty, after_step = _penalty(stage.sparse_training, scorer, module, setup)
    hard_labels = lookup("loss", "task").load()()
    history = fit(
        module,
        TrainingPlan(stage.sparse_training, context.data, context.task, (hard_labels, penalty), context.seed),
        folder=context.folder,
        label=LABEL,
        device=context.device,
        reporter=context.reporter,
        after_step=after_step,
    )
    return InitialState(
        module,
        parent,
        curves=_curves(history),
        notes=describe_growth(stage.sparse_training, _steps(stage.sparse_training, context)),
    )


def _steps(training: Training, context: Context) -> int:
    """Optimizer steps of a training."""
    return -(-context.data.train.batches(training.batch_size) // training.accumulate) * training.epochs


def _penalty(
    training: SparseTraining, scorer: Scorer, module: nn.Module, setup: PruningSetup
) -> tuple[SparsityPenalty, Callable[[], None] | None]:
    """The penalty, and the hook after each optimizer step, which growing penalties need."""
    stage, protected = scorer.stage, scorer.protected
    if not has_option("penalty", training.kind, "grows"):
        return build_penalty(training, module, protected), None

    def pick(network: nn.Module) -> dict[str, Tensor]:
        work = copy.deepcopy(network).cpu().eval()
        scores = scorer.score(work, k=0, removed=setup.removed, batches=stage.batches)
        return predict_mask(setup.pruner, work, stage.target.fraction(setup.removed), scores.importance)

    if not has_option("penalty", training.kind, "picks"):
        growth = GrowingPenalty(training, pick(module), module)
    else:
        unprunable = {f"{skip.subject}.weight" for skip in setup.pruner.skipped}
        weights = {name: w for name, w in prunable(module, protected).items() if name not in unprunable}
        masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
        growth = GrowingPenalty(training, masks, module, pick)
    return SparsityPenalty.of(training, growth.penalty), growth


def _train_dense(stage: Prune, context: Context, parent: nn.Module) -> InitialState:
    """Train the dense network, and store the weights of the step to rewind to."""
    step, path = int(stage.schedule.value("rewind")), context.folder / REWIND
    module = copy.deepcopy(parent)
    start = {name: value.clone() for name, value in module.state_dict().items()}
    # the parent is not a teacher here: it is the untrained network
    settings = stage.recover if stage.recover.teacher != "parent" else stage.recover.model_copy(update={"teacher": "none"})
    rewinder = lottery.WeightRewinder(module, step, path) if step else None
    history = finetune(module, settings, parent=parent, context=context, label=LABEL, after_step=rewinder)
    if step:
        start = lottery.read_weights(path, step, _steps(settings, context))
    else:
        lottery.write_weights(parent, path)
    return InitialState(module, copy.deepcopy(module).eval(), weights=start, curves=_curves(history))


def _curves(history: History) -> dict[str, Curve]:
    return {f"before {name}": curve for name, curve in history.curves.items()}
