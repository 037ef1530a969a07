"""How a synthetic set is made: the entry `method:` of `dataset_distillation`. Light: read and checked without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.core.record import FrozenModel

if TYPE_CHECKING:
    from compress.dataset_distillation.job import Job, Made
    from compress.dataset_distillation.optimize_images import Updates


class Way(FrozenModel):
    """How a synthetic set is made.

    Attributes:
        looks_at_data: Whether it needs the training images.
        asks_network: Whether it needs a trained network.
    """

    looks_at_data: ClassVar[bool] = True
    asks_network: ClassVar[bool] = False

    def make(self, job: Job) -> Made:
        """The images.

        Raises:
            CompressError: The data or the network does not suit the method.
        """
        msg = f"{type(self).__name__} must define `make`"
        raise NotImplementedError(msg)

    def smoke(self) -> Self:
        """The same at toy size."""
        return self


class Random(Way):
    """`random`: real images drawn at random, the control that the others are held against."""

    def make(self, job: Job) -> Made:
        """See `compress.dataset_distillation.coreset.drawn`."""
        from compress.dataset_distillation.coreset import drawn

        return drawn(job)


class Herding(Way):
    """`herding`: real images whose mean feature follows that of their class (Welling 2009, ICML; arXiv:1611.07725).

    Attributes:
        epochs: Training of the network that the features are of.
        lr: Its learning rate.
    """

    epochs: int = Field(default=10, ge=1)
    lr: float = Field(default=0.01, gt=0.0)

    def make(self, job: Job) -> Made:
        """See `compress.dataset_distillation.coreset.herded`."""
        from compress.dataset_distillation.coreset import herded

        return herded(job, self)

    def smoke(self) -> Self:
        """One epoch."""
        return self.model_copy(update={"epochs": 1})


class Optimised(Way):
    """Images that start as real ones or as noise and are changed by gradient descent.

    Attributes:
        iterations: Changes of the images.
        lr: Learning rate of the pixels.
        init: What the images start as: `real`, drawn at random, or `noise`.
        batch: Real images of a class, or of all classes together, behind one change.
    """

    iterations: int = Field(ge=1)
    lr: float = Field(gt=0.0)
    init: Literal["real", "noise"] = "real"
    batch: int = Field(default=64, ge=1)

    def updates(self, job: Job) -> Updates:
        """What gives the losses; see `compress.dataset_distillation.optimize_images.Updates`."""
        msg = f"{type(self).__name__} must define `updates`"
        raise NotImplementedError(msg)

    @property
    def each(self) -> int:
        """Changes of the images in one round."""
        return 1

    def learned(self) -> dict[str, float]:
        """Numbers that are learned beside the images, by name, as they start."""
        return {}

    def make(self, job: Job) -> Made:
        """See `compress.dataset_distillation.optimize_images.optimised`."""
        from compress.dataset_distillation.optimize_images import optimised

        return optimised(job, self)

    def smoke(self) -> Self:
        """Two changes."""
        return self.model_copy(update={"iterations": min(self.iterations, 2), "batch": min(self.batch, 8)})


class Gradient(Optimised):
    """`gradient`: the weights' gradients on the set match those on real images (DC, and DSA with `augmentation`).

    Attributes:
        inner: Changes of the images before a fresh network takes the place of the trained one.
        network_steps: Steps of training on the set between two changes.
        network_lr: Their learning rate.
    """

    iterations: int = Field(default=500, ge=1)
    lr: float = Field(default=0.1, gt=0.0)
    inner: int = Field(default=10, ge=1)
    network_steps: int = Field(default=10, ge=0)
    network_lr: float = Field(default=0.01, gt=0.0)

    @property
    def each(self) -> int:
        """Changes for one network."""
        return min(self.inner, self.iterations)

    def updates(self, job: Job) -> Updates:
        """See `compress.dataset_distillation.gradient_matching.updates`."""
        from functools import partial

        from compress.dataset_distillation.gradient_matching import updates

        return partial(updates, self, job)


class Distribution(Optimised):
    """`distribution`: mean features of the set match those of real images, in networks with random weights."""

    iterations: int = Field(default=1000, ge=1)
    lr: float = Field(default=1.0, gt=0.0)

    def updates(self, job: Job) -> Updates:
        """See `compress.dataset_distillation.distribution_matching.updates`."""
        from functools import partial

        from compress.dataset_distillation.distribution_matching import updates

        return partial(updates, self, job)


class Trajectory(Optimised):
    """`trajectory`: training on the set leads the weights where training on real images led them.

    Attributes:
        experts: Trainings on real images to follow; kept in the run's cache.
        epochs: Of each expert.
        expert_lr: Learning rate of the experts.
        start: Last epoch of an expert that a student starts from.
        ahead: Epochs of the expert that a student is to cover, M.
        steps: Steps in which it is to cover them, N.
        student_batch: Synthetic images in a step.
        student_lr: Learning rate of the student, which is learned, as it starts.
        lr_lr: Learning rate of its logarithm.
    """

    iterations: int = Field(default=500, ge=1)
    lr: float = Field(default=100.0, gt=0.0)
    experts: int = Field(default=5, ge=1)
    epochs: int = Field(default=15, ge=1)
    expert_lr: float = Field(default=0.01, gt=0.0)
    start: int = Field(default=8, ge=0)
    ahead: int = Field(default=2, ge=1)
    steps: int = Field(default=10, ge=1)
    student_batch: int = Field(default=128, ge=1)
    student_lr: float = Field(default=0.02, gt=0.0)
    lr_lr: float = Field(default=0.01, ge=0.0)

    @model_validator(mode="after")
    def _reaches_the_goal(self) -> Self:
        if self.start + self.ahead > self.epochs:
            msg = (
                f"a student that starts at epoch {self.start} and covers {self.ahead} needs experts of "
                f"{self.start + self.ahead} epochs, and they have {self.epochs}; raise epochs, or lower start or ahead"
            )
            raise ValueError(msg)
        return self

    def learned(self) -> dict[str, float]:
        """The student's learning rate, as its logarithm."""
        import math

        return {"log_student_lr": math.log(self.student_lr)}

    def updates(self, job: Job) -> Updates:
        """See `compress.dataset_distillation.trajectory_matching.updates`; the experts are trained, or read, once."""
        from functools import partial

        from compress.dataset_distillation.expert_trajectories import kept_experts
        from compress.dataset_distillation.trajectory_matching import updates

        return partial(updates, self, job, kept_experts(job, self))

    def smoke(self) -> Self:
        """One expert of two epochs."""
        update = {"experts": 1, "epochs": 2, "start": 0, "ahead": 1, "steps": 2}
        return super().smoke().model_copy(update=update)


class Inversion(Way):
    """`inversion`: images that a trained network takes for its classes and that its batch norms find usual (DeepInversion).

    Attributes:
        looks_at_data: It never does.
        asks_network: A trained one with batch norms.
        iterations: Changes of the images.
        lr: Learning rate of the pixels.
        statistics: Weight of the distance to the batch norms' means and variances.
        variation: Weight of the total variation.
        norm: Weight of the images' norm.
        jitter: Largest shift before each look, in pixels.
        batch: Images that are made, and judged by their common statistics, at a time.
    """

    looks_at_data: ClassVar[bool] = False
    asks_network: ClassVar[bool] = True

    iterations: int = Field(default=500, ge=1)
    lr: float = Field(default=0.1, gt=0.0)
    statistics: float = Field(default=1.0, ge=0.0)
    variation: float = Field(default=1e-3, ge=0.0)
    norm: float = Field(default=1e-3, ge=0.0)
    jitter: int = Field(default=2, ge=0)
    batch: int = Field(default=128, ge=2)

    def make(self, job: Job) -> Made:
        """See `compress.dataset_distillation.deep_inversion.inverted`."""
        from compress.dataset_distillation.deep_inversion import inverted

        return inverted(job, self)

    def smoke(self) -> Self:
        """Two changes."""
        return self.model_copy(update={"iterations": min(self.iterations, 2)})
