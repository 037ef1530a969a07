"""What happens before the first cut: training under a penalty, or the dense training of a lottery ticket."""

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
from compress.prune.collect_scores import compute_scores
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
from compress.train.settings import Training

if TYPE_CHECKING:
    from compress.prune.stage import Prune

LABEL = "step-0"
REWIND = "rewind.safetensors"


@dataclass(frozen=True, eq=False)
class InitialState:
    """What the first cut starts from.

    Attributes:
        module: The network to cut.
        teacher: Whom recovery imitates as `parent`.
        weights: What a lottery ticket's weights go back to.
        curves: Of the training, if there was one.
        notes: What a reviewer should know of it.
    """

    module: nn.Module
    teacher: nn.Module
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()


def train_before_pruning(
    stage: Prune, context: Context, parent: nn.Module, prepared: PruningSetup, times: Mapping[str, float] | None
) -> InitialState:
    """Train where the stage asks for it; asked again after it finished, the result is loaded.

    Raises:
        ModelError: The penalty has nothing to act on.
        TrainingError: There are no weights to rewind to.
    """
    if stage.schedule.kind == "lottery":
        return _dense(stage, context, parent)
    if stage.sparse_training is None:
        return InitialState(copy.deepcopy(parent), parent)
    module = copy.deepcopy(parent)
    penalty, after_step = _penalty(stage, stage.sparse_training, context, module, prepared, times)
    history = fit(
        module,
        stage.sparse_training,
        data=context.data,
        task=context.task,
        terms=(lookup("loss", "task").load()(), penalty),
        seed=context.seed,
        folder=context.folder,
        label=LABEL,
        device=context.device,
        reporter=context.reporter,
        after_step=after_step,
    )
    return InitialState(
        module,
        parent,
        curves=_named(history),
        notes=describe_growth(stage.sparse_training, _steps(stage.sparse_training, context)),
    )


def _steps(training: Training, context: Context) -> int:
    """Optimizer steps of a training."""
    return -(-context.data.train.batches(training.batch_size) // training.accumulate) * training.epochs


def _penalty(
    stage: Prune,
    training: SparseTraining,
    context: Context,
    module: nn.Module,
    prepared: PruningSetup,
    times: Mapping[str, float] | None,
) -> tuple[SparsityPenalty, Callable[[], None] | None]:
    protected = prepared.pruner.protected
    if not has_option("penalty", training.kind, "grows"):
        return build_penalty(training, module, protected), None

    def pick(network: nn.Module) -> dict[str, Tensor]:
        work = copy.deepcopy(network).cpu().eval()
        found = compute_scores(
            stage, context, work, k=0, removed=prepared.removed, protected=protected, times=times, batches=stage.batches
        )
        return predict_mask(prepared.pruner, work, stage.target.fraction(prepared.removed), found.importance)

    if not has_option("penalty", training.kind, "picks"):
        growth = GrowingPenalty(training, pick(module), module)
    else:
        fixed = {f"{skip.subject}.weight" for skip in prepared.pruner.skipped}
        free = {name: w for name, w in prunable(module, protected).items() if name not in fixed}
        growth = GrowingPenalty(
            training, {name: torch.ones_like(w, dtype=torch.bool) for name, w in free.items()}, module, pick
        )
    return SparsityPenalty.of(training, growth.penalty), growth


def _dense(stage: Prune, context: Context, parent: nn.Module) -> InitialState:
    """Train the network that was given, keeping the weights of the step to rewind to."""
    step, path = stage.schedule.value("rewind"), context.folder / REWIND
    module = copy.deepcopy(parent)
    start = {name: value.clone() for name, value in module.state_dict().items()}
    own = stage.recover if stage.recover.teacher != "parent" else stage.recover.model_copy(update={"teacher": "none"})
    snapshot = lottery.WeightRewinder(module, step, path) if step else None
    history = finetune(module, own, parent=parent, context=context, label=LABEL, after_step=snapshot)
    if step:
        start = lottery.read_weights(path, step, _steps(own, context))
    else:
        lottery.write_weights(parent, path)
    return InitialState(module, copy.deepcopy(module).eval(), weights=start, curves=_named(history))


def _named(history: History) -> dict[str, Curve]:
    return {f"before {name}": curve for name, curve in history.curves.items()}
