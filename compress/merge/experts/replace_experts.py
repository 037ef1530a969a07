"""Replace every mixture of experts of a network by one feed-forward network, and compare both on validation."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from compress.core.entries import Row
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.core.stage import Context
from compress.merge.experts.method import Expert
from compress.models.text.experts import FeedForward, MixtureOfExperts, expert_weights, mixtures
from compress.train.distributed import resolve_device
from compress.train.loss_term import ATTENTION_MASK
from compress.train.validation_scores import validation_scores

if TYPE_CHECKING:
    from compress.merge.experts.stage import MergeExperts

BATCH_SIZE = 32


class DenseNetwork(NamedTuple):
    """A network without experts, and what is recorded of it.

    Attributes:
        module: The network in eval mode.
        rows: Layer, expert, share of the router and whether it was kept.
        results: Metric on validation before and after, and parameters.
        notes: What was merged.
    """

    module: nn.Module
    rows: tuple[Row, ...]
    results: Metrics
    notes: tuple[Fact, ...]


def merge_experts(stage: MergeExperts, own: nn.Module, context: Context) -> DenseNetwork:
    """Merge the experts of every layer.

    Args:
        stage: Settings.
        own: The network; not changed.
        context: Data, task, device.

    Raises:
        ModelError: The network has no experts, or too few for the method.
    """
    found = mixtures(own)
    if not found:
        msg = gettext(
            "merge_experts needs a network with experts, of Mixtral's shape; give `decoder:` args: {experts}, or leave the "
            "stage out",
            experts="{experts: 4}",
        )
        raise ModelError(msg)
    for name, mixture in found.items():
        if (reason := stage.method.misfit(len(mixture.experts))) is not None:
            raise ModelError(gettext("{name}: {reason}; set `experts` of the method", name=name, reason=reason))
    measured = router_shares(own, context, stage.samples)
    module = copy.deepcopy(own)
    rows: list[Row] = []
    for name, mixture in found.items():
        used = measured[name]
        shares = used if stage.method.shares == "frequency" else torch.full_like(used, 1 / len(used))
        module.set_submodule(name, _dense(mixture, stage.method.merge(_weights(mixture), shares)))
        kept = stage.method.kept(shares.tolist())
        rows += [
            {"layer": name, "expert": index, "router_share": share, "kept": index in kept}
            for index, share in enumerate(used.tolist())
        ]
    results = _results(own, module.eval(), context)
    note = Fact.of("merge.experts", count=len(rows), layers=len(found), samples=min(stage.samples, len(context.data.train)))
    return DenseNetwork(module, tuple(rows), results, (note,))


@torch.no_grad()
def router_shares(module: nn.Module, context: Context, samples: int) -> dict[str, Tensor]:
    """Mean weight that the router of each layer gives its experts, (E,), over the tokens of training samples.

    Args:
        module: The network; not changed.
        context: Data, task, device.
        samples: Largest number of samples.
    """
    device = torch.device(resolve_device(context.device))
    network = copy.deepcopy(module).to(device).eval()
    sums = {name: torch.zeros(len(part.experts), dtype=torch.float64) for name, part in mixtures(network).items()}
    masks: list[Tensor] = []

    def watch(name: str, part: MixtureOfExperts) -> None:
        def add(_: nn.Module, __: object, logits: Tensor) -> None:
            weights = expert_weights(logits, part.per_token, "top")
            sums[name] += weights[masks[-1]].sum(dim=0).double().cpu()

        part.gate.register_forward_hook(add)

    for name, part in mixtures(network).items():
        watch(name, part)
    done = 0
    for batch in context.data.train.ordered(BATCH_SIZE):
        on_device = batch.to(device)
        ids = next(iter(on_device.inputs.values()))
        mask = on_device.inputs.get(ATTENTION_MASK)
        masks.append(torch.ones(ids.numel(), dtype=torch.bool, device=device) if mask is None else mask.flatten().bool())
        context.task.forward(network, on_device.inputs)
        done += batch.size
        if done >= samples:
            break
    return {name: (total / total.sum()).float() for name, total in sums.items()}


def _weights(mixture: MixtureOfExperts) -> list[Expert]:
    experts = [expert for expert in mixture.experts if isinstance(expert, FeedForward)]
    layers = [(expert.gate_proj, expert.up_proj, expert.down_proj) for expert in experts]
    return [Expert(*(layer.weight.detach().float().cpu() for layer in each)) for each in layers]


def _dense(mixture: MixtureOfExperts, merged: Expert) -> FeedForward:
    """A feed-forward network with these weights."""
    dense = mixture.dense()
    dtype = dense.gate_proj.weight.dtype
    for layer, weight in zip((dense.gate_proj, dense.up_proj, dense.down_proj), merged, strict=True):
        layer.weight = nn.Parameter(weight.to(dtype).contiguous())
        layer.out_features, layer.in_features = weight.shape
    return dense


def _results(before: nn.Module, after: nn.Module, context: Context) -> Metrics:
    info = context.task.metric_info
    scores = [validation_scores(network, context).metric for network in (before, after)]
    details = gettext("with the experts, on validation"), gettext("with merged experts, before any training, on validation")
    names = f"validation_{info.name}_before", f"validation_{info.name}"
    return {
        name: Quantity.measured(score, info.unit, detail) for name, score, detail in zip(names, scores, details, strict=True)
    }
