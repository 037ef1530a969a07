"""Ranges and biases tuned together, on unlabelled samples, so that the network's answers move least.

    min over θ, b   E_n[ log( ‖ẑ_n − z_n‖² / ‖z_n‖² ) ],        s = s₀ eᶿ

z_n are the float network's answers to sample n, ẑ_n those with every Q/DQ pair of a runtime family in place; s₀ is a step as
calibration found it, b a layer's bias; integers of weights and zero points stay. A range that is best for its own tensor is not
best for the network: what different tensors lose adds up in the answers, above all where all saturate the same samples.
Nahshan et al. 2019, Loss Aware Post-training Quantization, arXiv:1911.07190, tune steps together for that reason, without
gradients; here gradients go through the rounding as in `fake`. The logarithm makes the mean one of decibels, in which a few
samples with large errors do not rule.

An eighth of the samples is not learned from and says whether it helped; where it did not, everything stays as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.core.progress import NullReporter, Reporter
from compress.core.record import Skipped
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers, with_weights
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.onnx_to_torch import OnnxModule, module_key
from compress.quantize.qat.qdq_module import learned_ranges, to_fake_quantized
from compress.quantize.static_int8 import StaticInt8Plan

WHAT = "calibration.tune"
HELD_OUT = 8
"""One sample in so many judges and is not learned from."""
RATE = 0.03
"""Of θ: a step changes by at most so much of itself in an update."""
BIAS_RATE = 0.3
"""Of that, in root mean squares of a layer's biases."""
LARGEST_BATCH = 8
"""More updates of fewer samples: on EfficientNet-B0 31.7 dB with 8, 31.4 with 32, for as many passes."""
INPUT_VALUES = 2**21
"""Of a batch at most: 4 images of 384 × 384."""


@dataclass(frozen=True, eq=False)
class TunedRanges:
    """What came of it.

    Attributes:
        static: With tuned ranges and biases, or as it was.
        before: Mean signal to noise of the answers to samples held out, dB; None where nothing was tried.
        after: The same once tuned.
        skipped: Why not, where it could not be done.
        note: What it brought, in a sentence; empty where nothing was tried.
    """

    static: StaticInt8Plan
    before: float | None = None
    after: float | None = None
    skipped: tuple[Skipped, ...] = ()
    note: str = ""


def tune_ranges(
    static: StaticInt8Plan,
    family: str,
    samples: np.ndarray,
    *,
    passes: int,
    bits: int,
    exclude: tuple[str, ...] = (),
    seed: int = 0,
    reporter: Reporter | None = None,
) -> TunedRanges:
    """Tune the network of one family; the others get its biases, and its ranges where they watch the same tensor.

    Args:
        static: What the ladder and calibration gave.
        family: Whose Q/DQ pairs are in place.
        samples: Inputs, (N, C, H, W), float32; N ≥ 2, or two of the network's batches where that is fixed.
        passes: Over the samples that are learned from.
        bits: Of weights.
        exclude: Names of nodes that stay in float.
        seed: Of which samples are held out, and of the order of the others.
        reporter: Shows a bar.
    """
    fixed = static.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    size = fixed or max(1, min(LARGEST_BATCH, INPUT_VALUES // samples[0].size))
    unit = fixed or 1
    if len(samples) < 2 * unit:
        reason = f"{len(samples)} samples in batches of {unit} cannot both teach and judge; give {2 * unit} or more"
        return TunedRanges(static, skipped=(Skipped(what=WHAT, reason=reason),))
    try:
        module = to_fake_quantized(_on_grid(static), family, exclude, bits=bits, learned=True)
    except ConversionError as error:
        return TunedRanges(static, skipped=(Skipped(what=WHAT, reason=f"{error}; ranges stay as they were calibrated"),))
    runner = graphs.create_session(static.rescaled or static.model, threads=0)
    order = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(samples)[torch.randperm(len(samples), generator=order)[: len(samples) // unit * unit]]
    z = torch.cat([torch.from_numpy(graphs.run(runner, part.numpy())).flatten(1) for part in _parts(x, size)])
    held = max(1, len(x) // HELD_OUT // unit) * unit
    before = _decibels(module, x[:held], z[:held], size)
    optimizer = torch.optim.Adam(_free(module), betas=(0.9, 0.99))
    total = passes * math.ceil((len(x) - held) / size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    with (reporter or NullReporter()).bar("tune ranges and biases", total) as bar:
        for _ in range(passes):
            for some in _parts(held + torch.randperm(len(x) - held, generator=order), size):
                loss = _log_errors(module(x[some]), z[some]).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                bar.advance(note=f"{_in_decibels(float(loss.detach())):.1f} dB")
    after = _decibels(module, x[:held], z[:held], size)
    times = f"{passes} {'pass' if passes == 1 else 'passes'}"
    note = (
        f"ranges and biases tuned together, {times} over {len(x) - held} samples: signal to noise of the answers "
        f"{before:.1f} dB before and {after:.1f} dB after, on {held} others"
    )
    if not after > before:
        return TunedRanges(static, before, after, note=f"{note}; they stay as they were calibrated")
    return TunedRanges(_taken(static, family, exclude, module), before, after, note=note)


def _on_grid(static: StaticInt8Plan) -> StaticInt8Plan:
    """The same with the weights whose integers were chosen on their grids, where rounding to the nearest leaves them."""
    chosen = [layer for layer in weighted_layers(static.model) if layer.weight in static.grids]
    stored = [
        layer.from_matrix(static.grids[layer.weight].dequantize(), read_weight(static.model, layer.weight)) for layer in chosen
    ]
    values = {layer.weight: one for layer, one in zip(chosen, stored, strict=True)}
    return replace(static, model=with_weights(static.model, values))


def _free(module: OnnxModule) -> list[dict[str, Any]]:
    """Parameter groups of what may move: steps of activations, and biases that are no constants of the graph."""
    steps = [one.theta for one in module.rounders.values() if isinstance(one, FakeQuantize) and one.theta.requires_grad]
    biases = [one.bias for one in module.layers.values() if isinstance(one.bias, nn.Parameter) and one.bias.requires_grad]
    sizes = [float(one.detach().square().mean().sqrt()) for one in biases]
    module.requires_grad_(False)
    for one in (*steps, *biases):
        one.requires_grad_(True)
    own = [{"params": [one], "lr": RATE * BIAS_RATE * size} for one, size in zip(biases, sizes, strict=True)]
    return [{"params": steps, "lr": RATE}, *own]


def _log_errors(found: Tensor, z: Tensor) -> Tensor:
    """Log(‖ẑ − z‖² / ‖z‖²) of each sample."""
    least = torch.finfo(z.dtype).tiny
    noise, signal = (found.flatten(1) - z).square().sum(1), z.square().sum(1)
    return (noise.clamp_min(least) / signal.clamp_min(least)).log()


def _parts(values: Tensor, size: int) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = torch.split(values, size)
    return found


def _in_decibels(log_error: float) -> float:
    return -10 / math.log(10) * log_error


@torch.no_grad()
def _decibels(module: OnnxModule, x: Tensor, z: Tensor, size: int) -> float:
    """Mean signal to noise of the answers."""
    errors = [_log_errors(module(some), of) for some, of in zip(_parts(x, size), _parts(z, size), strict=True)]
    return _in_decibels(float(torch.cat(errors).mean()))


def _taken(static: StaticInt8Plan, family: str, exclude: tuple[str, ...], module: OnnxModule) -> StaticInt8Plan:
    layers = [layer for layer in weighted_layers(static.model) if layer.bias]
    biases = {layer.bias: module.layers[module_key(layer.name)].bias for layer in layers}
    values = {name: one.detach().numpy() for name, one in biases.items() if isinstance(one, Tensor)}
    ranges = learned_ranges(static, family, exclude, module)
    return replace(static, model=with_weights(static.model, values), ranges=ranges)
