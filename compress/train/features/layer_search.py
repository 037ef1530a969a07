"""Layer map by similarity of representations on validation samples.

Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited", arXiv:1905.00414 (linear CKA).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compress.backends.eval_mode import eval_mode
from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.data.batch import Tensors
from compress.train.features.discover_layers import LayerCatalog, LayerInfo
from compress.train.features.hooks import capture
from compress.train.features.layer_maps import LayerPairs, split_embedding
from compress.train.loss_term import ATTENTION_MASK, FeatureKind

MOST_ROWS = 4096
"""Largest number of tokens, pairs of tokens or samples that are compared."""
SMALLEST = 1e-12


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of two representations of the same rows.

        CKA = ‖Yᵀ X‖_F² / (‖Xᵀ X‖_F ‖Yᵀ Y‖_F),   columns centred

    Args:
        x: (R, D).
        y: (R, D').

    Returns:
        From 0 to 1; 1 for equality up to rotation and scale.
    """
    x, y = (values.double() - values.double().mean(dim=0) for values in (x, y))
    norm = float((x.T @ x).norm() * (y.T @ y).norm())
    return float((y.T @ x).square().sum()) / max(norm, SMALLEST)


def as_rows(features: Tensor, mask: Tensor | None) -> Tensor:
    """Features as rows: tokens (N, L, D), pairs of tokens (N, heads, L, L) by head, maps by sample, without padding.

    Args:
        features: Of one layer, (N, …).
        mask: Which tokens are no padding, bool (N, L), or None.
    """
    if features.ndim == 3:
        rows = features.flatten(0, 1)
        kept = mask.flatten() if mask is not None and mask.shape == features.shape[:2] else None
    elif features.ndim == 4 and features.shape[2] == features.shape[3] and mask is not None:
        rows = features.permute(0, 2, 3, 1).flatten(0, 2)
        kept = (mask[:, :, None] & mask[:, None, :]).flatten() if mask.shape[1] == features.shape[2] else None
    elif features.ndim == 5:  # query, key and value, (N, 3, heads, L, d)
        rows = features.permute(0, 3, 1, 2, 4).flatten(0, 1).flatten(1)
        kept = mask.flatten() if mask is not None and mask.numel() == len(rows) else None
    else:
        return features.flatten(2).mean(dim=2) if features.ndim > 2 else features
    rows = rows if kept is None else rows[kept]
    step = max(1, len(rows) // MOST_ROWS)
    return rows[::step]


def search(
    student: LayerCatalog, teacher: LayerCatalog, kind: FeatureKind, inputs: Tensors
) -> tuple[LayerPairs, tuple[float, ...]]:
    """Match layers by `search_layer_map`; of hidden states the embedding layers with each other.

    The student is compared as it is before the training: of a student with fresh weights the map follows from what random
    features keep of the input.

    Args:
        student: Layers of the student.
        teacher: Layers of the teacher.
        kind: Kind of features.
        inputs: Named inputs of validation samples.

    Returns:
        The pairs, and the similarity of each.

    Raises:
        ModelError: A network has no layer of this kind.
    """
    embedding, product = split_embedding(student, teacher, kind)
    students, teachers = (list(dict.fromkeys(layers)) for layers in zip(*product, strict=True))
    features_s = _features(student, [*(a for a, _ in embedding), *students], inputs)
    features_t = _features(teacher, [*(b for _, b in embedding), *teachers], inputs)
    if len({layer.shape[0] for layer in (*students, *teachers)}) > 1 and kind == "hidden":
        msg = gettext(
            "layers: searched compares layers that read the same tokens, and those of an encoder and of a decoder read others; "
            "use uniform, or name layers"
        )
        raise ModelError(msg)
    mask = inputs.get(ATTENTION_MASK)
    mask = None if mask is None else mask.bool()
    first = len(embedding)
    of_embedding = [
        linear_cka(as_rows(a, mask), as_rows(b, mask)) for a, b in zip(features_s[:first], features_t[:first], strict=True)
    ]
    pairs, similarity = search_layer_map(features_s[first:], features_t[first:], mask)
    return embedding + [(students[m], teachers[n]) for m, n in pairs], (*of_embedding, *similarity)


def _features(catalog: LayerCatalog, layers: Sequence[LayerInfo], inputs: Tensors) -> list[Tensor]:
    hooks = [layer.hook for layer in layers]
    with eval_mode(catalog.module), torch.no_grad(), capture(catalog.module, hooks) as activations:
        catalog.module(*inputs.values())
    return [activations[hook] for hook in hooks]


def search_layer_map(
    students: Sequence[Tensor], teachers: Sequence[Tensor], mask: Tensor | None
) -> tuple[list[tuple[int, int]], list[float]]:
    """The increasing map g with the largest Σ_m CKA(student m, teacher g(m)).

    Where the student has more layers than the teacher, its last layers are matched.

    Args:
        students: Features of the M layers of the student.
        teachers: Features of the N layers of the teacher on the same samples.
        mask: See `as_rows`.

    Returns:
        Indices of the matched layers, and the similarity of each pair.
    """
    count = min(len(students), len(teachers))
    first = len(students) - count
    rows_s, rows_t = ([as_rows(values.float(), mask) for values in features] for features in (students[first:], teachers))
    similarity = torch.tensor([[linear_cka(a, b) for b in rows_t] for a in rows_s], dtype=torch.float64)
    best = _best_increasing(similarity)
    return [(first + m, n) for m, n in enumerate(best)], [float(similarity[m, n]) for m, n in enumerate(best)]


def _best_increasing(values: Tensor) -> list[int]:
    """Columns n_1 < n_2 < … of the rows with the largest sum of values, by dynamic programming."""
    rows, columns = values.shape
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
    for row in range(rows):
        for column in range(row, columns - (rows - row - 1)):
            before = max((best[row - 1, n] for n in range(row - 1, column)), default=(0.0, ())) if row else (0.0, ())
            best[row, column] = (before[0] + float(values[row, column]), (*before[1], column))
    return list(max(best[rows - 1, column] for column in range(rows - 1, columns))[1])
