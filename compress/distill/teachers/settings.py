"""Whom the student imitates: one entry of a distillation's `teacher:`. Light: read and checked without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from compress.core.atomic_files import sha256
from compress.core.errors import CompressError
from compress.core.record import FrozenModel
from compress.core.stage import Candidate, Context
from compress.distill.teachers.network_reference import NetworkReference, code_hashes
from compress.train.settings import Training

if TYPE_CHECKING:
    from torch import nn

    from compress.train.teachers.base import Teacher


class TeacherConfig(FrozenModel):
    """Whom the student imitates.

    Attributes:
        of_recipe: Whether it is the recipe's `teacher:`, which must then be there.
        takes_mixed: Whether it can teach on images that were mixed or erased.
    """

    uses_recipe_teacher: ClassVar[bool] = False
    supports_mixing: ClassVar[bool] = True

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:
        """The teacher at work.

        Args:
            candidate: The network that the stage was given.
            context: Data, the recipe's teachers, folders.
            training: Settings of the student's training.
            k: Classes that kept answers hold; None for all.
        """
        msg = f"{type(self).__name__} must define `make`"
        raise NotImplementedError(msg)

    def build_student(self, candidate: Candidate, context: Context) -> nn.Module:  # noqa: ARG002
        """The network to train, a copy."""
        import copy

        return copy.deepcopy(candidate.network())

    def generations(self, candidate: Candidate, context: Context) -> tuple[nn.Module, ...]:  # noqa: ARG002
        """Networks to train first, each from the one before; the student then learns from the last."""
        return ()

    def file_hashes(self, base: Path) -> dict[str, Any]:  # noqa: ARG002
        """Hashes of the files that its answers depend on.

        Raises:
            CompressError: One is missing.
        """
        return {}


class RecipeTeacher(TeacherConfig):
    """`teacher`: the recipe's teacher, or several.

    Attributes:
        combine: How several become one: `mean`; `confidence`, weighted by how sure each is; `loss`, by how right each is.
    """

    uses_recipe_teacher: ClassVar[bool] = True
    combine: Literal["mean", "confidence", "loss"] = "mean"

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """Kept answers of the recipe's teachers.

        Raises:
            CompressError: The recipe has none, or one names its classes otherwise.
        """
        from compress.train.finetune import cached_teacher

        if not context.teachers:
            msg = "distill needs a teacher and the recipe has none; add `teacher: {source: …}`, or use `train` in its place"
            raise CompressError(msg)
        for number, teacher in enumerate(context.teachers):
            check_same_classes(teacher.spec.classes, candidate.spec.classes, f"teacher {number}")
        return cached_teacher([one.network() for one in context.teachers], context, combine=self.combine, k=k)


class ParentTeacher(TeacherConfig):
    """`parent`: the network that the stage was given, as it was."""

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """Kept answers of the parent."""
        from compress.train.finetune import cached_teacher

        return cached_teacher([candidate.network()], context, k=k)


class StudentSnapshot(TeacherConfig):
    """`snapshot`: the student as it was at the end of an earlier epoch (Yang et al. 2019, arXiv:1812.00123).

    Attributes:
        every: Epochs between two snapshots; until the first, losses that need a teacher count nothing.
    """

    every: int = Field(default=1, ge=1)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """Its own past."""
        from compress.distill.teachers.self_teachers import SnapshotTeacher

        return SnapshotTeacher(self.every)


class MovingAverage(TeacherConfig):
    """`moving_average`: a moving average of the student's weights (Tarvainen & Valpola 2017, arXiv:1703.01780).

    Attributes:
        decay: Of the average.
    """

    decay: float = Field(default=0.99, gt=0.0, lt=1.0)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """Its own average."""
        from compress.distill.teachers.self_teachers import MovingAverageTeacher

        return MovingAverageTeacher(self.decay)


class TemporalEnsemble(TeacherConfig):
    """`ensemble`: a running mean of the student's own answers to each sample (Laine & Aila 2017, arXiv:1610.02242).

    Attributes:
        momentum: Weight of the earlier answers.
    """

    supports_mixing: ClassVar[bool] = False
    momentum: float = Field(default=0.6, ge=0.0, lt=1.0)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """Its own answers."""
        from compress.distill.teachers.self_teachers import EnsembleTeacher

        return EnsembleTeacher(self.momentum, len(context.data.train), len(candidate.spec.classes))


class BornAgain(TeacherConfig):
    """`born_again`: the network that the stage was given teaches a fresh twin, that one the next (arXiv:1805.04770).

    Attributes:
        twins: How many to train one after the other; the last is the result.
    """

    twins: int = Field(default=1, ge=1, le=20)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:
        """The parent."""
        return ParentTeacher().build(candidate, context, training, k)

    def build_student(self, candidate: Candidate, context: Context) -> nn.Module:
        """A twin with fresh weights."""
        from compress.distill.teachers.self_teachers import reinitialized

        return reinitialized(candidate.network(), context.seed)

    def generations(self, candidate: Candidate, context: Context) -> tuple[nn.Module, ...]:
        """The twins before the last."""
        from compress.distill.teachers.self_teachers import reinitialized

        return tuple(reinitialized(candidate.network(), context.seed + number) for number in range(1, self.twins))


class PeerTeachers(TeacherConfig):
    """`mutual`: peers that learn at the same time, from the labels and from each other (Zhang et al. 2018, arXiv:1706.00384).

    Attributes:
        peers: How many twins with fresh weights, or a list of networks such as `[torchvision:resnet18]` (`python:` needs
            --trust-code).
        temperature: Of the peers' own imitation.
    """

    supports_mixing: ClassVar[bool] = False
    peers: Annotated[int, Field(ge=1, le=8)] | Annotated[tuple[NetworkReference, ...], Field(min_length=1)] = 1
    temperature: float = Field(default=1.0, gt=0.0)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The peers."""
        from compress.distill.teachers.mutual import Peers
        from compress.distill.teachers.self_teachers import build_network, reinitialized

        if isinstance(self.peers, int):
            networks = [reinitialized(candidate.network(), context.seed + 1 + number) for number in range(self.peers)]
        else:
            networks = [build_network(source, context, context.seed + 1 + number) for number, source in enumerate(self.peers)]
        return Peers(networks, training, context.data, context.task, self.temperature)

    def file_hashes(self, base: Path) -> dict[str, Any]:
        """Hashes of the peers' code.

        Raises:
            CompressError: A file is missing.
        """
        return code_hashes(self.peers if isinstance(self.peers, tuple) else (), base)


class SoftLabelFile(TeacherConfig):
    """`soft_label_file`: soft labels from a file.

    Attributes:
        file: `.safetensors` or `.parquet`, as `distill.teachers.external.write_soft_labels` makes it; relative to the recipe.
    """

    file: str = Field(pattern=r"\.(safetensors|parquet)$")

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The file, checked against the training split."""
        from compress.distill.teachers.external import FileSoftLabels

        path = context.base / Path(self.file).expanduser()
        return FileSoftLabels(path, context.data.train, candidate.spec.classes)

    def file_hashes(self, base: Path) -> dict[str, Any]:
        """Hash of the file; a missing one is told when the stage runs."""
        path = base / Path(self.file).expanduser()
        return {"soft_label_file": sha256(path)} if path.is_file() else {}


class DistilledSetLabels(TeacherConfig):
    """`distilled`: the soft labels that a distilled training set brings, from `dataset_distillation` or `distilled:PATH`."""

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The labels.

        Raises:
            CompressError: The training images are no distilled set.
        """
        from compress.distill.teachers.external import DatasetSoftLabels

        return DatasetSoftLabels(context.data.train, candidate.spec.classes)


class FunctionTeacher(TeacherConfig):
    """`function`: a Python function that gives probabilities for images: a tree search, a rule system, a remote service.

    Attributes:
        function: `python:FILE.py:FUNCTION`, called with images (N, C, H, W) in [0, 1]; it gives probabilities (N, K). Runs only
            with --trust-code.
    """

    function: str = Field(pattern=r"^python:.+\.py:[A-Za-z_]\w*$")

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """The function, its answers kept like a network's."""
        from compress.core.trusted_code import load_function
        from compress.distill.teachers.external import function_teacher

        reference = self.function.removeprefix("python:")
        function = load_function(reference, context.base, context.trust_code)
        key = f"{self.function} {self.file_hashes(context.base)['function']}"
        return function_teacher(function, key, candidate.spec, context, k)

    def file_hashes(self, base: Path) -> dict[str, Any]:
        """Hash of the Python file.

        Raises:
            CompressError: It is missing.
        """
        from compress.core.trusted_code import source_file

        return {"function": sha256(source_file(self.function.removeprefix("python:"), base))}


def check_same_classes(theirs: tuple[str, ...], own: tuple[str, ...], who: str) -> None:
    """Refuse a teacher whose answers are named otherwise.

    Raises:
        CompressError: Another number of classes, or another order.
    """
    if len(theirs) != len(own):
        msg = f"{who} knows {len(theirs)} classes, the student {len(own)}; both must have the data's classes, in its order"
        raise CompressError(msg)
    for number, (a, b) in enumerate(zip(theirs, own, strict=True)):
        if a != b:
            msg = f"{who} has class {a!r} at place {number} where the student has {b!r}; bring both into the data's order"
            raise CompressError(msg)
