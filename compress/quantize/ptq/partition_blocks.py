"""Blocks of a network: what stands between two tensors through which everything has to pass.

Where only one tensor is alive in graph order, the network can be cut. Inside a residual block two are, the branch and the skip,
so it stays whole; a chain can be cut after each layer. Neighbouring cuts inside one module of the size of a block, such as an
inverted bottleneck with a stride and therefore no skip, are closed again (Li et al. 2021, arXiv:2102.05426, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import onnx

from compress.quantize.ptq.weighted_layers import WeightedLayer


@dataclass(frozen=True)
class ReconstructionBlock:
    """A part of a network with one input and one output.

    Attributes:
        nodes: In graph order.
        layers: Those with weights to round.
        start: Tensor that it reads.
        stop: Tensor that it gives.
    """

    nodes: tuple[onnx.NodeProto, ...]
    layers: tuple[WeightedLayer, ...]
    start: str
    stop: str

    def __str__(self) -> str:
        names = [layer.name for layer in self.layers]
        return names[0] if len(names) == 1 else ".".join(_common(self.layers)) or f"{names[0]} … {names[-1]}"


def partition_blocks(model: onnx.ModelProto, layers: Sequence[WeightedLayer]) -> tuple[ReconstructionBlock, ...]:
    """Blocks in graph order that hold all of `layers`; what has no weights goes with the block before it.

    Args:
        model: Float network.
        layers: Those to round.
    """
    known = {layer.name: layer for layer in layers}
    found: list[ReconstructionBlock] = []
    start, nodes = model.graph.input[0].name, list[onnx.NodeProto]()
    for node, cut in _cuts(model):
        nodes.append(node)
        if not cut:
            continue
        block = ReconstructionBlock(tuple(nodes), tuple(known[one.name] for one in nodes if one.name in known), start, cut)
        if block.layers or not found:
            found.append(block)
        else:
            found[-1] = _joined(found[-1], block)
        start, nodes = cut, []
    if len(found) > 1 and not found[0].layers:
        found[:2] = [_joined(found[0], found[1])]
    return _closed([block for block in found if block.layers])


def _cuts(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """Each node, with the one tensor that is alive after it; empty where there are several."""
    nodes = list(model.graph.node)
    constant = {tensor.name for tensor in model.graph.initializer} | {""}
    answers = {value.name for value in model.graph.output}
    last = {name: number for number, node in enumerate(nodes) for name in node.input}
    alive = {model.graph.input[0].name}
    found = []
    for number, node in enumerate(nodes):
        if all(name in constant for name in node.input):
            constant |= set(node.output)
        else:
            alive |= {name for name in node.output if name in last or name in answers}
        alive = {name for name in alive if last.get(name, -1) > number or name in answers}
        found.append((node, next(iter(alive)) if len(alive) == 1 else ""))
    return found


def _joined(first: ReconstructionBlock, second: ReconstructionBlock) -> ReconstructionBlock:
    return ReconstructionBlock((*first.nodes, *second.nodes), (*first.layers, *second.layers), first.start, second.stop)


def _closed(blocks: list[ReconstructionBlock]) -> tuple[ReconstructionBlock, ...]:
    """Neighbours inside one module become one, as deep in the network's names as its smallest uncut block."""
    depths = [len(_common(block.layers)) for block in blocks if len(block.layers) > 1]
    depth = min(depths, default=0)
    found: list[ReconstructionBlock] = []
    for block in blocks:
        module = _common(block.layers)[:depth]
        if found and depth and len(module) == depth and module == _common(found[-1].layers)[:depth]:
            found[-1] = _joined(found[-1], block)
        else:
            found.append(block)
    return tuple(found)


def _common(layers: Sequence[WeightedLayer]) -> list[str]:
    """Names of the modules around all of them; of one layer, its own path."""
    paths = [layer.name.split(".") for layer in layers]
    shared = (names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False)))
    return list(shared)
