"""Layer-wise dynamic distillation: hidden-state terms whose weights and layer map follow the student during training.

No paper of the name "SDD, layer-wise dynamic" is known to this package; the parts are those of three papers.

    d_mn   distance of the student's hidden states m, projected, to the teacher's n, see `hidden_states`
    w_mn   softmax over n of −d_mn / mean_n d_mn: the map follows what the student's layer is nearest to now
           (attention over the teacher's layers as in ALP-KD, Passban et al. 2021, arXiv:2012.14022)
    a_m    max(0, cos(∂L / ∂h_m, ∂d_m / ∂h_m)) with the loss L of the task: a layer whose term pulls against the task rests
           (Du et al. 2018, "Adapting Auxiliary Losses Using Gradient Similarity", arXiv:1812.02224)
    s_m    learned log-variance (Kendall et al. 2018, arXiv:1705.07115): layers that cannot follow weigh less

    L_hid = 1/M Σ_m ½ (a_m exp(−s_m) d_m + s_m),   d_m = Σ_n w_mn d_mn

w and a have no gradient. With `weights: equal`, `map: uniform` and `agreement: false` it is the loss `hidden_states` without
embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from compress.distill.losses.encoders.hidden_states import hidden_states, refuse_other_than_tokens
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn


class DynamicHiddenStates(LossTerm):
    """`dynamic_hidden_states:` in a recipe, see the module.

    Attributes:
        map: `nearest` maps each layer of the student to the teacher's by the present distances; `uniform` keeps one map.
        weights: `uncertainty` learns s; `equal` keeps s = 0, without the factor ½.
        agreement: Whether a layer counts by how far its gradient agrees with that of the task's loss, and rests in a step where
            it does not. It costs a backward pass; batches without labels go without.
    """

    map: Literal["nearest", "uniform"] = "nearest"
    weights: Literal["uncertainty", "equal"] = "uncertainty"
    agreement: bool = True
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "hidden"
    aligns_tokens: ClassVar[bool] = True

    @property
    def layers(self) -> LayerSelection:
        """Which layers are matched: all with all, or by the rule `uniform`."""
        return "all" if self.map == "nearest" else "uniform"

    @property
    def takes_embedding(self) -> bool:
        """The layers that embed words are no part of it."""
        return False

    @property
    def trains_layers_only(self) -> bool:
        """Whether the outputs have no part in it."""
        return True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """A projection for each pair of a student's layer and the teacher's width, and s.

        Raises:
            ModelError: Layers do not return tokens.
        """
        import torch
        from torch import nn

        refuse_other_than_tokens(matched)
        students = list(dict.fromkeys(layers.student for layers in matched))
        maps: dict[str, nn.Module] = {}
        for layers in matched:
            small, large = layers.student_shape[-1], layers.teacher_shape[-1]
            place = f"{students.index(layers.student)} {large}"
            maps.setdefault(place, nn.Identity() if small == large else nn.Linear(small, large))
        modules = nn.ModuleDict({"maps": nn.ModuleDict(maps)})
        modules["log_variance"] = nn.ParameterList([nn.Parameter(torch.zeros(len(students)))])
        return modules

    def forward(self, inputs: LossInputs) -> Tensor:
        """L_hid, a scalar."""
        import torch

        modules = inputs.modules
        assert modules is not None  # noqa: S101  # `prepare` builds them
        maps, log_variance = modules["maps"], modules["log_variance"][0]  # type: ignore[index]
        terms, tensors = layer_distances(inputs, maps)
        shares = [(-d.detach() / d.detach().mean().clamp_min(torch.finfo(d.dtype).tiny)).softmax(0) for d in terms]
        d = torch.stack([(w * distances).sum() for w, distances in zip(shares, terms, strict=True)])
        labelled = self.agreement and bool((inputs.targets >= 0).any())
        a = gradient_agreement(inputs.task_loss(), d, tensors) if labelled else torch.ones_like(d)
        if self.weights == "equal":
            return (a * d).mean()
        loss: Tensor = (0.5 * (a * (-log_variance).exp() * d + log_variance)).mean()
        return loss


def layer_distances(inputs: LossInputs, maps: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """For each layer of the student its distances d_m1 … d_mN, (N,) each, and its hidden states.

    Args:
        inputs: With features of the matched pairs, those of a student's layer one after the other.
        maps: Projections by the place of the layer and the teacher's width.
    """
    import torch

    groups: dict[int, list[Tensor]] = {}
    tensors: dict[int, Tensor] = {}
    for pair in inputs.features:
        source = pair.student if pair.source is None else pair.source
        tensors.setdefault(id(source), source)
        place = list(tensors).index(id(source))
        projected = maps[f"{place} {pair.teacher.shape[-1]}"](pair.student)  # type: ignore[index]
        groups.setdefault(id(source), []).append(hidden_states(projected, pair.teacher, inputs.token_mask).mean())
    return [torch.stack(each) for each in groups.values()], list(tensors.values())


def gradient_agreement(loss: Tensor, d: Tensor, hidden: Sequence[Tensor]) -> Tensor:
    """Factors a_m = max(0, cos(∂L / ∂h_m, ∂d_m / ∂h_m)), (M,), without gradient.

    Args:
        loss: L.
        d: d_m, (M,).
        hidden: h_m.
    """
    import torch
    from torch.nn import functional as F

    wanted = torch.autograd.grad(loss, list(hidden), retain_graph=True, allow_unused=True)
    factors = []
    for index, (states, other) in enumerate(zip(hidden, wanted, strict=True)):
        (own,) = torch.autograd.grad(d[index], states, retain_graph=True)
        agrees = own.new_zeros(()) if other is None else F.cosine_similarity(own.flatten(), other.flatten(), dim=0)
        factors.append(agrees.clamp(min=0.0))
    return torch.stack(factors).detach()
