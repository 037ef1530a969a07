"""The stage `distill`: the candidate is trained to imitate the recipe's teacher."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from compress.errors import CompressError
from compress.files import write_with
from compress.methods import find
from compress.record import Quantity, Scorecard
from compress.stage import Candidate, Context, Form, Outcome, Stage
from compress.train.settings import Losses, Training, default_losses

if TYPE_CHECKING:
    from torch import nn

    from compress.train.answers import TeacherAnswers
    from compress.train.history import History
    from compress.train.terms import Term


class Distill(Stage, Training):
    """Train the candidate on a weighted sum of losses, some of which look at the teacher's answers.

    Attributes:
        losses: Weighted terms.
        control: Train the same network from the same initial weights once more with the same settings, on the task's loss
            alone, to show what the teacher brought. Its weights are left as `control.safetensors`.
        accepts: A torch network.
        produces: The same network with other weights.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    trains: ClassVar[bool] = True

    losses: Losses = Field(default_factory=default_losses)
    control: bool = False

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Train the student, and the control where it is asked for.

        Raises:
            CompressError: The recipe has no teacher.
        """
        from compress.train.recover import answers_for

        if not context.teacher:
            msg = "distill needs a teacher and the recipe has none; add `teacher: {source: …}`, or use `train` in its place"
            raise CompressError(msg)
        module = copy.deepcopy(candidate.network())
        teacher = answers_for([one.network() for one in context.teacher], self.losses, context)
        history = self._fit(module, context, "distill", self.losses, teacher)
        results = {
            "epochs": Quantity.measured(history.epochs, "1", "run, of those asked for"),
            "best_epoch": Quantity.measured(history.best_epoch, "1", "with the best validation metric"),
        }
        if history.teacher_s:
            detail = "the teacher's passes inside the steps, which losses on features or gradients need"
            results["teacher_s"] = Quantity.measured(history.teacher_s, "s", detail)
        tables = {"matched_layers": history.matched} if history.matched else {}
        curves = dict(history.curves)
        if self.control:
            alone = copy.deepcopy(candidate.network())
            hard_labels = (find("loss", "task").load()(),)
            learned = self._fit(alone, context, "control", hard_labels, None)
            curves |= {f"control_{name}": curve for name, curve in learned.curves.items()}
            results |= _control_results(alone, context)
        return Outcome(replace(candidate, module=module), results=results, notes=history.notes, curves=curves, tables=tables)

    def smoke(self) -> Self:
        """One epoch of small batches."""
        return Training.smoke(self)

    def _fit(
        self, module: nn.Module, context: Context, label: str, terms: tuple[Term, ...], teacher: TeacherAnswers | None
    ) -> History:
        from compress.train.loop import fit

        return fit(
            module,
            self,
            data=context.data,
            task=context.task,
            terms=terms,
            seed=context.seed,
            folder=context.folder,
            label=label,
            teacher=teacher,
            device=context.device,
            reporter=context.reporter,
        )


def _control_results(module: nn.Module, context: Context) -> Scorecard:
    """Save the control's weights and score it on validation; the test split is for the pipeline to look at."""
    from safetensors.torch import save_model

    from compress.statistics import wilson
    from compress.train.evaluate import outputs_of

    write_with(context.folder / "control.safetensors", lambda path: save_model(module, str(path)))
    outputs, targets = outputs_of(module, context.data.validation)
    correct = context.task.correct(outputs, targets)
    right, total = round(float(correct.sum())), len(correct)
    detail = "the same network, settings and initial weights, trained without the teacher"
    found = Quantity.measured(right / total, "fraction", detail, interval=wilson(right, total), runs=total)
    return {f"control_{context.task.metric}_validation": found}
