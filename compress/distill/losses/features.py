"""Losses on features as they are or through an adapter: direct L2, FitNets hints, cosine.

Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.distill.losses.projectors import adapters, joined, refuse_widths
from compress.train.loss_term import Answers, Joint, Layers, LossTerm, Need, Sight

if TYPE_CHECKING:
    from torch import Tensor, nn


def square(f_s: Tensor, f_t: Tensor) -> Tensor:
    """Mean squared distance of features.

        L_n = mean_i (f_s,i − f_t,i)²,   i over all of a sample's features

    Args:
        f_s: Student features, (N, …), adapted where widths differ.
        f_t: Teacher features, of the same shape.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    return (f_s - f_t).square().flatten(1).mean(dim=1)


def cosine(f_s: Tensor, f_t: Tensor) -> Tensor:
    """One minus the cosine of the angle between features.

        L_n = 1 − ⟨f_s, f_t⟩ / (‖f_s‖ ‖f_t‖)

    Args:
        f_s: Student features, (N, …), adapted where widths differ.
        f_t: Teacher features, of the same shape.

    Returns:
        Loss of each sample, (N,), from 0, where they point the same way, to 2.
    """
    from torch.nn import functional as F

    return 1 - F.cosine_similarity(f_s.flatten(1), f_t.flatten(1), dim=1)


def mean_of(values: Sequence[Tensor]) -> Tensor:
    """Mean over the matched pairs."""
    import torch

    return torch.stack(list(values)).mean(dim=0)


class Direct(LossTerm):
    """`direct:` in a recipe: L2 of features of equal width, without an adapter.

    Attributes:
        layers: Which layers.
    """

    layers: Layers = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    sees: ClassVar[Sight | None] = "maps"

    def prepare(self, joints: Sequence[Joint], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Refuse layers of different width."""
        refuse_widths(joints)
        return None

    def each(self, answers: Answers) -> Tensor:
        """See `square`."""
        return mean_of([square(f_s, f_t) for f_s, f_t in joined(answers)])


class Hint(LossTerm):
    """`hint:` in a recipe: L2 of features, the student's through a learned adapter where widths differ.

    Attributes:
        layers: Which layers.
    """

    layers: Layers = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    sees: ClassVar[Sight | None] = "maps"

    def prepare(self, joints: Sequence[Joint], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Adapters."""
        return adapters(joints)

    def each(self, answers: Answers) -> Tensor:
        """See `square`."""
        return mean_of([square(f_s, f_t) for f_s, f_t in joined(answers)])


class Cosine(LossTerm):
    """`cosine:` in a recipe: the direction of features, the student's through a learned adapter where widths differ.

    Attributes:
        layers: Which layers.
    """

    layers: Layers = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    sees: ClassVar[Sight | None] = "maps"

    def prepare(self, joints: Sequence[Joint], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Adapters."""
        return adapters(joints)

    def each(self, answers: Answers) -> Tensor:
        """See `cosine`."""
        return mean_of([cosine(f_s, f_t) for f_s, f_t in joined(answers)])


class Embedding(LossTerm):
    """`embedding:` in a recipe: L2 of what the embedding layers give (TinyBERT, Jiao et al. 2020, arXiv:1909.10351).

    Attributes:
        layers: Which layers; `auto` takes the embedding of words or patches.
    """

    layers: Layers = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    sees: ClassVar[Sight | None] = "embedding"

    def prepare(self, joints: Sequence[Joint], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Adapters."""
        return adapters(joints)

    def each(self, answers: Answers) -> Tensor:
        """See `square`."""
        return mean_of([square(f_s, f_t) for f_s, f_t in joined(answers)])
