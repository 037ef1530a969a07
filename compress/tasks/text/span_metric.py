"""Metrics of tags: F1 of entities, and accuracy of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import LOGITS
from compress.core.record import Metric
from compress.data.batch import TARGET, Tensors
from compress.tasks.class_results import ClassValues
from compress.tasks.metric import RatioOfSums, Scores
from compress.tasks.text.spans import OUTSIDE, Ints, Spans, TagScheme

if TYPE_CHECKING:
    from torch import Tensor

SPAN_F1 = Metric(name="span_f1", label="span F1", unit="fraction", higher_is_better=True)
MOST_TOKENS = 2**26
"""Tokens of a batch, for numbers of entities in 64 bits."""
TOKEN_ACCURACY = Metric(name="token_accuracy", label="token accuracy", unit="fraction", higher_is_better=True)


class SpanCounts(NamedTuple):
    """Counts of entities on a split, by type.

    Attributes:
        right: Entities with the right first token, last token and type, (T,).
        wrong: Other entities that the network names, (T,).
        missed: True entities that it does not name, (T,).
        single: True entities of one token, (T,).
        tokens: Tokens with a tag.
    """

    right: NDArray[np.float64]
    wrong: NDArray[np.float64]
    missed: NDArray[np.float64]
    single: NDArray[np.float64]
    tokens: float

    @classmethod
    def of(cls, sums: NDArray[np.float64]) -> SpanCounts:
        """From sums of the statistics of `SpanF1`, (4T + 1,)."""
        right, wrong, missed, single = sums[:-1].reshape(4, -1)
        return cls(right, wrong, missed, single, float(sums[-1]))

    @property
    def micro_f1(self) -> float:
        """2 TP / (2 TP + FP + FN) over all types; NaN without an entity."""
        right, others = 2 * self.right.sum(), self.wrong.sum() + self.missed.sum()
        return float(right / (right + others)) if right + others else float("nan")


class SpanF1:
    """F1 of entities: one is right if its first token, its last token and its type are; a part of it is wrong.

        F1 = 2 TP / (2 TP + FP + FN), summed over samples and types

    It equals `seqeval.metrics.f1_score` in its default mode (Nakayama 2018), which reads tags as the CoNLL-2000 evaluation.

    Args:
        tags: Names of the tags; None until the data are known.

    Attributes:
        info: Its description.
        is_mean: No.
    """

    info: Metric = SPAN_F1
    is_mean: bool = False

    def __init__(self, tags: Sequence[str] | None = None) -> None:
        self._scheme = None if tags is None else TagScheme.of(tags)

    @property
    def scheme(self) -> TagScheme:
        """What the tags mean.

        Raises:
            DataError: They are not known.
        """
        if self._scheme is None:
            msg = gettext("the span F1 needs the names of the tags; use the task that task.for_spec(data.spec) returns")
            raise DataError(msg)
        return self._scheme

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """TP, FP, FN and true entities of one token, of each type, and the number of tokens; float32 (N, 4T + 1).

        Tokens without a tag are left out of both sequences. A token whose logits are not finite is outside of entities, or an
        entity where it should be outside.
        """
        import torch

        logits, y = outputs[LOGITS], targets[TARGET]
        tags = logits.argmax(dim=2)
        undefined = ~logits.isfinite().all(dim=2)
        outside = torch.from_numpy(self.scheme.prefixes == OUTSIDE).to(y.device)
        entity = int(outside.logical_not().nonzero()[0])
        tags = torch.where(undefined, torch.where(outside[y.clamp(min=0)], entity, logits.shape[2]), tags)
        sample, place = (y >= 0).nonzero(as_tuple=True)
        numbers, count = sample.cpu().numpy(), len(y)
        true = self.scheme.find(y[sample, place].cpu().numpy(), numbers)
        named = self.scheme.find(tags[sample, place].cpu().numpy(), numbers)
        tokens = np.bincount(numbers, minlength=count)[:, None]
        return torch.from_numpy(np.concatenate([*self._counts(true, named, count), tokens], axis=1).astype(np.float32))

    def value(self, scores: Scores) -> float:
        """The F1 of these samples; NaN if they have no entity and none is named."""
        return SpanCounts.of(scores.sum(axis=0, dtype=np.float64)).micro_f1

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The value by how often each sample is drawn."""
        rows = scores.astype(np.float64)
        return lambda counts: SpanCounts.of(counts @ rows).micro_f1

    def _counts(self, true: Spans, named: Spans, samples: int) -> list[Ints]:
        """TP, FP, FN and true entities of one token, each (N, T)."""
        types = len(self.scheme.names)
        hit = np.isin(_codes(named, types), _codes(true, types))
        found = np.isin(_codes(true, types), _codes(named, types))

        def count(spans: Spans, chosen: NDArray[np.bool_]) -> Ints:
            cells = spans.samples[chosen] * types + spans.types[chosen]
            return np.bincount(cells, minlength=samples * types).reshape(samples, types)

        return [count(named, hit), count(named, ~hit), count(true, ~found), count(true, true.begins == true.ends)]


def _codes(spans: Spans, types: int) -> Ints:
    """A number for each entity, equal for equal first tokens, last tokens and types."""
    return (spans.begins * MOST_TOKENS + spans.ends) * types + spans.types


class TokenAccuracy(RatioOfSums):
    """Fraction of the tokens with a tag whose largest logit is that of the tag."""

    def __init__(self) -> None:
        super().__init__(TOKEN_ACCURACY)

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Right tokens and tokens with a tag of each sample, float32 (N, 2)."""
        import torch

        logits, y = outputs[LOGITS], targets[TARGET]
        known = y >= 0
        right = (logits.argmax(dim=2) == y) & known & logits.isfinite().all(dim=2)
        return torch.stack([right.sum(1), known.sum(1)], dim=1).float()


def type_f1s(scores: Scores) -> ClassValues:
    """The F1 of each type, its right entities, and the samples that have it.

    Args:
        scores: Statistics of `SpanF1`, (N, 4T + 1).
    """
    counts = SpanCounts.of(scores.sum(axis=0, dtype=np.float64))
    total = 2 * counts.right + counts.wrong + counts.missed
    values = np.where(total > 0, 2 * counts.right / np.maximum(total, 1), np.nan)
    right, _, missed, _ = scores[:, :-1].reshape(len(scores), 4, -1).transpose(1, 0, 2)
    return ClassValues(values, counts.right, ((right + missed) > 0).sum(axis=0).astype(np.int64))


def constant_span_f1(scores: Scores) -> float:
    """The F1 of the best answer that is the same for all tokens.

    `O` for all tokens has 0. A tag that begins an entity of type t makes each of M tokens an entity: with s_t true entities of
    one token and E true entities, F1 = 2 s_t / (M + E).

    Args:
        scores: Statistics of `SpanF1`, (N, 4T + 1).
    """
    counts = SpanCounts.of(scores.sum(axis=0, dtype=np.float64))
    total = counts.tokens + counts.right.sum() + counts.missed.sum()
    return float(2 * counts.single.max(initial=0) / total) if total else 0.0
