"""Stage `train`: training on hard labels."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import ClassVar, Literal, Self

from compress.core.language import gettext
from compress.core.record import Quantity
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.train.settings import Training


class Train(Stage, Training):
    """Train or fine-tune the candidate on the loss of the task.

    Attributes:
        accepts: A torch network.
        produces: The same network with other weights.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    trains: ClassVar[bool] = True

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """See `compress.train.loop.fit`."""
        from compress.train.loop import fit
        from compress.train.plan import TrainingPlan

        module = copy.deepcopy(candidate.network())
        history = fit(
            module,
            TrainingPlan(self, context.data, context.task, (lookup("loss", "task").load()(),), context.seed),
            folder=context.folder,
            label="train",
            device=context.device,
            reporter=context.reporter,
        )
        results = {
            "epochs": Quantity.measured(history.epochs, "1", gettext("finished epochs")),
            "best_epoch": Quantity.measured(history.best_epoch, "1", gettext("epoch with the best validation metric")),
        }
        return Outcome(replace(candidate, module=module), results=results, notes=history.notes, curves=history.curves)

    def smoke(self) -> Self:
        """One epoch of small batches."""
        return Training.smoke(self)
