"""Cost of a network and of each of its layers, in the measure of a pruning target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import torch_pruning as tp
from torch import nn

from compress.config.devices import Device
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.count_macs import count_network, count_own_macs
from compress.profile.compare_networks import exported, feeds_of_free_axes, module_latency_ms
from compress.prune.structured.head_layouts import attention_owners
from compress.prune.structured.select_channels import LayerCost

CostMeasure = Literal["macs", "params", "bytes", "latency", "latency_ms"]
CostFn = Callable[[nn.Module], float]
NEAR = 0.95
"""Fraction of a target above which a measurement is repeated."""


def cost(module: nn.Module, spec: NetworkSpec, measure: CostMeasure) -> float:
    """Multiply-accumulates of one sample, parameters, or bytes of all parameters and buffers."""
    if measure == "bytes":
        return float(sum(value.numel() * value.element_size() for value in module.state_dict().values()))
    counts = count_network(module, spec)
    return float(counts.macs if measure == "macs" else counts.parameters)


def measure_cost(cost: CostFn, module: nn.Module, target: float, *, twice: bool) -> float:
    """Cost of a network; if `twice`, the mean of two measurements where the first is just below the target, against noise."""
    first = cost(module)
    return (first + cost(module)) / 2 if twice and NEAR * target < first <= target else first


def layer_costs(module: nn.Module, spec: NetworkSpec, measure: Literal["macs", "params"]) -> dict[str, LayerCost]:
    """Cost of each layer by name, with its output and input channels.

    The products of queries, keys and values are a layer of their own, whose channels are heads.
    """
    macs: Mapping[nn.Module, float | None] = {}
    products: Mapping[str, int] = {}
    owners = attention_owners(module)
    if measure == "macs":
        macs = tp.utils.count_ops_and_params(module, list(spec.signature.example().values()), layer_wise=True)[2]
        products = count_own_macs(module, spec) if owners else {}
    layers = {}
    for name, part in module.named_modules():
        if name in owners:
            layers[name] = LayerCost(float(products.get(name, 0)), owners[name], owners[name])
        elif channels := _channels(part):
            layer_cost = macs.get(part) if measure == "macs" else sum(p.numel() for p in part.parameters())
            layers[name] = LayerCost(float(layer_cost or 0.0), *channels)
    return layers


def _channels(part: nn.Module) -> tuple[int, int] | None:
    """Output and input channels of a layer; None for other modules."""
    if isinstance(part, nn.modules.conv._ConvNd):
        return part.out_channels, part.in_channels
    if isinstance(part, nn.Linear):
        return part.out_features, part.in_features
    if isinstance(part, nn.MultiheadAttention):
        return part.num_heads, part.embed_dim
    if isinstance(part, nn.Embedding):
        return part.embedding_dim, part.num_embeddings
    if isinstance(part, nn.modules.batchnorm._BatchNorm):
        return part.num_features, part.num_features
    return None


def with_times(layers: Mapping[str, LayerCost], times: Mapping[str, float]) -> dict[str, LayerCost]:
    """The same layers with milliseconds as cost; the cost of a layer without a time is 0, since it is fused into another."""
    return {name: replace(layer, cost=times.get(name, 0.0)) for name, layer in layers.items()}


def layer_times(module: nn.Module, spec: NetworkSpec, device: Device, *, seconds: float = 1.0) -> dict[str, float]:
    """Time of each layer at batch 1, ms, by name of its torch module.

    Args:
        module: Not changed.
        spec: Its input.
        device: On this machine the profiler of the runtime measures; for other devices the roofline estimates.
        seconds: Duration of the measurement.

    Raises:
        DeviceError: The device can be neither measured nor estimated, or no time belongs to a layer.
    """
    with exported({"network": module}, spec) as files:
        feeds = feeds_of_free_axes(spec.signature)
        latencies = module_latency_ms(files["network"], device, seconds=seconds, feeds=feeds)
    names = {name for name, _ in module.named_modules() if name}
    times = {name: ms for name, ms in latencies.items() if name in names and ms > 0}
    if not times:
        msg = gettext(
            "no time on {name} belongs to a layer, so cost_aware: latency cannot divide by it; leave it out", name=device.name
        )
        raise DeviceError(msg)
    return times
