"""Retrieval between images and texts: how near the top what belongs to an image, or to a text, is among all of the split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.core.record import Metric
from compress.data.batch import Tensors
from compress.data.image_text.names import CLASS_NUMBER, IMAGE_NUMBER, TEXT_NUMBER
from compress.tasks.metric import Scores
from compress.tasks.text.similarity_metric import CHUNK, TIE, Retrieval

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_EMBEDDING, TEXT_EMBEDDING = "image_embedding", "text_embedding"
"""Outputs of a network, (N, D) each."""
CLASS_EMBEDDING = "class_embedding"
"""Vector of the sentence about the class of each image, (N, D)."""
Way = Literal["both", "image_to_text", "text_to_image"]
LABELS: Mapping[Way, str] = {"both": "", "image_to_text": "image→text", "text_to_image": "text→image"}
NUMBERS = 2
"""Columns of the numbers of image and text."""


class Ranked(NamedTuple):
    """Images and texts of a split, each once.

    Attributes:
        images: Vectors of the images, (I, D).
        texts: Vectors of the texts, (T, D).
        image: Image of each pair, (N,).
        text: Text of each pair, (N,).
    """

    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    image: NDArray[np.int64]
    text: NDArray[np.int64]


class CrossModalRetrieval(Retrieval):
    """Recall of the text of an image among all texts of the split, of the image of a text among all images, or their mean.

        recall@k = mean_n [r_n ≤ k],   r_n = 1 + number of wrong ones with a larger cosine than the best right one

    A text of several images, or an image of several texts, stands once among the candidates, and any of its pairs is right.
    Equal cosines share their places. As for Flickr30k and COCO in Karpathy & Fei-Fei 2015, arXiv:1412.2306.

    Args:
        k: Places that count.
        way: What is asked for.

    Attributes:
        info: Its description.
        is_mean: No: a place depends on the other samples.
    """

    is_mean: bool = False

    def __init__(self, k: int, way: Way = "both") -> None:
        super().__init__("recall", k)
        self.way = way
        prefix = "" if way == "both" else f"{way}_"
        label = " ".join(filter(None, (LABELS[way], f"recall@{k}")))
        self.info = Metric(name=f"{prefix}recall_at_{k}", label=label, unit="fraction", higher_is_better=True)

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Numbers of image and text, and both vectors, of length 1; float32 (N, 2 + 2D)."""
        return numbered_vectors(
            (targets[IMAGE_NUMBER], targets[TEXT_NUMBER]), (outputs[IMAGE_EMBEDDING], outputs[TEXT_EMBEDDING])
        )

    def gains(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the places count, in [0, 1]; the mean of both ways.

        Args:
            places: r of each way, (N, ways).
        """
        counted: NDArray[np.float64] = (places <= self.k).mean(axis=1, dtype=np.float64)
        return counted

    def constant(self, scores: Scores) -> float:
        """The expected value of candidates in random order, with one right candidate each: k / candidates.

        Args:
            scores: Of the split.
        """
        ranked = ranked_pairs(scores)
        texts, images = (min(1.0, self.k / len(each)) for each in (ranked.texts, ranked.images))
        return {"both": (texts + images) / 2, "image_to_text": texts, "text_to_image": images}[self.way]

    def _places(self, scores: Scores) -> NDArray[np.float64]:
        return self._of(ranked_pairs(scores))

    def _of(self, ranked: Ranked) -> NDArray[np.float64]:
        """Places of the ways, (N, ways)."""
        forward = [places_of(*ranked)] if self.way != "text_to_image" else []
        turned = (ranked.texts, ranked.images, ranked.text, ranked.image)
        return np.stack([*forward, *([places_of(*turned)] if self.way != "image_to_text" else [])], axis=1)


class ZeroShotAccuracy(CrossModalRetrieval):
    """Fraction of the images whose most similar sentence is the one about their class, of the classes of the split.

    Radford et al. 2021, CLIP, arXiv:2103.00020, section 3.1. The network was trained on captions, not on the classes.

    Attributes:
        info: Its description.
        is_mean: No.
    """

    def __init__(self) -> None:
        super().__init__(1, "image_to_text")
        self.info = Metric(name="zero_shot_accuracy", label="zero-shot accuracy", unit="fraction", higher_is_better=True)

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Number of image and class, the vectors of the image and of the sentence about its class; float32 (N, 2 + 2D)."""
        return numbered_vectors(
            (targets[IMAGE_NUMBER], targets[CLASS_NUMBER]), (outputs[IMAGE_EMBEDDING], outputs[CLASS_EMBEDDING])
        )


def numbered_vectors(numbers: tuple[Tensor, Tensor], vectors: tuple[Tensor, Tensor]) -> Tensor:
    """Two numbers and two vectors, of length 1, of each sample, float32 (N, 2 + 2D).

    Args:
        numbers: int64 (N,) each, below 2²⁴.
        vectors: (N, D) each; one that is not finite becomes 0.
    """
    import torch
    from torch.nn import functional as F

    columns = [torch.stack(numbers, dim=1).float()]
    columns += [F.normalize(each.float(), dim=1).nan_to_num(0.0) for each in vectors]
    return torch.cat([columns[0].to(columns[1].device), *columns[1:]], dim=1)


def ranked_pairs(scores: Scores) -> Ranked:
    """Images and texts of statistics, each once."""
    numbers, vectors = scores[:, :NUMBERS], scores[:, NUMBERS:].astype(np.float32)
    images, texts = np.split(vectors, 2, axis=1)
    _, first_image, image = np.unique(numbers[:, 0], return_index=True, return_inverse=True)
    _, first_text, text = np.unique(numbers[:, 1], return_index=True, return_inverse=True)
    return Ranked(images[first_image], texts[first_text], image.ravel().astype(np.int64), text.ravel().astype(np.int64))


def places_of(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], query: NDArray[np.int64], candidate: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Place of the best right candidate of the query of each pair among the wrong ones, from 1, (N,).

    Args:
        queries: Vectors of length 1, (Q, D).
        candidates: Vectors of length 1, (C, D).
        query: Query of each pair, (N,).
        candidate: Candidate of each pair, (N,).
    """
    right = np.zeros((len(queries), len(candidates)), dtype=bool)
    right[query, candidate] = True
    places = np.empty(len(queries))
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, start + CHUNK)
        cosines = queries[rows] @ candidates.T
        best = np.where(right[rows], cosines, -np.inf).max(axis=1, keepdims=True)
        wrong = ~right[rows]
        above = (wrong & (cosines > best + TIE)).sum(axis=1)
        equal = (wrong & (np.abs(cosines - best) <= TIE)).sum(axis=1)
        places[rows] = 1 + above + equal / 2
    found: NDArray[np.float64] = places[query]
    return found
