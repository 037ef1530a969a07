"""The stage `distill`: the candidate is trained to imitate a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.core.atomic_files import write_with
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.core.registry import lookup
from compress.core.registry_field import RegistryField, name_of
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.data.settings import DataSettings
from compress.data.text.augmentation.fitting import unlabelled
from compress.distill.generation.check_losses import check_generation
from compress.distill.generation.settings import Generation
from compress.distill.presets import apply_preset, check_funmatch, without_labels
from compress.distill.teachers.network_reference import NetworkReference
from compress.distill.teachers.settings import RecipeTeacher, TeacherConfig
from compress.train.curriculum.settings import Curriculum
from compress.train.settings import LogitCache, Losses, Training, default_losses
from compress.train.text_augmentation import Augmentations, augmentation_hashes, smaller, with_copies

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from compress.tasks.capability import Capability
    from compress.train.history import History
    from compress.train.loss_term import LossTerm
    from compress.train.teachers.base import Teacher


class Distill(Stage, Training):
    """Train the candidate on a weighted sum of losses, some of which use a teacher.

    Attributes:
        mode: `funmatch` sets the defaults of function matching (Beyer et al. 2022, arXiv:2106.05237): `response` alone at
            temperature 1, `mixup: 1.0` alike for both, 100 epochs, `cosine`. None sets nothing.
        losses: Weighted terms.
        teacher: The teacher: `teacher`, the recipe's; `parent`; or one of `compress methods teacher`.
        assistants: Networks between teacher and student, such as `[torchvision:resnet34, torchvision:resnet18]`: each learns
            from the previous one, the student from the last (Mirzadeh et al. 2020, arXiv:1902.03393). `python:FILE.py:FUNCTION`
            needs --trust-code.
        cache: How the teacher's logits are cached.
        curriculum: Changes to images, sample weights and temperature over the training.
        data: Training samples of this stage alone, whose labels are not read, such as `{source: text:corpus.txt}`: general
            distillation before that for a task. Their inputs must be those of the recipe's data; texts take its tokenizer.
            None takes the training samples of the recipe.
        augment: Methods that make changed copies of the training texts, such as `[{masked_lm: {source: bert}}]` (TinyBERT's);
            the teacher answers copies that may have another meaning than their text. Empty for none.
        generation: Responses that the teacher or the student writes to the prompts of the training data, such as
            `{student: 0.5}`: on-policy or sequence-level distillation of language models. None takes those of the data.
        control: Train the same network from the same initial weights once more with the same settings, on the task's loss
            alone, to show the gain by the teacher. Its weights are written as `control.safetensors`.
        accepts: A torch network.
        produces: The same network with other weights.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    trains: ClassVar[bool] = True

    mode: Literal["funmatch"] | None = None
    losses: Losses = Field(default_factory=default_losses)
    teacher: Annotated[TeacherConfig, RegistryField("teacher", TeacherConfig)] = RecipeTeacher()
    assistants: tuple[NetworkReference, ...] = ()
    cache: LogitCache = LogitCache()
    curriculum: Curriculum = Curriculum()
    data: DataSettings | None = None
    augment: Augmentations = ()
    generation: Generation | None = None
    control: bool = False

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, settings: object) -> object:
        return without_labels(apply_preset(settings)) if isinstance(settings, Mapping) else settings

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.curriculum.mixes and not self.teacher.supports_mixing:
            name = name_of("teacher", self.teacher)
            msg = gettext(
                "teacher `{name}` needs unmixed images, but mixup, cutmix or erase is on; use `snapshot`, or turn them off",
                name=name,
            )
            raise ValueError(msg)
        unmixed = [name_of("loss", term) for term in self.losses if term.needs_unmixed and term.weight > 0]
        if self.curriculum.mixes and unmixed:
            msg = gettext(
                "loss `{unmixed}` with a memory needs unmixed images, but mixup, cutmix or erase is on", unmixed=unmixed[0]
            )
            raise ValueError(gettext("{msg}; leave `memory` out, or turn them off", msg=msg))
        if (names := unlabelled(self.augment)) and not any(term.needs and term.weight > 0 for term in self.losses):
            msg = gettext(
                "copies by {names} have no label, and no loss asks the teacher; add one, such as response",
                names=", ".join(names),
            )
            raise ValueError(msg)
        if self.mode == "funmatch":
            check_funmatch(self.losses, self.curriculum)
        check_generation(self.generation, self.losses)
        return self

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Losses on labels need data with labels, or targets that are made from the inputs."""
        uses_labels = self.data is not None and any(term.uses_labels and term.weight > 0 for term in self.losses)
        writes: dict[str, tuple[Capability, ...]] = {} if self.generation is None else {"generation": ("writes_text",)}
        return {**super().requirements, **({"data": ("self_supervised",)} if uses_labels else {}), **writes}

    def requirement_text(self, field: str) -> str | None:
        """What a requirement is for, in a message; None for the value of the field."""
        if field == "generation":
            return gettext("generation: texts that are written in training")
        if field != "data" or self.data is None:
            return None
        names = ", ".join(name_of("loss", term) for term in self.losses if term.uses_labels and term.weight > 0)
        return gettext("loss {names} on the unlabelled data {source} of the stage", names=names, source=self.data.source)

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Train the assistants, the student, and the control where the settings ask for it.

        Raises:
            CompressError: The recipe has no such teacher, or it does not fit the student.
        """
        from compress.train.finetune import cached_teacher

        labelled = context
        context, facts = self._with_own_samples(context)
        if self.data is None and not unlabelled(self.augment):
            labelled = context
        module = self.teacher.build_student(candidate, context)
        writes = self.generation is not None and self.generation.uses_teacher
        needs_teacher = writes or any(term.needs and term.weight > 0 for term in self.losses)
        teacher = self.teacher.build(candidate, context, self, self.cache.k) if needs_teacher else None
        results: Metrics = {}
        for index, (name, assistant) in enumerate(self._assistants(candidate, context), start=1):
            history = self._fit(assistant, context, f"assistant-{index}", self.losses, teacher)
            detail = gettext("{name}, on validation, on the way to the student", name=name)
            results[f"assistant_{index}"] = Quantity.measured(history.best_metric, context.task.metric_info.unit, detail)
            teacher = cached_teacher([assistant], context, k=self.cache.k)
        history = self._fit(module, context, "distill", self.losses, teacher, results)
        results |= _training_results(history)
        curves = dict(history.curves)
        if self.control:
            control = self.teacher.build_student(candidate, context)
            hard_labels = (lookup("loss", "task").load()(),)
            control_history = self._fit(control, labelled, "control", hard_labels, None)
            curves |= {f"control_{name}": curve for name, curve in control_history.curves.items()}
            results |= _control_results(control, context)
        tables = {"matched_layers": history.matched} if history.matched else {}
        student = replace(candidate, module=module)
        notes = (*facts, *history.notes)
        if self._keeps_last(self.losses):
            notes = (*notes, Fact.of("train.last_weights_kept", epochs=history.epochs, metric=context.task.metric))
        return Outcome(
            student,
            results=results,
            notes=notes,
            curves=curves,
            tables=tables,
            trains_answers=not self._trains_layers_only(self.losses),
        )

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hashes of the files that the teacher and the data of the stage depend on."""
        hashes = {**self.teacher.file_hashes(base), **augmentation_hashes(self.augment, base)}
        if self.data is None:
            return hashes
        from compress.data.factory import data_fingerprint

        return {**hashes, "data": data_fingerprint(self.data, base)}

    def _with_own_samples(self, context: Context) -> tuple[Context, tuple[Fact, ...]]:
        """The context with the samples of the stage's own data, and with copies."""
        if self.data is None:
            return with_copies(context, self.augment)
        from compress.train.own_samples import with_own_samples

        return with_own_samples(context, self.data, self.augment)

    def _assistants(self, candidate: Candidate, context: Context) -> list[tuple[str, nn.Module]]:
        """Names of the networks to train before the student, and the networks with their initial weights."""
        from compress.distill.teachers.self_teachers import build_network

        copies = [
            (f"generation {n}", network) for n, network in enumerate(self.teacher.generations(candidate, context), start=1)
        ]
        assistants = [
            (source, build_network(source, context, context.seed + n)) for n, source in enumerate(self.assistants, start=1)
        ]
        return [*copies, *assistants]

    def smoke(self) -> Self:
        """One epoch of small batches, and few samples and copies of its own."""
        generation = None if self.generation is None else self.generation.smoke()
        small = Training.smoke(self).model_copy(update={"augment": smaller(self.augment), "generation": generation})
        return small if self.data is None else small.model_copy(update={"data": self.data.smoke()})

    def _keeps_last(self, terms: tuple[LossTerm, ...]) -> bool:
        """Whether the last weights are kept: no loss trains the outputs, so that the metric of the task says nothing."""
        return "keep" not in self.model_fields_set and self._trains_layers_only(terms)

    def _trains_layers_only(self, terms: tuple[LossTerm, ...]) -> bool:
        return all(term.trains_layers_only for term in terms if term.weight > 0)

    def _fit(
        self,
        module: nn.Module,
        context: Context,
        label: str,
        terms: tuple[LossTerm, ...],
        teacher: Teacher | None,
        results: Metrics | None = None,
    ) -> History:
        """Train a network; `results` gets what is known of the texts that it wrote."""
        from compress.train.loop import fit
        from compress.train.plan import TrainingPlan

        curriculum = self.curriculum if label != "control" else Curriculum()
        training = self.model_copy(update={"keep": "last"}) if self._keeps_last(terms) else self
        if self.generation is None or label == "control":
            plan = TrainingPlan(training, context.data, context.task, terms, context.seed, teacher, curriculum)
            return fit(module, plan, folder=context.folder, label=label, device=context.device, reporter=context.reporter)
        from compress.distill.generation.prepare import OwnTexts, with_written_texts, writing_results

        context, written = with_written_texts(context, module, self.generation, teacher, window=self.accumulate)
        own = OwnTexts(context, written, teacher)
        before = own.measure(module, "before")
        plan = TrainingPlan(training, context.data, context.task, terms, context.seed, teacher, curriculum)
        history = fit(module, plan, folder=context.folder, label=label, device=context.device, reporter=context.reporter)
        if results is not None:
            results |= {**writing_results(written, history.epochs), **before, **own.measure(module, "after")}
        return history


def _training_results(history: History) -> Metrics:
    results = {
        "epochs": Quantity.measured(history.epochs, "1", gettext("epochs run, of those in the settings")),
        "best_epoch": Quantity.measured(history.best_epoch, "1", gettext("with the best validation metric")),
    }
    if history.teacher_s:
        detail = gettext("the teacher's passes inside the steps, which losses on features or gradients need")
        results["teacher_s"] = Quantity.measured(history.teacher_s, "s", detail)
    return results


def _control_results(module: nn.Module, context: Context) -> Metrics:
    """Save the control's weights and evaluate it on validation; only the pipeline uses the test split."""
    from compress.backends.run_split import run_split
    from compress.tasks.metric_quantity import estimate
    from compress.train.checkpoints import save_weights

    write_with(context.folder / "control.safetensors", lambda path: save_weights(module, path))
    scores = run_split(module, context.data.validation, context.task).scores
    detail = gettext("the same network, settings and initial weights, trained without the teacher")
    return {f"control_{context.task.metric}_validation": estimate(context.task.deciding, scores, detail)}
