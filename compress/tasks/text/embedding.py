"""Vectors of sentences: texts of similar meaning have vectors of similar direction. torch is imported only for computations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from pydantic import BaseModel, Field

from compress.core.errors import CompressError, DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import UNLABELLED, Batch, Split, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.calibration_samples import Sample
from compress.tasks.capability import Capability
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.text.infer_codes import EMBED
from compress.tasks.text.similarity_metric import (
    AT,
    EMBEDDING,
    PAIR,
    PAIR_EMBEDDING,
    SCORE,
    Retrieval,
    Spearman,
    same_texts,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

Pairs = Literal["scored", "matching"]
DIMENSIONS = "dimensions"
METRICS: Mapping[str, tuple[TaskMetric, ...]] = {
    "scored": (Spearman(),),
    "matching": (Retrieval("ndcg", AT), Retrieval("mrr", AT), Retrieval("recall", 1), Retrieval("recall", AT)),
}


class EmbeddingOptions(FrozenModel):
    """Options of the task `embedding`.

    Attributes:
        pairs: `scored`: pairs of texts with a score of their similarity, of any range. `matching`: pairs that belong together,
            such as a question and its answer; the other texts of a batch are negatives.
        scale: Factor of the cosines in the loss.
    """

    pairs: Pairs = "scored"
    scale: float = Field(default=20.0, gt=0.0)


class TextEmbedding(Task):
    """A vector for each text, (N, D). A sample is a pair of texts, through which the network runs one after the other.

    The inputs are those of the first text; the targets `pair_input_ids`, `pair_attention_mask` and so on are those of the
    second one, and `score` is their similarity, float32 (N,). Training samples may be single texts, for distillation alone.

    Args:
        pairs: `scored` or `matching`.
        scale: Factor of the cosines in the loss.

    Attributes:
        name: `embedding`.
        metrics: The deciding metric is `spearman` for scored pairs, `ndcg_at_10` for matching ones.
        capabilities: A sample has two rows, which are no classes.
        settings: `pairs` and `scale`.
        infer_code: Prints the vector of a text, or the cosine of two.

    Raises:
        CompressError: The kind of pairs is unknown, or the scale is not above 0.
    """

    name: ClassVar[str] = "embedding"
    settings: ClassVar[type[BaseModel]] = EmbeddingOptions
    metrics: ClassVar[tuple[TaskMetric, ...]] = tuple(metric for metrics in METRICS.values() for metric in metrics)
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    infer_code: ClassVar[InferCode] = EMBED

    def __init__(self, pairs: Pairs = "scored", scale: float = 20.0) -> None:
        if pairs not in get_args(Pairs) or not scale > 0:
            kinds = ", ".join(get_args(Pairs))
            msg = gettext(
                "embedding has pairs {pairs!r} and scale {scale}; use one of {kinds}, and a scale above 0",
                pairs=pairs,
                scale=scale,
                kinds=kinds,
            )
            raise CompressError(msg)
        self.pairs, self.scale = pairs, scale
        self.metrics = METRICS[pairs]  # type: ignore[misc]

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Vectors, (batch, dimensions)."""
        return (TensorSpec(name=EMBEDDING, shape=(BATCH, DIMENSIONS)),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """The score of each pair, (batch,), for scored pairs."""
        return (TensorSpec(name=SCORE, shape=(BATCH,)),) if self.pairs == "scored" else ()

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the data have no classes.

        Raises:
            DataError: They have.
        """
        if spec.classes:
            msg = gettext(
                "embedding takes pairs of texts; these data have the classes {classes}", classes=", ".join(spec.classes[:5])
            )
            raise DataError(msg)

    def check_batch(self, batch: Batch, spec: NetworkSpec) -> None:
        """Check that the samples are pairs.

        Raises:
            DataError: They are single texts, or the score is missing.
        """
        missing = [f"{PAIR}{name}" for name in batch.inputs if f"{PAIR}{name}" not in batch.targets]
        if missing:
            msg = gettext(
                "task embedding needs pairs of texts for its metrics, with the targets {missing}; give two texts per sample",
                missing=", ".join(missing),
            )
            raise DataError(msg)
        super().check_batch(batch, spec)

    def run_batch(self, run: Callable[[Batch], Tensors], batch: Batch) -> Tensors:
        """Vectors of both texts of each pair, by running the network on each."""
        return _with_pair(lambda inputs: run(batch._replace(inputs=inputs)), batch.inputs, batch.targets)

    def training_forward(self, module: nn.Module, inputs: Tensors, targets: Tensors) -> Tensors:
        """Vectors of both texts of each pair, or of single texts."""
        return _with_pair(lambda each: self.forward(module, each), inputs, targets)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:  # noqa: ARG002
        """`ordered_cosines` of scored pairs, `multiple_negatives` of matching ones; 0 for single texts.

        Args:
            outputs: Vectors, (N, D) each.
            targets: Scores, and tokens of the second texts.
            label_smoothing: Not used.

        Returns:
            Scalar, at least 0.
        """
        from torch.nn import functional as F

        from compress.tasks.text.contrastive_loss import multiple_negatives, ordered_cosines

        a, b = outputs[EMBEDDING], outputs.get(PAIR_EMBEDDING)
        if b is None:
            return a.sum() * 0.0
        if self.pairs == "matching":
            return multiple_negatives(a, b, same_texts(targets), scale=self.scale)
        return ordered_cosines(F.cosine_similarity(a, b, dim=1), targets[SCORE].flatten(), scale=self.scale)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:  # noqa: ARG002
        """The vectors times √D, those of the second texts after those of the first ones, without classes.

        So the squared error of a row, a mean over D values, is the squared distance of the vectors: 2 − 2 cos for length 1.
        """
        import torch

        vectors = [outputs[name] for name in (EMBEDDING, PAIR_EMBEDDING) if name in outputs]
        rows = torch.cat(vectors) * vectors[0].shape[1] ** 0.5
        samples = torch.arange(len(vectors[0]), device=rows.device).repeat(len(vectors))
        return Rows(rows, torch.full((len(rows),), UNLABELLED, device=rows.device), samples)

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Samples of all lengths; arguments as for `Task.calibration`."""
        from compress.tasks.text.samples_by_length import samples_by_length

        return samples_by_length(split, samples, seed)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """What a network reaches that gives all texts the same vector; None for a split that is not known."""
        scores, metric = statistics.get(self.metric), self.deciding
        if not isinstance(metric, Retrieval):
            return 0.0
        return None if scores is None else metric.constant(scores)


def _with_pair(run: Callable[[Tensors], Tensors], inputs: Tensors, targets: Tensors) -> Tensors:
    outputs = dict(run(inputs))
    if all(f"{PAIR}{name}" in targets for name in inputs):
        outputs[PAIR_EMBEDDING] = run({name: targets[f"{PAIR}{name}"] for name in inputs})[EMBEDDING]
    return outputs
