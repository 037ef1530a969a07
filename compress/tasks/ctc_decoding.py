"""Texts from the outputs of a network that is trained by connectionist temporal classification (CTC).

Such a network has K logits for each frame of time, or column of an image; class `BLANK` stands for no character. A path of one
class for each frame gives a text by B: equal neighbours are merged, then blanks are left out, so that `a a - a b b` is `aab`.

Graves et al. 2006, "Connectionist Temporal Classification", ICML.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compress.data.characters import BLANK, BLANK_NAME

__all__ = ["BLANK", "BLANK_NAME", "collapse", "greedy_classes", "greedy_texts", "text_of"]


def collapse(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """B of a path: equal neighbours merged, then blanks left out.

    Args:
        path: Class of each frame, (T,).
    """
    if not len(path):
        return path
    kept = np.concatenate([[True], path[1:] != path[:-1]]) & (path != BLANK)
    collapsed: NDArray[np.int64] = path[kept]
    return collapsed


def greedy_classes(logits: NDArray[np.floating]) -> list[NDArray[np.int64]]:
    """Classes of each sample by the likeliest path: B of the largest logit of each frame, section 3.2 of the paper.

    A frame with a logit that is not finite counts as blank.

    Args:
        logits: (N, T, K), with `BLANK` first.
    """
    paths = np.where(np.isfinite(logits).all(axis=2), logits.argmax(axis=2), BLANK).astype(np.int64)
    return [collapse(path) for path in paths]


def text_of(classes: Sequence[int] | NDArray[np.int64], names: Sequence[str]) -> str:
    """The text of classes; blanks and negative numbers, which fill shorter targets, stand for nothing.

    Args:
        classes: Class numbers.
        names: Name of each class: a character, or a part of a word.
    """
    return "".join(names[int(each)] for each in classes if int(each) > BLANK)


def greedy_texts(logits: NDArray[np.floating], names: Sequence[str]) -> list[str]:
    """The text of each sample by the likeliest path, see `greedy_classes`.

    Args:
        logits: (N, T, K), with `BLANK` first.
        names: Name of each of the K classes.
    """
    return [text_of(classes, names) for classes in greedy_classes(logits)]
