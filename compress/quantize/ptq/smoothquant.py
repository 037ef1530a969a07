"""SmoothQuant: move the magnitude of outlier channels of activations into the weights that read them.

Xiao et al. 2023, SmoothQuant, arXiv:2211.10438. A linear layer Y = X W reads X, (…, C), whose channels j differ in range by
far more than those of W, (C, K), so that one scale for all of X is too coarse for channels with small values. With any s > 0,
(C,)

    Y = (X diag(s)⁻¹) (diag(s) W),      s_j = max |X_j|^α / max |W_j|^(1−α)      (eq. 4)

α in [0, 1] distributes the range: 0 leaves it in the activations, 1 moves all of it into the weights. The division X / s is
merged into the operator that computes X: a layer or RMS normalisation, γ ← γ / s and β ← β / s, or a linear layer (also with a
ReLU, since relu(x / s) = relu(x) / s, or as a factor of a product, as in SwiGLU), W ← W / s and b ← b / s by output.
All layers that read X share one s, computed from the largest of their weights. The float function does not change. If another
operator computes X, or a non-linear operator reads it, no factor can be moved, and the reason is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.runner_protocol import Feeds
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.quantize.ptq.pipeline import PassResult
from compress.quantize.ptq.weighted_layers import LINEAR, WeightedLayer, read_weight, weighted_layers


@dataclass(frozen=True)
class SmoothingSite:
    """A tensor to smooth.

    Attributes:
        tensor: X.
        producer: Output of the node whose outputs are divided by s: a layer normalisation or a linear layer.
        added: Output of the Add with the bias of a MatMul; empty without one.
        readers: Linear layers whose inputs are multiplied by s.
    """

    tensor: str
    producer: str
    added: str
    readers: tuple[WeightedLayer, ...]


def smoothing_factors(x: np.ndarray, w: np.ndarray, alpha: float) -> np.ndarray:
    """Factors s, (C,); 1 for a channel that is 0 in X or W.

    Args:
        x: max |X_j|, (C,).
        w: max |W_j|, (C,).
        alpha: α.
    """
    alive = (x > 0) & (w > 0) & np.isfinite(x)
    s = np.where(alive, x, 1.0) ** alpha / np.where(alive, w, 1.0) ** (1 - alpha)
    factors: np.ndarray = np.where(alive, s, 1.0).astype(np.float32)
    return factors


def smooth_linear_inputs(
    model: ir.Model,
    batches: Sequence[Feeds],
    alpha: float,
    *,
    exclude: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> PassResult:
    """Smooth the inputs of every linear layer if possible.

    Args:
        model: Float network; not changed.
        batches: Calibration batches by name of the input.
        alpha: α.
        exclude: Names of nodes that stay in float; a tensor that only they read is not smoothed.
        reporter: Shows a progress bar.
    """
    sites, skipped = find_sites(model, exclude)
    if not sites:
        return PassResult(model, skipped, (Fact.of("quantize_ptq.nothing_to_smooth", alpha=alpha),))
    absmax = channel_absmax(model, [site.tensor for site in sites], batches, reporter or NullReporter())
    weights: dict[str, np.ndarray] = {}
    before, after = [], []
    smoothed = model.clone()
    for site in sites:
        w = np.max([_input_absmax(model, layer) for layer in site.readers if layer.name not in exclude], axis=0)
        s = smoothing_factors(absmax[site.tensor], w, alpha)
        move_factors(model, smoothed, site, s, weights)
        before.append(range_ratio(absmax[site.tensor]))
        after.append(range_ratio(absmax[site.tensor] / s))
    note = Fact.of(
        "quantize_ptq.linear_inputs_smoothed",
        alpha=alpha,
        layers=sum(len(site.readers) for site in sites),
        ratio_before=float(np.median(before)),
        ratio_after=float(np.median(after)),
    )
    return PassResult(graphs.with_initializers(smoothed, weights), skipped, (note,))


def move_factors(
    model: ir.Model, smoothed: ir.Model, site: SmoothingSite, s: np.ndarray, weights: dict[str, np.ndarray]
) -> None:
    """Multiply the weights that read a tensor by s, and divide what computes it.

    Args:
        model: The network before all changes.
        smoothed: Its copy; constants of norms and biases are changed in place.
        site: The tensor.
        s: Factors, (C,).
        weights: New weights by initializer, to which those of this site are added.
    """
    for layer in site.readers:
        weight = read_weight(model, layer.weight) if layer.weight not in weights else weights[layer.weight]
        weights[layer.weight] = weight * (s[:, None] if layer.axis == 1 else s[None])
    _divide_producer(smoothed, site, s, weights)


def find_sites(model: ir.Model, exclude: Sequence[str] = ()) -> tuple[tuple[SmoothingSite, ...], tuple[Fact, ...]]:
    """Tensors that can be smoothed, and facts on linear layers whose inputs cannot."""
    finder = _SiteFinder(graphs.with_shapes(model))
    sites: dict[str, SmoothingSite] = {}
    skipped = []
    for layer in finder.layers.values():
        if layer.name in exclude:
            continue
        site = finder.find(layer)
        if isinstance(site, SmoothingSite):
            sites.setdefault(site.tensor, site)
        else:
            skipped.append(site)
    return tuple(sites.values()), tuple(skipped)


class _SiteFinder:
    """Finds the producer and the readers of the input of a linear layer."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.layers = {layer.name: layer for layer in weighted_layers(model) if layer.operator in LINEAR}

    def find(self, layer: WeightedLayer) -> SmoothingSite | Fact:
        """The site at which the input of a layer can be smoothed, or a fact on why there is none."""
        value = graphs.find_value(self.model, layer.input)
        while (node := value.producer()) is not None and _keeps_channels(node) and node.inputs[0] is not None:
            value = node.inputs[0]
        if node is None:
            return Fact.of("quantize_ptq.smooth_reads_input", layer.name)
        readers: list[WeightedLayer] = []
        if other := self._collect_readers(value, readers):
            return Fact.of("quantize_ptq.smooth_other_reader", layer.name, reader=other)
        channels = (graphs.dims(value) or [0])[-1]
        if (scale := self._scale_of_norm(node, channels)) is not None:
            return SmoothingSite(str(value.name), scale, "", tuple(readers))
        node = self._factor_from_layer(node) or node
        source = node.inputs[0] if node.op_type == "Relu" else None
        if source is not None and len(source.uses()) == 1:
            node = source.producer() or node
        added = node if node.op_type == "Add" and self._adds_bias(node) else None
        if added is not None:
            node = next(producer for value in added.inputs if value is not None and (producer := value.producer()))
        is_norm = node.op_type == "LayerNormalization" and _constant_shape(node.inputs[1]) == (channels,)
        is_layer = node.name in self.layers and len(node.outputs[0].uses()) == 1 and _has_own_bias(node)
        if is_norm or is_layer:
            bias = "" if added is None or is_norm else graphs.output_names(added)[0]
            return SmoothingSite(str(value.name), graphs.output_names(node)[0], bias, tuple(readers))
        return Fact.of("quantize_ptq.smooth_not_absorbable", layer.name, operator=node.op_type, node=str(node.name))

    def _scale_of_norm(self, node: ir.Node, channels: int) -> str | None:
        """The output of a product with one constant for each channel, the last operator of an RMS normalisation; else None."""
        if node.op_type == "RMSNormalization":
            return graphs.output_names(node)[0] if _constant_shape(node.inputs[1]) == (channels,) else None
        is_scale = node.op_type == "Mul" and [_constant_shape(value) for value in node.inputs].count((channels,)) == 1
        return graphs.output_names(node)[0] if is_scale else None

    def _factor_from_layer(self, node: ir.Node) -> ir.Node | None:
        """Of a product of two tensors, as in SwiGLU, the linear layer that computes one of them for this product alone."""
        if node.op_type != "Mul" or any(value is None or graphs.constant(value) is not None for value in node.inputs):
            return None
        factors = [value.producer() for value in node.inputs if value is not None and len(value.uses()) == 1]
        shapes = [graphs.dims(value) for value in node.inputs]
        layers = [factor for factor in factors if factor is not None and self._is_linear(factor)]
        return layers[0] if layers and shapes[0] == shapes[1] else None

    def _is_linear(self, node: ir.Node) -> bool:
        return node.name in self.layers or (node.op_type == "Add" and self._adds_bias(node))

    def _collect_readers(self, value: ir.Value, readers: list[WeightedLayer]) -> str:
        """Add the linear layers that read a tensor to `readers`; returns the name of any other reader, else an empty string."""
        if value.is_graph_output():
            return gettext("the network's output")
        for node in value.consumers():
            layer = self.layers.get(str(node.name))
            if layer is not None and layer.input == value.name:
                readers.append(layer)
            elif _keeps_channels(node) and node.inputs[0] is value:
                if other := self._collect_readers(node.outputs[0], readers):
                    return other
            else:
                return f"{node.op_type} {node.name}".rstrip()
        return ""

    def _adds_bias(self, node: ir.Node) -> bool:
        """Whether an Add adds a bias to the product of a linear layer."""
        producers = [value.producer() for value in node.inputs if value is not None and value.producer() is not None]
        shapes = [shape for value in node.inputs if (shape := _constant_shape(value)) is not None]
        product = producers[0] if len(producers) == 1 else None
        return product is not None and product.name in self.layers and len(shapes) == 1 and len(shapes[0]) == 1


def _keeps_channels(node: ir.Node) -> bool:
    """Whether a node only moves values and does not change the last axis, that of the channels."""
    if node.op_type == "Identity":
        return True
    settings = graphs.attributes(node)
    if node.op_type == "Transpose":
        order = settings.get("perm", ())
        return bool(order) and order[-1] == len(order) - 1
    if not node.inputs or not node.outputs:
        return False
    before, after = graphs.dims(node.inputs[0]), graphs.dims(node.outputs[0])
    if not before or not after or before[-1] != after[-1] or after[-1] <= 0:
        return False
    axis = settings.get("axis", 0)
    return node.op_type == "Reshape" or (node.op_type == "Gather" and axis % len(before) != len(before) - 1)


def _constant_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    array = graphs.constant(value)
    return None if array is None else array.shape


def _has_own_bias(node: ir.Node) -> bool:
    return len(node.inputs) < 3 or len(_constant_shape(node.inputs[2]) or ()) == 1


def channel_absmax(
    model: ir.Model, tensors: Sequence[str], batches: Sequence[Feeds], reporter: Reporter, *, axis: int = -1
) -> dict[str, np.ndarray]:
    """Max |X_j| over samples and positions, (C,), by tensor; channels are along `axis`."""
    session = onnx_session.create_session(graphs.with_outputs(model, tensors), threads=0)
    absmax: dict[str, np.ndarray] = {}
    with reporter.bar(gettext("channel ranges"), len(batches)) as bar:
        for batch in batches:
            for name, x in zip(tensors, session.run(tensors, batch), strict=True):
                largest = np.abs(np.moveaxis(x, axis, -1)).reshape(-1, x.shape[axis]).max(0)
                absmax[name] = np.maximum(absmax[name], largest) if name in absmax else largest
            bar.advance()
    return absmax


def _input_absmax(model: ir.Model, layer: WeightedLayer) -> np.ndarray:
    """Max |W_j| of each input channel, (C,)."""
    absmax: np.ndarray = np.abs(read_weight(model, layer.weight)).max(layer.axis)
    return absmax


def _divide_producer(model: ir.Model, site: SmoothingSite, s: np.ndarray, weights: dict[str, np.ndarray]) -> None:
    """Divide the outputs of the producer of X by s, in place; the new weight is written to `weights`."""

    def divide_constant(node: ir.Node, index: int) -> None:
        """Replace a constant input by a new one, divided by s, because nodes may share the old one."""
        array = np.asarray(graphs.constant(node.inputs[index]))
        name = f"{site.tensor}_smoothed_{index}"
        node.replace_input_with(index, graphs.add_initializer(model, name, (array / s).astype(np.float32)))

    node = graphs.find_value(model, site.producer).producer()
    assert node is not None  # noqa: S101  # the producer of a site is a node
    if node.op_type in ("LayerNormalization", "RMSNormalization"):
        for index in range(1, len(node.inputs)):
            divide_constant(node, index)
        return
    if node.op_type == "Mul":
        divide_constant(node, next(index for index, value in enumerate(node.inputs) if graphs.constant(value) is not None))
        return
    layer = next(layer for layer in weighted_layers(model) if layer.name == node.name)
    weight = weights.get(layer.weight, read_weight(model, layer.weight))
    weights[layer.weight] = weight / (s[None] if layer.axis == 1 else s[:, None])
    if len(node.inputs) > 2:
        divide_constant(node, 2)
    if site.added:
        added = graphs.find_value(model, site.added).producer()
        assert added is not None  # noqa: S101  # as above
        divide_constant(added, next(index for index, value in enumerate(added.inputs) if graphs.constant(value) is not None))


def range_ratio(ranges: np.ndarray) -> float:
    """Largest range ÷ median range of the channels."""
    return float(ranges.max() / max(float(np.median(ranges)), 1e-12))
