"""Images and texts in one space: an image and its caption have vectors of similar direction. torch is imported on use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, Field

from compress.core.errors import DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import UNLABELLED, Batch, Split, Tensors
from compress.data.image_text.names import CLASS, CLASS_NUMBER, IMAGE_NUMBER, TEXT_NUMBER
from compress.tasks.base import Rows, Task
from compress.tasks.calibration_samples import Sample
from compress.tasks.capability import Capability
from compress.tasks.image_text.infer_code import RANK
from compress.tasks.image_text.retrieval_metric import (
    CLASS_EMBEDDING,
    IMAGE_EMBEDDING,
    TEXT_EMBEDDING,
    CrossModalRetrieval,
    Way,
    ZeroShotAccuracy,
)
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.text.embedding import DIMENSIONS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.tasks.output_agreement import OutputAgreement

SCALE = "logit_scale"
"""Name of the learned reciprocal temperature among the outputs of a training pass, (N,)."""
INITIAL_SCALE = 1 / 0.07
"""Of a network without a learned one; CLIP's start, arXiv:2103.00020, section 2.5."""
WAYS: tuple[Way, ...] = ("both", "image_to_text", "text_to_image")
RETRIEVAL = tuple(CrossModalRetrieval(k, way) for way in WAYS for k in (1, 5, 10))


class ImageTextOptions(FrozenModel):
    """Options of the task `image_text`.

    Attributes:
        zero_shot: A sentence about a class, with `{}` in place of its name, such as `a photo of a {}`: images are also
            classified by the most similar sentence. The data then need a class of each image, `columns: {target: NAME}`. None
            for no classification.
    """

    zero_shot: str | None = Field(default=None, pattern=r"\{\}")


class ImageText(Task):
    """A vector for each image and one for each text, (N, D). A sample is an image with a text that belongs to it.

    Args:
        zero_shot: Sentence about a class, see `ImageTextOptions`.

    Attributes:
        name: `image_text`.
        metrics: The deciding metric is `recall_at_1`, the mean of both ways.
        capabilities: A sample has two rows, that of the image and that of the text.
        settings: `zero_shot`.
        infer_code: Ranks texts for an image, or images for a text.
    """

    name: ClassVar[str] = "image_text"
    settings: ClassVar[type[BaseModel]] = ImageTextOptions
    metrics: ClassVar[tuple[TaskMetric, ...]] = (*RETRIEVAL, ZeroShotAccuracy())
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("paired_vectors",))
    infer_code: ClassVar[InferCode] = RANK

    def __init__(self, zero_shot: str | None = None) -> None:
        self.zero_shot = zero_shot
        self.metrics = (*RETRIEVAL, *(() if zero_shot is None else (ZeroShotAccuracy(),)))  # type: ignore[misc]

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Vectors of images and of texts, (batch, dimensions) each."""
        return tuple(TensorSpec(name=name, shape=(BATCH, DIMENSIONS)) for name in (IMAGE_EMBEDDING, TEXT_EMBEDDING))

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Numbers of image and text, and of the class where images are classified, (batch,) each."""
        names = (IMAGE_NUMBER, TEXT_NUMBER, *(() if self.zero_shot is None else (CLASS_NUMBER,)))
        return tuple(TensorSpec(name=name, dtype="int64", shape=(BATCH,)) for name in names)

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that a sample is an image and a text.

        Raises:
            DataError: It is not.
        """
        if spec.image_text is None:
            msg = gettext(
                "task image_text takes images with captions; these data give {inputs}: use drawn_captions, or "
                "image_captions:PATH",
                inputs=", ".join(map(str, spec.signature.inputs)),
            )
            raise DataError(msg)

    def run_batch(self, run: Callable[[Batch], Tensors], batch: Batch) -> Tensors:
        """Vectors of both, and those of the sentences about classes where images are classified."""
        outputs = dict(run(batch))
        if self.zero_shot is not None:
            sentences = {name: batch.targets.get(f"{CLASS}{name}", values) for name, values in batch.inputs.items()}
            outputs[CLASS_EMBEDDING] = run(batch._replace(inputs=sentences))[TEXT_EMBEDDING]
        return outputs

    def training_forward(self, module: nn.Module, inputs: Tensors, targets: Tensors) -> Tensors:  # noqa: ARG002
        """Vectors of both, and the learned scale of the network where it has one."""
        outputs = dict(self.forward(module, inputs))
        scale = getattr(getattr(module, "module", module), "similarity_scale", None)
        if callable(scale):
            vectors = outputs[IMAGE_EMBEDDING]
            outputs[SCALE] = scale().expand(len(vectors))
        return outputs

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:  # noqa: ARG002
        """`image_text_contrast` with the learned scale, else `INITIAL_SCALE`.

        Args:
            outputs: Vectors, (N, D) each.
            targets: Numbers of images and texts.
            label_smoothing: Not used.

        Returns:
            Scalar, at least 0.
        """
        from compress.tasks.image_text.contrastive_loss import image_text_contrast

        scale = outputs[SCALE][0] if SCALE in outputs else INITIAL_SCALE
        return image_text_contrast(outputs[IMAGE_EMBEDDING], outputs[TEXT_EMBEDDING], same_pairs(targets), scale=scale)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:  # noqa: ARG002
        """The vectors times √D, those of the texts after those of the images, without classes; see `TextEmbedding`."""
        import torch

        vectors = torch.cat([outputs[IMAGE_EMBEDDING], outputs[TEXT_EMBEDDING]])
        samples = torch.arange(len(outputs[IMAGE_EMBEDDING]), device=vectors.device).repeat(2)
        unlabelled = torch.full((len(vectors),), UNLABELLED, device=vectors.device)
        return Rows(vectors * vectors.shape[1] ** 0.5, unlabelled, samples)

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of the vectors of both towers, side by side."""
        import torch

        from compress.tasks.output_agreement import compare_outputs

        joined = [torch.cat([each[IMAGE_EMBEDDING], each[TEXT_EMBEDDING]], dim=1).numpy() for each in (reference, other)]
        return compare_outputs(*joined).without_classes()

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Samples of all lengths of the text; arguments as for `Task.calibration`."""
        from compress.tasks.text.samples_by_length import samples_by_length

        return samples_by_length(split, samples, seed)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """What a network reaches that gives all images and texts the same vector; None for a split that is not known."""
        scores = statistics.get(self.metric)
        return None if scores is None else RETRIEVAL[0].constant(scores)


def same_pairs(targets: Tensors) -> Tensor:
    """Whether image i and text j belong together, because one of them is also that of the other pair, bool (N, N)."""
    same_image = targets[IMAGE_NUMBER][:, None] == targets[IMAGE_NUMBER][None, :]
    same_text = targets[TEXT_NUMBER][:, None] == targets[TEXT_NUMBER][None, :]
    return same_image | same_text
