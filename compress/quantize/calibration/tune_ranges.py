"""Learn activation ranges and biases together on unlabelled samples, such that the outputs of the network change least.

    min over θ, b   E_n[ log( ‖ẑ_n − z_n‖² / ‖z_n‖² ) ],        s = s₀ eᶿ

z_n are the outputs of the float network for sample n, ẑ_n those of the network with all Q/DQ pairs of a runtime; s₀ is a
calibrated scale, b the bias of a layer. Integer weights and zero points do not change. The best range for a tensor alone is not
the best for the network, because the errors of different tensors add up in the outputs. For that reason Nahshan et al. 2019,
Loss Aware Post-training Quantization, arXiv:1911.07190, optimize scales jointly, without gradients; here gradients pass through
the rounding as in `fake_quantize`. With the logarithm the mean is one of decibels, so a few samples with large errors do not
dominate.

An eighth of the samples is held out to measure the gain; without a gain, ranges and biases are not changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnxruntime
import torch
from torch import Tensor, nn

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.feeds import InputShapes, fixed_batch, group_samples, input_shapes, name_feeds, whole_inputs
from compress.backends.runner_protocol import Feeds
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.progress import NullReporter, Reporter
from compress.data.batch import Batch
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.onnx_to_torch import OnnxModule, module_key
from compress.quantize.qat.qdq_module import learned_ranges, to_fake_quantized
from compress.quantize.static_int8 import StaticInt8Plan
from compress.tasks.flat_outputs import flat_outputs

KEY = "calibration.learn_epochs"
HELD_OUT = 8
"""One of this many samples is held out."""
LEARNING_RATE = 0.03
"""Learning rate of θ, that is of the relative change of a scale."""
BIAS_LEARNING_RATE = 0.3
"""Learning rate of biases as a multiple of `LEARNING_RATE` × root mean square of the layer's biases."""
LARGEST_BATCH = 8
"""Largest batch. More updates with fewer samples are better: EfficientNet-B0 has 31.7 dB with 8 and 31.4 dB with 32."""
BATCH_VALUES = 2**21
"""Most input values per batch: 4 images of 384 × 384."""


@dataclass(frozen=True, eq=False)
class TunedRanges:
    """Result of learning ranges.

    Attributes:
        static: Plan with learned ranges and biases, or the unchanged plan.
        before: Mean signal-to-noise ratio of the outputs for held-out samples, dB; None if ranges were not learned.
        after: The same after learning.
        skipped: Why ranges were not learned.
        notes: Gain in dB.
    """

    static: StaticInt8Plan
    before: float | None = None
    after: float | None = None
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()


def tune_ranges(
    static: StaticInt8Plan,
    runtime: str,
    samples: Sequence[Feeds],
    *,
    epochs: int,
    exclude: tuple[str, ...] = (),
    seed: int = 0,
    reporter: Reporter | None = None,
) -> TunedRanges:
    """Learn ranges and biases with the Q/DQ pairs of one runtime; the others get its biases and the ranges of common tensors.

    Args:
        static: Result of post-training quantization and calibration.
        runtime: Runtime whose Q/DQ pairs are used.
        samples: Inputs (1, …) by the names of the data, all of equal shapes; at least two, or two batches of a network with a
            fixed batch.
        epochs: Passes over the samples that are not held out.
        exclude: Names of nodes that stay in float.
        seed: Seed for the held-out samples and the order of the others.
        reporter: Shows a progress bar.
    """
    shapes = input_shapes(static.model)
    fixed = fixed_batch(shapes, frozenset())
    batch_size = fixed or max(1, min(LARGEST_BATCH, BATCH_VALUES // sum(array.size for array in samples[0].values())))
    unit = fixed or 1
    if len(samples) < 2 * unit:
        return TunedRanges(
            static, skipped=(Fact.of("quantize_ptq.too_few_to_learn_ranges", KEY, samples=len(samples), batch=unit),)
        )
    try:
        x = _stack(samples, shapes)
        module = to_fake_quantized(_with_rounded_weights(static), runtime, exclude, learned=True)
    except ConversionError as error:
        return TunedRanges(static, skipped=(Fact.of("quantize_ptq.ranges_not_learned", KEY, error=message_of(error)),))
    session = onnx_session.create_session(static.rescaled or static.model, threads=0)
    order = torch.Generator().manual_seed(seed)
    x = x.rows(torch.randperm(len(samples), generator=order)[: len(samples) // unit * unit])
    z = torch.cat([_run_float(session, x.rows(part)) for part in _split(torch.arange(x.size), batch_size)])
    held_out = max(1, x.size // HELD_OUT // unit) * unit
    before = _decibels(module, x.rows(slice(held_out)), z[:held_out], batch_size)
    bars = reporter or NullReporter()
    _learn(module, x.rows(slice(held_out, None)), z[held_out:], batch_size, epochs=epochs, order=order, reporter=bars)
    after = _decibels(module, x.rows(slice(held_out)), z[:held_out], batch_size)
    better = after > before
    note = Fact.of(
        "quantize_ptq.ranges_learned" if better else "quantize_ptq.learned_ranges_discarded",
        KEY,
        epochs=epochs,
        samples=x.size - held_out,
        before_db=before,
        after_db=after,
        held_out=held_out,
    )
    return TunedRanges(_with_learned(static, runtime, exclude, module) if better else static, before, after, notes=(note,))


def _learn(
    module: OnnxModule,
    x: Batch,
    z: Tensor,
    batch_size: int,
    *,
    epochs: int,
    order: torch.Generator,
    reporter: Reporter,
) -> None:
    """Minimize the mean logarithm of the relative error of the outputs for `x`, whose float outputs are `z`, in place."""
    optimizer = torch.optim.Adam(_parameter_groups(module), betas=(0.9, 0.99))
    updates = epochs * math.ceil(x.size / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    with reporter.bar(gettext("learn ranges and biases"), updates) as bar:
        for _ in range(epochs):
            for batch in _split(torch.randperm(x.size, generator=order), batch_size):
                loss = _log_errors(_run(module, x.rows(batch)), z[batch]).mean()
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                bar.advance(note=gettext("{to_decibels:.1f} dB", to_decibels=_to_decibels(float(loss.detach()))))


def _stack(samples: Sequence[Feeds], shapes: InputShapes) -> Batch:
    """All samples as one batch, inputs in the order of the network.

    Raises:
        ConversionError: The samples have different shapes, or an input of the network has no batch axis.
    """
    feeds = [name_feeds(sample, tuple(shapes), gettext("the network")) for sample in samples]
    if whole := whole_inputs(feeds[0], shapes):
        msg = gettext("samples cannot be stacked: {whole} of the network has no batch axis", whole=", ".join(sorted(whole)))
        raise ConversionError(msg)
    stacked = group_samples(feeds, len(feeds))
    if len(stacked) > 1:
        msg = gettext("samples cannot be stacked: they have different shapes")
        raise ConversionError(msg)
    return Batch({name: torch.from_numpy(array) for name, array in stacked[0].items()}, {})


def _run(module: OnnxModule, x: Batch) -> Tensor:
    """Concatenated float outputs of the fake-quantized network, (N, M)."""
    return flat_outputs(module(*x.inputs.values()))


def _run_float(session: onnxruntime.InferenceSession, x: Batch) -> Tensor:
    """Concatenated float outputs of the float network, (N, M)."""
    feeds = {name: values.numpy() for name, values in x.inputs.items()}
    return flat_outputs(tuple(torch.from_numpy(values) for values in session.run(None, feeds))).flatten(1)


def _with_rounded_weights(static: StaticInt8Plan) -> StaticInt8Plan:
    """The plan with dequantized weights, from which rounding to the nearest gives the same integers."""
    arrays = {
        layer.weight: layer.from_matrix(static.grids[layer.weight].dequantize(), read_weight(static.model, layer.weight))
        for layer in weighted_layers(static.model)
        if layer.weight in static.grids
    }
    return replace(static, model=graphs.with_initializers(static.model, arrays))


def _parameter_groups(module: OnnxModule) -> list[dict[str, object]]:
    """Parameters to learn, with learning rates: scales of activations, and biases that are parameters."""
    quantizers = [part for part in module.quantizers.values() if isinstance(part, FakeQuantize)]
    thetas = [quantizer.theta for quantizer in quantizers if quantizer.theta.requires_grad]
    biases = [
        layer.bias for layer in module.layers.values() if isinstance(layer.bias, nn.Parameter) and layer.bias.requires_grad
    ]
    magnitudes = [float(bias.detach().square().mean().sqrt()) for bias in biases]
    module.requires_grad_(False)
    for parameter in (*thetas, *biases):
        parameter.requires_grad_(True)
    bias_groups = [
        {"params": [bias], "lr": LEARNING_RATE * BIAS_LEARNING_RATE * magnitude}
        for bias, magnitude in zip(biases, magnitudes, strict=True)
    ]
    return [{"params": thetas, "lr": LEARNING_RATE}, *bias_groups]


def _log_errors(outputs: Tensor, z: Tensor) -> Tensor:
    """log(‖ẑ − z‖² / ‖z‖²) of each sample."""
    tiny = torch.finfo(z.dtype).tiny
    noise, signal = (outputs.flatten(1) - z).square().sum(1), z.square().sum(1)
    return (noise.clamp_min(tiny) / signal.clamp_min(tiny)).log()


def _split(values: Tensor, size: int) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = torch.split(values, size)
    return parts


def _to_decibels(log_error: float) -> float:
    return -10 / math.log(10) * log_error


@torch.no_grad()
def _decibels(module: OnnxModule, x: Batch, z: Tensor, batch_size: int) -> float:
    """Mean signal-to-noise ratio of the outputs, dB."""
    errors = [_log_errors(_run(module, x.rows(part)), z[part]) for part in _split(torch.arange(x.size), batch_size)]
    return _to_decibels(float(torch.cat(errors).mean()))


def _with_learned(static: StaticInt8Plan, runtime: str, exclude: tuple[str, ...], module: OnnxModule) -> StaticInt8Plan:
    layers = [layer for layer in weighted_layers(static.model) if layer.bias]
    biases = {layer.bias: module.layers[module_key(layer.name)].bias for layer in layers}
    arrays = {name: bias.detach().numpy() for name, bias in biases.items() if isinstance(bias, Tensor)}
    ranges = learned_ranges(static, runtime, exclude, module)
    return replace(static, model=graphs.with_initializers(static.model, arrays), ranges=ranges)
