"""Which layer of the teacher each layer of the student learns from.

    uniform     g(m) = m·N / M, rounded up            (TinyBERT, Jiao et al. 2020, arXiv:1909.10351)
    first       g(m) = m                              ("bottom" of the same paper)
    last        g(m) = m + N − M                      ("top" of the same paper)
    learned     all layers, weighted by softmax(a_m)  (as in ALP-KD, Passban et al. 2021, arXiv:2012.14022)
    all         every layer with every layer, for a loss that weighs them itself, see `dynamic_hidden_states`
    searched    the g that increases and has the largest sum of similarities, see `layer_search`

for m = 1 … M layers of the student and N of the teacher. Where M > N, only the last N layers of the student are matched, with
`first` the first N.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.train.features.discover_layers import LayerCatalog, LayerInfo
from compress.train.loss_term import FeatureKind, LayerMap

LayerPairs = list[tuple[LayerInfo, LayerInfo]]
Layers = list[LayerInfo]


def map_indices(rule: LayerMap, students: int, teachers: int) -> list[tuple[int, int]]:
    """Indices of the matched layers, from 0, by `uniform`, `first` or `last`.

    Args:
        rule: The rule; `learned` and `searched` begin as `uniform`.
        students: M, at least 1.
        teachers: N, at least 1.
    """
    count = min(students, teachers)
    if rule == "first":
        return [(m, m) for m in range(count)]
    if rule == "last":
        return [(students - count + m, teachers - count + m) for m in range(count)]
    return [(students - count + m, -(-(m + 1) * teachers // count) - 1) for m in range(count)]


def split_embedding(student: LayerCatalog, teacher: LayerCatalog, kind: FeatureKind) -> tuple[LayerPairs, LayerPairs]:
    """The pair of embedding layers of hidden states, and all pairs of layers that a rule may match, student by student.

    Returns:
        At most one pair, and the product of the other layers.

    Raises:
        ModelError: A network has no layer of this kind.
    """
    students, teachers = candidates(student, teacher, kind)
    embedding: LayerPairs = []
    if kind == "hidden" and students[0] in student.layers_of_kind("embedding"):
        if teachers[0] in teacher.layers_of_kind("embedding"):
            embedding = [(students[0], teachers[0])]
            teachers = teachers[1:]
        students = students[1:]
    return embedding, [(a, b) for a in students for b in teachers]


def map_layers(rule: LayerMap, student: LayerCatalog, teacher: LayerCatalog, kind: FeatureKind) -> LayerPairs:
    """Match layers by a rule; of hidden states the embedding layers with each other.

    Raises:
        ModelError: A network has no layer of this kind.
    """
    embedding, product = split_embedding(student, teacher, kind)
    if rule == "all":
        return embedding + product
    students, teachers = list(dict.fromkeys(a for a, _ in product)), list(dict.fromkeys(b for _, b in product))
    pairs = [pair for a, b in _sides(students, teachers, kind) for pair in _by_rule(rule, a, b)]
    return embedding + pairs


def _by_rule(rule: LayerMap, students: Layers, teachers: Layers) -> LayerPairs:
    return [(students[m], teachers[n]) for m, n in map_indices(rule, len(students), len(teachers))]


def _sides(students: Layers, teachers: Layers, kind: FeatureKind) -> list[tuple[Layers, Layers]]:
    """Layers that a rule matches with each other: of hidden states those of encoders, and those of decoders, apart.

    Both networks read the same sample, so that hidden states of one side have the same number of tokens.
    """
    lengths = [dict.fromkeys(layer.shape[0] for layer in layers) for layers in (students, teachers)]
    if kind != "hidden" or {*lengths[0]} != {*lengths[1]}:
        return [(students, teachers)]
    return [tuple([a for a in each if a.shape[0] == length] for each in (students, teachers)) for length in lengths[0]]  # type: ignore[misc]  # two of them


def match_layers(student: LayerCatalog, teacher: LayerCatalog, kind: FeatureKind) -> LayerPairs:
    """Match layers automatically: maps by resolution if the networks have a common resolution, other features by `uniform`.

    Raises:
        ModelError: No layers of the two networks can be matched.
    """
    students, teachers = candidates(student, teacher, kind)
    first_student, first_teacher = students[0], teachers[0]
    if kind == "maps" and len(first_student.shape) != len(first_teacher.shape):
        msg = gettext(
            "layers cannot be matched automatically: the student's {name} has shape {shape}, "
            "the teacher's {hook_name} {first_teacher_shape}; name layers of the same kind, or use rkd_distance",
            name=first_student.hook.name,
            shape=first_student.shape,
            hook_name=first_teacher.hook.name,
            first_teacher_shape=first_teacher.shape,
        )
        raise ModelError(msg)
    if kind == "maps" and len(first_student.shape) == 3:
        by_size = {layer.shape[1:]: layer for layer in teachers}
        same_size = [(layer, by_size[layer.shape[1:]]) for layer in students if layer.shape[1:] in by_size]
        if same_size:
            return same_size
    return map_layers("uniform", student, teacher, kind)


def candidates(
    student: LayerCatalog, teacher: LayerCatalog, kind: FeatureKind
) -> tuple[tuple[LayerInfo, ...], tuple[LayerInfo, ...]]:
    """The layers of this kind of both networks.

    Raises:
        ModelError: A network has none.
    """
    students, teachers = student.layers_of_kind(kind), teacher.layers_of_kind(kind)
    for catalog, layers in ((student, students), (teacher, teachers)):
        if not layers:
            raise ModelError(_no_candidate(catalog, kind))
    return students, teachers


class LearnedLayers(nn.Module):
    """Weighted means of the teacher's layers, one for each layer of the student: f_m = Σ_n w_mn f_n, w_m = softmax(a_m).

    a is 0 at first, so that all layers count alike, and is trained with the student.

    Args:
        students: M.
        teachers: N.
    """

    def __init__(self, students: int, teachers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(students, teachers))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The M means of N features of one shape."""
        stacked = torch.stack(list(features))
        return [(weights.reshape(-1, *[1] * (stacked.ndim - 1)) * stacked).sum(dim=0) for weights in self.weights()]

    def weights(self) -> Tensor:
        """w, (M, N); each row sums to 1."""
        return self.logits.softmax(dim=1)


def _no_candidate(catalog: LayerCatalog, kind: FeatureKind) -> str:
    readable = gettext("no attention layer whose scores can be computed from its query and key layers")
    reasons = {
        "maps": gettext("no layer that returns maps or tokens"),
        "attention": gettext("no attention layer with a readable map"),
        "vector": gettext("no fully connected head"),
        "embedding": gettext("no layer that embeds words or patches"),
        "hidden": gettext("no blocks with attention"),
        "scores": readable,
        "relations": readable,
    }
    return gettext(
        "the {role} has {reasons}; name layers with `layers:`, or use a loss on logits",
        role=catalog.role,
        reasons=reasons[kind],
    )
