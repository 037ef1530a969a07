"""Metrics of vectors of pairs: rank correlation with scores, and finding the partner of a text among all of the split."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.core.record import Metric
from compress.data.batch import Tensors
from compress.tasks.metric import Scores

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDING, PAIR_EMBEDDING = "embedding", "pair_embedding"
PAIR = "pair_"
"""Prefix of the targets that are the inputs of the second text."""
SCORE = "score"
SPEARMAN = Metric(name="spearman", label="Spearman correlation", unit="1", higher_is_better=True)
AT = 10
"""Places of a list that count in `ndcg_at_10` and `mrr_at_10`."""
CHUNK = 512
"""Texts that are compared with all others at once."""
TIE = 1e-6
"""Difference of equal cosines by rounding."""
KEYS = 2
"""Columns of the key of a text."""


class Spearman:
    """Spearman's rank correlation of the cosine of a pair with its score, in [−1, 1]; equal values have their mean rank.

    Attributes:
        info: Its description.
        is_mean: No.
    """

    info: Metric = SPEARMAN
    is_mean: bool = False

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Cosine and score of each pair, float64 (N, 2); a vector that is not finite has the cosine −1."""
        import torch
        from torch.nn import functional as F

        cosine = F.cosine_similarity(outputs[EMBEDDING].double(), outputs[PAIR_EMBEDDING].double(), dim=1)
        return torch.stack([cosine.nan_to_num(-1.0), targets[SCORE].double().flatten()], dim=1)

    def value(self, scores: Scores) -> float:
        """The correlation of these pairs; NaN where the scores are equal, 0 where the cosines are."""
        cosine, score = (_ranks(column) for column in scores.astype(np.float64).T)
        if not score.any():
            return float("nan")
        norm = float(np.sqrt((cosine**2).sum() * (score**2).sum()))
        return float(cosine @ score) / norm if norm else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks less their mean, (N,); values that differ by rounding alone are equal."""
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(np.round(values / TIE) if np.isfinite(values).all() else values)
    centred: NDArray[np.float64] = ranks - ranks.mean()
    return centred


class Retrieval:
    """How near the top the partner of a text is, of all second texts of the split by cosine; equal cosines share their places.

        recall@k = mean [r ≤ k],   MRR@k = mean [r ≤ k] / r,   nDCG@k = mean [r ≤ k] / log₂(1 + r),   r the place, from 1

    A text that stands in several pairs is one of the texts. nDCG as in Järvelin & Kekäläinen 2002, with one right text.

    Args:
        kind: `recall`, `mrr` or `ndcg`.
        k: Places that count.

    Attributes:
        info: Its description.
        is_mean: No: a place depends on the other samples.
    """

    is_mean: bool = False

    def __init__(self, kind: str, k: int) -> None:
        self.kind, self.k = kind, k
        label = {"recall": f"recall@{k}", "mrr": f"MRR@{k}", "ndcg": f"nDCG@{k}"}[kind]
        self.info = Metric(name=f"{kind}_at_{k}", label=label, unit="fraction", higher_is_better=True)

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """A key of the second text, and both vectors, of length 1; float32 (N, 2 + 2D)."""
        import torch
        from torch.nn import functional as F

        vectors = [F.normalize(outputs[name].float(), dim=1).nan_to_num(0.0) for name in (EMBEDDING, PAIR_EMBEDDING)]
        return torch.cat([text_keys(targets), *vectors], dim=1)

    def value(self, scores: Scores) -> float:
        """The mean over these samples, whose second texts are all that there are."""
        return float(self.gains(self._places(scores)).mean())

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The value by how often each sample is drawn, with all second texts of the split in each draw."""
        gains = self.gains(self._places(scores))
        return lambda counts: float(counts @ gains / counts.sum())

    def gains(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each place counts, in [0, 1].

        Args:
            places: r, (N,).
        """
        gain = {"recall": np.ones_like(places), "mrr": 1 / places, "ndcg": 1 / np.log2(1 + places)}[self.kind]
        return np.where(places <= self.k, gain, 0.0)

    def constant(self, scores: Scores) -> float:
        """The value of a network that gives all texts the same vector: each place is the mean one."""
        others = len(np.unique(scores[:, :KEYS], axis=0))
        return float(self.gains(np.array([(1 + others) / 2]))[0])

    def _places(self, scores: Scores) -> NDArray[np.float64]:
        """Place of each partner, (N,)."""
        _, first, text = np.unique(scores[:, :KEYS], axis=0, return_index=True, return_inverse=True)
        a, b = np.split(scores[:, KEYS:].astype(np.float32), 2, axis=1)
        others, text = b[first], text.ravel()
        places = []
        for start in range(0, len(a), CHUNK):
            cosines = a[start : start + CHUNK] @ others.T
            own = cosines[np.arange(len(cosines)), text[start : start + CHUNK], None]
            above, equal = (cosines > own + TIE).sum(1), (np.abs(cosines - own) <= TIE).sum(1)
            places.append(1 + above + (equal - 1) / 2)
        return np.concatenate(places)


def text_keys(targets: Tensors) -> Tensor:
    """A key of the second text of each pair, equal for equal tokens, float32 (N, 2); the number of the sample without tokens.

    Args:
        targets: With the second text's inputs, named as the first one's with `PAIR` before.
    """
    import torch

    tokens = targets.get(f"{PAIR}input_ids")
    if tokens is None:
        tokens = next(values for name, values in targets.items() if name.startswith(PAIR))
    mask = targets.get(f"{PAIR}attention_mask")
    rows = tokens.flatten(1)
    if mask is not None:
        rows = torch.where(mask.flatten(1) > 0, rows + 1, torch.zeros_like(rows))
    places = torch.arange(rows.shape[1], device=rows.device)
    keys = []
    for factor, modulus in ((1_000_003, 16_777_213), (754_267, 16_777_199)):
        powers = (places * factor + 12_289) % modulus * (places + 7) % modulus
        keys.append((rows * powers % modulus).sum(1) % modulus)
    return torch.stack(keys, dim=1).float()


def same_texts(targets: Tensors) -> Tensor:
    """Whether the second texts of two pairs are equal, bool (N, N)."""
    keys = text_keys(targets)
    same: Tensor = (keys[:, None] == keys[None, :]).all(dim=2)
    return same
