"""Interface of the methods that make a synthetic set: the entry `method:` of `dataset_distillation`. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from compress.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    from compress.dataset_distillation.job import SynthesisTask, SyntheticSet
    from compress.dataset_distillation.optimize_images import LossesOfRound


class DatasetDistillationMethod(FrozenModel):
    """A method that makes a synthetic set.

    Attributes:
        uses_real_images: Whether it needs the training images.
        needs_network: Whether it needs a trained network.
    """

    uses_real_images: ClassVar[bool] = True
    needs_network: ClassVar[bool] = False

    def synthesize(self, task: SynthesisTask) -> SyntheticSet:
        """The images.

        Raises:
            CompressError: The data or the network does not suit the method.
        """
        msg = f"{type(self).__name__} must define `synthesize`"
        raise NotImplementedError(msg)

    def smoke(self) -> Self:
        """The same method at toy size."""
        return self


class OptimizedImages(DatasetDistillationMethod):
    """Images that start as real ones or as noise and are optimized by gradient descent.

    Attributes:
        iterations: Updates of the images.
        lr: Learning rate of the pixels.
        init: Initial images: `real`, drawn at random, or `noise`.
        batch: Real images per update: of each class, or of all classes together.
    """

    iterations: int = Field(ge=1)
    lr: float = Field(gt=0.0)
    init: Literal["real", "noise"] = "real"
    batch: int = Field(default=64, ge=1)

    def losses(self, task: SynthesisTask) -> LossesOfRound:
        """The function that computes the losses of a round; see `compress.dataset_distillation.optimize_images`."""
        msg = f"{type(self).__name__} must define `losses`"
        raise NotImplementedError(msg)

    @property
    def iterations_per_round(self) -> int:
        """Updates of the images in one round."""
        return 1

    def learned_parameters(self) -> dict[str, float]:
        """Initial values of the scalars that are learned together with the images, by name."""
        return {}

    def synthesize(self, task: SynthesisTask) -> SyntheticSet:
        """See `compress.dataset_distillation.optimize_images.optimize_set`."""
        from compress.dataset_distillation.optimize_images import optimize_set

        return optimize_set(task, self)

    def smoke(self) -> Self:
        """Two updates."""
        return self.model_copy(update={"iterations": min(self.iterations, 2), "batch": min(self.batch, 8)})
