"""Stage `train`: training on hard labels."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from compress.core.language import gettext
from compress.core.record import Quantity
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.data.text.augmentation.fitting import unlabelled
from compress.train.settings import OwnDataTraining
from compress.train.text_augmentation import Augmentations, augmentation_hashes, smaller, with_copies


class Train(Stage, OwnDataTraining):
    """Train or fine-tune the candidate on the loss of the task.

    Attributes:
        augment: Methods that make changed copies of the training texts, such as `[random_deletion, random_swap]`. A copy has
            the label of its text, so that only methods that keep it are allowed. Empty for none.
        data: Training samples of this stage alone, such as `{source: text:corpus.txt}`, for tasks whose targets are made from
            the inputs; texts take the tokenizer of the recipe's data. None takes the training samples of the recipe.
        accepts: A torch network.
        produces: The same network with other weights.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    trains: ClassVar[bool] = True

    augment: Augmentations = ()

    @model_validator(mode="after")
    def _labels_are_kept(self) -> Self:
        if names := unlabelled(self.augment):
            msg = gettext(
                "copies by {names} may have another meaning than their text, so they have no label to train on; use "
                "random_deletion, random_swap or synonym_replacement with a file, or a `distill` stage, whose teacher labels "
                "them",
                names=", ".join(names),
            )
            raise ValueError(msg)
        return self

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """See `compress.train.loop.fit`."""
        from compress.train.loop import fit
        from compress.train.plan import TrainingPlan

        if self.data is None:
            context, facts = with_copies(context, self.augment)
        else:
            from compress.train.own_samples import with_own_samples

            context, facts = with_own_samples(context, self.data, self.augment)
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
        return Outcome(
            replace(candidate, module=module), results=results, notes=(*facts, *history.notes), curves=history.curves
        )

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hashes of the files that the data of the stage, and copies of texts, depend on."""
        hashes = augmentation_hashes(self.augment, base)
        if self.data is None:
            return hashes
        from compress.data.factory import data_fingerprint

        return {**hashes, "data": data_fingerprint(self.data, base)}

    def smoke(self) -> Self:
        """One epoch of small batches, with few copies."""
        return OwnDataTraining.smoke(self).model_copy(update={"augment": smaller(self.augment)})
