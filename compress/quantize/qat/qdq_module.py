"""Quantization-aware training: a network is trained with the rounding of its Q/DQ graph, which then gets the result.

    float ONNX ─► Q/DQ pairs of the runtime ─► torch module with fake quantization ─► training ─► weights, ranges ─► Q/DQ

Jacob et al. 2018, arXiv:1712.05877, section 3: batch norms are folded first and their statistics frozen, weights and
activations are rounded as in inference (`fake_quantize`). Q/DQ pairs stand where the runtime's placement puts them, because the
module is built from that graph. Scales are learned as in LSQ (Esser et al. 2020, arXiv:1902.08153) or stay as calibrated; zero
points stay. The learned values replace the integers, ranges, weights and biases of post-training quantization, and the file is
written in the same way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from torch import Tensor, nn

from compress.backends import onnx_graph as graphs
from compress.quantize.ptq.quantized_weight import QuantizedWeight, int_range, round_to_nearest
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight, weighted_layers
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.onnx_to_torch import OnnxModule, module_key, to_torch
from compress.quantize.static_int8 import Ranges, StaticInt8Plan


def to_fake_quantized(static: StaticInt8Plan, runtime: str, exclude: tuple[str, ...], *, learned: bool) -> OnnxModule:
    """The network of one runtime with fake quantization, to be trained.

    Args:
        static: Result of post-training quantization and calibration.
        runtime: The runtime whose placement is used.
        exclude: Names of nodes that stay in float; their weights are trained all the same.
        learned: Whether scales may be trained.

    Raises:
        ConversionError: An operator has no counterpart with gradients.
    """
    layers = {layer.name: layer for layer in weighted_layers(static.model)}
    weights = {layer.weight: read_weight(static.model, layer.weight) for layer in layers.values()}
    return to_torch(static.with_qdq(runtime, exclude), layers, weights=weights, limits=int_range(static.bits), learned=learned)


def freeze_like(module: OnnxModule, static: StaticInt8Plan, network: nn.Module) -> int:
    """Freeze the weights and biases that are frozen in the torch network that the graph was exported from.

    An initializer has the name of its parameter. One that the exporter computed, for example a transposed weight, comes from a
    parameter of its shape in the module that its node is named after; it is frozen if all of these are. A bias that the network
    lacks, because a batch norm was folded, follows the weight. Scales are not weights of the network: they are not changed.

    Args:
        module: Of `to_fake_quantized`.
        static: Its plan.
        network: The torch network.

    Returns:
        Number of layers with a frozen weight.
    """
    flags = {name: parameter.requires_grad for name, parameter in network.named_parameters(remove_duplicate=False)}
    count = 0
    for layer in weighted_layers(static.model):
        part = module.layers[module_key(layer.name)]
        weight, bias = part.weight, part.bias
        assert isinstance(weight, nn.Parameter)  # noqa: S101  # nn.Module types an attribute as Tensor | Module
        trained = flags[layer.weight] if layer.weight in flags else _is_trained(weight, layer.name, network)
        weight.requires_grad_(trained)
        count += not trained
        if isinstance(bias, nn.Parameter):
            bias.requires_grad_(bias.requires_grad and flags.get(layer.bias, trained))
    return count


def _is_trained(weight: Tensor, node: str, network: nn.Module) -> bool:
    """Whether a parameter that a weight of this shape may come from is trained, or no such parameter exists."""
    path = node.rpartition("/")[0]
    source = dict(network.named_modules()).get(path, network)
    shape = sorted(weight.shape)
    flags = [parameter.requires_grad for parameter in source.parameters() if sorted(parameter.shape) == shape]
    return not flags or any(flags)


def export_learned(static: StaticInt8Plan, runtime: str, exclude: tuple[str, ...], module: OnnxModule) -> StaticInt8Plan:
    """The plan with what a module of `to_fake_quantized` has learned.

    Other runtimes get its weights, and its ranges where they quantize the same tensor.
    """
    arrays, weights = dict[str, np.ndarray](), dict(static.grids)
    for layer in weighted_layers(static.model):
        part = module.layers[module_key(layer.name)]
        w = _to_array(part.weight)
        arrays[layer.weight] = w
        if layer.bias:
            arrays[layer.bias] = _to_array(part.bias)
        if isinstance(part.weight_quantizer, FakeQuantize):
            weights[layer.weight] = _quantize_weight(w, layer, part.weight_quantizer, static.bits)
    trained = graphs.with_initializers(static.model, arrays)
    return replace(static, model=trained, grids=weights, ranges=learned_ranges(static, runtime, exclude, module))


def learned_ranges(static: StaticInt8Plan, runtime: str, exclude: tuple[str, ...], module: OnnxModule) -> dict[str, Ranges]:
    """All runtimes' ranges with what a module of one runtime has learned, where they quantize the same tensor."""
    learned = _module_ranges(static.with_qdq(runtime, exclude), module)
    return {
        name: {**ranges, **{tensor: learned[tensor] for tensor in ranges if tensor in learned}}
        for name, ranges in static.ranges.items()
    }


def _quantize_weight(w: np.ndarray, layer: WeightedLayer, quantizer: FakeQuantize, bits: int) -> QuantizedWeight:
    matrix = layer.to_matrix(w)
    s = np.broadcast_to(_to_array(quantizer.scale).reshape(-1), matrix.shape[0] * matrix.shape[1]).reshape(matrix.shape[:2])
    return QuantizedWeight(round_to_nearest(matrix, s, bits), np.ascontiguousarray(s), quantizer.axis is not None)


def _module_ranges(model: ir.Model, module: OnnxModule) -> Ranges:
    """Range that the integers of each tensor cover, by tensor."""
    ranges: Ranges = {}
    for node in model.graph:
        if node.op_type != "QuantizeLinear":
            continue
        tensor, scale, _ = graphs.input_names(node)
        quantizer, zero_point = module.quantizers[module_key(scale)], graphs.constant(node.inputs[2])
        assert isinstance(quantizer, FakeQuantize)  # noqa: S101  # `quantizers` holds no other modules
        signed = zero_point is not None and zero_point.dtype == np.int8
        s = float(quantizer.scale.detach())
        ranges[tensor] = (s * (-quantizer.high if signed else quantizer.low), s * quantizer.high)
    return ranges


def _to_array(tensor: Tensor | object) -> np.ndarray:
    assert isinstance(tensor, Tensor)  # noqa: S101  # nn.Module types an attribute as Tensor | Module
    return np.array(tensor.detach().cpu().numpy(), np.float32)
