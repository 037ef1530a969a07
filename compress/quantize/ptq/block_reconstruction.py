"""Block-wise reconstruction of a network: each block is rounded with the output of the rounded blocks before it as input.

    samples ─► block 1 (rounded) ─► x̂ ─► block 2 (being learned) ─► ẑ ≈ z ◄─ block 2 ◄─ x ◄─ … the float network

See `brecq` for the optimization of one block. f is the diagonal of the Fisher information of the float network at the block's
output z, without labels: f_i = E[(∂L / ∂z_i)²] with L = −log p(c | x) and class c sampled from p(· | x). The mean is over the
samples, because the gradient of a sample that is classified with certainty is close to 0, and it would have no weight alone.
Memory contains the inputs and outputs of one block for as many samples as fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.func import functional_call

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.runner_protocol import Feeds
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.progress import NullReporter, Reporter
from compress.quantize.ptq.brecq import BlockProblem, brecq
from compress.quantize.ptq.partition_blocks import ReconstructionBlock, partition_blocks
from compress.quantize.ptq.quantized_weight import QuantizedWeight
from compress.quantize.ptq.round_weights import PreparedModel, RoundingOptions, round_weights
from compress.quantize.ptq.weighted_layers import WeightedLayer
from compress.quantize.qat.onnx_to_torch import GraphPart, module_key, to_torch

HELD_BYTES = 2**28
"""Limit of the bytes of the inputs and outputs of one block."""
BATCH_VALUES = 2**23
"""Limit of the input and output values of one block per iteration, which reduces the batch size for large images."""
LARGEST_BATCH = 32
FEWEST_SAMPLES = 16
"""Samples that are used even if they exceed `HELD_BYTES`."""


@dataclass(eq=False)
class Reconstruction:
    """Rounds the blocks of a network one after the other.

    Attributes:
        model: Float network.
        weights: Each weight rounded to the nearest, by initializer; replaced block by block.
        batches: Calibration inputs by name.
        options: Bits and iterations.
        learned: Dequantized weights of the rounded blocks, in the shape of the initializer, by initializer.
        error_ratios: Error of each learned block ÷ error of rounding to the nearest.
        skipped: Facts on what was skipped.
        samples: Smallest number of samples used for a block.
    """

    model: ir.Model
    weights: dict[str, QuantizedWeight]
    batches: Sequence[Feeds]
    options: RoundingOptions
    learned: dict[str, np.ndarray] = field(default_factory=dict)
    error_ratios: list[float] = field(default_factory=list)
    skipped: list[Fact] = field(default_factory=list)
    samples: int = 0

    def round_block(self, block: ReconstructionBlock) -> None:
        """Learn the integers of one block.

        Raises:
            ConversionError: An operator of the block has no torch equivalent here.
        """
        layers = {layer.name: layer for layer in block.layers}
        part = to_torch(self.model, layers, part=GraphPart(block.nodes, block.start, block.stop))
        part.requires_grad_(False)
        x, z = _block_inputs_outputs(self.model, block, self.batches, self.learned)
        names = [f"layers.{module_key(layer.name)}.weight" for layer in block.layers]
        parameters = dict(part.named_parameters())
        weights = [parameters[name] for name in names]
        scales = [
            _shape_scale(self.weights[layer.weight].s, layer, w.ndim) for layer, w in zip(block.layers, weights, strict=True)
        ]

        def compute(values: Sequence[Tensor], inputs: Tensor) -> Tensor:
            outputs: Tensor = functional_call(part, dict(zip(names, values, strict=True)), (inputs,))
            return outputs

        try:
            fisher = fisher_diagonal(self.model, block.stop, z)
        except ConversionError as error:
            self.skipped.append(Fact.of("quantize_ptq.fisher_not_available", str(block), error=message_of(error)))
            fisher = None
        batch_size = max(2, min(LARGEST_BATCH, BATCH_VALUES // (x[0].numel() + z[0].numel())))
        problem = BlockProblem(compute, weights, scales, x, z, self.options.bits, fisher, batch_size)
        integers, least, nearest = brecq(problem, iterations=self.options.iterations)
        for layer, q, s in zip(block.layers, integers, scales, strict=True):
            self.weights[layer.weight] = replace(self.weights[layer.weight], q=layer.to_matrix(q.numpy()))
            self.learned[layer.weight] = (q * s).numpy()
        self.error_ratios.append(least / nearest if nearest > 0 else 1.0)
        self.samples = min(self.samples or len(x), len(x))


def round_by_blocks(
    model: ir.Model,
    batches: Sequence[Feeds],
    options: RoundingOptions,
    *,
    exclude: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> PreparedModel:
    """Row `brecq` of the registry: learn the integers of all weights block by block. See `round_weights` for the arguments.

    Layers of blocks with an operator without torch equivalent are rounded by AdaRound.
    """
    nearest = round_weights(model, batches, replace(options, rounding="nearest"), exclude=exclude)
    layers = list(nearest.layers.values())
    work = Reconstruction(model, dict(nearest.weights), batches, options)
    blocks = partition_blocks(model, layers)
    with (reporter or NullReporter()).bar(gettext("reconstruct blocks"), len(blocks)) as bar:
        for block in blocks:
            try:
                work.round_block(block)
            except ConversionError as error:
                work.skipped.append(Fact.of("quantize_ptq.block_not_reconstructed", str(block), error=message_of(error)))
            bar.advance(note=str(block))
    notes: tuple[Fact, ...] = (_note(work),)
    weights = work.weights
    if len(work.learned) < len(layers):
        learned = tuple(layer.name for layer in layers if layer.weight in work.learned)
        others = round_weights(model, batches, replace(options, rounding="adaround"), exclude=(*exclude, *learned))
        weights = {**weights, **others.weights}
        notes = (*notes, *others.notes)
    return replace(nearest, weights=weights, skipped=(*nearest.skipped, *work.skipped), notes=notes)


def _note(work: Reconstruction) -> Fact:
    median = float(np.median(work.error_ratios or [1.0]))
    return Fact.of("quantize_ptq.block_error", "brecq", ratio=median, blocks=len(work.error_ratios), samples=work.samples)


def _shape_scale(s: np.ndarray, layer: WeightedLayer, dims: int) -> Tensor:
    """Scales in a shape that broadcasts against the weight."""
    return torch.from_numpy(s.reshape([-1 if axis == layer.axis else 1 for axis in range(dims)]))


def _block_inputs_outputs(
    model: ir.Model, block: ReconstructionBlock, batches: Sequence[Feeds], learned: Mapping[str, np.ndarray]
) -> tuple[Tensor, Tensor]:
    """x̂ from the network with all earlier blocks rounded, and z from the float network."""
    exact = onnx_session.create_session(graphs.with_outputs(model, [block.stop], only=True), threads=0)
    quantized = None
    if block.start not in {value.name for value in model.graph.inputs}:
        before = graphs.with_outputs(graphs.with_initializers(model, learned), [block.start], only=True)
        quantized = onnx_session.create_session(before, threads=0)
    x, z, stored_bytes = list[np.ndarray](), list[np.ndarray](), 0
    for batch in batches:
        x.append(batch[block.start] if quantized is None else quantized.run([block.start], batch)[0])
        z.append(exact.run([block.stop], batch)[0])
        stored_bytes += x[-1].nbytes + z[-1].nbytes
        if stored_bytes > HELD_BYTES and sum(map(len, x)) >= FEWEST_SAMPLES:
            break
    return torch.from_numpy(np.concatenate(x)), torch.from_numpy(np.concatenate(z))


def fisher_diagonal(model: ir.Model, name: str, z: Tensor, *, seed: int = 0) -> Tensor:
    """Fisher diagonal f of a tensor, in the shape of one sample of `z`, scaled to mean 1.

    Args:
        model: Float network.
        name: Name of the tensor; the nodes after it read no other activation.
        z: Values of the tensor, (N, …).
        seed: Seed for the sampled classes.

    Raises:
        ConversionError: An operator after the tensor has no torch equivalent here, or the outputs are not (N, K).
    """
    stop = str(model.graph.outputs[0].name)
    tail = to_torch(model, {}, part=GraphPart(tuple(_nodes_after(model, name)), start=name, stop=stop))
    tail.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros_like(z[0])
    for part in torch.split(z, LARGEST_BATCH):
        values = part.clone().requires_grad_()
        logits = tail(values)
        if logits.ndim != 2 or logits.shape[1] < 2:
            msg = gettext("outputs of shape {shape} are not class scores (N, K)", shape=tuple(logits.shape))
            raise ConversionError(msg)
        probabilities = torch.softmax(logits.detach(), 1)
        classes = torch.multinomial(probabilities, 1, generator=generator)
        loss = -torch.log_softmax(logits, 1).gather(1, classes).sum()
        (gradient,) = torch.autograd.grad(loss, values)
        total += gradient.square().sum(0)
    mean = total.mean()
    return total / mean if mean > 0 else torch.ones_like(total)


def _nodes_after(model: ir.Model, name: str) -> list[ir.Node]:
    """Nodes that depend on a tensor, and nodes that compute constants."""
    constants: set[ir.Value | None] = {None, *model.graph.initializers.values()}
    dependent: set[ir.Value | None] = {graphs.find_value(model, name)}
    nodes = []
    for node in model.graph:
        if all(value in constants for value in node.inputs):
            constants.update(node.outputs)
            nodes.append(node)
        elif dependent & set(node.inputs):
            dependent.update(node.outputs)
            nodes.append(node)
    return nodes
