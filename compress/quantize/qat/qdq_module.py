"""Convert a plan to a torch module for quantization-aware training, and the trained module back to a plan.

    float ONNX ─► Q/DQ pairs of the runtime ─► torch module with fake quantization ─► training ─► weights, ranges ─► Q/DQ

Jacob et al. 2018, arXiv:1712.05877, section 3: batch norms are folded before, and weights and activations are rounded as in
inference (`fake_quantize`). The module is built from the Q/DQ graph of a runtime and has its placement. Scales are learned as
in LSQ (Esser et al. 2020, arXiv:1902.08153) or fixed; zero points are fixed. The trained values replace the integers, ranges,
weights and biases of post-training quantization.
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
    """Network of one runtime with fake quantization for training.

    Args:
        static: Result of post-training quantization and calibration.
        runtime: Runtime whose placement is used.
        exclude: Names of nodes that stay in float; their weights are trained, too.
        learned: Whether scales are trained.

    Raises:
        ConversionError: An operator has no torch equivalent here.
    """
    layers = {layer.name: layer for layer in weighted_layers(static.model)}
    weights = {layer.weight: read_weight(static.model, layer.weight) for layer in layers.values()}
    return to_torch(static.with_qdq(runtime, exclude), layers, weights=weights, limits=int_range(static.bits), learned=learned)


def freeze_like(module: OnnxModule, static: StaticInt8Plan, network: nn.Module) -> int:
    """Freeze the weights and biases that are frozen in the torch network that the graph was exported from.

    An initializer has the name of its parameter. An initializer that the exporter computed, for example a transposed weight, is
    frozen if all parameters of its shape in the module of its node are frozen. A bias that the network does not have, because
    a batch norm was folded, is frozen with the weight. Scales are not changed.

    Args:
        module: Result of `to_fake_quantized`.
        static: Plan of the module.
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
        is_trained = flags[layer.weight] if layer.weight in flags else _is_trained(weight, layer.name, network)
        weight.requires_grad_(is_trained)
        count += not is_trained
        if isinstance(bias, nn.Parameter):
            bias.requires_grad_(bias.requires_grad and flags.get(layer.bias, is_trained))
    return count


def _is_trained(weight: Tensor, node: str, network: nn.Module) -> bool:
    """Whether any parameter of this shape in the module of a node is trained, or there is none."""
    path = node.rpartition("/")[0]
    source = dict(network.named_modules()).get(path, network)
    shape = sorted(weight.shape)
    flags = [parameter.requires_grad for parameter in source.parameters() if sorted(parameter.shape) == shape]
    return not flags or any(flags)


def export_learned(static: StaticInt8Plan, runtime: str, exclude: tuple[str, ...], module: OnnxModule) -> StaticInt8Plan:
    """The plan with the weights, biases and ranges of a trained module of `to_fake_quantized`.

    Other runtimes get its weights, and its ranges of the tensors that they quantize, too.
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
    """Ranges by runtime, with those of the module of one runtime for all tensors that it quantizes."""
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
    """Range of the integers of each quantized tensor, by tensor."""
    ranges: Ranges = {}
    for node in model.graph:
        if node.op_type != "QuantizeLinear":
            continue
        tensor, scale, _ = graphs.input_names(node)
        quantizer, zero_point = module.quantizers[module_key(scale)], graphs.constant(node.inputs[2])
        assert isinstance(quantizer, FakeQuantize)  # noqa: S101  # `quantizers` contains no other modules
        signed = zero_point is not None and zero_point.dtype == np.int8
        s = float(quantizer.scale.detach())
        ranges[tensor] = (s * (-quantizer.high if signed else quantizer.low), s * quantizer.high)
    return ranges


def _to_array(tensor: Tensor | object) -> np.ndarray:
    assert isinstance(tensor, Tensor)  # noqa: S101  # nn.Module types an attribute as Tensor | Module
    return np.array(tensor.detach().cpu().numpy(), np.float32)
