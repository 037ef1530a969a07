"""Block-wise reconstruction of a whole network: block after block, each given what the rounded ones before it give.

    ŷ₀ = samples ─► block 1 (rounded) ─► ŷ₁ ─► block 2 (being learned) ─► ẑ ≈ z ◄─ block 2 ◄─ … the float network

See `brecq` for what is learned of one block. f is the diagonal of the Fisher information of the float network at the block's
output z, without labels: E[(∂L / ∂z_i)²] with L = −log p(c | x) and the class c drawn from p(· | x). The mean is taken over the
samples: of a single one that is classified beyond doubt it is all but 0, and such samples would teach nothing. Memory holds
inputs and outputs of one block, of as many samples as fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.func import functional_call

from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.core.progress import NullReporter, Reporter
from compress.core.record import Skipped
from compress.quantize.calibration.observe import with_outputs
from compress.quantize.ptq import pipeline as ladder
from compress.quantize.ptq.brecq import brecq
from compress.quantize.ptq.partition_blocks import ReconstructionBlock, partition_blocks
from compress.quantize.ptq.pipeline import PreparedModel
from compress.quantize.ptq.weighted_layers import WeightedLayer, with_weights
from compress.quantize.qat.onnx_to_torch import OnnxModule, module_key, to_torch

HELD_BYTES = 2**28
"""Of the inputs and outputs of one block."""
STEP_VALUES = 2**23
"""Values of inputs and outputs of one block that a step looks at; 224 × 224 images then come in batches of a few."""
LARGEST_BATCH = 32
FEWEST = 16
"""Samples to learn from, whatever they take."""


@dataclass(eq=False)
class Reconstruction:
    """What was learned.

    Attributes:
        integers: By weight initializer, (G, K, D), int8; layers of blocks that cannot be replayed are not here.
        gains: Error of each block that was learned over that of rounding to the nearest.
        skipped: What could not be done.
        samples: Fewest samples that a block was learned from.
    """

    integers: dict[str, np.ndarray] = field(default_factory=dict)
    gains: dict[str, float] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    samples: int = 0

    def note(self) -> str:
        """What it brought, in a sentence."""
        median = float(np.median(list(self.gains.values()) or [1.0]))
        return (
            f"brecq: error of a block's output at {median:.0%} of nearest rounding's (median over {len(self.gains)} blocks, "
            f"learned from {self.samples} samples or more)"
        )


def reconstruct(
    model: onnx.ModelProto,
    layers: Sequence[WeightedLayer],
    s: Mapping[str, np.ndarray],
    batches: Sequence[np.ndarray],
    bits: int,
    *,
    iterations: int,
    reporter: Reporter | None = None,
) -> Reconstruction:
    """Integers for the weights of all layers.

    Args:
        model: Float network.
        layers: To round, in graph order.
        s: Steps, (G, K), by weight initializer.
        batches: Calibration inputs.
        bits: Levels are 2^bits.
        iterations: For each block.
        reporter: Shows a bar.
    """
    found = Reconstruction()
    rounded_weights = dict[str, np.ndarray]()
    blocks = partition_blocks(model, layers)
    with (reporter or NullReporter()).bar("reconstruct blocks", len(blocks)) as bar:
        for block in blocks:
            try:
                _one(model, block, s, batches, bits, iterations, rounded_weights, found)
            except ConversionError as error:
                reason = f"{error}; its layers are rounded one by one by adaround"
                found.skipped.append(Skipped(what=f"brecq of {block}", reason=reason))
            bar.advance(note=str(block))
    return found


def _one(
    model: onnx.ModelProto,
    block: ReconstructionBlock,
    s: Mapping[str, np.ndarray],
    batches: Sequence[np.ndarray],
    bits: int,
    iterations: int,
    rounded_weights: dict[str, np.ndarray],
    found: Reconstruction,
) -> None:
    """Learn one block; its weights on their grid are added to `rounded_weights`, and what there is to tell to `found`."""
    part = to_torch(model, {layer.name: layer for layer in block.layers}, nodes=block.nodes, start=block.start, stop=block.stop)
    part.requires_grad_(False)
    x, z = _ends(model, block, batches, rounded_weights)
    names = [f"layers.{module_key(layer.name)}.weight" for layer in block.layers]
    weights = [dict(part.named_parameters())[name] for name in names]
    steps = [_shaped(s[layer.weight], layer, w.ndim) for layer, w in zip(block.layers, weights, strict=True)]
    try:
        fisher = fisher_diagonal(model, block.stop, z)
    except ConversionError as error:
        found.skipped.append(Skipped(what=f"gradients for brecq of {block}", reason=f"{error}; all outputs count alike"))
        fisher = None
    size = x[0].numel() + z[0].numel()
    integers, least, plain = brecq(
        lambda values, inputs: _with(part, names, values, inputs),
        weights,
        steps,
        x,
        z,
        bits,
        iterations=iterations,
        fisher=fisher,
        batch_size=max(2, min(LARGEST_BATCH, STEP_VALUES // size)),
    )
    for layer, q, step in zip(block.layers, integers, steps, strict=True):
        found.integers[layer.weight] = layer.to_matrix(q.numpy())
        rounded_weights[layer.weight] = (q * step).numpy()
    found.gains[str(block)] = least / plain if plain > 0 else 1.0
    found.samples = min(found.samples or len(x), len(x))


def _with(part: OnnxModule, names: Sequence[str], values: Sequence[Tensor], inputs: Tensor) -> Tensor:
    found: Tensor = functional_call(part, dict(zip(names, values, strict=True)), (inputs,))
    return found


def _shaped(s: np.ndarray, layer: WeightedLayer, dims: int) -> Tensor:
    """Steps as they multiply the weight as stored."""
    return torch.from_numpy(s.reshape([-1 if axis == layer.axis else 1 for axis in range(dims)]))


def _ends(
    model: onnx.ModelProto, block: ReconstructionBlock, batches: Sequence[np.ndarray], rounded_weights: Mapping[str, np.ndarray]
) -> tuple[Tensor, Tensor]:
    """X̂ of the network with all blocks before it rounded, and z of the float one."""
    exact = _runner(model, block.stop)
    given = model.graph.input[0].name
    so_far = None if block.start == given else _runner(with_weights(model, rounded_weights), block.start)
    x, z, held = list[np.ndarray](), list[np.ndarray](), 0
    for batch in batches:
        x.append(batch if so_far is None else so_far.run([block.start], {given: batch})[0])
        z.append(exact.run([block.stop], {given: batch})[0])
        held += x[-1].nbytes + z[-1].nbytes
        if held > HELD_BYTES and sum(map(len, x)) >= FEWEST:
            break
    return torch.from_numpy(np.concatenate(x)), torch.from_numpy(np.concatenate(z))


def _runner(model: onnx.ModelProto, name: str) -> onnxruntime.InferenceSession:
    """Runs the network as far as one tensor: the runtime drops what no output needs."""
    wanted = with_outputs(model, [name])
    kept = next(value for value in wanted.graph.output if value.name == name)
    del wanted.graph.output[:]
    wanted.graph.output.append(kept)
    return graphs.create_session(wanted, threads=0)


def fisher_diagonal(model: onnx.ModelProto, name: str, z: Tensor, *, seed: int = 0) -> Tensor:
    """F of each value of a tensor, shaped as one sample of `z` and 1 on average.

    Args:
        model: Float network.
        name: The tensor; all that comes after depends on it alone.
        z: What it holds, of some samples.
        seed: Of the classes that are drawn.

    Raises:
        ConversionError: An operator behind it has no counterpart with gradients, or the answers are not (N, K).
    """
    nodes = _after(model, name)
    tail = to_torch(model, {}, nodes=nodes, start=name)
    tail.requires_grad_(False)
    draw = torch.Generator().manual_seed(seed)
    total = torch.zeros_like(z[0])
    for part in torch.split(z, LARGEST_BATCH):
        values = part.clone().requires_grad_()
        logits = tail(values)
        if logits.ndim != 2 or logits.shape[1] < 2:
            msg = f"answers of shape {tuple(logits.shape)} are not those of a classifier"
            raise ConversionError(msg)
        chances = torch.softmax(logits.detach(), 1)
        classes = torch.multinomial(chances, 1, generator=draw)
        loss = -torch.log_softmax(logits, 1).gather(1, classes).sum()
        (slope,) = torch.autograd.grad(loss, values)
        total += slope.square().sum(0)
    mean = total.mean()
    return total / mean if mean > 0 else torch.ones_like(total)


def _after(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    """Nodes that a tensor reaches, with those that compute constants for them."""
    constant = {tensor.name for tensor in model.graph.initializer} | {""}
    reached, kept = {name}, list[onnx.NodeProto]()
    for node in model.graph.node:
        fixed = all(one in constant for one in node.input)
        if fixed:
            constant |= set(node.output)
        elif reached & set(node.input):
            reached |= set(node.output)
        if fixed or reached & set(node.input):
            kept.append(node)
    return kept


def round_by_blocks(
    model: onnx.ModelProto,
    batches: Sequence[np.ndarray],
    *,
    bits: int,
    per_channel: bool,
    search: bool,
    iterations: int,
    exclude: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> PreparedModel:
    """The rung of the ladder: integers for all weights, learned block by block; arguments as of `ladder.rounded`."""
    options: dict[str, Any] = {
        "bits": bits,
        "per_channel": per_channel,
        "search": search,
        "iterations": iterations,
        "correction": "none",
    }
    plain = ladder.round_weights(model, batches, rounding="nearest", exclude=exclude, **options)
    layers = list(plain.layers.values())
    s = {name: grid.s for name, grid in plain.grids.items()}
    found = reconstruct(model, layers, s, batches, bits, iterations=iterations, reporter=reporter)
    grids = {name: replace(plain.grids[name], q=q) for name, q in found.integers.items()}
    notes: tuple[str, ...] = (found.note(),)
    if len(grids) < len(layers):
        done = tuple(layer.name for layer in layers if layer.weight in grids)
        others = ladder.round_weights(model, batches, rounding="adaround", exclude=(*exclude, *done), **options)
        grids |= others.grids
        notes = (*notes, *others.notes)
    return replace(plain, grids=grids, skipped=(*plain.skipped, *found.skipped), notes=notes)
