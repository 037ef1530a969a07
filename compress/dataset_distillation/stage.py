"""The stage `dataset_distillation`: it makes a small synthetic training set; the candidate passes unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.registry_field import RegistryField, name_of
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.dataset_distillation.base import DatasetDistillationMethod
from compress.dataset_distillation.distribution_matching import DistributionMatching
from compress.tasks.capability import Capability

if TYPE_CHECKING:
    from torch import nn

    from compress.dataset_distillation.job import SynthesisTask

Operation = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]


class DatasetDistillation(Stage):
    """Make a small synthetic training set with soft labels; the network passes unchanged.

    The set is written as `distilled.safetensors` (exact pixels and soft labels), as a folder of PNG previews and as a figure.
    The data source `distilled:PATH` trains on it alone.

    Attributes:
        method: One of `compress methods synthesis`, such as `gradient` or `{trajectory: {experts: 10}}`.
        images_per_class: Number of images per class.
        augmentation: Applied alike to real and synthetic images while the set is made, and to the set's images when a network
            trains on it. Add `flip` where a mirrored image is of the same class; an empty list for none.
        teacher: The network that computes the soft labels and that `inversion` inverts: `teacher`, the recipe's
            (several: their mean); `parent`, the input network of the stage; `auto`, the teacher where there is one; `none`,
            one-hot labels.
        use: Later stages train on the set instead of the data's training images.
        views: Augmented views of an image that a training on the set cycles through.
        width: Channels of the networks that are trained on or applied to the images.
        depth: Their blocks, each of which halves the image; small images allow fewer.
        pool: Real images of each class that are held in memory.
        control: Train one of these networks on the set and one on as many real images drawn at random, and record the accuracy
            of both on validation.
        accepts: A torch network.
        produces: The same network.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    requires: ClassVar[tuple[Capability, ...]] = ("image_input", "class_targets", "class_rows", "row_per_sample")

    method: Annotated[DatasetDistillationMethod, RegistryField("synthesis", DatasetDistillationMethod)] = DistributionMatching()
    images_per_class: int = Field(default=10, ge=1)
    augmentation: tuple[Operation, ...] = ("color", "crop", "cutout", "scale", "rotate")
    teacher: Literal["auto", "teacher", "parent", "none"] = "auto"
    use: bool = True
    views: int = Field(default=16, ge=1, le=1000)
    width: int = Field(default=64, ge=1)
    depth: int = Field(default=3, ge=1, le=6)
    pool: int = Field(default=1000, ge=1)
    control: bool = False

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.method.needs_network and self.teacher == "none":
            name = name_of("synthesis", self.method)
            msg = gettext(
                "{name} reads a trained network, and teacher is none; use teacher: teacher (the recipe's) or parent", name=name
            )
            raise ValueError(msg)
        if self.pool < self.images_per_class:
            msg = gettext(
                "pool {pool} holds fewer images than images_per_class {images_per_class}; raise it",
                pool=self.pool,
                images_per_class=self.images_per_class,
            )
            raise ValueError(msg)
        return self

    @property
    def asks_teacher(self) -> bool:
        """Whether the recipe must have a teacher."""
        return self.teacher == "teacher" or (self.teacher == "auto" and self.method.needs_network)

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Make the set, label it, and write it to the stage's folder.

        Raises:
            CompressError: The data or the teacher does not suit the method.
        """
        from compress.dataset_distillation.results import write_results

        networks = self._networks(candidate, context)
        task = self._task(context, networks)
        return write_results(self, self.method.synthesize(task), task, networks, candidate, context)

    def smoke(self) -> Self:
        """Two images per class, two updates."""
        update = {"images_per_class": min(self.images_per_class, 2), "method": self.method.smoke(), "width": min(self.width, 8)}
        return self.model_copy(update=update)

    def _networks(self, candidate: Candidate, context: Context) -> tuple[nn.Module, ...]:
        """The networks that label the set: copies on the CPU, in eval mode.

        Raises:
            CompressError: The recipe has no teacher, or one with other classes.
        """
        import copy

        teachers = (candidate,) if self.teacher == "parent" else () if self.teacher == "none" else context.teachers
        if not teachers and self.asks_teacher:
            msg = gettext(
                "the recipe has no teacher for dataset_distillation; add `teacher: {source: …}`, or write teacher: parent"
            )
            raise CompressError(msg)
        for teacher in teachers:
            if teacher.spec.classes != context.data.spec.classes:
                msg = gettext(
                    "the teacher's classes ({classes} …) are not the data's, in its order",
                    classes=", ".join(teacher.spec.classes[:4]),
                )
                raise CompressError(msg)
        return tuple(copy.deepcopy(teacher.network()).eval() for teacher in teachers)

    def _task(self, context: Context, networks: tuple[nn.Module, ...]) -> SynthesisTask:
        """The input of the method."""
        import torch

        from compress.core.run_directory import key_of
        from compress.dataset_distillation.class_pools import gather_class_pools
        from compress.dataset_distillation.job import SynthesisTask
        from compress.train.checkpoints import network_hash
        from compress.train.distributed import resolve_device

        data, pools = context.data, None
        if self.method.uses_real_images:
            at_least = self.images_per_class
            pools = gather_class_pools(data.train, data.spec.classes, at_least=at_least, at_most=self.pool, seed=context.seed)
        parts = {
            "stage": self.model_dump(mode="json"),
            "seed": context.seed,
            "data": pools.identity if pools else data.spec.model_dump(mode="json"),
            "networks": [network_hash(network) for network in networks],
        }
        return SynthesisTask(
            spec=data.spec,
            images_per_class=self.images_per_class,
            width=self.width,
            depth=self.depth,
            operations=self.augmentation,
            device=torch.device(resolve_device(context.device)),
            seed=context.seed,
            folder=context.folder,
            cache=context.cache,
            identity=key_of(parts),
            reporter=context.reporter,
            pools=pools,
            network=networks[0] if networks else None,
        )
