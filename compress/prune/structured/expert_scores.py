"""Importance of the experts of a mixture, from the vectors x that enter it on training texts.

    reap            S_e = mean over x routed to e of  g_e(x) ‖FFN_e(x)‖
    router_share    S_e = mean over all x of  g_e(x)
    reconstruction  S_e = relative error of the mixture without e and without the experts that were removed before it

g_e(x) is the weight of expert e for x, 0 for an expert that the router does not choose. Experts with the smallest scores are
removed first. `reap`: Lasby et al. 2025, arXiv:2510.13999, equation 9. `router_share`: Muzio et al. 2024, SEER-MoE,
arXiv:2404.05089 (soft counts). `reconstruction`: Lu et al. 2024, "Not All Experts are Equal", arXiv:2402.14800, who compare all
sets of experts; here each removal is the one that costs least, so that layers of many experts can be pruned too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.registry import lookup
from compress.models.text.experts import MixtureOfExperts, expert_weights, mixtures
from compress.prune.base import MASK
from compress.prune.criteria.base import ScoringData, working_copy

TOKENS = 4096
"""Largest number of tokens from which a layer is scored."""


@dataclass(frozen=True, eq=False)
class ExpertScoring:
    """How experts are scored, and by what.

    Attributes:
        data: Training batches, task and device.
        method: Name in the registry.
    """

    data: ScoringData
    method: str = "reap"

    @torch.no_grad()
    def scores(self, module: nn.Module) -> dict[str, Tensor]:
        """The scores (E,) of the experts of each mixture, by the name of the mixture."""
        score: Callable[[MixtureOfExperts, Tensor], Tensor] = lookup("expert_score", self.method).load()
        network = working_copy(module, self.data.device)
        inputs = mixture_inputs(network, self.data)
        return {name: score(part, inputs[name]).cpu() for name, part in mixtures(network).items()}


@torch.no_grad()
def mixture_inputs(network: nn.Module, data: ScoringData, tokens: int = TOKENS) -> dict[str, Tensor]:
    """The vectors (T, D) that enter each mixture at tokens that are no padding, at most `tokens`, by the name of the mixture.

    Args:
        network: The network, on the device of the data.
        data: Training batches and task.
        tokens: Limit.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in mixtures(network)}
    counts = dict.fromkeys(seen, 0)
    mask: list[Tensor | None] = [None]

    def watch(name: str) -> Callable[..., None]:
        def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].reshape(-1, inputs[0].shape[-1])
            counted = x if mask[0] is None or mask[0].numel() != len(x) else x[mask[0].flatten().bool()]
            seen[name].append(counted[: tokens - counts[name]])
            counts[name] += len(seen[name][-1])

        return record

    hooks = [part.register_forward_pre_hook(watch(name)) for name, part in mixtures(network).items()]
    try:
        for batch in data.batches:
            on_device = batch.to(data.device)
            mask[0] = on_device.inputs.get(MASK)
            data.task.forward(network, on_device.inputs)
            if min(counts.values()) >= tokens:
                break
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def reap(mixture: MixtureOfExperts, x: Tensor) -> Tensor:
    """Router-weighted activation of each expert, (E,); 0 for an expert that no token chooses.

    Args:
        mixture: The mixture.
        x: Its inputs, (T, D).
    """
    g = expert_weights(mixture.gate(x), mixture.per_token, "top")
    scores = torch.zeros(len(mixture.experts), device=x.device)
    for index, expert in enumerate(mixture.experts):
        routed = g[:, index] > 0
        if bool(routed.any()):
            scores[index] = (g[routed, index] * expert(x[routed]).float().norm(dim=1)).mean()
    return scores


def router_share(mixture: MixtureOfExperts, x: Tensor) -> Tensor:
    """Share of the router's weights that each expert has, (E,); arguments as for `reap`."""
    return expert_weights(mixture.gate(x), mixture.per_token, "top").mean(dim=0)


def reconstruction(mixture: MixtureOfExperts, x: Tensor) -> Tensor:
    """Error of the mixture when an expert is removed after all those with smaller scores, (E,); arguments as for `reap`.

    ‖F_S(x) − F(x)‖ / ‖F(x)‖ for the remaining experts S, among which the router chooses and divides its weights. The last k
    experts, which stay in any case, have an infinite score.
    """
    logits = mixture.gate(x)
    outputs = torch.stack([expert(x).float() for expert in mixture.experts], dim=1)
    full = _mixed(outputs, logits, mixture.per_token)
    scores = torch.full((len(mixture.experts),), float("inf"), device=x.device)
    remaining, floor = list(range(len(mixture.experts))), 0.0
    while len(remaining) > mixture.per_token:
        errors = {}
        for expert in remaining:
            rest = [other for other in remaining if other != expert]
            errors[expert] = float(F.mse_loss(_mixed(outputs[:, rest], logits[:, rest], mixture.per_token), full))
        lowest = min(errors, key=errors.__getitem__)
        floor = max(errors[lowest], floor * (1 + 1e-6))  # a removal may make up for an earlier one, but the order stays
        scores[lowest] = (floor / max(float(full.square().mean()), 1e-30)) ** 0.5
        remaining.remove(lowest)
    return scores


def _mixed(outputs: Tensor, logits: Tensor, per_token: int) -> Tensor:
    """Σ_e g_e FFN_e, (T, D), from the outputs (T, E, D)."""
    return torch.einsum("te,ted->td", expert_weights(logits, per_token, "top"), outputs)
