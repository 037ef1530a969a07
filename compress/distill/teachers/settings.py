"""Configuration of teachers: the entry `teacher:` of `distill`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from compress.core.atomic_files import sha256
from compress.core.errors import CompressError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.core.user_path import user_path
from compress.distill.teachers.network_reference import NetworkReference
from compress.train.settings import Training

if TYPE_CHECKING:
    from torch import nn

    from compress.tasks.capability import Capability
    from compress.train.teachers.base import Teacher


class TeacherConfig(FrozenModel):
    """Configuration of the teacher that the student imitates.

    Attributes:
        uses_recipe_teacher: Whether it is the recipe's `teacher:`, which the recipe must then have.
        supports_mixing: Whether it works on images that were mixed or erased.
        requires: What the task must have for it.
    """

    uses_recipe_teacher: ClassVar[bool] = False
    supports_mixing: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ()

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:
        """Build the teacher.

        Args:
            candidate: Input of the stage.
            context: Data, the recipe's teachers, folders.
            training: Settings of the student's training.
            k: Classes that cached logits hold; None for all.
        """
        msg = f"{type(self).__name__} must define `build`"
        raise NotImplementedError(msg)

    def build_student(self, candidate: Candidate, context: Context) -> nn.Module:  # noqa: ARG002
        """The network to train, a copy."""
        import copy

        return copy.deepcopy(candidate.network())

    def generations(self, candidate: Candidate, context: Context) -> tuple[nn.Module, ...]:  # noqa: ARG002
        """Networks to train first, each with the previous one as its teacher; the last one teaches the student."""
        return ()

    def file_hashes(self, base: Path) -> dict[str, object]:  # noqa: ARG002
        """Hashes of the files that its logits depend on.

        Raises:
            CompressError: One is missing.
        """
        return {}


class RecipeTeacher(TeacherConfig):
    """`teacher`: the recipe's teacher, or several.

    Attributes:
        combine: How several teachers are combined: `mean`; `confidence`, weighted by confidence; `loss`, weighted by loss.
    """

    uses_recipe_teacher: ClassVar[bool] = True
    combine: Literal["mean", "confidence", "loss"] = "mean"

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Weights of teachers come from their probabilities, or from their loss on the class of a sample."""
        needed: dict[str, tuple[Capability, ...]] = {"confidence": ("class_rows",), "loss": ("class_rows", "class_targets")}
        return {"combine": needed.get(self.combine, ())}

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The recipe's teachers with cached logits.

        Raises:
            CompressError: The recipe has none, or one has other classes.
        """
        from compress.train.finetune import cached_teacher

        if not context.teachers:
            msg = gettext("distill needs a teacher and the recipe has none; add `teacher: {source: …}`, or use `train` instead")
            raise CompressError(msg)
        for index, teacher in enumerate(context.teachers):
            check_same_classes(teacher.spec.classes, candidate.spec.classes, gettext("teacher {index}", index=index))
        if any(context.teacher_tokenizers) and (aligned := _in_own_tokens(context)) is not None:
            return aligned
        networks = [teacher.network() for teacher in context.teachers]
        return cached_teacher(networks, context, combine=self.combine, k=k, tokenizers=context.teacher_tokenizers)


class ParentTeacher(TeacherConfig):
    """`parent`: the unchanged input network of the stage."""

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The parent with cached logits."""
        from compress.train.finetune import cached_teacher

        return cached_teacher([candidate.network()], context, k=k)


class StudentSnapshot(TeacherConfig):
    """`snapshot`: the student as it was at the end of an earlier epoch (Yang et al. 2019, arXiv:1812.00123).

    Attributes:
        every: Epochs between two snapshots; before the first, losses that need a teacher are 0.
    """

    every: int = Field(default=1, ge=1)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """See `SnapshotTeacher`."""
        from compress.distill.teachers.self_teachers import SnapshotTeacher

        return SnapshotTeacher(self.every, context.task)


class MovingAverage(TeacherConfig):
    """`moving_average`: a moving average of the student's weights (Tarvainen & Valpola 2017, arXiv:1703.01780).

    Attributes:
        decay: Decay of the average.
    """

    decay: float = Field(default=0.99, gt=0.0, lt=1.0)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """See `MovingAverageTeacher`."""
        from compress.distill.teachers.self_teachers import MovingAverageTeacher

        return MovingAverageTeacher(self.decay, context.task)


class TemporalEnsemble(TeacherConfig):
    """`ensemble`: a running mean of the student's own probabilities of each sample (Laine & Aila 2017, arXiv:1610.02242).

    Attributes:
        momentum: Weight of earlier epochs.
    """

    supports_mixing: ClassVar[bool] = False
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows", "row_per_sample")
    momentum: float = Field(default=0.6, ge=0.0, lt=1.0)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """See `EnsembleTeacher`."""
        from compress.distill.teachers.self_teachers import EnsembleTeacher

        return EnsembleTeacher(self.momentum, len(context.data.train), len(candidate.spec.classes))


class BornAgain(TeacherConfig):
    """`born_again`: the input network teaches a reinitialized copy, which teaches the next (arXiv:1805.04770).

    Attributes:
        twins: Number of copies, trained one after the other; the last is the result.
    """

    twins: int = Field(default=1, ge=1, le=20)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:
        """The parent."""
        return ParentTeacher().build(candidate, context, training, k)

    def build_student(self, candidate: Candidate, context: Context) -> nn.Module:
        """A copy with new random weights."""
        from compress.distill.teachers.self_teachers import reinitialized

        return reinitialized(candidate.network(), context.seed)

    def generations(self, candidate: Candidate, context: Context) -> tuple[nn.Module, ...]:
        """The copies before the last."""
        from compress.distill.teachers.self_teachers import reinitialized

        return tuple(reinitialized(candidate.network(), context.seed + index) for index in range(1, self.twins))


class PeerTeachers(TeacherConfig):
    """`mutual`: peers that learn at the same time, from the labels and from each other (Zhang et al. 2018, arXiv:1706.00384).

    Attributes:
        peers: Number of reinitialized copies, or a list of networks such as `[torchvision:resnet18]` (`python:` needs
            --trust-code).
        temperature: T of the peers' loss on each other's logits.
    """

    supports_mixing: ClassVar[bool] = False
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)
    peers: Annotated[int, Field(ge=1, le=8)] | Annotated[tuple[NetworkReference, ...], Field(min_length=1)] = 1
    temperature: float = Field(default=1.0, gt=0.0)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The peers."""
        from compress.distill.teachers.mutual import Peers
        from compress.distill.teachers.self_teachers import build_network, reinitialized

        if isinstance(self.peers, int):
            networks = [reinitialized(candidate.network(), context.seed + 1 + index) for index in range(self.peers)]
        else:
            networks = [build_network(source, context, context.seed + 1 + index) for index, source in enumerate(self.peers)]
        return Peers(networks, training, context.data, context.task, self.temperature)


class SoftLabelFile(TeacherConfig):
    """`soft_label_file`: soft labels from a file.

    Attributes:
        file: `.safetensors` or `.parquet`, as `distill.teachers.external.write_soft_labels` makes it; relative to the recipe.
    """

    requires: ClassVar[tuple[Capability, ...]] = ("class_rows", "row_per_sample")
    file: str = Field(pattern=r"\.(safetensors|parquet)$")

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The file, checked against the training split."""
        from compress.distill.teachers.external import FileSoftLabels

        path = user_path(self.file, context.base)
        return FileSoftLabels(path, context.data.train, candidate.spec.classes)

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hash of the file; a missing file is reported when the stage runs."""
        path = user_path(self.file, base)
        return {"soft_label_file": sha256(path)} if path.is_file() else {}


class DistilledSetLabels(TeacherConfig):
    """`distilled`: the soft labels of a distilled training set, from `dataset_distillation` or `distilled:PATH`."""

    requires: ClassVar[tuple[Capability, ...]] = ("class_rows", "row_per_sample")

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The labels.

        Raises:
            CompressError: The training split is not a distilled set.
        """
        from compress.distill.teachers.external import DatasetSoftLabels

        return DatasetSoftLabels(context.data.train, candidate.spec.classes)


class FunctionTeacher(TeacherConfig):
    """`function`: a Python function that gives probabilities for images: a tree search, a rule system, a remote service.

    Attributes:
        function: `python:FILE.py:FUNCTION`, called with images (N, C, H, W) in [0, 1]; returns probabilities (N, K). Needs
            --trust-code.
    """

    requires: ClassVar[tuple[Capability, ...]] = ("class_rows", "row_per_sample", "image_input")
    function: str = Field(pattern=r"^python:.+\.py:[A-Za-z_]\w*$")

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The function, with cached results."""
        from compress.core.trusted_code import load_function
        from compress.core.user_code_key import user_code_key
        from compress.distill.teachers.external import function_teacher

        code = user_code_key(self, context.base, trust_code=context.trust_code)
        key = " ".join([self.function, *code.hashes.values()])
        function = load_function(self.function.removeprefix("python:"), context.base, context.trust_code)
        return function_teacher(function, key, candidate.spec, context, k)


def _in_own_tokens(context: Context) -> Teacher | None:
    """The teacher of texts with a tokenizer of its own, which reads responses in its tokens; None for whole texts.

    Raises:
        CompressError: There are several teachers.
    """
    from compress.data.text.context_tokens import text_origin
    from compress.data.text.origin import TextOrigin

    origin = getattr(context.data.train, "origin", None)
    if not isinstance(origin, TextOrigin) or not origin.settings.columns.has_responses:
        return None
    if len(context.teachers) > 1:
        msg = gettext("teachers with tokenizers of their own cannot be combined, since their rows are of other tokens; use one")
        raise CompressError(msg)
    from compress.distill.teachers.aligned import AlignedTeacher

    own = text_origin(context.data.train, "distill").tokenizer
    tokenizer = context.teacher_tokenizers[0]
    assert tokenizer is not None  # noqa: S101  # as the caller found
    return AlignedTeacher(context.teachers[0].network(), tokenizer, own, context.task)


def check_same_classes(teacher: tuple[str, ...], student: tuple[str, ...], name: str) -> None:
    """Refuse a teacher with other classes.

    Raises:
        CompressError: Another number of classes, or another order.
    """
    if len(teacher) != len(student):
        msg = gettext(
            "{name} has {count} classes, the student {student_count}; both must have the data's classes, in its order",
            name=name,
            count=len(teacher),
            student_count=len(student),
        )
        raise CompressError(msg)
    for index, (a, b) in enumerate(zip(teacher, student, strict=True)):
        if a != b:
            msg = gettext(
                "{name} has class {a!r} at index {index} where the student has {b!r}; bring both into the data's order",
                name=name,
                a=a,
                index=index,
                b=b,
            )
            raise CompressError(msg)
