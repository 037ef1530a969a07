"""Partition a network into blocks, the parts between two tensors that all data passes through.

A network can be cut where only one tensor is alive in graph order. Inside a residual block two are alive, the branch and the
skip, so it is one block; a chain can be cut after each layer. Adjacent parts inside one module of the size of a block, such as
an inverted bottleneck with a stride and therefore without skip, are merged (Li et al. 2021, arXiv:2102.05426, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import onnx_ir as ir

from compress.quantize.ptq.weighted_layers import WeightedLayer


@dataclass(frozen=True)
class ReconstructionBlock:
    """A part of a network with one input and one output.

    Attributes:
        nodes: Nodes in graph order.
        layers: Layers whose weights are rounded.
        start: Input tensor.
        stop: Output tensor.
    """

    nodes: tuple[ir.Node, ...]
    layers: tuple[WeightedLayer, ...]
    start: str
    stop: str

    def __str__(self) -> str:
        names = [layer.name for layer in self.layers]
        return names[0] if len(names) == 1 else ".".join(_common_path(self.layers)) or f"{names[0]} … {names[-1]}"


def partition_blocks(model: ir.Model, layers: Sequence[WeightedLayer]) -> tuple[ReconstructionBlock, ...]:
    """Blocks in graph order that contain `layers`; nodes without weights belong to the block before them.

    In a network with several inputs, layers before the first tensor that depends on all inputs are in no block.

    Args:
        model: Float network.
        layers: Layers to round.
    """
    layers_by_name = {layer.name: layer for layer in layers}
    blocks: list[ReconstructionBlock] = []
    inputs = [str(value.name) for value in model.graph.inputs]
    start, nodes = inputs[0] if len(inputs) == 1 else "", list[ir.Node]()
    for node, cut in _cut_points(model):
        nodes.append(node)
        if not cut:
            continue
        block_layers = tuple(layers_by_name[str(node.name)] for node in nodes if node.name in layers_by_name)
        block = ReconstructionBlock(tuple(nodes), block_layers, start, cut)
        if block.layers or not blocks:
            blocks.append(block)
        else:
            blocks[-1] = _merge(blocks[-1], block)
        start, nodes = cut, []
    blocks = [block for block in blocks if block.start]
    if len(blocks) > 1 and not blocks[0].layers:
        blocks[:2] = [_merge(blocks[0], blocks[1])]
    return _merge_inside_modules([block for block in blocks if block.layers])


def _cut_points(model: ir.Model) -> list[tuple[ir.Node, str]]:
    """Each node with the only tensor that is alive after it; an empty name if there are several."""
    nodes = list(model.graph)
    position = {node: index for index, node in enumerate(nodes)}
    constants = set(model.graph.initializers.values())
    alive = set(model.graph.inputs)
    cuts = []
    for index, node in enumerate(nodes):
        if all(value is None or value in constants for value in node.inputs):
            constants.update(node.outputs)
        else:
            alive.update(node.outputs)
        alive = {
            value
            for value in alive
            if value.is_graph_output() or any(position.get(consumer, -1) > index for consumer in value.consumers())
        }
        cuts.append((node, str(next(iter(alive)).name) if len(alive) == 1 else ""))
    return cuts


def _merge(first: ReconstructionBlock, second: ReconstructionBlock) -> ReconstructionBlock:
    return ReconstructionBlock((*first.nodes, *second.nodes), (*first.layers, *second.layers), first.start, second.stop)


def _merge_inside_modules(blocks: list[ReconstructionBlock]) -> tuple[ReconstructionBlock, ...]:
    """Merge adjacent blocks of one module; its depth in the module hierarchy is the least of blocks with several layers."""
    depths = [len(_common_path(block.layers)) for block in blocks if len(block.layers) > 1]
    depth = min(depths, default=0)
    merged: list[ReconstructionBlock] = []
    for block in blocks:
        module = _common_path(block.layers)[:depth]
        if merged and depth and len(module) == depth and module == _common_path(merged[-1].layers)[:depth]:
            merged[-1] = _merge(merged[-1], block)
        else:
            merged.append(block)
    return tuple(merged)


def _common_path(layers: Sequence[WeightedLayer]) -> list[str]:
    """Common module path of layers; for one layer, its own path."""
    paths = [layer.name.split(".") for layer in layers]
    return [names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))]
