"""Mixtures of experts as plain layers, for networks of Mixtral's shape (Jiang et al. 2024, arXiv:2401.04088).

    y = Σ_e g_e FFN_e(x),   FFN(x) = W_down (act(W_gate x) ∘ W_up x)

    top        g = softmax of the k largest logits of the router, 0 for the other experts
    sampled    the same for k experts drawn without replacement, with the router's probabilities
    all        g = softmax of all logits

transformers holds all experts of a layer in one tensor of three axes, which no method of pruning or quantization knows. Here
every expert has linear layers of its own. In an exported graph all experts compute all tokens, since the graph has no branches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from compress.core.language import gettext
from compress.train.router_balance import RoutedLayer

Routing = Literal["top", "sampled", "all"]
_KIND = "transformers.models.mixtral.modeling_mixtral.MixtralSparseMoeBlock"


class FeedForward(nn.Module):
    """W_down (act(W_gate x) ∘ W_up x), with the names of Llama's layers.

    Args:
        width: Width of x.
        hidden: Width between the layers.
        act_fn: The activation.
    """

    def __init__(self, width: int, hidden: int, act_fn: nn.Module) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.act_fn = act_fn

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the shape of x."""
        y: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return y


class MixtureOfExperts(RoutedLayer):
    """Experts and their router.

    Args:
        gate: The router, a linear layer from D to E.
        experts: E feed-forward networks.
        per_token: k, experts of each token.
        balance: Factor of the load-balancing loss, see `compress.train.router_balance`.

    Attributes:
        routing: How experts are chosen, see the module.
        numbers: The number that each expert had before any was removed.
    """

    def __init__(self, gate: nn.Linear, experts: Iterable[FeedForward], per_token: int, balance: float) -> None:
        super().__init__(per_token, balance)
        self.gate = gate
        self.experts = nn.ModuleList(experts)
        self.numbers = tuple(range(len(self.experts)))
        self.routing: Routing = "top"

    def forward(self, hidden: Tensor) -> Tensor:
        """Tokens (…, D) → (…, D)."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        logits: Tensor = self.gate(flat)
        if self.training:
            self.keep_logits(logits)
        weights = expert_weights(logits, self.per_token, self.routing).to(flat.dtype)
        mixed = self._all(flat, weights) if _is_traced() or self.routing == "all" else self._chosen(flat, weights)
        return mixed.reshape(hidden.shape)

    def dense(self) -> FeedForward:
        """A feed-forward network of the shape of one expert, with new weights."""
        first = self.experts[0]
        assert isinstance(first, FeedForward)  # noqa: S101  # so `__init__` has it
        return FeedForward(first.gate_proj.in_features, first.gate_proj.out_features, first.act_fn).train(self.training)

    def _all(self, x: Tensor, weights: Tensor) -> Tensor:
        outputs = [expert(x) * weights[:, index, None] for index, expert in enumerate(self.experts)]
        return torch.stack(outputs).sum(dim=0)

    def _chosen(self, x: Tensor, weights: Tensor) -> Tensor:
        """Each expert computes its tokens; one without tokens gets a gradient of 0."""
        mixed = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            tokens = weights[:, index].nonzero()[:, 0]
            part = expert(x[tokens]) * weights[tokens, index, None]
            mixed = mixed.index_add(0, tokens, part.to(mixed.dtype))
        return mixed


def expert_weights(logits: Tensor, per_token: int, routing: Routing) -> Tensor:
    """Weights g of each token, (T, E), float32; each row sums to 1.

    Args:
        logits: Of the router, (T, E).
        per_token: k.
        routing: See the module.
    """
    p = logits.float().softmax(dim=1)
    if routing == "all":
        return p
    drawn = routing == "sampled"
    chosen = torch.multinomial(p + torch.finfo(p.dtype).tiny, per_token) if drawn else p.topk(per_token, dim=1).indices
    kept = torch.zeros_like(p).scatter(1, chosen, p.gather(1, chosen))
    return kept / kept.sum(dim=1, keepdim=True)


@torch.no_grad()
def keep_experts(mixture: MixtureOfExperts, kept: Sequence[int]) -> None:
    """Remove all other experts of a mixture and their rows of the router, in place.

    Args:
        mixture: The mixture.
        kept: Places of the experts that stay, at least k of them.

    Raises:
        ValueError: Fewer than k experts would stay.
    """
    if len(kept) < mixture.per_token:
        msg = gettext(
            "a mixture with {k} experts per token cannot keep {kept} experts; keep more", k=mixture.per_token, kept=len(kept)
        )
        raise ValueError(msg)
    mixture.experts = nn.ModuleList(mixture.experts[index] for index in kept)
    mixture.numbers = tuple(mixture.numbers[index] for index in kept)
    for name, before in list(mixture.gate.named_parameters()):
        setattr(mixture.gate, name, nn.Parameter(before[list(kept)].clone(), requires_grad=before.requires_grad))
    mixture.gate.out_features = len(kept)


def mixtures(module: nn.Module) -> dict[str, MixtureOfExperts]:
    """The mixtures of experts of a network, first to last, by name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, MixtureOfExperts)}


def to_plain_experts(network: nn.Module) -> nn.Module:
    """Replace the mixtures of transformers' Mixtral by `MixtureOfExperts`, in place.

    Args:
        network: A network of transformers.

    Returns:
        The same network.
    """
    balance = float(getattr(getattr(network, "config", None), "router_aux_loss_coef", 0.0) or 0.0)
    for part in list(network.modules()):
        for name, child in list(part.named_children()):
            if f"{type(child).__module__}.{type(child).__qualname__}" == _KIND:
                setattr(part, name, _plain(child, balance))
    return network


def to_stacked_experts(network: nn.Module, reference: nn.Module) -> None:
    """Undo `to_plain_experts` in place.

    Args:
        network: A network after `to_plain_experts`.
        reference: A network of transformers' own with as many experts of these widths; its mixtures are used.
    """
    for name, mixture in mixtures(network).items():
        block: Any = reference.get_submodule(name)
        experts: Any = mixture.experts
        with torch.no_grad():
            block.gate.weight.copy_(mixture.gate.weight)
            pairs = [torch.cat([expert.gate_proj.weight, expert.up_proj.weight]) for expert in experts]
            block.experts.gate_up_proj.copy_(torch.stack(pairs))
            block.experts.down_proj.copy_(torch.stack([expert.down_proj.weight for expert in experts]))
        network.set_submodule(name, block)


@torch.no_grad()
def _plain(block: Any, balance: float) -> MixtureOfExperts:
    experts, router = block.experts, block.gate
    count, _, width = experts.gate_up_proj.shape
    made = []
    for index in range(count):
        expert = FeedForward(width, experts.intermediate_dim, experts.act_fn)
        gate, up = experts.gate_up_proj[index].chunk(2)
        for layer, weight in ((expert.gate_proj, gate), (expert.up_proj, up), (expert.down_proj, experts.down_proj[index])):
            layer.weight = nn.Parameter(weight.detach().clone())
        made.append(expert)
    gate_layer = nn.Linear(width, count, bias=False)
    gate_layer.weight = nn.Parameter(router.weight.detach().clone())
    return MixtureOfExperts(gate_layer, made, int(router.top_k), balance).train(block.training)


def _is_traced() -> bool:
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()
