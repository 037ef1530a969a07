"""Attention as one `MultiHeadAttention` of ONNX Runtime.

    scores = c · heads(Q) heads(K)ᵀ + bias          heads: (N, L, W) → (N, H, L, W / H)
    result = merge(softmax(scores) heads(V))        merge: back to (N, L, W)

Exporters write some thirty nodes for it, among them copies of scores with a guard against NaN, whose cost grows with L². ONNX
Runtime's own fusion does not know that form. The projections before and the bias of each stay nodes of their own, so that they
can be quantized.

The bias of a padding mask, 0 where a token is and −∞ elsewhere, becomes the operator's `key_padding_mask`; any other bias its
`attention_bias`. Which one holds is not read off the graph but decided by numbers, see `fuse`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs

DOMAIN, VERSION = "com.microsoft", 1
HEADS_FIRST, KEYS_LAST = (0, 2, 1, 3), (0, 2, 3, 1)
MOVES = ("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Identity")


@dataclass(frozen=True)
class AttentionSite:
    """The tensors of one attention.

    Attributes:
        query: Q, (N, L, W).
        key: K, (N, L, W).
        value: V, (N, L, W).
        heads: A tensor (N, H, L, W / H).
        bias: Tensor that is added to the scores; None without one.
        scale: c.
        result: The merged heads, (N, L, W).
    """

    query: ir.Value
    key: ir.Value
    value: ir.Value
    heads: ir.Value
    bias: ir.Value | None
    scale: float
    result: ir.Value


def find_attention(model: ir.Model) -> tuple[AttentionSite, ...]:
    """The attentions of a network that have the form above, in graph order."""
    sites = (_site(node) for node in model.graph if node.op_type == "Softmax")
    return tuple(site for site in sites if site is not None)


def padding_mask_of(site: AttentionSite) -> ir.Value | None:
    """The integer input (N, L) that alone determines the bias of an attention, apart from shapes; None if there is none."""
    if site.bias is None:
        return None
    inputs = {value.name: value for value in _ancestors(site.bias) if value.is_graph_input()}
    candidates = [value for value in inputs.values() if value.dtype in (ir.DataType.INT64, ir.DataType.INT32)]
    is_mask = len(inputs) == 1 and len(candidates) == 1 and candidates[0].shape is not None and len(candidates[0].shape) == 2
    return candidates[0] if is_mask else None


def replace_attention(model: ir.Model, site: AttentionSite, heads: int, mask: ir.Value | None) -> None:
    """Replace an attention, in place; nodes that nothing reads any more stay.

    Args:
        model: The network.
        site: The attention.
        heads: H.
        mask: Padding mask, int32 (N, L), in place of the bias; None to add the bias.
    """
    merge = site.result.producer()
    if merge is None:
        return
    inputs = [site.query, site.key, site.value, None, mask] + ([site.bias] if mask is None and site.bias is not None else [])
    while inputs[-1] is None:
        inputs.pop()
    name = str(site.result.name)
    node = ir.node(
        "MultiHeadAttention", inputs, {"num_heads": heads, "scale": float(site.scale)}, domain=DOMAIN, name=str(merge.name),
        outputs=[ir.Value(name=f"{name}_fused")],
    )  # fmt: skip
    model.graph.insert_after(merge, node)
    result = node.outputs[0]
    result.type, result.shape = site.result.type, site.result.shape
    site.result.replace_all_uses_with(result, replace_graph_outputs=True)
    site.result.name, merge.name = f"{name}_merged", f"{merge.name}_merged"
    result.name = name
    model.graph.opset_imports[DOMAIN] = VERSION


def int32_mask(model: ir.Model, mask: ir.Value) -> ir.Value:
    """A padding mask as int32, converted once at the start of the network."""
    name = f"{mask.name}_int32"
    for node in mask.consumers():
        if node.op_type == "Cast" and node.outputs[0].name == name:
            return node.outputs[0]
    cast = graphs.make_node("Cast", [mask], [name], to=ir.DataType.INT32.value)
    cast.outputs[0].type = ir.TensorType(ir.DataType.INT32)
    model.graph.insert_before(model.graph[0], cast)
    return cast.outputs[0]


def _site(softmax: ir.Node) -> AttentionSite | None:
    scores = _scores(softmax.inputs[0])
    weighted = _only_reader(_after_guard(softmax.outputs[0]))
    if graphs.attributes(softmax).get("axis", -1) not in (-1, 3) or scores is None or weighted is None:
        return None
    if weighted.op_type != "MatMul" or weighted.inputs[1] is None or scores.product.inputs[0] is None:
        return None
    merged = _only_reader(weighted.outputs[0])
    if merged is None or merged.op_type != "Transpose" or _order(merged) != HEADS_FIRST:
        return None
    reshape = _only_reader(merged.outputs[0])
    if reshape is None or reshape.op_type != "Reshape":
        return None
    query, key = (_before_split(value) for value in scores.product.inputs[:2])
    value = _before_split(weighted.inputs[1])
    if query is None or key is None or value is None or value.scale != 1.0:
        return None
    scale = scores.scale * query.scale * key.scale
    heads = scores.product.inputs[0]
    return AttentionSite(query.source, key.source, value.source, heads, scores.bias, scale, reshape.outputs[0])


@dataclass(frozen=True)
class _Scores:
    """scale · product + bias."""

    product: ir.Node
    scale: float = 1.0
    bias: ir.Value | None = None


def _scores(value: ir.Value | None) -> _Scores | None:
    """The product behind the input of a softmax, through one sum and constant factors before it."""
    node = None if value is None else value.producer()
    if node is None or len(node.outputs[0].uses()) != 1:
        return None
    if node.op_type == "MatMul":
        return None if any(source is not None and source.is_initializer() for source in node.inputs) else _Scores(node)
    if node.op_type in ("Mul", "Div"):
        factor, source = _constant_factor(node)
        inner = _scores(source)
        return None if factor is None or inner is None or inner.bias else _Scores(inner.product, inner.scale * factor)
    if node.op_type == "Add":
        for first, second in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
            inner = _scores(first)
            if inner is not None and inner.bias is None and second is not None:
                return _Scores(inner.product, inner.scale, second)
    return None


@dataclass(frozen=True)
class _Split:
    """A tensor before its split into heads, and the factor on the way."""

    source: ir.Value
    scale: float


def _before_split(value: ir.Value | None) -> _Split | None:
    """The tensor (N, L, W) behind nodes that only move values or multiply by a constant."""
    scale, reshaped = 1.0, False
    while value is not None and (node := value.producer()) is not None:
        if node.op_type in ("Mul", "Div"):
            factor, source = _constant_factor(node)
            if factor is None:
                break
            scale, value = scale * factor, source
        elif node.op_type in MOVES:
            reshaped = reshaped or node.op_type == "Reshape"
            value = node.inputs[0]
        else:
            break
    return None if value is None or not reshaped else _Split(value, scale)


def _constant_factor(node: ir.Node) -> tuple[float | None, ir.Value | None]:
    """The number that a Mul or Div multiplies by, and the tensor that is multiplied."""
    for index in (1, 0) if node.op_type == "Mul" else (1,):
        array = graphs.constant(node.inputs[index])
        if array is not None and array.size == 1:
            number = float(np.asarray(array).reshape(()))
            return (number if node.op_type == "Mul" else 1 / number), node.inputs[1 - index]
    return None, None


def _after_guard(probabilities: ir.Value) -> ir.Value:
    """The probabilities behind Where(IsNaN(p), 0, p), which exporters add for rows without any token."""
    readers = {node.op_type: node for node in probabilities.consumers()}
    if set(readers) == {"IsNaN", "Where"} and readers["Where"].inputs[0] is readers["IsNaN"].outputs[0]:
        return readers["Where"].outputs[0]
    return probabilities


def _only_reader(value: ir.Value) -> ir.Node | None:
    readers = [*value.consumers()]
    return readers[0] if len(readers) == 1 and not value.is_graph_output() else None


def _order(node: ir.Node) -> tuple[int, ...]:
    order: Mapping[str, tuple[int, ...]] = graphs.attributes(node)
    return tuple(order.get("perm", ()))


def _ancestors(value: ir.Value) -> Iterator[ir.Value]:
    """Tensors that a tensor is computed from, and itself; not through the shape of one."""
    seen: set[ir.Value] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        node = current.producer()
        if node is not None and node.op_type not in ("Shape", "Size"):
            pending += [source for source in node.inputs if source is not None]
