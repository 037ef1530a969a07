"""SmoothQuant: outlier channels of activations are moved into the weights that read them.

Xiao et al. 2023, SmoothQuant, arXiv:2211.10438. A linear layer Y = X W reads X, (…, C), whose channels j differ in range by
far more than those of W, (C, K), so that one step for all of X loses the small ones. With any s > 0, (C,)

    Y = (X diag(s)⁻¹) (diag(s) W),      s_j = max |X_j|^α / max |W_j|^(1−α)      (eq. 4)

α in [0, 1] shares the difficulty out: 0 leaves all of it with the activations, 1 moves all of it into the weights. X / s costs
nothing where X is made by a layer normalisation, γ ← γ / s and β ← β / s, or by a linear layer (with a ReLU, since
relu(x / s) = relu(x) / s), W ← W / s and b ← b / s by output. All layers that read X share one s, by the largest of their
weights. In float the function stays the same. Where X is made by anything else, or read by something that is not linear, no
factor can be moved, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

from compress.backends import onnx_graph as graphs
from compress.core.progress import NullReporter, Reporter
from compress.core.record import Skipped
from compress.quantize.calibration.observe import with_outputs
from compress.quantize.ptq.weighted_layers import LINEAR, WeightedLayer, read_weight, weighted_layers, with_weights

WHAT = "SmoothQuant of "
"""Before the name of a layer that is left alone."""


@dataclass(frozen=True)
class SmoothingSite:
    """A tensor to smooth.

    Attributes:
        tensor: X.
        maker: Node that takes 1/s in: a layer normalisation, or a linear layer.
        added: Node that adds the bias of a MatMul, if there is one.
        readers: Linear layers that take s in.
    """

    tensor: str
    maker: onnx.NodeProto
    added: onnx.NodeProto | None
    readers: tuple[WeightedLayer, ...]


def smoothing_factors(x: np.ndarray, w: np.ndarray, alpha: float) -> np.ndarray:
    """s, (C,); 1 where a channel is dead on either side.

    Args:
        x: max |X_j|, (C,).
        w: max |W_j|, (C,).
        alpha: α.
    """
    alive = (x > 0) & (w > 0) & np.isfinite(x)
    s = np.where(alive, x, 1.0) ** alpha / np.where(alive, w, 1.0) ** (1 - alpha)
    found: np.ndarray = np.where(alive, s, 1.0).astype(np.float32)
    return found


def smooth_linear_inputs(
    model: onnx.ModelProto,
    batches: Sequence[np.ndarray],
    alpha: float,
    *,
    exclude: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> tuple[onnx.ModelProto, tuple[Skipped, ...], str]:
    """Smooth every linear layer that can be.

    Args:
        model: Float network; left as it was.
        batches: Calibration inputs, float32 (N, C, H, W) each.
        alpha: α.
        exclude: Names of nodes that stay in float; a tensor that only they read is left alone.
        reporter: Shows a bar.

    Returns:
        A copy, the linear layers left alone with the reason, and what was done in a sentence.
    """
    sites, skipped = find_sites(model, exclude)
    if not sites:
        return model, skipped, f"SmoothQuant (α = {alpha:g}): no linear layer reads what a factor can be moved into"
    seen = channel_absmax(model, [site.tensor for site in sites], batches, reporter or NullReporter())
    values: dict[str, np.ndarray] = {}
    before, after = [], []
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for site in sites:
        w = np.max([_by_input(model, layer) for layer in site.readers if layer.name not in exclude], axis=0)
        s = smoothing_factors(seen[site.tensor], w, alpha)
        for layer in site.readers:
            weight = read_weight(model, layer.weight) if layer.weight not in values else values[layer.weight]
            values[layer.weight] = weight * (s[:, None] if layer.axis == 1 else s[None])
        _divide(made, site, s, values)
        before.append(range_ratio(seen[site.tensor]))
        after.append(range_ratio(seen[site.tensor] / s))
    count = sum(len(site.readers) for site in sites)
    note = (
        f"SmoothQuant (α = {alpha:g}): {count} linear layers read smoothed activations; a channel's range over the median "
        f"channel's went from {np.median(before):.3g} to {np.median(after):.3g} (largest of a layer, median over layers)"
    )
    return with_weights(made, values), skipped, note


def find_sites(model: onnx.ModelProto, exclude: Sequence[str] = ()) -> tuple[tuple[SmoothingSite, ...], tuple[Skipped, ...]]:
    """Tensors that can be smoothed, and linear layers that cannot, with the reason."""
    walk = _Walk(model)
    sites: dict[str, SmoothingSite] = {}
    skipped = []
    for layer in [one for one in walk.layers.values() if one.name not in exclude]:
        found = walk.site(layer)
        if isinstance(found, SmoothingSite):
            sites.setdefault(found.tensor, found)
        else:
            skipped.append(Skipped(what=f"{WHAT}{layer.name}", reason=found))
    return tuple(sites.values()), tuple(skipped)


class _Walk:
    """Finds what makes and what reads the input of a linear layer."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.layers = {layer.name: layer for layer in weighted_layers(model) if layer.operator in LINEAR}
        self.constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self.maker = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in graph.output}
        values = (*graph.input, *onnx.shape_inference.infer_shapes(model).graph.value_info, *graph.output)
        self.shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in values
            if value.type.tensor_type.HasField("shape")
        }

    def site(self, layer: WeightedLayer) -> SmoothingSite | str:
        """Where the input of a layer can be smoothed, or why not."""
        tensor = layer.input
        while (node := self.maker.get(tensor)) is not None and self._moves(node):
            tensor = node.input[0]
        if node is None:
            return "it reads the network's input, which no factor can be moved into"
        readers: list[WeightedLayer] = []
        other = self._others(tensor, readers)
        if other:
            return f"what it reads is also read by {other}, which is not a linear layer"
        channels = self.shapes.get(tensor, [0])[-1]
        if node.op_type == "Relu" and len(self.readers[node.input[0]]) == 1:
            node = self.maker.get(node.input[0], node)
        added = node if node.op_type == "Add" and self._biased(node) else None
        if added is not None:
            node = self.maker[next(name for name in added.input if name not in self.constants)]
        if node.op_type == "LayerNormalization" and self.constants.get(node.input[1]) == (channels,):
            return SmoothingSite(tensor, node, None, tuple(readers))
        if node.name in self.layers and len(self.readers[node.output[0]]) == 1 and self._own_bias(node):
            return SmoothingSite(tensor, node, added, tuple(readers))
        return f"it reads the result of {node.op_type} {node.name}, which no factor can be moved into"

    def _others(self, tensor: str, found: list[WeightedLayer]) -> str:
        """Collect the linear layers that read a tensor; the name of another reader, empty without one."""
        if tensor in self.outputs:
            return "the network's output"
        for node in self.readers.get(tensor, ()):
            layer = self.layers.get(node.name)
            if layer is not None and layer.input == tensor:
                found.append(layer)
            elif self._moves(node) and node.input[0] == tensor:
                if other := self._others(node.output[0], found):
                    return other
            else:
                return f"{node.op_type} {node.name}".rstrip()
        return ""

    def _moves(self, node: onnx.NodeProto) -> bool:
        """Whether a node only moves values and keeps the last axis, that of channels."""
        if node.op_type == "Identity":
            return True
        before, after = self.shapes.get(node.input[0]), self.shapes.get(node.output[0]) if node.output else None
        if node.op_type == "Transpose":
            order = next((list(one.ints) for one in node.attribute if one.name == "perm"), [])
            return bool(order) and order[-1] == len(order) - 1
        if not before or not after or before[-1] != after[-1] or after[-1] <= 0:
            return False
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
        return node.op_type == "Reshape" or (node.op_type == "Gather" and axis % len(before) != len(before) - 1)

    def _biased(self, node: onnx.NodeProto) -> bool:
        """Whether an Add adds a bias to the product of a linear layer."""
        made = [self.maker[name] for name in node.input if name in self.maker]
        constant = [self.constants[name] for name in node.input if name in self.constants]
        return len(made) == 1 and made[0].name in self.layers and len(constant) == 1 and len(constant[0]) == 1

    def _own_bias(self, node: onnx.NodeProto) -> bool:
        return len(node.input) < 3 or len(self.constants.get(node.input[2], ())) == 1


def channel_absmax(
    model: onnx.ModelProto, tensors: Sequence[str], batches: Sequence[np.ndarray], reporter: Reporter, *, axis: int = -1
) -> dict[str, np.ndarray]:
    """Max |X_j| over samples and places, (C,), by tensor; channels are along `axis`."""
    given = model.graph.input[0].name
    runner = graphs.create_session(with_outputs(model, tensors), threads=0)
    found: dict[str, np.ndarray] = {}
    with reporter.bar("look at channels", len(batches)) as bar:
        for batch in batches:
            for name, x in zip(tensors, runner.run(tensors, {given: batch}), strict=True):
                most = np.abs(np.moveaxis(x, axis, -1)).reshape(-1, x.shape[axis]).max(0)
                found[name] = np.maximum(found[name], most) if name in found else most
            bar.advance()
    return found


def _by_input(model: onnx.ModelProto, layer: WeightedLayer) -> np.ndarray:
    """Max |W_j|, (C,)."""
    found: np.ndarray = np.abs(read_weight(model, layer.weight)).max(layer.axis)
    return found


def _divide(model: onnx.ModelProto, site: SmoothingSite, s: np.ndarray, values: dict[str, np.ndarray]) -> None:
    """Put 1/s into what makes X, in place; weights that others may scale as well go into `values`."""
    node = next(one for one in model.graph.node if one.output[0] == site.maker.output[0])
    constants = {tensor.name: tensor for tensor in model.graph.initializer}

    def replace(owner: onnx.NodeProto, place: int) -> None:
        """A constant of its own, divided by s: runtimes' files share equal ones."""
        name = f"{site.tensor}_smoothed_{place}"
        model.graph.initializer.append(from_array((to_array(constants[owner.input[place]]) / s).astype(np.float32), name))
        owner.input[place] = name

    if node.op_type == "LayerNormalization":
        for place in range(1, len(node.input)):
            replace(node, place)
        return
    layer = next(one for one in weighted_layers(model) if one.name == node.name)
    weight = values.get(layer.weight, read_weight(model, layer.weight))
    values[layer.weight] = weight / (s[None] if layer.axis == 1 else s[:, None])
    if len(node.input) > 2:
        replace(node, 2)
    if site.added is not None:
        added = next(one for one in model.graph.node if one.output[0] == site.added.output[0])
        replace(added, next(place for place, name in enumerate(added.input) if name in constants))


def range_ratio(ranges: np.ndarray) -> float:
    """Largest range of a channel over the median's."""
    return float(ranges.max() / max(float(np.median(ranges)), 1e-12))
